"""Find the matching lines of a large file that is read in parts, by several threads.

A line longer than MAX_WHOLE is looked at in parts of that size, each as if it were a line: what
lies across their border may be missed. It counts once, and the answer says how many there were.
"""

from __future__ import annotations

import os
import time
from codecs import BOM_UTF8
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.search.compile_pattern import CompiledPattern, compile_pattern
from rlm_mcp.corpus.search.dense_match import MARGIN_BYTES
from rlm_mcp.corpus.search.scan import LineMatcher
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.corpus.store import LineFile

Numbers = npt.NDArray[np.int64]

PART_BYTES = 16 << 20
"""Bytes that a thread takes at a time."""
PIECE_BYTES = 1 << 20
"""Bytes that are read and scanned at a time, while they are in the processor's own memory."""
MAX_WHOLE_LINE = 64 << 20
"""Bytes of a line that are looked at as one."""
_MARGIN_BYTES = 2 * MARGIN_BYTES + 1
SAMPLE_BYTES = 64 << 10
"""Bytes from which is told how frequent each pair of bytes is."""


@dataclass(frozen=True, slots=True)
class FileScan:
    """Where matching lines start, at most as many as asked; `total` counts all of them."""

    starts: list[int]
    total: int
    whole: bool
    """False where time ran out."""
    parted: int = 0
    """Lines that were too long to be looked at as one."""


def compile_line_pattern(
    pattern: str,
    *,
    ignore_case: bool = False,
    unicode: bool = False,
    multiline: bool = False,
    literal: bool = False,
) -> CompiledPattern:
    """Return a pattern for `scan`; raises BadRequest for what a single line cannot decide."""
    if multiline:
        raise BadRequest("Logs are searched line by line; leave multiline out.")
    gated = compile_pattern(pattern, ignore_case, unicode, literal=literal)
    if gated.per_document:
        raise BadRequest("Logs are searched line by line; a line has no newline, \\A or \\z in it.")
    if gated.backtrack:
        raise BadRequest("Logs are searched in linear time: no lookaround and no backreferences.")
    return gated


