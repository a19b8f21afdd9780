"""Find matching lines by comparing text with two neighbouring bytes of each row at a time.

Half as many comparisons of numbers twice as wide leave a few places in a thousand; the eight bytes
around each of them, taken as one number, tell nearly all of the rest. Every row (regex_tree.py) of
three bytes or more has a pair at an even and at an odd place, so that only every second place of
the text has to be looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.search import regex_tree as patterns
from rlm_mcp.corpus.search.regex_tree import (
    ALL_BYTES,
    NEWLINE_BYTE,
    WORD_BYTES,
    RegexNode,
    UnsupportedSyntax,
)

RowNeeds = tuple[tuple[int, int], ...]
"""(offset, set of bytes as bits) of a row; offset -1 is the byte before the match."""
RowItem = int | str
"""A set of bytes, or the name of an edge."""

MAX_ROWS = 16
MAX_ROW_BYTES = 24
"""Bytes that a row may have."""
MARGIN_BYTES = 64
"""Bytes that must be there before and behind a text in which rows are looked for."""
_ASSERTION_BYTES = {
    "^": ((NEWLINE_BYTE, ALL_BYTES),),
    "$": ((ALL_BYTES, NEWLINE_BYTE),),
    "\\b": ((WORD_BYTES, ALL_BYTES & ~WORD_BYTES), (ALL_BYTES & ~WORD_BYTES, WORD_BYTES)),
    "\\B": ((WORD_BYTES, WORD_BYTES), (ALL_BYTES & ~WORD_BYTES, ALL_BYTES & ~WORD_BYTES)),
}
"""What may stand before and behind each edge."""


def fixed_rows(node: RegexNode) -> tuple[RowNeeds, ...]:
    """Return the rows that a node is a choice of; none where its length is not fixed or large."""
    try:
        ways = _expand_rows(node)
    except UnsupportedSyntax:
        return ()
    found = {needs: None for way in ways for needs in _row_needs(way)}
    return tuple(found) if len(found) <= MAX_ROWS else ()


def _expand_rows(node: RegexNode) -> list[tuple[RowItem, ...]]:
    """Write a node out as a choice of rows of sets and edges. Raises Unknown for too many."""
    match node:
        case patterns.ByteClass(bits):
            return [(bits,)]
        case patterns.Assertion(name) if name in _ASSERTION_BYTES:
            return [(name,)]
        case patterns.Repetition(inner, low, high) if low <= high <= MAX_ROW_BYTES:
            parts = _expand_rows(inner)
            ways = [way for count in range(low, high + 1) for way in _join_rows([parts] * count)]
        case patterns.Concatenation(nodes):
            ways = _join_rows([_expand_rows(inner) for inner in nodes])
        case patterns.Alternation(nodes):
            ways = [way for inner in nodes for way in _expand_rows(inner)]
        case _:
            raise UnsupportedSyntax("no fixed length")
    if len(ways) > MAX_ROWS or any(len(way) > MAX_ROW_BYTES for way in ways):
        raise UnsupportedSyntax("too many rows")
    return ways


def _join_rows(parts: Sequence[list[tuple[RowItem, ...]]]) -> list[tuple[RowItem, ...]]:
    count = 1
    for part in parts:
        count *= len(part)
        if count > MAX_ROWS:
            raise UnsupportedSyntax("too many rows")
    return [tuple(item for way in ways for item in way) for ways in product(*parts)]


def _row_needs(way: tuple[RowItem, ...]) -> Iterable[RowNeeds]:
    """Turn edges into sets of bytes beside them; an edge that cannot hold leaves nothing."""
    sets: dict[int, int] = {}
    edges: list[tuple[int, str]] = []
    for item in way:
        if isinstance(item, str):
            edges.append((len(sets), item))
        else:
            sets[len(sets)] = item
    for borders in product(*(_ASSERTION_BYTES[name] for _, name in edges)):
        needs = dict(sets)
        for (place, _), (before, behind) in zip(edges, borders, strict=True):
            needs[place - 1] = needs.get(place - 1, ALL_BYTES) & before
            needs[place] = needs.get(place, ALL_BYTES) & behind
        if all(needs.values()):
            yield tuple(sorted((at, bits) for at, bits in needs.items() if bits != ALL_BYTES))


Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

RARE_SHARE = 1 / 200
"""The share of places below which they are looked at one by one."""
MIN_COMMON_SETS = 3
"""Sets that are compared everywhere all the same: to look at places takes as long."""
LINES_PER_HIT = 4
"""Lines a hit below which lines are looked at rather than hits."""
TABLE_COST = 16
"""Comparisons that take as long as looking up each byte in a table."""
MASK_OP_NS, MASK_BASE_NS = 0.06, 0.7
"""Nanoseconds a byte of one comparison, and of finding the lines of what was found."""


class _MaskRow(NamedTuple):
    """A row: what is compared everywhere, and what only where that was right."""

    common: tuple[tuple[int, _MaskTest], ...]
    rare: tuple[tuple[int, Flags], ...]


class _ByteSet(NamedTuple):
    """How a set of bytes is told: by ranges, by one bit that does not matter, or by a table."""

    bits: int
    ranges: tuple[tuple[int, int], ...]
    bit: int
    table: Flags
    operations: int
    """How many comparisons it takes."""

    def test_bytes(self, data: Bytes) -> Flags:
        """Return which bytes are in the set."""
        found: Flags | None = None
        if self.bit:
            found = data | np.uint8(self.bit) == np.uint8(self.ranges[-1][0])
            return found
        if self.operations == TABLE_COST:
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


class _MaskTest(NamedTuple):
    """Whether a byte is in a set, or is not in the rest: what is told faster."""

    known: _ByteSet
    inside: bool
    table: Flags


class ByteMasks:
    """A choice of rows, arranged for text in which bytes are as frequent as in a sample."""

    def __init__(self, choice: Sequence[RowNeeds], counts: Numbers) -> None:
        shares = counts / max(1, int(counts.sum()))
        self._rows = [_arrange_row(needs, shares) for needs in choice]
        sets = [test.known for row in self._rows for _, test in row.common]
        uses = Counter(known.bits for known in sets)
        self._shared = {bits for bits, count in uses.items() if count > 1}
        told = {known.bits: known.operations for known in sets}
        self.cost_ns = MASK_OP_NS * (sum(told.values()) + len(sets)) + MASK_BASE_NS
        """About the nanoseconds that a byte of text takes."""

    def match_lines(self, data: Bytes, ends: npt.NDArray[np.integer], begin: int) -> Numbers:
        """Return which lines match: indexes of `ends`, where their newlines are.

        `data` is whole lines with MARGIN bytes before and behind, the first a newline's; the text
        begins at `begin`.
        """
        hits = self._match_flags(data)
        if hits is None:
            return np.arange(len(ends))
        if np.count_nonzero(hits) * LINES_PER_HIT > len(ends):
            starts = np.empty(len(ends), np.int64)
            starts[0] = 0
            np.subtract(ends[:-1], begin - 1, out=starts[1:], dtype=np.int64)
            return np.flatnonzero(np.logical_or.reduceat(hits, starts))
        found = np.zeros(len(ends), bool)
        found[ends.searchsorted((np.flatnonzero(hits) + begin).astype(ends.dtype))] = True
        return np.flatnonzero(found)

    def count_matches(self, data: Bytes) -> int:
        """Return how many lines match; `data` is as in `lines`."""
        newlines = data[MARGIN_BYTES : len(data) - MARGIN_BYTES] == 10
        hits = self._match_flags(data)
        return (
            int(np.count_nonzero(newlines)) if hits is None else count_flagged_lines(hits, newlines)
        )

    def _match_flags(self, data: Bytes) -> Flags | None:
        """Return where in the text matches begin; None where one does in every line."""
        size = len(data) - 2 * MARGIN_BYTES
        hits = np.zeros(size, bool)
        whole: dict[int, Flags] = {}
        for row in self._rows:
            mask: Flags | None = None
            for offset, (known, inside, _) in row.common:
                span = slice(MARGIN_BYTES + offset, MARGIN_BYTES + offset + size)
                if known.bits in self._shared:
                    if known.bits not in whole:
                        whole[known.bits] = known.test_bytes(data)
                    part = whole[known.bits][span]
                else:
                    part = known.test_bytes(data[span])
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
                    places = places[table[data[places + (MARGIN_BYTES + offset)]]]
                hits[places] = True
            else:
                np.logical_or(hits, mask, out=hits)
        return hits


def count_flagged_lines(hits: Flags, newlines: Flags) -> int:
    """Return how many lines have a hit, their newline included.

    As numbers of one bit a byte: a line is a row of ones below its newline's zero, and what is
    added to any of them carries into that zero. Words of 64 bits carry into one another where the
    sum of two numbers of one bit a word says so.
    """
    hit, end = _pack_words(hits), _pack_words(newlines)
    ones = ~end
    sums = ones + (hit & ones)
    carry, full = _flags_to_int(sums < ones), _flags_to_int(sums == ~np.uint64(0))
    into = ((carry << 1) + full) ^ full
    bits = np.frombuffer(into.to_bytes(len(sums) // 8 + 1, "little"), np.uint8)
    sums += np.unpackbits(bits, count=len(sums), bitorder="little")
    return int(np.bitwise_count((sums | hit) & end).sum())


def _pack_words(flags: Flags) -> npt.NDArray[np.uint64]:
    """Pack flags into words of 64, the first one in the lowest bit."""
    packed = np.zeros(-(-len(flags) // 64) * 8, np.uint8)
    packed[: -(-len(flags) // 8)] = np.packbits(flags, bitorder="little")
    return packed.view("<u8")


def _flags_to_int(flags: Flags) -> int:
    """Return flags as one number, the first one in its lowest bit."""
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def _arrange_row(needs: RowNeeds, shares: npt.NDArray[np.float64]) -> _MaskRow:
    """Let the rarest sets be compared everywhere, until what is left is rare."""
    tests = []
    for offset, bits in needs:
        test = _mask_test(bits)
        tests.append((float(shares[test.table].sum()), offset, test))
    tests.sort(key=lambda item: (item[0], item[2].known.operations))
    common: list[tuple[int, _MaskTest]] = []
    left = 1.0
    while tests and (left > RARE_SHARE or not common or len(tests) <= MIN_COMMON_SETS):
        share, offset, test = tests.pop(0)
        common.append((offset, test))
        left *= share
    rare = tuple((offset, test.table) for _, offset, test in tests)
    return _MaskRow(tuple(common), rare)


@lru_cache(maxsize=256)
def _mask_test(bits: int) -> _MaskTest:
    own, rest = _byte_set(bits), _byte_set(ALL_BYTES & ~bits)
    inside = own.operations <= rest.operations
    return _MaskTest(own if inside else rest, inside, own.table)


def _byte_set(bits: int) -> _ByteSet:
    packed = np.frombuffer(bits.to_bytes(32, "little"), np.uint8)
    table = np.unpackbits(packed, bitorder="little").astype(bool)
    edges = np.flatnonzero(np.diff(table, prepend=False, append=False)).reshape(-1, 2)
    ranges = tuple((low, high - 1) for low, high in edges.tolist())
    if len(ranges) == 2 and all(low == high for low, high in ranges):
        differ = ranges[0][0] ^ ranges[1][0]
        if differ.bit_count() == 1:
            return _ByteSet(bits, ranges, differ, table, 2)
    operations = sum(1 if low == high else 2 for low, high in ranges) + len(ranges) - 1
    return _ByteSet(bits, ranges, 0, table, min(operations, TABLE_COST))


PAIR_LEAD = 3
"""Bytes before a pair in the eight that are looked at."""
PAIR_OP_NS, SHIFTED_NS, PAIR_BASE_NS = 0.06, 0.07, 0.15
"""Nanoseconds a byte of a comparison, of those of unaligned numbers besides, and of the rest."""
PLACE_NS, START_NS, TEST_NS = 20.0, 8.0, 2.0
"""Nanoseconds of looking at a place, or at the start of a line, and of each test of it."""


class _KnownBits(NamedTuple):
    """What all bytes of a set have in common: these bits with these values."""

    mask: int
    value: int
    table: Flags
    exact: bool
    """Whether no other byte has them."""


class _BytePair(NamedTuple):
    """A pair of bytes that is looked for, at even or odd places of the text."""

    odd: int
    mask: int
    value: int


class _PairTest(NamedTuple):
    """What must be around a pair, in eight bytes, and at some offsets from it."""

    mask: np.uint64
    value: np.uint64
    rest: tuple[tuple[int, Flags], ...]


class BytePairs:
    """A choice of rows, each with a pair that is rare in a sample of the text."""

    def __init__(self, choice: Sequence[RowNeeds], counts: Numbers) -> None:
        """`counts` is how often each pair is in a sample, as a number of 16 bits.

        Raises ValueError for a row that has no pair.
        """
        sample = _PairSample(counts)
        pairs: dict[_BytePair, None] = {}
        tests: dict[RowNeeds, _PairTest] = {}
        share = 0.0
        for needs in choice:
            chosen, rate = _rarest_pairs(needs, sample)
            share += rate
            pairs.update(dict.fromkeys(pair for pair, _ in chosen))
            for place in {place for _, place in chosen}:
                tests[tuple((at - place, bits) for at, bits in needs)] = _pair_test(needs, place)
        self._pairs, self._tests = tuple(pairs), tuple(tests.values())
        odd = any(pair.odd for pair in pairs)
        masks = len({(pair.odd, pair.mask) for pair in pairs if pair.mask != 0xFFFF})
        self.cost_ns = (
            PAIR_BASE_NS + PAIR_OP_NS * (len(pairs) + masks) + SHIFTED_NS * odd
            + share * (PLACE_NS + TEST_NS * len(self._tests))
        )  # fmt: skip
        """About the nanoseconds that a byte of text takes."""
        self._starts: tuple[_PairTest, ...] = ()
        """Tests of the starts of lines, where it is faster to look only at these."""
        cost_ns = sample.share_of(0xFF, 10) * (START_NS + TEST_NS * len(choice))
        if cost_ns < self.cost_ns and all(dict(needs).get(-1) == NEWLINE_BYTE for needs in choice):
            self._starts, self.cost_ns = tuple(_pair_test(needs, -1) for needs in choice), cost_ns

    def match_lines(self, data: Bytes, ends: npt.NDArray[np.integer], begin: int) -> Numbers:
        """Return which lines match: indexes of `ends`, where their newlines are.

        `data` is whole lines with MARGIN bytes before and behind, the first a newline's; the text
        begins at `begin`.
        """
        if self._starts:
            places = np.full(len(ends), MARGIN_BYTES - 1)
            np.subtract(ends[:-1], begin - MARGIN_BYTES, out=places[1:], dtype=np.int64)
            return np.flatnonzero(_test_places(data, places, self._starts))
        found = np.zeros(len(ends), bool)
        found[ends.searchsorted((self._match_places(data) + begin).astype(ends.dtype))] = True
        return np.flatnonzero(found)

    def count_matches(self, data: Bytes) -> int:
        """Return how many lines match; `data` is as in `lines`."""
        places = self._match_places(data)
        if not len(places):
            return 0
        size = -(-(len(data) - 2 * MARGIN_BYTES) // 64) * 64
        newlines = np.packbits(
            data[MARGIN_BYTES : MARGIN_BYTES + size] == 10, bitorder="little"
        ).view("<u8")
        before = np.cumsum(np.bitwise_count(newlines), dtype=np.int64)
        word = places >> 6
        behind = np.bitwise_count(newlines[word] >> (places & 63).astype(np.uint64))
        found = np.zeros(int(before[-1]) + 1, bool)
        found[before[word] - behind] = True
        return int(np.count_nonzero(found))

    def _match_places(self, data: Bytes) -> Numbers:
        """Return a byte of each match, in its line, counted from the start of the text."""
        end = len(data) - MARGIN_BYTES
        first = MARGIN_BYTES - 1
        first -= data[first:].__array_interface__["data"][0] & 1
        size = -(-(end - first) // 16) * 16
        found = []
        for odd in (0, 1):
            flags = self._pair_flags(data[first + odd : first + odd + size].view("<u2"), odd)
            if flags is not None:
                found.append(_set_indexes(flags) * 2 + (first + odd))
        places = found[0] if len(found) == 1 else np.concatenate(found)
        right = _test_places(data, places, self._tests)
        places = places.compress(right) - (MARGIN_BYTES - 1)
        return places.compress((places >= 0) & (places < end - MARGIN_BYTES))

    def _pair_flags(self, numbers: npt.NDArray[np.uint16], odd: int) -> Flags | None:
        """Return which of some pairs of bytes are looked for."""
        found: Flags | None = None
        masked = {0xFFFF: numbers}
        for pair in self._pairs:
            if pair.odd == odd:
                if pair.mask not in masked:
                    masked[pair.mask] = numbers & np.uint16(pair.mask)
                part = masked[pair.mask] == np.uint16(pair.value)
                found = part if found is None else np.logical_or(found, part, out=found)
        return found


def _test_places(data: Bytes, places: Numbers, tests: Sequence[_PairTest]) -> Flags:
    """Return at which places a pair has what must be around it."""
    around = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))[places - PAIR_LEAD]
    right = np.zeros(len(places), bool)
    for test in tests:
        part = (around & test.mask) == test.value
        if test.rest:
            left = np.flatnonzero(part)
            for offset, table in test.rest:
                left = left[table[data[places[left] + offset]]]
            right[left] = True
        else:
            right |= part
    return right


class _PairSample:
    """How frequent pairs are."""

    def __init__(self, counts: Numbers) -> None:
        self._counts, self._total = counts, max(1, int(counts.sum()))
        self._known: dict[tuple[int, int], float] = {}

    def share_of(self, mask: int, value: int) -> float:
        """Return the share of the pairs that have these bits with these values."""
        if mask == 0xFFFF:
            return int(self._counts[value]) / self._total
        if (mask, value) not in self._known:
            met = int(self._counts[self._nonzero_pairs[self._nonzero_pairs & mask == value]].sum())
            self._known[mask, value] = met / self._total
        return self._known[mask, value]

    @cached_property
    def _nonzero_pairs(self) -> Numbers:
        return np.flatnonzero(self._counts)


@lru_cache(maxsize=256)
def _known_bits(bits: int) -> _KnownBits:
    table = np.unpackbits(np.frombuffer(bits.to_bytes(32, "little"), np.uint8), bitorder="little")
    members = np.flatnonzero(table).astype(np.uint8)
    every, some = int(np.bitwise_and.reduce(members)), int(np.bitwise_or.reduce(members))
    mask = ~(every ^ some) & 0xFF
    exact = len(members) == 1 << (8 - mask.bit_count())
    return _KnownBits(mask, every & mask, table.astype(bool), exact)


def _rarest_pairs(
    needs: RowNeeds, sample: _PairSample
) -> tuple[list[tuple[_BytePair, int]], float]:
    """Return the rarest pairs that meet every match of a row, with their offsets, and how rare."""
    told = {offset: _known_bits(bits) for offset, bits in needs}
    best: list[list[tuple[float, int, int, int]]] = [[], []]
    for place in told:
        if place + 1 in told:
            mask = told[place].mask | told[place + 1].mask << 8
            value = told[place].value | told[place + 1].value << 8
            best[place & 1].append((sample.share_of(mask, value), place, mask, value))
    if not best[0] and not best[1]:
        raise ValueError("a row without a pair")
    if best[0] and best[1]:
        two = [min(options) for options in best]
        return [(_BytePair(0, m, v), at) for _, at, m, v in two], (two[0][0] + two[1][0]) / 2
    rate, at, m, v = min(best[0] or best[1])
    return [(_BytePair(odd, m, v), at) for odd in (0, 1)], rate


def _pair_test(needs: RowNeeds, place: int) -> _PairTest:
    """Return the test of a row whose pair is at an offset."""
    mask = value = 0
    rest = []
    for offset, bits in needs:
        at, byte = offset - place + PAIR_LEAD, _known_bits(bits)
        if 0 <= at < 8:
            mask |= byte.mask << 8 * at
            value |= byte.value << 8 * at
        if not (0 <= at < 8 and byte.exact):
            rest.append((offset - place, byte.table))
    return _PairTest(np.uint64(mask), np.uint64(value), tuple(rest))


def _set_indexes(flags: Flags) -> Numbers:
    """Return which flags are set; np.flatnonzero alone takes twice as long."""
    words = flags.view("<u8")
    where = np.flatnonzero(words != 0)
    near = np.flatnonzero(words.take(where).view(bool))
    return where.take(near >> 3) * 8 + (near & 7)
