"""The server itself: what it offers, and how a call becomes a reply.

The SDK's server class is used for the protocol of both eras; its six public methods are answered
from our own tools and prompts, so that arguments are checked with our sentences, schemas are as
short as we write them, and nothing is built before a client asks.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

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
    Resource,
    ResourceTemplate,
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
from rlm_mcp.errors import BadRequest, Cancelled, RlmError
from rlm_mcp.server import client_sampling
from rlm_mcp.server.progress import ProgressTicker
from rlm_mcp.server.server_state import ServerState

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.engine import Workspace
    from rlm_mcp.toolbox import Tool


_SCHEME = "rlm://"
_MAX_LISTED = 100

RESOURCE_TEMPLATES = [
    ResourceTemplate(
        uri_template="rlm://ref/{+ref}",
        name="ref",
        title="Any ref",
        description="A verbatim window: rlm://ref/repo:src/a.py%23L10-L42, rlm://ref/r7",
        mime_type="text/plain",
    )
]


def list_open_resources(workspace: Workspace | None) -> list[Resource]:
    """Return what is open and what is kept, newest last, at most a hundred."""
    found = [_make_resource("contexts", "contexts", "What is open, and what could be")]
    if workspace is None:
        return found
    for name in workspace.catalog.open_names():
        found.append(_make_resource(f"ref/{quote(name)}", name, f"The context variable {name}"))
    for handle in list(workspace.handles.handle_names())[-_MAX_LISTED:]:
        found.append(_make_resource(f"ref/{quote(handle)}", handle, "A whole result, kept"))
    return found


def resource_call(uri: str) -> tuple[str, dict[str, Any]]:
    """Return the tool call that a resource stands for. Raises BadRequest."""
    path = uri.removeprefix(_SCHEME)
    if path.rstrip("/") == "contexts":
        return "contexts", {}
    kind, slash, rest = path.partition("/")
    if path == uri or kind != "ref" or not slash or not rest:
        raise BadRequest(f"There is no resource {uri[:80]!r}; rlm://ref/<ref> reads any ref.")
    return "peek", {"ref": unquote(rest)}


def _make_resource(path: str, name: str, description: str) -> Resource:
    return Resource(
        uri=f"{_SCHEME}{path}", name=name, description=description, mime_type="text/plain"
    )


MAX_PROMPT_ARGUMENT_CHARS = 8_000
"""Characters: what a prompt echoes stays far below the largest reply."""

log = logging.getLogger("rlm_mcp")


class RlmServer(MCPServer[Any]):
    """One server: any number of connections, one workspace."""

    def __init__(self, settings: Settings) -> None:
        self.server_state = ServerState(settings)
        instructions = self.server_state.prompts.texts_by_name.get("instructions", "")
        super().__init__(
            "rlm",
            title="rlm-mcp",
            version=rlm_mcp.__version__,
            instructions=instructions.strip()[:2_000],
            log_level="WARNING",
        )
        self._warm_up_task: asyncio.Task[None] | None = None

    async def serve_streams(self, messages: Any, replies: Any) -> None:
        """Serve one connection over a pair of the SDK's streams."""
        server = self._lowlevel_server
        await server.run(messages, replies, server.create_initialization_options())

    async def list_tools(self) -> list[ToolType]:
        """Describe every tool; then, while the client thinks, get the workspace ready."""
        tools = [_tool_type(tool) for tool in self.server_state.tools]
        for problem in [*self.server_state.tools.problems, *self.server_state.prompts.problems]:
            log.warning("%s", problem)
        if self._warm_up_task is None:
            self._warm_up_task = asyncio.create_task(self._warm_up())
        return tools

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult:
        """Run a tool. Every expected failure becomes a sentence that the model reads."""
        # The limiter and redaction are imported with the first call, not with the server.
        from rlm_mcp import reply

        try:
            text = await self._run_tool(name, arguments, context)
            text = await asyncio.to_thread(self._limit_reply, text)
        except RlmError as error:
            return _tool_result(reply.error_sentence(error), is_error=True)
        except Exception as error:
            log.exception("Tool %r broke", name)
            kind = type(error).__name__
            return _tool_result(
                f"{name[:80]} broke inside rlm-mcp ({kind}). This is a defect of ours, not of "
                "your call; the server's log has the details.",
                is_error=True,
            )
        if name == "open_context" and context is not None:
            await context.notify_resources_changed()
        return _tool_result(text, is_error=False)

    async def list_resources(self) -> list[ResourceType]:
        """Describe what is open now; listing opens nothing."""
        return await asyncio.to_thread(list_open_resources, self.server_state.existing_workspace)

    async def list_resource_templates(self) -> list[ResourceTemplateType]:
        """Describe how any ref can be read."""
        return RESOURCE_TEMPLATES

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Any, Any] | None = None
    ) -> Iterable[ReadResourceContents]:
        """Read what a tool would show, under the same limits."""
        from rlm_mcp import reply

        try:
            name, arguments = resource_call(str(uri))
            text = await self._run_tool(name, arguments, context)
            text = await asyncio.to_thread(self._limit_reply, text)
        except BadRequest as error:
            raise ResourceNotFoundError(reply.error_sentence(error)) from error
        except RlmError as error:
            raise ResourceError(reply.error_sentence(error)) from error
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
            for prompt in self.server_state.prompts
            if prompt.is_offered
        ]

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[Any, Any] | None = None,
    ) -> GetPromptResult:
        """Fill in a prompt."""
        try:
            prompt = self.server_state.find_prompt(name)
            given = {key: str(value) for key, value in (arguments or {}).items()}
            for key, value in given.items():
                if len(value) > MAX_PROMPT_ARGUMENT_CHARS:
                    raise BadRequest(
                        f"{key!r} has {len(value):,} characters, more than "
                        f"{MAX_PROMPT_ARGUMENT_CHARS:,}; name a file instead."
                    )
            text = prompt.fill_in(given)
        except BadRequest as error:
            raise MCPError(code=INVALID_PARAMS, message=str(error)) from error
        message = PromptMessage(role="user", content=TextContent(type="text", text=text))
        return GetPromptResult(description=prompt.description, messages=[message])

    async def close(self) -> None:
        """Stop what is under way and end every worker."""
        if self._warm_up_task is not None:
            self._warm_up_task.cancel()
        await self.server_state.close()

    async def _run_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None
    ) -> str:
        tool = self.server_state.find_tool(name)
        parsed = tool.check_arguments(arguments)

        async def send_progress(done: float, total: float | None, message: str) -> None:
            if context is not None:
                await context.report_progress(done, total, message)

        with client_sampling.lend_sampling(context):
            async with ProgressTicker(send_progress, name) as ticker:
                return await self.server_state.call_tool(tool, parsed, ticker.report_progress)

    def _limit_reply(self, text: str) -> str:
        from rlm_mcp import reply

        settings = self.server_state.settings
        return reply.limit_reply(
            text, settings.reply_chars, self._store_text, raw=settings.raw_replies
        )

    def _store_text(self, text: str) -> str:
        workspace = self.server_state.existing_workspace
        if workspace is None:
            raise Cancelled("The server is stopping.")
        return str(workspace.handles.store_text(text, "text"))

    async def _warm_up(self) -> None:
        # The reply to tools/list leaves first.
        await asyncio.sleep(0.1)
        await self.server_state.warm_up()


def _is_bare_json(text: str) -> bool:
    """Whether a text is JSON but no object: Gemini CLI parses it and loses what it holds."""
    if text.lstrip()[:1] not in tuple('["-0123456789tfn'):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _tool_type(tool: Tool) -> ToolType:
    return ToolType(
        name=tool.name,
        description=tool.description,
        input_schema=tool.json_schema,
        # Nothing that a tool can do harms what it looks at, or reaches beyond what is open.
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=True if tool.read_only else None,
            destructive_hint=False,
            open_world_hint=False,
        ),
        _meta={"anthropic/alwaysLoad": True} if tool.always_loaded else None,
    )


def _tool_result(text: str, *, is_error: bool) -> CallToolResult:
    if _is_bare_json(text):
        text = f"result:\n{text}"
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)
