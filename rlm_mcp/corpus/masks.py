"""Find matching lines by comparing whole arrays of bytes, for patterns of a fixed length.

An engine that tells each match to Python takes half a microsecond for each. Where matches are
dense it is cheaper to compare a megabyte with one byte of the pattern at a time, 20 GB/s, and to
keep the places at which all of them are right. The pattern is a choice of rows; a row says which
bytes may stand at some offsets from a place. Edges are such bytes too: a line starts behind a
newline.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus import pattern as patterns
from rlm_mcp.corpus.pattern import BYTES, NEWLINE, WORD, Node, Unknown

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Needs = tuple[tuple[int, int], ...]
"""(offset, set of bytes as bits) of a row; offset -1 is the byte before the match."""
Item = int | str
"""A set of bytes, or the name of an edge."""

PIECE = 512 << 10
"""Bytes that are compared at a time: more do not stay in the processor's own memory."""
MOST_ROWS = 16
LONGEST = 24
"""Bytes that a row may have."""
RARE = 1 / 200
"""The share of places below which they are looked at one by one."""
LAST = 3
"""Sets that are compared everywhere all the same: to look at places takes as long."""
DENSE = 4
"""Lines a hit below which lines are looked at rather than hits."""
OP_NS, BASE_NS = 0.06, 0.7
"""Nanoseconds a byte of one comparison, and of finding the lines of what was found."""
_BORDERS = {
    "^": ((NEWLINE, BYTES),),
    "$": ((BYTES, NEWLINE),),
    "\\b": ((WORD, BYTES & ~WORD), (BYTES & ~WORD, WORD)),
    "\\B": ((WORD, WORD), (BYTES & ~WORD, BYTES & ~WORD)),
}
"""What may stand before and behind each edge."""


def rows(node: Node) -> tuple[Needs, ...]:
    """Return the rows that a node is a choice of; none where its length is not fixed or large."""
    try:
        ways = _ways(node)
    except Unknown:
        return ()
    found = {needs: None for way in ways for needs in _needs(way)}
    return tuple(found) if len(found) <= MOST_ROWS else ()


def _ways(node: Node) -> list[tuple[Item, ...]]:
    """Write a node out as a choice of rows of sets and edges. Raises Unknown for too many."""
    match node:
        case patterns.One(bits):
            return [(bits,)]
        case patterns.Edge(name) if name in _BORDERS:
            return [(name,)]
        case patterns.Many(inner, low, high) if low <= high <= LONGEST:
            parts = _ways(inner)
            ways = [way for count in range(low, high + 1) for way in _joined([parts] * count)]
        case patterns.Row(nodes):
            ways = _joined([_ways(inner) for inner in nodes])
        case patterns.Either(nodes):
            ways = [way for inner in nodes for way in _ways(inner)]
        case _:
            raise Unknown("no fixed length")
    if len(ways) > MOST_ROWS or any(len(way) > LONGEST for way in ways):
        raise Unknown("too many rows")
    return ways


def _joined(parts: Sequence[list[tuple[Item, ...]]]) -> list[tuple[Item, ...]]:
    count = 1
    for part in parts:
        count *= len(part)
        if count > MOST_ROWS:
            raise Unknown("too many rows")
    return [tuple(item for way in ways for item in way) for ways in product(*parts)]


def _needs(way: tuple[Item, ...]) -> Iterable[Needs]:
    """Turn edges into sets of bytes beside them; an edge that cannot hold leaves nothing."""
    sets: dict[int, int] = {}
    edges: list[tuple[int, str]] = []
    for item in way:
        if isinstance(item, str):
            edges.append((len(sets), item))
        else:
            sets[len(sets)] = item
    for borders in product(*(_BORDERS[name] for _, name in edges)):
        needs = dict(sets)
        for (place, _), (before, behind) in zip(edges, borders, strict=True):
            needs[place - 1] = needs.get(place - 1, BYTES) & before
            needs[place] = needs.get(place, BYTES) & behind
        if all(needs.values()):
            yield tuple(sorted((at, bits) for at, bits in needs.items() if bits != BYTES))


class _Row(NamedTuple):
    """A row: what is compared everywhere, and what only where that was right."""

    common: tuple[tuple[int, _Test], ...]
    rare: tuple[tuple[int, Flags], ...]
    reach: int
    """Bytes behind the first that it needs."""


