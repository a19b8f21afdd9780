"""A model lent by the MCP client itself (sampling), where a client still offers that.

The server lends a callable for as long as its client is connected; the spec is `sampling:`. The
protocol reports neither usage nor price: tokens are estimated and the cost is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from rlm_mcp.errors import ModelError, RlmError
from rlm_mcp.models.http_errors import safe_excerpt
from rlm_mcp.models.model import ModelReply, ModelRequest, Price, TokenUsage
from rlm_mcp.tokens import reserve_tokens


@dataclass(frozen=True, slots=True)
class SampledReply:
    """What a client answered."""

    text: str
    model: str
    stop: Literal["end", "max_tokens", "stop", "refused"] = "end"


SamplingCall = Callable[[ModelRequest], Awaitable[SampledReply]]

_lent_clients: list[SamplingCall] = []
_own_client: ContextVar[SamplingCall | None] = ContextVar("_own", default=None)


@contextmanager
def lend_client(ask: SamplingCall) -> Iterator[None]:
    """Serve `sampling:` by `ask` while the context lasts, to calls that are made within it."""
    _lent_clients.append(ask)
    token = _own_client.set(ask)
    try:
        yield
    finally:
        _own_client.reset(token)
        _lent_clients.remove(ask)


def _find_lender() -> SamplingCall:
    """Return the model of the client whose call this is. Raises ModelError.

    A call from a thread of ours may have lost its context: then the only client that lends is
    the one; with several, one client's prompts could be shown to another, so none is asked.
    """
    own = _own_client.get()
    if own in _lent_clients:
        return own
    if own is None and len(_lent_clients) == 1:
        return _lent_clients[0]
    raise ModelError(
        "Several clients lend a model, and this call cannot be told to be one's; use another model."
        if own is None and _lent_clients
        else "This client lends no model (no sampling); configure another one.",
        kind="auth",
        attempts=0,
    )


def is_offered() -> bool:
    """Say whether a client lends a model now."""
    return bool(_lent_clients)


class Sampling:
    """The client's model. Clients ask their user about each call, so one at a time."""

    spec = "sampling:"
    window_tokens = 200_000
    price: Price | None = None
    concurrency: int | None = 1

    async def check_ready(self) -> None:
        """Raise ModelError where the client lends no model."""
        _find_lender()

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the client's reply. Raises ModelError."""
        ask = _find_lender()
        try:
            async with asyncio.timeout(request.timeout_s):
                said = await ask(request)
        except TimeoutError as error:
            raise ModelError(
                f"The client gave no reply within {request.timeout_s:g} s; its user may have to "
                "allow it. Ask again, or use another model.",
                kind="timeout",
                spent_usd=None,
            ) from error
        except RlmError:
            raise
        except Exception as error:  # whatever the client's side raises is its refusal
            reason = safe_excerpt(str(error))
            raise ModelError(
                f"The client refused the call ({reason or 'it did not say why'}); its user can "
                "allow it, or use another model.",
                kind="refused",
            ) from error
        usage = TokenUsage(request.estimate_tokens(), reserve_tokens(said.text))
        return ModelReply(said.text, usage, said.model, None, said.stop)

    async def count_tokens(self, request: ModelRequest) -> int:
        """Return the input tokens of `request`, estimated."""
        return request.estimate_tokens()

    async def close(self) -> None:
        """Hold nothing between calls, so release nothing."""
