"""Find matches that may run across lines: documents are looked at as wholes.

Either RE2 looks at every document, or Hyperscan passes over the text of many at once, and RE2 looks
at those in which it met something: a match that runs from one document into the next only costs a
look. Which of the two is faster is tried. Where it is all the same what stands behind a match, RE2
looks at many documents as one text, too. A match counts as the line where it starts, and a line
counts once.
"""

from __future__ import annotations

import os
import threading
import time
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.search import backtrack
from rlm_mcp.corpus.search.compile_pattern import CompiledPattern, load_hyperscan
from rlm_mcp.corpus.search.scan import BLOCK_BYTES, THREADED_BYTES, ScanClock, map_in_threads

if TYPE_CHECKING:
    from rlm_mcp.corpus.store import SearchScope, Snapshot

Numbers = npt.NDArray[np.int64]
Span = tuple[int, int]

_BACKTRACK_DOCUMENTS = 256
"""Documents that are handed to the backtracking engine at a time."""
ENGINE_TRIAL_BYTES = 1 << 20
"""Bytes with which each engine is tried."""
DENSE_HITS_PER_BYTE = 64e-6
"""Matches of a byte above which threads work one at a time: they would wait for each other at every
match, since Python is told of it."""
MAX_SKIPPED_MATCHES = 4
"""Further matches in a line after which the next line is gone to."""


def multiline_starts(
    snapshot: Snapshot, gated: CompiledPattern, among: SearchScope, clock: ScanClock, enough: int
) -> tuple[Numbers, bool]:
    """Return where matches start, at most one for each line, and whether that is all."""
    offsets = among.offsets[among.reading_order]
    stops = offsets + among.lengths[among.reading_order]
    offsets = offsets + len(BOM_UTF8) * among.marked[among.reading_order]
    if gated.backtrack:
        return _backtrack_documents(
            snapshot, gated, np.stack([offsets, stops], axis=1), clock, enough
        )
    spans = list(zip(offsets.tolist(), stops.tolist(), strict=True))
    workers = min(2, os.cpu_count() or 1)
    lock = threading.Lock()
    if enough or workers == 1 or int(among.lengths.sum()) < THREADED_BYTES:
        parts = [_find_starts(snapshot, gated, spans, _EngineChoice(gated, lock), clock, enough)]
    else:

        def start_worker() -> Callable[[Sequence[Span]], tuple[list[int], bool]]:
            own, pace = clock.for_thread(), _EngineChoice(gated, lock)
            return lambda part: _find_starts(snapshot, gated, part, pace, own, 0)

        parts = map_in_threads(_split_shares(spans), workers, start_worker)
    found = [start for part, _ in parts for start in part]
    return np.array(found, np.int64), all(whole for _, whole in parts)


def _split_shares(spans: Sequence[Span]) -> list[Sequence[Span]]:
    """Cut a list of documents where a block of bytes is full."""
    shares: list[Sequence[Span]] = []
    first = size = 0
    for number, (start, stop) in enumerate(spans, 1):
        size += stop - start
        if size >= BLOCK_BYTES or number == len(spans):
            shares.append(spans[first:number])
            first, size = number, 0
    return shares


def _backtrack_documents(
    snapshot: Snapshot, gated: CompiledPattern, spans: Numbers, clock: ScanClock, enough: int
) -> tuple[Numbers, bool]:
    """Let the backtracking engine look at documents, some at a time."""
    found = [np.empty(0, np.int64)]
    with backtrack.BacktrackProcess(snapshot, gated, clock.until, starts=True) as child:
        for first in range(0, len(spans), _BACKTRACK_DOCUMENTS):
            starts, whole = child.match_spans(spans[first : first + _BACKTRACK_DOCUMENTS])
            found.append(starts)
            left = first + _BACKTRACK_DOCUMENTS < len(spans)
            if not whole or (left and enough and sum(map(len, found)) >= enough):
                return np.concatenate(found), False
    return np.concatenate(found), True


class _EngineChoice:
    """Which engine looks at documents first: the one that was faster at what was met so far."""

    def __init__(self, gated: CompiledPattern, lock: threading.Lock) -> None:
        self._lock = lock
        self._dense = False
        self._usable = gated.automaton is not None and load_hyperscan() is not None
        self._spent = {True: [0, 0.0], False: [0, 0.0]}

    def use_prefilter(self) -> bool:
        """Whether Hyperscan is to say in which documents RE2 has to look."""
        if not self._usable:
            return False
        for sieve in (True, False):
            if self._spent[sieve][0] < ENGINE_TRIAL_BYTES:
                return sieve
        (sieved, took), (looked, lasted) = self._spent[True], self._spent[False]
        return took * looked < lasted * sieved

    def dense_turn(self) -> AbstractContextManager[object]:
        """Wait until no other thread goes through dense matches, where they are dense here."""
        return self._lock if self._dense else nullcontext()

    def note_scan(self, sieve: bool, size: int, seconds: float, matches: int) -> None:
        """Take note of what some bytes took and held."""
        self._dense = matches > DENSE_HITS_PER_BYTE * size
        spent = self._spent[sieve]
        spent[0] += size
        spent[1] += seconds


