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
import secrets
import socket
import sys
import traceback
from typing import NoReturn
from urllib.parse import urlsplit

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from rlm_mcp.config import Settings
from rlm_mcp.errors import BadRequest, Unavailable
from rlm_mcp.server import log, messages
from rlm_mcp.server.app import App
from rlm_mcp.server.stdio import leave, on_signals

TOKEN_VARIABLE = "RLM_MCP_HTTP_TOKEN"
SHORTEST_TOKEN = 16


def serve(settings: Settings, address: str) -> NoReturn:
    """Serve until SIGINT or SIGTERM. Does not return: the process ends here.

    Raises BadRequest for an address that is not on loopback, Unavailable for a port in use.
    """
    host, port = parse(address)
    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(24)
    if len(token) < SHORTEST_TOKEN:
        raise BadRequest(f"{TOKEN_VARIABLE} needs at least {SHORTEST_TOKEN} characters.")
    listening = _listen(host, port)
    log.to_stderr()
    try:
        asyncio.run(_serve(settings, listening, token))
    except BaseException:
        traceback.print_exc()
    leave(1)


def parse(address: str) -> tuple[str, int]:
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


class Guard:
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
        refusal = self._refusal(request)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    def _refusal(self, request: Request) -> JSONResponse | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        meant = _is_loopback(_hostname(f"//{host}"))
        if not meant or (origin is not None and not _is_loopback(_hostname(origin))):
            return _error(403, "permission_error", "This server answers loopback names only.")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.strip().encode(), self._token):
            refusal = _error(401, "authentication_error", "The bearer token is missing or wrong.")
            refusal.headers["WWW-Authenticate"] = "Bearer"
            return refusal
        return None


async def _serve(settings: Settings, listening: socket.socket, token: str) -> NoReturn:
    app = App(settings)
    web = app.streamable_http_app()
    web.router.routes.extend(messages.routes(app.office))
    config = uvicorn.Config(
        Guard(web, token),
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
    on_signals(stop)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await app.close()
    await asyncio.wait({serving}, timeout=3)
    leave(0)


def _listen(host: str, port: int) -> socket.socket:
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


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _error(status: int, kind: str, sentence: str) -> JSONResponse:
    body = {"type": "error", "error": {"type": kind, "message": sentence}}
    return JSONResponse(body, status_code=status)
