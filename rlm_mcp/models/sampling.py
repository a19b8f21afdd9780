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
from rlm_mcp.models import estimate
from rlm_mcp.models.model import Price, Reply, Request, Usage
from rlm_mcp.models.status import words


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a client answered."""

    text: str
    model: str
    stop: Literal["end", "max_tokens", "stop", "refused"] = "end"


Ask = Callable[[Request], Awaitable[Sampled]]

_lent: list[Ask] = []
_own: ContextVar[Ask | None] = ContextVar("_own", default=None)


@contextmanager
def lend(ask: Ask) -> Iterator[None]:
    """Serve `sampling:` by `ask` while the context lasts, to calls that are made within it."""
    _lent.append(ask)
    token = _own.set(ask)
    try:
        yield
    finally:
        _own.reset(token)
        _lent.remove(ask)


def _lender() -> Ask:
    """Return the model of the client whose call this is. Raises ModelError.

    A call from a thread of ours may have lost its context: then the only client that lends is
    the one; with several, one client's prompts could be shown to another, so none is asked.
    """
    own = _own.get()
    if own in _lent:
        return own
    if own is None and len(_lent) == 1:
        return _lent[0]
    raise ModelError(
        "Several clients lend a model, and this call cannot be told to be one's; use another model."
        if own is None and _lent
        else "This client lends no model (no sampling); configure another one.",
        kind="auth",
        attempts=0,
    )


def offered() -> bool:
    """Say whether a client lends a model now."""
    return bool(_lent)


class Sampling:
    """The client's model. Clients ask their user about each call, so one at a time."""

    spec = "sampling:"
    window = 200_000
    price: Price | None = None
    concurrency: int | None = 1

    async def ready(self) -> None:
        """Raise ModelError where the client lends no model."""
        _lender()

    async def complete(self, request: Request) -> Reply:
        """Return the client's reply. Raises ModelError."""
        ask = _lender()
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
            reason = words(str(error))
            raise ModelError(
                f"The client refused the call ({reason or 'it did not say why'}); its user can "
                "allow it, or use another model.",
                kind="refused",
            ) from error
        usage = Usage(estimate.request_tokens(request), estimate.tokens(said.text))
        return Reply(said.text, usage, said.model, None, said.stop)

    async def count(self, request: Request) -> int:
        """Return the input tokens of `request`, estimated."""
        return estimate.request_tokens(request)

    async def close(self) -> None:
        """Hold nothing between calls, so release nothing."""
