"""The one protocol that every model obeys, and the values that cross it.

A provider retries by itself only what is certain not to be paid twice (429, 529, 5xx before a
reply began) and says in `Reply.attempts` how often it sent. It keeps no cache and no budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rlm_mcp.tokens import TOKENS_PER_MESSAGE, reserve_tokens


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation. `cache` marks the end of a prefix worth caching."""

    role: Literal["user", "assistant"]
    text: str
    cache: bool = False


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One model call. `system` is marked for caching where the provider can."""

    messages: Sequence[ChatMessage]
    system: str = ""
    max_tokens: int = 4096
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    timeout_s: float = 300.0
    purpose: Literal["root", "sub"] = "sub"
    patience_s: float | None = None
    """How long it may take with all waiting for the provider's limit; None: as `timeout_s`."""

    def estimate_tokens(self) -> int:
        """Return an input size that is not too low for ordinary text, where nobody counted it."""
        texts = [self.system, *(message.text for message in self.messages)]
        return sum(reserve_tokens(text) + TOKENS_PER_MESSAGE for text in texts)


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens as the provider counted them. `input` leaves out cached ones."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Return the input tokens, cached ones counted too."""
        return self.input + self.cache_read + self.cache_write

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
        )


@dataclass(frozen=True, slots=True)
class Price:
    """List price in USD per million tokens, with the day it was looked up.

    Some models cost more, output included, once a request's prompt (cached tokens counted too)
    passes `long_over` tokens: `long` is the price of such a request.
    """

    input: float
    output: float
    cache_read: float
    cache_write: float
    as_of: str
    long_over: int | None = None
    long: Price | None = None

    @property
    def is_free(self) -> bool:
        """Whether no request costs anything."""
        rates = (self.input, self.output, self.cache_read, self.cache_write)
        return not any(rates) and (self.long is None or self.long.is_free)

    def cost_usd(self, usage: TokenUsage) -> float:
        """Return what one request of `usage` costs, in USD (never sum usages first)."""
        if (
            self.long is not None
            and self.long_over is not None
            and usage.prompt_tokens > self.long_over
        ):
            return self.long.cost_usd(usage)
        return (
            usage.input * self.input
            + usage.output * self.output
            + usage.cache_read * self.cache_read
            + usage.cache_write * self.cache_write
        ) / 1e6

    def worst_cost_usd(self, input_tokens: int, output_tokens: int) -> float:
        """Return the most that one request may cost, in USD: all of its input written to a cache.

        Tokens are the request's counted input and its max_tokens.
        """
        plain = self.cost_usd(TokenUsage(input=input_tokens, output=output_tokens))
        return max(plain, self.cost_usd(TokenUsage(cache_write=input_tokens, output=output_tokens)))


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What came back. `cost_usd` is None where the price is not known: never zero by default."""

    text: str
    usage: TokenUsage
    model: str
    cost_usd: float | None
    stop: Literal["end", "max_tokens", "stop", "refused"] = "end"
    attempts: int = 1


class Model(Protocol):
    """A model behind a spec. All methods may be called concurrently from one event loop.

    `complete` raises ModelError. `count` returns the input tokens of a request: counted by the
    provider where that is free, else an estimate that is never too low for ordinary text.
    """

    @property
    def spec(self) -> str: ...
    @property
    def window_tokens(self) -> int:
        """Tokens that one request may hold, prompt and reply together."""
        ...

    @property
    def price(self) -> Price | None: ...
    @property
    def concurrency(self) -> int | None:
        """The most calls at once that make sense here (claude-cli: 4); None: the user's setting."""
        ...

    async def check_ready(self) -> None:
        """Raise ModelError where it cannot be asked at all (no key, no command); sends nothing."""
        ...

    async def complete(self, request: ModelRequest) -> ModelReply: ...
    async def count_tokens(self, request: ModelRequest) -> int: ...
    async def close(self) -> None: ...