def _find_starts(
    snapshot: Snapshot,
    gated: CompiledPattern,
    spans: Sequence[Span],
    pace: _EngineChoice,
    clock: ScanClock,
    enough: int,
) -> tuple[list[int], bool]:
    found: list[int] = []
    step = BLOCK_BYTES >> 9 if enough else ENGINE_TRIAL_BYTES
    first = 0
    while first < len(spans):
        if clock.is_over():
            return found, False
        last = _contiguous_end(spans, first, step)
        step = min(BLOCK_BYTES, step * 2)
        group, sieve = spans[first:last], pace.use_prefilter()
        begun, before = time.thread_time(), len(found)
        with pace.dense_turn():
            if not _scan_group(snapshot, gated, group, sieve, clock, enough, found):
                return found, False
        size = group[-1][1] - group[0][0]
        pace.note_scan(sieve, size, time.thread_time() - begun, len(found) - before)
        first = last
    return found, True


def _scan_group(
    snapshot: Snapshot,
    gated: CompiledPattern,
    group: Sequence[Span],
    sieve: bool,
    clock: ScanClock,
    enough: int,
    found: list[int],
) -> bool:
    """Look at documents that lie one behind the other; say whether time was enough for all."""
    if gated.joinable and not sieve and not enough:
        return _scan_joined(snapshot, gated, group, clock, found)
    for span in _candidate_documents(snapshot, gated, group) if sieve else group:
        if clock.is_over() or (enough and len(found) >= enough):
            return False
        if not _scan_joined(snapshot, gated, [span], clock, found):
            return False
    return True


def _candidate_documents(
    snapshot: Snapshot, gated: CompiledPattern, spans: Sequence[Span]
) -> Iterator[Span]:
    """Yield those of some documents that may hold a match."""
    module = load_hyperscan()
    assert module is not None and gated.automaton is not None
    hit = first = 0

    def report(_id: int, _from: int, to: int, _flags: int, _context: object) -> bool:
        nonlocal hit
        hit = to
        return True

    with gated.automaton.lend_database() as database:
        while first < len(spans):
            begin = spans[first][0]
            try:
                database.scan(snapshot.buffer[begin : spans[-1][1] + 1], report)
            except module.ScanTerminated:
                first = _document_holding(spans, first, len(spans), begin + hit - 1)
                yield spans[first]
                first += 1
            else:
                yield spans[-1]  # at whose end a match may be missed
                return


def _contiguous_end(spans: Sequence[Span], first: int, step: int) -> int:
    """Return the end of the documents from `first` on that lie one behind the other."""
    begin, stop = spans[first]
    last = first + 1
    while last < len(spans) and stop <= spans[last][0] <= stop + 1 and stop - begin < step:
        stop = spans[last][1]
        last += 1
    return last


def _document_holding(spans: Sequence[Span], first: int, last: int, position: int) -> int:
    """Return which of some documents holds a byte, or the newline behind it."""
    while last - first > 1:
        middle = (first + last) // 2
        if spans[middle][0] <= position:
            first = middle
        else:
            last = middle
    return first


def _scan_joined(
    snapshot: Snapshot,
    gated: CompiledPattern,
    group: Sequence[Span],
    clock: ScanClock,
    found: list[int],
    position: int = 0,
) -> bool:
    """Note where matches start in documents that lie one behind the other, looked at as one text.

    `position` is where to begin in it. Behind a match the next one is looked for in the lines that
    follow it. A document from which a match runs into the next one is looked at alone from there
    on. Returns whether time was enough for all.
    """
    begin, newline = group[0][0], snapshot.find_newline
    text = snapshot.buffer[begin : group[-1][1]]
    length, count, place = len(text), 0, 0
    while position < length:
        # What is left out of these may hide a match that starts behind `position`.
        beside = 0
        for match in gated.regex.finditer(text, position):
            start, end = match.span()
            count += 1
            if count % 1024 == 0 and clock.is_over():
                return False
            if start >= length:
                return True
            if start < position:
                beside += 1
                if end > position or beside == MAX_SKIPPED_MATCHES:
                    break
                continue
            while place + 1 < len(group) and group[place + 1][0] <= begin + start:
                place += 1
            offset, stop = group[place]
            if begin + end > stop or begin + start >= stop:
                inside = max(0, begin + position - offset)
                if not _scan_joined(snapshot, gated, [group[place]], clock, found, inside):
                    return False
                position = group[place + 1][0] - begin if place + 1 < len(group) else length
                break
            found.append(begin + start)
            position = max(end, newline(begin + start) + 1 - begin)
            beside = 0
        else:
            return True
    return True
