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

from rlm_mcp.engine.observe import cut, first_lines
from rlm_mcp.models import estimate
from rlm_mcp.models.model import Message, Request

RECENT = 4
"""Turns that a compaction leaves alone."""
DIGEST_LINES = 40
GLIMPSE = 600
"""Characters of an old output that are summed up; all of it lies behind its handle."""
CODE = 4_000
"""Characters of an old cell that are kept as they are."""


@dataclass(slots=True)
class Turn:
    """One reply of the root and what it was shown. `note` (the budget) is not part of the key."""

    reply: str
    code: str
    shown: str
    note: str
    handle: str = ""
    glimpse: str = ""
    tokens: int = 0

    def measure(self) -> None:
        """Count the tokens anew."""
        texts = (self.reply, self.shown, self.note)
        self.tokens = sum(estimate.tokens(text) for text in texts) + 2 * estimate.PER_MESSAGE


class History:
    """The conversation of one run, to be kept under `limit` tokens."""

    def __init__(
        self, system: str, first: str, note: str, limit_tokens: int, keep: Callable[[str], str]
    ) -> None:
        self._system, self._first, self._first_note = system, first, note
        self.limit = limit_tokens
        self._keep = keep
        """Keeps a text and returns its handle."""
        self._turns: list[Turn] = []
        self._summary = ""
        self._lines: list[str] = []
        self._folded = 0
        self.compactions = 0

    def add(self, reply: str, code: str, shown: str, note: str) -> None:
        """Add a turn; what is shown is bounded already."""
        turn = Turn(reply or "(empty reply)", code, shown, note)
        turn.measure()
        self._turns.append(turn)

    def size(self) -> int:
        """Return the tokens of the next request: an estimate that is not too low."""
        head = (self._system, self._first, self._first_note, self._digest())
        return sum(map(estimate.tokens, head)) + sum(turn.tokens for turn in self._turns)

    @property
    def full(self) -> bool:
        """Whether a compaction is not done yet: to be seldom needed, it frees half of the limit."""
        return self.size() > self.limit // 2

    @property
    def old(self) -> int:
        """How many turns can be folded."""
        return max(0, len(self._turns) - RECENT)

    def request(self, max_tokens: int, timeout_s: float) -> tuple[Request, tuple[str, ...]]:
        """Return the next request, and its texts without the budget (for the cache's key)."""
        messages = [("user", self._first + self._digest(), self._first_note)]
        for turn in self._turns:
            messages.append(("assistant", turn.reply, ""))
            messages.append(("user", turn.shown, turn.note))
        last = len(messages) - 1
        request = Request(
            [
                Message(
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

    def shorten(self, *, recent: int = RECENT) -> None:
        """Of older turns keep the code, and the output as a handle, until half is free."""
        for turn in self._turns[: len(self._turns) - recent]:
            if not self.full:
                return
            self._shorten(turn)

    def oldest(self, most_tokens: int) -> tuple[int, str]:
        """Return how many of the oldest turns fit a summary's request, and the text of these."""
        parts = [f"<summary_so_far>\n{self._digest()}\n</summary_so_far>"] if self._folded else []
        left = most_tokens - sum(map(estimate.tokens, parts))
        count = 0
        for turn in self._turns[: self.old]:
            self._shorten(turn)
            text = (
                f"<turn>\n{turn.reply}\n<output kept_as={turn.handle!r}>\n{turn.glimpse}\n"
                "</output>\n</turn>"
            )
            left -= estimate.tokens(text)
            if left < 0:
                break
            parts.append(text)
            count += 1
        return count, "\n".join(parts)

    def fold(self, count: int, summary: str = "") -> None:
        """Put a summary in the place of the oldest turns and of all that was folded before.

        Without one, each of them becomes a line.
        """
        lines = self._lines
        for turn in self._turns[:count]:
            self._shorten(turn)
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
        while many > 1 and estimate.tokens("\n".join(lines[-many:])) > self.limit // 8:
            many //= 2
        if len(lines) > many:
            older = self._keep("\n".join(lines[:-many]))
            self._lines = [f"(still earlier turns: {older})", *lines[-many:]]

    def _digest(self) -> str:
        if not self._folded:
            return ""
        said = [part for part in (self._summary, "\n".join(self._lines)) if part]
        return (
            f"\n\nThe first {self._folded} turns, shortened (variables that they set are still "
            "there; peek opens handles):\n" + "\n".join(said)
        )

    def _shorten(self, turn: Turn) -> None:
        """Keep the code of a turn, and its output as a handle."""
        if turn.handle:
            return
        turn.handle = self._keep(turn.shown)
        turn.glimpse = cut(turn.shown, GLIMPSE)
        code = turn.code
        if len(code) > CODE:
            code = cut(code, CODE, handle=self._keep(code))
        turn.reply = f"```repl\n{code}\n```" if code else turn.reply[:400]
        turn.shown = (
            f"[output of {len(turn.shown):,} characters kept as {turn.handle}; "
            f"peek({turn.handle!r}) opens it]"
        )
        turn.note = ""
        turn.measure()
