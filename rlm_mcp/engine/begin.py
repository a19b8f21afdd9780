"""Refuse a run that could do nothing, before it begins: by one sentence, whatever is missing.

A limit of 0 means "none of it". Without a call, a second, a token or a turn no run can give an
answer, so that each of these is refused alike, and no record is left.
"""

from __future__ import annotations

from collections.abc import Mapping

from rlm_mcp.contexts.variable import Variable
from rlm_mcp.engine.budget import Allowance
from rlm_mcp.engine.run import Job
from rlm_mcp.errors import BadRequest, BudgetSpent, ModelError
from rlm_mcp.models.model import Model, Price

NEEDED = ("calls", "seconds", "input_tokens", "output_tokens")


async def may_begin(job: Job, allowance: Allowance) -> None:
    """Raise BudgetSpent for a limit that allows nothing, BadRequest for a model without a key."""
    for name in NEEDED if job.mode == "direct" else (*NEEDED, "iterations"):
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
    await _ready("model", job.root)
    if job.sub is not job.root:
        await _ready("sub_model", job.sub)


def _is_free(price: Price | None) -> bool:
    return price is not None and price.worst(1_000_000, 1_000_000) == 0


async def _ready(setting: str, model: Model) -> None:
    try:
        await model.ready()
    except ModelError as error:
        raise BadRequest(f"The {setting} {model.spec} cannot be asked: {error}") from error


def refuse_nothing(variables: Mapping[str, Variable]) -> None:
    """Raise BadRequest where no variable holds any text: no answer can come of it."""
    described = [variable.describe() for variable in variables.values()]
    # What was too large to load can still be opened by its path.
    if not described or any(d.size_bytes or "too large" in d.skipped for d in described):
        return
    for d in described:
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in d.skipped.items())
        reason = f" (not loaded: {left_out})" if left_out else ""
        raise BadRequest(f"There is no text in {d.name}, opened from {d.source}{reason}.")
