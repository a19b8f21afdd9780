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

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.big import Big
from rlm_mcp.corpus.gate import Gated, gate
from rlm_mcp.corpus.rows import MARGIN
from rlm_mcp.corpus.way import Way
from rlm_mcp.errors import BadRequest

Numbers = npt.NDArray[np.int64]

PART = 16 << 20
"""Bytes that a thread takes at a time."""
PIECE = 1 << 20
"""Bytes that are read and scanned at a time, while they are in the processor's own memory."""
MAX_WHOLE = 64 << 20
"""Bytes of a line that are looked at as one."""
_BESIDE = 2 * MARGIN + 1
SAMPLE = 64 << 10
"""Bytes from which is told how frequent each pair of bytes is."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """Where matching lines start, at most as many as asked; `total` counts all of them."""

    starts: list[int]
    total: int
    whole: bool
    """False where time ran out."""
    parted: int = 0
    """Lines that were too long to be looked at as one."""


def compiled(
    pattern: str,
    *,
    ignore_case: bool = False,
    unicode: bool = False,
    multiline: bool = False,
    literal: bool = False,
) -> Gated:
    """Return a pattern for `scan`; raises BadRequest for what a single line cannot decide."""
    if multiline:
        raise BadRequest("Logs are searched line by line; leave multiline out.")
    gated = gate(pattern, ignore_case, unicode, literal=literal)
    if gated.per_document:
        raise BadRequest("Logs are searched line by line; a line has no newline, \\A or \\z in it.")
    if gated.backtrack:
        raise BadRequest("Logs are searched in linear time: no lookaround and no backreferences.")
    return gated


def scan(
    big: Big, gated: Gated, start: int, end: int, limit: int, skip: int, deadline: float
) -> Scanned:
    """Find the matching lines of a span: `limit` of them after `skip`, and how many there are.

    The span begins where a line starts. Where time runs out at `deadline` (monotonic), what was
    found is that of the first part of the span.
    """
    end = min(end, big.size)
    if start == 0 and big.read(0, len(BOM_UTF8)) == BOM_UTF8:
        start = len(BOM_UTF8)  # the first line begins behind it
    sample = big.read(start, start + SAMPLE)
    counts = np.bincount(np.frombuffer(sample, "<u2", len(sample) // 2), minlength=1 << 16)
    sifting = _Sifting(big, gated, counts, limit + skip, deadline)
    spans = list(_spans(big, start, end))
    workers = min(4, os.cpu_count() or 1, len(spans))
    starts: list[int] = []
    total = parted = 0
    with ThreadPoolExecutor(max(1, workers), "rlm-sift") as pool:
        for part in pool.map(sifting.part, spans):
            first = max(0, skip - total)
            starts += part.starts[first : first + limit - len(starts)].tolist()
            total += part.total
            parted += part.parted
            sifting.wanted = limit + skip - total
            if not part.whole:
                sifting.deadline = 0.0
                return Scanned(starts, total, False, parted)
    return Scanned(starts, total, True, parted)


def _spans(big: Big, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a span into parts on the borders of lines."""
    while start < end:
        border = min(end, big.next_line(start + PART))
        yield start, border
        start = border


@dataclass(frozen=True, slots=True)
class _Part:
    starts: Numbers
    total: int
    whole: bool
    parted: int


