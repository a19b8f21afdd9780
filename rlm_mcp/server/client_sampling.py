"""Lend the client's model to runs, where a client still offers that (`sampling:`).

The protocol has deprecated it and its newer era cannot do it at all, so that nothing depends on
it. A client of the older era that declares the capability lends its model while a call of it is
under way.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context
from mcp_types import SamplingMessage, TextContent
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from rlm_mcp.errors import ModelError

if TYPE_CHECKING:
    from rlm_mcp.models import ModelRequest


@contextlib.contextmanager
def lend_sampling(context: Context[Any, Any] | None) -> Iterator[None]:
    """Make `sampling:` work by this call's client while the context lasts, if it offers that."""
    if context is None or not offers_sampling(context):
        yield
        return
    from rlm_mcp.models import SampledReply, lend_client

    async def sample_client(request: ModelRequest) -> SampledReply:
        messages = [
            SamplingMessage(role=turn.role, content=TextContent(type="text", text=turn.text))
            for turn in request.messages
        ]
        with warnings.catch_warnings():
            # The SDK warns that the capability is deprecated; the module's docstring knows.
            warnings.simplefilter("ignore", UserWarning)
            got = await context.session.create_message(
                messages,
                max_tokens=request.max_tokens,
                system_prompt=request.system or None,
                temperature=request.temperature,
                stop_sequences=list(request.stop) or None,
            )
        if got.content.type != "text":
            raise ModelError("The client's model gave no text.", kind="malformed")
        text, model = got.content.text, got.model
        if got.stop_reason == "maxTokens":
            return SampledReply(text, model, "max_tokens")
        return SampledReply(text, model)

    with lend_client(sample_client):
        yield


def offers_sampling(context: Context[Any, Any]) -> bool:
    """Whether the client declared the capability on a connection that can carry it."""
    capabilities = context.client_capabilities
    modern = context.protocol_version in MODERN_PROTOCOL_VERSIONS
    return not modern and capabilities is not None and capabilities.sampling is not None
