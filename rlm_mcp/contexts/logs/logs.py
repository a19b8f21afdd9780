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

from rlm_mcp.config import Settings
from rlm_mcp.contexts import window
from rlm_mcp.contexts.cited import Cited
from rlm_mcp.contexts.logs import times
from rlm_mcp.contexts.logs.asked import Asked
from rlm_mcp.contexts.logs.files import LogFile
from rlm_mcp.contexts.logs.opened import CUT, Opened
from rlm_mcp.contexts.logs.shape import Shape
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
from rlm_mcp.corpus import sift, tokens
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import Lines, Ref

SEARCH_S = 30.0
"""Seconds that one search may take."""
MAX_MAPPED = 2 << 30
"""Bytes of several files that are put behind one another for the sandbox."""
MAX_TEXT = 64 << 20


class Whole:
    """One log file, as `window` reads it."""

    def __init__(self, file: LogFile) -> None:
        self._big = file.big

    def line_count(self) -> int:
        return self._big.line_count()

    def line_bytes(self, start: int, end: int) -> list[bytes]:
        return self._big.line_bytes(start, end)

    def data(self) -> bytes:
        if self._big.size > MAX_TEXT:
            raise BadRequest(f"The log is larger than {MAX_TEXT:,} bytes; open it by lines.")
        return self._big.read(0, self._big.size)


