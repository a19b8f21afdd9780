"""The little HTTP/1.1 that a model server needs: requests in, JSON or event streams out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.sim.faults import DRIP_S, Fault

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many"}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A whole request. Header names are in lower case; `body` is parsed JSON or None."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


class Gone(Exception):
    """The client closed its connection."""


class Wire:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> HttpRequest | None:
        """Return the next request, or None where the client is done."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
            method, target, _ = first.split(" ", 2)
            pairs = (line.partition(":") for line in lines)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            if headers.get("expect", "").lower() == "100-continue":
                self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            raw = await self._body(headers)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        return HttpRequest(method, target, headers, body)

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await self.reader.readexactly(int(headers.get("content-length", "0")))
        parts = []
        while size := int((await self.reader.readline()).split(b";")[0], 16):
            parts.append(await self.reader.readexactly(size))
            await self.reader.readline()
        await self.reader.readline()
        return b"".join(parts)

    async def json(
        self, status: int, value: Any, headers: Mapping[str, str] | None = None, head: bool = False
    ) -> None:
        """Send a whole JSON reply."""
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        lines = {"content-type": "application/json", "content-length": str(len(raw))}
        await self._send(_head(status, {**lines, **(headers or {})}) + (b"" if head else raw))

    async def start_events(self) -> None:
        """Send the head of an event stream; the connection ends with it."""
        lines = {"content-type": "text/event-stream", "connection": "close"}
        await self._send(_head(200, lines))

    async def event(self, name: str, value: Any) -> None:
        """Send one event; an empty `name` leaves out the event line."""
        data = value if isinstance(value, str) else json.dumps(value)
        line = f"event: {name}\n" if name else ""
        await self._send(f"{line}data: {data}\n\n".encode())

    async def whole(self, value: Any, fault: Fault | None) -> bool:
        """Send a JSON reply, as far as the fault lets it come; say whether it was whole."""
        if fault is None:
            await self.json(200, value)
            return True
        if fault.kind == "error_stream":
            await self.json(
                500, {"type": "error", "error": {"type": "api_error", "message": "sim"}}
            )
            return True
        raw = json.dumps(value).encode()
        lines = {"content-type": "application/json", "content-length": str(len(raw))}
        await self._send(_head(200, lines) + raw[: len(raw) // 2])
        return await self.break_off(fault, None, raw[len(raw) // 2 :])

    async def break_off(self, fault: Fault, error: Any, rest: bytes = b": .\n" * 100) -> bool:
        """End a reply that has begun as the fault says; `rest` is what drips."""
        if fault.kind == "drip_stream":
            for byte in rest:
                await self._send(bytes([byte]))
                await asyncio.sleep(DRIP_S)
        if fault.kind == "stall_stream":
            await asyncio.Event().wait()
        if fault.kind == "error_stream":
            await self.event("error", error)
        else:
            self.drop()
        return False

    async def gone(self) -> None:
        """Return when the client has closed its side."""
        await self.reader.read(1)

    def drop(self) -> None:
        """Break the connection without a farewell."""
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close the connection in order."""
        self.writer.close()

    async def _send(self, data: bytes) -> None:
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError as error:
            raise Gone from error


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
