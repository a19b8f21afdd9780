"""The way to find matching lines that suits a pattern and the text met so far.

RE2 is the fastest where a plain text is rare, Hyperscan where an expression is; both tell Python
of each hit. Where that costs more than the text itself, whole arrays are compared (pairs.py,
masks.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.gate import Gated
from rlm_mcp.corpus.masks import Masks
from rlm_mcp.corpus.pairs import Pairs
from rlm_mcp.corpus.rows import MARGIN, Needs

Numbers = npt.NDArray[np.int64]

PIECE = 512 << 10
"""Bytes whose arrays are compared at a time: more do not stay in the processor's own memory."""
SPARSE = 21_000
"""Bytes a hit from which on RE2 is faster than Hyperscan at plain text."""
LOOK = 64
"""Hits of RE2 after which that is looked at."""
RARE = 400
"""Bytes an occurrence of its first byte from which on RE2 skips quickly to a plain text."""
SHORT = 128 << 10
"""Bytes of a block that is too short to learn from."""
TOLD_NS = {"regex": 3_000, "automaton": 400}
"""Nanoseconds of telling Python of one hit."""
CROWD = 4
"""How many times as long it takes where several threads do so."""
SCAN_NS, LEAST_NS = 0.2, 0.24
"""Nanoseconds that a byte takes an engine which tells of nothing, and arrays at the least."""
ARRANGING_NS = 300_000
"""Nanoseconds lost by telling after which arrays are arranged, which takes about as long."""


class Text(Protocol):
    """Bytes that are searched by line; the caller decides what a line is known by."""

    @property
    def buffer(self) -> memoryview:
        """The bytes; they end with a newline."""
        ...

    def newlines(self, start: int, end: int) -> tuple[int, npt.NDArray[Any]]:
        """Return the ordinal of the first newline of a span, and where all of its newlines are."""
        ...

    def find_newline(self, position: int) -> int:
        """Return the place of the next newline."""
        ...


class Way:
    """How lines are looked for, learnt from one block for the next."""

    def __init__(self, gated: Gated, counts: Numbers) -> None:
        """`counts` is how often each pair of bytes is in the text, or in a sample of it."""
        self._gated, self._counts = gated, counts
        self._arrays: Masks | Pairs | None = None
        self._lost = 0.0
        self._crowd = 1
        self.by_arrays = False
        """Whether hits are not told one by one, for now."""
        self.told = 0
        """Hits that an engine told to Python, one by one."""
        self._regex = gated.automaton is None
        if gated.text is not None and gated.automaton is not None:
            first = int(counts[gated.text[0] :: 256].sum())
            self._regex = first * RARE < int(counts.sum())

    def another(self) -> Way:
        """Return one for a thread that works beside others; it knows as much."""
        way = copy(self)
        way._crowd = CROWD
        return way

    def lines(self, text: Text, start: int, end: int) -> tuple[Numbers, bool]:
        """Find the matching lines of a block of whole lines, in order.

        Returns the ordinals of their newlines and True, or the places of these and False:
        whichever was found.
        """
        if self._arrays is not None and self.by_arrays:
            found = self._by_arrays(self._arrays, text, start, end)
            self._judge(len(found), end - start)
            return found, True
        places = np.array(self._places(text, start, end), np.int64)
        self.told += len(places)
        if self._gated.empty_lines and not self._regex:
            places = np.concatenate((places, _empty_lines(text, start, end)))
            places.sort(kind="stable")
        return places, False

    def count(self, text: Text, start: int, end: int) -> int:
        """Return how many lines of a block of whole lines match, where hits are not told."""
        assert self._arrays is not None
        found = sum(self._arrays.count(data) for _, _, data in _pieces(text, start, end))
        self._judge(found, end - start)
        return found

    def _by_arrays(self, arrays: Masks | Pairs, text: Text, start: int, end: int) -> Numbers:
        found = [np.empty(0, np.int64)]
        for begin, stop, data in _pieces(text, start, end):
            first, ends = text.newlines(begin, stop)
            found.append(arrays.lines(data, ends, begin) + first)
        return np.concatenate(found)

    def _judge(self, hits: int, size: int) -> None:
        """Take note of how many hits there were without being told."""
        way = "regex" if self._gated.automaton is None else "automaton"
        self.by_arrays = self._is_dense(way, hits, size)

    def _places(self, text: Text, start: int, end: int) -> list[int]:
        """Return the newlines of the matching lines of a block."""
        found: list[int] = []
        if self._regex:
            switch = self._gated.automaton is not None
            found, stopped = _by_regex(text, self._gated, start, end, switch)
            if stopped == end:
                self.by_arrays = not switch and self._is_dense("regex", len(found), end - start)
                return found
            self._regex, start = False, stopped
        more = _by_automaton(text, self._gated, start, end)
        self.by_arrays = self._is_dense("automaton", len(more), end - start)
        return found + more

    def _is_dense(self, way: str, hits: int, size: int) -> bool:
        """Whether telling of so many hits takes longer than comparing arrays does."""
        if size < SHORT:
            return self.by_arrays
        telling = hits * TOLD_NS[way] * self._crowd + size * SCAN_NS
        if self._arrays is None:
            self._lost += max(0.0, telling - size * LEAST_NS)
            if self._lost < ARRANGING_NS or not self._gated.rows:
                return False
            self._arrays = _arranged(self._gated.rows, self._counts)
        return telling > size * self._arrays.cost_ns


