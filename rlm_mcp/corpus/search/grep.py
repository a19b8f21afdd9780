"""The matching lines of a search, by document, in reading order."""

from __future__ import annotations

import base64
import json
import threading
from codecs import BOM_UTF8
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.search import backtrack, multiline
from rlm_mcp.corpus.search import scan as scanning
from rlm_mcp.corpus.search.compile_pattern import CompiledPattern
from rlm_mcp.corpus.search.query import HIT_CHARS, MAX_CONTEXT_LINES, GrepHit, GrepPage, Query
from rlm_mcp.corpus.search.scan import LineMatcher
from rlm_mcp.corpus.store import SearchScope, Snapshot
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.corpus.search.compile_pattern import CompiledPattern
    from rlm_mcp.corpus.store import Corpus, Snapshot


Numbers = npt.NDArray[np.int64]

_FEW_PER_DOCUMENT = 4
"""Documents a hit from which on hits are few."""
_BACKTRACK_LINES = 50_000
"""Lines that are handed to the backtracking engine at a time."""


@dataclass(frozen=True, slots=True)
class LineHits:
    """Matching lines. Documents are places in reading order; lines count from 1.

    `lines` is None where every line matches.
    """

    places: Numbers
    counts: Numbers
    lines: Numbers | None
    whole: bool

    @property
    def hit_count(self) -> int:
        """How many lines match."""
        return int(self.counts.sum())

    @property
    def document_count(self) -> int:
        """How many documents have a match."""
        return len(self.places)

    @property
    def stored_numbers(self) -> int:
        """How many numbers are held."""
        return len(self.places) + (0 if self.lines is None else len(self.lines))

    def hit_window(self, start: int, limit: int, spread: bool) -> tuple[list[int], list[int]]:
        """Return the places and lines of hits `start` to `start + limit`."""
        wanted = np.arange(start, max(start, min(start + limit, self.hit_count)))
        stops = np.cumsum(self.counts)
        if spread:
            which, nth = self._spread_window(wanted)
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

    def _spread_window(self, wanted: Numbers) -> tuple[Numbers, Numbers]:
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


def find_line_hits(
    snapshot: Snapshot,
    gated: CompiledPattern,
    paths: Sequence[str] | None,
    seconds: float,
    enough: int = 0,
) -> LineHits:
    """Return the matching lines of some documents (None: all).

    With `enough`, documents are looked at in reading order, and not many after so many lines.
    """
    among = snapshot.whole_scope if paths is None else snapshot.search_scope(paths)
    if not len(among.places):
        return LineHits(among.places, among.places, np.empty(0, np.int64), True)
    if gated.every_line and not gated.backtrack:
        return LineHits(
            among.places[among.reading_order], among.line_counts[among.reading_order], None, True
        )
    clock = scanning.ScanClock(seconds)
    if gated.per_document:
        starts, whole = multiline.multiline_starts(snapshot, gated, among, clock, enough)
        ordinals = snapshot.ends.searchsorted(starts.astype(np.uint32))
        return _group_hits(among, ordinals, whole)
    if gated.backtrack:
        return _group_hits(among, *_backtrack_lines(snapshot, gated, among, clock, enough))
    runs = among.reading_spans if enough else among.text_spans
    scanned = scanning.scan_spans(snapshot, gated, runs, clock, enough)
    ordinals = _recheck_bom_lines(snapshot, gated, among, scanned)
    return _group_hits(among, ordinals, scanned.whole)


def _recheck_bom_lines(
    snapshot: Snapshot, gated: CompiledPattern, among: SearchScope, scanned: scanning.ScanResult
) -> Numbers:
    """Judge anew the first lines that stand behind a byte order mark, which is no part of them."""
    firsts, ordinals = among.bom_lines, scanned.ordinals
    if not scanned.whole:
        # What lies behind was not looked at: a hit there would not be one of the first.
        firsts = firsts[firsts <= ordinals.max(initial=-1)]
    if gated.text is not None or not len(firsts):
        return ordinals  # a plain text does not mind what is before it
    spans = _line_spans(snapshot, among, firsts).tolist()
    search, buffer = gated.regex.search, snapshot.buffer
    right = np.array([search(buffer[start:end]) is not None for start, end in spans], bool)
    ordinals = _sorted_unique(ordinals)
    places = ordinals.searchsorted(firsts)
    known = ordinals.searchsorted(firsts, "right") > places
    missing = right & ~known
    if missing.any():
        ordinals = np.insert(ordinals, places[missing], firsts[missing])
    wrong = firsts[known & ~right]
    return np.delete(ordinals, ordinals.searchsorted(wrong)) if len(wrong) else ordinals


