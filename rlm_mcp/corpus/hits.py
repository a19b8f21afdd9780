"""The matching lines of a search, by document, in reading order."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus import across, backtrack
from rlm_mcp.corpus import scan as scanning
from rlm_mcp.corpus.gate import Gated
from rlm_mcp.corpus.snapshot import Scope, Snapshot, scope
from rlm_mcp.corpus.way import Way

Numbers = npt.NDArray[np.int64]

_FEW = 4
"""Documents a hit from which on hits are few."""
_LINES = 50_000
"""Lines that are handed to the backtracking engine at a time."""


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
    if gated.backtrack:
        return _grouped(among, *_decided(snapshot, gated, among, clock, enough))
    runs = among.reading_runs if enough else among.runs
    scanned = scanning.scan(snapshot, gated, runs, clock, enough)
    ordinals = _without_marks(snapshot, gated, among, scanned)
    return _grouped(among, ordinals, scanned.whole)


def _without_marks(
    snapshot: Snapshot, gated: Gated, among: Scope, scanned: scanning.Scanned
) -> Numbers:
    """Judge anew the first lines that stand behind a byte order mark, which is no part of them."""
    firsts, ordinals = among.marked_lines, scanned.ordinals
    if not scanned.whole:
        # What lies behind was not looked at: a hit there would not be one of the first.
        firsts = firsts[firsts <= ordinals.max(initial=-1)]
    if gated.text is not None or not len(firsts):
        return ordinals  # a plain text does not mind what is before it
    spans = _line_spans(snapshot, among, firsts).tolist()
    search, buffer = gated.regex.search, snapshot.buffer
    right = np.array([search(buffer[start:end]) is not None for start, end in spans], bool)
    ordinals = _ascending(ordinals)
    places = ordinals.searchsorted(firsts)
    known = ordinals.searchsorted(firsts, "right") > places
    missing = right & ~known
    if missing.any():
        ordinals = np.insert(ordinals, places[missing], firsts[missing])
    wrong = firsts[known & ~right]
    return np.delete(ordinals, ordinals.searchsorted(wrong)) if len(wrong) else ordinals


def _ascending(ordinals: Numbers) -> Numbers:
    """Return numbers in order, each once; most come so."""
    if bool((ordinals[1:] > ordinals[:-1]).all()):
        return ordinals
    # np.unique takes half a minute for twenty million (2.3).
    ordinals = np.sort(ordinals)
    return ordinals[np.diff(ordinals, prepend=-1) > 0]


def _grouped(among: Scope, ordinals: Numbers, whole: bool) -> Hits:
    """Turn ordinals of newlines into documents and lines, leaving out what is no document."""
    ordinals = _ascending(ordinals)
    if len(ordinals) * _FEW < len(among.places):
        return _looked_up(among, ordinals, whole)
    low = ordinals.searchsorted(among.firsts)
    counts = ordinals.searchsorted(among.firsts + among.lines) - low
    which = among.order[counts[among.order] > 0]
    counts, low = counts[which], low[which]
    total = int(counts.sum())
    if total < len(ordinals) or (np.diff(low) < 0).any():
        # Dead lines are among them, or the order of the text is not that of reading.
        starts = np.cumsum(counts) - counts
        ordinals = ordinals[np.arange(total) + np.repeat(low - starts, counts)]
    lines = ordinals - np.repeat(among.firsts[which] - 1, counts)
    return Hits(among.places[which], counts, lines, whole)


def _looked_up(among: Scope, ordinals: Numbers, whole: bool) -> Hits:
    """Do the same for few ordinals: each looks for its document, not each document for them."""
    which = among.firsts.searchsorted(ordinals, "right") - 1
    ordinals, which = ordinals[which >= 0], which[which >= 0]
    living = ordinals < among.firsts[which] + among.lines[which]
    ordinals, which = ordinals[living], which[living]
    order = np.argsort(among.places[which], kind="stable")
    lines = (ordinals - among.firsts[which] + 1)[order]
    places, counts = np.unique(among.places[which], return_counts=True)
    return Hits(places, counts, lines, whole)


def _decided(
    snapshot: Snapshot, gated: Gated, among: Scope, clock: scanning.Clock, enough: int
) -> tuple[Numbers, bool]:
    """Return the lines, among those that RE2 finds, that the backtracking engine agrees to."""
    runs = among.reading_runs if enough else among.runs
    scan = scanning.Scan(snapshot, Way(gated, snapshot.pair_counts), clock)
    if gated.every_line:
        pieces = _all_lines(among)
    else:
        # What RE2 finds of them it may find because of their mark.
        pieces = chain([among.marked_lines], scan.pieces(runs))
    kept = [np.empty(0, np.int64)]
    count = 0
    with backtrack.Child(snapshot, gated, clock.until, starts=False) as child:
        for ordinals in pieces:
            if enough and count >= enough:
                return np.concatenate(kept), False
            places, whole = child.ask(_line_spans(snapshot, among, ordinals))
            kept.append(ordinals[places])
            count += len(places)
            if not whole:
                return np.concatenate(kept), False
    return np.concatenate(kept), not scan.stopped


def _all_lines(among: Scope) -> Iterator[Numbers]:
    """Yield the ordinals of all lines, those of some documents at a time."""
    firsts, lines = among.firsts[among.order], among.lines[among.order]
    parts = np.cumsum(lines) // _LINES
    for part in np.split(np.arange(len(lines)), np.flatnonzero(np.diff(parts)) + 1):
        counts = lines[part]
        starts = np.cumsum(counts) - counts
        yield np.arange(int(counts.sum())) + np.repeat(firsts[part] - starts, counts)


def _line_spans(snapshot: Snapshot, among: Scope, ordinals: Numbers) -> Numbers:
    """Return (start, end) of each line, without its newline and a byte order mark."""
    ends = snapshot.ends[ordinals].astype(np.int64)
    before = snapshot.ends[np.maximum(ordinals - 1, 0)].astype(np.int64) + 1
    before[ordinals == 0] = 0
    which = np.maximum(among.firsts.searchsorted(ordinals, "right") - 1, 0)
    starts = np.maximum(before, among.offsets[which])
    starts[np.isin(ordinals, among.marked_lines)] += len(BOM_UTF8)
    return np.stack([starts, np.maximum(starts, ends)], axis=1)
