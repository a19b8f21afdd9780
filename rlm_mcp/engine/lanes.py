"""When a call may be sent: the width of a provider's lane, and a run's breaker.

A lane is shared by all runs of a process; its width halves when the provider says "too many" and
grows back call by call. A breaker belongs to one recursion tree and opens after k failed sends in a
row (what a provider repeats by itself is counted). A fan-out begins with a few probes: until one is
answered, and while anything is failing, the rest waits, so that a dead provider is sent at most 2k
calls. Where a model's replies are known to be slow, waiting for one would double the time of the
fan-out: there the rest goes a moment after the probes, unless those fail at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rlm_mcp.errors import ModelError
from rlm_mcp.models.model import Model
from rlm_mcp.models.retry import ATTEMPTS, WATCH

CONTENT_KINDS = frozenset({"too_long", "refused", "truncated"})
"""Failures that say something about one request, nothing about the provider."""

BUSY_KINDS = frozenset({"rate", "overloaded"})
"""Failures of a provider that lives: its own repeats count only when all of them have failed."""
QUICK_S = 0.15
"""A model whose quickest reply takes less than this is waited for."""
LOOK_S = 0.015
"""How long a slow model's probes have the field to themselves."""


class _Gate:
    """Lets waiters in, in their order, whenever `may_enter` says so."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    async def wait(self, may_enter: Callable[[], float]) -> None:
        """Return when `may_enter()` is 0; above it is a time to look again, inf for none."""
        while (pause_s := may_enter()) > 0:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                async with asyncio.timeout(None if pause_s == float("inf") else pause_s):
                    await waiter
            except TimeoutError:
                continue
            finally:
                if not waiter.done():
                    waiter.cancel()

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Lane:
    """The calls in flight to one provider."""

    def __init__(self, width: int) -> None:
        self._most = float(max(1, width))
        self._width = self._most
        self._flying = 0
        self._cut_at = 0.0
        self._gate = _Gate()

    @property
    def width(self) -> int:
        """How many calls may be in flight now."""
        return int(self._width)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the places; a "too many" that passes through narrows the lane."""
        await self._gate.wait(lambda: 0.0 if self._flying < self.width else float("inf"))
        self._flying += 1
        sent_at = time.monotonic()
        try:
            yield
            self._width = min(self._most, self._width + 1 / self._width)
        except ModelError as error:
            if error.kind in ("rate", "overloaded") and sent_at >= self._cut_at:
                self._width = max(1.0, self._width // 2)
                self._cut_at = time.monotonic()
            raise
        finally:
            self._flying -= 1
            self._gate.wake()


class Lanes:
    """The lane of each provider."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._lanes: dict[str, Lane] = {}

    def of(self, model: Model) -> Lane:
        """Return the lane that a model's calls take."""
        provider = model.spec.partition(":")[0] + model.spec.rpartition("@")[2]
        if provider not in self._lanes:
            own = model.concurrency
            self._lanes[provider] = Lane(self._width if own is None else min(own, self._width))
        return self._lanes[provider]


class Breaker:
    """Counts failures in a row over one recursion tree."""

    def __init__(self, limit: int) -> None:
        self.limit = max(1, limit)
        self.reason = ""
        """Why it is open; empty while it is closed."""
        self._failures = 0
        self._trouble = False
        """Whether the last send of any call failed."""
        self._proven: dict[str, float] = {}
        """Models that have answered, with their quickest reply in seconds."""
        self._quickest: dict[str, float] = {}
        """Quickest reply of each model to a sub-call, in seconds."""
        self._flying: defaultdict[str, int] = defaultdict(int)
        self._burst_at: dict[str, float] = {}
        """When the fan-out that is in flight began; 0 once one of its calls was answered."""
        self._gate = _Gate()

    def check(self) -> None:
        """Raise ModelError where the breaker is open."""
        if self.reason:
            raise ModelError(
                f"No further calls are sent: {self._failures} in a row failed, the last one "
                f"with: {self.reason}",
                kind="server",
                attempts=0,
            )

    @asynccontextmanager
    async def watch(self, model: Model, purpose: str) -> AsyncIterator[None]:
        """Admit one call and learn from how it ends, and from each send of it that fails."""
        spec = model.spec
        await self._gate.wait(lambda: self._pause(spec))
        self.check()
        if not self._flying[spec]:
            self._burst_at[spec] = time.monotonic()
        self._flying[spec] += 1
        started = time.monotonic()
        counted = 0

        def failed_send(error: ModelError) -> None:
            nonlocal counted
            self._trouble = True
            if error.kind not in BUSY_KINDS | CONTENT_KINDS:
                counted += 1
                self._count(1, error)
            if self.reason:
                raise error

        token = WATCH.set(failed_send)
        try:
            yield
            taken = time.monotonic() - started
            self._proven[spec] = min(taken, self._proven.get(spec, taken))
            if purpose == "sub":
                self._quickest[spec] = min(taken, self._quickest.get(spec, taken))
            self._well(spec)
        except ModelError as error:
            if error.kind in CONTENT_KINDS:
                self._well(spec)
            else:
                self._count(max(1, error.attempts) - counted, error)
            raise
        finally:
            WATCH.reset(token)
            self._flying[spec] -= 1
            self._gate.wake()

    def _well(self, spec: str) -> None:
        """Note that a provider answers."""
        self._failures, self._trouble = 0, False
        self._burst_at[spec] = 0.0

    def _count(self, sends: int, error: ModelError) -> None:
        """Note sends that failed; the breaker opens when there are too many in a row."""
        self._failures += max(0, sends)
        self._trouble = True
        if self._failures >= self.limit and not self.reason:
            self.reason = str(error)

    def _pause(self, spec: str) -> float:
        """Return 0 where a call may go now, else how long to wait for news."""
        probes = 1 if self._trouble else max(1, 2 * self.limit // ATTEMPTS)
        if self.reason or self._flying[spec] < probes:
            return 0.0
        if self._trouble or spec not in self._proven:
            return float("inf")
        began_at = self._burst_at[spec]
        if began_at and self._quickest.get(spec, self._proven[spec]) < QUICK_S:
            return float("inf")
        return max(0.0, began_at + LOOK_S - time.monotonic())
