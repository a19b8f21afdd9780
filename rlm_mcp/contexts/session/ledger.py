"""What was asked for, decided, corrected and given up: candidates by rule, each with its quote.

Only what a person typed can become a rule, a preference or a correction; only what a person or
the agent itself wrote can become a decision. Text of tools, of the harness and of a compaction's
summary never does, and neither does a turn off the live branch. Where a file holds many
conversations, only what the newest states is in force. A model may refine these lists; nothing
here asks one.
"""

from __future__ import annotations

import bisect
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from rlm_mcp.contexts.session.phrases import (
    CORRECTION,
    DECISION,
    ONCE,
    ORDERED,
    PREFERENCE,
    REJECTED,
    REVOKED,
    RULE,
    TURNED_DOWN,
    machine,
)
from rlm_mcp.contexts.session.sentences import sentences, strong, words
from rlm_mcp.contexts.session.turns import BEGINS
from rlm_mcp.contexts.session.view import View, rows_of

FactKind = Literal["goal", "rule", "preference", "correction", "decision", "rejected"]

_LONG = 600
_EXPLAINED = 2
"""Sentences behind a correction that still belong to it."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement. `quote` stands verbatim in the block that `ref` opens."""

    kind: FactKind
    quote: str
    ref: str
    turn: int
    by: Literal["person", "agent"]
    status: Literal["active", "superseded", "past"] = "active"
    """In force, taken back, or said in an earlier conversation of the same file."""
    superseded_by: str = ""


def facts(view: View, before: int = 0) -> list[Fact]:
    """Return all candidates of the live branch in order, up to turn `before` (0: to the end)."""
    return view.once(("facts", before), lambda: _facts(view, before))


def _facts(view: View, before: int) -> list[Fact]:
    found = view.kept.of(
        "facts",
        "b.type IN ('text', 'thinking') AND t.origin IN ('human', 'agent')",
        lambda row: _of(view, row),
        columns="b.doc, b.type, b.off, b.len, t.origin",
    )
    prompts = sorted(n for live in (True, False) for n in _prompts(view, live=live))
    if before:
        found = [fact for fact in found if fact.turn < before]
        prompts = [turn for turn in prompts if turn < before]
    start = begins(view, before)
    settled = _settle(_once(found, start), prompts)
    return [
        replace(fact, status="past") if fact.turn < start and fact.status == "active" else fact
        for fact in settled
    ]


def begins(view: View, before: int = 0) -> int:
    """Return the turn where the newest conversation of the file begins; 0 where it holds one."""
    rows = view.index.rows(
        "SELECT max(n) FROM blocks WHERE doc=1 AND type='notice' AND name=? AND n < (SELECT max(n) "
        "FROM turns WHERE doc=1 AND live=1 AND origin='human' AND n<?)",
        (BEGINS, before or 1 << 40),
    )
    return rows[0][0] or 0


def _prompts(view: View, *, live: bool) -> list[int]:
    """Return the turns of prompts; a rewound one answered what stood before it, too."""
    where = "b.type='text' AND t.origin='human'"
    return view.kept.of("prompts", where, lambda row: (int(row["n"]),), columns="b.doc", live=live)


def _of(view: View, row: sqlite3.Row) -> list[Fact]:
    """Return the candidates of one block."""
    text, ref, turn = view.body(row), view.ref(row), row["n"]
    if row["origin"] != "human":
        return list(_said(text, ref, turn, thinking=row["type"] == "thinking"))
    return list(_asked(text, ref, turn)) if row["type"] == "text" else []


def goal(view: View) -> Fact | None:
    """Return the first thing that a person asked for, in a whole sentence where there is one."""
    start = begins(view)
    rows = rows_of(
        view,
        "b.doc=1 AND t.live=1 AND t.origin='human' AND b.type='text' AND b.len>12 "
        "AND b.n>=? AND b.n < (SELECT coalesce(min(n), 0) + 40 FROM turns WHERE doc=1 AND "
        "origin='human' AND n>=?)",
        (start, start),
    )
    short = None
    for row in rows:
        for sentence in sentences(view.body(row)):
            size = len(words(sentence))
            if size >= 3 or (size and short is None):
                found = Fact("goal", sentence[:_LONG], view.ref(row), row["n"], "person")
                if size >= 3:
                    return found
                short = found
    return short


