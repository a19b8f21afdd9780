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
from rlm_mcp.corpus.pack import Snapshot

Ordinals = npt.NDArray[np.int64]
Runs = Sequence[tuple[int, int]]

BLOCK = 8 << 20
"""Bytes between two looks at the clock."""
THREADED = 64 << 20
"""Bytes from which on several threads share the work."""
GAP = 8 << 10
"""Bytes that are scanned over rather than stopped at."""
SPARSE = 21_000
"""Bytes a hit from which on RE2 is faster than Hyperscan at plain text."""
LOOK = 64
"""Hits of plain text after which that is looked at."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """Ordinals of the newlines of matching lines, sorted; `whole` unless time ran out."""

    ordinals: Ordinals
    whole: bool


def runs_of(
    offsets: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> list[tuple[int, int]]:
    """Return the spans of documents (sorted by offset), those that are close as one."""
    if not len(offsets):
        return []
    stops = offsets + lengths + 1
    cuts = np.flatnonzero(offsets[1:] - stops[:-1] > GAP) + 1
    starts = offsets[np.concatenate(([0], cuts))]
    ends = stops[np.concatenate((cuts - 1, [len(stops) - 1]))]
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def scan(snapshot: Snapshot, gated: Gated, runs: Runs, seconds: float, enough: int = 0) -> Scanned:
    """Return the matching lines of some spans; with `enough`, stop soon after so many."""
    deadline = time.monotonic() + seconds
    size = sum(end - start for start, end in runs)
    workers = min(4, os.cpu_count() or 1)
    if size < THREADED or workers == 1 or enough:
        return _scan(snapshot, gated, _blocks(snapshot, runs, bool(enough)), deadline, enough)
    parts = _share(list(_blocks(snapshot, runs, False)), workers)
    with ThreadPoolExecutor(workers, "rlm-scan") as pool:
        results = list(
            pool.map(lambda part: _scan(snapshot, gated, iter(part), deadline, 0), parts)
        )
    # Where time ran out in one part, what later parts found still counts.
    return Scanned(
        np.concatenate([result.ordinals for result in results]),
        all(result.whole for result in results),
    )


def _share(blocks: Sequence[tuple[int, int]], parts: int) -> list[Sequence[tuple[int, int]]]:
    size = -(-len(blocks) // parts)
    return [blocks[start : start + size] for start in range(0, len(blocks), size)]


def _blocks(snapshot: Snapshot, runs: Runs, growing: bool) -> Iterator[tuple[int, int]]:
    """Cut spans into blocks on line borders; `growing` ones begin small."""
    size = BLOCK >> 6 if growing else BLOCK
    for start, end in runs:
        end = min(end, len(snapshot.buffer))
        while end - start > size:
            ordinal = int(snapshot.ends.searchsorted(np.uint32(start + size)))
            border = min(end, int(snapshot.ends[min(ordinal, len(snapshot.ends) - 1)]) + 1)
            yield start, border
            start = border
            size = min(BLOCK, size * 2)
        if start < end:
            yield start, end


def _scan(
    snapshot: Snapshot,
    gated: Gated,
    blocks: Iterator[tuple[int, int]],
    deadline: float,
    enough: int,
) -> Scanned:
    found: list[Ordinals] = []
    count, whole = 0, True
    for start, end in blocks:
        if time.monotonic() > deadline or (enough and count >= enough):
            whole = False
            break
        positions = _positions(snapshot, gated, start, end)
        if positions:
            marks = np.array(positions, np.uint32)
            ordinals = snapshot.ends.searchsorted(marks)
            found.append(ordinals)
            count += len(ordinals)
    return Scanned(np.concatenate(found) if found else np.empty(0, np.int64), whole)


def _positions(snapshot: Snapshot, gated: Gated, start: int, end: int) -> list[int]:
    """Return, for each matching line of a block, a place in it not after its newline."""
    if gated.automaton is None:
        return _by_regex(snapshot, gated, start, end, switch=False)[0]
    if gated.text is None:
        return _by_automaton(snapshot, gated, start, end)
    found, stopped = _by_regex(snapshot, gated, start, end, switch=True)
    if stopped < end:
        found += _by_automaton(snapshot, gated, stopped, end)
    return found


def _by_automaton(snapshot: Snapshot, gated: Gated, start: int, end: int) -> list[int]:
    found: list[int] = []
    append = found.append
    shift = start - 1

    def report(_id: int, _from: int, to: int, _flags: int, _context: object) -> None:
        append(to + shift)

    assert gated.automaton is not None
    with gated.automaton.database() as database:
        database.scan(snapshot.buffer[start:end], report)
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
