"""What a cell gets back from models, as the sdk reads it; and the sheet of whole answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlm_mcp.engine.calls import Answer, Ask, Failed
from rlm_mcp.engine.trajectory import brief
from rlm_mcp.errors import BudgetSpent, ModelError

KEPT_ANSWERS = 20_000_000
"""Characters of a sheet that are kept."""


def answers(given: Sequence[Any], failed: Sequence[str], handle: str, spent: str) -> dict[str, Any]:
    failures = [
        [place, item.reason, item.kind]
        for place, item in enumerate(given)
        if isinstance(item, Failed)
    ]
    return {
        "answers": [None if isinstance(item, Failed) else item for item in given],
        "failures": failures,
        "asked": len(given),
        "done": len(given) - len(failures),
        "failed": list(failed),
        "handle": handle,
        "spent": spent,
    }


def no_answer(got: Sequence[Answer | Failed]) -> None:
    """Raise where not one of the answers came: silence is no result."""
    reasons = dict.fromkeys((item.reason, item.kind) for item in got if isinstance(item, Failed))
    reason, kind = next(iter(reasons))
    said = f"None of {len(got)} calls was answered: {reason}" if len(got) > 1 else reason
    if kind == "budget":
        raise BudgetSpent(said, limit="calls", value=0)
    raise ModelError(said, kind=kind)


def sheet(asks: Sequence[Ask], got: Sequence[Answer | Failed]) -> str:
    """Return all answers whole, each under what it is about."""
    parts = []
    for number, (ask, item) in enumerate(zip(asks, got, strict=True), 1):
        text = item.reply.text if isinstance(item, Answer) else f"<NO ANSWER: {item.reason}>"
        parts.append(f"[{number}] {ask.part}\n{text}\n")
    return "\n".join(parts)[:KEPT_ANSWERS]


def name_of(ask: Ask) -> str:
    """Return a name for a prompt, the same when it is asked again."""
    text = "".join(message.text for message in ask.request.messages)
    return f"{text.strip().partition(chr(10))[0][:80]} #{brief(text)['hash'][:6]}"
