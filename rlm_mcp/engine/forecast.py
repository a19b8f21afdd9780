"""What a run may cost, before it: for `ask --dry-run`. Calls no model.

The likely figures are rules of thumb over the sizes at hand (turns of a root, parts of a scope);
the upper bound is the budget, which no run passes.
"""

from __future__ import annotations

import math
from typing import Any

from rlm_mcp.engine.asking import SUB_MAX_TOKENS
from rlm_mcp.engine.budget import Allowance
from rlm_mcp.engine.reader import PART_TOKENS
from rlm_mcp.engine.route import Route
from rlm_mcp.models.model import Model, Usage

SYSTEM_TOKENS = 1_800
TURN_TOKENS = 900
"""What one turn adds to the root's conversation."""
TURNS = {"environment": 6, "recursive": 8}
REPLY_TOKENS = 350
SUB_REPLY_TOKENS = 300


def forecast(
    route: Route, tokens: int, root: Model, sub: Model, allowance: Allowance
) -> dict[str, Any]:
    """Return the route and its likely calls, tokens and cost; None where a price is unknown."""
    turns = TURNS.get(route.mode, 0)
    parts = 0
    if route.mode == "recursive":
        parts = min(math.ceil(tokens / PART_TOKENS), max(0, allowance.calls - turns))
    if route.mode == "direct":
        planned = [(root, Usage(tokens + SYSTEM_TOKENS, SUB_MAX_TOKENS // 4), 1)]
    else:
        # Each turn sends all earlier ones again, which the provider mostly reads from its cache.
        sent = turns * SYSTEM_TOKENS + TURN_TOKENS * turns * (turns - 1) // 2
        fresh = SYSTEM_TOKENS + TURN_TOKENS * turns
        whole = Usage(0, REPLY_TOKENS * turns, max(0, sent - fresh), fresh)
        part = Usage(min(tokens, PART_TOKENS) + 400, SUB_REPLY_TOKENS)
        planned = [(root, whole, 1), (sub, part, parts)]
    cost: float | None = 0.0
    total = Usage()
    for model, usage, times in planned:
        if not times:
            continue
        total += _times(usage, times)
        known = None if model.price is None else times * model.price.cost(usage)
        cost = None if cost is None or known is None else cost + known
    return {
        "mode": route.mode,
        "reason": route.reason,
        "model": root.spec,
        "sub_model": sub.spec,
        "scope_tokens": tokens,
        "likely_root_turns": turns or 1,
        "likely_sub_calls": parts,
        "likely_input_tokens": total.input + total.cache_read + total.cache_write,
        "likely_output_tokens": total.output,
        "likely_usd": None if cost is None else round(min(cost, allowance.usd), 4),
        "at_most_usd": allowance.usd,
        "at_most_calls": allowance.calls,
    }


def _times(usage: Usage, n: int) -> Usage:
    return Usage(usage.input * n, usage.output * n, usage.cache_read * n, usage.cache_write * n)