def _sorted_unique(ordinals: Numbers) -> Numbers:
    """Return numbers in order, each once; most come so."""
    if bool((ordinals[1:] > ordinals[:-1]).all()):
        return ordinals
    # np.unique takes half a minute for twenty million (2.3).
    ordinals = np.sort(ordinals)
    return ordinals[np.diff(ordinals, prepend=-1) > 0]


def _group_hits(among: SearchScope, ordinals: Numbers, whole: bool) -> LineHits:
    """Turn ordinals of newlines into documents and lines, leaving out what is no document."""
    ordinals = _sorted_unique(ordinals)
    if len(ordinals) * _FEW_PER_DOCUMENT < len(among.places):
        return _group_few_hits(among, ordinals, whole)
    low = ordinals.searchsorted(among.first_newlines)
    counts = ordinals.searchsorted(among.first_newlines + among.line_counts) - low
    which = among.reading_order[counts[among.reading_order] > 0]
    counts, low = counts[which], low[which]
    total = int(counts.sum())
    if total < len(ordinals) or (np.diff(low) < 0).any():
        # Dead lines are among them, or the order of the text is not that of reading.
        starts = np.cumsum(counts) - counts
        ordinals = ordinals[np.arange(total) + np.repeat(low - starts, counts)]
    lines = ordinals - np.repeat(among.first_newlines[which] - 1, counts)
    return LineHits(among.places[which], counts, lines, whole)


def _group_few_hits(among: SearchScope, ordinals: Numbers, whole: bool) -> LineHits:
    """Do the same for few ordinals: each looks for its document, not each document for them."""
    which = among.first_newlines.searchsorted(ordinals, "right") - 1
    ordinals, which = ordinals[which >= 0], which[which >= 0]
    living = ordinals < among.first_newlines[which] + among.line_counts[which]
    ordinals, which = ordinals[living], which[living]
    order = np.argsort(among.places[which], kind="stable")
    lines = (ordinals - among.first_newlines[which] + 1)[order]
    places, counts = np.unique(among.places[which], return_counts=True)
    return LineHits(places, counts, lines, whole)


def _backtrack_lines(
    snapshot: Snapshot,
    gated: CompiledPattern,
    among: SearchScope,
    clock: scanning.ScanClock,
    enough: int,
) -> tuple[Numbers, bool]:
    """Return the lines, among those that RE2 finds, that the backtracking engine agrees to."""
    runs = among.reading_spans if enough else among.text_spans
    scan = scanning.BlockScanner(snapshot, LineMatcher(gated, snapshot.pair_counts), clock)
    if gated.every_line:
        pieces = _all_lines(among)
    else:
        # What RE2 finds of them it may find because of their mark.
        pieces = chain([among.bom_lines], scan.iter_matches(runs))
    kept = [np.empty(0, np.int64)]
    count = 0
    with backtrack.BacktrackProcess(snapshot, gated, clock.until, starts=False) as child:
        for ordinals in pieces:
            if enough and count >= enough:
                return np.concatenate(kept), False
            places, whole = child.match_spans(_line_spans(snapshot, among, ordinals))
            kept.append(ordinals[places])
            count += len(places)
            if not whole:
                return np.concatenate(kept), False
    return np.concatenate(kept), not scan.stopped


def _all_lines(among: SearchScope) -> Iterator[Numbers]:
    """Yield the ordinals of all lines, those of some documents at a time."""
    firsts, lines = (
        among.first_newlines[among.reading_order],
        among.line_counts[among.reading_order],
    )
    parts = np.cumsum(lines) // _BACKTRACK_LINES
    for part in np.split(np.arange(len(lines)), np.flatnonzero(np.diff(parts)) + 1):
        counts = lines[part]
        starts = np.cumsum(counts) - counts
        yield np.arange(int(counts.sum())) + np.repeat(firsts[part] - starts, counts)


def _line_spans(snapshot: Snapshot, among: SearchScope, ordinals: Numbers) -> Numbers:
    """Return (start, end) of each line, without its newline and a byte order mark."""
    ends = snapshot.ends[ordinals].astype(np.int64)
    before = snapshot.ends[np.maximum(ordinals - 1, 0)].astype(np.int64) + 1
    before[ordinals == 0] = 0
    which = np.maximum(among.first_newlines.searchsorted(ordinals, "right") - 1, 0)
    starts = np.maximum(before, among.offsets[which])
    starts[np.isin(ordinals, among.bom_lines)] += len(BOM_UTF8)
    return np.stack([starts, np.maximum(starts, ends)], axis=1)


_SHOWN_LINES = 20
"""Lines of a match across lines that a hit shows."""


