"""What a client's hooks say around a compaction. Text only; no model is asked.

Where the session was not read in time, the text is shorter: it says what it was made from and what
it leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlm_mcp.contexts.session import audit, brief, claims, todo
from rlm_mcp.contexts.session.session import Session
from rlm_mcp.corpus.tokens import estimate

MOST = 900
"""Tokens that a hook's text may have."""
_FOOT = 16
"""Tokens kept free for the count of what does not fit."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The user's rules in force and the open tasks, as lines with refs, after so many turns."""

    rules: Sequence[str]
    tasks: Sequence[str]
    turns: int


def standing(session: Session) -> Standing:
    """Return what holds now; the session was refreshed."""
    view = session.view
    rules = [f"- {fact.quote} [{fact.ref}]" for fact in brief.rules(view)]
    tasks = [
        f"- {task['task']} [{task['last']}]"
        for task in todo.tasks(view)
        if task["status"] in ("open", "active")
    ]
    return Standing(rules, tasks, view.index.states()[""].turns)


def wrong(session: Session) -> list[str] | None:
    """Return what the newest summary states against the evidence, as lines with refs.

    None where it is not in the transcript yet: Claude Code 2.1 runs the hook before it writes the
    summary, and an older one must not be taken for it.
    """
    view = session.view
    every = audit.compactions(view)
    said = view.index.rows(
        "SELECT max(n) FROM turns WHERE doc=1 AND live=1 AND origin IN ('human', 'agent')"
    )[0][0]
    if not every or every[-1]["turn"] < (said or 0):
        return None
    return [
        f"- The summary says {item['claim']!r}, but {item['evidence']} [{item['ref'] or 'audit()'}]"
        for item in audit.contradicted(view)
    ]


def prepare(session: Session) -> Standing:
    """Read what both hooks need, so that they find it read."""
    claims.prepare(session.view)
    return standing(session)


def compaction_brief(session: Session, tokens: int = MOST) -> str:
    """Return what to hand the summariser: the user's rules verbatim, open tasks, refs."""
    return before_text(session.name, session.view.id, standing(session), tokens=tokens)


def after_compaction(session: Session, tokens: int = MOST) -> str:
    """Return what to tell the model after a compaction: what is addressable, what was lost."""
    found = standing(session), wrong(session)
    return after_text(session.name, session.view.id, *found, tokens=tokens)


def before_text(
    name: str, native: str, known: Standing | None, *, late: bool = False, tokens: int = MOST
) -> str:
    """Return the summariser's instructions; `late` says that `known` may be behind."""
    foot = (
        f"State that every earlier turn stays readable, verbatim, as the context variable "
        f"`{name}` of the rlm tools: peek('{name}:{native}#<turn>.<block>'), "
        f"grep(pattern, ref='{name}'). Do not claim that tests pass or work is done "
        "without the ref of the run that shows it."
    )
    if known is None:
        head = (
            "The session was not read in time to list the user's rules here. Keep every rule, "
            "preference and correction of the user in the summary word for word."
        )
        return f"{head}\n{foot}"
    head = (
        "Keep these in the summary word for word, each with its ref in brackets; they are the "
        "user's own rules and corrections and stay in force:"
    )
    behind = (
        f"(This list ends with turn {known.turns}; what came later was not read in time: keep the "
        "user's later rules and corrections word for word, too.)"
    )
    last = "\n".join([behind, foot]) if late else foot
    lines = [head, *(known.rules or ["- (none found)"])]
    return "\n".join([*_fit(lines, known.tasks, tokens - estimate(last, "code")), last])


def after_text(
    name: str,
    native: str,
    known: Standing | None,
    wrong: Sequence[str] | None,
    *,
    late: bool = False,
    tokens: int = MOST,
) -> str:
    """Return what the model is told; `wrong` is None where the summary was not checked."""
    head = (
        f"The conversation was compacted. Everything before it is still readable, verbatim, as "
        f"the context variable `{name}` (rlm tools): grep(pattern, ref='{name}'), "
        f"peek('{name}:{native}#<turn>.<block>'), and in execute: "
        f"{name}.brief(), .audit(), .files(), .errors(), .commands(). Look there before "
        "asking the user again or repeating work."
    )
    lines = [head]
    if known is None:
        lines.append(f"The user's rules were not read in time: {name}.brief() lists them.")
    else:
        until = f", up to turn {known.turns} ({name}.brief() has later ones)" if late else ""
        lines.append(f"The user's rules in force, verbatim{until}:")
        lines += known.rules or ["- (none found)"]
    if wrong is None:
        lines.insert(1, f"The summary was not checked against the record; {name}.audit() does.")
    return "\n".join(_fit(lines, wrong or (), tokens))


def _fit(first: Sequence[str], then: Sequence[str], tokens: int) -> list[str]:
    """Return the lines that fit; what does not is counted."""
    kept: list[str] = []
    used = 0
    for line in [*first, *then]:
        cost = estimate(line + "\n", "code")
        if used + cost <= tokens - _FOOT:
            kept.append(line)
            used += cost
    left = len(first) + len(then) - len(kept)
    return [*kept, f"({left} more: brief())"] if left else kept
