"""When a call may be sent: the concurrency limit of a provider, and a run's circuit breaker.

The limit is shared by all runs of a process; it halves when the provider says "too many" and
grows back call by call. A breaker belongs to one recursion tree and opens after k failed sends in a
row (what a provider repeats by itself is counted). A fan-out begins with a few probes: until one is
answered, and while anything is failing, the rest waits. Where a model's replies are known to be
slow, waiting for one would double the time of the fan-out: there the rest goes a moment after the
probes, unless those fail at once. What has failed is sent again only when nothing else is on its
way. So a provider that dies is sent at most 2k calls, or what was in flight: no more than 2k either
where the limit is not above that, as by default. One that says it is busy lives: it is waited
for (models/retry.py), and what it refused is never counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from rlm_mcp.errors import ModelError
from rlm_mcp.models import watch_retries

if TYPE_CHECKING:
    from rlm_mcp.models import Model

CONTENT_KINDS = frozenset({"too_long", "refused", "truncated"})
"""Failures that say something about one request, nothing about the provider."""

QUICK_S = 0.15
"""A model whose quickest reply takes less than this is waited for."""
PROBES = 2
"""Calls that go first: one that stalls does not hold up the others."""
PROBE_LEAD = 0.075
"""How long a slow model's probes have the field to themselves: a share of its quickest reply."""


class _WaitQueue:
    """Lets waiters in, in their order, whenever `may_enter` says so."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    async def wait_until_free(self, may_enter: Callable[[], float]) -> None:
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

    def wake_all(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class ConcurrencyLimit:
    """The calls in flight to one provider."""

    def __init__(self, width: int) -> None:
        self._most = float(max(1, width))
        self._width = self._most
        self._in_flight = 0
        self._cut_at = 0.0
        self._gate = _WaitQueue()

    @property
    def width(self) -> int:
        """How many calls may be in flight now."""
        return int(self._width)

    async def take_slot(self) -> None:
        """Take one of the places, once there is one; `leave` or `place` gives it back."""
        await self._gate.wait_until_free(
            lambda: 0.0 if self._in_flight < self.width else float("inf")
        )
        self._in_flight += 1

    def free_slot(self) -> None:
        """Give a place back."""
        self._in_flight -= 1
        self._gate.wake_all()

    @contextmanager
    def use_slot(self) -> Iterator[None]:
        """Use a place that was taken; a "too many" that passes through lowers the limit."""
        sent_at = time.monotonic()
        try:
            yield
            self._width = min(self._most, self._width + 1 / self._width)
        except ModelError as error:
            if error.asks_to_wait and sent_at >= self._cut_at:
                self._width = max(1.0, self._width // 2)
                self._cut_at = time.monotonic()
            raise
        finally:
            self.free_slot()


class ConcurrencyLimits:
    """The limit of each provider."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._lanes: dict[str, ConcurrencyLimit] = {}

    def limit_for(self, model: Model) -> ConcurrencyLimit:
        """Return the limit under which a model's calls go."""
        provider = model.spec.partition(":")[0] + model.spec.rpartition("@")[2]
        if provider not in self._lanes:
            own = model.concurrency
            self._lanes[provider] = ConcurrencyLimit(
                self._width if own is None else min(own, self._width)
            )
        return self._lanes[provider]