def show_hits(
    snapshot: Snapshot, gated: CompiledPattern, query: Query, places: list[int], lines: list[int]
) -> tuple[GrepHit, ...]:
    """Return hits as the caller sees them."""
    if not places:
        return ()
    paths, buffer = snapshot.paths, snapshot.buffer
    plain = not (gated.multiline or query.before or query.after)
    found = []
    begins, ends = _line_edges(snapshot, places, lines)
    for place, line, begin, end in zip(places, lines, begins, ends, strict=True):
        if plain and end - begin <= HIT_CHARS:
            text = str(buffer[begin:end], "utf-8", "replace")
            found.append(GrepHit(paths[place], line, text))
        else:
            found.append(_show_hit(snapshot, gated, query, place, line))
    return tuple(found)


def _line_edges(
    snapshot: Snapshot, places: list[int], lines: list[int]
) -> tuple[list[int], list[int]]:
    """Return where lines begin and end, without their newlines."""
    which, number = np.array(places), np.array(lines)
    offsets, last = snapshot.offsets[which], snapshot.first_newlines[which] + number - 1
    begins = np.where(number == 1, offsets, snapshot.ends[np.maximum(last - 1, 0)] + np.int64(1))
    return begins.tolist(), snapshot.ends[last].tolist()


def _show_hit(
    snapshot: Snapshot, gated: CompiledPattern, query: Query, place: int, line: int
) -> GrepHit:
    """Return one hit, with what is around it."""
    begin, end = _lines_span(snapshot, place, line, line)
    last = line
    if end - begin <= HIT_CHARS and not gated.multiline:
        text, cut = bytes(snapshot.buffer[begin:end]).decode("utf-8", "replace"), False
    else:
        span, last = _match_span(snapshot, gated, place, line)
        text, cut = _truncate_around(snapshot, *span, *_lines_span(snapshot, place, line, last))
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    if query.before:
        before = _context_lines(
            snapshot, place, line - min(query.before, MAX_CONTEXT_LINES), line - 1
        )
    if query.after:
        after = _context_lines(
            snapshot, place, last + 1, last + min(query.after, MAX_CONTEXT_LINES)
        )
    return GrepHit(snapshot.paths[place], line, text, before, after, cut)


def query_digest(query: Query, paths: Sequence[str] | None) -> str:
    """Return a short name for what was asked."""
    asked = [
        query.pattern, query.ignore_case, query.unicode, query.multiline, query.spread,
        query.literal, query.totals, None if paths is None else list(paths),
    ]  # fmt: skip
    data = json.dumps(asked).encode()
    return blake2b(data, digest_size=6).hexdigest()


def encode_cursor(digest: str, generation: int, at: int) -> str:
    """Return the cursor of the page that starts with hit number `at`."""
    text = f"{generation:x}.{digest}.{at:x}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, digest: str, generation: int) -> int:
    """Return the hit that a cursor starts with. Raises BadRequest for one of another search."""
    if not cursor:
        return 0
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        then, what, at = base64.b64decode(padded, b"-_", validate=True).decode().split(".")
        state, number = int(then, 16), int(at, 16)
    except ValueError as error:
        raise BadRequest("This is not a cursor of a search; leave it out to start anew.") from error
    if what != digest:
        raise BadRequest("This cursor belongs to another search; repeat its arguments exactly.")
    if state != generation:
        raise BadRequest("The content changed since this cursor was given; search anew without it.")
    return number


def _match_span(
    snapshot: Snapshot, gated: CompiledPattern, place: int, line: int
) -> tuple[tuple[int, int], int]:
    """Return the bytes that match and the line in which the match ends, as RE2 sees them."""
    begin, end = _lines_span(snapshot, place, line, line)
    mark = len(BOM_UTF8) if place in snapshot.marked else 0
    begin += mark if line == 1 else 0
    if gated.per_document:
        offset = int(snapshot.offsets[place])
        stop = offset + int(snapshot.lengths[place])
        offset += mark
        text = snapshot.buffer[offset:stop]
        match = gated.regex.search(text, begin - offset)
    else:
        offset = begin
        match = gated.regex.search(snapshot.buffer[begin:end])
    if match is None or match.start() + offset > end:
        return (begin, begin), line
    span = (match.start() + offset, match.end() + offset)
    if not gated.multiline or span[1] <= end:
        return span, line
    last = snapshot.line_number(place, max(span[0], span[1] - 1))
    return span, min(last, line + _SHOWN_LINES)


def _lines_span(snapshot: Snapshot, place: int, line: int, last: int) -> tuple[int, int]:
    """Return the bytes of some lines, without the last newline."""
    begin, end = snapshot.line_span(place, line, last)
    if end > begin and snapshot.buffer[end - 1] == 10:
        end -= 1
    return begin, end


