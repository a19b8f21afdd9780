"""A git history as a context variable: a commit is a document, newest first.

A document is the commit's header, its message and its patch. What a cell sees as text is all
headers and messages; patches are packed in the background, newest first, from the first search
on, and a search says how far they went. Secrets by name are left out of every patch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from rlm_mcp.contexts.commit_search import PackedCommits, PatchHit
from rlm_mcp.contexts.text import help_line
from rlm_mcp.corpus.search import Query
from rlm_mcp.documents import BytesDocument, WindowDocument, cut_window, ref_text, shown_text
from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.git import (
    BlamedLine,
    ChurnTable,
    CoChangedFile,
    Commit,
    CommitAuthor,
    GitRepository,
    RenameStep,
)
from rlm_mcp.methods import Method, ResultList
from rlm_mcp.plurals import count_noun
from rlm_mcp.refs import LineSpan, Ref
from rlm_mcp.tokens import actual_kind, estimate_tokens
from rlm_mcp.variable import (
    ContextChunk,
    ContextHit,
    ContextPassage,
    Description,
    HitPage,
    Kind,
    MappedText,
    Outline,
    OutlineItem,
)

if TYPE_CHECKING:
    from rlm_mcp.confine import Confine

DIFF_DOCUMENT = "diff"
"""The document of a range that holds what its commits change together."""
MAX_FILE_BYTES = 64 << 20
"""Bytes of a file that is read at a revision."""
MAX_RETIRED = 3
"""Earlier states that are kept open after new commits."""
PACK_WAIT_S = 5.0
"""Seconds that a search waits for patches to be packed."""


class LoggedCommit(TypedDict):
    """A commit on one line; `path` is what a file that was asked for was called then."""

    ref: str
    commit: str
    date: str
    author: str
    subject: str
    path: str


class History:
    """The commits that lead to HEAD, or those of a range (`first` left out, `last` included)."""

    kind: Kind = "history"

    def __init__(
        self,
        name: str,
        source: str,
        repository: GitRepository,
        confine: Confine,
        *,
        cache: Path,
        first: str = "",
        last: str = "",
    ) -> None:
        self.name = name
        self.origin = source
        self.repository = repository
        self.confine = confine
        self._cache = cache
        self._first, self._last = first, last
        self._lock = threading.RLock()
        self._packed: PackedCommits | None = None
        self._retired: list[PackedCommits] = []
        """Earlier states, which readers may still be at."""
        self._head = ""

    @property
    def methods(self) -> Mapping[str, Method]:
        return {
            "log": self.log,
            "authors": self.authors,
            "show": self.show,
            "diff": self.diff,
            "blame": self.blame,
            "file": self.file,
            "grep": self.grep_patches,
            "together": self.together,
            "churn": self.churn,
            "refs": self.refs_by_name,
            "tags": self.tags,
        }

    def refresh(self) -> bool:
        head = self._last or self.repository.head_commit()
        with self._lock:
            if self._packed is not None and head == self._head:
                return False
            if self._packed is not None:
                self._packed.stop_packing()
                self._retired.append(self._packed)
            while len(self._retired) > MAX_RETIRED:
                self._retired.pop(0).close()
            self._head = head
            self._packed = PackedCommits(
                self.repository.history,
                self._revision_args(),
                self.name,
                self._cache,
                secrets=self.confine.secrets,
            )
            return True

    def close(self) -> None:
        with self._lock:
            for packed in [*self._retired, self._packed]:
                if packed is not None:
                    packed.close()
            self._retired, self._packed = [], None

    def mapped_text(self) -> MappedText:
        corpus = self._current_pack().messages
        return MappedText(corpus.fd, corpus.document_spans(), corpus.generation)

    def describe(self) -> Description:
        packed = self._current_pack()
        size = sum(length for _, length in packed.messages.document_spans())
        newest = packed.commits[0] if packed.commits else None
        oldest = packed.commits[-1] if packed.commits else None
        facts: dict[str, str | int] = {"commits": len(packed.commits)}
        fixed = f"fixed at {self._last[: Commit.SHORT_ID_DIGITS]}" if self._last else ""
        if newest and oldest:
            facts["from"], facts["to"] = oldest.date[:10], newest.date[:10]
            facts["authors"] = len({commit.email for commit in packed.commits})
        notes = [*self.repository.state_notes(), packed.coverage_note()]
        if not packed.commits:
            notes = ["There is no commit yet."]
        return Description(
            name=self.name,
            kind=self.kind,
            source=self.origin,
            size_bytes=size,
            tokens=estimate_tokens(size, actual_kind(packed.message_sample(), "prose")),
            documents=len(packed.commits),
            freshness=fixed or "checked on each call",
            ref_example=f"{self.name}:{newest.short_id}" if newest else self.name,
            facts=facts,
            notes=tuple(note for note in notes if note),
            methods=tuple(help_line(name, method) for name, method in self.methods.items()),
        )

    def documents(self, scope: Ref) -> Sequence[str]:
        packed = self._current_pack()
        if not scope.path or scope.path == "/":
            return [commit.short_id for commit in packed.commits]
        if scope.path == DIFF_DOCUMENT and self._first:
            return [DIFF_DOCUMENT]
        return [self._resolve_commit(scope.path)[: Commit.SHORT_ID_DIGITS]]

    def peek(self, ref: Ref, limit: int = 80) -> ContextPassage:
        if not ref.path:
            return self._list_commits(ref, limit)
        ref, document = self._commit_document(ref)
        return cut_window(ref, document, limit)

    def full_text(self, ref: Ref) -> str:
        if not ref.path:
            span = ref.span if isinstance(ref.span, LineSpan) else None
            return self._current_pack().messages_text(span)
        ref, document = self._commit_document(ref)
        return ref_text(ref, document)

    def grep(self, query: Query, scope: Ref) -> HitPage:
        if scope.path:
            _, document = self._commit_document(scope)
            return self._current_pack().grep_commit(query, scope, document.full_bytes())
        return self._current_pack().grep(query, PACK_WAIT_S)

    def search(self, question: str, scope: Ref, limit: int = 10) -> Sequence[ContextHit]:
        return self._current_pack().search(question, limit)

    def outline(self, scope: Ref, limit: int = 60) -> Outline:
        """Return months with their commits, or the files that one commit changes."""
        if scope.path and scope.path != DIFF_DOCUMENT:
            return self._commit_files(self._resolve_commit(scope.path), limit)
        months: dict[str, list[Commit]] = {}
        for commit in self._current_pack().commits:
            months.setdefault(commit.date[:7], []).append(commit)
        items = tuple(
            OutlineItem(
                f"{self.name}:{own[0].short_id}",
                "month",
                month,
                0,
                f"{count_noun(len(own), 'commit')}, "
                f"{count_noun(len({c.email for c in own}), 'author')}; last: {own[0].subject[:80]}",
            )
            for month, own in months.items()
        )
        return Outline(items[:limit], len(items), "Newest first; a ref opens its last commit.")

    def chunk(self, scope: Ref, by: str = "auto", tokens: int = 4000) -> Sequence[ContextChunk]:
        if scope.path:
            ref, document = self._commit_document(scope)
            return self._current_pack().chunk_commit(ref, document.full_bytes(), tokens)
        return self._current_pack().chunk(tokens)

    def log(
        self, path: str = "", limit: int = 20, author: str = "", since: str = "", until: str = "",
        revs: str = "",
    ) -> ResultList[LoggedCommit]:  # fmt: skip
        """log(path="", limit=20, author="", since="", until="", revs="") -> commits, newest first;
        a file is followed through its renames, `path` is its name then; revs is A..B or a tag"""
        found = self._filter_commits(path, author, since, until, revs)
        return ResultList(
            [self._log_entry(commit) for commit in found[: max(0, limit)]], len(found)
        )

    def authors(
        self, path: str = "", since: str = "", until: str = "", revs: str = "", limit: int = 30
    ) -> ResultList[CommitAuthor]:
        """authors(path="", since="", until="", revs="", limit=30) -> who wrote commits, most first;
        first and last are dates, ref is the last commit"""
        found = self._filter_commits(path, "", since, until, revs)
        return ResultList.truncate_to(
            self.repository.history.count_authors(self.name, found), limit
        )

    def show(self, commit: str) -> str:
        """show(commit) -> the commit with its patch, as text"""
        return self.full_text(Ref(self.name, commit))

    def diff(self, a: str = "", b: str = "", path: str = "") -> str:
        """diff(a="", b="", path="") -> the patch between two revisions (default: the range)"""
        return shown_text(self._diff_bytes(a or self._first, b or self._last or "HEAD", path))

    def blame(self, path: str, start: int = 1, end: int = 0, rev: str = "") -> list[BlamedLine]:
        """blame(path, start=1, end=0, rev="") -> who last changed each line, in which commit"""
        self.confine.refuse_name(path)
        git = self.repository.git
        commit = git.resolve_commit(rev or "HEAD")
        return self.repository.history.blame_lines(path, start, end, commit)

    def file(self, path: str, rev: str = "HEAD") -> str:
        """file(path, rev="HEAD") -> a file's text at a revision"""
        self.confine.refuse_name(path)
        git = self.repository.git
        entry = self.repository.history.tree_entry(git.resolve_commit(rev), path)
        if entry is None or entry.kind != "blob":
            raise BadRequest(f"{path!r} is no file at {rev}.")
        return shown_text(
            git.read_output("cat-file", "blob", entry.blob, limit_bytes=MAX_FILE_BYTES)
        )

    def grep_patches(self, pattern: str, path: str = "", limit: int = 30) -> ResultList[PatchHit]:
        """grep(pattern, path="", limit=30) -> commits that add or remove a matching line, the
        newest first, each with its first such line; under all names that the file had"""
        paths = _past_names(self._follow_file(path), path) if path else []
        return self._current_pack().pickaxe_commits(pattern, paths, limit)

    def together(self, path: str, limit: int = 20) -> ResultList[CoChangedFile]:
        """together(path, limit=20) -> files that changed in the same commits as a file, through
        its renames; share is that of its commits"""
        steps = self._follow_file(path)
        ids = [step.commit for step in steps]
        found = self.repository.history.co_changed_files(ids, _past_names(steps, path))
        return ResultList.truncate_to(found, limit)

    def churn(self, path: str = "", limit: int = 20) -> ChurnTable:
        """churn(path="", limit=20) -> files by lines added and removed over the history, under
        their present names; files holds path, commits, added, removed"""
        return self._current_pack().churn.churned_files(path, limit, PACK_WAIT_S)

    def refs_by_name(self) -> dict[str, str]:
        """refs() -> branches and tags with the commits that they name"""
        return self.repository.refs_by_name()

    def tags(self, commit: str) -> list[str]:
        """tags(commit) -> the tags that hold a commit, the oldest first"""
        return self.repository.tags_containing(self._resolve_commit(commit))

    def _filter_commits(
        self, path: str, author: str, since: str, until: str, revs: str
    ) -> Sequence[Commit]:
        """Return commits, newest first, of a path, an author, a time, a revision or a range."""
        history = self.repository.history
        ends = history.git.resolve_range(revs) if revs else []
        found: Sequence[Commit] = (
            list(history.stream_commits(ends)) if ends else self._current_pack().commits
        )
        if path:
            known = {commit.commit: commit for commit in found}
            found = [
                replace(known[step.commit], path=step.path)
                for step in self._follow_file(path, ends[0] if ends else "")
                if step.commit in known
            ]
        return history.filter_commits(found, author, since, until)

    def _follow_file(self, path: str, rev: str = "") -> list[RenameStep]:
        """Return the commits of this history, or up to `rev` (an id), that touched a file.

        Each has the name that the file had then.
        """
        self.confine.refuse_name(path)
        known = {commit.commit for commit in self._current_pack().commits} if self._first else None
        if not (rev or self._head):
            return []
        steps = self.repository.history.follow_file(rev or self._head, path)
        return steps if rev or known is None else [step for step in steps if step.commit in known]

    def _current_pack(self) -> PackedCommits:
        with self._lock:
            if self._packed is None:
                self.refresh()
            assert self._packed is not None
            return self._packed

    def _revision_args(self) -> list[str]:
        if self._first:
            return [self._last, f"^{self._first}"]
        return [self._head] if self._head else []

    def _resolve_commit(self, text: str) -> str:
        """Return the full id of the commit that a path of a ref names."""
        try:
            return self.repository.git.resolve_commit(text)
        except BadRequest:
            known = [commit.short_id for commit in self._current_pack().commits[:2_000]]
            raise BadRequest(
                f"{self.name} has no commit "
                f"{text!r}.{did_you_mean(text[: Commit.SHORT_ID_DIGITS], known)}"
            ) from None

    def _commit_document(self, ref: Ref) -> tuple[Ref, WindowDocument]:
        """Return one commit (or the range's diff) as a document, and its exact ref."""
        if ref.path == DIFF_DOCUMENT and self._first:
            return ref, BytesDocument(self._diff_bytes(self._first, self._last, ""))
        commit = self._resolve_commit(ref.path)
        ref = replace(ref, path=commit[: Commit.SHORT_ID_DIGITS], rev="")
        change = self.repository.history.read_patch(commit, secrets=self.confine.secrets)
        if change is None:
            raise BadRequest(f"{ref}: the commit touches nothing that may be shown.")
        return ref, BytesDocument(change.document_bytes)

    def _diff_bytes(self, a: str, b: str, path: str) -> bytes:
        if not a:
            raise BadRequest("diff: name two revisions, as diff('v1.0', 'v2.0').")
        if path:
            self.confine.refuse_name(path)
        git = self.repository.git
        return self.repository.history.diff_commits(
            git.resolve_commit(a), git.resolve_commit(b), path, secrets=self.confine.secrets
        )

    def _list_commits(self, ref: Ref, limit: int) -> ContextPassage:
        found = self._current_pack().commits
        start = ref.span.start if isinstance(ref.span, LineSpan) else 1
        shown = found[start - 1 : start - 1 + limit]
        last = start + len(shown) - 1
        lines = [f"{c.short_id} {c.date[:10]} {c.author}: {c.subject}" for c in shown]
        rest = LineSpan(last + 1, min(len(found), last + limit)) if last < len(found) else None
        return ContextPassage(
            str(ref.with_span(LineSpan(start, max(start, last)))),
            "\n".join(lines),
            start,
            len(found),
            str(ref.with_span(rest)) if rest else "",
            "A list of commits, newest first; open one by its id.",
        )

    def _commit_files(self, commit: str, limit: int) -> Outline:
        found = self.repository.history.read_numstat(commit)
        ref = f"{self.name}:{commit[: Commit.SHORT_ID_DIGITS]}"
        items = tuple(
            OutlineItem(ref, "file", _printable_path(path), 0, f"+{added} -{removed}")
            for path, added, removed, _ in found
        )
        return Outline(items[:limit], len(items))

    def _log_entry(self, commit: Commit) -> LoggedCommit:
        return LoggedCommit(
            ref=f"{self.name}:{commit.short_id}",
            commit=commit.commit,
            date=commit.date,
            author=commit.author,
            subject=commit.subject,
            path=commit.path,
        )


def _past_names(steps: Sequence[RenameStep], path: str) -> list[str]:
    """Return all names that a file had, its present one first."""
    return list(dict.fromkeys([path, *(step.path for step in steps)]))


def _printable_path(path: str) -> str:
    """Return a path that is no UTF-8 as text that can be printed."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
