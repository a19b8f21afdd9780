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

from jiter import from_json

LARGE_BYTES = 1 << 20
KEEP_BYTES = 1 << 18
"""Bytes kept of each string in a line longer than LARGE."""
LINE_LIMIT_BYTES = 256 << 20
"""Bytes of a line that is read at all."""

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_CUT = re.compile(rb"(?:\\u[0-9a-fA-F]{0,3}|\\)\Z")
_INT_DIGITS = 4_000
"""Digits of a number that Python still reads as one."""

RecordLine = tuple[int, int, dict[str, Any] | None, bool]
"""(start, end, record or None where it is broken, whether strings were cut)."""


def read_records(file: BinaryIO, start: int) -> Iterator[RecordLine]:
    """Yield the lines from byte `start` on; a line that is not finished yet has end == start."""
    file.seek(start)
    offset = start
    while raw := file.readline(LINE_LIMIT_BYTES):
        begin, offset = offset, offset + len(raw)
        cut = len(raw) > LARGE_BYTES
        if len(raw) == LINE_LIMIT_BYTES and not raw.endswith(b"\n"):
            offset, raw = _skip_line(file, offset)
            record = None
        elif cut:
            record = parse_line(shrink_strings(raw))
        else:
            try:
                record = from_json(raw, cache_mode="keys")
            except ValueError:
                record = _parse_leniently(raw)
                if record is None and raw.isspace():
                    continue
        if not isinstance(record, dict):
            if not raw.endswith(b"\n"):
                yield begin, begin, None, cut
                return
            record = None
        yield begin, offset, record, cut


def parse_line(raw: bytes) -> Any:
    """Return the JSON value of a line, or None.

    The strict parser takes half the time of `json.loads`, with the same values. What it refuses
    is read with patience: lone surrogates, broken UTF-8, bare control characters, a byte-order
    mark, deep nesting, numbers of any length.
    """
    try:
        return from_json(raw, cache_mode="keys")
    except ValueError:
        return _parse_leniently(raw)


def _parse_leniently(raw: bytes) -> Any:
    try:
        try:
            text = raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            text = raw.decode("utf-8", "replace")
        return _tolerant.decode(text.lstrip("\ufeff \t\r\n"))
    except (ValueError, RecursionError):
        return None


def _parse_int(digits: str) -> int | str:
    return int(digits) if len(digits) < _INT_DIGITS else digits


_tolerant = json.JSONDecoder(strict=False, parse_int=_parse_int)


def _skip_line(file: BinaryIO, offset: int) -> tuple[int, bytes]:
    """Pass over the rest of a line; return where it ends, and its last part."""
    raw = b""
    while part := file.readline(LARGE_BYTES):
        raw = part
        offset += len(raw)
        if raw.endswith(b"\n"):
            break
    return offset, raw


def shrink_strings(raw: bytes) -> bytes:
    """Return the JSON text `raw` with every long string cut to its first KEEP bytes."""
    parts = []
    last = 0
    for match in _STRING.finditer(raw):
        begin, end = match.span()
        if end - begin > KEEP_BYTES:
            head = _CUT.sub(b"", raw[begin : begin + KEEP_BYTES].decode("utf-8", "ignore").encode())
            if _ends_mid_escape(head):
                head = head[:-1]
            mark = f"… ({end - begin - 2:,} bytes in all)".encode()
            parts += [raw[last:begin], head, mark, b'"']
            last = end
    parts.append(raw[last:])
    return b"".join(parts)


def _ends_mid_escape(head: bytes) -> bool:
    """Say whether `head` ends in the first half of an escape."""
    return (len(head) - len(head.rstrip(b"\\"))) % 2 == 1