class _Test(NamedTuple):
    """How a set of bytes is told: by ranges, by one bit that does not matter, or by a table."""

    ranges: tuple[tuple[int, int], ...]
    bit: int
    table: Flags

    @property
    def operations(self) -> int:
        """How many comparisons it takes."""
        if self.bit:
            return 2
        if len(self.ranges) > 4:
            return 16
        return sum(1 if low == high else 2 for low, high in self.ranges) + len(self.ranges) - 1

    def of(self, data: Bytes) -> Flags:
        """Return which bytes are in the set."""
        found: Flags | None = None
        if self.bit:
            found = data | np.uint8(self.bit) == np.uint8(self.ranges[-1][0])
            return found
        if len(self.ranges) > 4:
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


class Masks:
    """A choice of rows, arranged for text in which bytes are as frequent as in a sample."""

    def __init__(self, choice: Sequence[Needs], counts: Numbers) -> None:
        shares = counts / max(1, int(counts.sum()))
        self._rows = [_arranged(needs, shares) for needs in choice]
        tests = [test for row in self._rows for _, test in row.common]
        operations = sum(test.operations + 1 for test in tests)
        self.cost_ns = OP_NS * operations + BASE_NS
        """About the nanoseconds that a byte of text takes."""

    def lines(self, data: Bytes, ends: Numbers) -> Numbers:
        """Return which lines match: indexes of `ends`, where their newlines are in the text.

        `data` is the byte before the text, and text that ends with a newline.
        """
        hits = self._hits(data)
        if hits is None:
            return np.arange(len(ends))
        if np.count_nonzero(hits) * DENSE > len(ends):
            starts = np.empty(len(ends), np.int64)
            starts[0] = 0
            np.add(ends[:-1], 1, out=starts[1:])
            return np.flatnonzero(np.logical_or.reduceat(hits, starts))
        found = np.zeros(len(ends), bool)
        found[ends.searchsorted(np.flatnonzero(hits))] = True
        return np.flatnonzero(found)

    def count(self, data: Bytes) -> int:
        """Return how many lines match; `data` is as in `lines`."""
        newlines = data[1:] == 10
        hits = self._hits(data)
        return int(np.count_nonzero(newlines)) if hits is None else count_lines(hits, newlines)

    def _hits(self, data: Bytes) -> Flags | None:
        """Return where in the text matches begin; None where one does in every line."""
        size = len(data) - 1
        hits = np.zeros(size, bool)
        for row in self._rows:
            count = size - row.reach
            if count <= 0:
                continue
            mask: Flags | None = None
            for offset, test in row.common:
                part = test.of(data[1 + offset : 1 + offset + count])
                mask = part if mask is None else np.logical_and(mask, part, out=mask)
            if mask is None:
                return None
            if row.rare:
                places = np.flatnonzero(mask)
                for offset, table in row.rare:
                    places = places[table[data[places + (1 + offset)]]]
                hits[places] = True
            else:
                np.logical_or(hits[:count], mask, out=hits[:count])
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
        packed = np.frombuffer(bits.to_bytes(32, "little"), np.uint8)
        table = np.unpackbits(packed, bitorder="little").astype(bool)
        tests.append((float(shares[table].sum()), offset, _test(table)))
    tests.sort(key=lambda item: (item[0], item[2].operations))
    common: list[tuple[int, _Test]] = []
    left = 1.0
    while tests and (left > RARE or not common or len(tests) <= LAST):
        share, offset, test = tests.pop(0)
        common.append((offset, test))
        left *= share
    rare = tuple((offset, test.table) for _, offset, test in tests)
    return _Row(tuple(common), rare, max([0, *(offset for offset, _ in needs)]))


def _test(table: Flags) -> _Test:
    edges = np.flatnonzero(np.diff(table, prepend=False, append=False)).reshape(-1, 2)
    ranges = tuple((low, high - 1) for low, high in edges.tolist())
    bit = 0
    if len(ranges) == 2 and all(low == high for low, high in ranges):
        differ = ranges[0][0] ^ ranges[1][0]
        bit = differ if differ.bit_count() == 1 else 0
    return _Test(ranges, bit, table)
