"""A client to talk to a server with, from ordinary tests: one event loop in one thread."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from rlm_mcp.config import Settings
from rlm_mcp.server.app import RlmServer

T = TypeVar("T")


@dataclass
class Said:
    """What a tool call gave."""

    text: str
    error: bool
    progress: list[tuple[float, float | None, str | None]] = field(default_factory=list)


class Talk:
    """Holds a client open in a loop of its own; every method blocks. Use as a context manager."""

    def __init__(self, connect: Callable[[], AbstractAsyncContextManager[Client]]) -> None:
        self._connect = connect
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._closing: asyncio.Event
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self.client: Client

    def __enter__(self) -> Talk:
        self._thread.start()
        self._held = asyncio.run_coroutine_threadsafe(self._hold(), self._loop)
        self._ready.wait(60)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._held.result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        """Run a coroutine in the client's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def call(self, tool: str, arguments: dict[str, Any] | None = None, **more: Any) -> Said:
        """Call a tool; return its one text."""
        return self.run(self.acall(tool, {**(arguments or {}), **more}))

    async def acall(self, tool: str, arguments: dict[str, Any]) -> Said:
        """Call a tool from the client's loop."""
        ticks: list[tuple[float, float | None, str | None]] = []

        async def tick(progress: float, total: float | None, message: str | None) -> None:
            ticks.append((progress, total, message))

        result = await self.client.call_tool(tool, arguments, progress_callback=tick)
        (block,) = result.content
        assert block.type == "text"
        return Said(block.text, bool(result.is_error), ticks)

    async def _hold(self) -> None:
        self._closing = asyncio.Event()
        try:
            async with self._connect() as client:
                self.client = client
                self._ready.set()
                await self._closing.wait()
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._ready.set()


def in_memory(settings: Settings, mode: str = "auto") -> Talk:
    """Return a talk with a server in this process."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[Client]:
        app = RlmServer(settings)
        try:
            async with Client(app, mode=mode) as client:
                yield client
        finally:
            await app.close()

    return Talk(connect)


def over_stdio(root: Path, env: dict[str, str], *arguments: str, mode: str = "auto") -> Talk:
    """Return a talk with a real server process."""
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-Im", "rlm_mcp.cli", "serve", "--root", str(root), *arguments],
        env=env,
    )
    return Talk(lambda: Client(parameters, mode=mode))
