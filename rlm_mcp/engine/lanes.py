"""When a call may be sent: the width of a provider's lane, and a run's breaker.

A lane is shared by all runs of a process; its width halves when the provider says "too many" and
grows back call by call. A breaker belongs to one recursion tree: it opens after k failures in a
row, and until a model has answered at all, or while it is failing, no more than k calls are in
flight, so that a dead provider is sent at most 2k calls (those that a provider repeats included).
A model that has answered gets the whole fan-out a moment after its first k calls, unless those
fail at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rlm_mcp.errors import ModelError
from rlm_mcp.models.model import Model

CONTENT_KINDS = frozenset({"too_long", "refused", "truncated"})
"""Failures that say something about one request, nothing about the provider."""

SHORTEST_LOOK_S, LONGEST_LOOK_S = 0.002, 0.025


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
        self._proven: dict[str, float] = {}
        """Quickest reply of each model that has answered, in seconds."""
        self._flying: defaultdict[str, int] = defaultdict(int)
        self._burst_at: dict[str, float] = {}
        self._gate = _Gate()

    def check(self) -> None:
        """Raise ModelError where the breaker is open."""
        if self.reason:
            raise ModelError(
                f"No further calls are sent: {self.limit} calls in a row failed, the last one "
                f"with: {self.reason}",
                kind="server",
                attempts=0,
            )

    @asynccontextmanager
    async def watch(self, model: Model) -> AsyncIterator[None]:
        """Admit one call and learn from how it ends."""
        spec = model.spec
        await self._gate.wait(lambda: self._pause(spec))
        self.check()
        if not self._flying[spec]:
            self._burst_at[spec] = time.monotonic()
        self._flying[spec] += 1
        started = time.monotonic()
        try:
            yield
            taken = time.monotonic() - started
            self._proven[spec] = min(taken, self._proven.get(spec, taken))
            self._failures = 0
        except ModelError as error:
            if error.kind in CONTENT_KINDS:
                self._failures = 0
            else:
                self._failures += 1
                if self._failures >= self.limit and not self.reason:
                    self.reason = str(error)
            raise
        finally:
            self._flying[spec] -= 1
            self._gate.wake()

    def _pause(self, spec: str) -> float:
        """Return 0 where a call may go now, else how long to wait for news."""
        flying = self._flying[spec]
        if self.reason or flying < self.limit - self._failures:
            return 0.0
        if self._failures or spec not in self._proven:
            return float("inf")
        look = min(LONGEST_LOOK_S, max(SHORTEST_LOOK_S, 0.05 * self._proven[spec]))
        return max(0.0, self._burst_at[spec] + look - time.monotonic())
