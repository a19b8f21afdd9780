"""A large file by lines, without loading it: counted in blocks, read by position.

Blocks are read, never mapped: a log that is truncated under a mapping would kill the process.
The newlines before a block are counted on the first question about a line number in it, 1 GB in
about a third of a second, and kept as 8 bytes a block.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from rlm_mcp.errors import Unavailable

COUNT_BLOCK_BYTES = 1 << 20
THREADED_BLOCKS = 64
"""Blocks from which on several threads count."""
MAX_LINE_BYTES = 1 << 20
"""Bytes of one line that are read."""


class LineFile:
    """An open file. Owns nothing: `fd` stays the caller's. Safe from several threads."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self._before = [0]
        """Newlines before each block that was counted, and behind the last one."""
        self._lock = threading.Lock()

    def grow_to(self, size: int) -> None:
        """Take note that the file has more bytes now; what was counted stays right."""
        with self._lock:
            whole = self.size // COUNT_BLOCK_BYTES
            del self._before[whole + 1 :]
            self.size = size

    def read_span(self, start: int, end: int) -> bytes:
        """Return the bytes of a span; fewer where the file was cut meanwhile."""
        end = min(end, self.size)
        if start >= end:
            return b""
        data = os.pread(self.fd, end - start, start)
        while start + len(data) < end and (part := os.pread(self.fd, end - start, start)):
            start += len(part)
            data += part
        return data

    def read_into(self, room: memoryview, start: int) -> int:
        """Read as many bytes as there is room for; return how many it were."""
        done = 0
        while done < len(room) and (got := os.preadv(self.fd, [room[done:]], start + done)):
            done += got
        return done

    def line_count(self) -> int:
        """Return how many lines there are; a last one without a newline counts."""
        if not self.size:
            return 0
        return self._count_newlines()[-1] + (self.read_span(self.size - 1, self.size) != b"\n")

    def line_start(self, line: int) -> int:
        """Return where a line (from 1) starts; the size where there is none."""
        if line <= 1:
            return 0
        before = self._count_newlines()
        if line - 1 > before[-1]:
            return self.size
        block = bisect_right(before, line - 2) - 1
        data = np.frombuffer(
            self.read_span(block * COUNT_BLOCK_BYTES, (block + 1) * COUNT_BLOCK_BYTES), np.uint8
        )
        inside = np.flatnonzero(data == 10)
        if line - 2 - before[block] >= len(inside):
            raise Unavailable("The file was cut while it was read; ask again.")
        return block * COUNT_BLOCK_BYTES + int(inside[line - 2 - before[block]]) + 1

    def line_number(self, offset: int) -> int:
        """Return the number of the line that a byte is in."""
        block = min(offset, self.size) // COUNT_BLOCK_BYTES
        before = self._count_newlines(block)
        block = min(block, len(before) - 1)
        return before[block] + self.read_span(block * COUNT_BLOCK_BYTES, offset).count(b"\n") + 1

    def line_bytes(self, start: int, end: int) -> list[bytes]:
        """Return lines `start` to `end`, without newlines, each cut at MAX_LINE."""
        first, stop = self.line_start(start), self.line_start(end + 1)
        data = self.read_span(first, min(stop, first + (64 << 20)))
        lines = data.removesuffix(b"\n").split(b"\n") if data else []
        return [line[:MAX_LINE_BYTES] for line in lines]

    def line_at(self, start: int, most: int = 65_536) -> bytes:
        """Return the line that starts at a byte, without its newline, at most so many bytes."""
        data = self.read_span(start, start + most)
        end = data.find(b"\n")
        return data if end < 0 else data[:end]

    def next_line(self, offset: int) -> int:
        """Return where the first line starts that begins at `offset` or later."""
        if offset <= 0:
            return 0
        at = offset - 1
        while at < self.size:
            data = self.read_span(at, at + 65_536)
            end = data.find(b"\n")
            if end >= 0:
                return at + end + 1
            if not data:
                break
            at += len(data)
        return self.size

    def line_blocks(
        self, start: int = 0, end: int | None = None, step: int = 8 << 20
    ) -> Iterator[tuple[int, bytes]]:
        """Give (offset, bytes) of whole lines, in order; a line longer than `step` is cut."""
        stop = self.size if end is None else min(end, self.size)
        while start < stop:
            data = self.read_span(start, min(stop, start + step))
            if not data:
                return
            if start + len(data) < stop:
                border = data.rfind(b"\n") + 1
                data = data[:border] if border else data
            yield start, data
            start += len(data)

    def _count_newlines(self, blocks: int | None = None) -> list[int]:
        """Return the newlines before each block, counted for so many blocks at least, or all."""
        with self._lock:
            every = -(-self.size // COUNT_BLOCK_BYTES)
            todo = range(len(self._before) - 1, every if blocks is None else min(blocks, every))
            if len(todo) < THREADED_BLOCKS:
                counts = [self._block_newlines(block) for block in todo]
            else:
                with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "rlm-count") as pool:
                    counts = list(pool.map(self._block_newlines, todo))
            for count in counts:
                self._before.append(self._before[-1] + count)
            return self._before

    def _block_newlines(self, block: int) -> int:
        data = self.read_span(block * COUNT_BLOCK_BYTES, (block + 1) * COUNT_BLOCK_BYTES)
        return int(np.count_nonzero(np.frombuffer(data, np.uint8) == 10))
