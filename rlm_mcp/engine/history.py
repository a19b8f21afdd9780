"""The root model's conversation: it only grows at its end, until it must be compacted.

Between two compactions every request begins with the whole previous one, byte for byte. A
compaction works by rule: of older turns the code stays and the output is replaced by the handle
that keeps it; where that is not enough, the oldest turns become one line each. The question, the
variables and the constraints (the first message and the system text) are never dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rlm_mcp.engine.observe import first_lines
from rlm_mcp.models.model import Message, Request

CHARS_PER_TOKEN = 3
RECENT = 4
"""Turns that a compaction leaves alone."""
DIGEST_LINES = 40


@dataclass(slots=True)
class Turn:
    """One reply of the root and what it was shown. `note` (the budget) is not part of the key."""

    reply: str
    code: str
    shown: str
    note: str
    handle: str = ""
    compact: bool = False

    def size(self) -> int:
        return len(self.reply) + len(self.shown) + len(self.note)


class History:
    """The conversation of one run."""

    def __init__(
        self, system: str, first: str, note: str, limit_tokens: int, keep: Callable[[str], str]
    ) -> None:
        self._system, self._first, self._first_note = system, first, note
        self._limit = limit_tokens * CHARS_PER_TOKEN
        self._keep = keep
        """Keeps a text and returns its handle."""
        self._turns: list[Turn] = []
        self._digest = ""
        self._merged = 0
        self.compactions = 0

    def add(self, reply: str, code: str, shown: str, note: str) -> None:
        """Add a turn; what is shown is bounded already."""
        self._turns.append(Turn(reply or "(empty reply)", code, shown, note))
        if self.size() > self._limit:
            self._compact()

    def size(self) -> int:
        """Return the characters of the next request."""
        head = len(self._system) + len(self._first) + len(self._first_note) + len(self._digest)
        return head + sum(turn.size() for turn in self._turns)

    def request(self, max_tokens: int, timeout_s: float) -> tuple[Request, tuple[str, ...]]:
        """Return the next request, and its texts without the budget (for the cache's key)."""
        first = self._first + self._digest
        messages = [("user", first, self._first_note)]
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

    def _compact(self) -> None:
        """Bring the conversation to half of its limit, so that this is seldom needed."""
        self.compactions += 1
        for turn in self._turns[:-RECENT]:
            if self.size() <= self._limit // 2:
                return
            self._shorten(turn)
        while self.size() > self._limit // 2 and len(self._turns) > RECENT:
            self._merge(max(1, (len(self._turns) - RECENT) // 2))
        for turn in self._turns[:-1]:
            if self.size() > self._limit:
                self._shorten(turn)

    def _shorten(self, turn: Turn) -> None:
        """Keep the code of a turn, and its output as a handle."""
        if turn.compact:
            return
        turn.compact = True
        turn.handle = self._keep(turn.shown)
        turn.reply = f"```repl\n{turn.code}\n```" if turn.code else turn.reply[:400]
        turn.shown = (
            f"[output of {len(turn.shown):,} characters kept as {turn.handle}; "
            f"peek({turn.handle!r}) opens it]"
        )
        turn.note = ""

    def _merge(self, count: int) -> None:
        """Turn the oldest turns into one line each."""
        lines = self._digest.split("\n")[3:] if self._digest else []
        for turn in self._turns[:count]:
            self._shorten(turn)
            self._merged += 1
            said = first_lines([turn.code or turn.reply], 100)[0]
            lines.append(f"{self._merged}. {said} -> {turn.handle}")
        del self._turns[:count]
        if len(lines) > DIGEST_LINES:
            older = self._keep("\n".join(lines[:-DIGEST_LINES]))
            lines = [f"(still earlier turns: {older})", *lines[-DIGEST_LINES:]]
        self._digest = "\n\nEarlier turns, shortened (variables they set are still there):\n" + (
            "\n".join(lines)
        )
