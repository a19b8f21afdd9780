"""Progress of one call: what the engine says, and a sign of life in between.

Clients show the last message and want numbers that only grow; the engine's own figures come in
bursts. Nothing is sent in the first second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

TICK_S = 1.0
"""Seconds between signs of life, and before the first."""
MIN_GAP_S = 0.1
"""Seconds between two notifications."""

SendProgress = Callable[[float, float | None, str], Awaitable[None]]


class ProgressTicker:
    """Sends progress while a call runs; use as an async context manager."""

    def __init__(self, send: SendProgress, name: str) -> None:
        self._send = send
        self._name = name
        self._begun = time.monotonic()
        self._sent = self._begun
        self._value = 0.0
        self._total: float | None = None
        self._message = ""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ProgressTicker:
        self._task = asyncio.create_task(self._tick_loop())
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def report_progress(self, done: float, total: float | None, message: str) -> None:
        """Take what the engine says; it is sent now, or with the next sign of life."""
        if total is not None:
            self._total = total
        self._value = max(self._value, done)
        self._message = message
        now = time.monotonic()
        if now - self._begun >= TICK_S and now - self._sent >= MIN_GAP_S:
            await self._send_notification(now)

    async def _tick_loop(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            if now - self._sent >= TICK_S / 2:
                await self._send_notification(now)

    async def _send_notification(self, now: float) -> None:
        self._sent = now
        elapsed = f"{now - self._begun:.0f} s"
        text = f"{self._message} ({elapsed})" if self._message else f"{self._name}: {elapsed}"
        # A value that stands still would break the rule that it grows; a hair is enough.
        self._value += 0.001
        total = self._total if self._total is None or self._total > self._value else None
        await self._send(self._value, total, text[:200])
