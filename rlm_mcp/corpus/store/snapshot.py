"""One state of a corpus: the mapped text, its lines, its documents. It never changes."""

from __future__ import annotations

import hashlib
import mmap
import os
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import FileIO

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.store.file_table import SKIP_REASONS, TEXT_MARKS, FileTable, TableRows

LineEnds = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]
SAMPLE_PAIRS, SAMPLE_PLACES = 2048, 64
"""Pairs of bytes, of which so many are counted at so many places."""
MAX_GAP_BYTES = 8 << 10
"""Bytes between documents that are scanned over rather than stopped at."""
_GONE = SKIP_REASONS.index("gone")


@dataclass(frozen=True, slots=True)
class CorpusDocument:
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

    def __init__(
        self, table: FileTable, text: FileIO, ends: FileIO, before: Snapshot | None = None
    ) -> None:
        self.table = table
        self.text, self._ends_file = text, ends
        size, count = table.text_bytes, table.ends_count
        self._map = mmap.mmap(text.fileno(), size, access=mmap.ACCESS_READ) if size else b""
        self.buffer = memoryview(self._map)
        """Every byte of the text file, dead ones included."""
        self.ends: LineEnds = (
            np.frombuffer(
                mmap.mmap(ends.fileno(), count * 4, access=mmap.ACCESS_READ), "<u4", count
            )
            if count
            else np.empty(0, "<u4")
        )
        """Positions of all newlines of the text file."""
        self.live_rows: npt.NDArray[np.int64] = np.flatnonzero(table.rows["reason"] == 0)
        """Rows that are documents, in reading order."""
        self._blobs: dict[int, str] = {}
        if before is not None and before.table.paths is table.paths:
            self._inherit_from(before)

    def _inherit_from(self, before: Snapshot) -> None:
        """Take over what is the same for the same documents: half a second for a million."""
        if not np.array_equal(self.live_rows, before.live_rows):
            return
        self.live_rows, known = before.live_rows, before.__dict__
        same = ("paths", "index", "pair_counts")
        self.__dict__.update({name: known[name] for name in same if name in known})
        if before._blobs:
            moved = np.flatnonzero(self.offsets != before.offsets).tolist()
            gone = dict.fromkeys(moved)
            self._blobs = {at: blob for at, blob in [*before._blobs.items()] if at not in gone}
        if "marked" in known:
            fresh = np.flatnonzero(self.offsets != before.offsets)
            rest = np.setdiff1d(before.marked, fresh, assume_unique=True)
            self.__dict__["marked"] = np.union1d(rest, self._with_bom(fresh))

    @cached_property
    def rows(self) -> TableRows:
        """The documents' rows, in reading order; a copy."""
        return self.table.rows[self.live_rows]

    @cached_property
    def offsets(self) -> Numbers:
        """Where each document begins in the text file, in reading order."""
        return self.table.rows["offset"][self.live_rows]

    @cached_property
    def lengths(self) -> Numbers:
        """Bytes of each document."""
        return self.table.rows["length"][self.live_rows]

    @cached_property
    def first_newlines(self) -> Numbers:
        """The ordinal of each document's first newline."""
        return self.table.rows["first"][self.live_rows]

    @cached_property
    def line_counts(self) -> Numbers:
        """Lines of each document."""
        return self.table.rows["lines"][self.live_rows]

    @cached_property
    def paths(self) -> list[str]:
        """Paths of the documents, in reading order."""
        names = self.table.paths
        return [os.fsdecode(names[row]) for row in self.live_rows.tolist()]

    @cached_property
    def index(self) -> dict[str, int]:
        """The place of each path in reading order."""
        return {path: place for place, path in enumerate(self.paths)}

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """(offset, length) of each document, in reading order."""
        return list(zip(self.offsets.tolist(), self.lengths.tolist(), strict=True))

    @cached_property
    def _columns(self) -> tuple[memoryview, memoryview, memoryview, memoryview]:
        """Offset, length, first newline, lines: a number of a view takes 40 ns, of a row 500."""
        return self.offsets.data, self.lengths.data, self.first_newlines.data, self.line_counts.data

    @cached_property
    def skipped(self) -> dict[str, dict[str, int]]:
        """What is described but not loaded: path to {reason: size in bytes}."""
        rows = self.table.rows
        return {
            os.fsdecode(self.table.paths[row]): {
                SKIP_REASONS[rows["reason"][row]]: max(0, int(rows["size"][row]))
            }
            for row in np.flatnonzero((rows["reason"] != 0) & (rows["reason"] != _GONE)).tolist()
        }

    @cached_property
    def dead_bytes(self) -> int:
        """Bytes of the text file that belong to no document."""
        return self.table.text_bytes - int(self.lengths.sum()) - len(self.lengths)

    @cached_property
    def pair_counts(self) -> Numbers:
        """How often each pair of bytes (the first one the lower) is in a sample of the text."""
        pairs = np.frombuffer(self.buffer[: len(self.buffer) & ~1], "<u2")
        parts = max(1, len(pairs) // SAMPLE_PAIRS)
        if parts > SAMPLE_PLACES:
            pairs = (
                pairs[: parts * SAMPLE_PAIRS]
                .reshape(parts, SAMPLE_PAIRS)[:: -(-parts // SAMPLE_PLACES)]
                .ravel()
            )
        return np.bincount(pairs, minlength=1 << 16)

    @cached_property
    def whole_scope(self) -> SearchScope:
        """All documents that have any line, for searches."""
        return self.search_scope(None)

    def search_scope(self, paths: Sequence[str] | None) -> SearchScope:
        """Return the documents of a scope that have any line."""
        if paths is None:
            places = np.arange(len(self.live_rows))
        else:
            index = self.index
            places = np.array(sorted({index[path] for path in paths if path in index}), np.int64)
        places = places[np.argsort(self.offsets[places], kind="stable")]
        places = places[self.line_counts[places] > 0]
        columns = (self.offsets, self.lengths, self.first_newlines, self.line_counts)
        offsets, lengths, firsts, lines = (column[places] for column in columns)
        return SearchScope(places, offsets, lengths, firsts, lines, np.isin(places, self.marked))

    @cached_property
    def marked(self) -> Numbers:
        """The places of documents that begin with UTF-8's byte order mark."""
        return self._with_bom(np.arange(len(self.live_rows)))

    def _with_bom(self, places: Numbers) -> Numbers:
        text = np.frombuffer(self.buffer, np.uint8)
        places = places[self.lengths[places] >= len(BOM_UTF8)]
        for at, byte in enumerate(BOM_UTF8):
            places = places[text[self.offsets[places] + at] == byte]
        return places

    def document_at(self, place: int) -> CorpusDocument:
        """Return the document at a place in reading order."""
        row, known = self.table.rows[self.live_rows[place]], self.table.blobs
        offset, length = int(row["offset"]), int(row["length"])
        blob = "" if known is None else known[self.live_rows[place]].decode()
        blob = blob or self._blobs.get(place, "")
        if not blob:
            data = self.buffer[offset : offset + length]
            digest = hashlib.sha1(b"blob %d\0" % length, usedforsecurity=False)
            digest.update(data)
            blob = self._blobs[place] = digest.hexdigest()
        return CorpusDocument(
            path=self.paths[place],
            offset=offset,
            length=length,
            lines=int(row["lines"]),
            blob=blob,
            mtime_ns=int(row["mtime_ns"]),
            mark=TEXT_MARKS[row["mark"]],
        )

    def line_span(self, place: int, start: int, end: int) -> tuple[int, int]:
        """Return the bytes (from, to) of lines `start` to `end` of a document, both included."""
        offset, length, first, lines = (column[place] for column in self._columns)
        start, end = max(1, start), min(end, lines)
        if end < start:
            return offset, offset
        begin = offset if start == 1 else int(self.ends[first + start - 2]) + 1
        return begin, min(int(self.ends[first + end - 1]) + 1, offset + length)

    def find_newline(self, position: int) -> int:
        """Return the place of the next newline; there is one behind every byte of a document."""
        return self._map.find(b"\n", position)

    def newlines_in(self, start: int, end: int) -> tuple[int, LineEnds]:
        """Return the ordinal of the first newline of a span, and where all of its newlines are."""
        low, high = self.ends.searchsorted(np.array([start, end], np.uint32)).tolist()
        return low, self.ends[low:high]

    def line_number(self, place: int, position: int) -> int:
        """Return the number of the line that holds a byte of a document."""
        first, lines = int(self.first_newlines[place]), int(self.line_counts[place])
        ends = self.ends[first : first + lines]
        return int(ends.searchsorted(np.uint32(position))) + 1


@dataclass(frozen=True)
class SearchScope:
    """The documents that are searched, in the order of the text file."""

    places: Numbers
    offsets: Numbers
    lengths: Numbers
    first_newlines: Numbers
    line_counts: Numbers
    marked: npt.NDArray[np.bool_]
    """Which begin with a byte order mark."""

    @cached_property
    def bom_lines(self) -> Numbers:
        """The ordinals of the lines that begin with one."""
        return self.first_newlines[self.marked]

    @cached_property
    def reading_order(self) -> Numbers:
        """Indexes that put the documents into reading order."""
        return np.argsort(self.places, kind="stable")

    @cached_property
    def text_spans(self) -> list[tuple[int, int]]:
        """The spans of the documents, those that follow each other closely as one."""
        return _merge_spans(self.offsets, self.lengths)

    @cached_property
    def reading_spans(self) -> list[tuple[int, int]]:
        """The same in reading order."""
        return _merge_spans(self.offsets[self.reading_order], self.lengths[self.reading_order])


def _merge_spans(offsets: Numbers, lengths: Numbers) -> list[tuple[int, int]]:
    stops = offsets + lengths + 1
    gaps = offsets[1:] - stops[:-1]
    cuts = np.flatnonzero((gaps > MAX_GAP_BYTES) | (gaps < -1)) + 1
    starts = offsets[np.concatenate(([0], cuts))]
    ends = stops[np.concatenate((cuts - 1, [len(stops) - 1]))]
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
