"""Show the hits of a page, and say where the next one begins."""

from __future__ import annotations

import base64
import json
from codecs import BOM_UTF8
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np

from rlm_mcp.corpus.gate import Gated
from rlm_mcp.corpus.query import CUT, MOST_CONTEXT, Match, Query
from rlm_mcp.corpus.snapshot import Snapshot
from rlm_mcp.errors import BadRequest

_SHOWN_LINES = 20
"""Lines of a match across lines that a hit shows."""


def show(
    snapshot: Snapshot, gated: Gated, query: Query, places: list[int], lines: list[int]
) -> tuple[Match, ...]:
    """Return hits as the caller sees them."""
    if not places:
        return ()
    paths, buffer = snapshot.paths, snapshot.buffer
    plain = not (gated.multiline or query.before or query.after)
    found = []
    begins, ends = _spans(snapshot, places, lines)
    for place, line, begin, end in zip(places, lines, begins, ends, strict=True):
        if plain and end - begin <= CUT:
            text = str(buffer[begin:end], "utf-8", "replace")
            found.append(Match(paths[place], line, text))
        else:
            found.append(_show(snapshot, gated, query, place, line))
    return tuple(found)


def _spans(snapshot: Snapshot, places: list[int], lines: list[int]) -> tuple[list[int], list[int]]:
    """Return where lines begin and end, without their newlines."""
    which, number = np.array(places), np.array(lines)
    offsets, last = snapshot.offsets[which], snapshot.firsts[which] + number - 1
    begins = np.where(number == 1, offsets, snapshot.ends[np.maximum(last - 1, 0)] + np.int64(1))
    return begins.tolist(), snapshot.ends[last].tolist()


def _show(snapshot: Snapshot, gated: Gated, query: Query, place: int, line: int) -> Match:
    """Return one hit, with what is around it."""
    begin, end = _lines_span(snapshot, place, line, line)
    last = line
    if end - begin <= CUT and not gated.multiline:
        text, cut = bytes(snapshot.buffer[begin:end]).decode("utf-8", "replace"), False
    else:
        span, last = _matched(snapshot, gated, place, line)
        text, cut = _around(snapshot, *span, *_lines_span(snapshot, place, line, last))
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    if query.before:
        before = _context(snapshot, place, line - min(query.before, MOST_CONTEXT), line - 1)
    if query.after:
        after = _context(snapshot, place, last + 1, last + min(query.after, MOST_CONTEXT))
    return Match(snapshot.paths[place], line, text, before, after, cut)


def digest(query: Query, paths: Sequence[str] | None) -> str:
    """Return a short name for what was asked."""
    asked = [
        query.pattern, query.ignore_case, query.unicode, query.multiline, query.spread,
        query.literal, query.totals, None if paths is None else list(paths),
    ]  # fmt: skip
    data = json.dumps(asked).encode()
    return blake2b(data, digest_size=6).hexdigest()


def cursor(digest: str, generation: int, at: int) -> str:
    """Return the cursor of the page that starts with hit number `at`."""
    text = f"{generation:x}.{digest}.{at:x}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def start(cursor: str, digest: str, generation: int) -> int:
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


def _matched(
    snapshot: Snapshot, gated: Gated, place: int, line: int
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
    last = snapshot.line_of(place, max(span[0], span[1] - 1))
    return span, min(last, line + _SHOWN_LINES)


def _lines_span(snapshot: Snapshot, place: int, line: int, last: int) -> tuple[int, int]:
    """Return the bytes of some lines, without the last newline."""
    begin, end = snapshot.line_span(place, line, last)
    if end > begin and snapshot.buffer[end - 1] == 10:
        end -= 1
    return begin, end


def _around(snapshot: Snapshot, start: int, stop: int, begin: int, end: int) -> tuple[str, bool]:
    """Return at most CUT characters of a line, with the match inside."""
    if end - begin <= CUT:
        return bytes(snapshot.buffer[begin:end]).decode("utf-8", "replace"), False
    left = max(begin, start - 4 * CUT)
    right = min(end, max(stop, start) + 4 * CUT, start + 8 * CUT)
    head = bytes(snapshot.buffer[left:start]).decode("utf-8", "replace")
    text = head + bytes(snapshot.buffer[start:right]).decode("utf-8", "replace")
    if left == begin and right == end and len(text) <= CUT:
        return text, False
    at = max(0, min(len(head) - CUT // 4, len(text) - CUT))
    return text[at : at + CUT], True


def _context(snapshot: Snapshot, place: int, first: int, last: int) -> tuple[str, ...]:
    """Return some lines, each cut."""
    found = []
    for line in range(max(1, first), min(last, int(snapshot.lines[place])) + 1):
        begin, end = _lines_span(snapshot, place, line, line)
        text = bytes(snapshot.buffer[begin : min(end, begin + 4 * CUT)]).decode("utf-8", "replace")
        found.append(text[:CUT])
    return tuple(found)
