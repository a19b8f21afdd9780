"""What a client's hooks say around a compaction. Text only; no model is asked, nothing is waited
for beyond reading what the agent wrote."""

from __future__ import annotations

import contextlib

from rlm_mcp.contexts.session import audit, brief, work
from rlm_mcp.contexts.session.session import Session
from rlm_mcp.corpus.tokens import estimate
from rlm_mcp.errors import BadRequest

MOST = 900
"""Tokens that a hook's text may have."""


def compaction_brief(session: Session, tokens: int = MOST) -> str:
    """Return what to hand the summariser: the user's rules verbatim, open tasks, refs."""
    view = session.view
    lines = [
        "Keep these in the summary word for word, each with its ref in brackets; they are the "
        "user's own rules and corrections and stay in force:",
    ]
    rules = [f"- {fact.quote} [{fact.ref}]" for fact in brief.rules(view)]
    todo = [
        f"- {task['task']} [{task['last']}]"
        for task in work.tasks(view)
        if task["status"] in ("open", "active")
    ]
    foot = (
        f"State that every earlier turn stays readable, verbatim, as the context variable "
        f"`{session.name}` of the rlm tools: peek('{session.name}:{view.id}#<turn>.<block>'), "
        f"grep(pattern, ref='{session.name}'). Do not claim that tests pass or work is done "
        "without the ref of the run that shows it."
    )
    body = _fit([*lines, *(rules or ["- (none found)"])], todo, tokens - estimate(foot, "code"))
    return "\n".join([*body, foot])


def after_compaction(session: Session, tokens: int = MOST) -> str:
    """Return what to tell the model after a compaction: what is addressable, what was lost."""
    view = session.view
    head = (
        f"The conversation was compacted. Everything before it is still readable, verbatim, as "
        f"the context variable `{session.name}` (rlm tools): grep(pattern, ref='{session.name}'), "
        f"peek('{session.name}:{view.id}#<turn>.<block>'), and in execute: "
        f"{session.name}.brief(), .audit(), .files(), .errors(), .commands(). Look there before "
        "asking the user again or repeating work."
    )
    rules = [f"- {fact.quote} [{fact.ref}]" for fact in brief.rules(view)]
    wrong: list[str] = []
    with contextlib.suppress(BadRequest):  # the client told us before it wrote the summary
        wrong = [
            f"- The summary says {item['claim']!r}, but {item['evidence']} [{item['ref']}]"
            for item in audit.contradicted(view)
        ]
    lines = [head, "The user's rules in force, verbatim:", *(rules or ["- (none found)"])]
    return "\n".join(_fit(lines, wrong, tokens))


def _fit(first: list[str], then: list[str], tokens: int) -> list[str]:
    """Return the lines that fit; what does not is counted."""
    kept: list[str] = []
    used = 0
    for line in [*first, *then]:
        cost = estimate(line + "\n", "code")
        if used + cost <= tokens - 16:
            kept.append(line)
            used += cost
    left = len(first) + len(then) - len(kept)
    return [*kept, f"({left} more: brief())"] if left else kept
