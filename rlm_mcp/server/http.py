"""Serve over HTTP on loopback: MCP at /mcp, the Messages endpoint at /v1/messages.

Every request needs the bearer token, and a Host (and Origin, where there is one) of loopback: a
web page that rebinds its name to 127.0.0.1 gets nothing. Other interfaces are refused: a tunnel
or a proxy that authenticates is the way out of the machine.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import re
import secrets
import socket
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

import uvicorn
from mcp_types import INVALID_REQUEST, PARSE_ERROR
from mcp_types.jsonrpc import JSONRPCMessage, JSONRPCRequest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlm_mcp.errors import BadRequest, Unavailable
from rlm_mcp.server import jsonrpc, log, messages_api
from rlm_mcp.server.app import RlmServer
from rlm_mcp.server.stdio import exit_now, stop_on_signals

if TYPE_CHECKING:
    from rlm_mcp.config import Settings

TOKEN_VARIABLE = "RLM_MCP_HTTP_TOKEN"
MIN_TOKEN_CHARS = 16
LARGEST_BODY = 4 << 20
"""Bytes of one MCP message over HTTP, as the SDK limits them."""
_HOST = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""A Host header: a name or an address and a port, no user and no path."""


def serve_http(settings: Settings, address: str) -> NoReturn:
    """Serve until SIGINT or SIGTERM. Does not return: the process ends here.

    Raises BadRequest for an address that is not on loopback, Unavailable for a port in use.
    """
    host, port = parse_address(address)
    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(24)
    if len(token) < MIN_TOKEN_CHARS:
        raise BadRequest(f"{TOKEN_VARIABLE} needs at least {MIN_TOKEN_CHARS} characters.")
    listening = _bind_socket(host, port)
    log.log_to_stderr()
    try:
        asyncio.run(_run_server(settings, listening, token))
    except BaseException:
        traceback.print_exc()
    exit_now(1)


def parse_address(address: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT, [::1]:PORT, :PORT or PORT."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise BadRequest(f"--http wants HOST:PORT, such as 127.0.0.1:8765; got {address!r}.")
    if not _is_loopback(host):
        raise BadRequest(
            f"{host!r} is not loopback; the server listens on 127.0.0.1 or ::1 only. "
            "Use a tunnel to reach it from elsewhere."
        )
    return host, int(port)


class Messages:
    """Answers what holds no JSON-RPC message, and a second request under an id in use.

    The SDK answers the first with an id of null at best, and the second takes the reply stream of
    the request that is still under way, which is then never answered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way: set[tuple[str, str]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != "/mcp":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            message = await asyncio.to_thread(jsonrpc.read_message, await _body(request))
            if message is None:
                raise jsonrpc.Refused(jsonrpc.refusal(PARSE_ERROR, "The body is empty.", None))
        except jsonrpc.Refused as refused:
            await _refused(refused)(scope, receive, send)
            return
        except ClientDisconnect:
            return
        session = request.headers.get("mcp-session-id", "")
        key = (session, str(getattr(message, "id", "")))
        if not session or not isinstance(message, JSONRPCRequest):
            await self._app(scope, _replayed(message, receive), send)
            return
        if key in self._under_way:
            sentence = "This id is that of a request that is still under way; use another."
            taken = jsonrpc.refusal(INVALID_REQUEST, sentence, message.id)
            await _refused(jsonrpc.Refused(taken))(scope, receive, send)
            return
        self._under_way.add(key)
        try:
            await self._app(scope, _replayed(message, receive), send)
        finally:
            self._under_way.discard(key)


class LoopbackGuard:
    """Lets a request through that carries the token and was meant for loopback."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no web sockets here
        request = Request(scope)
        refusal = self._refusal_for(request)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    def _refusal_for(self, request: Request) -> JSONResponse | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        meant = _is_meant(host)
        if origin is not None:
            scheme, _, place = origin.partition("://")
            meant = meant and scheme in ("http", "https") and _is_meant(place)
        if not meant:
            return _error_response(
                403, "permission_error", "This server answers loopback names only."
            )
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.strip().encode(), self._token):
            refusal = _error_response(
                401, "authentication_error", "The bearer token is missing or wrong."
            )
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal
        return None


async def _run_server(settings: Settings, listening: socket.socket, token: str) -> NoReturn:
    app = RlmServer(settings)
    web = app.streamable_http_app()
    web.router.routes.extend(messages_api.messages_routes(app.server_state))
    config = uvicorn.Config(
        LoopbackGuard(Messages(web), token),
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    sys.stderr.write(
        f"rlm-mcp: MCP at http://{shown}:{port}/mcp, Messages at http://{shown}:{port}\n"
    )
    if TOKEN_VARIABLE not in os.environ:
        sys.stderr.write(f"rlm-mcp: bearer token {token}\n")
    sys.stderr.flush()
    stop = asyncio.Event()
    serving = asyncio.create_task(server.serve([listening]))
    # Ours take the place of uvicorn's handlers, which know nothing of workers and runs.
    await asyncio.sleep(0)
    stop_on_signals(stop)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await app.close()
    await asyncio.wait({serving}, timeout=3)
    exit_now(0)


async def _body(request: Request) -> bytes:
    """Return the body of a request. Raises Refused for one that is too large."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            sentence = f"The body has more than {LARGEST_BODY >> 20} MB; name a file instead."
            raise jsonrpc.Refused(jsonrpc.refusal(INVALID_REQUEST, sentence, None))
    return bytes(body)


def _refused(refused: jsonrpc.Refused) -> JSONResponse:
    replies = [reply.model_dump(mode="json", exclude_unset=True) for reply in refused.replies]
    return JSONResponse(replies[0] if len(replies) == 1 else replies, status_code=400)


def _replayed(message: JSONRPCMessage, receive: Receive) -> Receive:
    """Return what gives the message as the whole body, and then what really comes."""
    body = message.model_dump_json(by_alias=True, exclude_unset=True).encode()
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return first.pop() if first else await receive()

    return replay


def _bind_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise Unavailable(f"Cannot listen on {host}:{port}: {error.strerror}.") from error
    return listening


def _is_meant(place: str) -> bool:
    """Say whether a Host, or what follows the scheme of an Origin, is one of loopback."""
    named = _HOST.fullmatch(place)
    return named is not None and _is_loopback(named[1].strip("[]"))


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _error_response(status: int, kind: str, sentence: str) -> JSONResponse:
    body = {"type": "error", "error": {"type": kind, "message": sentence}}
    return JSONResponse(body, status_code=status)
