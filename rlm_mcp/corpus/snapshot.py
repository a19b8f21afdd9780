"""One state of a corpus: the mapped text, its lines, its documents. It never changes."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import FileIO

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.table import MARKS, REASONS, Rows, Table

Ends = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]
_GONE = REASONS.index("gone")


@dataclass(frozen=True, slots=True)
class Document:
    """A loaded document. `offset` and `length` are bytes of the mapped file."""

    path: str
    offset: int
    length: int
    lines: int
    blob: str
    """Git's blob id of the content."""
    mtime_ns: int
    mark: str
    """"generated", "minified", "lfs", or empty."""


class Snapshot:
    """One state of a corpus. Never changes; safe to read from any thread."""

    def __init__(self, table: Table, text: FileIO, ends: FileIO) -> None:
        self.table = table
        self.text, self._ends_file = text, ends
        size, count = table.text_bytes, table.ends_count
        self._map = mmap.mmap(text.fileno(), size, access=mmap.ACCESS_READ) if size else b""
        self.buffer = memoryview(self._map)
        """Every byte of the text file, dead ones included."""
        self.ends: Ends = (
            np.frombuffer(
                mmap.mmap(ends.fileno(), count * 4, access=mmap.ACCESS_READ), "<u4", count
            )
            if count
            else np.empty(0, "<u4")
        )
        """Positions of all newlines of the text file."""
        self.live: npt.NDArray[np.int64] = np.flatnonzero(table.rows["reason"] == 0)
        """Rows that are documents, in reading order."""
        self._blobs: dict[int, str] = {}

    @property
    def rows(self) -> Rows:
        """The documents' rows, in reading order."""
        return self._rows

    @cached_property
    def _rows(self) -> Rows:
        return self.table.rows[self.live]

    @cached_property
    def paths(self) -> list[str]:
        """Paths of the documents, in reading order."""
        names = self.table.paths
        return [os.fsdecode(names[row]) for row in self.live.tolist()]

    @cached_property
    def index(self) -> dict[str, int]:
        """The place of each path in reading order."""
        return {path: place for place, path in enumerate(self.paths)}

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """(offset, length) of each document, in reading order."""
        return list(zip(self.rows["offset"].tolist(), self.rows["length"].tolist(), strict=True))

    @cached_property
    def _places(self) -> list[tuple[int, int, int, int]]:
        """(offset, length, first newline, lines) of each document: ten times faster than rows."""
        names = ("offset", "length", "first", "lines")
        return list(zip(*(self.rows[name].tolist() for name in names), strict=True))

    @cached_property
    def skipped(self) -> dict[str, dict[str, int]]:
        """What is described but not loaded: path to {reason: size in bytes}."""
        rows = self.table.rows
        return {
            os.fsdecode(self.table.paths[row]): {
                REASONS[rows["reason"][row]]: max(0, int(rows["size"][row]))
            }
            for row in np.flatnonzero((rows["reason"] != 0) & (rows["reason"] != _GONE)).tolist()
        }

    @cached_property
    def dead(self) -> int:
        """Bytes of the text file that belong to no document."""
        lengths = self.rows["length"]
        return self.table.text_bytes - int(lengths.sum()) - len(lengths)

    @cached_property
    def whole_scope(self) -> Scope:
        """All documents that have any line, for searches."""
        return scope(self, None)

    def document(self, place: int) -> Document:
        """Return the document at a place in reading order."""
        row = self.rows[place]
        offset, length = int(row["offset"]), int(row["length"])
        blob = row["blob"].decode() or self._blobs.get(place)
        if not blob:
            data = self.buffer[offset : offset + length]
            digest = hashlib.sha1(b"blob %d\0" % length, usedforsecurity=False)
            digest.update(data)
            blob = self._blobs[place] = digest.hexdigest()
        return Document(
            path=self.paths[place],
            offset=offset,
            length=length,
            lines=int(row["lines"]),
            blob=blob,
            mtime_ns=int(row["mtime_ns"]),
            mark=MARKS[row["mark"]],
        )

    def line_span(self, place: int, start: int, end: int) -> tuple[int, int]:
        """Return the bytes (from, to) of lines `start` to `end` of a document, both included."""
        offset, length, first, lines = self._places[place]
        start, end = max(1, start), min(end, lines)
        if end < start:
            return offset, offset
        begin = offset if start == 1 else int(self.ends[first + start - 2]) + 1
        return begin, min(int(self.ends[first + end - 1]) + 1, offset + length)

    def find_newline(self, position: int) -> int:
        """Return the place of the next newline; there is one behind every byte of a document."""
        return self._map.find(b"\n", position)

    def line_of(self, place: int, position: int) -> int:
        """Return the number of the line that holds a byte of a document."""
        _, _, first, lines = self._places[place]
        ends = self.ends[first : first + lines]
        return int(ends.searchsorted(np.uint32(position))) + 1


@dataclass(frozen=True, slots=True)
class Scope:
    """The documents that are searched, in the order of the text file."""

    places: Numbers
    offsets: Numbers
    lengths: Numbers
    firsts: Numbers
    lines: Numbers


def scope(snapshot: Snapshot, paths: Sequence[str] | None) -> Scope:
    """Return the documents of a scope that have any line."""
    rows = snapshot.rows
    if paths is None:
        places = np.arange(len(rows))
    else:
        index = snapshot.index
        places = np.array(sorted({index[path] for path in paths if path in index}), np.int64)
    rows = rows[places]
    order = np.argsort(rows["offset"], kind="stable")
    order = order[rows["lines"][order] > 0]
    rows = rows[order]
    return Scope(places[order], rows["offset"], rows["length"], rows["first"], rows["lines"])
