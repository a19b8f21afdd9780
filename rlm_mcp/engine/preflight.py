"""What a run may cost, before it: for `ask --dry-run`. Calls no model.

The likely figures are rules of thumb over the sizes at hand (turns of a root, parts of a scope);
the upper bound is the budget, which no run passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rlm_mcp.engine.ref_reader import PART_TOKENS
from rlm_mcp.engine.sub_calls import SUB_MAX_TOKENS
from rlm_mcp.errors import BadRequest, BudgetSpent, ModelError
from rlm_mcp.models import Model, Price, TokenUsage

if TYPE_CHECKING:
    from rlm_mcp.engine.budget import Allowance
    from rlm_mcp.engine.job import RunJob
    from rlm_mcp.engine.route import Route
    from rlm_mcp.variable import Variable


NEEDED_LIMITS = ("calls", "seconds", "input_tokens", "output_tokens")


async def may_begin(job: RunJob, allowance: Allowance) -> None:
    """Raise BudgetSpent for a limit that allows nothing, BadRequest for a model without a key."""
    for name in NEEDED_LIMITS if job.mode == "direct" else (*NEEDED_LIMITS, "iterations"):
        if getattr(allowance, name) <= 0:
            raise BudgetSpent(
                f"max_{name} is 0, so this run may not even begin; raise it.", limit=name, value=0
            )
    if allowance.usd <= 0 and not _is_free(job.root.price):
        raise BudgetSpent(
            f"max_usd is 0 and {job.root.spec} is not known to be free; raise max_usd, or give its "
            "price in prices.toml.",
            limit="usd",
            value=0,
        )
    await _check_ready("model", job.root)
    if job.sub is not job.root:
        await _check_ready("sub_model", job.sub)


def _is_free(price: Price | None) -> bool:
    return price is not None and price.worst_cost_usd(1_000_000, 1_000_000) == 0


async def _check_ready(setting: str, model: Model) -> None:
    try:
        await model.check_ready()
    except ModelError as error:
        raise BadRequest(f"The {setting} {model.spec} cannot be asked: {error}") from error


def refuse_empty(variables: Mapping[str, Variable]) -> None:
    """Raise BadRequest where no variable holds any text: no answer can come of it."""
    described = [variable.describe() for variable in variables.values()]
    # What was too large to load can still be opened by its path.
    if not described or any(d.size_bytes or "too large" in d.skipped for d in described):
        return
    for d in described:
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in d.skipped.items())
        reason = f" (not loaded: {left_out})" if left_out else ""
        raise BadRequest(f"There is no text in {d.name}, opened from {d.source}{reason}.")


SYSTEM_TOKENS = 1_800
TURN_TOKENS = 900
"""What one turn adds to the root's conversation."""
TURNS = {"environment": 6, "recursive": 8}
REPLY_TOKENS = 350
SUB_REPLY_TOKENS = 300


def forecast_cost(
    route: Route, tokens: int, root: Model, sub: Model, allowance: Allowance
) -> dict[str, Any]:
    """Return the route and its likely calls, tokens and cost; None where a price is unknown."""
    turns = TURNS.get(route.mode, 0)
    parts = 0
    if route.mode == "recursive":
        parts = min(math.ceil(tokens / PART_TOKENS), max(0, allowance.calls - turns))
    if route.mode == "direct":
        planned = [(root, TokenUsage(tokens + SYSTEM_TOKENS, SUB_MAX_TOKENS // 4), 1)]
    else:
        # Each turn sends all earlier ones again, which the provider mostly reads from its cache.
        sent = turns * SYSTEM_TOKENS + TURN_TOKENS * turns * (turns - 1) // 2
        fresh = SYSTEM_TOKENS + TURN_TOKENS * turns
        whole = TokenUsage(0, REPLY_TOKENS * turns, max(0, sent - fresh), fresh)
        part = TokenUsage(min(tokens, PART_TOKENS) + 400, SUB_REPLY_TOKENS)
        planned = [(root, whole, 1), (sub, part, parts)]
    cost: float | None = 0.0
    total = TokenUsage()
    for model, usage, times in planned:
        if not times:
            continue
        total += _scaled_usage(usage, times)
        known = None if model.price is None else times * model.price.cost_usd(usage)
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


def _scaled_usage(usage: TokenUsage, n: int) -> TokenUsage:
    return TokenUsage(
        usage.input * n, usage.output * n, usage.cache_read * n, usage.cache_write * n
    )
