"""A model lent by an editor: HTTP on loopback with a bearer token (docs/bridge.md).

The editor that starts this server sets RLM_MCP_BRIDGE_URL and RLM_MCP_BRIDGE_TOKEN. The spec is
`bridge:` or `bridge:<model>`. Nothing but loopback is ever spoken to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from rlm_mcp.errors import ModelError
from rlm_mcp.models import prices
from rlm_mcp.models.http_errors import (
    checked_usage,
    failure_kind,
    failure_sentence,
    parse_retry_after,
    unreadable_reply,
)
from rlm_mcp.models.model import ModelReply, ModelRequest, Price, TokenUsage
from rlm_mcp.models.retry import Retry
from rlm_mcp.tokens import reserve_tokens

URL_VARIABLE = "RLM_MCP_BRIDGE_URL"
TOKEN_VARIABLE = "RLM_MCP_BRIDGE_TOKEN"
BRIDGE_VERSION = "1"
PROVIDER_NAME, DOCS_HINT = "The editor's bridge", "see docs/bridge.md"
MAX_REPLY_BYTES = 64 * 1024 * 1024


class Bridge:
    """One model of the editor; without a name, the one that the editor chooses."""

    concurrency: int | None = 4

    def __init__(self, model: str = "") -> None:
        self.model = model
        self.spec = f"bridge:{model}"
        self._retry = Retry()

    @property
    def window_tokens(self) -> int:
        return prices.model_card(self.model).window

    @property
    def price(self) -> Price | None:
        """Return None: what the editor's provider charges is not known here."""
        return None

    async def check_ready(self) -> None:
        """Raise ModelError where no editor lends a model."""
        bridge_address()

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the model's reply. Raises ModelError; a cancelled call closes its connection."""
        body = {
            "model": self.model,
            "system": request.system,
            "messages": [{"role": m.role, "text": m.text} for m in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stop": list(request.stop),
            "purpose": request.purpose,
        }
        return await self._retry.send_with_retry(
            lambda: self._send_request(body, request), request.timeout_s
        )

    async def count_tokens(self, request: ModelRequest) -> int:
        """Return the input tokens of `request`, estimated."""
        return request.estimate_tokens()

    async def close(self) -> None:
        """Hold nothing between calls, so release nothing."""

    async def _send_request(self, body: Mapping[str, Any], request: ModelRequest) -> ModelReply:
        status, headers, said = await _post_json("/v1/complete", body)
        if status != 200:
            raise _status_error(status, headers, said)
        if not isinstance(said, dict) or not isinstance(text := said.get("text"), str):
            raise unreadable_reply(PROVIDER_NAME, f"it holds no text ({DOCS_HINT})")
        stop = said.get("stop", "end")
        if stop not in ("end", "max_tokens", "stop", "refused"):
            raise unreadable_reply(
                PROVIDER_NAME, f"its stop is none that is known, {stop!r} ({DOCS_HINT})"
            )
        model = str(said.get("model") or self.model)
        if not (used := said.get("usage")):
            usage = TokenUsage(request.estimate_tokens(), reserve_tokens(text))
            return ModelReply(text, usage, model, None, stop)
        usage = checked_usage(
            PROVIDER_NAME, lambda: TokenUsage(**{name: int(used[name]) for name in used})
        )
        return ModelReply(text, usage, model, None, stop)


def bridge_address() -> tuple[str, int, str]:
    """Return host, port and token of the editor's bridge. Raises ModelError where there is none."""
    url, token = os.environ.get(URL_VARIABLE, ""), os.environ.get(TOKEN_VARIABLE, "")
    if not url or not token:
        raise ModelError(
            f"No editor has lent a model: {URL_VARIABLE} and {TOKEN_VARIABLE} are not "
            "both set; start rlm-mcp from "
            "the editor's extension, or use another model.",
            kind="auth",
            attempts=0,
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 0
        near = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = False
    if not near or parts.scheme != "http" or not port or any(c.isspace() for c in token):
        raise ModelError(
            f"{URL_VARIABLE} must be http://127.0.0.1:<port>; the bridge stays on this machine.",
            kind="refused",
            attempts=0,
        )
    return host, port, token


async def _post_json(path: str, body: Mapping[str, Any]) -> tuple[int, Mapping[str, str], Any]:
    """Send one request on a connection of its own; return status, headers and JSON."""
    host, port, token = bridge_address()
    raw = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(raw)}\r\n"
        f"X-Rlm-Bridge: {BRIDGE_VERSION}\r\nConnection: close\r\n\r\n"
    )
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
    except OSError as error:
        raise ModelError(
            "The editor's bridge cannot be reached; is the editor still open?",
            kind="network",
            retryable=True,
            attempts=0,
        ) from error
    try:
        writer.write(head.encode() + raw)
        await writer.drain()
        return await _read_response(reader)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ModelError(
            "The editor's bridge closed the connection before its reply was whole; try again.",
            kind="network",
            retryable=True,
            spent_usd=None,
        ) from error
    finally:
        writer.transport.abort()


async def _read_response(reader: asyncio.StreamReader) -> tuple[int, Mapping[str, str], Any]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    try:
        status = int(first.split(" ")[1])
        body = await _read_body(reader, headers)
        return status, headers, json.loads(body)
    except (ValueError, LookupError) as error:
        raise unreadable_reply(
            PROVIDER_NAME, f"it is no HTTP reply with JSON ({DOCS_HINT})"
        ) from error


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts, size = [], 0
        while chunk := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            size += chunk
            if size > MAX_REPLY_BYTES:
                raise ValueError("too long")
            parts.append((await reader.readexactly(chunk + 2))[:-2])
        return b"".join(parts)
    length = int(headers["content-length"])
    if length > MAX_REPLY_BYTES:
        raise ValueError("too long")
    return await reader.readexactly(length)


def _status_error(status: int, headers: Mapping[str, str], said: Any) -> ModelError:
    error = said.get("error") if isinstance(said, dict) else None
    words = str(error.get("message", "")) if isinstance(error, dict) else ""
    kind, retryable = failure_kind(status, words)
    return ModelError(
        failure_sentence(PROVIDER_NAME, kind, words),
        kind=kind,
        retryable=retryable,
        retry_after_s=parse_retry_after(headers.get("retry-after")),
        status=status,
    )
