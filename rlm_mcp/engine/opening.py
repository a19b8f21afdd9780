"""The first message of a run: the question, the variables, and what may be asked of whom.

Nothing here depends on the clock: the same run begins with the same text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rlm_mcp import redact
from rlm_mcp.contexts.variable import Variable
from rlm_mcp.engine import observe
from rlm_mcp.engine.asking import SUB_MAX_TOKENS
from rlm_mcp.engine.budget import Allowance
from rlm_mcp.engine.handles import Handles
from rlm_mcp.engine.run import Job

NAMED_REFS = 20
"""Refs that a root model is told one by one."""


def first_message(
    job: Job,
    question: str,
    variables: Mapping[str, Variable],
    refs: Sequence[str],
    handles: Handles,
    allowance: Allowance | None,
    width: int,
) -> str:
    """Return the text; `refs` narrow the variables, no `allowance` means no sub-calls."""
    lines = [f"<question>\n{question}\n</question>", "", "Context variables:"]
    lines += [observe.describe_text(variable.describe()) for variable in variables.values()]
    main = next(iter(variables), "")
    if main and main != "context":
        lines.append(f"`context` is {main}.")
    if refs:
        lines += ["", f"The question is about: {_named(refs, handles)}."]
    if job.schema is not None:
        wanted = json.dumps(job.schema, ensure_ascii=False)
        lines += ["", f"The answer is JSON (json.dumps) that fits this JSON Schema: {wanted}"]
    if allowance is not None:
        deeper = (
            f"Child runs may nest {allowance.depth} deep."
            if allowance.depth
            else "Child runs are not available here; use llm_query."
        )
        lines += [
            "",
            f"A sub-call holds up to {job.sub.window // 2:,} tokens and answers in at most "
            f"{SUB_MAX_TOKENS:,}; {width} run at once.",
            deeper,
        ]
    return redact.redact("\n".join(lines))


def _named(refs: Sequence[str], handles: Handles) -> str:
    named = ", ".join(refs[:NAMED_REFS])
    if len(refs) <= NAMED_REFS:
        return named
    handle = handles.keep("\n".join(refs), "refs", refs)
    return f"{named} and {len(refs) - NAMED_REFS:,} more; {handle} lists all of them"
