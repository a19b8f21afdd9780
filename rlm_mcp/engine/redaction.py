"""Take secrets out of what host functions return, before it is cut or printed by anybody.

Windows and texts come from `contexts.window` without secrets. Hits, outlines and the answers of a
variable's methods quote lines, often cut: one that may show a part of a secret is compared with
the same lines of its document, read without secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rlm_mcp.errors import RlmError
from rlm_mcp.redact import redact, redact_lines, window
from rlm_mcp.refs import LineSpan, Ref, parse_ref

if TYPE_CHECKING:
    from rlm_mcp.variable import ContextHit

NEAR = 200
"""Lines between two hits up to which their document is read once for both."""
CUT = 150
MOST_CUT = 400
"""Characters from which on, and up to which, a quoted line may have been cut."""
ADDRESSES = frozenset({"ref", "path", "cursor", "next_ref", "commit", "source", "sha", "id"})
"""Fields that are addresses: without them nothing could be opened again."""

_ANCHORS = (80, 40, 20, 10)
"""Characters by which the place of a cut is found again."""

TextOf = Callable[[Ref], str]
"""Returns the text of a ref without secrets, or raises an RlmError."""


def hide_in_hits(hits: Sequence[ContextHit], text_of: TextOf) -> tuple[ContextHit, ...]:
    """Return hits without secrets."""
    blocks = ["\n".join((*hit.before, hit.text, *hit.after)) for hit in hits]
    clean, parts = redact_lines(blocks)
    parts.update(
        number
        for number, hit in enumerate(hits)
        if hit.cut or any(len(line) >= CUT for line in (*hit.before, *hit.after))
    )
    shown = list(hits)
    for number, (block, hit) in enumerate(zip(clean, hits, strict=True)):
        if block is not blocks[number]:
            shown[number] = _hidden(hit, block.split("\n"), len(hit.before))
    for cluster in _clusters([(number, _span(hits[number])) for number in sorted(parts)]):
        ref = cluster[0][1][0]
        first = max(1, min(at - len(hits[number].before) for number, (_, at) in cluster))
        last = max(at + _height(hits[number]) for number, (_, at) in cluster)
        try:
            lines = text_of(ref.with_span(LineSpan(first, last))).split("\n")
        except (RlmError, ValueError):
            lines = []
        for number, (_, at) in cluster:
            shown[number] = _hidden(hits[number], lines, at - first)
    return tuple(shown)


def hide_in_answer(answer: Any, text_of: TextOf) -> Any:
    """Return plain JSON without secrets; a record with a ref is compared with what stands there."""
    if isinstance(answer, list) and all(isinstance(row, dict) and "line" in row for row in answer):
        answer = _in_lines(answer)
    texts: list[tuple[str, str]] = []
    _collect(answer, "", texts)
    clean, parts = redact_lines([text for text, _ in texts])
    known = {}
    for number, (text, ref) in enumerate(texts):
        if ref and (clean[number] is not text or number in parts or CUT <= len(text) <= MOST_CUT):
            known[text, ref] = _settled(text, ref, text_of, part=number in parts)
        elif clean[number] is not text:
            known[text, ref] = clean[number]
    if not known:
        return answer
    return _replaced(answer, "", known)


def _in_lines(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return rows that are lines one after the other without the secrets that cross them."""
    text = "\n".join(str(row.get("text", "")) for row in rows)
    lines = window(text, 0, len(text)).split("\n")
    if len(lines) != len(rows):
        return list(rows)
    return [
        {**row, "text": line} if "text" in row else row
        for row, line in zip(rows, lines, strict=True)
    ]


def _height(hit: ContextHit) -> int:
    return hit.text.count("\n") + len(hit.after)


def _span(hit: ContextHit) -> tuple[Ref, int]:
    """Return the document of a hit and its line."""
    return parse_ref(hit.ref).with_span(None), hit.line


def _clusters(
    places: Sequence[tuple[int, tuple[Ref, int]]],
) -> Iterator[list[tuple[int, tuple[Ref, int]]]]:
    """Yield hits of the same document that stand near to each other."""
    group: list[tuple[int, tuple[Ref, int]]] = []
    for place in sorted(places, key=lambda place: (str(place[1][0]), place[1][1])):
        if group and (place[1][0] != group[-1][1][0] or place[1][1] - group[-1][1][1] > NEAR):
            yield group
            group = []
        group.append(place)
    if group:
        yield group


def _hidden(hit: ContextHit, lines: Sequence[str], at: int) -> ContextHit:
    """Return a hit whose line is number `at` of some lines without secrets."""
    first = at - len(hit.before)
    below = at + hit.text.count("\n") + 1

    def line(number: int) -> str | None:
        return lines[number] if 0 <= number < len(lines) else None

    own = [line(number) for number in range(at, below)]
    return replace(
        hit,
        text=_agreed(hit.text, None if None in own else "\n".join(text or "" for text in own)),
        before=tuple(_agreed(text, line(first + n)) for n, text in enumerate(hit.before)),
        after=tuple(_agreed(text, line(below + n)) for n, text in enumerate(hit.after)),
    )


def _agreed(quoted: str, source: str | None) -> str:
    """Return a quote as its source, which has no secrets, says it; of None nothing is known."""
    if source is None:
        return redact(quoted)
    if quoted in source:
        return quoted
    place = _place(quoted, source)
    return source[max(0, place) :][: len(quoted)]


def _place(quoted: str, source: str) -> int:
    """Return where a quote begins in its source, by its first or last characters."""
    for size in _ANCHORS:
        if len(quoted) >= size:
            if (place := source.find(quoted[:size])) >= 0:
                return place
            if (place := source.rfind(quoted[-size:])) >= 0:
                return max(0, place + size - len(quoted))
    return source.find("[secret:") - 20


def _settled(text: str, ref: str, text_of: TextOf, *, part: bool) -> str:
    """Return a text of a record without secrets; `part`: it may go on with one from above."""
    try:
        at = parse_ref(ref)
        span = at.span
        if isinstance(span, LineSpan):
            at = at.with_span(LineSpan(span.start, min(span.end, span.start + NEAR)))
        source = text_of(at) if span is not None else None
    except (RlmError, ValueError):
        source = None
    if source is None or text in source:
        return redact(text)
    begins = any(text[:size] in source for size in _ANCHORS if len(text) >= size)
    return redact(_agreed(text, source) if part or begins else text)


def _collect(value: Any, ref: str, found: list[tuple[str, str]]) -> None:
    if isinstance(value, str):
        found.append((value, ref))
    elif isinstance(value, Mapping):
        own = value.get("ref")
        own = own if isinstance(own, str) else ref
        for key, item in value.items():
            if key not in ADDRESSES:
                _collect(item, own, found)
    elif isinstance(value, list):
        for item in value:
            _collect(item, ref, found)


def _replaced(value: Any, ref: str, known: Mapping[tuple[str, str], str]) -> Any:
    if isinstance(value, str):
        return known.get((value, ref), value)
    if isinstance(value, Mapping):
        own = value.get("ref")
        own = own if isinstance(own, str) else ref
        return {
            key: item if key in ADDRESSES else _replaced(item, own, known)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_replaced(item, ref, known) for item in value]
    return value
