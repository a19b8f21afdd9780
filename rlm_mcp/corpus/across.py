"""Find matches that may run across lines: documents are looked at as wholes.

Hyperscan passes over the text of many documents at once, and RE2 looks at those in which it met
something: a match that runs from one document into the next only costs a look. A match counts as
the line where it starts, and a line counts once.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus import backtrack
from rlm_mcp.corpus.gate import Gated, hyperscan
from rlm_mcp.corpus.scan import BLOCK, THREADED, Clock, in_threads
from rlm_mcp.corpus.snapshot import Scope, Snapshot

Numbers = npt.NDArray[np.int64]
Span = tuple[int, int]

_DOCUMENTS = 256
"""Documents that are handed to the backtracking engine at a time."""


def starts(
    snapshot: Snapshot, gated: Gated, among: Scope, clock: Clock, enough: int
) -> tuple[Numbers, bool]:
    """Return where matches start, at most one for each line, and whether that is all."""
    offsets = among.offsets[among.order]
    stops = offsets + among.lengths[among.order]
    offsets = offsets + len(BOM_UTF8) * among.marked[among.order]
    if gated.backtrack:
        return _decided(snapshot, gated, np.stack([offsets, stops], axis=1), clock, enough)
    spans = list(zip(offsets.tolist(), stops.tolist(), strict=True))
    workers = min(2, os.cpu_count() or 1)
    if enough or workers == 1 or int(among.lengths.sum()) < THREADED:
        parts = [_starts(snapshot, gated, spans, clock, enough)]
    else:

        def begin() -> Callable[[Sequence[Span]], tuple[list[int], bool]]:
            own = clock.another()
            return lambda part: _starts(snapshot, gated, part, own, 0)

        parts = in_threads(_shares(spans), workers, begin)
    found = [start for part, _ in parts for start in part]
    return np.array(found, np.int64), all(whole for _, whole in parts)


def _shares(spans: Sequence[Span]) -> list[Sequence[Span]]:
    """Cut a list of documents where a block of bytes is full."""
    shares: list[Sequence[Span]] = []
    first = size = 0
    for number, (start, stop) in enumerate(spans, 1):
        size += stop - start
        if size >= BLOCK or number == len(spans):
            shares.append(spans[first:number])
            first, size = number, 0
    return shares


def _decided(
    snapshot: Snapshot, gated: Gated, spans: Numbers, clock: Clock, enough: int
) -> tuple[Numbers, bool]:
    """Let the backtracking engine look at documents, some at a time."""
    found = [np.empty(0, np.int64)]
    with backtrack.Child(snapshot, gated, clock.until, starts=True) as child:
        for first in range(0, len(spans), _DOCUMENTS):
            starts, whole = child.ask(spans[first : first + _DOCUMENTS])
            found.append(starts)
            left = first + _DOCUMENTS < len(spans)
            if not whole or (left and enough and sum(map(len, found)) >= enough):
                return np.concatenate(found), False
    return np.concatenate(found), True


def _starts(
    snapshot: Snapshot, gated: Gated, spans: Sequence[Span], clock: Clock, enough: int
) -> tuple[list[int], bool]:
    found: list[int] = []
    for start, stop in _candidates(snapshot, gated, spans, BLOCK >> 9 if enough else BLOCK):
        if clock.is_over() or (enough and len(found) >= enough):
            return found, False
        if start < stop and not _document(snapshot, gated, start, stop, clock, found):
            return found, False
    return found, True


def _candidates(
    snapshot: Snapshot, gated: Gated, spans: Sequence[Span], step: int
) -> Iterator[Span]:
    """Yield the documents that may hold a match, and an empty span at times for the clock."""
    module = hyperscan()
    if gated.automaton is None or module is None:
        yield from spans
        return
    hit = 0

    def report(_id: int, _from: int, to: int, _flags: int, _context: object) -> bool:
        nonlocal hit
        hit = to
        return True

    with gated.automaton.database() as database:
        first = 0
        while first < len(spans):
            last = _together(spans, first, step)
            step = min(BLOCK, step * 2)
            while first < last:
                begin = spans[first][0]
                try:
                    database.scan(snapshot.buffer[begin : spans[last - 1][1] + 1], report)
                except module.ScanTerminated:
                    first = _holder(spans, first, last, begin + hit - 1)
                    yield spans[first]
                    first += 1
                else:
                    first = last
            yield (0, 0)


def _together(spans: Sequence[Span], first: int, step: int) -> int:
    """Return the end of the documents from `first` on that lie one behind the other."""
    begin, stop = spans[first]
    last = first + 1
    while last < len(spans) and stop <= spans[last][0] <= stop + 1 and stop - begin < step:
        stop = spans[last][1]
        last += 1
    return last


def _holder(spans: Sequence[Span], first: int, last: int, position: int) -> int:
    """Return which of some documents holds a byte, or the newline behind it."""
    while last - first > 1:
        middle = (first + last) // 2
        if spans[middle][0] <= position:
            first = middle
        else:
            last = middle
    return first


def _document(
    snapshot: Snapshot, gated: Gated, offset: int, stop: int, clock: Clock, found: list[int]
) -> bool:
    """Note where the matches of a document start; say whether time was enough for all."""
    text = snapshot.buffer[offset:stop]
    length, position, count = stop - offset, 0, 0
    search = gated.regex.search
    while position < length and (match := search(text, position)) is not None:
        start, end = match.span()
        if start >= length:
            break
        found.append(offset + start)
        position = max(end, snapshot.find_newline(offset + start) + 1 - offset)
        count += 1
        if count % 1024 == 0 and clock.is_over():
            return False
    return True
