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
from typing import TypedDict

from rlm_mcp.confine import Confine
from rlm_mcp.contexts import window
from rlm_mcp.contexts.changes import Changed, Packed
from rlm_mcp.contexts.text import help_of
from rlm_mcp.contexts.variable import (
    Chunk,
    Description,
    Found,
    Hit,
    Item,
    Kind,
    Listed,
    Method,
    Outline,
    Passage,
    Query,
    Source,
)
from rlm_mcp.corpus import tokens
from rlm_mcp.counts import counted
from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.git import Commit, Repository, commits, dates, numstat, patches, renames
from rlm_mcp.refs import Lines, Ref

DIFF = "diff"
"""The document of a range that holds what its commits change together."""
MAX_FILE = 64 << 20
"""Bytes of a file that is read at a revision."""
KEPT = 3
"""Earlier states that are kept open after new commits."""
WAIT_S = 5.0
"""Seconds that a search waits for patches to be packed."""


class Logged(TypedDict):
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
        repository: Repository,
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
        self._packed: Packed | None = None
        self._retired: list[Packed] = []
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
            "grep": self.grep,
            "together": self.together,
            "churn": self.churn,
            "refs": self.repository_refs,
            "tags": self.tags,
        }

    def refresh(self) -> bool:
        head = self._last or self.repository.head()
        with self._lock:
            if self._packed is not None and head == self._head:
                return False
            if self._packed is not None:
                self._packed.stop()
                self._retired.append(self._packed)
            while len(self._retired) > KEPT:
                self._retired.pop(0).close()
            self._head = head
            self._packed = Packed(self.repository.git, self._revs(), self.name, self._cache,
                                  secrets=self.confine.secrets)  # fmt: skip
            return True

    def close(self) -> None:
        with self._lock:
            for packed in [*self._retired, self._packed]:
                if packed is not None:
                    packed.close()
            self._retired, self._packed = [], None

    def source(self) -> Source:
        corpus = self._now().messages
        return Source(corpus.fd, corpus.spans(), corpus.generation)

    def describe(self) -> Description:
        packed = self._now()
        size = sum(length for _, length in packed.messages.spans())
        newest = packed.commits[0] if packed.commits else None
        oldest = packed.commits[-1] if packed.commits else None
        facts: dict[str, str | int] = {"commits": len(packed.commits)}
        fixed = f"fixed at {self._last[: commits.SHORT]}" if self._last else ""
        if newest and oldest:
            facts["from"], facts["to"] = oldest.date[:10], newest.date[:10]
            facts["authors"] = len({commit.email for commit in packed.commits})
        notes = [*self.repository.notes(), packed.state()]
        if not packed.commits:
            notes = ["There is no commit yet."]
        return Description(
            name=self.name,
            kind=self.kind,
            source=self.origin,
            size_bytes=size,
            tokens=tokens.estimate(size, tokens.kind_of(packed.sample(), "prose")),
            documents=len(packed.commits),
            freshness=fixed or "checked on each call",
            ref_example=f"{self.name}:{newest.commit[: commits.SHORT]}" if newest else self.name,
            facts=facts,
            notes=tuple(note for note in notes if note),
            methods=tuple(help_of(name, method) for name, method in self.methods.items()),
        )

    def documents(self, scope: Ref) -> Sequence[str]:
        packed = self._now()
        if not scope.path or scope.path == "/":
            return [commit.commit[: commits.SHORT] for commit in packed.commits]
        if scope.path == DIFF and self._first:
            return [DIFF]
        return [self._commit(scope.path)[: commits.SHORT]]

    def read(self, ref: Ref, limit: int = 80) -> Passage:
        if not ref.path:
            return self._listing(ref, limit)
        ref, document = self._document(ref)
        return window.window(ref, document, limit)

    def text(self, ref: Ref) -> str:
        if not ref.path:
            span = ref.span if isinstance(ref.span, Lines) else None
            return self._now().messages_of(span)
        ref, document = self._document(ref)
        return window.text_of(ref, document)

    def search(self, query: Query, scope: Ref) -> Found:
        if scope.path:
            _, document = self._document(scope)
            return self._now().search_one(query, scope, document.data())
        return self._now().search(query, WAIT_S)

    def rank(self, question: str, scope: Ref, limit: int = 10) -> Sequence[Hit]:
        return self._now().rank(question, limit)

    def outline(self, scope: Ref, limit: int = 60) -> Outline:
        """Return months with their commits, or the files that one commit changes."""
        if scope.path and scope.path != DIFF:
            return self._files_of(self._commit(scope.path), limit)
        months: dict[str, list[Commit]] = {}
        for commit in self._now().commits:
            months.setdefault(commit.date[:7], []).append(commit)
        items = tuple(
            Item(
                f"{self.name}:{own[0].commit[: commits.SHORT]}",
                "month",
                month,
                0,
                f"{counted(len(own), 'commit')}, "
                f"{counted(len({c.email for c in own}), 'author')}; last: {own[0].subject[:80]}",
            )
            for month, own in months.items()
        )
        return Outline(items[:limit], len(items), "Newest first; a ref opens its last commit.")

    def chunk(self, scope: Ref, by: str = "auto", tokens: int = 4000) -> Sequence[Chunk]:
        if scope.path:
            ref, document = self._document(scope)
            return self._now().chunk_one(ref, document.data(), tokens)
        return self._now().chunk(tokens)

    def log(
        self, path: str = "", limit: int = 20, author: str = "", since: str = "", until: str = "",
        revs: str = "",
    ) -> Listed[Logged]:  # fmt: skip
        """log(path="", limit=20, author="", since="", until="", revs="") -> commits, newest first;
        a file is followed through its renames, `path` is its name then; revs is A..B or a tag"""
        found = self._chosen(path, author, since, until, revs)
        return Listed([self._line(commit) for commit in found[: max(0, limit)]], len(found))

    def authors(
        self, path: str = "", since: str = "", until: str = "", revs: str = "", limit: int = 30
    ) -> Listed[commits.Author]:
        """authors(path="", since="", until="", revs="", limit=30) -> who wrote commits, most first;
        first and last are dates, ref is the last commit"""
        found = self._chosen(path, "", since, until, revs)
        return Listed.cut(commits.authors(self.name, found), limit)

    def show(self, commit: str) -> str:
        """show(commit) -> the commit with its patch, as text"""
        return self.text(Ref(self.name, commit))

    def diff(self, a: str = "", b: str = "", path: str = "") -> str:
        """diff(a="", b="", path="") -> the patch between two revisions (default: the range)"""
        return window.shown(self._diff(a or self._first, b or self._last or "HEAD", path))

    def blame(self, path: str, start: int = 1, end: int = 0, rev: str = "") -> list[commits.Blamed]:
        """blame(path, start=1, end=0, rev="") -> who last changed each line, in which commit"""
        self.confine.refuse_name(path)
        git = self.repository.git
        return commits.blame(git, path, start, end, git.resolve(rev or "HEAD"))

    def file(self, path: str, rev: str = "HEAD") -> str:
        """file(path, rev="HEAD") -> a file's text at a revision"""
        self.confine.refuse_name(path)
        git = self.repository.git
        entry = commits.tree_entry(git, git.resolve(rev), path)
        if entry is None or entry.kind != "blob":
            raise BadRequest(f"{path!r} is no file at {rev}.")
        return window.shown(git.run("cat-file", "blob", entry.blob, limit_bytes=MAX_FILE))

    def grep(self, pattern: str, path: str = "", limit: int = 30) -> Listed[Changed]:
        """grep(pattern, path="", limit=30) -> commits that add or remove a matching line, the
        newest first, each with its first such line; under all names that the file had"""
        paths = renames.names(self._follow(path), path) if path else []
        return self._now().pickaxe(pattern, paths, limit)

    def together(self, path: str, limit: int = 20) -> Listed[commits.Companion]:
        """together(path, limit=20) -> files that changed in the same commits as a file, through
        its renames; share is that of its commits"""
        steps = self._follow(path)
        ids = [step.commit for step in steps]
        found = commits.together(self.repository.git, ids, renames.names(steps, path))
        return Listed.cut(found, limit)

    def churn(self, path: str = "", limit: int = 20) -> numstat.Churned:
        """churn(path="", limit=20) -> files by lines added and removed over the history, under
        their present names; files holds path, commits, added, removed"""
        return self._now().churn.files(path, limit, WAIT_S)

    def repository_refs(self) -> dict[str, str]:
        """refs() -> branches and tags with the commits that they name"""
        return self.repository.refs()

    def tags(self, commit: str) -> list[str]:
        """tags(commit) -> the tags that hold a commit, the oldest first"""
        return self.repository.tags(self._commit(commit))

    def _chosen(
        self, path: str, author: str, since: str, until: str, revs: str
    ) -> Sequence[Commit]:
        """Return commits, newest first, of a path, an author, a time, a revision or a range."""
        since, until = dates.begin(since), dates.begin(until)
        git = self.repository.git
        ends = git.between(revs) if revs else []
        found: Sequence[Commit] = list(commits.stream(git, ends)) if ends else self._now().commits
        if path:
            known = {commit.commit: commit for commit in found}
            found = [
                replace(known[step.commit], path=step.path)
                for step in self._follow(path, ends[0] if ends else "")
                if step.commit in known
            ]
        return [
            commit
            for commit in found
            if author.lower() in f"{commit.author} {commit.email}".lower()
            and (not since or commit.date[: len(since)] >= since)
            and (not until or commit.date[: len(until)] <= until)
        ]

    def _follow(self, path: str, rev: str = "") -> list[renames.Step]:
        """Return the commits of this history, or up to `rev` (an id), that touched a file.

        Each has the name that the file had then.
        """
        self.confine.refuse_name(path)
        known = {commit.commit for commit in self._now().commits} if self._first else None
        if not (rev or self._head):
            return []
        steps = renames.follow(self.repository.git, rev or self._head, path)
        return steps if rev or known is None else [step for step in steps if step.commit in known]

    def _now(self) -> Packed:
        with self._lock:
            if self._packed is None:
                self.refresh()
            assert self._packed is not None
            return self._packed

    def _revs(self) -> list[str]:
        if self._first:
            return [self._last, f"^{self._first}"]
        return [self._head] if self._head else []

    def _commit(self, text: str) -> str:
        """Return the full id of the commit that a path of a ref names."""
        try:
            return self.repository.git.resolve(text)
        except BadRequest:
            known = [commit.commit[: commits.SHORT] for commit in self._now().commits[:2_000]]
            raise BadRequest(
                f"{self.name} has no commit {text!r}.{did_you_mean(text[: commits.SHORT], known)}"
            ) from None

    def _document(self, ref: Ref) -> tuple[Ref, window.Document]:
        """Return one commit (or the range's diff) as a document, and its exact ref."""
        if ref.path == DIFF and self._first:
            return ref, window.Plain(self._diff(self._first, self._last, ""))
        commit = self._commit(ref.path)
        ref = replace(ref, path=commit[: commits.SHORT], rev="")
        git = self.repository.git
        found = patches.stream(git, [commit], secrets=self.confine.secrets, limit=1)
        change = next(iter(found), None)
        if change is None:
            raise BadRequest(f"{ref}: the commit touches nothing that may be shown.")
        return ref, window.Plain(change.text)

    def _diff(self, a: str, b: str, path: str) -> bytes:
        if not a:
            raise BadRequest("diff: name two revisions, as diff('v1.0', 'v2.0').")
        if path:
            self.confine.refuse_name(path)
        git = self.repository.git
        secrets = self.confine.secrets
        return patches.between(git, git.resolve(a), git.resolve(b), path, secrets=secrets)

    def _listing(self, ref: Ref, limit: int) -> Passage:
        found = self._now().commits
        start = ref.span.start if isinstance(ref.span, Lines) else 1
        shown = found[start - 1 : start - 1 + limit]
        last = start + len(shown) - 1
        lines = [
            f"{c.commit[: commits.SHORT]} {c.date[:10]} {c.author}: {c.subject}" for c in shown
        ]
        rest = Lines(last + 1, min(len(found), last + limit)) if last < len(found) else None
        return Passage(
            str(ref.at(Lines(start, max(start, last)))), "\n".join(lines), start, len(found),
            str(ref.at(rest)) if rest else "",
            "A list of commits, newest first; open one by its id.",
        )  # fmt: skip

    def _files_of(self, commit: str, limit: int) -> Outline:
        found = next(numstat.numstat(self.repository.git, [commit]), (commit, []))[1]
        ref = f"{self.name}:{commit[: commits.SHORT]}"
        items = tuple(
            Item(ref, "file", _shown(path), 0, f"+{added} -{removed}")
            for path, added, removed, _ in found
        )
        return Outline(items[:limit], len(items))

    def _line(self, commit: Commit) -> Logged:
        return Logged(
            ref=f"{self.name}:{commit.commit[: commits.SHORT]}",
            commit=commit.commit,
            date=commit.date,
            author=commit.author,
            subject=commit.subject,
            path=commit.path,
        )


def _shown(path: str) -> str:
    """Return a path that is no UTF-8 as text that can be printed."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
