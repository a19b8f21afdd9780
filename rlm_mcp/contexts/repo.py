"""A codebase as a context variable: a working tree, or any revision of it.

Working files come from the packed corpus; `repo:path@rev` reads one blob, a whole revision is
packed on first use. A link is shown as a link and never followed, at no revision.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.contexts.text import TextVariable
from rlm_mcp.corpus.search import Query
from rlm_mcp.corpus.store import open_revision
from rlm_mcp.documents import BytesDocument, cut_window, ref_text, shown_text
from rlm_mcp.encodings import searchable_text
from rlm_mcp.errors import BadRequest
from rlm_mcp.git import BlamedLine, Commit, GitRepository
from rlm_mcp.methods import Method, ResultList
from rlm_mcp.refs import Ref, rev_as_path
from rlm_mcp.variable import (
    ContextChunk,
    ContextHit,
    ContextPassage,
    Description,
    HitPage,
    Kind,
    Outline,
)

if TYPE_CHECKING:
    from rlm_mcp.confine import Confine
    from rlm_mcp.corpus.store import Corpus

MAX_BLOB = 64 << 20
"""Bytes of a file at a revision that is read without packing the whole revision."""
MAX_OPEN_REVISIONS = 4
"""Packed revisions that one variable keeps open beside its own."""


class Repo(TextVariable):
    """A working tree (`rev` is empty) or a revision (`rev` is a full commit id)."""

    kind: Kind = "repo"

    def __init__(
        self,
        name: str,
        source: str,
        corpus: Corpus,
        confine: Confine,
        repository: GitRepository,
        *,
        cache: Path,
        rev: str = "",
    ) -> None:
        folder = repository.folder if repository.top is not None and not rev else None
        fixed = f"fixed at {rev[:12]}" if rev else ""
        super().__init__(name, source, corpus, confine, folder, fixed=fixed)
        self.repository = repository
        self.rev = rev
        self._cache = cache
        self._revisions: OrderedDict[str, TextVariable] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def methods(self) -> Mapping[str, Method]:
        return {
            **super().methods,
            "changed": self.changed,
            "diff": self.diff,
            "log": self.log,
            "blame": self.blame,
        }

    def describe(self) -> Description:
        base = super().describe()
        head = self.rev or self.repository.head_commit()
        facts: dict[str, str | int] = {"commit": head[:12] or "none yet"}
        if not self.rev and (branch := self.repository.branch_name()):
            facts["branch"] = branch
        notes = list(base.notes)
        if not self.rev:
            notes.extend(self.repository.state_notes())
        if self.repository.top is None:
            notes.append("A bare repository: its files are those of HEAD.")
        if self.repository.prefix:
            notes.append(f"Only {self.repository.prefix} of its repository is under the roots.")
        return replace(
            base,
            facts={**facts, **base.facts},
            notes=tuple(notes),
        )

    def close(self) -> None:
        super().close()
        with self._lock:
            for text in self._revisions.values():
                text.close()
            self._revisions.clear()

    def documents(self, scope: Ref) -> Sequence[str]:
        scope, text = self._at_revision(scope)
        return super().documents(scope) if text is None else text.documents(scope)

    def peek(self, ref: Ref, limit: int = 80) -> ContextPassage:
        ref = self._resolve_revision(ref)
        if ref.rev and ref.path and not ref.is_glob and ref.rev not in self._revisions:
            data, note = self._read_blob(ref)
            if data is not None:
                passage = cut_window(ref, BytesDocument(data), limit)
                return replace(passage, note=f"{note} {passage.note}".strip())
        ref, text = self._at_revision(ref)
        return super().peek(ref, limit) if text is None else text.peek(ref, limit)

    def full_text(self, ref: Ref) -> str:
        ref = self._resolve_revision(ref)
        if ref.rev and ref.path and not ref.is_glob and ref.rev not in self._revisions:
            data, _ = self._read_blob(ref)
            if data is not None:
                return ref_text(ref, BytesDocument(data))
        ref, text = self._at_revision(ref)
        return super().full_text(ref) if text is None else text.full_text(ref)

    def grep(self, query: Query, scope: Ref) -> HitPage:
        scope, text = self._at_revision(scope)
        return super().grep(query, scope) if text is None else text.grep(query, scope)

    def search(self, question: str, scope: Ref, limit: int = 10) -> Sequence[ContextHit]:
        scope, text = self._at_revision(scope)
        if text is None:
            return super().search(question, scope, limit)
        return text.search(question, scope, limit)

    def outline(self, scope: Ref, limit: int = 60) -> Outline:
        scope, text = self._at_revision(scope)
        return super().outline(scope, limit) if text is None else text.outline(scope, limit)

    def chunk(self, scope: Ref, by: str = "auto", tokens: int = 4000) -> Sequence[ContextChunk]:
        scope, text = self._at_revision(scope)
        return super().chunk(scope, by, tokens) if text is None else text.chunk(scope, by, tokens)

    def changed(self) -> list[dict[str, str]]:
        """changed() -> files that differ from the last commit: path and status"""
        if self.repository.top is None or self.rev:
            return []
        return self.repository.history.read_status()

    def diff(self, path: str = "", staged: bool = False) -> str:
        """diff(path="", staged=False) -> the patch of what is not committed, or of what is staged;
        files that git does not track yet are only in changed()"""
        if self.repository.top is None or self.rev:
            raise BadRequest(
                "diff: a revision has nothing uncommitted; history.diff(a, b) compares."
            )
        if path:
            self.confine.refuse_name(path)
        git = self.repository.git
        base = self.repository.head_commit() or git.read_text(
            "hash-object", "-t", "tree", "--stdin"
        )
        return shown_text(
            self.repository.history.diff_worktree(
                base, path, staged=staged, secrets=self.confine.secrets
            )
        )

    def log(self, path: str = "", limit: int = 20) -> ResultList[Commit]:
        """log(path="", limit=20) -> commits that touched a path, newest first; a file is followed
        through its renames"""
        rev = self.rev or self.repository.head_commit()
        if not rev:
            return ResultList()
        history, limit = self.repository.history, max(0, limit)
        if path:
            self.confine.refuse_name(path)
            found = history.file_commits(rev, path, limit + 1)
        else:
            found = list(history.stream_commits([rev], limit + 1))
        if len(found) <= limit:
            return ResultList(found)
        return ResultList(found[:limit], limit + 1, False, "A larger limit goes further back.")

    def blame(self, path: str, start: int = 1, end: int = 0) -> list[BlamedLine]:
        """blame(path, start=1, end=0) -> who last changed each line, in which commit"""
        self.confine.refuse_name(path)
        inside = self.repository.top is not None and not self.rev
        rev = "" if inside else self.rev
        return self.repository.history.blame_lines(path, start, end, rev)

    def _resolve_revision(self, ref: Ref) -> Ref:
        """Return `ref` with its revision as a commit id; `@` may be a part of the path."""
        if not ref.rev or ref.rev in self._revisions:
            return ref
        plain = rev_as_path(ref)
        if self.corpus.find_document(plain.path) is not None:
            return plain
        try:
            commit = self.repository.git.resolve_commit(ref.rev)
        except BadRequest:
            if ref.path and ref.path.endswith("/") and self._has_folder(plain.path):
                return plain
            raise
        return replace(ref, rev="" if commit == self.rev else commit[:12])

    def _has_folder(self, path: str) -> bool:
        prefix = path.rstrip("/") + "/"
        return any(other.startswith(prefix) for other in self.corpus.document_paths())

    def _at_revision(self, ref: Ref) -> tuple[Ref, TextVariable | None]:
        """Return the settled ref, and the packed revision that it names (None: this one)."""
        ref = self._resolve_revision(ref)
        if not ref.rev:
            return ref, None
        with self._lock:
            text = self._revisions.get(ref.rev)
            if text is None:
                commit = self.repository.git.resolve_commit(ref.rev)
                corpus = open_revision(
                    self.repository.git_dir,
                    self.repository.visible_tree(commit),
                    cache=self._cache,
                    admit=self.confine.exclude_reason,
                )
                source, fixed = f"{self.origin}@{ref.rev}", f"fixed at {commit[:12]}"
                text = TextVariable(self.name, source, corpus, self.confine, None, fixed=fixed)
                self._revisions[ref.rev] = text
                if len(self._revisions) > MAX_OPEN_REVISIONS:
                    self._revisions.popitem(last=False)[1].close()
            self._revisions.move_to_end(ref.rev)
        return ref, text

    def _read_blob(self, ref: Ref) -> tuple[bytes | None, str]:
        """Return one file at a revision and a note on it; None for a folder."""
        self.confine.refuse_name(ref.path)
        git = self.repository.git
        entry = self.repository.history.tree_entry(git.resolve_commit(ref.rev), ref.path)
        if entry is None:
            raise BadRequest(f"{ref.path!r} does not exist at {ref.rev}.")
        if entry.kind == "tree":
            return None, ""
        if entry.kind == "commit":
            raise BadRequest(
                f"{ref.path!r} is a submodule at {ref.rev}, pinned to {entry.blob[:12]}."
            )
        if entry.size > MAX_BLOB:
            raise BadRequest(f"{ref.path!r} at {ref.rev} is too large: {entry.size:,} bytes.")
        data = git.read_output("cat-file", "blob", entry.blob)
        if entry.mode == "120000":
            return data, "A link, shown and not followed."
        text = searchable_text(data)
        if text is None:
            raise BadRequest(f"{ref.path!r} at {ref.rev} is binary: {entry.size:,} bytes.")
        return text, ""
