"""A corpus: the documents of one source as one mapped file, kept fresh.

Readers work on a `Snapshot`, which never changes; a refresh puts a new one in its place, so that
no answer mixes two states. What the source is (a working tree, a revision, a folder) is the
business of an `Origin` (open_corpus.py).
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rlm_mcp.corpus.store.cache_folder import CorpusStore, evict_corpora
from rlm_mcp.corpus.store.file_table import FileTable, SourceLocked, SourceMoving, TableChange
from rlm_mcp.corpus.store.snapshot import CorpusDocument, LineEnds, Snapshot
from rlm_mcp.errors import BadRequest, Unavailable, did_you_mean

if TYPE_CHECKING:
    from rlm_mcp.corpus.store.packed_text import TextWriter


__all__ = ["Corpus", "CorpusDocument", "DocumentSource", "Snapshot"]

DEAD_SHARE = 0.25
"""The share of dead bytes in a text file above which it is written anew."""
MIN_DEAD_BYTES = 1 << 20
"""Dead bytes that are not worth that."""
CHANGE_PATIENCE_S = 4.0
"""How long a call waits for a source that is being changed as a whole."""
CACHE_RETRIES = 3
"""How often a cache folder that is deleted while it is written is made again."""
MAX_OPEN_FILES = 3
"""Text files that stay open: that of the present state, and those that workers may still map."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK_REFUSES = (*_DISK_FULL, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)

OpenFiles = tuple[str, FileIO, FileIO]


class DocumentSource(Protocol):
    """Where documents come from."""

    def detect_change(self, table: FileTable | None) -> TableChange | None:
        """Compare the source with a table; None where nothing changed."""
        ...

    def write_change(
        self, change: TableChange, writer: TextWriter, old: memoryview
    ) -> tuple[FileTable, bool]:
        """Write what changed; return the new table and whether any content differs.

        `old` is the text file that the change starts from. Raises Moving where the source was
        changed as a whole meanwhile.
        """
        ...

    def read_unloaded(self, path: bytes) -> bytes:
        """Return the content of something that is described but not loaded."""
        ...

    def force_compare(self) -> None:
        """Compare everything at the next survey: what it said did not become a state."""
        ...

    def close(self) -> None: ...


