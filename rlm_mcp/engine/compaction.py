"""Keep a root's conversation within its window: by rule first, by a model where that is not enough.

The rule is free and exact; what it leaves is the code of every turn, which in a long run is too
much by itself. Then one call sums up the oldest turns. Where that call fails or may not be made,
each of them becomes a line: a run is never lost for want of a summary.
"""

from __future__ import annotations

from rlm_mcp.engine.calls import Account, Calls
from rlm_mcp.engine.history import History
from rlm_mcp.errors import BudgetSpent, ModelError
from rlm_mcp.models.model import Message, Model, Request

SUMMARY_TOKENS = 1_500
LEAST_CALLS = 4
"""Calls that must be left for one of them to be spent on a summary."""
SMALLEST = 2_000
"""Tokens below which a limit is not lowered any further."""


class Compaction:
    """What compacts the conversation of one run."""

    def __init__(
        self, history: History, model: Model, prompt: str, calls: Calls, account: Account
    ) -> None:
        self._history, self._model, self._prompt = history, model, prompt
        self._calls, self._account = calls, account

    async def fit(self) -> None:
        """Compact where the conversation is over its limit; raises nothing but cancellation."""
        history = self._history
        if history.size() <= history.limit:
            return
        history.compactions += 1
        history.shorten()
        by_model = True
        while history.full and history.old:
            count, text = history.oldest(self._model.window // 3)
            summary = await self._summed(count, text) if by_model and count > 1 else ""
            by_model = bool(summary)
            history.fold(count if summary else max(1, history.old // 2), summary)
        if history.size() > history.limit:
            history.shorten(recent=1)

    def lower(self) -> bool:
        """Lower the limit after a provider found the conversation too long; False: no further."""
        smaller = min(self._history.limit, self._history.size()) * 2 // 3
        if smaller < SMALLEST:
            return False
        self._history.limit = smaller
        return True

    async def _summed(self, count: int, text: str) -> str:
        """Return a summary of the oldest turns, or nothing."""
        budget = self._account.budget
        calls_left = min(b.allowance.calls - b.spent.calls for b in budget.line())
        if self._model.spec == "extractive:" or calls_left < LEAST_CALLS:
            return ""
        request = Request(
            [Message("user", f"<turns>\n{text}\n</turns>")],
            self._prompt,
            max_tokens=SUMMARY_TOKENS,
            timeout_s=max(1.0, budget.seconds_left() / 2),
        )
        try:
            reply = await self._calls.reply(
                self._model, request, self._account, part=f"compaction of {count} turns"
            )
        except (ModelError, BudgetSpent):
            return ""  # the failed call stands in the record
        return "" if reply.stop != "end" else reply.text.strip()
