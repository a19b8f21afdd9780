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
from rlm_mcp.contexts import layout
from rlm_mcp.contexts.large_files import LargeFiles
from rlm_mcp.corpus.code import (
    CodeNavigator,
    chunk_documents,
    kind_of_path,
    language_of,
    token_kind,
)
from rlm_mcp.corpus.search import GrepPage, Query, grep_corpus, select_paths
from rlm_mcp.documents import (
    IssuedRefs,
    PackedDocument,
    cut_window,
    packed_document,
    ref_text,
    shown_text,
)
from rlm_mcp.errors import BadRequest, Denied, did_you_mean
from rlm_mcp.methods import Method, ResultList, docstring_purpose
from rlm_mcp.refs import CharSpan, LineSpan, Ref
from rlm_mcp.tokens import SAMPLE_BYTES, actual_kind, estimate_tokens
from rlm_mcp.variable import (
    ContextChunk,
    ContextHit,
    ContextPassage,
    Description,
    HitPage,
    Kind,
    MappedText,
    Outline,
)

if TYPE_CHECKING:
    from rlm_mcp.corpus.code import RankedPassage
    from rlm_mcp.corpus.store import Corpus

MOST_LINES = 1_000_000
"""Matching lines of a document that are looked at for those in a span of it."""
MAX_TEXT = 64 << 20
"""Bytes that one call for the whole text of a scope may return."""


@dataclass(frozen=True, slots=True)
class SizedFile:
    """A document with its size."""

    ref: str
    path: str
    bytes: int
    lines: int


def _single_file(name: str, origin: str, confine: Confine, corpus: Corpus) -> TextVariable:
    """Return one large file as a variable of the same name."""
    return TextVariable(name, origin, corpus, confine, None)


