"""Origins that never change: a revision of a repository, its index, texts that are at hand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from rlm_mcp.corpus.store import file_reader
from rlm_mcp.corpus.store.file_table import ROW_DTYPE, SKIP_REASONS, FileTable, TableChange
from rlm_mcp.corpus.store.packed_text import MAX_TEXT_BYTES, TextWriter
from rlm_mcp.encodings import searchable_text
from rlm_mcp.errors import Unavailable
from rlm_mcp.git import RepositoryPaths, run_git

if TYPE_CHECKING:
    from rlm_mcp.corpus.store.safe_files import AdmitPath

_REASON_CODES = {reason: code for code, reason in enumerate(SKIP_REASONS)}
_MODE_REASONS = {b"120000": "link", b"160000": "submodule"}
_BATCH = 2000
_BlobEntry = tuple[bytes, bytes, bytes, int]
"""Path, mode, blob id, bytes."""


class RevisionSource:
    """The files of a commit or tree."""

    def __init__(
        self, repository: RepositoryPaths, oid: str, admit: AdmitPath | None, limit_bytes: int
    ) -> None:
        self.repository, self.oid = repository, oid
        self.admit, self.limit_bytes = admit, limit_bytes

    def detect_change(self, table: FileTable | None) -> TableChange | None:
        """Return a change only where nothing is there yet."""
        return None if table is not None else TableChange(None, (), np.zeros(0, ROW_DTYPE), ())

    def write_change(
        self, change: TableChange, writer: TextWriter, old: memoryview
    ) -> tuple[FileTable, bool]:
        """Read every blob through one `git cat-file --batch`."""
        listed = self._list_blobs()
        listed.sort()
        rows = np.zeros(len(listed), ROW_DTYPE)
        wanted = []
        for place, (path, mode, _oid, size) in enumerate(listed):
            reason = self._skip_reason(path, mode, size)
            rows[place] = (0, 0, 0, 0, size, 0, 0, 0, _REASON_CODES[reason], 0)
            if not reason:
                wanted.append(place)
        oids = [listed[place][2] for place in wanted]
        for place, blob in zip(wanted, read_blobs(self.repository, oids), strict=True):
            row, data = rows[place], searchable_text(blob)
            if data is None:
                row["reason"] = _REASON_CODES["binary"]
            elif writer.next_offset + len(data) > MAX_TEXT_BYTES:
                row["reason"] = _REASON_CODES["over the total"]
            else:
                row["offset"], row["length"] = writer.append_document(data)
                row["lines"] = -1
                row["mark"] = file_reader.detect_mark(
                    listed[place][0], data[: file_reader.MARK_HEAD_BYTES], len(data)
                )
        known = np.array([item[2] for item in listed], np.bytes_) if listed else None
        return FileTable("", 0, 0, 0, [item[0] for item in listed], rows, {}, known), True

    def read_unloaded(self, path: bytes) -> bytes:
        """Return a blob that was too large to load."""
        name = self._blob_name(path)
        return run_git(
            ["cat-file", "blob", name], self.repository.command_folder, limit_bytes=MAX_TEXT_BYTES
        )

    def force_compare(self) -> None:
        """Do nothing: what is fixed need not be compared."""

    def close(self) -> None:
        """Hold nothing."""

    def _list_blobs(self) -> list[_BlobEntry]:
        listed_by = ["ls-tree", "-r", "-z", "-l", "--full-tree", self.oid]
        out = run_git(listed_by, self.repository.command_folder, timeout_s=120)
        listed = []
        for record in filter(None, out.split(b"\0")):
            facts, _, path = record.partition(b"\t")
            mode, _kind, oid, size = facts.split()
            listed.append((path, mode, oid, _object_size(size)))
        return listed

    def _blob_name(self, path: bytes) -> str:
        """Return what git calls the blob of a path."""
        return f"{self.oid}:{os.fsdecode(path)}"

    def _skip_reason(self, path: bytes, mode: bytes, size: int) -> str:
        if mode in _MODE_REASONS:
            return _MODE_REASONS[mode]
        if self.admit is not None:
            top = self.repository.top or self.repository.git_dir
            if self.admit(Path(top, os.fsdecode(path))) is not None:
                return "denied"
        return "too large" if size > self.limit_bytes else ""


class StagedSource(RevisionSource):
    """What is staged: the files of a repository's index, as it was when this was made.

    Of an unmerged path "ours" is taken. `place` is the folder or file to show, from the top.
    """

    def __init__(
        self, repository: RepositoryPaths, place: str, admit: AdmitPath | None, limit_bytes: int
    ) -> None:
        listed_by = ["ls-files", "--stage", "-z", "--full-name", "--", f":(top,literal){place}"]
        self._raw = run_git(listed_by, repository.command_folder, timeout_s=120)
        self._prefix = os.fsencode(f"{place.rstrip('/')}/")
        super().__init__(repository, hashlib.sha1(self._raw).hexdigest(), admit, limit_bytes)

    def _list_blobs(self) -> list[_BlobEntry]:
        entries = {path: (mode, oid) for path, mode, oid in self._staged_entries()}
        oids = b"".join(oid + b"\n" for _, oid in entries.values())
        check = ["cat-file", "--batch-check=%(objectsize)"]
        sizes = run_git(check, self.repository.command_folder, oids, timeout_s=120).splitlines()
        return [
            (path, mode, oid, _object_size(size))
            for (path, (mode, oid)), size in zip(entries.items(), sizes, strict=True)
        ]

    def _staged_entries(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Give path, mode and blob of each entry; a later one of the same path counts."""
        # Stages 1, 3, 2 of an unmerged path: its base, "theirs", "ours".
        found = []
        for record in filter(None, self._raw.split(b"\0")):
            facts, _, path = record.partition(b"\t")
            mode, oid, stage = facts.split()
            found.append((b"0132".index(stage), path.removeprefix(self._prefix), mode, oid))
        yield from (item[1:] for item in sorted(found))

    def _blob_name(self, path: bytes) -> str:
        return next(oid.decode() for known, _, oid in self._staged_entries() if known == path)