class Logs:
    """Log files. Safe from several threads."""

    kind: Kind = "logs"

    def __init__(self, paths: Sequence[Path], name: str, settings: Settings, cache: Path) -> None:
        self.name = name
        self._opened = Opened(paths, name, settings, cache)
        self._cache = cache
        self._lock = threading.RLock()
        self._generation = time.time_ns()
        self._joined: tuple[int, int, list[tuple[int, int]]] | None = None
        self._asked = Asked(self._opened)
        self._shape = Shape(self._opened, self._asked)
        self._cited = Cited(partial(_document, self._opened))

    @property
    def files(self) -> Sequence[LogFile]:
        """The open files, oldest first."""
        return self._opened.files

    @property
    def methods(self) -> Mapping[str, Method]:
        asked = self._cited.giving(self._asked.methods)
        return {"grep": self.grep, "search": self.find, **asked}

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

    def source(self) -> Source:
        with self._lock:
            if len(self.files) == 1:
                big_file = self.files[0].big
                return Source(big_file.fd, [(0, big_file.size)], self._generation)
            if self._joined is None or self._joined[1] != self._generation:
                if self._joined is not None:
                    os.close(self._joined[0])
                fd, spans = self._join()
                self._joined = (fd, self._generation, spans)
            return Source(self._joined[0], self._joined[2], self._generation)

    def describe(self) -> Description:
        size = sum(file.big.size for file in self.files)
        facts: dict[str, str | int] = {}
        formats = Counter(file.format.name if file.format else "plain" for file in self.files)
        facts["format"] = ", ".join(f"{name} ({count})" for name, count in formats.items())
        spans = [moment for file in self.files for moment in file.span() if moment is not None]
        if spans:
            facts["from"], facts["to"] = times.show(min(spans)), times.show(max(spans))
        notes = [*self._opened.failed, *(note for file in self.files for note in file.notes)]
        if any(file.format and not file.format.year for file in self.files):
            notes.append("Lines without a year are taken as of the file's own year.")
        if any(file.format for file in self.files):
            notes.append("Times without a zone are taken as UTC.")
        mixed = [file.name for file in self.files if file.format and not file.in_order()]
        if mixed:
            notes.append(
                f"Times in {', '.join(mixed[:3])} are not in order; since and until are not exact."
            )
        for known in ("month/day", "day/month"):
            if formats[known]:
                notes.append(f"Dates such as 03/04/2026 are read as {known}.")
        if any(file.format is None for file in self.files):
            notes.append("No time was found in some files; time questions leave them out.")
        first = self.files[-1].name
        return Description(
            name=self.name,
            kind=self.kind,
            source=", ".join(os.fspath(path) for path in self._opened.paths[:5]),
            size_bytes=size,
            tokens=tokens.estimate(size, "logs"),
            documents=len(self.files),
            freshness="checked on each call",
            ref_example=str(Ref(self.name, first, "", Lines(1, 40))),
            lines=sum(file.big.line_count() for file in self.files) if size < 64 << 20 else None,
            facts=facts,
            notes=tuple(notes),
            methods=tuple(
                (method.__doc__ or name).strip().splitlines()[0]
                for name, method in self.methods.items()
            ),
        )

    def documents(self, scope: Ref) -> Sequence[str]:
        return [file.name for file in self._opened.chosen(scope)]

    def read(self, ref: Ref, limit: int = 80) -> Passage:
        files = self._opened.chosen(ref)
        if len(files) > 1:
            if ref.span is not None:
                raise BadRequest(f"{ref}: lines are those of one log; name it.")
            lines = [
                f"{file.name}  {file.big.size:,} bytes"
                + (f"  from {times.show(file.span()[0] or 0)}" if file.span()[0] else "")
                for file in files
            ]
            note = "A listing, not text, oldest log first."
            return Passage(str(ref), "\n".join(lines[:limit]), None, len(lines), "", note)
        at = Ref(self.name, files[0].name, "", ref.span)
        return self._cited.read(at, lambda: window.window(at, Whole(files[0]), limit))

    def stale(self, ref: Ref) -> str:
        """Return what has become of lines that a ref was given for; nothing where they stand."""
        return self._cited.stale(ref)

    def text(self, ref: Ref) -> str:
        files = self._opened.chosen(ref)
        if len(files) == 1:
            named = Ref(self.name, files[0].name, "", ref.span)
            return window.text_of(named, Whole(files[0]))
        size = sum(file.big.size for file in files)
        if size > MAX_TEXT:
            raise BadRequest(f"{ref} is larger than {MAX_TEXT:,} bytes; chunk it first.")
        return "".join(window.shown(Whole(file).data()) for file in files)

    def search(self, query: Query, scope: Ref) -> Found:
        gated = sift.compiled(
            query.pattern,
            ignore_case=query.ignore_case,
            unicode=query.unicode,
            multiline=query.multiline,
            literal=query.literal,
        )
        skip = _skip(query.cursor)
        deadline = time.monotonic() + SEARCH_S
        hits: list[Hit] = []
        total = documents = parted = 0
        whole = True
        per_file: dict[str, int] = {}
        for file in self._opened.chosen(scope):
            start, end = _bytes(file, scope)
            room = query.limit - len(hits)
            scan = sift.scan(file.big, gated, start, end, room, max(0, skip - total), deadline)
            total += scan.total
            parted += scan.parted
            whole = whole and scan.whole
            if scan.total:
                documents += 1
                per_file[file.name] = scan.total
            hits += [self._hit(file, at, query, gated.regex.search) for at in scan.starts]
        more = skip + len(hits) < total and bool(hits)
        found = Found(
            hits=tuple(hits),
            total=total,
            documents=documents,
            cursor=str(skip + len(hits)) if more else "",
            exact=whole and not parted,
            note=_note(whole, parted),
            per_folder=per_file if len(per_file) > 1 else {},
        )
        return self._cited.give(found)

    def grep(
        self, pattern: str, path: str = "", limit: int = 100, ignore_case: bool = False
    ) -> Listed[Hit]:
        """grep(pattern, path="", limit=100, ignore_case=False) -> matching lines"""
        query = Query(pattern, limit=limit, ignore_case=ignore_case)
        return listed(self.search(query, Ref(self.name, path)))

    def find(self, query: str, k: int = 10) -> list[Hit]:
        """search(query, k=10) -> the lines that hold most of a question's words"""
        return list(self.rank(query, Ref(self.name), k))

    def rank(self, question: str, scope: Ref, limit: int = 10) -> Sequence[Hit]:
        return self._cited.give(self._shape.rank(question, scope, limit))

    def outline(self, scope: Ref, limit: int = 60) -> Outline:
        return self._shape.outline(scope, limit)

    def chunk(self, scope: Ref, by: str = "auto", tokens: int = 4000) -> Sequence[Chunk]:
        return self._shape.chunk(scope, by, tokens)

    def _hit(self, file: LogFile, at: int, query: Query, search: Callable[[bytes], object]) -> Hit:
        raw = file.big.line_at(at)
        match = search(raw)
        start = match.start() if match is not None else 0  # type: ignore[attr-defined]
        place = len(raw[:start].decode("utf-8", "replace"))
        text = window.decode(raw)
        begin = max(0, min(place - CUT // 3, len(text) - CUT))
        line = file.big.line_of(at)
        around = self._around(file, line, query)
        ref = str(Ref(self.name, file.name, "", Lines(line, line)))
        shown = text[begin : begin + CUT]
        return Hit(ref, file.name, line, shown, *around, cut=len(text) > CUT)

    def _around(
        self, file: LogFile, line: int, query: Query
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if not query.before and not query.after:
            return (), ()
        first = max(1, line - query.before)
        lines = [window.decode(raw)[:CUT] for raw in file.big.line_bytes(first, line + query.after)]
        return tuple(lines[: line - first]), tuple(lines[line - first + 1 :])

    def _join(self) -> tuple[int, list[tuple[int, int]]]:
        """Put the newest files behind one another in an unnamed file of the cache."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
        path = self._cache / f"joined-{os.getpid()}-{self._generation}"
        fd = os.open(path, flags, 0o600)
        os.unlink(path)
        spans = []
        chosen: list[LogFile] = []
        size = 0
        for file in reversed(self.files):
            if chosen and size + file.big.size > MAX_MAPPED:
                break
            chosen.insert(0, file)
            size += file.big.size
        at = 0
        for file in chosen:
            start = at
            for _, block in file.big.blocks():
                at += os.pwrite(fd, block, at)
            spans.append((start, at - start))
        return fd, spans


def _document(opened: Opened, path: str) -> Whole | None:
    """Return an open log by its name."""
    return next((Whole(file) for file in opened.files if file.name == path), None)


def _note(whole: bool, parted: int) -> str:
    """Return what limits the answer of a search."""
    notes = []
    if not whole:
        notes.append(f"The search was stopped after {SEARCH_S:.0f} s; the total is a lower bound.")
    if parted:
        notes.append(
            f"Lines of more than {sift.MAX_WHOLE >> 20} MB ({parted}) were looked at in parts; a "
            "match across their border may be missed."
        )
    return " ".join(notes)


def _skip(cursor: str) -> int:
    if not cursor:
        return 0
    if not cursor.isdigit():
        raise BadRequest("This is not a cursor of a search; leave it out to start again.")
    return int(cursor)


def _bytes(file: LogFile, scope: Ref) -> tuple[int, int]:
    if isinstance(scope.span, Lines):
        return file.big.start_of(scope.span.start), file.big.start_of(scope.span.end + 1)
    return 0, file.big.size
