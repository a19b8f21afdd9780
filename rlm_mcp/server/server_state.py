"""What one server process holds, made when first needed: tools, prompts, the workspace.

The engine and all below it cost far more to import than the protocol, so that nothing here
imports them before the first reply is out.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp import promptbook, toolbox, trust
from rlm_mcp.errors import BadRequest, Cancelled, Unavailable, did_you_mean

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.engine import Workspace
    from rlm_mcp.promptbook import Prompt, Promptbook
    from rlm_mcp.toolbox import Tool, Toolbox

ProgressCallback = Callable[[float, float | None, str], Awaitable[None]]

CLOSE_LIMIT_S = 3.0
"""Seconds that closing may take before the process ends anyway (the kernel ends the workers)."""


class ServerState:
    """Owns the workspace of this process and the calls that are under way."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._workspace: Workspace | None = None
        self._workspace_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False

    @property
    def project_folder(self) -> Path:
        """The folder whose .rlm/ counts: the first root."""
        return self.settings.roots[0]

    @cached_property
    def tools(self) -> Toolbox:
        return toolbox.read_tools(trust.content_folders("tools", self.project_folder))

    @cached_property
    def prompts(self) -> Promptbook:
        return promptbook.read_prompts(trust.content_folders("prompts", self.project_folder))

    def find_tool(self, name: str) -> Tool:
        """Return a tool by name. Raises BadRequest with a did-you-mean."""
        for tool in self.tools:
            if tool.name == name:
                return tool
        names = [tool.name for tool in self.tools]
        hint = did_you_mean(name, names) or f" There are: {', '.join(names)}."
        raise BadRequest(f"There is no tool {name[:80]!r}.{hint}")

    def find_prompt(self, name: str) -> Prompt:
        """Return a prompt that is offered to people. Raises BadRequest with a did-you-mean."""
        offered = [prompt for prompt in self.prompts if prompt.is_offered]
        for prompt in offered:
            if prompt.name == name:
                return prompt
        names = [prompt.name for prompt in offered]
        raise BadRequest(f"There is no prompt {name[:80]!r}.{did_you_mean(name, names)}")

    @property
    def existing_workspace(self) -> Workspace | None:
        """The workspace, if a call has needed it yet."""
        return self._workspace

    async def get_workspace(self) -> Workspace:
        """Return the workspace, made on first use off the event loop."""
        async with self._workspace_lock:
            if self._closed:
                raise Cancelled("The server is stopping.")
            if self._workspace is None:
                # Off the loop, so that pings are answered; made on it, which it is for.
                kind = await asyncio.to_thread(_import_workspace)
                sources = {tool.name: tool.source for tool in self.tools}
                try:
                    self._workspace = kind(self.settings, sources, self.prompts.texts_by_name)
                except (OSError, sqlite3.Error) as error:
                    raise Unavailable(
                        f"The state or cache folder cannot be used ({error}); see `rlm-mcp doctor`."
                    ) from error
            return self._workspace

    async def warm_up(self) -> None:
        """Get the expensive parts ready; a failure shows in the first call that needs them."""
        with contextlib.suppress(Exception):
            await self.get_workspace()

    async def call_tool(
        self, tool: Tool, arguments: dict[str, object], progress: ProgressCallback
    ) -> str:
        """Run a tool and return its whole text. Raises RlmError."""
        workspace = await self.get_workspace()
        async with self.track_task():
            return await workspace.call_tool(tool.name, arguments, progress=progress)

    async def close(self) -> None:
        """Stop what is under way, flush, and end every worker."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_LIMIT_S / 3)
        if self._workspace is not None:
            workspace, self._workspace = self._workspace, None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(workspace.close(), CLOSE_LIMIT_S)

    @contextlib.asynccontextmanager
    async def track_task(self) -> AsyncIterator[None]:
        """Let `close` stop the task that is inside."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)


def _import_workspace() -> type[Workspace]:
    from rlm_mcp.engine import Workspace  # imports every room below: 300 ms and more

    return Workspace
