"""The structure of a session, and its parts on the borders of turns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from rlm_mcp.contexts.session import brief
from rlm_mcp.contexts.session.view import Place, View, rows_of
from rlm_mcp.contexts.variable import Chunk, Item, Outline
from rlm_mcp.corpus.tokens import estimate
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import Lines, Ref

BY = ("auto", "turns", "prompts", "lines")


STANDING = {"rules": "rule", "corrections": "correction", "decisions": "decision", "tasks": "task"}


def outline(view: View, places: Sequence[Place], limit: int) -> Outline:
    """Return what holds now, then prompts, compactions and subagents, the newest where too many.

    Of a part of a session, what was said in it alone.
    """
    told = _told(view, places)
    if any(place.turn is not None for place in places) or len(places) < len(view.threads()):
        items, note = _cut(told, limit)
        return Outline(tuple(items), len(told), note)
    standing = [_line(line) for line in brief.standing(view)]
    kept = standing[: max(1, limit * 2 // 3)]
    rest, note = _cut(told, limit - len(kept))
    notes = [note] if note else []
    if len(kept) < len(standing):
        notes.insert(0, f"{len(kept)} of {len(standing)} that hold now; the brief has all")
    return Outline((*kept, *rest), len(standing) + len(told), "; ".join(notes))


def _told(view: View, places: Sequence[Place]) -> list[Item]:
    """Return the prompts, compactions and subagents of some places, in order."""
    items = []
    for place in places:
        for row in rows_of(
            view,
            "b.doc=? AND t.live=1 AND (t.origin IN ('human', 'compaction') OR b.kind='task') "
            "AND b.type IN ('text', 'compaction', 'call')",
            (place.thread.doc,),
        ):
            if place.turn is None or row["n"] == place.turn:
                items.append(_item(view, row))
    return items


def _cut(items: Sequence[Item], limit: int) -> tuple[Sequence[Item], str]:
    """Return at most `limit` items, the first ones and the newest, and what was left out."""
    if len(items) <= limit:
        return items, ""
    if limit <= 0:
        return (), f"none of {len(items)} prompts and compactions shown"
    head = max(1, limit // 4)
    kept = [*items[:head], *items[len(items) - (limit - head) :]] if limit > 1 else items[:1]
    return kept, f"the first {head} and the newest {limit - head} prompts are shown"


def _line(line: brief.Line) -> Item:
    return Item(line.ref, STANDING[line.section], line.text)


def _item(view: View, row: sqlite3.Row) -> Item:
    kind = {"human": "prompt", "compaction": "compaction"}.get(row["origin"], "subagent")
    text = row["arg"] if kind == "subagent" else view.body(row)
    line = " ".join(text[:400].split())
    return Item(
        view.ref(row), kind, line[:160] + ("…" if len(line) > 160 else ""), 0, row["ts"][:19]
    )


def chunks(view: View, scope: Ref, places: Sequence[Place], by: str, tokens: int) -> list[Chunk]:
    """Return the parts of a scope, each line exactly once, cut at turns where they fit."""
    if by not in BY:
        raise BadRequest(f"A session is not chunked by {by!r}; use one of {', '.join(BY)}.")
    if tokens < 1:
        raise BadRequest(f"A chunk needs at least 1 token, got {tokens}.")
    found: list[Chunk] = []
    for place in places:
        span = scope.span if isinstance(scope.span, Lines) else None
        found += _place_chunks(view, place, span, by, tokens)
    return found


def _place_chunks(
    view: View, place: Place, span: Lines | None, by: str, tokens: int
) -> Iterator[Chunk]:
    text = view.whole(place)
    lines = text.removesuffix("\n").split("\n") if text else []
    first = span.start if span else 1
    last = min(span.end, len(lines)) if span else len(lines)
    borders = _borders(view, place, by)
    start, size = first, 0
    for number in range(first, last + 1):
        cost = len(lines[number - 1].encode("utf-8", "replace")) + 1
        unit = number in borders
        ahead = _ahead(lines, borders, number, last) if unit else cost
        full = estimate(size + ahead, "prose") > tokens and size > 0
        if full and (unit or estimate(size + cost, "prose") > tokens):
            yield _chunk(view, place, lines, start, number - 1, size)
            start, size = number, 0
        size += cost
    if start <= last:
        yield _chunk(view, place, lines, start, last, size)


def _ahead(lines: Sequence[str], borders: set[int], number: int, last: int) -> int:
    """Return the bytes up to the next border: a turn that fits into a chunk is not cut."""
    size = 0
    for at in range(number, last + 1):
        if at > number and at in borders:
            break
        size += len(lines[at - 1].encode("utf-8", "replace")) + 1
    return size


def _borders(view: View, place: Place, by: str) -> set[int]:
    """Return the lines on which turns (or prompts) begin."""
    if by == "lines" or place.turn is not None:
        return set()
    where = "b.doc=? AND t.live=1 AND b.i=1"
    if by == "prompts":
        where += " AND t.origin='human'"
    found = set()
    snapshot = view.index.corpus.snapshot
    before = 0
    heads = [row["head"] for row in rows_of(view, where, (place.thread.doc,))]
    at = 0
    for path, start, length in view.runs(place.thread):
        run = snapshot.index[path]
        while at < len(heads) and heads[at] < start + length:
            if heads[at] >= start:
                found.add(before + snapshot.line_of(run, heads[at]))
            at += 1
        before += snapshot.document(run).lines
    return found


def _chunk(
    view: View, place: Place, lines: Sequence[str], start: int, end: int, size: int
) -> Chunk:
    ref = Ref(view.name, place.path, "", Lines(start, end))
    title = next((line.strip() for line in lines[start - 1 : end] if line.strip()), "")
    return Chunk(str(ref), estimate(size, "prose"), title[:80])
