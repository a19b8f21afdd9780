"""Documents of a packed corpus as a context variable: a file, a glob, a folder; repo builds on it.

It adds to the corpus what a variable is: refs, windows, scopes, refusals in one sentence. A file
that is described but not loaded (too large) is opened on demand; a denied one is not.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.config import cache_dir
from rlm_mcp.confine import Confine, is_denied
from rlm_mcp.contexts import layout, manual, window
from rlm_mcp.contexts.cited import Cited
from rlm_mcp.contexts.code import Code
from rlm_mcp.contexts.kinds import kind_of_path, token_kind
from rlm_mcp.contexts.large import Large
from rlm_mcp.contexts.variable import (
    Chunk,
    Description,
    Found,
    Hit,
    Kind,
    Listed,
    Method,
    Outline,
    Passage,
    Query,
    Source,
    listed,
)
from rlm_mcp.corpus import chunk as chunking
from rlm_mcp.corpus import globs, tokens
from rlm_mcp.corpus import search as searching
from rlm_mcp.corpus.language import language
from rlm_mcp.errors import BadRequest, Denied, did_you_mean
from rlm_mcp.refs import Chars, Lines, Ref

if TYPE_CHECKING:
    from rlm_mcp.corpus import rank as ranking
    from rlm_mcp.corpus.pack import Corpus

MOST_LINES = 1_000_000
"""Matching lines of a document that are looked at for those in a span of it."""
MAX_TEXT = 64 << 20
"""Bytes that one call for the whole text of a scope may return."""


@dataclass(frozen=True, slots=True)
class Sized:
    """A document with its size."""

    ref: str
    path: str
    bytes: int
    lines: int


def _alone(name: str, origin: str, confine: Confine, corpus: Corpus) -> Text:
    """Return one large file as a variable of the same name."""
    return Text(name, origin, corpus, confine, None)


class Text:
    """Files as one variable. Safe from several threads; the corpus does the locking."""

    kind: Kind = "text"

    def __init__(
        self,
        name: str,
        source: str,
        corpus: Corpus,
        confine: Confine,
        folder: Path | None,
        *,
        fixed: str = "",
    ) -> None:
        self.name = name
        self.fixed = fixed
        """As what the documents are fixed; empty where they are those on disk."""
        self.origin = source
        self.corpus = corpus
        self.confine = confine
        self.folder = folder
        """Where the documents lie on disk; None where they come from a revision."""
        self.code = Code(name, corpus, cache_dir())
        # Without a way back to this object, so that its files close with its last reader.
        self._cited = Cited(functools.partial(window.loaded, corpus), fixed=bool(fixed))
        self._large: Large[Text] | None = None
        if folder is not None:
            alone = functools.partial(_alone, name, self.origin, confine)
            self._large = Large(folder, confine, cache_dir(), alone)

    @property
    def methods(self) -> Mapping[str, Method]:
        return {
            "files": self.files,
            "largest": self.largest,
            "read": self.lines,
            "grep": self.grep,
            "search": self.find,
            **self._cited.giving(self.code.methods),
        }

    def refresh(self) -> bool:
        return self.corpus.refresh()

    def close(self) -> None:
        if self._large is not None:
            self._large.close()
        self.code.close()
        self.corpus.close()

    def source(self) -> Source:
        return Source(self.corpus.fd, self.corpus.spans(), self.corpus.generation)

    def describe(self) -> Description:
        paths = self.corpus.paths()
        sizes: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        buffer = self.corpus.snapshot.buffer
        for path, (offset, length) in zip(paths, self.corpus.spans(), strict=True):
            name = language(path) or "other"
            sizes[name] += length
            sample = bytes(buffer[offset : offset + min(length, tokens.SAMPLE_BYTES)])
            kinds[tokens.kind_of(sample, token_kind(name))] += length
        lines = sum(map(self.corpus.line_count, paths))
        return Description(
            name=self.name,
            kind=self.kind,
            source=self.origin,
            size_bytes=sizes.total(),
            tokens=sum(tokens.estimate(size, kind) for kind, size in kinds.items()),
            documents=len(paths),
            freshness=self.fixed or "checked on each call",
            ref_example=str(Ref(self.name, paths[0], "", Lines(1, 40))) if paths else self.name,
            lines=lines,
            facts={"languages": _languages(sizes)},
            skipped=dict(
                Counter(reason for item in self.corpus.skipped.values() for reason in item)
            ),
            notes=() if paths else ("There is no text in it.",),
            methods=tuple(help_of(name, method) for name, method in self.methods.items()),
        )

    def documents(self, scope: Ref) -> Sequence[str]:
        """Return the paths of a scope; raises BadRequest where it names none."""
        paths = self.corpus.paths()
        path = scope.path.removeprefix("./")
        if not path or path in ("/", "."):
            return paths
        if self.corpus.document(path) is not None:
            return [path]
        prefix = path.rstrip("/") + "/"
        if inside := [other for other in paths if other.startswith(prefix)]:
            return inside
        if scope.is_glob and not path.endswith("/") and (chosen := globs.select(paths, path)):
            return chosen
        skipped = self._skipped(path)
        if skipped is not None and "denied" not in skipped:
            reason, size = next(iter(skipped.items()))
            raise BadRequest(f"{path!r} is not searched: {reason}, {size:,} bytes.")
        raise self._unknown(path)

    def read(self, ref: Ref, limit: int = 80) -> Passage:
        ref = self._whole(ref)
        return self._cited.read(ref, lambda: self._window(ref, limit))

    def stale(self, ref: Ref) -> str:
        """Return what has become of lines that a ref was given for; nothing where they stand."""
        return self._cited.stale(self._whole(ref))

    def _window(self, ref: Ref, limit: int) -> Passage:
        if not ref.path or self.corpus.document(ref.path) is None:
            if ref.span is None and not self._is_large(ref):
                return layout.listing(self.documents(ref), ref, limit)
            return self._on_demand(ref.path).read(ref, limit)
        return window.window(ref, window.Loaded(self.corpus, ref.path), limit)

    def text(self, ref: Ref) -> str:
        ref = self._whole(ref)
        if self.corpus.document(ref.path) is not None:
            return window.text_of(ref, window.Loaded(self.corpus, ref.path))
        if self._is_large(ref):
            return self._on_demand(ref.path).text(ref)
        if ref.span is not None:
            raise BadRequest(f"{ref}: lines are those of one document; name it.")
        paths = self.documents(ref)
        size = 0
        parts = []
        for path in paths:
            data = self.corpus.data(path)
            size += len(data)
            if size > MAX_TEXT:
                raise BadRequest(
                    f"{ref} is larger than {MAX_TEXT:,} bytes; chunk it and take the parts."
                )
            parts.append(window.shown(data))
        return "".join(parts)

    def search(self, query: Query, scope: Ref) -> Found:
        scope = self._whole(scope)
        if self._is_large(scope):
            return self._on_demand(scope.path).search(query, scope)
        paths = None if not scope.path else self.documents(scope)
        if isinstance(scope.span, Lines) and paths is not None and len(paths) == 1:
            return self._search_lines(query, paths[0], scope.span)
        return self._cited.give(self._found(searching.search(self.corpus, query, paths), scope))

    def rank(self, question: str, scope: Ref, limit: int = 10) -> Sequence[Hit]:
        from rlm_mcp.corpus import rank as ranking  # sqlite3 costs 26 ms

        scope = self._whole(scope)
        if self._is_large(scope):
            return self._on_demand(scope.path).rank(question, scope, limit)
        paths = None if not scope.path else self.documents(scope)
        found = ranking.rank(self.corpus, question, paths, limit)
        return self._cited.give([self._ranked(item, scope) for item in found])

    def outline(self, scope: Ref, limit: int = 60) -> Outline:
        scope = self._whole(scope)
        if self._is_large(scope):
            return self._on_demand(scope.path).outline(scope, limit)
        paths = self.documents(scope)
        if len(paths) == 1:
            return self._cited.give(layout.document(self.code, paths[0], scope, limit))
        return self._cited.give(layout.folder(self.corpus, self.code, paths, scope, limit))

    def chunk(self, scope: Ref, by: str = "auto", tokens: int = 4000) -> Sequence[Chunk]:
        scope = self._whole(scope)
        if self._is_large(scope):
            return self._on_demand(scope.path).chunk(scope, by, tokens)
        paths = self.documents(scope)
        span = scope.span if isinstance(scope.span, (Lines, Chars)) else None
        parts = chunking.chunk(self.corpus, paths, by, tokens, kind_of_path, span)
        return self._cited.give(
            [Chunk(self._ref(p.path, scope, p.span), p.tokens, p.title) for p in parts]
        )

    def files(self, glob: str = "") -> list[str]:
        """files(glob="") -> paths of the documents, in reading order"""
        paths = self.corpus.paths()
        return list(globs.select(paths, glob) if glob else paths)

    def largest(self, limit: int = 20, glob: str = "") -> Listed[Sized]:
        """largest(limit=20, glob="") -> documents by size, the largest first"""
        snapshot = self.corpus.snapshot
        documents = [snapshot.document(snapshot.index[path]) for path in self.files(glob)]
        documents.sort(key=lambda document: (-document.length, document.path))
        rows = [Sized(self._ref(d.path, Ref(self.name), None), d.path, d.length, d.lines)
                for d in documents]  # fmt: skip
        return Listed.cut(rows, limit)

    def lines(self, path: str, start: int = 1, end: int = 0) -> str:
        """read(path, start=1, end=0) -> the text of a document, or of some of its lines"""
        if start < 1 or (end and end < start):
            raise BadRequest(
                f"read: {start} to {end} is no span; lines count from 1, end is the last one and 0 "
                "means the end of the document."
            )
        span = Lines(start, max(start, end or 1 << 30)) if end or start > 1 else None
        return self.text(Ref(self.name, path, "", span))

    def grep(
        self, pattern: str, path: str = "", limit: int = 100, ignore_case: bool = False
    ) -> Listed[Hit]:
        """grep(pattern, path="", limit=100, ignore_case=False) -> matching lines"""
        query = Query(pattern, limit=limit, ignore_case=ignore_case)
        return listed(self.search(query, Ref(self.name, path)))

    def find(self, query: str, k: int = 10) -> list[Hit]:
        """search(query, k=10) -> the passages that best fit a question, best first"""
        return list(self.rank(query, Ref(self.name), k))

    def _ref(self, path: str, scope: Ref, span: Lines | Chars | None) -> str:
        return str(Ref(self.name, path, scope.rev, span))

    def _whole(self, ref: Ref) -> Ref:
        """Let `notes#L5` mean the one document of a variable that has only one."""
        ref = replace(ref, path=ref.path.removeprefix("./"))
        paths = self.corpus.paths()
        if not ref.path and ref.span is not None and len(paths) == 1:
            return Ref(ref.variable, paths[0], ref.rev, ref.span)
        return ref

    def _found(self, matches: searching.Matches, scope: Ref) -> Found:
        return Found(
            hits=tuple(
                Hit(self._ref(h.path, scope, Lines(h.line, h.line)), h.path, h.line, h.text,
                    tuple(h.before), tuple(h.after), h.cut)
                for h in matches.hits
            ),
            total=matches.total,
            documents=matches.documents,
            cursor=matches.cursor,
            exact=matches.exact,
            note=matches.note,
            per_folder=matches.per_folder,
        )  # fmt: skip

    def _search_lines(self, query: Query, path: str, span: Lines) -> Found:
        """Search some lines of one document: all its matches are found, the others left out."""
        every = replace(query, limit=MOST_LINES, cursor="", spread=False)
        matches = searching.search(self.corpus, every, [path])
        inside = [hit for hit in matches.hits if span.start <= hit.line <= span.end]
        start = int(query.cursor) if query.cursor.isdigit() else 0
        stop = start + query.limit
        found = self._cited.give(self._found(matches, Ref(self.name, path)))
        chosen = [hit for hit in found.hits if span.start <= hit.line <= span.end][start:stop]
        cut = f"Only the first {MOST_LINES:,} matches of {path} were looked at."
        return replace(
            found,
            hits=tuple(chosen),
            total=len(inside),
            exact=found.exact and not matches.cursor,
            note=f"{cut} {found.note}".strip() if matches.cursor else found.note,
            documents=1 if inside else 0,
            cursor=str(stop) if stop < len(inside) else "",
            per_folder={},
        )

    def _ranked(self, item: ranking.Ranked, scope: Ref) -> Hit:
        ref = self._ref(item.path, scope, Lines(item.start, item.end))
        return Hit(ref, item.path, item.line, item.text, cut=item.cut, note=item.note)

    def _skipped(self, path: str) -> Mapping[str, int] | None:
        return self.corpus.skipped.get(path)

    def _is_large(self, ref: Ref) -> bool:
        """Say whether a ref names one file that was described but not loaded."""
        known = not ref.path or self.corpus.document(ref.path) is not None
        return not known and bool(self._skipped(ref.path))

    def _on_demand(self, path: str) -> Text:
        """Return a file that was described but not loaded, where that is allowed."""
        skipped = self._skipped(path)
        if skipped is None:
            raise self._unknown(path)
        reason, size = next(iter(skipped.items()))
        if reason in ("too large", "over the total") and self._large is not None:
            return self._large.open(path)
        if reason == "denied":
            raise Denied(f"{path!r} holds secrets by its name and is not opened.")
        if reason == "link" and self.folder is not None:
            raise BadRequest(f"{path!r} is a link to {_target(self.folder / path)}; open that.")
        raise BadRequest(f"{path!r} is not shown: {reason}, {size:,} bytes.")

    def _unknown(self, path: str) -> BadRequest | Denied:
        if not self.confine.secrets and is_denied(path):
            return Denied(f"{path!r} holds secrets by its name and is not opened.")
        if path.startswith("/") or ".." in path.split("/"):
            return Denied(f"{path!r} leaves {self.name}; its paths are relative to its top.")
        paths = self.corpus.paths()
        hint = did_you_mean(path, paths) if len(paths) < 5_000 else ""
        if not hint:
            name = path.rstrip("/").rsplit("/", 1)[-1]
            same = [other for other in paths if other.rsplit("/", 1)[-1] == name][:3]
            hint = f" Did you mean {', '.join(same)}?" if same else ""
        return BadRequest(f"{self.name} has no document {path!r}.{hint}")


def help_of(name: str, method: Method) -> str:
    """Return a method's signature and purpose: the first paragraph of its docstring."""
    return manual.purpose(method) or name


def _languages(sizes: Counter[str]) -> str:
    total = max(1, sizes.total())
    return ", ".join(f"{name} {100 * size / total:.0f} %" for name, size in sizes.most_common(5))


def _target(link: Path) -> str:
    try:
        return repr(os.readlink(link))
    except OSError:
        return "a file that cannot be named"
