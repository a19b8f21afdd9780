"""The way to find matching lines that suits a pattern and the text met so far.

RE2 is the fastest where a plain text is rare, Hyperscan where an expression is; both tell Python
of each hit. Where that costs more than the text itself, whole arrays are compared (in
dense_match.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.search.dense_match import MARGIN_BYTES, ByteMasks, BytePairs, RowNeeds

if TYPE_CHECKING:
    from rlm_mcp.corpus.search.compile_pattern import CompiledPattern
    from rlm_mcp.corpus.store import Snapshot


Numbers = npt.NDArray[np.int64]

ARRAY_PIECE_BYTES = 512 << 10
"""Bytes whose arrays are compared at a time: more do not stay in the processor's own memory."""
SPARSE_BYTES_PER_HIT = 21_000
"""Bytes a hit from which on RE2 is faster than Hyperscan at plain text."""
REGEX_CHECK_HITS = 64
"""Hits of RE2 after which that is looked at."""
RARE_BYTES_PER_HIT = 400
"""Bytes an occurrence of its first byte from which on RE2 skips quickly to a plain text."""
SHORT_BLOCK_BYTES = 128 << 10
"""Bytes of a block that is too short to learn from."""
REPORT_NS = {"regex": 3_000, "automaton": 400}
"""Nanoseconds of telling Python of one hit."""
THREAD_FACTOR = 4
"""How many times as long it takes where several threads do so."""
SCAN_NS, MIN_ARRAY_NS = 0.2, 0.24
"""Nanoseconds that a byte takes an engine which tells of nothing, and arrays at the least."""
ARRAY_SETUP_NS = 300_000
"""Nanoseconds lost by telling after which arrays are arranged, which takes about as long."""


class SearchableText(Protocol):
    """Bytes that are searched by line; the caller decides what a line is known by."""

    @property
    def buffer(self) -> memoryview:
        """The bytes; they end with a newline."""
        ...

    def newlines_in(self, start: int, end: int) -> tuple[int, npt.NDArray[Any]]:
        """Return the ordinal of the first newline of a span, and where all of its newlines are."""
        ...

    def find_newline(self, position: int) -> int:
        """Return the place of the next newline."""
        ...