def _arranged(rows: Sequence[Needs], counts: Numbers) -> Masks | Pairs:
    """Return what compares arrays of text of this kind the fastest."""
    masks = Masks(rows, counts.reshape(256, 256).sum(axis=0))
    try:
        pairs = Pairs(rows, counts)
    except ValueError:
        return masks
    return pairs if pairs.cost_ns < masks.cost_ns else masks


def _pieces(text: Text, start: int, end: int) -> Iterator[tuple[int, int, npt.NDArray[np.uint8]]]:
    """Give whole lines, about PIECE bytes at a time: where they are, and they with a margin."""
    whole = np.frombuffer(text.buffer, np.uint8)
    while start < end:
        stop = min(end, text.find_newline(min(start + PIECE, end) - 1) + 1)
        low, high = start - MARGIN, stop + MARGIN
        data = whole[max(0, low) : high]
        if low < 0 or high > len(whole):
            newlines = np.full(high - low, 10, np.uint8)
            newlines[max(0, -low) :][: len(data)] = data
            data = newlines
        yield start, stop, data
        start = stop


def _empty_lines(text: Text, start: int, end: int) -> Numbers:
    """Return the newlines of the lines of a block that hold nothing."""
    ends = text.newlines(start, end)[1].astype(np.int64)
    found: Numbers = ends[np.diff(ends, prepend=start - 1) == 1]
    return found


def _by_automaton(text: Text, gated: Gated, start: int, end: int) -> list[int]:
    """Return the newlines of the matching lines of a block.

    RE2 looks at the last line too: Vectorscan 5.4.12 misses matches at the very end of what it is
    given.
    """
    found = _reports(text, gated, start, end)
    if found and found[0] < start:
        del found[0]
    if found and found[-1] >= end:
        del found[-1]
    if start == 0 and end:
        first = text.find_newline(0)
        if found[:1] != [first] and gated.regex.search(text.buffer[:first]) is not None:
            found.insert(0, first)
    if found[-1:] != [end - 1]:
        before = _line_start(text, start, end - 1)
        if gated.regex.search(text.buffer[before : end - 1]) is not None:
            found.append(end - 1)
    return found


def _line_start(text: Text, start: int, end: int) -> int:
    """Return where the last line before a newline starts, not before `start`."""
    size = 4096
    while True:
        begin = max(start, end - size)
        place = bytes(text.buffer[begin:end]).rfind(b"\n")
        if place >= 0:
            return begin + place + 1
        if begin == start:
            return start
        size *= 8


def _reports(text: Text, gated: Gated, start: int, end: int) -> list[int]:
    """Return what Hyperscan reports of a block, and of a byte before and behind it.

    Without these it misses some empty lines at the very start and at the very end of what it is
    given (5.4, met on the Linux sources with ^\\s*$).
    """
    found: list[int] = []
    append = found.append
    begin = max(0, start - 1)
    shift = begin - 1

    def report(_id: int, _from: int, to: int, _flags: int, _context: object) -> None:
        append(to + shift)

    assert gated.automaton is not None
    with gated.automaton.database() as database:
        database.scan(text.buffer[begin : end + 1], report)
    return sorted(set(found)) if gated.automaton.several else found


def _by_regex(
    text: Text, gated: Gated, start: int, end: int, switch: bool
) -> tuple[list[int], int]:
    """Scan with RE2; with `switch`, stop where hits are so dense that Hyperscan is faster."""
    found: list[int] = []
    search, buffer, newline = gated.regex.search, text.buffer, text.find_newline
    position = start
    while position < end and (match := search(buffer, position, end)) is not None:
        hit = match.start()
        if hit >= end:
            break
        found.append(newline(hit))
        position = found[-1] + 1
        if switch and len(found) % LOOK == 0 and position - start < len(found) * SPARSE:
            return found, position
    return found, end
