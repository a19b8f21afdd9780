"""Frames between the parent and a worker: two lengths, a JSON object, and raw bytes.

    4 bytes  length of the JSON text      4 bytes  length of the raw bytes that follow it

The parent trusts no byte of a worker: sizes are checked before anything is read, JSON is parsed
without NaN and with bounded depth, and every field is checked by exact type where it is used.
Descriptors go only from the parent to the worker.
"""

from __future__ import annotations

import array
import json
import os
import re
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

HEADER = struct.Struct(">II")
MAX_TO_WORKER = 64 << 20
"""Bytes of one frame to a worker, JSON and raw bytes together."""
MAX_VALUES = 250_000
"""Values that one call of a cell may hold: parsing takes seventy bytes for each empty list."""
_SMALL = 1 << 20
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""Possessive, and open strings too: an alternation takes a hundred bytes for each character, and
one that fails at the end is tried again at each quotation mark."""
MAX_DEPTH = 40
"""Nesting of values that cross the wire."""

Json = None | bool | int | float | str | list[Any] | dict[str, Any]
Message = dict[str, Any]


class Violation(Exception):
    """The other end broke the protocol."""


class Closed(Exception):
    """The other end is gone."""


class Late(Exception):
    """Nothing came before the deadline."""


def encode(message: Message, raw: bytes = b"") -> bytes:
    """Return one frame. Lone surrogates survive, NaN and infinities are refused (ValueError)."""
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    body = text.encode("utf-8", "surrogatepass")
    return HEADER.pack(len(body), len(raw)) + body + raw


def decode(body: bytes | bytearray) -> Message:
    """Read the JSON object of a frame; raises Violation for everything else."""
    try:
        message = json.loads(body.decode("utf-8", "surrogatepass"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Violation(f"a frame that is no JSON ({type(error).__name__})") from None
    if type(message) is not dict:
        raise Violation("a frame that is no object")
    return message


def check_values(body: bytes | bytearray) -> None:
    """Refuse a large frame that holds far more values than text; raises Violation."""
    if len(body) <= _SMALL:
        return
    bare = _STRING.sub(b"", body)
    if bare.count(b",") + bare.count(b"[") + bare.count(b"{") > 2 * MAX_VALUES + 1000:
        raise Violation("a frame of too many values")


def _no_constant(text: str) -> None:
    raise ValueError(text)


class TooLarge(ValueError):
    """A value that is over the limit of the wire."""


def plain(value: object, limit: int = MAX_TO_WORKER, values: int | None = None) -> Json:
    """Copy a value of JSON types, by exact type: no method of a subclass is called.

    Tuples become lists. Raises TypeError for another type and TooLarge past `limit` (counted in
    characters, at least 8 for each number or container).
    """
    return _Copy(limit, values).copy(value, 0)


def checked(value: object) -> Any:
    """Copy what a worker sent; raises Violation for what no honest one sends (inf, depth)."""
    try:
        return plain(value)
    except (TypeError, ValueError) as error:
        raise Violation(f"a value that cannot be passed ({error})") from None


class _Copy:
    def __init__(self, limit: int, values: int | None) -> None:
        self.left = limit
        self.limit = limit
        self.values = values

    def copy(self, value: object, depth: int) -> Json:
        if value is None or value is True or value is False:
            self.spend(4)
            return value
        if isinstance(value, str):
            self.spend(str.__len__(value))
            return str.__str__(value)
        if isinstance(value, int):
            number = int.__index__(value)
            if number.bit_length() > 4096:
                raise TypeError("an integer of more than 4,096 bits cannot be passed")
            self.spend(8 + number.bit_length() // 3)
            return number
        if isinstance(value, float):
            return self.real(value)
        if depth > MAX_DEPTH:
            raise TypeError(f"a value nested deeper than {MAX_DEPTH} levels cannot be passed")
        if isinstance(value, dict):
            return self.record(value, depth)
        if isinstance(value, (list, tuple)):
            self.spend(8)
            items = list.__iter__(value) if isinstance(value, list) else tuple.__iter__(value)
            return [self.copy(item, depth + 1) for item in items]
        raise TypeError(
            f"a value of type {type(value).__name__} cannot be passed; "
            "use str, int, float, bool, None, list or dict"
        )

    def real(self, value: float) -> float:
        number = float.__float__(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise TypeError("nan and infinities cannot be passed")
        self.spend(8)
        return number

    def record(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        copied: dict[str, Any] = {}
        self.spend(8)
        for key, item in list(dict.items(value)):
            if not isinstance(key, str):
                raise TypeError(
                    f"a dict key of type {type(key).__name__} cannot be passed; use str"
                )
            self.spend(str.__len__(key))
            copied[str.__str__(key)] = self.copy(item, depth + 1)
        return copied

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.values is not None:
            self.values -= 1
            if self.values < 0:
                raise TooLarge(f"one call holds at most {MAX_VALUES:,} values; pass fewer")
        if self.left < 0:
            raise TooLarge(
                f"the value is larger than {self.limit:,} characters; pass refs instead of texts, "
                "or several smaller values"
            )


class Line:
    """The parent's end: never blocks past a deadline, never reads more than it was told to."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._poll = select.poll() if hasattr(select, "poll") else None
        self._buffer = bytearray()
        self.taken = 0
        """Bytes of JSON of the frame that was received last."""

    def send(self, frame: bytes, deadline: float, fds: Sequence[int] = ()) -> None:
        """Send one frame. Raises Late where the worker does not read, Closed where it is gone."""
        view = memoryview(frame)
        while view:
            try:
                if fds:
                    passed = array.array("i", fds).tobytes()
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
                    sent = self._socket.sendmsg([view], rights)
                    fds = ()
                else:
                    sent = self._socket.send(view)
                view = view[sent:]
            except BlockingIOError:
                self._wait(deadline, writing=True)
            except OSError:
                raise Closed from None

    def receive(
        self, deadline: float, json_limit: int, raw_limit: int = 0
    ) -> tuple[Message, bytes]:
        """Return the next frame and its raw bytes; a partial one stays for the next call."""
        while True:
            frame = self._take(json_limit, raw_limit)
            if frame is not None:
                return frame
            try:
                data = self._socket.recv(1 << 18)
            except BlockingIOError:
                self._wait(deadline, writing=False)
                continue
            except OSError:
                raise Closed from None
            if not data:
                raise Closed
            self._buffer += data

    def _take(self, json_limit: int, raw_limit: int) -> tuple[Message, bytes] | None:
        buffer = self._buffer
        if len(buffer) < HEADER.size:
            return None
        size, raw_size = HEADER.unpack_from(buffer)
        if size > json_limit or raw_size > raw_limit:
            raise Violation(f"a frame of {size:,} + {raw_size:,} bytes")
        end = HEADER.size + size + raw_size
        if len(buffer) < end:
            return None
        check_values(buffer[HEADER.size : HEADER.size + size])
        message = decode(buffer[HEADER.size : HEADER.size + size])
        raw = bytes(buffer[HEADER.size + size : end])
        del buffer[:end]
        self.taken = size
        return message, raw

    def _wait(self, deadline: float, *, writing: bool) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise Late
        if self._poll is None:
            ends = [self._socket]
            ready = select.select([] if writing else ends, ends if writing else [], [], left)
            if not (ready[0] or ready[1]):
                raise Late
            return
        self._poll.register(self._socket, select.POLLOUT if writing else select.POLLIN)
        if not self._poll.poll(max(1, round(left * 1000))):
            raise Late

    def close(self) -> None:
        """Close the socket; the worker sees the end of its input."""
        self._socket.close()