def _truncate_around(
    snapshot: Snapshot, start: int, stop: int, begin: int, end: int
) -> tuple[str, bool]:
    """Return at most CUT characters of a line, with the match inside."""
    if end - begin <= HIT_CHARS:
        return bytes(snapshot.buffer[begin:end]).decode("utf-8", "replace"), False
    left = max(begin, start - 4 * HIT_CHARS)
    right = min(end, max(stop, start) + 4 * HIT_CHARS, start + 8 * HIT_CHARS)
    head = bytes(snapshot.buffer[left:start]).decode("utf-8", "replace")
    text = head + bytes(snapshot.buffer[start:right]).decode("utf-8", "replace")
    if left == begin and right == end and len(text) <= HIT_CHARS:
        return text, False
    at = max(0, min(len(head) - HIT_CHARS // 4, len(text) - HIT_CHARS))
    return text[at : at + HIT_CHARS], True


def _context_lines(snapshot: Snapshot, place: int, first: int, last: int) -> tuple[str, ...]:
    """Return some lines, each cut."""
    found = []
    for line in range(max(1, first), min(last, int(snapshot.line_counts[place])) + 1):
        begin, end = _lines_span(snapshot, place, line, line)
        text = bytes(snapshot.buffer[begin : min(end, begin + 4 * HIT_CHARS)]).decode(
            "utf-8", "replace"
        )
        found.append(text[:HIT_CHARS])
    return tuple(found)


__all__ = ["GrepHit", "GrepPage", "Query", "grep_corpus"]


def grep_corpus(corpus: Corpus, query: Query, paths: Sequence[str] | None = None) -> GrepPage:
    """Return the matching lines of a corpus, or of some of its documents, in reading order.

    Raises BadRequest for a pattern that cannot be used (with the place and the reason) and for a
    cursor of another state.
    """
    # RE2, Hyperscan and numpy take 130 ms to import.
    from rlm_mcp.corpus.search.compile_pattern import compile_pattern

    if query.limit < 0 or query.before < 0 or query.after < 0:
        raise BadRequest("limit, before and after count lines; they cannot be negative.")
    gated = compile_pattern(
        query.pattern, query.ignore_case, query.unicode, query.multiline, query.literal
    )
    snapshot = corpus.snapshot
    digest = query_digest(query, paths)
    start = decode_cursor(query.cursor, digest, snapshot.table.generation)
    hits = _cached_hits(snapshot, gated, query, paths, digest, start + query.limit)
    places, lines = hits.hit_window(start, query.limit, query.spread)
    more = start + len(places) < hits.hit_count or (not hits.whole and not query.totals)
    return GrepPage(
        hits=show_hits(snapshot, gated, query, places, lines),
        total=hits.hit_count,
        documents=hits.document_count,
        cursor=encode_cursor(digest, snapshot.table.generation, start + len(places))
        if more and len(places)
        else "",
        exact=hits.whole,
        note=_result_note(gated, query, hits),
        per_folder=hits.per_folder(snapshot.paths),
    )


_recent_hits: OrderedDict[tuple[int, int, str], LineHits] = OrderedDict()
_guard = threading.Lock()
_MAX_CACHED = 8
"""Answers that are kept, so that the next page costs nothing."""
_MAX_CACHED_LINES = 2_000_000


def _cached_hits(
    snapshot: Snapshot,
    gated: CompiledPattern,
    query: Query,
    paths: Sequence[str] | None,
    digest: str,
    wanted: int,
) -> LineHits:

    key = (id(snapshot), snapshot.table.generation, digest)
    with _guard:
        kept = _recent_hits.get(key)
    if kept is not None:
        return kept
    found = find_line_hits(
        snapshot, gated, paths, query.seconds, enough=0 if query.totals else max(1, wanted)
    )
    if found.whole and found.stored_numbers <= _MAX_CACHED_LINES:
        with _guard:
            _recent_hits[key] = found
            while len(_recent_hits) > _MAX_CACHED:
                _recent_hits.popitem(last=False)
    return found


def _result_note(gated: CompiledPattern, query: Query, hits: LineHits) -> str:
    notes = []
    if gated.multiline and not query.multiline and "\n" not in query.pattern:
        notes.append("The pattern has a newline, so it was matched across lines.")
    if gated.backtrack:
        notes.append("Lookaround or backreferences: decided by a backtracking engine.")
    if not hits.whole and query.totals:
        notes.append(
            f"Stopped after {query.seconds:g} s; the total is a lower bound. "
            "Search fewer documents or a rarer pattern."
        )
    return " ".join(notes)
