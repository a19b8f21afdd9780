"""The server itself: what it offers, and how a call becomes a reply.

The SDK's server class is used for the protocol of both eras; its six public methods are answered
from our own tools and prompts, so that arguments are checked with our sentences, schemas are as
short as we write them, and nothing is built before a client asks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolResult,
    GetPromptResult,
    PromptMessage,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Prompt as PromptType
from mcp_types import PromptArgument as PromptArgumentType
from mcp_types import Resource as ResourceType
from mcp_types import ResourceTemplate as ResourceTemplateType
from mcp_types import Tool as ToolType
from pydantic.networks import AnyUrl

import rlm_mcp
from rlm_mcp.config import Settings
from rlm_mcp.errors import BadRequest, Cancelled, RlmError
from rlm_mcp.server import resources, sampling
from rlm_mcp.server.office import Office
from rlm_mcp.server.progress import Ticker
from rlm_mcp.toolbox import Tool

CORE = frozenset({"contexts", "grep", "execute", "rlm_query"})
"""Tools whose definition a client with tool search is asked to load at once."""

LARGEST_PROMPT_ARGUMENT = 8_000
"""Characters: what a prompt echoes stays far below the largest reply."""

log = logging.getLogger("rlm_mcp")


class App(MCPServer[Any]):
    """One server: any number of connections, one workspace."""

    def __init__(self, settings: Settings) -> None:
        self.office = Office(settings)
        instructions = self.office.prompts.texts.get("instructions", "")
        super().__init__(
            "rlm",
            title="rlm-mcp",
            version=rlm_mcp.__version__,
            instructions=instructions.strip()[:2_000],
            log_level="WARNING",
        )
        self._warming: asyncio.Task[None] | None = None

    async def serve_streams(self, messages: Any, replies: Any) -> None:
        """Serve one connection over a pair of the SDK's streams."""
        server = self._lowlevel_server
        await server.run(messages, replies, server.create_initialization_options())

    async def list_tools(self) -> list[ToolType]:
        """Describe every tool; then, while the client thinks, get the workspace ready."""
        tools = [_tool_type(tool) for tool in self.office.tools]
        for problem in [*self.office.tools.problems, *self.office.prompts.problems]:
            log.warning("%s", problem)
        if self._warming is None:
            self._warming = asyncio.create_task(self._warm_up())
        return tools

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult:
        """Run a tool. Every expected failure becomes a sentence that the model reads."""
        # The limiter and redaction are imported with the first call, not with the server.
        from rlm_mcp import reply

        try:
            text = await self._run(name, arguments, context)
            cap = self.office.settings.reply_chars
            text = await asyncio.to_thread(reply.limit, text, cap, self._keep)
        except RlmError as error:
            return _result(reply.sentence(error), is_error=True)
        except Exception as error:
            log.exception("Tool %r broke", name)
            kind = type(error).__name__
            return _result(
                f"{name[:80]} broke inside rlm-mcp ({kind}). This is a defect of ours, not of "
                "your call; the server's log has the details.",
                is_error=True,
            )
        if name == "open_context" and context is not None:
            await context.notify_resources_changed()
        return _result(text, is_error=False)

    async def list_resources(self) -> list[ResourceType]:
        """Describe what is open now; listing opens nothing."""
        return await asyncio.to_thread(resources.listed, self.office.opened)

    async def list_resource_templates(self) -> list[ResourceTemplateType]:
        """Describe how any ref can be read."""
        return resources.TEMPLATES

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Any, Any] | None = None
    ) -> Iterable[ReadResourceContents]:
        """Read what a tool would show, under the same limits."""
        from rlm_mcp import reply

        try:
            name, arguments = resources.as_call(str(uri))
            text = await self._run(name, arguments, context)
            cap = self.office.settings.reply_chars
            text = await asyncio.to_thread(reply.limit, text, cap, self._keep)
        except BadRequest as error:
            raise ResourceNotFoundError(reply.sentence(error)) from error
        except RlmError as error:
            raise ResourceError(reply.sentence(error)) from error
        return [ReadResourceContents(content=text, mime_type="text/plain")]

    async def list_prompts(self) -> list[PromptType]:
        """Describe the prompts that are offered to people."""
        return [
            PromptType(
                name=prompt.name,
                title=prompt.title or None,
                description=prompt.description,
                arguments=[
                    PromptArgumentType(
                        name=argument.name,
                        description=argument.description,
                        required=argument.required,
                    )
                    for argument in prompt.arguments
                ],
            )
            for prompt in self.office.prompts
            if prompt.offered
        ]

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[Any, Any] | None = None,
    ) -> GetPromptResult:
        """Fill in a prompt."""
        try:
            prompt = self.office.prompt(name)
            given = {key: str(value) for key, value in (arguments or {}).items()}
            for key, value in given.items():
                if len(value) > LARGEST_PROMPT_ARGUMENT:
                    raise BadRequest(
                        f"{key!r} has {len(value):,} characters, more than "
                        f"{LARGEST_PROMPT_ARGUMENT:,}; name a file instead."
                    )
            text = prompt.fill(given)
        except BadRequest as error:
            raise MCPError(code=INVALID_PARAMS, message=str(error)) from error
        message = PromptMessage(role="user", content=TextContent(type="text", text=text))
        return GetPromptResult(description=prompt.description, messages=[message])

    async def close(self) -> None:
        """Stop what is under way and end every worker."""
        if self._warming is not None:
            self._warming.cancel()
        await self.office.close()

    async def _run(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None
    ) -> str:
        tool = self.office.tool(name)
        parsed = tool.parse(arguments)

        async def send(done: float, total: float | None, message: str) -> None:
            if context is not None:
                await context.report_progress(done, total, message)

        with sampling.borrowed(context):
            async with Ticker(send, name) as ticker:
                return await self.office.call(tool, parsed, ticker.report)

    def _keep(self, text: str) -> str:
        workspace = self.office.opened
        if workspace is None:
            raise Cancelled("The server is stopping.")
        return str(workspace.handles.keep(text, "text"))

    async def _warm_up(self) -> None:
        # The reply to tools/list leaves first.
        await asyncio.sleep(0.1)
        await self.office.warm_up()


def _tool_type(tool: Tool) -> ToolType:
    return ToolType(
        name=tool.name,
        description=tool.description,
        input_schema=tool.schema,
        annotations=ToolAnnotations(read_only_hint=True) if tool.read_only else None,
        _meta={"anthropic/alwaysLoad": True} if tool.name in CORE else None,
    )


def _result(text: str, *, is_error: bool) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)