def scan_file(
    big: LineFile,
    gated: CompiledPattern,
    start: int,
    end: int,
    limit: int,
    skip: int,
    deadline: float,
) -> FileScan:
    """Find the matching lines of a span: `limit` of them after `skip`, and how many there are.

    The span begins where a line starts. Where time runs out at `deadline` (monotonic), what was
    found is that of the first part of the span.
    """
    end = min(end, big.size)
    if start == 0 and big.read_span(0, len(BOM_UTF8)) == BOM_UTF8:
        start = len(BOM_UTF8)  # the first line begins behind it
    sample = big.read_span(start, start + SAMPLE_BYTES)
    counts = np.bincount(np.frombuffer(sample, "<u2", len(sample) // 2), minlength=1 << 16)
    sifting = _SharedScan(big, gated, counts, limit + skip, deadline)
    spans = list(_part_spans(big, start, end))
    workers = min(4, os.cpu_count() or 1, len(spans))
    starts: list[int] = []
    total = parted = 0
    with ThreadPoolExecutor(max(1, workers), "rlm-scan") as pool:
        for part in pool.map(sifting.scan_part, spans):
            first = max(0, skip - total)
            starts += part.starts[first : first + limit - len(starts)].tolist()
            total += part.total
            parted += part.parted
            sifting.wanted = limit + skip - total
            if not part.whole:
                sifting.deadline = 0.0
                return FileScan(starts, total, False, parted)
    return FileScan(starts, total, True, parted)


def _part_spans(big: LineFile, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a span into parts on the borders of lines."""
    while start < end:
        border = min(end, big.next_line(start + PART_BYTES))
        yield start, border
        start = border


@dataclass(frozen=True, slots=True)
class _PartScan:
    starts: Numbers
    total: int
    whole: bool
    parted: int


class _SharedScan:
    """What the threads of one scan share."""

    def __init__(
        self, big: LineFile, gated: CompiledPattern, counts: Numbers, wanted: int, deadline: float
    ) -> None:
        self.wanted = wanted
        """Lines whose starts are still asked for; behind them only the total counts."""
        self.deadline = deadline
        self._big, self._matcher = big, LineMatcher(gated, counts)

    def scan_part(self, span: tuple[int, int]) -> _PartScan:
        """Find the matching lines of a part."""
        way = self._matcher.for_thread()
        found = [np.empty(0, np.int64)]
        total = kept = parted = 0
        told = False
        """Whether the line that the last block ends in has counted."""
        for block in _read_blocks(self._big, *span):
            if time.monotonic() > self.deadline:
                return _PartScan(np.concatenate(found), total, False, parted)
            parted += block.begins_long
            if way.uses_arrays and kept >= self.wanted and block.is_whole:
                total += way.count_matches(block, MARGIN_BYTES, block.end)
                told = False
                continue
            lines = block.match_newlines(way)
            again = told and block.continues_line
            told = bool(len(lines)) and lines[-1] == block.end - 1
            if again:
                first = block.find_newline(0)
                told = told or first == block.end - 1
                lines = lines[1:] if len(lines) and lines[0] == first else lines
            total += len(lines)
            if len(lines) and kept < self.wanted:
                found.append(block.file_starts(lines[: self.wanted - kept]))
                kept += len(found[-1])
        self._matcher = way
        return _PartScan(np.concatenate(found), total, True, parted)


class _LineBlock:
    """Whole lines of the file, as a text that is searched: a newline stands before and behind.

    The text lies behind MARGIN bytes, and as many follow it.
    """

    def __init__(self, room: bytearray, size: int, start: int, line: int, at_end: bool) -> None:
        self._room = room
        self._start = start
        self._line = line
        self.end = MARGIN_BYTES + size
        """Where the last newline ends."""
        ends_line = room[self.end - 1] == 10
        self.is_whole = ends_line and line == start
        """Whether no line of it began before it, or goes on behind it."""
        self.begins_long = not at_end and not ends_line and line == start
        """Whether it holds just the beginning of a line."""
        if not ends_line:
            room[self.end] = 10
            self.end += 1
        room[MARGIN_BYTES - 1] = room[self.end] = 10
        self.buffer = memoryview(room)[: self.end + MARGIN_BYTES]

    @property
    def continues_line(self) -> bool:
        """Whether its first line began in the block before."""
        return self._line < self._start

    @cached_property
    def _newline_offsets(self) -> Numbers:
        text = np.frombuffer(self.buffer, np.uint8)[MARGIN_BYTES : self.end]
        return np.flatnonzero(text == 10) + MARGIN_BYTES

    def newlines_in(self, start: int, end: int) -> tuple[int, Numbers]:
        """Return the ordinal of the first newline of a span, and where all of its newlines are."""
        low, high = self._newline_offsets.searchsorted(np.array([start, end])).tolist()
        return low, self._newline_offsets[low:high]

    def find_newline(self, position: int) -> int:
        """Return the place of the next newline of the text."""
        return self._room.find(b"\n", max(MARGIN_BYTES, position))

    def match_newlines(self, way: LineMatcher) -> Numbers:
        """Return where the newlines of the matching lines are."""
        found, are_ordinals = way.match_lines(self, MARGIN_BYTES, self.end)
        return self._newline_offsets[found] if are_ordinals else found

    def file_starts(self, newlines: Numbers) -> Numbers:
        """Return where some lines start in the file."""
        before = np.concatenate(([MARGIN_BYTES - 1], self._newline_offsets))[
            self._newline_offsets.searchsorted(newlines)
        ]
        starts: Numbers = before - (MARGIN_BYTES - 1) + self._start
        return np.where(before == MARGIN_BYTES - 1, self._line, starts)


def _read_blocks(big: LineFile, start: int, end: int) -> Iterator[_LineBlock]:
    """Read whole lines; each block is gone when the next one is asked for."""
    usual = room = _new_buffer(PIECE_BYTES)
    line = start
    while start < end:
        wanted = min(end - start, len(room) - _MARGIN_BYTES)
        size = big.read_into(memoryview(room)[MARGIN_BYTES : MARGIN_BYTES + wanted], start)
        if not size:
            return
        if size < wanted:
            end = start + size  # the file was cut meanwhile
        if start + size < end:
            border = room.rfind(b"\n", MARGIN_BYTES, MARGIN_BYTES + size) + 1 - MARGIN_BYTES
            if border <= 0 and len(room) < MAX_WHOLE_LINE:
                room = _new_buffer(min(4 * size, MAX_WHOLE_LINE))
                continue
            size = border if border > 0 else size
        yield _LineBlock(room, size, start, line, start + size >= end)
        start += size
        if room[MARGIN_BYTES + size - 1] == 10:
            line, room = start, usual


def _new_buffer(size: int) -> bytearray:
    """Return room for so many bytes, a newline that they may lack, and what is beside them."""
    return bytearray(size + _MARGIN_BYTES)