class Breaker:
    """Counts failures in a row over one recursion tree."""

    def __init__(self, limit: int) -> None:
        self.limit = max(1, limit)
        self.reason = ""
        """Why it is open; empty while it is closed."""
        self._failures = 0
        self._last_failed = False
        """Whether the last send of any call failed."""
        self._quickest_any: dict[str, float] = {}
        """Models that have answered, with their quickest reply in seconds."""
        self._quickest_sub: dict[str, float] = {}
        """Quickest reply of each model to a sub-call, in seconds."""
        self._calls: defaultdict[str, int] = defaultdict(int)
        """Calls of each model that have begun and not ended."""
        self._in_flight: defaultdict[str, int] = defaultdict(int)
        """Those of them that are on their way, not waiting to be sent again."""
        self._burst_at: dict[str, float] = {}
        """When the fan-out that is in flight began; 0 once one of its calls was answered."""
        self._gate = _WaitQueue()

    def check_closed(self) -> None:
        """Raise ModelError where the breaker is open."""
        if self.reason:
            raise ModelError(
                f"No further calls are sent: {self._failures} in a row failed, the last one "
                f"with: {self.reason}",
                kind="server",
                attempts=0,
            )

    @asynccontextmanager
    async def watch_call(
        self, model: Model, purpose: str, provider_limit: ConcurrencyLimit
    ) -> AsyncIterator[SendWatch]:
        """Admit one call under a limit; learn from each send of it that fails, and from its end.

        Who uses it says when the call was `answered`: what comes after (storing the reply) takes
        its time, in which others may fail.
        """
        spec = model.spec
        await self._admit_call(spec, provider_limit)
        if not self._calls[spec]:
            self._burst_at[spec] = time.monotonic()
        self._calls[spec] += 1
        sends = SendWatch(self, spec, purpose)
        try:
            with watch_retries(sends), provider_limit.use_slot():
                yield sends
        except ModelError as error:
            if error.kind in CONTENT_KINDS:
                self._note_success(spec)
            elif error.asks_to_wait:
                self._last_failed = True
            else:
                self._count_failures(max(1, error.attempts) - sends.counted, error)
            raise
        finally:
            sends.end_flight()
            self._calls[spec] -= 1
            self._gate.wake_all()

    async def _admit_call(self, spec: str, provider_limit: ConcurrencyLimit) -> None:
        """Take a slot at a moment at which a call may go. Raises ModelError."""
        while True:
            await self._gate.wait_until_free(lambda: self._pause_s(spec))
            self.check_closed()
            await provider_limit.take_slot()
            if not self.reason and self._pause_s(spec) <= 0:
                return
            provider_limit.free_slot()  # there is other news than when it began to wait for a place

    def _note_success(self, spec: str) -> None:
        """Note that a provider answers."""
        self._failures, self._last_failed = 0, False
        self._burst_at[spec] = 0.0

    def _count_failures(self, sends: int, error: ModelError) -> None:
        """Note sends that failed; the breaker opens when there are too many in a row."""
        self._failures += max(0, sends)
        self._last_failed = True
        if self._failures >= self.limit and not self.reason:
            self.reason = str(error)

    def _pause_s(self, spec: str) -> float:
        """Return 0 where a call may go now, else how long to wait for news."""
        probes = 1 if self._last_failed else max(1, min(PROBES, self.limit // 2))
        if self.reason or self._calls[spec] < probes:
            return 0.0
        if self._last_failed or spec not in self._quickest_any:
            return float("inf")
        began_at = self._burst_at[spec]
        quickest_s = self._quickest_sub.get(spec, self._quickest_any[spec])
        if began_at and quickest_s < QUICK_S:
            return float("inf")
        return max(0.0, began_at + PROBE_LEAD * quickest_s - time.monotonic())


class SendWatch:
    """The sends of one call, as its model's retry tells of them (a `retry.Watcher`)."""

    def __init__(self, breaker: Breaker, spec: str, purpose: str) -> None:
        self._breaker, self._spec, self._purpose = breaker, spec, purpose
        self._began = time.monotonic()
        self._flies = True
        self.counted = 0
        """Failures of this call that the breaker knows."""
        breaker._in_flight[spec] += 1

    def note_reply(self) -> None:
        """Note that a reply came."""
        breaker, spec, taken = self._breaker, self._spec, time.monotonic() - self._began
        breaker._quickest_any[spec] = min(taken, breaker._quickest_any.get(spec, taken))
        if self._purpose == "sub":
            breaker._quickest_sub[spec] = min(taken, breaker._quickest_sub.get(spec, taken))
        breaker._note_success(spec)
        breaker._gate.wake_all()

    def on_failure(self, error: ModelError) -> None:
        """Count a failed send; what a busy provider refused does not come here."""
        breaker = self._breaker
        self.end_flight()
        breaker._last_failed = True
        if error.kind not in CONTENT_KINDS:
            self.counted += 1
            breaker._count_failures(1, error)
        breaker._gate.wake_all()
        if breaker.reason:
            raise error

    async def wait_to_resend(self) -> None:
        """Wait, while something is failing, until nothing else is on its way."""
        breaker, spec = self._breaker, self._spec

        def pause_s() -> float:
            free = breaker.reason or not breaker._last_failed or not breaker._in_flight[spec]
            return 0.0 if free else float("inf")

        await breaker._gate.wait_until_free(pause_s)
        breaker.check_closed()
        self._flies = True
        breaker._in_flight[spec] += 1

    def end_flight(self) -> None:
        """Note that nothing of this call is on its way."""
        if self._flies:
            self._flies = False
            self._breaker._in_flight[self._spec] -= 1
