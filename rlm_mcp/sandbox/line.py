"""The two ends of the line between the parent and a worker, on one socket.

The parent's end never waits past a deadline and holds no more than one frame of the size that it
was told to expect; the worker's end blocks and trusts the parent.
"""

from __future__ import annotations

import array
import os
import select
import socket
import time
from collections.abc import Sequence

from rlm_mcp.sandbox.wire import (
    HEADER,
    MAX_TO_WORKER,
    SMALL,
    ChannelClosed,
    DeadlinePassed,
    Message,
    ProtocolViolation,
    decode_message,
)


class Line:
    """The parent's end: never blocks past a deadline, never reads more than it was told to."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._poll = select.poll() if hasattr(select, "poll") else None
        self._buffer = bytearray()
        self._large: bytearray | None = None
        """A large frame that is coming in, of its exact size, and how much of it is there."""
        self._filled = 0
        self._sizes = (0, 0)
        self.taken = 0
        """Bytes of JSON of the frame that was received last."""

    def send(self, frame: bytes | bytearray, deadline: float, fds: Sequence[int] = ()) -> None:
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
                raise ChannelClosed from None

    def receive(
        self, deadline: float, json_limit: int, raw_limit: int = 0, chars: int = MAX_TO_WORKER
    ) -> tuple[Message, bytes]:
        """Return the next frame and its raw bytes; a partial one stays for the next call."""
        while True:
            frame = self._take(json_limit, raw_limit, chars)
            if frame is not None:
                return frame
            try:
                if self._large is not None:
                    with memoryview(self._large) as view:
                        count = self._socket.recv_into(view[self._filled :])
                    self._filled += count
                else:
                    data = self._socket.recv(1 << 18)
                    count = len(data)
                    self._buffer += data
            except BlockingIOError:
                self._wait(deadline, writing=False)
                continue
            except OSError:
                raise ChannelClosed from None
            if not count:
                raise ChannelClosed

    def _take(self, json_limit: int, raw_limit: int, chars: int) -> tuple[Message, bytes] | None:
        buffer = self._buffer
        if self._large is not None:
            return self._take_large(chars)
        if len(buffer) < HEADER.size:
            return None
        size, raw_size = HEADER.unpack_from(buffer)
        if size > json_limit or raw_size > raw_limit:
            raise ProtocolViolation(f"a frame of {size:,} + {raw_size:,} bytes")
        end = HEADER.size + size + raw_size
        if size + raw_size > SMALL:
            self._large, self._sizes = bytearray(size + raw_size), (size, raw_size)
            self._filled = min(end, len(buffer)) - HEADER.size
            self._large[: self._filled] = buffer[HEADER.size : end]
            del buffer[:end]
            return self._take_large(chars)
        if len(buffer) < end:
            return None
        message = decode_message(buffer[HEADER.size : HEADER.size + size])
        raw = bytes(buffer[HEADER.size + size : end])
        del buffer[:end]
        self.taken = size
        return message, raw

    def _take_large(self, chars: int) -> tuple[Message, bytes] | None:
        body = self._large
        if body is None or self._filled < len(body):
            return None
        self._large = None
        self.taken, _ = self._sizes
        raw = bytes(memoryview(body)[self.taken :])
        del body[self.taken :]
        return decode_message(body, chars), raw

    def _wait(self, deadline: float, *, writing: bool) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlinePassed
        if self._poll is None:
            ends = [self._socket]
            ready = select.select([] if writing else ends, ends if writing else [], [], left)
            if not (ready[0] or ready[1]):
                raise DeadlinePassed
            return
        self._poll.register(self._socket, select.POLLOUT if writing else select.POLLIN)
        if not self._poll.poll(max(1, round(left * 1000))):
            raise DeadlinePassed

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

    def send(self, frame: bytes | bytearray) -> None:
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
        return decode_message(body), raw, fds

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
                raise ChannelClosed
            for _, _, passed in rights:
                fds = array.array("i")
                fds.frombytes(passed[: len(passed) - len(passed) % fds.itemsize])
                self._fds.extend(fds)
            self._buffer += data
