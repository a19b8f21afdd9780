"""Serve over stdin and stdout, and end well: no child left, no state lost.

A client stops us by closing stdin, by SIGTERM, or (Claude Code) by SIGINT and SIGTERM within a
tenth of a second, so that closing starts with the first of these and waits for nothing slow. The
thread that reads stdin cannot be interrupted: the process ends without asking it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from typing import NoReturn

from rlm_mcp.config import Settings
from rlm_mcp.server import log
from rlm_mcp.server.app import App


def serve(settings: Settings) -> NoReturn:
    """Serve until the client goes. Does not return: the process ends here."""
    log.to_stderr()
    if sys.stdin is not None and sys.stdin.isatty():
        sys.stderr.write(
            "rlm-mcp: waiting for an MCP client on stdin; `rlm-mcp install` enters the server "
            "into your agent's configuration, `rlm-mcp ask` answers a person.\n"
        )
    try:
        asyncio.run(_serve(settings))
    except BaseException:
        traceback.print_exc()
    leave(1)


async def _serve(settings: Settings) -> NoReturn:
    app = App(settings)
    stop = asyncio.Event()
    on_signals(stop)
    serving = asyncio.create_task(app.run_stdio_async())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await app.close()
    if serving.done() and (error := serving.exception()) is not None:
        sys.stderr.write(f"rlm-mcp: the connection broke: {error!r}\n")
        leave(1)
    # Leaving the loop in order would wait for the thread that reads stdin.
    leave(0)


def leave(code: int) -> NoReturn:
    """End the process now, with what was written written."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
