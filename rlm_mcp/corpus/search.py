"""Find the lines that match a pattern, in time linear in the text, with exact totals."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.corpus.pack import Corpus, Snapshot

CUT = 300
"""Characters of a line that a hit shows."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for. `pattern` is RE2 syntax, ASCII classes unless `unicode`."""

    pattern: str
    limit: int = 30
    ignore_case: bool = False
    before: int = 0
    after: int = 0
    cursor: str = ""
    unicode: bool = False
    multiline: bool = False
    spread: bool = False
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """A matching line. `text` is at most 300 characters of it, around the match."""

    path: str
    line: int
    text: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Matches:
    """The answer to a query. `total` counts the matching lines of the whole scope."""

    hits: tuple[Match, ...]
    total: int
    documents: int
    cursor: str = ""
    exact: bool = True
    note: str = ""
    per_folder: Mapping[str, int] = field(default_factory=dict)


def search(corpus: Corpus, query: Query, paths: Sequence[str] | None = None) -> Matches:
    """Return the matching lines of a corpus, or of some of its documents, in reading order.

    Raises BadRequest for a pattern that RE2 refuses and for a cursor of another state.
    """
    # RE2 takes 15 ms to import.
    import re2

    snapshot = corpus.snapshot
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not query.ignore_case
    options.encoding = re2.Options.Encoding.LATIN1
    if query.literal:
        options.literal = True
    pattern = query.pattern.encode()
    if not query.literal:
        pattern = b"(?m)" + pattern
    try:
        regex = re2.compile(pattern, options)
    except re2.error as error:
        raise BadRequest(f"The pattern {query.pattern!r} is not valid: {error}.") from error
    places: Sequence[int] = range(len(snapshot.paths))
    if paths is not None:
        places = sorted(snapshot.index[path] for path in paths if path in snapshot.index)
    found: list[tuple[int, int]] = []
    for place in places:
        offset, length = snapshot.spans[place]
        text = snapshot.buffer[offset : offset + length]
        position = 0
        while position < length and (match := regex.search(text, position)):
            if match.start() >= length:
                break
            line = snapshot.line_of(place, offset + match.start())
            found.append((place, line))
            position = snapshot.line_span(place, line, line)[1] - offset
    start = _start(query, snapshot, paths)
    shown = found[start : start + query.limit]
    more = start + len(shown) < len(found)
    folders = Counter(_folder(snapshot.paths[place]) for place, _ in found)
    return Matches(
        hits=tuple(_hit(snapshot, query, regex, place, line) for place, line in shown),
        total=len(found),
        documents=len({place for place, _ in found}),
        cursor=_cursor(query, snapshot, paths, start + len(shown)) if more else "",
        per_folder=dict(folders),
    )


def _hit(snapshot: Snapshot, query: Query, regex: object, place: int, line: int) -> Match:
    low, high = max(1, line - query.before), line + query.after
    lines = []
    for number in range(low, min(high, int(snapshot.rows["lines"][place])) + 1):
        begin, end = snapshot.line_span(place, number, number)
        lines.append(bytes(snapshot.buffer[begin:end]).removesuffix(b"\n"))
    raw = lines[line - low]
    text = raw.decode("utf-8", "replace")
    cut = len(text) > CUT
    if cut:
        match = regex.search(raw)  # type: ignore[attr-defined]
        at = len(raw[: match.start()].decode("utf-8", "replace")) if match else 0
        begin = max(0, min(at - CUT // 3, len(text) - CUT))
        text = text[begin : begin + CUT]
    around = [item.decode("utf-8", "replace")[:CUT] for item in lines]
    return Match(
        path=snapshot.paths[place],
        line=line,
        text=text,
        before=tuple(around[: line - low]),
        after=tuple(around[line - low + 1 :]),
        cut=cut,
    )


def _folder(path: str) -> str:
    head, slash, _ = path.partition("/")
    return head + slash if slash else "."


def _digest(query: Query, paths: Sequence[str] | None) -> str:
    parts = [query.pattern, query.ignore_case, query.unicode, query.multiline, query.spread]
    what = json.dumps([*parts, query.literal, None if paths is None else list(paths)])
    return blake2b(what.encode(), digest_size=6).hexdigest()


def _cursor(query: Query, snapshot: Snapshot, paths: Sequence[str] | None, at: int) -> str:
    text = f"{snapshot.table.generation}.{_digest(query, paths)}.{at}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _start(query: Query, snapshot: Snapshot, paths: Sequence[str] | None) -> int:
    if not query.cursor:
        return 0
    try:
        padded = query.cursor + "=" * (-len(query.cursor) % 4)
        generation, digest, at = base64.urlsafe_b64decode(padded).decode().split(".")
        start = int(at)
    except ValueError as error:
        raise BadRequest(
            "This is not a cursor of a search; leave it out to start again."
        ) from error
    if digest != _digest(query, paths):
        raise BadRequest("This cursor belongs to another search; pass the same arguments again.")
    if int(generation) != snapshot.table.generation:
        raise BadRequest(
            "The content changed since this cursor was given; search again without it."
        )
    return start
