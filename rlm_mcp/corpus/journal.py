"""Small changes of a table, behind one another in a file beside it.

A change of a few documents is a record of their rows: an edit costs the size of the edit, however
many documents there are. The file begins with the id of the table that it belongs to; under
another table it says nothing. A record counts once it is whole, which its checksum tells.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.table import ROW, Rows, Table
from rlm_mcp.corpus.text import write

MOST_BYTES = 1 << 20
"""Bytes of a journal from which on the table is written anew."""
MOST_ROWS = 512
"""Rows of one change that is still a small one."""
_HEAD = struct.Struct("<IIII")


def fits(table: Table, places: Sequence[int]) -> bool:
    """Whether a change of some rows of the table may go into its journal."""
    return bool(table.id) and len(places) <= MOST_ROWS and table.journal_bytes < MOST_BYTES


def append(path: Path, table: Table, places: Sequence[int]) -> Table:
    """Write the change that led to `table` behind the records that it knows; return the table.

    The caller holds the lock of the folder, and has read all whole records.
    """
    head = json.dumps(
        {
            "text_bytes": table.text_bytes,
            "ends_count": table.ends_count,
            "generation": table.generation,
            "facts": table.facts,
        }
    ).encode()
    which = np.array(places, "<u4")
    rows = table.rows[which]
    body = head + which.tobytes() + rows.tobytes()
    sizes = struct.pack("<III", len(body), len(head), len(which))
    record = sizes + struct.pack("<I", zlib.crc32(body, zlib.crc32(sizes))) + body
    name = table.id.encode()
    start = table.journal_bytes or len(name)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    with open(handle, "r+b", buffering=0) as file:
        if not table.journal_bytes:
            file.truncate(0)
            record = name + record
        else:
            file.truncate(start)
            file.seek(start)
        write(file, memoryview(record))
        return replace(table, journal_bytes=file.tell())


def apply(path: Path, table: Table) -> Table:
    """Return the table as the whole records of its journal leave it."""
    try:
        data = path.read_bytes()
    except OSError:
        return table
    name = table.id.encode()
    if not name or not data.startswith(name):
        return table
    at, rows = len(name), None
    while (record := _record(data, at, len(table.rows))) is not None:
        head, which, changed, at = record
        rows = table.rows.copy() if rows is None else rows
        rows[which] = changed
        table = replace(table, **head, rows=rows, journal_bytes=at)
    return table


def _record(
    data: bytes, at: int, count: int
) -> tuple[dict[str, Any], npt.NDArray[np.uint32], Rows, int] | None:
    """Return what a record says (head, places, rows) and where it ends; None if it is not whole."""
    if at + _HEAD.size > len(data):
        return None
    size, head_size, places, checksum = _HEAD.unpack_from(data, at)
    start = at + _HEAD.size
    body = memoryview(data)[start : start + size]
    if len(body) != size or size != head_size + places * (4 + ROW.itemsize):
        return None
    if zlib.crc32(body, zlib.crc32(data[at : at + 12])) != checksum:
        return None
    which = np.frombuffer(body, "<u4", places, head_size)
    if places and int(which.max()) >= count:
        return None
    rows = np.frombuffer(body, ROW, places, head_size + 4 * places)
    return json.loads(bytes(body[:head_size])), which, rows, start + size