class LineMatcher:
    """How lines are looked for, learnt from one block for the next."""

    def __init__(self, gated: CompiledPattern, counts: Numbers) -> None:
        """`counts` is how often each pair of bytes is in the text, or in a sample of it."""
        self._gated, self._counts = gated, counts
        self._arrays: ByteMasks | BytePairs | None = None
        self._lost = 0.0
        self._thread_factor = 1
        self.uses_arrays = False
        """Whether hits are not told one by one, for now."""
        self.reported_hits = 0
        """Hits that an engine told to Python, one by one."""
        self._regex = gated.automaton is None
        if gated.text is not None and gated.automaton is not None:
            first = int(counts[gated.text[0] :: 256].sum())
            self._regex = first * RARE_BYTES_PER_HIT < int(counts.sum())

    def for_thread(self) -> LineMatcher:
        """Return one for a thread that works beside others; it knows as much."""
        way = copy(self)
        way._thread_factor = THREAD_FACTOR
        return way

    def match_lines(self, text: SearchableText, start: int, end: int) -> tuple[Numbers, bool]:
        """Find the matching lines of a block of whole lines, in order.

        Returns the ordinals of their newlines and True, or the places of these and False:
        whichever was found.
        """
        if self._arrays is not None and self.uses_arrays:
            found = self._match_arrays(self._arrays, text, start, end)
            self._update_density(len(found), end - start)
            return found, True
        places = np.array(self._match_newlines(text, start, end), np.int64)
        self.reported_hits += len(places)
        if self._gated.empty_lines and not self._regex:
            places = np.concatenate((places, _empty_lines(text, start, end)))
            places.sort(kind="stable")
        return places, False

    def count_matches(self, text: SearchableText, start: int, end: int) -> int:
        """Return how many lines of a block of whole lines match, where hits are not told."""
        assert self._arrays is not None
        found = sum(
            self._arrays.count_matches(data) for _, _, data in _line_pieces(text, start, end)
        )
        self._update_density(found, end - start)
        return found

    def _match_arrays(
        self, arrays: ByteMasks | BytePairs, text: SearchableText, start: int, end: int
    ) -> Numbers:
        found = [np.empty(0, np.int64)]
        for begin, stop, data in _line_pieces(text, start, end):
            first, ends = text.newlines_in(begin, stop)
            found.append(arrays.match_lines(data, ends, begin) + first)
        return np.concatenate(found)

    def _update_density(self, hits: int, size: int) -> None:
        """Take note of how many hits there were without being told."""
        way = "regex" if self._gated.automaton is None else "automaton"
        self.uses_arrays = self._is_dense(way, hits, size)

    def _match_newlines(self, text: SearchableText, start: int, end: int) -> list[int]:
        """Return the newlines of the matching lines of a block."""
        found: list[int] = []
        if self._regex:
            switch = self._gated.automaton is not None
            found, stopped = _match_by_regex(text, self._gated, start, end, switch)
            if stopped == end:
                self.uses_arrays = not switch and self._is_dense("regex", len(found), end - start)
                return found
            self._regex, start = False, stopped
        more = _match_by_automaton(text, self._gated, start, end)
        self.uses_arrays = self._is_dense("automaton", len(more), end - start)
        return found + more

    def _is_dense(self, way: str, hits: int, size: int) -> bool:
        """Whether telling of so many hits takes longer than comparing arrays does."""
        if size < SHORT_BLOCK_BYTES:
            return self.uses_arrays
        telling = hits * REPORT_NS[way] * self._thread_factor + size * SCAN_NS
        if self._arrays is None:
            self._lost += max(0.0, telling - size * MIN_ARRAY_NS)
            if self._lost < ARRAY_SETUP_NS or not self._gated.rows:
                return False
            self._arrays = _fastest_arrays(self._gated.rows, self._counts)
        return telling > size * self._arrays.cost_ns


def _fastest_arrays(rows: Sequence[RowNeeds], counts: Numbers) -> ByteMasks | BytePairs:
    """Return what compares arrays of text of this kind the fastest."""
    masks = ByteMasks(rows, counts.reshape(256, 256).sum(axis=0))
    try:
        pairs = BytePairs(rows, counts)
    except ValueError:
        return masks
    return pairs if pairs.cost_ns < masks.cost_ns else masks


def _line_pieces(
    text: SearchableText, start: int, end: int
) -> Iterator[tuple[int, int, npt.NDArray[np.uint8]]]:
    """Give whole lines, about PIECE bytes at a time: where they are, and they with a margin."""
    whole = np.frombuffer(text.buffer, np.uint8)
    while start < end:
        stop = min(end, text.find_newline(min(start + ARRAY_PIECE_BYTES, end) - 1) + 1)
        low, high = start - MARGIN_BYTES, stop + MARGIN_BYTES
        data = whole[max(0, low) : high]
        if low < 0 or high > len(whole):
            newlines = np.full(high - low, 10, np.uint8)
            newlines[max(0, -low) :][: len(data)] = data
            data = newlines
        yield start, stop, data
        start = stop


def _empty_lines(text: SearchableText, start: int, end: int) -> Numbers:
    """Return the newlines of the lines of a block that hold nothing."""
    ends = text.newlines_in(start, end)[1].astype(np.int64)
    found: Numbers = ends[np.diff(ends, prepend=start - 1) == 1]
    return found


def _match_by_automaton(
    text: SearchableText, gated: CompiledPattern, start: int, end: int
) -> list[int]:
    """Return the newlines of the matching lines of a block.

    RE2 looks at the last line too: Vectorscan 5.4.12 misses matches at the very end of what it is
    given.
    """
    found = _automaton_reports(text, gated, start, end)
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


def _line_start(text: SearchableText, start: int, end: int) -> int:
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