class Corpus:
    """The documents of one source. Reads are thread-safe and see one state each."""

    def __init__(self, store: CorpusStore, origin: DocumentSource, *, lasting: bool = True) -> None:
        self._store, self._origin = store, origin
        self._change = threading.RLock()
        self._files: list[OpenFiles] = []
        self._closed = False
        self._release = weakref.finalize(self, _release_files, self._files, origin, store, lasting)
        self._table: FileTable | None = None
        self._stamp: tuple[int, ...] | None = None
        self.note = ""
        """What a reader must know about this state; mostly empty."""
        self.snapshot = self._current_snapshot()
        self._store.touch_folder()

    @property
    def generation(self) -> int:
        """Rises with every change of the content."""
        return self.snapshot.table.generation

    @property
    def fd(self) -> int:
        """The mapped file; open as long as the corpus is."""
        return self.snapshot.text.fileno()

    def document_paths(self) -> Sequence[str]:
        """Return the paths of the documents, in reading order."""
        return self.snapshot.paths

    def document_spans(self) -> list[tuple[int, int]]:
        """Return (offset, length) of each document in the mapped file, in reading order."""
        return self.snapshot.spans

    @property
    def skipped(self) -> Mapping[str, Mapping[str, int]]:
        """What is described but not loaded: path to {reason: size in bytes}."""
        return self.snapshot.skipped

    def find_document(self, path: str) -> CorpusDocument | None:
        """Return a document, or None for a path that is not loaded."""
        snapshot = self.snapshot
        place = snapshot.index.get(path)
        return None if place is None else snapshot.document_at(place)

    def document_bytes(self, path: str) -> bytes:
        """Return the bytes of a document, also of one that was too large to load."""
        snapshot = self.snapshot
        place = snapshot.index.get(path)
        if place is None:
            return self._read_skipped(snapshot, path)
        offset, length = int(snapshot.offsets[place]), int(snapshot.lengths[place])
        return bytes(snapshot.buffer[offset : offset + length])

    def line_count(self, path: str) -> int:
        """Return how many lines a document has; a last one without a newline counts."""
        snapshot = self.snapshot
        place = snapshot.index.get(path)
        if place is None:
            data = self._read_skipped(snapshot, path)
            return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
        return int(snapshot.line_counts[place])

    def line_bytes(self, path: str, start: int, end: int) -> list[bytes]:
        """Return lines `start` to `end` (from 1, both included), without their newlines."""
        snapshot = self.snapshot
        place = snapshot.index.get(path)
        if place is None:
            return self._read_skipped(snapshot, path).split(b"\n")[max(0, start - 1) : end]
        begin, stop = snapshot.line_span(place, start, end)
        if begin == stop:
            return []
        return bytes(snapshot.buffer[begin:stop]).removesuffix(b"\n").split(b"\n")

    def paths_below(self, prefix: str) -> Sequence[str]:
        """Return the paths under a folder (given with its trailing slash), in reading order."""
        return [name for name in self.snapshot.paths if name.startswith(prefix)]

    @property
    def cache_folder(self) -> Path:
        """Where this corpus is kept; what is derived from it may be kept beside it."""
        return self._store.folder

    def refresh(self) -> bool:
        """Bring the corpus up to date with its source; say whether the content changed."""
        with self._change:
            if self._closed:
                raise Unavailable("This context is closed.")
            before = self.generation
            self.snapshot = self._current_snapshot()
            return self.generation != before

    def close(self) -> None:
        """Release the files. A snapshot in use stays readable."""
        with self._change:
            self._closed = True
            self._release()

    def _current_snapshot(self) -> Snapshot:
        """Return a snapshot that is right for the source as it is now.

        Where git is changing the whole tree right now, the state before it goes on to be shown,
        and `note` says so.
        """
        deadline = time.monotonic() + CHANGE_PATIENCE_S
        deleted = 0
        while True:
            self.note = ""
            try:
                return self._try_refresh()
            except BaseException as error:
                self._origin.force_compare()
                if isinstance(error, FileNotFoundError) and deleted < CACHE_RETRIES:
                    deleted += 1  # The cache was deleted underneath; it is made again.
                    continue
                if not isinstance(error, SourceMoving):
                    raise
                if isinstance(error, SourceLocked) or time.monotonic() > deadline:
                    if self._table is None:
                        raise Unavailable(
                            "git is changing this working tree; try again when it is done."
                        ) from None
                    self.note = "git is changing the working tree; this is the state before it."
                    return self._map_snapshot(self._table)

    def _try_refresh(self) -> Snapshot:
        self._adopt_table()
        change = self._origin.detect_change(self._table)
        if change is None and self._table is not None:
            return self._map_snapshot(self._table)
        try:
            with self._store.write_lock():
                if self._adopt_table() or change is None:
                    change = self._origin.detect_change(self._table)
                    if change is None:
                        assert self._table is not None
                        return self._map_snapshot(self._table)
                return self._write_files(change)
        except OSError as error:
            folder = self._store.folder.parent
            if error.errno in _DISK_FULL:
                raise Unavailable(
                    f"No room on the disk of the cache folder ({folder}); "
                    "make some, or set RLM_MCP_CACHE_DIR to another disk."
                ) from error
            if error.errno not in _DISK_REFUSES:
                raise
            raise Unavailable(
                f"The cache folder ({folder}) cannot be written ({error.strerror}); "
                "mend it, or set RLM_MCP_CACHE_DIR to another one."
            ) from error

    def _adopt_table(self) -> bool:
        """Take over the table on disk where it is another one; say whether it is."""
        stamp = self._store.table_stamp()
        if stamp == self._stamp and (stamp is not None or self._table is None):
            return False
        for _ in range(3):
            table = self._store.read_table()
            try:
                if table is not None:
                    self._open_files(table)
            except FileNotFoundError:
                continue  # Another server compacted in between.
            break
        self._stamp, self._table = stamp, table
        self._origin.force_compare()
        return True

    def _write_files(self, change: TableChange) -> Snapshot:
        """Write a change behind what there is, or anew where there is nothing. Holds the lock."""
        base = change.base
        if base is None:
            text_id, writer = self._store.create_text()
        else:
            text_id, writer = base.text_id, self._store.extend_text(base)
        old = memoryview(b"") if base is None else self._map_snapshot(base).buffer
        try:
            try:
                table, differs = self._origin.write_change(change, writer, old)
            finally:
                writer.close()
        except BaseException:
            if base is None:
                self._store.discard_text(text_id)
            raise
        if base is None:
            table = replace(table, generation=int(time.time() * 1000))
            evict_corpora(self._store.folder.parent, self._store.folder)
        if base is not None and not differs and _same_rows(table, base):
            return self._map_snapshot(base)
        table = replace(
            table, text_id=text_id, text_bytes=writer.text_bytes, ends_count=writer.ends_count
        )
        small = base is not None and table.paths is base.paths
        self._commit_table(table, [place for place, _ in change.todo] if small else None)
        snapshot = self._map_snapshot(self._table or table)
        if (
            differs
            and snapshot.dead_bytes > DEAD_SHARE * table.text_bytes
            and snapshot.dead_bytes > MIN_DEAD_BYTES
        ):
            try:
                return self._compact_files(snapshot)
            except OSError as error:
                # Where there is no room for that, the state is right all the same.
                if error.errno not in _DISK_FULL:
                    raise
        return snapshot

    def _compact_files(self, old: Snapshot) -> Snapshot:
        """Write the live documents to new files. Holds the lock."""
        text_id, writer = self._store.create_text()
        try:
            try:
                table = _copy_live(old, writer)
            finally:
                writer.close()
        except BaseException:
            self._store.discard_text(text_id)
            raise
        table = replace(
            table,
            text_id=text_id,
            text_bytes=writer.text_bytes,
            ends_count=writer.ends_count,
            generation=table.generation + 1,
        )
        return self._map_snapshot(self._commit_table(table))

    def _commit_table(self, table: FileTable, places: Sequence[int] | None = None) -> FileTable:
        """Put a table in force; `places` are the rows that changed, where it is no more."""
        table = self._store.commit_table(_index_lines(table, self._store), places)
        self._stamp, self._table = self._store.table_stamp(), table
        return table

    def _map_snapshot(self, table: FileTable) -> Snapshot:
        """Return the snapshot of a table: the present one where the content is the same."""
        current: Snapshot | None = getattr(self, "snapshot", None)
        same = current is not None and (
            (current.table.generation, current.table.text_id) == (table.generation, table.text_id)
        )
        return self.snapshot if same else Snapshot(table, *self._open_files(table), current)

    def _open_files(self, table: FileTable) -> tuple[FileIO, FileIO]:
        """Return the files of a table, opened once; those of earlier tables stay open."""
        for text_id, text, ends in reversed(self._files):
            if text_id == table.text_id:
                return text, ends
        text = open(self._store.text_path(table.text_id), "rb", buffering=0)  # noqa: SIM115
        ends = open(self._store.ends_path(table.text_id), "rb", buffering=0)  # noqa: SIM115
        self._files.append((table.text_id, text, ends))
        for _, *old in self._files[:-MAX_OPEN_FILES]:
            for file in old:
                file.close()
        del self._files[:-MAX_OPEN_FILES]
        return text, ends

    def _read_skipped(self, snapshot: Snapshot, path: str) -> bytes:
        if path not in snapshot.skipped:
            raise BadRequest(f"There is no document {path!r}.{did_you_mean(path, snapshot.paths)}")
        return self._origin.read_unloaded(os.fsencode(path))


