"""Find matching lines by comparing text with two neighbouring bytes of each row at a time.

Half as many comparisons of numbers twice as wide leave a few places in a thousand; the eight bytes
around each of them, taken as one number, tell nearly all of the rest. Every row (rows.py) of
three bytes or more has a pair at an even and at an odd place, so that only every second place of
the text has to be looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.pattern import NEWLINE
from rlm_mcp.corpus.rows import MARGIN, Needs

Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

LEAD = 3
"""Bytes before a pair in the eight that are looked at."""
OP_NS, SHIFTED_NS, BASE_NS = 0.06, 0.07, 0.15
"""Nanoseconds a byte of a comparison, of those of unaligned numbers besides, and of the rest."""
PLACE_NS, START_NS, TEST_NS = 20.0, 8.0, 2.0
"""Nanoseconds of looking at a place, or at the start of a line, and of each test of it."""


class _Told(NamedTuple):
    """What all bytes of a set have in common: these bits with these values."""

    mask: int
    value: int
    table: Flags
    exact: bool
    """Whether no other byte has them."""


class _Pair(NamedTuple):
    """A pair of bytes that is looked for, at even or odd places of the text."""

    odd: int
    mask: int
    value: int


class _Test(NamedTuple):
    """What must be around a pair, in eight bytes, and at some offsets from it."""

    mask: np.uint64
    value: np.uint64
    rest: tuple[tuple[int, Flags], ...]


class Pairs:
    """A choice of rows, each with a pair that is rare in a sample of the text."""

    def __init__(self, choice: Sequence[Needs], counts: Numbers) -> None:
        """`counts` is how often each pair is in a sample, as a number of 16 bits.

        Raises ValueError for a row that has no pair.
        """
        sample = _Sample(counts)
        pairs: dict[_Pair, None] = {}
        tests: dict[Needs, _Test] = {}
        share = 0.0
        for needs in choice:
            chosen, rate = _chosen(needs, sample)
            share += rate
            pairs.update(dict.fromkeys(pair for pair, _ in chosen))
            for place in {place for _, place in chosen}:
                tests[tuple((at - place, bits) for at, bits in needs)] = _test(needs, place)
        self._pairs, self._tests = tuple(pairs), tuple(tests.values())
        odd = any(pair.odd for pair in pairs)
        masks = len({(pair.odd, pair.mask) for pair in pairs if pair.mask != 0xFFFF})
        self.cost_ns = (
            BASE_NS + OP_NS * (len(pairs) + masks) + SHIFTED_NS * odd
            + share * (PLACE_NS + TEST_NS * len(self._tests))
        )  # fmt: skip
        """About the nanoseconds that a byte of text takes."""
        self._starts: tuple[_Test, ...] = ()
        """Tests of the starts of lines, where it is faster to look only at these."""
        cost_ns = sample.share(0xFF, 10) * (START_NS + TEST_NS * len(choice))
        if cost_ns < self.cost_ns and all(dict(needs).get(-1) == NEWLINE for needs in choice):
            self._starts, self.cost_ns = tuple(_test(needs, -1) for needs in choice), cost_ns

    def lines(self, data: Bytes, ends: npt.NDArray[np.integer], begin: int) -> Numbers:
        """Return which lines match: indexes of `ends`, where their newlines are.

        `data` is whole lines with MARGIN bytes before and behind, the first a newline's; the text
        begins at `begin`.
        """
        if self._starts:
            places = np.full(len(ends), MARGIN - 1)
            np.subtract(ends[:-1], begin - MARGIN, out=places[1:], dtype=np.int64)
            return np.flatnonzero(_right(data, places, self._starts))
        found = np.zeros(len(ends), bool)
        found[ends.searchsorted((self._places(data) + begin).astype(ends.dtype))] = True
        return np.flatnonzero(found)

    def count(self, data: Bytes) -> int:
        """Return how many lines match; `data` is as in `lines`."""
        places = self._places(data)
        if not len(places):
            return 0
        size = -(-(len(data) - 2 * MARGIN) // 64) * 64
        newlines = np.packbits(data[MARGIN : MARGIN + size] == 10, bitorder="little").view("<u8")
        before = np.cumsum(np.bitwise_count(newlines), dtype=np.int64)
        word = places >> 6
        behind = np.bitwise_count(newlines[word] >> (places & 63).astype(np.uint64))
        found = np.zeros(int(before[-1]) + 1, bool)
        found[before[word] - behind] = True
        return int(np.count_nonzero(found))

    def _places(self, data: Bytes) -> Numbers:
        """Return a byte of each match, in its line, counted from the start of the text."""
        end = len(data) - MARGIN
        first = MARGIN - 1
        first -= data[first:].__array_interface__["data"][0] & 1
        size = -(-(end - first) // 16) * 16
        found = []
        for odd in (0, 1):
            flags = self._flags(data[first + odd : first + odd + size].view("<u2"), odd)
            if flags is not None:
                found.append(_set(flags) * 2 + (first + odd))
        places = found[0] if len(found) == 1 else np.concatenate(found)
        right = _right(data, places, self._tests)
        places = places.compress(right) - (MARGIN - 1)
        return places.compress((places >= 0) & (places < end - MARGIN))

    def _flags(self, numbers: npt.NDArray[np.uint16], odd: int) -> Flags | None:
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


def _right(data: Bytes, places: Numbers, tests: Sequence[_Test]) -> Flags:
    """Return at which places a pair has what must be around it."""
    around = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))[places - LEAD]
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


class _Sample:
    """How frequent pairs are."""

    def __init__(self, counts: Numbers) -> None:
        self._counts, self._total = counts, max(1, int(counts.sum()))
        self._known: dict[tuple[int, int], float] = {}

    def share(self, mask: int, value: int) -> float:
        """Return the share of the pairs that have these bits with these values."""
        if mask == 0xFFFF:
            return int(self._counts[value]) / self._total
        if (mask, value) not in self._known:
            met = int(self._counts[self._met[self._met & mask == value]].sum())
            self._known[mask, value] = met / self._total
        return self._known[mask, value]

    @cached_property
    def _met(self) -> Numbers:
        return np.flatnonzero(self._counts)


@lru_cache(maxsize=256)
def _told(bits: int) -> _Told:
    table = np.unpackbits(np.frombuffer(bits.to_bytes(32, "little"), np.uint8), bitorder="little")
    members = np.flatnonzero(table).astype(np.uint8)
    every, some = int(np.bitwise_and.reduce(members)), int(np.bitwise_or.reduce(members))
    mask = ~(every ^ some) & 0xFF
    exact = len(members) == 1 << (8 - mask.bit_count())
    return _Told(mask, every & mask, table.astype(bool), exact)


def _chosen(needs: Needs, sample: _Sample) -> tuple[list[tuple[_Pair, int]], float]:
    """Return the rarest pairs that meet every match of a row, with their offsets, and how rare."""
    told = {offset: _told(bits) for offset, bits in needs}
    best: list[list[tuple[float, int, int, int]]] = [[], []]
    for place in told:
        if place + 1 in told:
            mask = told[place].mask | told[place + 1].mask << 8
            value = told[place].value | told[place + 1].value << 8
            best[place & 1].append((sample.share(mask, value), place, mask, value))
    if not best[0] and not best[1]:
        raise ValueError("a row without a pair")
    if best[0] and best[1]:
        two = [min(options) for options in best]
        return [(_Pair(0, m, v), at) for _, at, m, v in two], (two[0][0] + two[1][0]) / 2
    rate, at, m, v = min(best[0] or best[1])
    return [(_Pair(odd, m, v), at) for odd in (0, 1)], rate


def _test(needs: Needs, place: int) -> _Test:
    """Return the test of a row whose pair is at an offset."""
    mask = value = 0
    rest = []
    for offset, bits in needs:
        at, byte = offset - place + LEAD, _told(bits)
        if 0 <= at < 8:
            mask |= byte.mask << 8 * at
            value |= byte.value << 8 * at
        if not (0 <= at < 8 and byte.exact):
            rest.append((offset - place, byte.table))
    return _Test(np.uint64(mask), np.uint64(value), tuple(rest))


def _set(flags: Flags) -> Numbers:
    """Return which flags are set; np.flatnonzero alone takes twice as long."""
    words = flags.view("<u8")
    where = np.flatnonzero(words != 0)
    near = np.flatnonzero(words.take(where).view(bool))
    return where.take(near >> 3) * 8 + (near & 7)
