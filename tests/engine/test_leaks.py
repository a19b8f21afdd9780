"""No call leaves anything behind: not when it ends, and not when its caller is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from rlm_mcp.engine.workspace import Workspace
from tests.engine.conftest import Desks, cell, run, scripted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")

SLACK = 5
"""Descriptors, threads and children that may come and go by chance."""
CALLS: dict[str, dict[str, Any]] = {
    "grep": {"pattern": "line 7"},
    "peek": {"ref": "repo:f1.txt"},
    "outline": {},
    "chunk": {"ref": "repo"},
    "execute": {"code": "x = 1"},
    "rlm_query": {"prompt": "What is in it?"},
}


def held_by_process() -> dict[str, int]:
    """Return how many descriptors, threads and living children this process has."""
    children = 0
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
            children += len(Path(f"/proc/self/task/{task}/children").read_text().split())
    return {
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "children": children,
    }


async def settled(workspace: Workspace, before: dict[str, int]) -> dict[str, int]:
    """Return what is held once it is no more than before, or after a while."""
    for _ in range(200):
        await asyncio.gather(*workspace.services.closing)
        now = held_by_process()
        if all(now[name] <= before[name] + SLACK for name in now):
            break
        await asyncio.sleep(0.05)
    return now


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """Return what grew by more than chance allows."""
    return {
        name: after[name] - before[name] for name in after if after[name] > before[name] + SLACK
    }


@pytest.mark.parametrize("tool", CALLS)
def test_calls_that_end_leave_nothing_behind(desk: Desks, tool: str) -> None:
    async def main() -> dict[str, int]:
        async with desk() as d:
            d.use(scripted([cell("answer = {'content': 'lines', 'ready': True}")]))
            for _ in range(3):
                await d.workspace.call_tool(tool, CALLS[tool])
            before = await settled(d.workspace, held_by_process())
            for _ in range(20):
                await d.workspace.call_tool(tool, CALLS[tool])
            return grown(before, await settled(d.workspace, before))

    assert run(main()) == {}


SLOW_TOOL = """
def sleepy(seconds: float = 30) -> str:
    \"\"\"Take long.\"\"\"
    total = 0
    while True:
        total += 1
"""
CANCELLED: dict[str, dict[str, Any]] = {
    "rlm_query": {"prompt": "What is in it?"},
    "execute": {"code": "while True:\n    pass"},
    "llm_query": {"prompt": "Say it."},
    "sleepy": {},
}


@pytest.mark.parametrize("tool", CANCELLED)
def test_cancelled_calls_leave_nothing_behind(desk: Desks, tool: str) -> None:
    """The server cancels as anyio does: every await of the call is cancelled, again and again."""

    async def main() -> dict[str, int]:
        async with desk() as d:
            d.use(scripted([cell("while True:\n    pass")], latency_s=0.1))
            tools = {**d.workspace.services.tools, "sleepy": SLOW_TOOL}
            d.workspace.services.tools = tools

            async def cancel_after(seconds: float) -> None:
                with anyio.move_on_after(seconds):
                    await d.workspace.call_tool(tool, CANCELLED[tool])

            await cancel_after(0.3)
            before = await settled(d.workspace, held_by_process())
            for number in range(15):
                await cancel_after(0.01 + 0.02 * number)
            return grown(before, await settled(d.workspace, before))

    assert run(main()) == {}
