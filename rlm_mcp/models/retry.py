"""Send a call again where that cannot be paid twice; bounded, with jitter, and counted.

Only what failed before a reply began is sent again: 429, 529, 5xx, and a connection that could not
be made (a provider marks that with `attempts=0`). One that was lost on the way may have been paid:
the caller decides about that. When nothing has succeeded for `QUIET` failures in a row, the
provider is taken for dead: each call is then sent once, so that a fan-out over a dead provider
costs no multiple of its calls.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from rlm_mcp.errors import ModelError

if TYPE_CHECKING:
    from rlm_mcp.models.model import ModelReply

MAX_ATTEMPTS = 4
"""The most times that one call is sent."""

DEAD_AFTER_FAILURES = 4
"""Failures in a row, over all calls, after which none is sent again."""

FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0
"""A provider that asks for more than this gets no second try here; the caller is told."""


class RetryWatcher(Protocol):
    """Who looks after the sends of one call."""

    def on_failure(self, error: ModelError) -> None:
        """Hear of a failed send; raise to have it not repeated."""
        ...

    async def wait_to_resend(self) -> None:
        """Return when the call may be sent again; raise ModelError where it may not."""
        ...


CURRENT_WATCHER: ContextVar[RetryWatcher | None] = ContextVar("watch", default=None)
"""The watcher of the call that is being made."""


@contextmanager
def watch_retries(watcher: RetryWatcher) -> Iterator[None]:
    """Have `watcher` look after the sends of a call that is made while the context lasts."""
    token = CURRENT_WATCHER.set(watcher)
    try:
        yield
    finally:
        CURRENT_WATCHER.reset(token)


@dataclass
class Retry:
    """What the calls of one provider know together: how it fares, and when to send again."""

    max_attempts: int = MAX_ATTEMPTS
    failures: int = 0
    not_before: float = 0.0
    jitter: random.Random = field(default_factory=random.Random)

    async def send_with_retry(
        self, send: Callable[[], Awaitable[ModelReply]], timeout_s: float
    ) -> ModelReply:
        """Return the reply of `send`, called at most `attempts` times within `timeout_s`.

        Raises ModelError, whose `attempts` says how often the call was sent.
        """
        sent, watch = 0, CURRENT_WATCHER.get()
        try:
            async with asyncio.timeout(timeout_s):
                for tries in range(1, self.max_attempts + 1):
                    await self._wait_not_before()
                    if watch is not None and sent:
                        await self._check_resend(watch, sent)
                    sent += 1
                    try:
                        reply = await send()
                    except ModelError as error:
                        unsent = error.attempts == 0
                        sent -= unsent
                        error.attempts = sent
                        if watch is not None:
                            watch.on_failure(error)
                        await self._wait_or_raise(error, tries, unsent)
                    else:
                        self.failures = 0
                        return replace(reply, attempts=sent)
            raise AssertionError("the last failure is raised by _pause")
        except TimeoutError as error:
            self.failures += 1
            raise ModelError(
                f"No reply within {timeout_s:g} s; try again, or raise the limit.",
                kind="timeout",
                retryable=True,
                attempts=sent,
                spent_usd=None,
            ) from error

    async def _check_resend(self, watch: RetryWatcher, sent: int) -> None:
        try:
            await watch.wait_to_resend()
        except ModelError as error:
            error.attempts = sent
            raise

    async def _wait_not_before(self) -> None:
        """Wait while the provider has asked all of us to wait."""
        while (wait_s := self.not_before - time.monotonic()) > 0:
            await asyncio.sleep(wait_s + self.jitter.uniform(0, 0.1 * wait_s))

    async def _wait_or_raise(self, error: ModelError, tries: int, unsent: bool) -> None:
        """Wait before the next try, or raise `error` where there is to be none."""
        if error.kind in ("server", "network"):
            self.failures += 1
        wait_s = FIRST_WAIT_S * 2 ** (tries - 1) * self.jitter.uniform(0.5, 1.0)
        if error.retry_after_s is not None:
            wait_s = error.retry_after_s + self.jitter.uniform(0, 0.1)
        safe = unsent or error.kind in ("rate", "overloaded", "server")
        hopeless = self.failures >= DEAD_AFTER_FAILURES or wait_s > MAX_WAIT_S
        if not error.retryable or not safe or tries >= self.max_attempts or hopeless:
            raise error
        if error.kind == "rate":
            self.not_before = max(self.not_before, time.monotonic() + wait_s)
        else:
            await asyncio.sleep(wait_s)
