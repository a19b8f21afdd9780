"""The bytes of a context: spans of a mapped file, read as one sequence without being copied.

Decoding is UTF-8 with U+FFFD for what is invalid, and does not depend on where reading starts:
blocks are cut where a decoder's state is clear. Character offsets come from an index that is built
only as far as it is asked for; over ASCII it is a count of bytes.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, compress, islice
from operator import add, ne, sub

BLOCK_BYTES = 1 << 16
"""Bytes of one block of the index."""
WINDOW_BYTES = 1 << 22
"""Bytes that are searched at a time."""


def merge_spans(spans: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Return where the segments of a text lie and how long they are: adjacent spans are one."""
    flat = list(chain.from_iterable(spans))  # 80,000 spans in 5 ms
    offsets, sizes = flat[::2], flat[1::2]
    if 0 in sizes:
        offsets = list(compress(offsets, sizes))
        sizes = list(filter(None, sizes))
    if not sizes:
        return [], []
    ends = list(map(add, offsets, sizes))
    breaks = [0, *compress(range(1, len(ends)), map(ne, islice(offsets, 1, None), ends))]
    if len(breaks) == len(ends):
        return offsets, sizes
    places = [offsets[at] for at in breaks]
    lasts = [*(ends[at - 1] for at in breaks[1:]), ends[-1]]
    return places, list(map(sub, lasts, places))


