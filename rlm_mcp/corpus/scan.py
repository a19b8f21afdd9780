"""Scan a snapshot for matching lines; numbers of newlines in, numbers of newlines out.

A line is known by the ordinal of its newline among all of the text file. Scanning happens inside
RE2 and Hyperscan, which let other threads run. Work is cut into blocks on line borders, between
which a deadline is looked at; much text is shared among threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.gate import Gated
from rlm_mcp.corpus.snapshot import Snapshot

Ordinals = npt.NDArray[np.int64]
Span = tuple[int, int]
Runs = Sequence[Span]

BLOCK = 8 << 20
"""Bytes between two looks at the clock."""
THREADED = 64 << 20
"""Bytes from which on several threads share the work."""
SPARSE = 21_000
"""Bytes a hit from which on RE2 is faster than Hyperscan at plain text."""
LOOK = 64
"""Hits of plain text after which that is looked at."""
RARE = 400
"""Bytes an occurrence of its first byte from which on RE2 skips quickly to a plain text."""
DENSE = 60
"""Bytes a hit below which bytes are looked up in a table instead."""
CROWDED = 4_000
"""Bytes a hit below which one thread is faster than several."""
PATIENCE = 1.25
"""How many times the limit of processor time may pass by the clock on the wall."""
PAUSE_S = 0.05
"""How long a block may take; the next one is smaller where it took longer."""


class Clock:
    """A limit on the processor time of the thread that asks, and a wider one on the time by it.

    Threads that share the work have a clock each, with the same end.
    """

    def __init__(self, seconds: float, until: float | None = None) -> None:
        self.until = time.monotonic() + PATIENCE * seconds if until is None else until
        self._seconds = seconds
        self._begun: float | None = None

    def another(self) -> Clock:
        """Return a clock for another thread."""
        return Clock(self._seconds, self.until)

    def is_over(self) -> bool:
        """Whether a limit is passed; counting begins with the first question."""
        now = time.thread_time()
        if self._begun is None:
            self._begun = now
        return now - self._begun > self._seconds or time.monotonic() > self.until


@dataclass(frozen=True, slots=True)
class Scanned:
    """Ordinals of the newlines of matching lines, sorted; `whole` unless time ran out.

    `told` counts the hits that each took a call into Python.
    """

    ordinals: Ordinals
    whole: bool
    told: int


def scan(snapshot: Snapshot, gated: Gated, runs: Runs, clock: Clock, enough: int = 0) -> Scanned:
    """Return the matching lines of some spans; with `enough`, stop soon after so many."""
    size = sum(end - start for start, end in runs)
    workers = min(4, os.cpu_count() or 1)
    if size < THREADED or workers == 1 or enough:
        return _scan(snapshot, gated, _blocks(snapshot, runs, bool(enough)), clock, enough)
    head, *rest = _blocks(snapshot, runs, False)
    first = _scan(snapshot, gated, iter([head]), clock, 0)
    if first.told * CROWDED > head[1] - head[0]:
        # Each hit is told to Python, one thread at a time: more threads would only queue.
        results = [first, _scan(snapshot, gated, iter(rest), clock, 0)]
    else:
        with ThreadPoolExecutor(workers, "rlm-scan") as pool:
            more = pool.map(
                lambda part: _scan(snapshot, gated, iter(part), clock.another(), 0),
                share(rest, workers),
            )
            results = [first, *more]
    # Where time ran out in one part, what later parts found still counts.
    return Scanned(
        np.concatenate([result.ordinals for result in results]),
        all(result.whole for result in results),
        sum(result.told for result in results),
    )


def share(blocks: Sequence[Span], parts: int) -> list[Sequence[Span]]:
    """Cut a list into parts of about the same length."""
    size = -(-len(blocks) // parts)
    return [blocks[start : start + size] for start in range(0, len(blocks), size)]


def _blocks(snapshot: Snapshot, runs: Runs, growing: bool) -> Iterator[Span]:
    """Cut spans into blocks on line borders; `growing` ones begin small."""
    size = BLOCK >> 9 if growing else BLOCK
    for start, end in runs:
        while start < min(end, len(snapshot.buffer)):
            border = _border(snapshot, start + size, min(end, len(snapshot.buffer)))
            yield start, border
            start = border
            size = min(BLOCK, size * 2)


def _border(snapshot: Snapshot, position: int, end: int) -> int:
    """Return the first start of a line behind `position`, or `end`."""
    if position >= end:
        return end
    ordinal = int(snapshot.ends.searchsorted(np.uint32(position)))
    return min(end, int(snapshot.ends[ordinal]) + 1) if ordinal < len(snapshot.ends) else end


def _scan(
    snapshot: Snapshot, gated: Gated, blocks: Iterator[Span], clock: Clock, enough: int
) -> Scanned:
    found: list[Ordinals] = []
    way = Way(snapshot, gated)
    for block in blocks:
        found += way.steps(block, clock, enough)
        if way.stopped:
            break
    ordinals = np.concatenate(found) if found else np.empty(0, np.int64)
    return Scanned(ordinals, not way.stopped, way.told)


class Way:
    """The way to scan that suits a pattern and the text met so far."""

    def __init__(self, snapshot: Snapshot, gated: Gated) -> None:
        self.snapshot, self.gated = snapshot, gated
        # An automaton of RE2 that grows too large gets slower a hundred times.
        self.step = BLOCK >> 9 if gated.automaton is None else BLOCK
        self.count = 0
        self.stopped = False
        """Whether something was left out, for want of time or because it was enough."""
        self.told = 0
        """Hits that an engine told to Python, one by one."""
        self._table: npt.NDArray[np.bool_] | None = None
        self._regex = gated.automaton is None
        if gated.text is not None and gated.automaton is not None:
            counts = snapshot.byte_counts
            self._regex = int(counts[gated.text[0]]) * RARE < int(counts.sum())

    def pieces(self, runs: Runs, clock: Clock) -> Iterator[Ordinals]:
        """Yield the matching lines of some spans, a part's at a time, until time is over."""
        for block in _blocks(self.snapshot, runs, True):
            yield from self.steps(block, clock, 0)

    def steps(self, block: Span, clock: Clock, enough: int) -> Iterator[Ordinals]:
        """Yield the matching lines of a block, in steps that suit it."""
        start, end = block
        while start < end:
            if clock.is_over() or (enough and self.count >= enough):
                self.stopped = True
                return
            stop = _border(self.snapshot, start + self.step, end)
            ordinals = self._lines(start, stop)
            if len(ordinals):
                self.count += len(ordinals)
                yield ordinals
            start = stop

    def _lines(self, start: int, end: int) -> Ordinals:
        """Return the ordinals of the matching lines of a block."""
        begun = time.monotonic()
        snapshot = self.snapshot
        if self._table is not None:
            ordinals = _by_table(snapshot, self._table, start, end)
        else:
            positions = self._positions(start, end)
            if positions:
                ordinals = snapshot.ends.searchsorted(np.array(positions, np.uint32))
            else:
                ordinals = np.empty(0, np.int64)
            self.told += len(positions)
            if self.gated.empty_lines and not self._regex:
                ordinals = np.concatenate((ordinals, _empty_lines(snapshot, start, end)))
                ordinals.sort(kind="stable")
            if self.gated.one and len(positions) * DENSE > end - start:
                self._table = table_of(self.gated.one)
        took = time.monotonic() - begun
        if took > PAUSE_S:
            self.step = max(BLOCK >> 11, int((end - start) * PAUSE_S / took))
        elif took < PAUSE_S / 4:
            self.step = min(BLOCK, self.step * 2)
        return ordinals

    def _positions(self, start: int, end: int) -> list[int]:
        """Return, for each matching line of a block, a place in it not after its newline."""
        snapshot, gated = self.snapshot, self.gated
        if not self._regex:
            return _by_automaton(snapshot, gated, start, end)
        switch = gated.automaton is not None
        found, stopped = _by_regex(snapshot, gated, start, end, switch)
        if stopped < end:
            self._regex = False
            found += _by_automaton(snapshot, gated, stopped, end)
        return found


