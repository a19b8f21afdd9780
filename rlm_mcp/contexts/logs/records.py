"""Records of a log: a line with a time, and the lines that follow up to the next one."""

from __future__ import annotations

from collections.abc import Iterator

from rlm_mcp.contexts.logs.files import LogFile

MAX_RECORD = 65_536
"""Bytes of one record that are looked at."""


def records(file: LogFile, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Give (offset, text) of each record: a line with a time, and the lines up to the next.

    In a file without times every line is a record.
    """
    if file.format is None:
        for offset, data in file.big.blocks(start, end):
            at = 0
            for line in data.split(b"\n"):
                if line:
                    yield offset + at, line
                at += len(line) + 1
        return
    before: int | None = None
    for offset, _ in file.stamped(start, end):
        if before is not None:
            yield before, file.big.read(before, min(offset, before + MAX_RECORD))
        before = offset
    if before is not None:
        yield before, file.big.read(before, min(end, before + MAX_RECORD))


def literal(text: str) -> str:
    """Return a pattern that matches a text as it is."""
    return "".join(char if char.isalnum() else f"\\x{{{ord(char):x}}}" for char in text)
