"""The root model's conversation: it only grows at its end, until it must be compacted.

Between two compactions every request begins with the whole previous one, byte for byte. By rule,
of older turns the code stays and the output is replaced by the handle that keeps it (`shorten`).
Where that is not enough, the oldest turns become a summary, or one line each (`fold`); `compaction`
says which. The question, the variables and the constraints (the first message and the system text)
are never dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm_mcp.engine.render import first_lines, truncate_middle
from rlm_mcp.errors import BudgetSpent, ModelError
from rlm_mcp.models import ChatMessage, Model, ModelRequest
from rlm_mcp.tokens import TOKENS_PER_MESSAGE, reserve_tokens

if TYPE_CHECKING:
    from rlm_mcp.engine.calls import Account, ModelCalls


RECENT_TURNS = 4
"""Turns that a compaction leaves alone."""
DIGEST_LINES = 40
GLIMPSE_CHARS = 600
"""Characters of an old output that are summed up; all of it lies behind its handle."""
CODE_CHARS = 4_000
"""Characters of an old cell that are kept as they are."""


@dataclass(slots=True)
class ConversationTurn:
    """One reply of the root and what it was shown. `note` (the budget) is not part of the key."""

    reply: str
    code: str
    shown: str
    note: str
    handle: str = ""
    glimpse: str = ""
    tokens: int = 0

    def count_tokens(self) -> None:
        """Count the tokens anew."""
        texts = (self.reply, self.shown, self.note)
        self.tokens = sum(reserve_tokens(text) for text in texts) + 2 * TOKENS_PER_MESSAGE


class Conversation:
    """The conversation of one run, to be kept under `limit` tokens."""

    def __init__(
        self, system: str, first: str, note: str, limit_tokens: int, keep: Callable[[str], str]
    ) -> None:
        self._system, self._first, self._first_note = system, first, note
        self.limit_tokens = limit_tokens
        self._keep = keep
        """Keeps a text and returns its handle."""
        self._turns: list[ConversationTurn] = []
        self._summary = ""
        self._lines: list[str] = []
        self._folded = 0
        self.compactions = 0

    def add_turn(self, reply: str, code: str, shown: str, note: str) -> None:
        """Add a turn; what is shown is bounded already."""
        turn = ConversationTurn(reply or "(empty reply)", code, shown, note)
        turn.count_tokens()
        self._turns.append(turn)

    def token_count(self) -> int:
        """Return the tokens of the next request: an estimate that is not too low."""
        head = (self._system, self._first, self._first_note, self._digest_text())
        return sum(map(reserve_tokens, head)) + sum(turn.tokens for turn in self._turns)

    @property
    def is_full(self) -> bool:
        """Whether a compaction is not done yet: to be seldom needed, it frees half of the limit."""
        return self.token_count() > self.limit_tokens // 2

    @property
    def foldable_turns(self) -> int:
        """How many turns can be folded."""
        return max(0, len(self._turns) - RECENT_TURNS)

    def next_request(
        self, max_tokens: int, timeout_s: float
    ) -> tuple[ModelRequest, tuple[str, ...]]:
        """Return the next request, and its texts without the budget (for the cache's key)."""
        messages = [("user", self._first + self._digest_text(), self._first_note)]
        for turn in self._turns:
            messages.append(("assistant", turn.reply, ""))
            messages.append(("user", turn.shown, turn.note))
        last = len(messages) - 1
        request = ModelRequest(
            [
                ChatMessage(
                    "assistant" if role == "assistant" else "user",
                    f"{text}\n\n[{note}]" if note else text,
                    cache=number in (last, last - 2),
                )
                for number, (role, text, note) in enumerate(messages)
            ],
            self._system,
            max_tokens=max_tokens,
            timeout_s=timeout_s,
            purpose="root",
        )
        return request, tuple(text for _, text, _ in messages)

    def shorten_old(self, *, recent: int = RECENT_TURNS) -> None:
        """Of older turns keep the code, and the output as a handle, until half is free."""
        for turn in self._turns[: len(self._turns) - recent]:
            if not self.is_full:
                return
            self._shorten_turn(turn)

    def oldest_turns(self, most_tokens: int) -> tuple[int, str]:
        """Return how many of the oldest turns fit a summary's request, and the text of these."""
        parts = (
            [f"<summary_so_far>\n{self._digest_text()}\n</summary_so_far>"] if self._folded else []
        )
        left = most_tokens - sum(map(reserve_tokens, parts))
        count = 0
        for turn in self._turns[: self.foldable_turns]:
            self._shorten_turn(turn)
            text = (
                f"<turn>\n{turn.reply}\n<output kept_as={turn.handle!r}>\n{turn.glimpse}\n"
                "</output>\n</turn>"
            )
            left -= reserve_tokens(text)
            if left < 0:
                break
            parts.append(text)
            count += 1
        return count, "\n".join(parts)

    def fold_turns(self, count: int, summary: str = "") -> None:
        """Put a summary in the place of the oldest turns and of all that was folded before.

        Without one, each of them becomes a line.
        """
        lines = self._lines
        for turn in self._turns[:count]:
            self._shorten_turn(turn)
            self._folded += 1
            said = first_lines([turn.code or turn.reply], 100)[0]
            lines.append(f"{self._folded}. {said} -> {turn.handle}")
        whole = "\n\n".join(turn.reply for turn in self._turns[:count])
        del self._turns[:count]
        if summary:
            before = self._keep("\n".join([self._summary, *lines, "", whole]).strip())
            self._summary, self._lines = f"{summary.strip()}\n(their cells: {before})", []
            return
        many = DIGEST_LINES
        while many > 1 and reserve_tokens("\n".join(lines[-many:])) > self.limit_tokens // 8:
            many //= 2
        if len(lines) > many:
            older = self._keep("\n".join(lines[:-many]))
            self._lines = [f"(still earlier turns: {older})", *lines[-many:]]

    def _digest_text(self) -> str:
        if not self._folded:
            return ""
        said = [part for part in (self._summary, "\n".join(self._lines)) if part]
        return (
            f"\n\nThe first {self._folded} turns, shortened (variables that they set are still "
            "there; peek opens handles):\n" + "\n".join(said)
        )

    def _shorten_turn(self, turn: ConversationTurn) -> None:
        """Keep the code of a turn, and its output as a handle."""
        if turn.handle:
            return
        turn.handle = self._keep(turn.shown)
        turn.glimpse = truncate_middle(turn.shown, GLIMPSE_CHARS)
        code = turn.code
        if len(code) > CODE_CHARS:
            code = truncate_middle(code, CODE_CHARS, handle=self._keep(code))
        turn.reply = f"```repl\n{code}\n```" if code else turn.reply[:400]
        turn.shown = (
            f"[output of {len(turn.shown):,} characters kept as {turn.handle}; "
            f"peek({turn.handle!r}) opens it]"
        )
        turn.note = ""
        turn.count_tokens()


SUMMARY_TOKENS = 1_500
MIN_CALLS_LEFT = 4
"""Calls that must be left for one of them to be spent on a summary."""
MIN_LIMIT_TOKENS = 2_000
"""Tokens below which a limit is not lowered any further."""


class Compaction:
    """What compacts the conversation of one run."""

    def __init__(
        self, history: Conversation, model: Model, prompt: str, calls: ModelCalls, account: Account
    ) -> None:
        self._history, self._model, self._prompt = history, model, prompt
        self._calls, self._account = calls, account

    async def fit_window(self) -> None:
        """Compact where the conversation is over its limit; raises nothing but cancellation."""
        history = self._history
        if history.token_count() <= history.limit_tokens:
            return
        history.compactions += 1
        history.shorten_old()
        by_model = True
        while history.is_full and history.foldable_turns:
            count, text = history.oldest_turns(self._model.window_tokens // 3)
            summary = await self._summarize_turns(count, text) if by_model and count > 1 else ""
            by_model = bool(summary)
            history.fold_turns(count if summary else max(1, history.foldable_turns // 2), summary)
        if history.token_count() > history.limit_tokens:
            history.shorten_old(recent=1)

    def lower_limit(self) -> bool:
        """Lower the limit after a provider found the conversation too long; False: no further."""
        smaller = min(self._history.limit_tokens, self._history.token_count()) * 2 // 3
        if smaller < MIN_LIMIT_TOKENS:
            return False
        self._history.limit_tokens = smaller
        return True

    async def _summarize_turns(self, count: int, text: str) -> str:
        """Return a summary of the oldest turns, or nothing."""
        budget = self._account.budget
        calls_left = min(b.allowance.calls - b.spent.calls for b in budget.with_ancestors())
        if self._model.spec == "extractive:" or calls_left < MIN_CALLS_LEFT:
            return ""
        request = ModelRequest(
            [ChatMessage("user", f"<turns>\n{text}\n</turns>")],
            self._prompt,
            max_tokens=SUMMARY_TOKENS,
            timeout_s=max(1.0, budget.seconds_left() / 2),
        )
        try:
            reply = await self._calls.get_reply(
                self._model, request, self._account, part=f"compaction of {count} turns"
            )
        except (ModelError, BudgetSpent):
            return ""  # the failed call stands in the record
        return "" if reply.stop != "end" else reply.text.strip()
