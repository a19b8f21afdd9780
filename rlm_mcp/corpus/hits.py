"""The matching lines of a search, by document, in reading order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus import across, backtrack
from rlm_mcp.corpus import scan as scanning
from rlm_mcp.corpus.gate import Gated
from rlm_mcp.corpus.snapshot import Scope, Snapshot, scope

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Hits:
    """Matching lines. Documents are places in reading order; lines count from 1.

    `lines` is None where every line matches.
    """

    places: Numbers
    counts: Numbers
    lines: Numbers | None
    whole: bool

    @property
    def total(self) -> int:
        """How many lines match."""
        return int(self.counts.sum())

    @property
    def documents(self) -> int:
        """How many documents have a match."""
        return len(self.places)

    @property
    def weight(self) -> int:
        """How many numbers are held."""
        return len(self.places) + (0 if self.lines is None else len(self.lines))

    def window(self, start: int, limit: int, spread: bool) -> tuple[list[int], list[int]]:
        """Return the places and lines of hits `start` to `start + limit`."""
        wanted = np.arange(start, max(start, min(start + limit, self.total)))
        stops = np.cumsum(self.counts)
        if spread:
            which, nth = self._spread(wanted)
        else:
            which = stops.searchsorted(wanted, "right")
            nth = wanted - (stops - self.counts)[which]
        starts = stops - self.counts
        lines = nth + 1 if self.lines is None else self.lines[starts[which] + nth]
        return self.places[which].tolist(), lines.tolist()

    def per_folder(self, paths: Sequence[str]) -> dict[str, int]:
        """Count the hits of each folder, one level below what all have in common."""
        if not len(self.places):
            return {}
        names = [paths[place] for place in self.places.tolist()]
        start = _shared_folder(names[0], names[-1])
        folders: Counter[str] = Counter()
        for name, count in zip(names, self.counts.tolist(), strict=True):
            head, slash, _ = name[start:].partition("/")
            folders[name[:start] + (head + slash if slash else "")] += count
        return {name or ".": count for name, count in folders.items()}

    def _spread(self, wanted: Numbers) -> tuple[Numbers, Numbers]:
        """Go round the documents: the first hit of each, then the second of each."""
        which = np.empty(len(wanted), np.int64)
        nth = np.empty(len(wanted), np.int64)
        turn, before, done = 0, 0, 0
        while done < len(wanted):
            left = np.flatnonzero(self.counts > turn)
            take = wanted[(wanted >= before) & (wanted < before + len(left))]
            which[done : done + len(take)] = left[take - before]
            nth[done : done + len(take)] = turn
            done += len(take)
            before += len(left)
            turn += 1
        return which, nth


def _shared_folder(first: str, last: str) -> int:
    """Return how many characters of two paths are the same folders; all between share them."""
    shared = 0
    for one, other in zip(first, last, strict=False):
        if one != other:
            break
        shared += 1
    return first.rfind("/", 0, shared) + 1


def find(
    snapshot: Snapshot,
    gated: Gated,
    paths: Sequence[str] | None,
    seconds: float,
    enough: int = 0,
) -> Hits:
    """Return the matching lines of some documents (None: all).

    With `enough`, documents are looked at in reading order, and not many after so many lines.
    """
    among = snapshot.whole_scope if paths is None else scope(snapshot, paths)
    if not len(among.places):
        return Hits(among.places, among.places, np.empty(0, np.int64), True)
    if gated.every_line and not gated.backtrack:
        return Hits(among.places[among.order], among.lines[among.order], None, True)
    clock = scanning.Clock(seconds)
    if gated.per_document:
        starts, whole = across.starts(snapshot, gated, among, clock, enough)
        ordinals = snapshot.ends.searchsorted(starts.astype(np.uint32))
        return _grouped(among, ordinals, whole)
    if gated.every_line:
        ordinals, whole = _all_lines(among), True
    else:
        runs = among.reading_runs if enough else among.runs
        scanned = scanning.scan(snapshot, gated, runs, clock, enough)
        ordinals, whole = scanned.ordinals, scanned.whole
    if gated.backtrack:
        spans = _line_spans(snapshot, among, ordinals)
        kept, finished = backtrack.decide(snapshot, gated, spans, clock.until)
        ordinals, whole = ordinals[kept], whole and finished
    return _grouped(among, ordinals, whole)


def _grouped(among: Scope, ordinals: Numbers, whole: bool) -> Hits:
    """Turn ordinals of newlines into documents and lines, leaving out what is no document."""
    which = among.firsts.searchsorted(ordinals, "right") - 1
    inside = which >= 0
    inside &= ordinals < among.firsts[which] + among.lines[which]
    if not inside.all():
        which, ordinals = which[inside], ordinals[inside]
    lines = ordinals - among.firsts[which] + 1
    places = among.places[which]
    if not len(places):
        return Hits(places, places, lines, whole)
    steps = np.diff(places)
    if (steps < 0).any():
        order = np.lexsort((lines, places))
        places, lines = places[order], lines[order]
        steps = np.diff(places)
    fresh = np.concatenate(([True], (steps != 0) | (np.diff(lines) != 0)))
    if not fresh.all():
        places, lines = places[fresh], lines[fresh]
        steps = np.diff(places)
    starts = np.concatenate(([0], np.flatnonzero(steps) + 1))
    counts = np.diff(np.concatenate((starts, [len(places)])))
    return Hits(places[starts], counts, lines, whole)


def _all_lines(among: Scope) -> Numbers:
    return np.concatenate(
        [
            np.arange(first, first + count)
            for first, count in zip(among.firsts.tolist(), among.lines.tolist(), strict=True)
        ]
    )


def _line_spans(snapshot: Snapshot, among: Scope, ordinals: Numbers) -> Numbers:
    """Return (start, end) of each line, without its newline."""
    ends = snapshot.ends[ordinals].astype(np.int64)
    before = snapshot.ends[np.maximum(ordinals - 1, 0)].astype(np.int64) + 1
    before[ordinals == 0] = 0
    which = np.maximum(among.firsts.searchsorted(ordinals, "right") - 1, 0)
    starts = np.maximum(before, among.offsets[which])
    return np.stack([starts, np.maximum(starts, ends)], axis=1)
