"""A workspace over a small folder, with scripted models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rlm_mcp import promptbook, toolbox
from rlm_mcp.config import Settings
from rlm_mcp.engine.trajectory import Event
from rlm_mcp.engine.workspace import Workspace
from rlm_mcp.errors import ModelError
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelRequest

_T = TypeVar("_T")


def run(work: Awaitable[_T]) -> _T:
    """Await something in an event loop of its own, for at most a minute."""

    async def limited() -> _T:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(limited())


def cell(code: str) -> str:
    """Return a root's reply that holds one cell."""
    return f"Next.\n```repl\n{code}\n```"


def scripted(
    cells: Sequence[str | ModelError],
    sub: Callable[[str], str | ModelError] = lambda text: "ok",
    **more: Any,
) -> Fake:
    """Return a model that writes these replies as a root, and answers sub-calls by `sub`."""

    def reply(request: ModelRequest) -> str | ModelError:
        if request.purpose == "root":
            turn = sum(message.role == "assistant" for message in request.messages)
            return cells[min(turn, len(cells) - 1)]
        return sub("\n".join(message.text for message in request.messages))

    return Fake(replies=reply, **more)


class Desk:
    """A workspace, its folder and its events."""

    def __init__(self, workspace: Workspace, folder: Path, events: list[Event]) -> None:
        self.workspace, self.folder, self.events = workspace, folder, events

    def use(self, model: Fake, sub: Fake | None = None) -> None:
        """Make a scripted model the default one."""
        self.workspace.services.loaded_models[""] = model
        if sub is not None:
            self.workspace.services.loaded_models["sub"] = sub

    async def execute(self, code: str, **more: Any) -> str:
        """Run a cell as an agent does."""
        return await self.workspace.call_tool("execute", {"code": code, **more})

    def of(self, type: str) -> list[dict[str, Any]]:
        """Return the data of the events of a type."""
        return [dict(event.data) for event in self.events if event.type == type]


Desks = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def desk(tmp_path: Path) -> Desks:
    """Return an async context manager that opens a workspace: `async with desk() as d`."""

    @asynccontextmanager
    async def make(**settings: Any) -> AsyncIterator[Desk]:
        folder = tmp_path / "folder"
        if not folder.exists():
            folder.mkdir()
            for number in range(4):
                lines = [f"line {line} of file {number}\n" for line in range(50)]
                (folder / f"f{number}.txt").write_text("".join(lines))
        tools = {tool.name: tool.source for tool in toolbox.read_tools()}
        events: list[Event] = []
        chosen = replace(Settings(roots=(folder,), spend="allow"), **settings)
        workspace = Workspace(
            chosen, tools, promptbook.read_prompts().texts_by_name, on_event=events.append
        )
        try:
            yield Desk(workspace, folder, events)
        finally:
            await workspace.close()

    return make