class MappedBytes:
    """Segments of one file as a sequence of bytes."""

    def __init__(self, fd: int, length: int, offsets: Sequence[int], sizes: Sequence[int]) -> None:
        """Map a file; what `merged` gives says where the segments lie and how long they are."""
        ends = list(map(add, offsets, sizes))
        if ends and (min(offsets) < 0 or min(sizes) < 0 or max(ends) > length):
            raise ValueError("a span lies outside of the mapped file")
        self._map = map_file(fd, length) if ends else None
        self._places = list(offsets)  # where each segment lies in the file
        self._starts = [0, *accumulate(sizes)]  # where it begins in the sequence
        self.size = self._starts.pop()

    def read_bytes(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end` (both within the sequence)."""
        end = min(end, self.size)
        if start >= end or self._map is None:
            return b""
        segment = bisect_right(self._starts, start) - 1
        parts = []
        while start < end:
            following = segment + 1
            stop = self._starts[following] if following < len(self._starts) else self.size
            stop = min(stop, end)
            place = self._places[segment] + start - self._starts[segment]
            parts.append(self._map[place : place + stop - start])
            start, segment = stop, following
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def whole_buffer(self) -> memoryview | None:
        """Everything as one buffer, where it is one segment of the file."""
        if self._map is None or len(self._starts) != 1:
            return None
        return memoryview(self._map)[self._places[0] : self._places[0] + self.size]

    def find_bytes(self, word: bytes, start: int, end: int) -> int:
        """Return where `word` first begins in `start:end`, or -1."""
        while start + len(word) <= end:
            stop = min(end, start + WINDOW_BYTES + len(word) - 1)
            found = self.read_bytes(start, stop).find(word)
            if found >= 0:
                return start + found
            start = stop - len(word) + 1
        return -1

    def rfind_bytes(self, word: bytes, start: int, end: int) -> int:
        """Return where `word` last begins in `start:end`, or -1."""
        while start + len(word) <= end:
            begin = max(start, end - WINDOW_BYTES - len(word) + 1)
            found = self.read_bytes(begin, end).rfind(word)
            if found >= 0:
                return begin + found
            end = begin + len(word) - 1
            if begin == start:
                break
        return -1

    def count_bytes(self, word: bytes, start: int, end: int) -> int:
        """Return how often `word` occurs in `start:end` without overlapping."""
        total = 0
        overlaps = any(word.startswith(word[-n:]) for n in range(1, len(word)))
        while start + len(word) <= end:
            stop = min(end, start + WINDOW_BYTES + len(word) - 1)
            data = self.read_bytes(start, stop)
            found = data.count(word)
            total += found
            after = start
            if found and not overlaps:
                after = start + data.rfind(word) + len(word)
            elif found:
                after = stop - len(data.split(word)[-1])
            start = max(after, stop - len(word) + 1)
        return total

    def lines_from(self, start: int, size: int = WINDOW_BYTES) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, bytes) of about `size` bytes that end after a newline, or at the end."""
        while start < self.size:
            data = self.read_bytes(start, start + size)
            stop = start + len(data)
            while stop < self.size and not data.endswith(b"\n"):
                cut = data.rfind(b"\n") + 1
                if cut:
                    data = data[:cut]
                    stop = start + cut
                else:
                    more = self.read_bytes(stop, stop + size)
                    cut = more.find(b"\n") + 1
                    data += more[:cut] if cut else more
                    stop = start + len(data)
            yield start, data
            start = stop


def map_file(fd: int, length: int) -> mmap.mmap:
    """Map a file for reading; the pages are shared with everyone who maps it."""
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(fd, length, access=mmap.ACCESS_READ)
    return mmap.mmap(fd, length, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)


class CharIndex:
    """Where characters are in the bytes; built block by block, as far as it is asked for."""

    def __init__(self, mapped: MappedBytes) -> None:
        self._mapped = mapped
        self._bytes = [0]  # where each block begins
        self._chars = [0]  # characters before it
        self._ascii: list[bool] = []
        self._decoded: tuple[int, str] = (-1, "")

    @property
    def is_complete(self) -> bool:
        """Whether the whole text has been seen."""
        return self._bytes[-1] >= self._mapped.size

    @property
    def is_ascii(self) -> bool:
        """Whether all of the text is ASCII."""
        self._extend_index(self._mapped.size, None)
        return self._chars[-1] == self._mapped.size and all(self._ascii)

    def char_count(self) -> int:
        """Return the number of characters."""
        self._extend_index(self._mapped.size, None)
        return self._chars[-1]

    def _extend_index(self, to_byte: int | None, to_char: int | None) -> None:
        mapped = self._mapped
        while self._bytes[-1] < mapped.size:
            if to_byte is not None and self._bytes[-1] >= to_byte:
                return
            if to_char is not None and self._chars[-1] > to_char:
                return
            start = self._bytes[-1]
            stop = clear_cut(mapped, min(start + BLOCK_BYTES, mapped.size))
            data = mapped.read_bytes(start, stop)
            plain = data.isascii()
            count = len(data) if plain else len(data.decode("utf-8", "replace"))
            self._ascii.append(plain)
            self._bytes.append(stop)
            self._chars.append(self._chars[-1] + count)

    def text_slice(self, start: int, end: int) -> str:
        """Return characters `start` to `end`."""
        self._extend_index(None, end)
        end = min(end, self._chars[-1])
        if start >= end:
            return ""
        first = bisect_right(self._chars, start) - 1
        last = bisect_right(self._chars, end - 1) - 1
        if all(self._ascii[first : last + 1]):
            begin = self._bytes[first] + start - self._chars[first]
            return self._mapped.read_bytes(begin, begin + end - start).decode("ascii")
        parts = [self._block_text(number) for number in range(first, last + 1)]
        parts[-1] = parts[-1][: end - self._chars[last]]
        parts[0] = parts[0][start - self._chars[first] :]
        return "".join(parts)

    def _block_text(self, number: int) -> str:
        if self._decoded[0] != number:
            data = self._mapped.read_bytes(self._bytes[number], self._bytes[number + 1])
            self._decoded = number, data.decode("utf-8", "replace")
        return self._decoded[1]

    def char_of(self, byte: int) -> int:
        """Return how many characters lie before a byte at which a character begins."""
        self._extend_index(byte, None)
        block = min(bisect_right(self._bytes, byte) - 1, len(self._ascii))
        inside = byte - self._bytes[block]
        if not inside or self._ascii[block]:
            return self._chars[block] + inside
        data = self._mapped.read_bytes(self._bytes[block], byte)
        return self._chars[block] + len(data.decode("utf-8", "replace"))

    def byte_of(self, char: int) -> int:
        """Return where a character begins."""
        self._extend_index(None, char)
        if char >= self._chars[-1]:
            return self._bytes[-1]
        block = bisect_right(self._chars, char) - 1
        inside = char - self._chars[block]
        if not inside or self._ascii[block]:
            return self._bytes[block] + inside
        return self._bytes[block] + _bytes_before(
            self._mapped.read_bytes(self._bytes[block], self._bytes[block + 1]), inside
        )


def clear_cut(mapped: MappedBytes, stop: int) -> int:
    """Move a cut back to where decoding may start anew (at most three bytes)."""
    if stop >= mapped.size:
        return stop
    near = mapped.read_bytes(max(0, stop - 3), stop + 1)
    for back in range(min(4, len(near))):
        if near[-1 - back] & 0xC0 != 0x80:
            return stop - back
    return stop


def _bytes_before(data: bytes, chars: int) -> int:
    """Return how many bytes the first `chars` characters of valid or invalid UTF-8 take."""
    low, high = 0, len(data)
    while low < high:  # the count of characters grows with the bytes
        middle = (low + high) // 2
        if len(data[:middle].decode("utf-8", "replace")) < chars:
            low = middle + 1
        else:
            high = middle
    while low < len(data) and data[low] & 0xC0 == 0x80 and not _is_stray(data, low):
        low += 1
    return low


def _is_stray(data: bytes, at: int) -> bool:
    return len(data[: at + 1].decode("utf-8", "replace")) > len(
        data[:at].decode("utf-8", "replace")
    )
