"""Records of a log: a line with a time, and the lines that follow up to the next one."""

from __future__ import annotations

from collections.abc import Iterator

from rlm_mcp.contexts.logs.files import LogFile
from rlm_mcp.contexts.logs.times import HEAD

MAX_RECORD = 65_536
"""Bytes of one record that are looked at."""


def records(file: LogFile, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Give (offset, text) of each record, at most MAX_RECORD bytes of it.

    In a file without times every line is a record. Lines before the first time belong to none.
    """
    timed = file.format is not None
    offset, parts, size = -1, [b""], 0
    for block, data in file.big.blocks(start, end, 1 << 20):
        at = block
        for line in data.split(b"\n"):
            if (not timed and line) or (timed and file.moment(line[:HEAD]) is not None):
                if offset >= 0:
                    yield offset, b"\n".join(parts)
                offset, parts, size = at, [line[:MAX_RECORD]], len(line)
            elif timed and line and size < MAX_RECORD:
                parts.append(line[: MAX_RECORD - size])
                size += len(line)
            at += len(line) + 1
    if offset >= 0:
        yield offset, b"\n".join(parts)


def literal(text: str) -> str:
    """Return a pattern that matches a text as it is."""
    return "".join(char if char.isalnum() else f"\\x{{{ord(char):x}}}" for char in text)
