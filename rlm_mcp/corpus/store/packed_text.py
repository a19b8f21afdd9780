"""Append documents to a packed text file, and note where its lines end.

Documents are put one behind the other. One that does not end in a newline gets one behind it
(outside its span), so that no line ever runs from one document into the next.
"""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 4 << 20
FIRST_BLOCK_BYTES = 1 << 20
"""The first block: most writers append a file or two."""
NEWLINE_SCAN_BYTES = 256 << 10
"""Bytes whose newlines are looked for at a time, while they are in the processor's own memory."""
MAX_TEXT_BYTES = (1 << 32) - (1 << 26)
"""Bytes that one text file may have: line ends are kept as 32-bit numbers."""


class TextSpan(NamedTuple):
    """Where a document is: a span of the text file in bytes."""

    offset: int
    length: int


class TextWriter:
    """Appends to a text file and to the file of its line ends.

    Give a document whole with `add`, or read it into `room(n)` and call `keep(n)`. Full blocks
    are written by a thread of its own, while the next one is filled.
    """

    def __init__(self, text: BinaryIO, ends: BinaryIO, text_bytes: int, ends_count: int) -> None:
        self.text, self.ends = text, ends
        self.text_bytes, self.ends_count = text_bytes, ends_count
        self._block = bytearray(FIRST_BLOCK_BYTES)
        self._view = memoryview(self._block)
        self._spare: bytearray | None = None
        self._used = 0
        self._thread: ThreadPoolExecutor | None = None
        self._busy: Future[int] | None = None

    @property
    def next_offset(self) -> int:
        """Where the next document will start."""
        return self.text_bytes + self._used

    def reserve_bytes(self, size: int) -> memoryview:
        """Return `size` writable bytes for the next document."""
        if size + 1 > len(self._block) - self._used:
            self._next_block(size + 1)
        return self._view[self._used : self._used + size]

    def has_nul(self, size: int) -> bool:
        """Whether the first `size` bytes of the room hold a NUL."""
        return self._block.find(b"\0", self._used, self._used + size) >= 0

    def head_bytes(self, size: int) -> bytes:
        """Return the first `size` bytes of the room."""
        return bytes(self._view[self._used : self._used + size])

    def commit_document(self, size: int) -> TextSpan:
        """Make the first `size` bytes of the room a document."""
        place = TextSpan(self.text_bytes + self._used, size)
        if size:
            end = self._used + size
            if self._block[end - 1] != 10:
                self._block[end] = 10
                end += 1
            self._used = end
        return place

    def append_document(self, data: bytes | memoryview) -> TextSpan:
        """Append a document."""
        self.reserve_bytes(len(data))[:] = data
        return self.commit_document(len(data))

    def close(self) -> None:
        """Hand everything to the files and close them."""
        try:
            self._await_block()
            if self._used:
                self.ends_count += self._write_block(self._view[: self._used], self.text_bytes)
                self.text_bytes += self._used
                self._used = 0
        finally:
            if self._thread is not None:
                self._thread.shutdown()
            self.text.close()
            self.ends.close()

    def _next_block(self, size: int) -> None:
        """Let the thread write this block, and go on with another one."""
        self._await_block()
        full, view, used = self._block, self._view, self._used
        if used:
            if self._thread is None:
                # On two processors this takes a third off the time of a first load.
                self._thread = ThreadPoolExecutor(1, "rlm-pack")
            self._busy = self._thread.submit(self._write_block, view[:used], self.text_bytes)
            self.text_bytes += used
            self._used = 0
        spare, self._spare = self._spare, full
        self._block = (
            spare
            if spare and len(spare) >= max(size, BLOCK_BYTES)
            else bytearray(max(size, BLOCK_BYTES))
        )
        self._view = memoryview(self._block)

    def _await_block(self) -> None:
        if self._busy is not None:
            busy, self._busy = self._busy, None
            self.ends_count += busy.result()

    def _write_block(self, data: memoryview, offset: int) -> int:
        """Write a block and its line ends; return how many there are."""
        ends = _newline_offsets(np.frombuffer(data, np.uint8), offset)
        _allocate_disk(self.text, offset, len(data))
        write_all(self.text, data)
        write_all(self.ends, ends.data.cast("B"))
        return len(ends)


def _newline_offsets(data: npt.NDArray[np.uint8], offset: int) -> npt.NDArray[np.uint32]:
    """Return where the newlines of a block are in the text that it begins at `offset` of."""
    found = []
    for start in range(0, len(data), NEWLINE_SCAN_BYTES):
        places = np.flatnonzero(data[start : start + NEWLINE_SCAN_BYTES] == 10)
        places += start + offset
        found.append(places.astype("<u4"))
    return np.concatenate(found)


def _allocate_disk(file: BinaryIO, offset: int, size: int) -> None:
    """Ask for the disk space at once: a full disk shows early, and ext4 writes without pauses."""
    if size >= FIRST_BLOCK_BYTES and hasattr(os, "posix_fallocate"):
        with contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), offset, size)


def write_all(file: BinaryIO, data: memoryview) -> None:
    """Write all of `data`: an unbuffered file may take less than it is given."""
    while data:
        data = data[file.write(data) :]


def open_truncated(path: str | os.PathLike[str], size: int) -> BinaryIO:
    """Open a file for appending after cutting what lies behind `size`."""
    file = open(path, "r+b", buffering=0)  # noqa: SIM115  the caller owns it
    file.truncate(size)
    file.seek(size)
    return file
