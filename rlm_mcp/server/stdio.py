"""Serve over stdin and stdout, and end well: no child left, no state lost.

A client stops us by closing stdin, by SIGTERM, or (Claude Code) by SIGINT and SIGTERM within a
tenth of a second, so that closing starts with the first of these and waits for nothing slow. The
thread that reads stdin cannot be interrupted: the process ends without asking it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, cast

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from rlm_mcp.server import jsonrpc, log
from rlm_mcp.server.app import RlmServer

if TYPE_CHECKING:
    from rlm_mcp.config import Settings

TAIL = 64 << 10
"""Bytes at the end of a message that is too large, in which its id may stand."""


def serve_stdio(settings: Settings) -> NoReturn:
    """Serve until the client goes. Does not return: the process ends here."""
    log.log_to_stderr()
    if sys.stdin is not None and sys.stdin.isatty():
        sys.stderr.write(
            "rlm-mcp: waiting for an MCP client on stdin; `rlm-mcp install` enters the server "
            "into your agent's configuration, `rlm-mcp ask` answers a person.\n"
        )
    try:
        asyncio.run(_run_server(settings))
    except BaseException:
        traceback.print_exc()
    exit_now(1)


async def _run_server(settings: Settings) -> NoReturn:
    app = RlmServer(settings)
    stop = asyncio.Event()
    stop_on_signals(stop)
    serving = asyncio.create_task(_converse(app))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await app.close()
    if serving.done() and (error := serving.exception()) is not None:
        sys.stderr.write(f"rlm-mcp: the connection broke: {error!r}\n")
        exit_now(1)
    # Leaving the loop in order would wait for the thread that reads stdin.
    exit_now(0)


async def _converse(app: RlmServer) -> None:
    lines = Lines(_own_stdin())
    stdin = cast("anyio.AsyncFile[str]", lines)  # of a file, the SDK uses the lines alone
    async with stdio_server(stdin=stdin) as (messages, replies):
        lines.answer.set_result(replies.send)
        await app.serve_streams(messages, replies)


class Lines:
    """The messages of a client, one a line, as the SDK parses them; all else is answered here."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.answer: asyncio.Future[Callable[[SessionMessage], Awaitable[Any]]]
        self.answer = asyncio.get_running_loop().create_future()

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            try:
                line = await anyio.to_thread.run_sync(self._next)
            except jsonrpc.Refused as refused:
                answer = await self.answer
                for reply in refused.replies:
                    await answer(SessionMessage(reply))
                continue
            if line is None:
                return
            yield line

    def _next(self) -> str | None:
        """Return the next message; None where the input ends. Raises Refused."""
        while line := self._source.readline(jsonrpc.LARGEST_MESSAGE + 1):
            if len(line) > jsonrpc.LARGEST_MESSAGE and not line.endswith(b"\n"):
                tail = line[-TAIL:]
                while not tail.endswith(b"\n") and (more := self._source.readline(TAIL)):
                    tail = (tail + more)[-TAIL:]
                raise jsonrpc.too_large(line, tail)
            message = jsonrpc.read_message(line)
            if message is not None:
                return message.model_dump_json(by_alias=True, exclude_unset=True)
        return None


def _own_stdin() -> BinaryIO:
    """Return stdin for us alone: whatever else reads descriptor 0 finds it empty."""
    try:
        if sys.platform == "win32" or sys.stdin.fileno() != 0:
            return sys.stdin.buffer
    except io.UnsupportedOperation:
        return sys.stdin.buffer
    mine = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0, inheritable=True)
    os.close(nothing)
    # Never closed: the thread that reads may be inside when the process ends.
    return os.fdopen(mine, "rb", closefd=False)


def exit_now(code: int) -> NoReturn:
    """End the process now, with what was written written."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