class _Sifting:
    """What the threads of one scan share."""

    def __init__(
        self, big: Big, gated: Gated, counts: Numbers, wanted: int, deadline: float
    ) -> None:
        self.wanted = wanted
        """Lines whose starts are still asked for; behind them only the total counts."""
        self.deadline = deadline
        self._big, self._way = big, Way(gated, counts)

    def part(self, span: tuple[int, int]) -> _Part:
        """Find the matching lines of a part."""
        way = self._way.another()
        found = [np.empty(0, np.int64)]
        total = kept = parted = 0
        told = False
        """Whether the line that the last block ends in has counted."""
        for block in _blocks(self._big, *span):
            if time.monotonic() > self.deadline:
                return _Part(np.concatenate(found), total, False, parted)
            parted += block.begins_long
            if way.by_arrays and kept >= self.wanted and block.is_whole:
                total += way.count(block, MARGIN, block.end)
                told = False
                continue
            lines = block.matching(way)
            again = told and block.goes_on
            told = bool(len(lines)) and lines[-1] == block.end - 1
            if again:
                first = block.find_newline(0)
                told = told or first == block.end - 1
                lines = lines[1:] if len(lines) and lines[0] == first else lines
            total += len(lines)
            if len(lines) and kept < self.wanted:
                found.append(block.starts(lines[: self.wanted - kept]))
                kept += len(found[-1])
        self._way = way
        return _Part(np.concatenate(found), total, True, parted)


class _Block:
    """Whole lines of the file, as a text that is searched: a newline stands before and behind.

    The text lies behind MARGIN bytes, and as many follow it.
    """

    def __init__(self, room: bytearray, size: int, start: int, line: int, at_end: bool) -> None:
        self._room = room
        self._start = start
        self._line = line
        self.end = MARGIN + size
        """Where the last newline ends."""
        ends_line = room[self.end - 1] == 10
        self.is_whole = ends_line and line == start
        """Whether no line of it began before it, or goes on behind it."""
        self.begins_long = not at_end and not ends_line and line == start
        """Whether it holds just the beginning of a line."""
        if not ends_line:
            room[self.end] = 10
            self.end += 1
        room[MARGIN - 1] = room[self.end] = 10
        self.buffer = memoryview(room)[: self.end + MARGIN]

    @property
    def goes_on(self) -> bool:
        """Whether its first line began in the block before."""
        return self._line < self._start

    @cached_property
    def _ends(self) -> Numbers:
        text = np.frombuffer(self.buffer, np.uint8)[MARGIN : self.end]
        return np.flatnonzero(text == 10) + MARGIN

    def newlines(self, start: int, end: int) -> tuple[int, Numbers]:
        """Return the ordinal of the first newline of a span, and where all of its newlines are."""
        low, high = self._ends.searchsorted(np.array([start, end])).tolist()
        return low, self._ends[low:high]

    def find_newline(self, position: int) -> int:
        """Return the place of the next newline of the text."""
        return self._room.find(b"\n", max(MARGIN, position))

    def matching(self, way: Way) -> Numbers:
        """Return where the newlines of the matching lines are."""
        found, are_ordinals = way.lines(self, MARGIN, self.end)
        return self._ends[found] if are_ordinals else found

    def starts(self, newlines: Numbers) -> Numbers:
        """Return where some lines start in the file."""
        before = np.concatenate(([MARGIN - 1], self._ends))[self._ends.searchsorted(newlines)]
        starts: Numbers = before - (MARGIN - 1) + self._start
        return np.where(before == MARGIN - 1, self._line, starts)


def _blocks(big: Big, start: int, end: int) -> Iterator[_Block]:
    """Read whole lines; each block is gone when the next one is asked for."""
    usual = room = _room(PIECE)
    line = start
    while start < end:
        wanted = min(end - start, len(room) - _BESIDE)
        size = big.read_into(memoryview(room)[MARGIN : MARGIN + wanted], start)
        if not size:
            return
        if size < wanted:
            end = start + size  # the file was cut meanwhile
        if start + size < end:
            border = room.rfind(b"\n", MARGIN, MARGIN + size) + 1 - MARGIN
            if border <= 0 and len(room) < MAX_WHOLE:
                room = _room(min(4 * size, MAX_WHOLE))
                continue
            size = border if border > 0 else size
        yield _Block(room, size, start, line, start + size >= end)
        start += size
        if room[MARGIN + size - 1] == 10:
            line, room = start, usual


def _room(size: int) -> bytearray:
    """Return room for so many bytes, a newline that they may lack, and what is beside them."""
    return bytearray(size + _BESIDE)
