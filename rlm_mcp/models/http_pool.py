"""HTTP connections for many calls at once.

A connection pool of the HTTP library looks at each of its connections whenever a request comes or
goes, down to asking the socket of each idle one: 64 calls over 64 connections take as much time
there as in everything else that the client does. Several small pools hold as many connections and
look at few. Imported with the Anthropic SDK, which brings the library.
"""

from __future__ import annotations

import socket
import urllib.request
from typing import Any

import httpx2

POOL_WIDTH = 8
"""Requests that one pool has on their way before the next is used."""
_KEEPALIVE_OPTIONS = (
    ("SO_KEEPALIVE", 1),
    ("TCP_KEEPIDLE", 60),
    ("TCP_KEEPINTVL", 60),
    ("TCP_KEEPCNT", 5),
)


class ConnectionPools(httpx2.AsyncBaseTransport):
    """Connection pools side by side; the first that is not busy takes a request."""

    def __init__(self) -> None:
        self._ssl = httpx2.create_ssl_context()
        self._pools: list[httpx2.AsyncHTTPTransport] = []
        self._in_flight: list[int] = []
        """Requests of each pool that wait for their reply to begin."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; its reply is read from the pool that it was given to."""
        at = self._free_pool()
        self._in_flight[at] += 1
        try:
            return await self._pools[at].handle_async_request(request)
        finally:
            self._in_flight[at] -= 1

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools:
            await pool.aclose()

    def _free_pool(self) -> int:
        for at, flying in enumerate(self._in_flight):
            if flying < POOL_WIDTH:
                return at
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=POOL_WIDTH)
        options = _socket_options()
        self._pools.append(
            httpx2.AsyncHTTPTransport(verify=self._ssl, limits=limits, socket_options=options)
        )
        self._in_flight.append(0)
        return len(self._pools) - 1


def client_mounts() -> dict[str, ConnectionPools]:
    """Return what a client of the library should send through; nothing where a proxy is set."""
    proxied = urllib.request.getproxies().keys() & {"http", "https", "all"}
    return {} if proxied else {"all://": ConnectionPools()}


def _socket_options() -> list[Any]:
    """Return options that keep a silent connection known to what stands between (a NAT)."""
    levels = {"SO": socket.SOL_SOCKET, "TCP": socket.IPPROTO_TCP}
    return [
        (levels[name.partition("_")[0]], getattr(socket, name), value)
        for name, value in _KEEPALIVE_OPTIONS
        if hasattr(socket, name)
    ]
