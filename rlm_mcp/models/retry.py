"""Send a call again where that cannot be paid twice; bounded, with jitter, and counted.

Only what failed before a reply began is sent again: 429, 529, 5xx, and a connection that could not
be made (a provider marks that with `attempts=0`). One that was lost on the way may have been paid:
the caller decides about that. A provider that says it is busy (429, 529) lives: its limit is waited
out as it tells, for as long as the run has time, and one call at a time asks whether it is over.
When nothing has succeeded for `DEAD_AFTER_FAILURES` failures in a row, the provider is taken for
dead: each call is then sent once, so that a fan-out over a dead provider costs no multiple of its
calls.
"""

from __future__ import annotations

import asyncio
import math
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
MAX_WAIT_S = 60.0
"""The longest wait that is chosen here; a provider may ask for a longer one."""


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

TELL_WAIT: ContextVar[Callable[[str], None] | None] = ContextVar("tell", default=None)
"""Who is told, in a sentence, that a provider's limit is waited for."""


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
    """When the provider's limit is over, as far as it told."""
    jitter: random.Random = field(default_factory=random.Random)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _limit: ModelError | None = None
    """What the provider said when it was busy; None since it has answered."""
    _refusals: int = 0
    """How often in a row it said so to the calls that asked whether the limit is over."""
    _probing: bool = False
    _sent: int = 0
    """Calls that went since the last limit was over."""
    _good: int = 0
    _room: int | None = None
    """How many went well before a limit was met: beyond them, one goes at a time."""
    _waiters: list[asyncio.Future[None]] = field(default_factory=list)

    async def send_with_retry(
        self,
        send: Callable[[], Awaitable[ModelReply]],
        timeout_s: float,
        patience_s: float | None = None,
    ) -> ModelReply:
        """Return the reply of `send`, called at most `max_attempts` times within `timeout_s`.

        Waiting for a provider's limit is no attempt and takes none of that time: it may last
        until `patience_s` is over, all in all. Raises ModelError, whose `attempts` says how often
        the call was sent.
        """
        sent, tries, watch = 0, 0, CURRENT_WATCHER.get()
        started = self.clock()
        until = started + max(timeout_s, timeout_s if patience_s is None else patience_s)
        waited = 0.0
        try:
            while True:
                began = self.clock()
                probe = await self._wait_for_limit(until, sent)
                waited += self.clock() - began
                left_s = min(started + waited + timeout_s, until) - self.clock()
                try:
                    async with asyncio.timeout(max(0.0, left_s)):
                        if watch is not None and tries:
                            await self._check_resend(watch, sent)
                        sent += 1
                        reply = await send()
                except ModelError as error:
                    unsent = error.attempts == 0
                    sent -= unsent
                    error.attempts = sent
                    if error.asks_to_wait and error.retryable:
                        self._note_limit(error, probe)
                        continue
                    tries += 1
                    if watch is not None:
                        watch.on_failure(error)
                    pause_s = self._pause_or_raise(error, tries, unsent)
                    async with asyncio.timeout(max(0.0, left_s)):
                        await self.sleep(pause_s)
                else:
                    self.failures = 0
                    if probe:  # what was sent before the limit says nothing about it
                        self._limit, self._refusals = None, 0
                    self._good += 1
                    if probe and self._room is not None and self._good > self._room:
                        self._room *= 2  # it takes more than it did: it is tried for more
                    return replace(reply, attempts=sent)
                finally:
                    if probe:
                        self._probing = False
                        self._wake_waiters()
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

    async def _wait_for_limit(self, until: float, sent: int) -> bool:
        """Return when a call may go, and whether it is the one that asks if a limit is over.

        Raises what the provider said where its limit lasts longer than this call may wait.
        """
        while self._limit is not None or (self._room is not None and self._sent >= self._room):
            wait_s = self.not_before - self.clock()
            said = self._limit
            if said is not None and self.clock() + max(0.0, wait_s) > until:
                raise ModelError(
                    str(said),
                    kind=said.kind,
                    retryable=True,
                    retry_after_s=max(0.0, wait_s),
                    status=said.status,
                    attempts=sent,
                )
            if wait_s > 0:
                tell = TELL_WAIT.get()
                if tell is not None:
                    tell(f"waiting for the provider's limit, {math.ceil(wait_s)} s")
                await self.sleep(wait_s)
            elif not self._probing:
                self._probing = True
                return True
            else:
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                await waiter
        self._sent += 1
        return False

    def _wake_waiters(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _note_limit(self, error: ModelError, probe: bool) -> None:
        """Note that the provider asks to wait: as long as it tells, else longer each time."""
        self._refusals += probe or self._limit is None
        if self._limit is None:
            self._room, self._sent, self._good = max(1, self._good), 0, 0
        wait_s = error.retry_after_s
        if wait_s is None:
            wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** min(self._refusals, 10))
            wait_s *= self.jitter.uniform(0.5, 1.0)
        elif probe:  # told a time, waited for it, and refused again: the time told is too short
            wait_s = max(wait_s, min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** min(self._refusals, 10)))
        self._limit = error
        self.not_before = max(self.not_before, self.clock() + wait_s)

    def _pause_or_raise(self, error: ModelError, tries: int, unsent: bool) -> float:
        """Return how long to wait before the next try, or raise `error` where there is none."""
        if error.kind in ("server", "network"):
            self.failures += 1
        wait_s = FIRST_WAIT_S * 2.0 ** (tries - 1) * self.jitter.uniform(0.5, 1.0)
        if error.retry_after_s is not None:
            wait_s = error.retry_after_s + self.jitter.uniform(0, 0.1)
        safe = unsent or error.kind == "server"
        hopeless = self.failures >= DEAD_AFTER_FAILURES or wait_s > MAX_WAIT_S
        if not error.retryable or not safe or tries >= self.max_attempts or hopeless:
            raise error
        return wait_s