class Inside:
    """The worker's end: blocks, trusts the parent, and sends with `write` alone."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(True)
        self._socket = end
        self._buffer = bytearray()
        self._fds: list[int] = []

    def send(self, frame: bytes) -> None:
        """Send one frame, whole."""
        view = memoryview(frame)
        fd = self._socket.fileno()
        while view:
            view = view[os.write(fd, view) :]

    def receive(self) -> tuple[Message, bytes, list[int]]:
        """Return the next frame, its raw bytes and the descriptors that came with it."""
        self._fill(HEADER.size)
        size, raw_size = HEADER.unpack_from(self._buffer)
        self._fill(HEADER.size + size + raw_size)
        body = self._buffer[HEADER.size : HEADER.size + size]
        raw = bytes(self._buffer[HEADER.size + size : HEADER.size + size + raw_size])
        del self._buffer[: HEADER.size + size + raw_size]
        fds, self._fds = self._fds, []
        return decode(body), raw, fds

    def _receive(self, wanted: int) -> tuple[bytes, list[tuple[int, int, bytes]]]:
        if not hasattr(socket, "CMSG_SPACE"):  # Windows: no descriptors come this way
            return self._socket.recv(wanted), []
        data, rights, _, _ = self._socket.recvmsg(wanted, socket.CMSG_SPACE(8 * 4))
        return data, rights

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            wanted = max(1 << 16, min(size - len(self._buffer), 1 << 20))
            data, rights = self._receive(wanted)
            if not data:
                raise Closed
            for _, _, passed in rights:
                fds = array.array("i")
                fds.frombytes(passed[: len(passed) - len(passed) % fds.itemsize])
                self._fds.extend(fds)
            self._buffer += data
