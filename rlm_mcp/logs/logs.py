"""Log files as one context variable, oldest first; questions about them are in `asked`.

Nothing is loaded: a plain file is read where it is, in blocks, and found by bisection on its
times. Packed files were unpacked into the cache when they were opened.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.corpus.search import MAX_WHOLE_LINE, Query, compile_line_pattern, scan_file
from rlm_mcp.documents import IssuedRefs, cut_window, decode_utf8, ref_text, shown_text
from rlm_mcp.errors import BadRequest
from rlm_mcp.logs import log_time
from rlm_mcp.logs.log_files import HIT_CHARS, LogFile, LogSource, OpenLogs
from rlm_mcp.logs.log_outline import LogShape
from rlm_mcp.logs.questions import LogQueries
from rlm_mcp.methods import Method, ResultList
from rlm_mcp.refs import LineSpan, Ref
from rlm_mcp.tokens import estimate_tokens
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
    from rlm_mcp.config import Settings

GREP_LIMIT_S = 30.0
"""Seconds that one search may take."""
MAX_MAPPED_BYTES = 2 << 30
"""Bytes of several files that are put behind one another for the sandbox."""
MAX_TEXT_BYTES = 64 << 20


class LogDocument:
    """One log file, as `window` reads it."""

    def __init__(self, file: LogFile) -> None:
        self._big = file.line_file

    def line_count(self) -> int:
        return self._big.line_count()

    def line_bytes(self, start: int, end: int) -> list[bytes]:
        return self._big.line_bytes(start, end)

    def full_bytes(self) -> bytes:
        if self._big.size > MAX_TEXT_BYTES:
            raise BadRequest(f"The log is larger than {MAX_TEXT_BYTES:,} bytes; open it by lines.")
        return self._big.read_span(0, self._big.size)


class Logs:
    """Log files. Safe from several threads."""

    kind: Kind = "logs"

    def __init__(
        self,
        paths: Sequence[Path],
        name: str,
        settings: Settings,
        cache: Path,
        how: LogSource | None = None,
    ) -> None:
        self.name = name
        self._opened = OpenLogs(paths, name, settings, cache, how or LogSource())
        self._cache = cache
        self._lock = threading.RLock()
        self._generation = time.time_ns()
        self._joined: tuple[int, int, list[tuple[int, int]]] | None = None
        self._asked = LogQueries(self._opened)
        self._shape = LogShape(self._opened, self._asked)
        self._cited = IssuedRefs(partial(_open_document, self._opened))

    @property
    def files(self) -> Sequence[LogFile]:
        """The open files, oldest first."""
        return self._opened.files

    @property
    def methods(self) -> Mapping[str, Method]:
        asked = self._cited.wrap_methods(self._asked.methods)
        return {"grep": self.cell_grep, "search": self.cell_search, **asked}

    def refresh(self) -> bool:
        with self._lock:
            changed = self._opened.refresh()
            if changed:
                self._generation += 1
            return changed

    def close(self) -> None:
        with self._lock:
            self._opened.close()
            if self._joined is not None:
                os.close(self._joined[0])
            self._joined = None

    def mapped_text(self) -> MappedText:
        with self._lock:
            if len(self.files) == 1:
                big_file = self.files[0].line_file
                return MappedText(big_file.fd, [(0, big_file.size)], self._generation)
            if self._joined is None or self._joined[1] != self._generation:
                if self._joined is not None:
                    os.close(self._joined[0])
                fd, spans = self._join_files()
                self._joined = (fd, self._generation, spans)
            return MappedText(self._joined[0], self._joined[2], self._generation)

    def describe(self) -> Description:
        size = sum(file.line_file.size for file in self.files)
        facts: dict[str, str | int] = {}
        formats = Counter(file.format.name for file in self.files)
        facts["format"] = ", ".join(f"{name} ({count})" for name, count in formats.items())
        spans = [moment for file in self.files for moment in file.time_span() if moment is not None]
        if spans:
            facts["from"], facts["to"] = (
                log_time.format_time(min(spans)),
                log_time.format_time(max(spans)),
            )
        notes = [*self._opened.open_errors, *(note for file in self.files for note in file.notes)]
        if left := self._opened.how.left_out:
            more = f" and {len(left) - 5} more" if len(left) > 5 else ""
            notes.append(f"Not taken for logs: {', '.join(left[:5])}{more}.")
        if any(not file.format.year for file in self.files):
            notes.append(
                "Lines without a year are of the latest that is not after the last change."
            )
        if any(file.timed and not file.format.zone for file in self.files):
            notes.append("Times without a zone are taken as UTC.")
        mixed = [file.name for file in self.files if file.timed and not file.in_order()]
        if mixed:
            notes.append(
                f"Times in {', '.join(mixed[:3])} are not in order; since and until are not exact."
            )
        for known in ("month/day", "day/month"):
            if any(file.format.style == known for file in self.files):
                notes.append(f"Dates such as 03/04/2026 are read as {known}.")
        if any(not file.timed for file in self.files):
            notes.append("No time was found in some files; time questions leave them out.")
        first = self.files[-1].name
        return Description(
            name=self.name,
            kind=self.kind,
            source=", ".join(os.fspath(path) for path in self._opened.paths[:5]),
            size_bytes=size,
            tokens=estimate_tokens(size, "logs"),
            documents=len(self.files),
            freshness="checked on each call",
            ref_example=str(Ref(self.name, first, "", LineSpan(1, 40))),
            lines=sum(file.line_file.line_count() for file in self.files)
            if size < 64 << 20
            else None,
            facts=facts,
            notes=tuple(notes),
            methods=tuple(
                (method.__doc__ or name).strip().splitlines()[0]
                for name, method in self.methods.items()
            ),
        )

    def documents(self, scope: Ref) -> Sequence[str]:
        return [file.name for file in self._opened.files_in_scope(scope)]

    def peek(self, ref: Ref, limit: int = 80) -> ContextPassage:
        files = self._opened.files_in_scope(ref)
        if len(files) > 1:
            if ref.span is not None:
                raise BadRequest(f"{ref}: lines are those of one log; name it.")
            lines = [
                f"{file.name}  {file.line_file.size:,} bytes"
                + (
                    f"  from {log_time.format_time(file.time_span()[0] or 0)}"
                    if file.time_span()[0]
                    else ""
                )
                for file in files
            ]
            note = "A listing, not text, oldest log first."
            return ContextPassage(str(ref), "\n".join(lines[:limit]), None, len(lines), "", note)
        at = Ref(self.name, files[0].name, "", ref.span)
        return self._cited.peek_checked(at, lambda: cut_window(at, LogDocument(files[0]), limit))

    def stale_note(self, ref: Ref) -> str:
        """Return what has become of lines that a ref was given for; nothing where they stand."""
        return self._cited.stale_note(ref)

    def full_text(self, ref: Ref) -> str:
        files = self._opened.files_in_scope(ref)
        if len(files) == 1:
            named = Ref(self.name, files[0].name, "", ref.span)
            return ref_text(named, LogDocument(files[0]))
        size = sum(file.line_file.size for file in files)
        if size > MAX_TEXT_BYTES:
            raise BadRequest(f"{ref} is larger than {MAX_TEXT_BYTES:,} bytes; chunk it first.")
        return "".join(shown_text(LogDocument(file).full_bytes()) for file in files)

    def grep(self, query: Query, scope: Ref) -> HitPage:
        gated = compile_line_pattern(
            query.pattern,
            ignore_case=query.ignore_case,
            unicode=query.unicode,
            multiline=query.multiline,
            literal=query.literal,
        )
        skip = _parse_cursor(query.cursor)
        deadline = time.monotonic() + GREP_LIMIT_S
        hits: list[ContextHit] = []
        total = documents = parted = 0
        whole = True
        per_file: dict[str, int] = {}
        for file in self._opened.files_in_scope(scope):
            start, end = _byte_range(file, scope)
            room = query.limit - len(hits)
            scan = scan_file(
                file.line_file, gated, start, end, room, max(0, skip - total), deadline
            )
            total += scan.total
            parted += scan.parted
            whole = whole and scan.whole
            if scan.total:
                documents += 1
                per_file[file.name] = scan.total
            hits += [self._line_hit(file, at, query, gated.regex.search) for at in scan.starts]
        more = skip + len(hits) < total and bool(hits)
        found = HitPage(
            hits=tuple(hits),
            total=total,
            documents=documents,
            cursor=str(skip + len(hits)) if more else "",
            exact=whole and not parted,
            note=_limit_note(whole, parted),
            per_folder=per_file if len(per_file) > 1 else {},
        )
        return self._cited.remember_refs(found)

    def cell_grep(
        self, pattern: str, path: str = "", limit: int = 100, ignore_case: bool = False
    ) -> ResultList[ContextHit]:
        """grep(pattern, path="", limit=100, ignore_case=False) -> matching lines"""
        query = Query(pattern, limit=limit, ignore_case=ignore_case).fit_page()
        return self.grep(query, Ref(self.name, path)).hit_list()

    def cell_search(self, query: str, k: int = 10) -> list[ContextHit]:
        """search(query, k=10) -> the lines that hold most of a question's words"""
        return list(self.search(query, Ref(self.name), k))

    def search(self, question: str, scope: Ref, limit: int = 10) -> Sequence[ContextHit]:
        return self._cited.remember_refs(self._shape.search(question, scope, limit))

    def outline(self, scope: Ref, limit: int = 60) -> Outline:
        return self._shape.outline(scope, limit)

    def chunk(self, scope: Ref, by: str = "auto", tokens: int = 4000) -> Sequence[ContextChunk]:
        return self._shape.chunk(scope, by, tokens)

    def _line_hit(
        self, file: LogFile, at: int, query: Query, search: Callable[[bytes], object]
    ) -> ContextHit:
        raw = file.line_file.line_at(at)
        match = search(raw)
        start = match.start() if match is not None else 0  # type: ignore[attr-defined]
        place = len(raw[:start].decode("utf-8", "replace"))
        text = decode_utf8(raw)
        begin = max(0, min(place - HIT_CHARS // 3, len(text) - HIT_CHARS))
        line = file.line_file.line_number(at)
        around = self._context_lines(file, line, query)
        ref = str(Ref(self.name, file.name, "", LineSpan(line, line)))
        shown = text[begin : begin + HIT_CHARS]
        return ContextHit(ref, file.name, line, shown, *around, cut=len(text) > HIT_CHARS)

    def _context_lines(
        self, file: LogFile, line: int, query: Query
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if not query.before and not query.after:
            return (), ()
        first = max(1, line - query.before)
        lines = [
            decode_utf8(raw)[:HIT_CHARS]
            for raw in file.line_file.line_bytes(first, line + query.after)
        ]
        return tuple(lines[: line - first]), tuple(lines[line - first + 1 :])

    def _join_files(self) -> tuple[int, list[tuple[int, int]]]:
        """Put the newest files behind one another in an unnamed file of the cache."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        path = self._cache / f"joined-{os.getpid()}-{self._generation}"
        fd = os.open(path, flags, 0o600)
        os.unlink(path)
        spans = []
        chosen: list[LogFile] = []
        size = 0
        for file in reversed(self.files):
            if chosen and size + file.line_file.size > MAX_MAPPED_BYTES:
                break
            chosen.insert(0, file)
            size += file.line_file.size
        at = 0
        for file in chosen:
            start = at
            for _, block in file.line_file.line_blocks():
                at += os.pwrite(fd, block, at)
            spans.append((start, at - start))
        return fd, spans


def _open_document(opened: OpenLogs, path: str) -> LogDocument | None:
    """Return an open log by its name."""
    return next((LogDocument(file) for file in opened.files if file.name == path), None)


def _limit_note(whole: bool, parted: int) -> str:
    """Return what limits the answer of a search."""
    notes = []
    if not whole:
        notes.append(
            f"The search was stopped after {GREP_LIMIT_S:.0f} s; the total is a lower bound."
        )
    if parted:
        notes.append(
            f"Lines of more than {MAX_WHOLE_LINE >> 20} MB ({parted}) were "
            "looked at in parts; a "
            "match across their border may be missed."
        )
    return " ".join(notes)


def _parse_cursor(cursor: str) -> int:
    if not cursor:
        return 0
    if not cursor.isdigit():
        raise BadRequest("This is not a cursor of a search; leave it out to start again.")
    return int(cursor)


def _byte_range(file: LogFile, scope: Ref) -> tuple[int, int]:
    if isinstance(scope.span, LineSpan):
        return file.line_file.line_start(scope.span.start), file.line_file.line_start(
            scope.span.end + 1
        )
    return 0, file.line_file.size