def _automaton_reports(
    text: SearchableText, gated: CompiledPattern, start: int, end: int
) -> list[int]:
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
    with gated.automaton.lend_database() as database:
        database.scan(text.buffer[begin : end + 1], report)
    return sorted(set(found)) if gated.automaton.several else found


def _match_by_regex(
    text: SearchableText, gated: CompiledPattern, start: int, end: int, switch: bool
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
        if (
            switch
            and len(found) % REGEX_CHECK_HITS == 0
            and position - start < len(found) * SPARSE_BYTES_PER_HIT
        ):
            return found, position
    return found, end


Ordinals = npt.NDArray[np.int64]
Span = tuple[int, int]
SpanList = Sequence[Span]
Part = TypeVar("Part")
Result = TypeVar("Result")

BLOCK_BYTES = 8 << 20
"""Bytes between two looks at the clock, at most."""
FIRST_STEP_BYTES = BLOCK_BYTES >> 5
"""Bytes that are looked at first, to learn which way suits."""
FEW_STEP_BYTES = BLOCK_BYTES >> 7
"""The same, where not all matching lines are asked for."""
TRIAL_BYTES = BLOCK_BYTES >> 2
"""Bytes that are looked at first, to learn whether threads can share the rest."""
THREADED_BYTES = 64 << 20
"""Bytes from which on several threads share the work."""
CROWDED_BYTES_PER_HIT = 4_000
"""Bytes a hit below which one thread is faster than several."""
WALL_CLOCK_FACTOR = 1.25
"""How many times the limit of processor time may pass by the clock on the wall."""
STEP_LIMIT_S = 0.05
"""How long a block may take; the next one is smaller where it took longer."""


class ScanClock:
    """A limit on the processor time of the thread that asks, and a wider one on the time by it.

    Threads that share the work have a clock each, with the same end.
    """

    def __init__(self, seconds: float, until: float | None = None) -> None:
        self.until = time.monotonic() + WALL_CLOCK_FACTOR * seconds if until is None else until
        self._seconds = seconds
        self._begun: float | None = None

    def for_thread(self) -> ScanClock:
        """Return a clock for another thread."""
        return ScanClock(self._seconds, self.until)

    def is_over(self) -> bool:
        """Whether a limit is passed; counting begins with the first question."""
        now = time.thread_time()
        if self._begun is None:
            self._begun = now
        return now - self._begun > self._seconds or time.monotonic() > self.until


@dataclass(frozen=True, slots=True)
class ScanResult:
    """Ordinals of the newlines of matching lines, sorted; `whole` unless time ran out."""

    ordinals: Ordinals
    whole: bool


def scan_spans(
    snapshot: Snapshot, gated: CompiledPattern, runs: SpanList, clock: ScanClock, enough: int = 0
) -> ScanResult:
    """Return the matching lines of some spans; with `enough`, stop soon after so many."""
    size = sum(end - start for start, end in runs)
    workers = min(4, os.cpu_count() or 1)
    way = LineMatcher(gated, snapshot.pair_counts)
    if size < THREADED_BYTES or workers == 1 or enough:
        return BlockScanner(snapshot, way, clock).scan_blocks(_line_blocks(snapshot, runs), enough)
    (start, end), *rest = _line_blocks(snapshot, runs)
    head = (start, _line_border(snapshot, start + TRIAL_BYTES, end))
    rest.insert(0, (head[1], end))
    results = [BlockScanner(snapshot, way, clock).scan_blocks([head])]
    if way.reported_hits * CROWDED_BYTES_PER_HIT > head[1] - head[0] and not gated.rows:
        # Each hit is told to Python, one thread at a time: more threads would only queue.
        results.append(BlockScanner(snapshot, way, clock).scan_blocks(rest))
    else:

        def start_worker() -> Callable[[Span], ScanResult]:
            scan = BlockScanner(snapshot, way.for_thread(), clock.for_thread())
            return lambda block: scan.scan_blocks([block])

        results += map_in_threads(rest, workers, start_worker)
    # Where time ran out in one part, what later parts found still counts.
    return ScanResult(
        np.concatenate([result.ordinals for result in results]),
        all(result.whole for result in results),
    )


def map_in_threads(
    parts: Sequence[Part], workers: int, begin: Callable[[], Callable[[Part], Result]]
) -> list[Result]:
    """Return what becomes of each part, in order; a thread takes the next one when it is free.

    `begin` is called by each thread and returns what it does with a part.
    """
    queue = iter(enumerate(parts))

    def drain_queue() -> list[tuple[int, Result]]:
        work = begin()
        return [(number, work(part)) for number, part in queue]

    with ThreadPoolExecutor(workers, "rlm-scan") as pool:
        jobs = [pool.submit(drain_queue) for _ in range(workers)]
        done = [pair for job in jobs for pair in job.result()]
    return [result for _, result in sorted(done, key=lambda pair: pair[0])]


def _line_blocks(snapshot: Snapshot, runs: SpanList) -> Iterator[Span]:
    """Cut spans into blocks on line borders."""
    for start, end in runs:
        while start < min(end, len(snapshot.buffer)):
            border = _line_border(snapshot, start + BLOCK_BYTES, min(end, len(snapshot.buffer)))
            yield start, border
            start = border


def _line_border(snapshot: Snapshot, position: int, end: int) -> int:
    """Return the first start of a line behind `position`, or `end`."""
    if position >= end:
        return end
    ordinal = int(snapshot.ends.searchsorted(np.uint32(position)))
    return min(end, int(snapshot.ends[ordinal]) + 1) if ordinal < len(snapshot.ends) else end


class BlockScanner:
    """A thread's work: matching lines, block by block, while there is time."""

    def __init__(self, snapshot: Snapshot, way: LineMatcher, clock: ScanClock) -> None:
        self.matcher = way
        self.stopped = False
        """Whether something was left out, for want of time or because it was enough."""
        self._snapshot, self._clock = snapshot, clock
        self._count = self._seen = 0
        self._step = FIRST_STEP_BYTES

    def scan_blocks(self, blocks: Iterable[Span], enough: int = 0) -> ScanResult:
        """Return the matching lines of some blocks; with `enough`, stop soon after so many."""
        found = [np.empty(0, np.int64)]
        if enough:
            self._step = FEW_STEP_BYTES
        for block in blocks:
            found += self._scan_block(block, enough)
            if self.stopped:
                break
        return ScanResult(np.concatenate(found), not self.stopped)

    def iter_matches(self, runs: SpanList) -> Iterator[Ordinals]:
        """Yield the matching lines of some spans, a part's at a time, until time is over."""
        self._step = FEW_STEP_BYTES
        for block in _line_blocks(self._snapshot, runs):
            yield from self._scan_block(block, 0)

    def _scan_block(self, block: Span, enough: int) -> Iterator[Ordinals]:
        """Yield the matching lines of a block, in steps that suit it."""
        start, end = block
        while start < end:
            if self._clock.is_over() or (enough and self._count >= enough):
                self.stopped = True
                return
            begun = time.monotonic()
            stop = _line_border(self._snapshot, start + self._step_bytes(enough), end)
            found, are_ordinals = self.matcher.match_lines(self._snapshot, start, stop)
            self._seen += stop - start
            if len(found):
                self._count += len(found)
                first, ends = self._snapshot.newlines_in(start, stop)
                found = (
                    found if are_ordinals else ends.searchsorted(found.astype(np.uint32)) + first
                )
                yield found
            took = time.monotonic() - begun
            if took > STEP_LIMIT_S:
                # An automaton of RE2 that grows too large gets slower a hundred times.
                self._step = max(BLOCK_BYTES >> 11, int((stop - start) * STEP_LIMIT_S / took))
            elif took < STEP_LIMIT_S / 4:
                self._step = min(BLOCK_BYTES, self._step * 2)
            start = stop

    def _step_bytes(self, enough: int) -> int:
        """Return the bytes of the next step: not far beyond where there will be enough."""
        if not enough or not self._count:
            return self._step
        expected = self._seen * (enough - self._count) // self._count
        return max(FEW_STEP_BYTES, min(self._step, expected + expected // 4))