class TextVariable:
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
        self.code = CodeNavigator(name, corpus, cache_dir())
        # Without a way back to this object, so that its files close with its last reader.
        self._cited = IssuedRefs(functools.partial(packed_document, corpus), fixed=bool(fixed))
        self._large: LargeFiles[TextVariable] | None = None
        if folder is not None:
            alone = functools.partial(_single_file, name, self.origin, confine)
            self._large = LargeFiles(folder, confine, cache_dir(), alone)

    @property
    def methods(self) -> Mapping[str, Method]:
        return {
            "files": self.files,
            "largest": self.largest,
            "read": self.cell_read,
            "grep": self.cell_grep,
            "search": self.cell_search,
            **self._cited.wrap_methods(self.code.methods),
        }

    def refresh(self) -> bool:
        return self.corpus.refresh()

    def close(self) -> None:
        if self._large is not None:
            self._large.close()
        self.code.close()
        self.corpus.close()

    def mapped_text(self) -> MappedText:
        return MappedText(self.corpus.fd, self.corpus.document_spans(), self.corpus.generation)

    def describe(self) -> Description:
        paths = self.corpus.document_paths()
        sizes: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        buffer = self.corpus.snapshot.buffer
        for path, (offset, length) in zip(paths, self.corpus.document_spans(), strict=True):
            name = language_of(path) or "other"
            sizes[name] += length
            sample = bytes(buffer[offset : offset + min(length, SAMPLE_BYTES)])
            kinds[actual_kind(sample, token_kind(name))] += length
        lines = sum(map(self.corpus.line_count, paths))
        return Description(
            name=self.name,
            kind=self.kind,
            source=self.origin,
            size_bytes=sizes.total(),
            tokens=sum(estimate_tokens(size, kind) for kind, size in kinds.items()),
            documents=len(paths),
            freshness=self.fixed or "checked on each call",
            ref_example=str(Ref(self.name, paths[0], "", LineSpan(1, 40))) if paths else self.name,
            lines=lines,
            facts={"languages": _language_shares(sizes)},
            skipped=dict(
                Counter(reason for item in self.corpus.skipped.values() for reason in item)
            ),
            notes=() if paths else ("There is no text in it.",),
            methods=tuple(help_line(name, method) for name, method in self.methods.items()),
        )

    def documents(self, scope: Ref) -> Sequence[str]:
        """Return the paths of a scope; raises BadRequest where it names none."""
        paths = self.corpus.document_paths()
        path = scope.path.removeprefix("./")
        if not path or path in ("/", "."):
            return paths
        if self.corpus.find_document(path) is not None:
            return [path]
        prefix = path.rstrip("/") + "/"
        if inside := [other for other in paths if other.startswith(prefix)]:
            return inside
        if scope.is_glob and not path.endswith("/") and (chosen := select_paths(paths, path)):
            return chosen
        skipped = self._skip_reasons(path)
        if skipped is not None and "denied" not in skipped:
            reason, size = next(iter(skipped.items()))
            raise BadRequest(f"{path!r} is not searched: {reason}, {size:,} bytes.")
        raise self._unknown_path(path)

    def peek(self, ref: Ref, limit: int = 80) -> ContextPassage:
        ref = self._default_document(ref)
        return self._cited.peek_checked(ref, lambda: self._peek_window(ref, limit))

    def stale_note(self, ref: Ref) -> str:
        """Return what has become of lines that a ref was given for; nothing where they stand."""
        return self._cited.stale_note(self._default_document(ref))

    def _peek_window(self, ref: Ref, limit: int) -> ContextPassage:
        if not ref.path or self.corpus.find_document(ref.path) is None:
            if ref.span is None and not self._is_large(ref):
                return layout.folder_listing(self.documents(ref), ref, limit)
            return self._open_large(ref.path).peek(ref, limit)
        return cut_window(ref, PackedDocument(self.corpus, ref.path), limit)

    def full_text(self, ref: Ref) -> str:
        ref = self._default_document(ref)
        if self.corpus.find_document(ref.path) is not None:
            return ref_text(ref, PackedDocument(self.corpus, ref.path))
        if self._is_large(ref):
            return self._open_large(ref.path).full_text(ref)
        if ref.span is not None:
            raise BadRequest(f"{ref}: lines are those of one document; name it.")
        paths = self.documents(ref)
        size = 0
        parts = []
        for path in paths:
            data = self.corpus.document_bytes(path)
            size += len(data)
            if size > MAX_TEXT:
                raise BadRequest(
                    f"{ref} is larger than {MAX_TEXT:,} bytes; chunk it and take the parts."
                )
            parts.append(shown_text(data))
        return "".join(parts)

    def grep(self, query: Query, scope: Ref) -> HitPage:
        scope = self._default_document(scope)
        if self._is_large(scope):
            return self._open_large(scope.path).grep(query, scope)
        paths = None if not scope.path else self.documents(scope)
        if isinstance(scope.span, LineSpan) and paths is not None and len(paths) == 1:
            return self._grep_span(query, paths[0], scope.span)
        return self._cited.remember_refs(
            self._hit_page(grep_corpus(self.corpus, query, paths), scope)
        )

    def search(self, question: str, scope: Ref, limit: int = 10) -> Sequence[ContextHit]:
        from rlm_mcp.corpus.code import rank_passages

        scope = self._default_document(scope)
        if self._is_large(scope):
            return self._open_large(scope.path).search(question, scope, limit)
        paths = None if not scope.path else self.documents(scope)
        found = rank_passages(self.corpus, question, paths, limit)
        return self._cited.remember_refs([self._ranked_hit(item, scope) for item in found])

    def find_definitions(self, names: Sequence[str]) -> Sequence[ContextHit]:
        """Return the lines that define these names, source first; each hit's note is the name."""
        from rlm_mcp.corpus.code import find_definitions

        return self._cited.remember_refs(
            [
                self._ranked_hit(item, Ref(self.name))
                for item in find_definitions(self.corpus, names)
            ]
        )

    def outline(self, scope: Ref, limit: int = 60) -> Outline:
        scope = self._default_document(scope)
        if self._is_large(scope):
            return self._open_large(scope.path).outline(scope, limit)
        paths = self.documents(scope)
        if len(paths) == 1:
            return self._cited.remember_refs(
                layout.document_outline(self.code, paths[0], scope, limit)
            )
        return self._cited.remember_refs(
            layout.folder_outline(self.corpus, self.code, paths, scope, limit)
        )

    def chunk(self, scope: Ref, by: str = "auto", tokens: int = 4000) -> Sequence[ContextChunk]:
        scope = self._default_document(scope)
        if self._is_large(scope):
            return self._open_large(scope.path).chunk(scope, by, tokens)
        paths = self.documents(scope)
        span = scope.span if isinstance(scope.span, (LineSpan, CharSpan)) else None
        parts = chunk_documents(self.corpus, paths, by, tokens, kind_of_path, span)
        return self._cited.remember_refs(
            [ContextChunk(self._make_ref(p.path, scope, p.span), p.tokens, p.title) for p in parts]
        )

    def files(self, glob: str = "") -> list[str]:
        """files(glob="") -> paths of the documents, in reading order"""
        paths = self.corpus.document_paths()
        return list(select_paths(paths, glob) if glob else paths)

    def largest(self, limit: int = 20, glob: str = "") -> ResultList[SizedFile]:
        """largest(limit=20, glob="") -> documents by size, the largest first"""
        snapshot = self.corpus.snapshot
        documents = [snapshot.document_at(snapshot.index[path]) for path in self.files(glob)]
        documents.sort(key=lambda document: (-document.length, document.path))
        rows = [SizedFile(self._make_ref(d.path, Ref(self.name), None), d.path, d.length, d.lines)
                for d in documents]  # fmt: skip
        return ResultList.truncate_to(rows, limit)

    def cell_read(self, path: str, start: int = 1, end: int = 0) -> str:
        """read(path, start=1, end=0) -> the text of a document, or of some of its lines"""
        if start < 1 or (end and end < start):
            raise BadRequest(
                f"read: {start} to {end} is no span; lines count from 1, end is the last one and 0 "
                "means the end of the document."
            )
        span = LineSpan(start, max(start, end or 1 << 30)) if end or start > 1 else None
        return self.full_text(Ref(self.name, path, "", span))

    def cell_grep(
        self, pattern: str, path: str = "", limit: int = 100, ignore_case: bool = False
    ) -> ResultList[ContextHit]:
        """grep(pattern, path="", limit=100, ignore_case=False) -> matching lines"""
        query = Query(pattern, limit=limit, ignore_case=ignore_case).fit_page()
        return self.grep(query, Ref(self.name, path)).hit_list()

    def cell_search(self, query: str, k: int = 10) -> list[ContextHit]:
        """search(query, k=10) -> the passages that best fit a question, best first"""
        return list(self.search(query, Ref(self.name), k))

    def _make_ref(self, path: str, scope: Ref, span: LineSpan | CharSpan | None) -> str:
        return str(Ref(self.name, path, scope.rev, span))

    def _default_document(self, ref: Ref) -> Ref:
        """Let `notes#L5` mean the one document of a variable that has only one."""
        ref = replace(ref, path=ref.path.removeprefix("./"))
        paths = self.corpus.document_paths()
        if not ref.path and ref.span is not None and len(paths) == 1:
            return Ref(ref.variable, paths[0], ref.rev, ref.span)
        return ref

    def _hit_page(self, matches: GrepPage, scope: Ref) -> HitPage:
        return HitPage(
            hits=tuple(
                ContextHit(
                    self._make_ref(h.path, scope, LineSpan(h.line, h.line)),
                    h.path,
                    h.line,
                    h.text,
                    tuple(h.before),
                    tuple(h.after),
                    h.cut,
                )
                for h in matches.hits
            ),
            total=matches.total,
            documents=matches.documents,
            cursor=matches.cursor,
            exact=matches.exact,
            note=matches.note,
            per_folder=matches.per_folder,
        )

    def _grep_span(self, query: Query, path: str, span: LineSpan) -> HitPage:
        """Search some lines of one document: all its matches are found, the others left out."""
        every = replace(query, limit=MOST_LINES, cursor="", spread=False)
        matches = grep_corpus(self.corpus, every, [path])
        inside = [hit for hit in matches.hits if span.start <= hit.line <= span.end]
        start = int(query.cursor) if query.cursor.isdigit() else 0
        stop = start + query.limit
        found = self._cited.remember_refs(self._hit_page(matches, Ref(self.name, path)))
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

    def _ranked_hit(self, item: RankedPassage, scope: Ref) -> ContextHit:
        ref = self._make_ref(item.path, scope, LineSpan(item.start, item.end))
        return ContextHit(ref, item.path, item.line, item.text, cut=item.cut, note=item.note)

    def _skip_reasons(self, path: str) -> Mapping[str, int] | None:
        return self.corpus.skipped.get(path)

    def _is_large(self, ref: Ref) -> bool:
        """Say whether a ref names one file that was described but not loaded."""
        known = not ref.path or self.corpus.find_document(ref.path) is not None
        return not known and bool(self._skip_reasons(ref.path))

    def _open_large(self, path: str) -> TextVariable:
        """Return a file that was described but not loaded, where that is allowed."""
        skipped = self._skip_reasons(path)
        if skipped is None:
            raise self._unknown_path(path)
        reason, size = next(iter(skipped.items()))
        if reason in ("too large", "over the total") and self._large is not None:
            return self._large.open_file(path)
        if reason == "denied":
            raise Denied(f"{path!r} holds secrets by its name and is not opened.")
        if reason == "link" and self.folder is not None:
            raise BadRequest(
                f"{path!r} is a link to {_link_target(self.folder / path)}; open that."
            )
        raise BadRequest(f"{path!r} is not shown: {reason}, {size:,} bytes.")

    def _unknown_path(self, path: str) -> BadRequest | Denied:
        if not self.confine.secrets and is_denied(path):
            return Denied(f"{path!r} holds secrets by its name and is not opened.")
        if path.startswith("/") or ".." in path.split("/"):
            return Denied(f"{path!r} leaves {self.name}; its paths are relative to its top.")
        paths = self.corpus.document_paths()
        hint = did_you_mean(path, paths) if len(paths) < 5_000 else ""
        if not hint:
            name = path.rstrip("/").rsplit("/", 1)[-1]
            same = [other for other in paths if other.rsplit("/", 1)[-1] == name][:3]
            hint = f" Did you mean {', '.join(same)}?" if same else ""
        return BadRequest(f"{self.name} has no document {path!r}.{hint}")


def help_line(name: str, method: Method) -> str:
    """Return a method's signature and purpose: the first paragraph of its docstring."""
    return docstring_purpose(method) or name


def _language_shares(sizes: Counter[str]) -> str:
    total = max(1, sizes.total())
    return ", ".join(f"{name} {100 * size / total:.0f} %" for name, size in sizes.most_common(5))


def _link_target(link: Path) -> str:
    try:
        return repr(os.readlink(link))
    except OSError:
        return "a file that cannot be named"
