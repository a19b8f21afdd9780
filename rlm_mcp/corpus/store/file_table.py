"""The side table of a packed corpus: one row for each listed path, in reading order.

A row is either a document (its span of the text file) or something described but not loaded
(why, and how large). On disk it is one file: a header, the columns, a checksum; small changes
are in a journal beside it.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

TABLE_MAGIC = b"rlm-mcp table 3\n"
SKIP_REASONS = (
    "", "binary", "too large", "link", "not a file", "unreadable", "denied", "submodule",
    "over the total", "not checked out", "gone",
)  # fmt: skip
"""Why a row is not loaded; the first is "it is"."""
TEXT_MARKS = ("", "generated", "minified", "lfs")
"""What kind of text a document is, where that is worth knowing."""

ROW_DTYPE = np.dtype(
    [
        ("offset", "<i8"), ("length", "<i8"), ("first", "<i8"), ("lines", "<i8"),
        ("size", "<i8"), ("mtime_ns", "<i8"), ("ctime_ns", "<i8"), ("inode", "<u8"),
        ("reason", "u1"), ("mark", "u1"),
    ]
)  # fmt: skip

TableRows = npt.NDArray[np.void]
BlobIds = npt.NDArray[np.bytes_]
_HEAD = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class FileTable:
    """Rows and the files that they point into. `paths` are bytes, sorted, one for each row."""

    text_id: str
    text_bytes: int
    ends_count: int
    generation: int
    paths: Sequence[bytes]
    rows: TableRows
    facts: dict[str, Any] = field(default_factory=dict)
    blobs: BlobIds | None = None
    """Git's id of each row's content, where it is known without reading that."""
    id: str = ""
    """What the journal of small changes names this table by, once it is on disk."""
    journal_bytes: int = 0
    """How much of the journal is in these rows."""


@dataclass(frozen=True, slots=True)
class TableChange:
    """What differs from a table: the new rows, of which those in `todo` are still to be read."""

    base: FileTable | None
    paths: Sequence[bytes]
    rows: TableRows
    todo: Sequence[tuple[int, str]]
    """Places among the rows, each with the reason not to read it, or an empty one."""
    state: object = None
    """What the origin wants to find unchanged when everything is read."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the new table is to remember."""


class SourceMoving(Exception):
    """The source changed while it was read; what was read may be a mixture of two states."""


class SourceLocked(SourceMoving):
    """The source is being changed as a whole, and was for longer than a call may wait."""


def dump_table(table: FileTable) -> bytes:
    """Return the bytes of a table file."""
    head = json.dumps(
        {
            "text_id": table.text_id,
            "text_bytes": table.text_bytes,
            "ends_count": table.ends_count,
            "generation": table.generation,
            "rows": len(table.rows),
            "facts": table.facts,
            "id": table.id,
            "blobs": 0 if table.blobs is None else table.blobs.itemsize,
        }
    ).encode()
    names = b"\0".join(table.paths)
    blobs = b"" if table.blobs is None else table.blobs.tobytes()
    body = b"".join((_HEAD.pack(len(head), len(names)), head, names, table.rows.tobytes(), blobs))
    return TABLE_MAGIC + struct.pack("<I", zlib.crc32(body)) + body


def parse_table(data: bytes) -> FileTable | None:
    """Read a table file, or return None for one that is broken or of another version."""
    body = memoryview(data)[len(TABLE_MAGIC) + 4 :]
    if data[: len(TABLE_MAGIC)] != TABLE_MAGIC or len(body) < _HEAD.size:
        return None
    if struct.unpack_from("<I", data, len(TABLE_MAGIC))[0] != zlib.crc32(body):
        return None
    head_size, names_size = _HEAD.unpack_from(body)
    start = _HEAD.size + head_size
    head = json.loads(bytes(body[_HEAD.size : start]))
    names = bytes(body[start : start + names_size])
    count = head["rows"]
    place = start + names_size
    rows = np.frombuffer(body, ROW_DTYPE, count, place)
    blobs = head["blobs"] and np.frombuffer(body, f"S{head['blobs']}", count, place + rows.nbytes)
    return FileTable(
        text_id=head["text_id"],
        text_bytes=head["text_bytes"],
        ends_count=head["ends_count"],
        generation=head["generation"],
        paths=names.split(b"\0") if count else [],
        rows=rows,
        facts=head["facts"],
        blobs=blobs if head["blobs"] else None,
        id=head["id"],
    )
