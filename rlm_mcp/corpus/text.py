"""Append documents to a packed text file, and note where its lines end.

Documents are put one behind the other. One that does not end in a newline gets one behind it
(outside its span), so that no line ever runs from one document into the next.
"""

from __future__ import annotations

import os
from typing import BinaryIO, NamedTuple

import numpy as np

BLOCK = 16 << 20
MAX_TEXT = (1 << 32) - (1 << 26)
"""Bytes that one text file may have: line ends are kept as 32-bit numbers."""


class Place(NamedTuple):
    """Where a document is: a span of the text file in bytes."""

    offset: int
    length: int


class Writer:
    """Appends to a text file and to the file of its line ends.

    Give a document whole with `add`, or read it into `room(n)` and call `keep(n)`.
    """

    def __init__(self, text: BinaryIO, ends: BinaryIO, text_bytes: int, ends_count: int) -> None:
        self.text, self.ends = text, ends
        self.text_bytes, self.ends_count = text_bytes, ends_count
        self._block = bytearray(BLOCK)
        self._view = memoryview(self._block)
        self._used = 0

    @property
    def end(self) -> int:
        """Where the next document will start."""
        return self.text_bytes + self._used

    def room(self, size: int) -> memoryview:
        """Return `size` writable bytes for the next document."""
        if size + 1 > len(self._block) - self._used:
            self.flush()
        if size + 1 > len(self._block):
            self._view.release()
            self._block = bytearray(size + 1)
            self._view = memoryview(self._block)
        return self._view[self._used : self._used + size]

    def has_nul(self, size: int) -> bool:
        """Whether the first `size` bytes of the room hold a NUL."""
        return self._block.find(b"\0", self._used, self._used + size) >= 0

    def peek(self, size: int) -> bytes:
        """Return the first `size` bytes of the room."""
        return bytes(self._view[self._used : self._used + size])

    def close(self) -> None:
        """Hand everything to the files and close them."""
        try:
            self.flush()
        finally:
            self.text.close()
            self.ends.close()

    def keep(self, size: int) -> Place:
        """Make the first `size` bytes of the room a document."""
        place = Place(self.end, size)
        if size:
            end = self._used + size
            if self._block[end - 1] != 10:
                self._block[end] = 10
                end += 1
            self._used = end
        return place

    def add(self, data: bytes | memoryview) -> Place:
        """Append a document."""
        self.room(len(data))[:] = data
        return self.keep(len(data))

    def flush(self) -> None:
        """Hand everything to the files."""
        if not self._used:
            return
        block = np.frombuffer(self._block, np.uint8, count=self._used)
        ends = np.flatnonzero(block == 10)
        ends += self.text_bytes
        _write(self.ends, ends.astype("<u4").data.cast("B"))
        _write(self.text, self._view[: self._used])
        self.text_bytes += self._used
        self.ends_count += len(ends)
        self._used = 0


def _write(file: BinaryIO, data: memoryview) -> None:
    """Write all of `data`: an unbuffered file may take less than it is given."""
    while data:
        data = data[file.write(data) :]


def truncate(path: str | os.PathLike[str], size: int) -> BinaryIO:
    """Open a file for appending after cutting what lies behind `size`."""
    file = open(path, "r+b", buffering=0)  # noqa: SIM115  the caller owns it
    file.truncate(size)
    file.seek(size)
    return file