def _asked(text: str, ref: str, turn: int) -> Iterator[Fact]:
    """Yield what a person's prompt states. The sentences behind a correction explain it."""
    left = 0
    for sentence in sentences(text):
        if len(sentence) > _LONG or machine(sentence):
            continue
        if sentence.endswith(("?", "\uff1f")):
            left = 0
            continue
        corrects = CORRECTION.stand_in(sentence)
        left = _EXPLAINED if corrects else left - 1
        for kind in _kinds(sentence, corrects, left >= 0):
            yield Fact(kind, sentence, ref, turn, "person")


def _kinds(sentence: str, corrects: bool, correcting: bool) -> Iterator[FactKind]:
    """Yield what a person's sentence may be; `correcting` holds behind a correction too."""
    if (correcting and REJECTED.stand_in(sentence)) or TURNED_DOWN.stand_in(sentence):
        yield "rejected"
    ruled = RULE.stand_in(sentence) and not ONCE.stand_in(sentence)
    if ruled:
        yield "rule"
    if corrects or REVOKED.stand_in(sentence) or (correcting and not ruled and len(sentence) > 8):
        yield "correction"
    elif not ruled and PREFERENCE.stand_in(sentence):
        yield "preference"
        ruled = True  # how things are to be is no decision between them
    if DECISION.stand_in(sentence) or (
        (correcting or not ruled) and ORDERED.stand_in(sentence) and words(sentence)
    ):
        yield "decision"


def _said(text: str, ref: str, turn: int, *, thinking: bool) -> Iterator[Fact]:
    before = ""
    for sentence in sentences(text):
        if len(sentence) > _LONG:
            before = ""
            continue
        if not thinking and DECISION.stand_in(sentence):
            yield Fact("decision", sentence, ref, turn, "agent")
        if REJECTED.stand_in(sentence):
            both = f"{before} {sentence}"
            bare = len(words(sentence)) < 3 and before and both in text
            yield Fact("rejected", both if bare else sentence, ref, turn, "agent")
        before = sentence


def _once(found: list[Fact], start: int) -> list[Fact]:
    """Drop repetitions of the same words in a conversation; the first place stands."""
    seen: set[tuple[str, str, bool]] = set()
    kept = []
    for fact in found:
        key = (fact.kind, " ".join(fact.quote.lower().split()), fact.turn >= start)
        if key not in seen:
            seen.add(key)
            kept.append(fact)
    return kept


@dataclass(frozen=True, slots=True)
class _Turnabout:
    """A person's statement that may take something back."""

    fact: Fact
    topic: set[str]
    changes: bool
    revokes: bool


def _settle(found: list[Fact], prompts: list[int]) -> list[Fact]:
    """Mark what a later statement of a person took back."""
    turnabouts = [one for fact in found if (one := _turnabout(fact)) is not None]
    turns = [one.fact.turn for one in turnabouts]
    settled = []
    for fact in found:
        by = None
        if fact.kind in ("rule", "preference", "decision"):
            topic = _topic(fact.quote)
            at = bisect.bisect_right(prompts, fact.turn)
            answer = prompts[at] if at < len(prompts) else 0
            later = turnabouts[bisect.bisect_right(turns, fact.turn) :]
            by = next((one for one in later if _takes_back(one, fact, topic, answer)), None)
        if by is not None:
            fact = replace(fact, status="superseded", superseded_by=by.fact.ref)
        settled.append(fact)
    return settled


def _turnabout(fact: Fact) -> _Turnabout | None:
    if fact.by != "person":
        return None
    corrects = fact.kind in ("correction", "rejected")
    changes = corrects or CORRECTION.stand_in(fact.quote)
    revokes = REVOKED.stand_in(fact.quote)
    if not (changes or revokes):
        return None
    return _Turnabout(fact, _topic(fact.quote), changes, revokes)


def _takes_back(later: _Turnabout, fact: Fact, topic: set[str], answer: int) -> bool:
    """Say whether a later statement takes one back; `answer` is the turn of the next prompt."""
    shared = later.topic & topic
    if fact.kind in ("rule", "preference"):
        return bool(shared) and later.revokes
    if later.fact.turn == answer and later.changes:
        return bool(shared) or len(words(later.fact.quote)) < 3
    return later.changes and len(shared) >= 2


def _topic(text: str) -> set[str]:
    return words(text) | {anchor.lower() for anchor in strong(text)}
