"""What a model call is to a scripted mind, and what the mind says back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


def tokens(text: str) -> int:
    """Return the simulated tokenizer's count: four bytes a token, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a client's tool answered, as the model would read it."""

    tool: str
    text: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation: its role, its text, the tools it calls or answers."""

    role: str
    text: str
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    results: tuple[ToolResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A parsed request. `number` counts the model calls of the server, from 1."""

    number: int
    model: str
    system: str
    turns: Sequence[Turn]
    tools: tuple[str, ...]
    max_tokens: int
    body: Mapping[str, Any]

    @property
    def last(self) -> str:
        """Return the text of the last message."""
        return self.turns[-1].text if self.turns else ""

    @property
    def replies(self) -> int:
        """Return how many turns the model has taken in this conversation."""
        return sum(turn.role == "assistant" for turn in self.turns)

    @property
    def results(self) -> list[ToolResult]:
        """Return every tool result in the conversation, in order."""
        return [result for turn in self.turns for result in turn.results]

    def coin(self, seed: int, item: str = "") -> float:
        """Return a number in [0, 1) that hangs on the seed and the text sent, not on order."""
        said = f"{seed}|{item}|{self.model}|{self.system}|{[t.text for t in self.turns]}"
        digest = hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) / 2**64


@dataclass(frozen=True, slots=True)
class Say:
    """What a mind answers: a text, tool calls, or both."""

    text: str = ""
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    stop: str = ""
    """A stop reason of the Messages protocol; empty: what follows from the rest."""
    thinking: str = ""
    delay_s: float = 0.0
    """Time that passes before the first byte of the reply."""


class Refused(Exception):
    """A request that the protocol does not allow; a mind may raise it too."""

    def __init__(
        self, message: str, status: int = 400, kind: str = "invalid_request_error"
    ) -> None:
        super().__init__(message)
        self.status, self.kind = status, kind


Mind = Callable[[Call], "Say | str"]
"""A scripted model. It sees only what was sent."""


@dataclass
class Logged:
    """One HTTP request as the server saw it."""

    number: int
    """Counts the model calls from 1; 0 for any other request."""
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    model: str = ""
    status: int = 0
    outcome: str = "open"
    """open, answered, cancelled (the client went away), or the name of the fault."""
    usage: Mapping[str, int] = field(default_factory=dict)
    began_s: float = 0.0
    ended_s: float = 0.0
