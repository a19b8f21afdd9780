"""Connections for many calls at once: kept, reused, spread over pools; a proxy is respected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from rlm_mcp.models import http_pool

REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """Answers when it is let; counts the connections that were made to it."""

    def __init__(self) -> None:
        self.connections = self.open = 0
        self.waiting = 0
        self.go = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.waiting += 1
                await self.go.wait()
                self.waiting -= 1
                writer.write(REPLY)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.open -= 1


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, httpx2.AsyncClient]]:
    made = Server()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, backlog=256)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with httpx2.AsyncClient(mounts=http_pool.client_mounts()) as client:
        yield made, client
    made.go.set()
    server.close()
    while made.open:
        await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_calls_in_a_row_share_one_connection() -> None:
    async def run() -> int:
        async with serving() as (server, client):
            server.go.set()
            for _ in range(20):
                assert (await client.get(server.url)).text == "ok"
            return server.connections

    assert asyncio.run(run()) == 1


def test_a_fan_out_is_in_flight_at_once_and_its_connections_serve_the_next() -> None:
    async def run() -> list[int]:
        async with serving() as (server, client):
            made = []
            for _ in range(3):
                server.go.clear()
                calls = [asyncio.create_task(client.get(server.url)) for _ in range(60)]
                while server.waiting < 60:
                    await asyncio.sleep(0.001)
                server.go.set()
                assert [reply.text for reply in await asyncio.gather(*calls)] == ["ok"] * 60
                made.append(server.connections)
            return made

    assert asyncio.run(run()) == [60, 60, 60]


def test_a_cancelled_call_leaves_its_place_to_others() -> None:
    async def run() -> None:
        async with serving() as (server, client):
            calls = [
                asyncio.create_task(client.get(server.url)) for _ in range(http_pool.POOL_WIDTH * 3)
            ]
            while server.waiting < len(calls):
                await asyncio.sleep(0.001)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            server.go.set()
            transport = next(iter(client._mounts.values()))
            assert isinstance(transport, http_pool.ConnectionPools) and not any(
                transport._in_flight
            )
            assert (await client.get(server.url)).text == "ok"

    asyncio.run(run())


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_that_the_user_set_is_the_librarys_own_business(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert http_pool.client_mounts() == {}


def test_an_exception_to_a_proxy_alone_is_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert list(http_pool.client_mounts()) == ["all://"]
