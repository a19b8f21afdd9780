"""What was asked for, decided, corrected and given up: candidates by rule, each with its quote.

Only what a person typed can become a rule, a preference or a correction; only what a person or
the agent itself wrote can become a decision. Text of tools, of the harness and of a compaction's
summary never does, and neither does a turn off the live branch. A model may refine these lists;
nothing here asks one.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from rlm_mcp.contexts.session.sentences import sentences, strong, words
from rlm_mcp.contexts.session.view import View, rows_of

FactKind = Literal["goal", "rule", "preference", "correction", "decision", "rejected"]

_RULE = re.compile(
    r"\b(?:never|always|must(?:n't| not)?|don't|do not|cannot|can't use|no longer|only|avoid|ever"
    r"|make sure|ensure|from now on|at all times|under no circumstances|forbidden|off[- ]limits"
    r"|required|mandatory|hard rule|rule:|not allowed|leave .{1,40} alone)\b"
    r"|^no \w+\.?$|\b(?:use|with) .{1,60}?,? (?:not|instead of|rather than) "
    r"|(?:禁止|必须|不要|千万|只能|务必|总是)",
    re.IGNORECASE,
)
_PREFERENCE = re.compile(
    r"\b(?:prefer|i(?:'d)? like|i want|i'd rather|please use|keep (?:it|them|this|the \w+)|style"
    r"|use \w+|be (?:brief|concise|short)|in (?:english|german|french|chinese))\b",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"^(?:no[,.! ]|nope|stop\b|wrong|actually|that's (?:wrong|not)|not (?:what|like|that)|wait\b"
    r"|revert|undo|scrap|change of plan|instead\b|i (?:said|meant|told)|you (?:forgot|missed|broke)"
    r"|it should (?:be|have)|不对|错了|别)"
    r"|\b(?:i (?:already )?(?:said|told you)|as i said|scrap (?:that|this)|change of plan"
    r"|you were (?:told|asked)|on second thought|changed my mind)\b",
    re.IGNORECASE,
)
_DECISION = re.compile(
    r"^(?:\**decision\**\s*:|decided\b|i(?:'ve| have)? decided|we(?:'ve| have)? decided|i chose|"
    r"we chose|choosing\b|going with|i'm going with|i'll go with|let's go with|settled on|"
    r"sticking (?:with|to)|keeping\b|switching to|moving to|capping\b|the approach is|"
    r"reverting (?:that|it) and|turning (?:on|off)|we'll use|i'll use|final(?:ly)?:|resolution:)",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"^(?:change of plan|let's (?:use|move|go|switch|keep|do)|use |keep |switch to|go with|we(?:'ll"
    r"| will) use|make it|move |the \w+ (?:is|are|should be) )",
    re.IGNORECASE,
)
_REJECTED = re.compile(
    r"\b(?:i (?:have )?rejected|we rejected|rejected\b|dead end|not worth (?:it|the)|ruled out|"
    r"doesn't work|does not work|won't work|will not work|would not (?:survive|work)|gave up on|"
    r"abandon(?:ed|ing)|scrap(?:ped)? (?:that|this)|tried .{1,60} but|can't be used|backed out)\b",
    re.IGNORECASE,
)
_REVOKED = re.compile(
    r"\b(?:forget|ignore|drop|lift|remove|cancel) (?:that|the|my|this) .{0,40}?\b(?:rule|"
    r"constraint|restriction|ban)\b|\byou (?:may|can) (?:now |again )?(?:edit|use|touch)\b",
    re.IGNORECASE,
)
_LONG = 600


@dataclass(frozen=True, slots=True)
class Fact:
    """One statement. `quote` stands verbatim in the block that `ref` opens."""

    kind: FactKind
    quote: str
    ref: str
    turn: int
    by: Literal["person", "agent"]
    status: Literal["active", "superseded"] = "active"
    superseded_by: str = ""


def facts(view: View, before: int = 0) -> list[Fact]:
    """Return all candidates of the live branch in order, up to turn `before` (0: to the end)."""
    return view.once(("facts", before), lambda: _facts(view, before))


def _facts(view: View, before: int) -> list[Fact]:
    found: list[Fact] = []
    prompts: list[int] = []
    for row in rows_of(
        view,
        "b.doc=1 AND t.live=1 AND b.type IN ('text', 'thinking') "
        "AND t.origin IN ('human', 'agent') AND (?=0 OR b.n<?)",
        (before, before),
    ):
        text, ref = view.body(row), view.ref(row)
        human = row["origin"] == "human"
        if human and row["type"] == "text":
            prompts.append(row["n"])
            found += _asked(text, ref, row["n"])
        elif not human:
            found += _said(text, ref, row["n"], thinking=row["type"] == "thinking")
    return _settle(_once(found), prompts)


def goal(view: View) -> Fact | None:
    """Return the first thing that a person asked for."""
    rows = rows_of(
        view,
        "b.doc=1 AND t.live=1 AND t.origin='human' AND b.type='text' AND b.len>12 "
        "AND b.n < (SELECT coalesce(min(n), 0) + 40 FROM turns WHERE doc=1 AND origin='human')",
    )
    for row in rows:
        for sentence in sentences(view.body(row)):
            if len(words(sentence)) >= 3:
                return Fact("goal", sentence[:_LONG], view.ref(row), row["n"], "person")
    return None


def _asked(text: str, ref: str, turn: int) -> Iterator[Fact]:
    """Yield what a person's prompt states. A correction's following sentences belong to it."""
    correcting = False
    for sentence in sentences(text):
        if len(sentence) > _LONG:
            continue
        if sentence.endswith(("?", "\uff1f")):
            correcting = False
            continue
        correcting = correcting or _CORRECTION.search(sentence) is not None
        if correcting and _REJECTED.search(sentence):
            yield Fact("rejected", sentence, ref, turn, "person")
        if _RULE.search(sentence):
            yield Fact("rule", sentence, ref, turn, "person")
        elif (correcting and len(sentence) > 8) or _REVOKED.search(sentence):
            yield Fact("correction", sentence, ref, turn, "person")
        elif _PREFERENCE.search(sentence):
            yield Fact("preference", sentence, ref, turn, "person")
        ruled = _RULE.search(sentence) is not None and not correcting
        if not ruled and _ASKED.search(sentence) and len(words(sentence)) >= 3:
            yield Fact("decision", sentence, ref, turn, "person")


def _said(text: str, ref: str, turn: int, *, thinking: bool) -> Iterator[Fact]:
    before = ""
    for sentence in sentences(text):
        if len(sentence) > _LONG:
            before = ""
            continue
        if not thinking and _DECISION.search(sentence):
            yield Fact("decision", sentence, ref, turn, "agent")
        if _REJECTED.search(sentence):
            both = f"{before} {sentence}"
            bare = len(words(sentence)) < 3 and before and both in text
            yield Fact("rejected", both if bare else sentence, ref, turn, "agent")
        before = sentence


def _once(found: list[Fact]) -> list[Fact]:
    """Drop repetitions of the same words; the first place stands, its last status later."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for fact in found:
        key = (fact.kind, " ".join(fact.quote.lower().split()))
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
    changes = corrects or _CORRECTION.search(fact.quote) is not None
    revokes = _REVOKED.search(fact.quote) is not None
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
