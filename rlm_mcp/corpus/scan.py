"""Scan a snapshot for matching lines; numbers of newlines in, numbers of newlines out.

A line is known by the ordinal of its newline among all of the text file. Scanning happens inside
RE2 and Hyperscan, which let other threads run. Work is cut into blocks on line borders, between
which a deadline is looked at; much text is shared among threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.gate import Gated
from rlm_mcp.corpus.snapshot import Snapshot
from rlm_mcp.corpus.way import Way

Ordinals = npt.NDArray[np.int64]
Span = tuple[int, int]
Runs = Sequence[Span]
Part = TypeVar("Part")
Result = TypeVar("Result")

BLOCK = 8 << 20
"""Bytes between two looks at the clock, at most."""
SMALL = BLOCK >> 5
"""Bytes that are looked at first, to learn which way suits."""
FEW = BLOCK >> 7
"""The same, where not all matching lines are asked for."""
HEAD = BLOCK >> 2
"""Bytes that are looked at first, to learn whether threads can share the rest."""
THREADED = 64 << 20
"""Bytes from which on several threads share the work."""
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
    """Ordinals of the newlines of matching lines, sorted; `whole` unless time ran out."""

    ordinals: Ordinals
    whole: bool


def scan(snapshot: Snapshot, gated: Gated, runs: Runs, clock: Clock, enough: int = 0) -> Scanned:
    """Return the matching lines of some spans; with `enough`, stop soon after so many."""
    size = sum(end - start for start, end in runs)
    workers = min(4, os.cpu_count() or 1)
    way = Way(gated, snapshot.pair_counts)
    if size < THREADED or workers == 1 or enough:
        return Scan(snapshot, way, clock).all(_blocks(snapshot, runs), enough)
    (start, end), *rest = _blocks(snapshot, runs)
    head = (start, _border(snapshot, start + HEAD, end))
    rest.insert(0, (head[1], end))
    results = [Scan(snapshot, way, clock).all([head])]
    if way.told * CROWDED > head[1] - head[0] and not gated.rows:
        # Each hit is told to Python, one thread at a time: more threads would only queue.
        results.append(Scan(snapshot, way, clock).all(rest))
    else:

        def begin() -> Callable[[Span], Scanned]:
            scan = Scan(snapshot, way.another(), clock.another())
            return lambda block: scan.all([block])

        results += in_threads(rest, workers, begin)
    # Where time ran out in one part, what later parts found still counts.
    return Scanned(
        np.concatenate([result.ordinals for result in results]),
        all(result.whole for result in results),
    )


def in_threads(
    parts: Sequence[Part], workers: int, begin: Callable[[], Callable[[Part], Result]]
) -> list[Result]:
    """Return what becomes of each part, in order; a thread takes the next one when it is free.

    `begin` is called by each thread and returns what it does with a part.
    """
    queue = iter(enumerate(parts))

    def run() -> list[tuple[int, Result]]:
        work = begin()
        return [(number, work(part)) for number, part in queue]

    with ThreadPoolExecutor(workers, "rlm-scan") as pool:
        jobs = [pool.submit(run) for _ in range(workers)]
        done = [pair for job in jobs for pair in job.result()]
    return [result for _, result in sorted(done, key=lambda pair: pair[0])]


def _blocks(snapshot: Snapshot, runs: Runs) -> Iterator[Span]:
    """Cut spans into blocks on line borders."""
    for start, end in runs:
        while start < min(end, len(snapshot.buffer)):
            border = _border(snapshot, start + BLOCK, min(end, len(snapshot.buffer)))
            yield start, border
            start = border


def _border(snapshot: Snapshot, position: int, end: int) -> int:
    """Return the first start of a line behind `position`, or `end`."""
    if position >= end:
        return end
    ordinal = int(snapshot.ends.searchsorted(np.uint32(position)))
    return min(end, int(snapshot.ends[ordinal]) + 1) if ordinal < len(snapshot.ends) else end


class Scan:
    """A thread's work: matching lines, block by block, while there is time."""

    def __init__(self, snapshot: Snapshot, way: Way, clock: Clock) -> None:
        self.way = way
        self.stopped = False
        """Whether something was left out, for want of time or because it was enough."""
        self._snapshot, self._clock = snapshot, clock
        self._count = self._seen = 0
        self._step = SMALL

    def all(self, blocks: Iterable[Span], enough: int = 0) -> Scanned:
        """Return the matching lines of some blocks; with `enough`, stop soon after so many."""
        found = [np.empty(0, np.int64)]
        if enough:
            self._step = FEW
        for block in blocks:
            found += self._steps(block, enough)
            if self.stopped:
                break
        return Scanned(np.concatenate(found), not self.stopped)

    def pieces(self, runs: Runs) -> Iterator[Ordinals]:
        """Yield the matching lines of some spans, a part's at a time, until time is over."""
        self._step = FEW
        for block in _blocks(self._snapshot, runs):
            yield from self._steps(block, 0)

    def _steps(self, block: Span, enough: int) -> Iterator[Ordinals]:
        """Yield the matching lines of a block, in steps that suit it."""
        start, end = block
        while start < end:
            if self._clock.is_over() or (enough and self._count >= enough):
                self.stopped = True
                return
            begun = time.monotonic()
            stop = _border(self._snapshot, start + self._reach(enough), end)
            found, are_ordinals = self.way.lines(self._snapshot, start, stop)
            self._seen += stop - start
            if len(found):
                self._count += len(found)
                first, ends = self._snapshot.newlines(start, stop)
                found = (
                    found if are_ordinals else ends.searchsorted(found.astype(np.uint32)) + first
                )
                yield found
            took = time.monotonic() - begun
            if took > PAUSE_S:
                # An automaton of RE2 that grows too large gets slower a hundred times.
                self._step = max(BLOCK >> 11, int((stop - start) * PAUSE_S / took))
            elif took < PAUSE_S / 4:
                self._step = min(BLOCK, self._step * 2)
            start = stop

    def _reach(self, enough: int) -> int:
        """Return the bytes of the next step: not far beyond where there will be enough."""
        if not enough or not self._count:
            return self._step
        expected = self._seen * (enough - self._count) // self._count
        return max(FEW, min(self._step, expected + expected // 4))
