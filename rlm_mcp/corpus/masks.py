"""Find matching lines by comparing whole arrays of bytes, for patterns of a fixed length.

An engine that tells each match to Python takes half a microsecond for each. Where matches are
dense it is cheaper to compare a megabyte with one byte of each row (rows.py) at a time, 20 GB/s,
and to keep the places at which all of them are right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.pattern import BYTES
from rlm_mcp.corpus.rows import MARGIN, Needs

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

RARE = 1 / 200
"""The share of places below which they are looked at one by one."""
LAST = 3
"""Sets that are compared everywhere all the same: to look at places takes as long."""
DENSE = 4
"""Lines a hit below which lines are looked at rather than hits."""
TABLE = 16
"""Comparisons that take as long as looking up each byte in a table."""
OP_NS, BASE_NS = 0.06, 0.7
"""Nanoseconds a byte of one comparison, and of finding the lines of what was found."""


class _Row(NamedTuple):
    """A row: what is compared everywhere, and what only where that was right."""

    common: tuple[tuple[int, _Test], ...]
    rare: tuple[tuple[int, Flags], ...]


class _Set(NamedTuple):
    """How a set of bytes is told: by ranges, by one bit that does not matter, or by a table."""

    bits: int
    ranges: tuple[tuple[int, int], ...]
    bit: int
    table: Flags
    operations: int
    """How many comparisons it takes."""

    def of(self, data: Bytes) -> Flags:
        """Return which bytes are in the set."""
        found: Flags | None = None
        if self.bit:
            found = data | np.uint8(self.bit) == np.uint8(self.ranges[-1][0])
            return found
        if self.operations == TABLE:
            return self.table[data]
        for low, high in self.ranges:
            if low == high:
                part = np.equal(data, np.uint8(low))
            elif low == 0:
                part = np.less_equal(data, np.uint8(high))
            else:
                part = np.less_equal(data - np.uint8(low), np.uint8(high - low))
            found = part if found is None else np.logical_or(found, part, out=found)
        assert found is not None  # no set is empty
        return found


class _Test(NamedTuple):
    """Whether a byte is in a set, or is not in the rest: what is told faster."""

    known: _Set
    inside: bool
    table: Flags


class Masks:
    """A choice of rows, arranged for text in which bytes are as frequent as in a sample."""

    def __init__(self, choice: Sequence[Needs], counts: Numbers) -> None:
        shares = counts / max(1, int(counts.sum()))
        self._rows = [_arranged(needs, shares) for needs in choice]
        sets = [test.known for row in self._rows for _, test in row.common]
        uses = Counter(known.bits for known in sets)
        self._shared = {bits for bits, count in uses.items() if count > 1}
        told = {known.bits: known.operations for known in sets}
        self.cost_ns = OP_NS * (sum(told.values()) + len(sets)) + BASE_NS
        """About the nanoseconds that a byte of text takes."""

    def lines(self, data: Bytes, ends: npt.NDArray[np.integer], begin: int) -> Numbers:
        """Return which lines match: indexes of `ends`, where their newlines are.

        `data` is whole lines with MARGIN bytes before and behind, the first a newline's; the text
        begins at `begin`.
        """
        hits = self._hits(data)
        if hits is None:
            return np.arange(len(ends))
        if np.count_nonzero(hits) * DENSE > len(ends):
            starts = np.empty(len(ends), np.int64)
            starts[0] = 0
            np.subtract(ends[:-1], begin - 1, out=starts[1:], dtype=np.int64)
            return np.flatnonzero(np.logical_or.reduceat(hits, starts))
        found = np.zeros(len(ends), bool)
        found[ends.searchsorted((np.flatnonzero(hits) + begin).astype(ends.dtype))] = True
        return np.flatnonzero(found)

    def count(self, data: Bytes) -> int:
        """Return how many lines match; `data` is as in `lines`."""
        newlines = data[MARGIN : len(data) - MARGIN] == 10
        hits = self._hits(data)
        return int(np.count_nonzero(newlines)) if hits is None else count_lines(hits, newlines)

    def _hits(self, data: Bytes) -> Flags | None:
        """Return where in the text matches begin; None where one does in every line."""
        size = len(data) - 2 * MARGIN
        hits = np.zeros(size, bool)
        whole: dict[int, Flags] = {}
        for row in self._rows:
            mask: Flags | None = None
            for offset, (known, inside, _) in row.common:
                span = slice(MARGIN + offset, MARGIN + offset + size)
                if known.bits in self._shared:
                    if known.bits not in whole:
                        whole[known.bits] = known.of(data)
                    part = whole[known.bits][span]
                else:
                    part = known.of(data[span])
                if mask is None:
                    mask = part.copy() if inside else ~part
                elif inside:
                    np.logical_and(mask, part, out=mask)
                else:
                    np.greater(mask, part, out=mask)
            if mask is None:
                return None
            if row.rare:
                places = np.flatnonzero(mask)
                for offset, table in row.rare:
                    places = places[table[data[places + (MARGIN + offset)]]]
                hits[places] = True
            else:
                np.logical_or(hits, mask, out=hits)
        return hits


def count_lines(hits: Flags, newlines: Flags) -> int:
    """Return how many lines have a hit, their newline included.

    As numbers of one bit a byte: a line is a row of ones below its newline's zero, and what is
    added to any of them carries into that zero. Words of 64 bits carry into one another where the
    sum of two numbers of one bit a word says so.
    """
    hit, end = _words(hits), _words(newlines)
    ones = ~end
    sums = ones + (hit & ones)
    carry, full = _number(sums < ones), _number(sums == ~np.uint64(0))
    into = ((carry << 1) + full) ^ full
    bits = np.frombuffer(into.to_bytes(len(sums) // 8 + 1, "little"), np.uint8)
    sums += np.unpackbits(bits, count=len(sums), bitorder="little")
    return int(np.bitwise_count((sums | hit) & end).sum())


def _words(flags: Flags) -> npt.NDArray[np.uint64]:
    """Pack flags into words of 64, the first one in the lowest bit."""
    packed = np.zeros(-(-len(flags) // 64) * 8, np.uint8)
    packed[: -(-len(flags) // 8)] = np.packbits(flags, bitorder="little")
    return packed.view("<u8")


def _number(flags: Flags) -> int:
    """Return flags as one number, the first one in its lowest bit."""
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def _arranged(needs: Needs, shares: npt.NDArray[np.float64]) -> _Row:
    """Let the rarest sets be compared everywhere, until what is left is rare."""
    tests = []
    for offset, bits in needs:
        test = _test(bits)
        tests.append((float(shares[test.table].sum()), offset, test))
    tests.sort(key=lambda item: (item[0], item[2].known.operations))
    common: list[tuple[int, _Test]] = []
    left = 1.0
    while tests and (left > RARE or not common or len(tests) <= LAST):
        share, offset, test = tests.pop(0)
        common.append((offset, test))
        left *= share
    rare = tuple((offset, test.table) for _, offset, test in tests)
    return _Row(tuple(common), rare)


@lru_cache(maxsize=256)
def _test(bits: int) -> _Test:
    own, rest = _set(bits), _set(BYTES & ~bits)
    inside = own.operations <= rest.operations
    return _Test(own if inside else rest, inside, own.table)


def _set(bits: int) -> _Set:
    packed = np.frombuffer(bits.to_bytes(32, "little"), np.uint8)
    table = np.unpackbits(packed, bitorder="little").astype(bool)
    edges = np.flatnonzero(np.diff(table, prepend=False, append=False)).reshape(-1, 2)
    ranges = tuple((low, high - 1) for low, high in edges.tolist())
    if len(ranges) == 2 and all(low == high for low, high in ranges):
        differ = ranges[0][0] ^ ranges[1][0]
        if differ.bit_count() == 1:
            return _Set(bits, ranges, differ, table, 2)
    operations = sum(1 if low == high else 2 for low, high in ranges) + len(ranges) - 1
    return _Set(bits, ranges, 0, table, min(operations, TABLE))