def _object_size(text: bytes) -> int:
    """Return bytes; 0 of a submodule and of an object that is missing, which says so when read."""
    return int(text) if text.isdigit() else 0


class MemorySource:
    """Texts that are at hand; read once."""

    def __init__(self, items: Iterable[tuple[str, bytes]]) -> None:
        self.items = items

    def detect_change(self, table: FileTable | None) -> TableChange | None:
        """Return a change only where nothing is there yet."""
        return None if table is not None else TableChange(None, (), np.zeros(0, ROW_DTYPE), ())

    def write_change(
        self, change: TableChange, writer: TextWriter, old: memoryview
    ) -> tuple[FileTable, bool]:
        """Write the texts in the order of their paths."""
        items = sorted((os.fsencode(path), data) for path, data in self.items)
        self.items = ()
        rows = np.zeros(len(items), ROW_DTYPE)
        for place, (_path, data) in enumerate(items):
            span = writer.append_document(data)
            rows[place] = (*span, 0, -1, len(data), 0, 0, 0, 0, 0)
        return FileTable("", 0, 0, 0, [path for path, _ in items], rows, {}), True

    def read_unloaded(self, path: bytes) -> bytes:
        """Raise Unavailable: everything was loaded."""
        raise Unavailable(f"{os.fsdecode(path)} is not there.")

    def force_compare(self) -> None:
        """Do nothing: what is fixed need not be compared."""

    def close(self) -> None:
        """Hold nothing."""


def read_blobs(repository: RepositoryPaths, oids: list[bytes]) -> Iterable[bytes]:
    """Yield the content of blobs, in order, from one git process."""
    with repository.cat_file_batch() as (sink, source):
        for start in range(0, len(oids), _BATCH):
            part = oids[start : start + _BATCH]
            sent = 0
            for place, oid in enumerate(part):
                # A few requests ahead keep git busy without filling either pipe.
                while sent < min(place + 64, len(part)):
                    sink.write(part[sent] + b"\n")
                    sent += 1
                sink.flush()
                yield _read_blob(source, oid)


def _read_blob(source: IO[bytes], oid: bytes) -> bytes:
    head = source.readline().split()
    if len(head) != 3 or head[0] != oid:
        raise Unavailable(f"git has no object {oid.decode()}; the repository may be incomplete.")
    size = int(head[2])
    data = source.read(size + 1)
    if len(data) != size + 1:
        raise Unavailable("git stopped in the middle of an object; the repository may be broken.")
    return data[:size]