def _release_files(
    files: list[OpenFiles], origin: DocumentSource, store: CorpusStore, lasting: bool
) -> None:
    """Give back what a corpus holds, when it is closed or forgotten."""
    origin.close()
    for _, text, ends in files:
        text.close()
        ends.close()
    files.clear()
    if not lasting:
        store.remove_folder()


def _index_lines(table: FileTable, store: CorpusStore) -> FileTable:
    """Look up the lines of each newly written document of a table; return it."""
    rows = table.rows
    new = np.flatnonzero(rows["lines"] < 0)
    if len(new):
        marks = _map_line_ends(store.ends_path(table.text_id), table.ends_count)
        start = rows["offset"][new]
        stop = start + rows["length"][new]
        first = marks.searchsorted(start.astype("<u4"))
        last = marks.searchsorted(stop.astype("<u4"))
        # A document that does not end in a newline has one behind it, outside its span.
        whole = np.zeros(len(new), bool)
        whole[last > 0] = marks[last[last > 0] - 1] == stop[last > 0] - 1
        rows["first"][new] = first
        rows["lines"][new] = last - first + ((stop > start) & ~whole)
    return table


def _same_rows(table: FileTable, base: FileTable) -> bool:
    return table.facts == base.facts and bool((table.rows == base.rows).all())


def _map_line_ends(path: Path, count: int) -> LineEnds:
    """Map the line ends of a text file."""
    if not count:
        return np.empty(0, "<u4")
    with open(path, "rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), count * 4, access=mmap.ACCESS_READ), "<u4")


def _copy_live(old: Snapshot, writer: TextWriter) -> FileTable:
    """Append the live documents of a snapshot to new files, in reading order."""
    rows = old.table.rows.copy()
    for row in old.live_rows.tolist():
        offset, length = int(rows["offset"][row]), int(rows["length"][row])
        rows["offset"][row] = writer.append_document(old.buffer[offset : offset + length]).offset
        rows["lines"][row] = -1
    return replace(old.table, rows=rows, text_id="")