def _empty_lines(snapshot: Snapshot, start: int, end: int) -> Ordinals:
    """Return the ordinals of the lines of a block that hold nothing."""
    low, high = snapshot.ends.searchsorted(np.array([start, end], np.uint32)).tolist()
    ends = snapshot.ends[max(0, low - 1) : high]
    found = np.flatnonzero(np.diff(ends) == 1) + max(1, low)
    first = low == 0 and high > 0 and ends[0] == 0
    return np.concatenate(([0], found)) if first else found


def table_of(bits: int) -> npt.NDArray[np.bool_]:
    """Return a table of 256: which bytes are in a set."""
    return np.array([bits >> code & 1 for code in range(256)], bool)


def _by_table(snapshot: Snapshot, table: npt.NDArray[np.bool_], start: int, end: int) -> Ordinals:
    """Return the ordinals of the lines that hold a byte of a set."""
    text = np.frombuffer(snapshot.buffer, np.uint8)[start:end]
    low, high = snapshot.ends.searchsorted(np.array([start, end], np.uint32)).tolist()
    starts = np.empty(high - low, np.int64)
    if not len(starts):
        return starts
    starts[0] = 0
    starts[1:] = snapshot.ends[low : high - 1]
    starts[1:] += 1 - start
    hits = np.flatnonzero(np.logical_or.reduceat(table[text], starts))
    hits += low
    return hits


def _by_automaton(snapshot: Snapshot, gated: Gated, start: int, end: int) -> list[int]:
    """Return the newlines of the matching lines of a block."""
    found = _reports(snapshot, gated, start, end)
    if found and found[0] < start:
        del found[0]
    if found and found[-1] >= end:
        del found[-1]
    if start == 0:
        first = snapshot.find_newline(0)
        if found[:1] != [first] and gated.regex.search(snapshot.buffer[:first]) is not None:
            found.insert(0, first)
    if end == len(snapshot.buffer) and found[-1:] != [end - 1]:
        before = int(snapshot.ends[-2]) + 1 if len(snapshot.ends) > 1 else 0
        if gated.regex.search(snapshot.buffer[max(before, start) : end - 1]) is not None:
            found.append(end - 1)
    return found


def _reports(snapshot: Snapshot, gated: Gated, start: int, end: int) -> list[int]:
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
        database.scan(snapshot.buffer[begin : end + 1], report)
    return found


def _by_regex(
    snapshot: Snapshot, gated: Gated, start: int, end: int, switch: bool
) -> tuple[list[int], int]:
    """Scan with RE2; with `switch`, stop where hits are so dense that Hyperscan is faster."""
    found: list[int] = []
    search, buffer, newline = gated.regex.search, snapshot.buffer, snapshot.find_newline
    position = start
    while position < end and (match := search(buffer, position, end)) is not None:
        hit = match.start()
        if hit >= end:
            break
        found.append(hit)
        position = newline(hit) + 1
        if switch and len(found) % LOOK == 0 and position - start < len(found) * SPARSE:
            return found, position
    return found, end
