"""Read files into a packed text, each as a row of its table.

What is read counts only if the file's status is the same before and after. A file that was
changed within a clock tick of its reading gets a stamp that no file has: it is read again.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Sequence

import numpy as np

from rlm_mcp.corpus.store import safe_files
from rlm_mcp.corpus.store.file_table import SKIP_REASONS, TEXT_MARKS, TableRows
from rlm_mcp.corpus.store.packed_text import MAX_TEXT_BYTES, TextWriter
from rlm_mcp.corpus.store.safe_files import (
    CLOCK_TICK_NS,
    MISSING_STAMP,
    NEVER_STAMP,
    FileRefused,
    FileStamp,
    RootFolder,
)
from rlm_mcp.encodings import SNIFF_BYTES, UTF16, UTF16_SNIFF_BYTES, searchable_text, utf16_encoding
from rlm_mcp.files import READ_NO_LINK

GENERATED, MINIFIED, LFS = (TEXT_MARKS.index(name) for name in ("generated", "minified", "lfs"))
MARK_HEAD_BYTES = 1024
"""Bytes from the start of a document that are looked at."""
_LOCK_FILES = frozenset(
    {
        b"package-lock.json", b"yarn.lock", b"pnpm-lock.yaml", b"poetry.lock", b"uv.lock",
        b"Cargo.lock", b"composer.lock", b"Gemfile.lock", b"go.sum", b"Pipfile.lock", b"flake.lock",
    }
)  # fmt: skip
_GENERATED_SUFFIXES = (
    b"_pb2.py", b"_pb2_grpc.py", b".pb.go", b".pb.cc", b".pb.h", b".g.dart", b".designer.cs",
    b".generated.cs", b".snap", b".map",
)  # fmt: skip


def detect_mark(path: bytes, head: bytes, size: int) -> int:
    """Return an index into MARKS for a document, from its name, its first bytes and its size."""
    name = path.rpartition(b"/")[2]
    if head.startswith(b"version https://git-lfs.github.com/spec/") and size < MARK_HEAD_BYTES:
        return LFS
    if name in _LOCK_FILES or name.endswith(_GENERATED_SUFFIXES) or b"DO NOT EDIT" in head:
        return GENERATED
    if b"enerated" in head and (b"@generated" in head or b"Do not edit" in head):
        return GENERATED
    if b".min." in name or (
        size > 4 * MARK_HEAD_BYTES and len(head) == MARK_HEAD_BYTES and b"\n" not in head
    ):
        return MINIFIED
    return 0


INODE_MASK = (1 << 63) - 1
_REASON_CODES = {reason: code for code, reason in enumerate(SKIP_REASONS)}
_COLUMNS = ("offset", "length", "size", "mtime_ns", "ctime_ns", "inode", "mark")
_RETRIES = 3
_READV = hasattr(os, "readv")


class FileReader:
    """Reads files under a folder into a writer."""

    def __init__(self, root: RootFolder, writer: TextWriter, limit_bytes: int) -> None:
        self._root, self._writer, self._limit = root, writer, limit_bytes

    def fill_rows(
        self, paths: Sequence[bytes], todo: Sequence[tuple[int, str]], rows: TableRows
    ) -> None:
        """Fill the rows of files that were never read before."""
        places: list[int] = []
        numbers: list[int] = []
        if not _READV or not safe_files.HAS_DIR_FD:
            quick: Callable[[bytes], bool] = _decline_all
        else:
            quick = self._fast_reader(numbers, time.time_ns() - CLOCK_TICK_NS)
        for place, reason in todo:
            path = paths[place]
            if not reason and quick(path):
                places.append(place)
            else:
                rows[place], _ = self.read_row(path, reason, None, memoryview(b""))
        table = np.array(numbers, np.int64).reshape(-1, len(_COLUMNS))
        for name, column in zip(_COLUMNS, table.T, strict=True):
            rows[name][places] = column
        rows["lines"][places] = -1

    def _fast_reader(self, numbers: list[int], settled_ns: int) -> Callable[[bytes], bool]:
        """Return what reads an ordinary file and notes its numbers, or declines.

        A third of a first load is spent here: names are local, and nothing is made that is not
        kept. What is at all unusual is left to `row`, which begins anew.
        """
        status, opened, fstat, close, readv = os.stat, os.open, os.fstat, os.close, os.readv
        enter, writer, mark, most = self._root.open_parent, self._writer, detect_mark, self._limit
        regular, flags, head, utf16 = (
            stat.S_ISREG,
            READ_NO_LINK,
            MARK_HEAD_BYTES,
            UTF16,
        )

        def read_fast(path: bytes) -> bool:
            try:
                name, folder = enter(path)
                before = status(name, dir_fd=folder, follow_symlinks=False)
                size = before.st_size
                if (
                    not regular(before.st_mode)
                    or size > most
                    or writer.next_offset + size > MAX_TEXT_BYTES
                ):
                    return False
                handle = opened(name, flags, dir_fd=folder)
            except OSError:
                return False
            try:
                got = readv(handle, (writer.reserve_bytes(size),)) if size else 0
                after = fstat(handle)
            except OSError:
                return False
            finally:
                close(handle)
            mtime, ctime = before.st_mtime_ns, before.st_ctime_ns
            if (
                got != size
                or (after.st_size, after.st_mtime_ns, after.st_ctime_ns) != (size, mtime, ctime)
                or after.st_ino != before.st_ino
                or after.st_dev != before.st_dev
                or mtime >= settled_ns
                or ctime >= settled_ns
                or not regular(after.st_mode)
                or writer.has_nul(min(size, SNIFF_BYTES))
            ):
                return False
            first = writer.head_bytes(min(size, head))
            if first[:2] in utf16:
                return False
            kind = mark(path, first, size)
            offset, _ = writer.commit_document(size)
            numbers.extend((offset, size, size, mtime, ctime, before.st_ino & INODE_MASK, kind))
            return True

        return read_fast

    def read_row(
        self, path: bytes, reason: str, kept: np.void | None, old: memoryview
    ) -> tuple[tuple[object, ...], bool]:
        """Return the row of a path, and whether it says the same as the row that was kept.

        `old` is the text that the kept row points into.
        """
        writer = self._writer
        try:
            size, stamp = self._read_content(path, reason)
        except FileRefused as refused:
            code = _REASON_CODES[refused.reason]
            row = (0, 0, 0, 0, *_stored_stamp(refused.at), code, 0)
            return row, _same_reason(kept, code)
        except (FileNotFoundError, NotADirectoryError):
            code = _REASON_CODES["gone"]
            return (0, 0, 0, 0, *MISSING_STAMP, code, 0), _same_reason(kept, code)
        except OSError:
            code = _REASON_CODES["unreadable"]
            return (0, 0, 0, 0, *NEVER_STAMP, code, 0), _same_reason(kept, code)
        if kept is not None and not kept["reason"] and int(kept["length"]) == size:
            offset = int(kept["offset"])
            if writer.head_bytes(size) == old[offset : offset + size]:
                span = (offset, size, int(kept["first"]), int(kept["lines"]))
                return (*span, *_stored_stamp(stamp), 0, int(kept["mark"])), True
        mark = detect_mark(path, writer.head_bytes(min(size, MARK_HEAD_BYTES)), size)
        return (*writer.commit_document(size), 0, -1, *_stored_stamp(stamp), 0, mark), False

    def _read_content(self, path: bytes, reason: str) -> tuple[int, FileStamp]:
        """Read a file into the writer's room; return its text's size and its stamp.

        Raises Refused.
        """
        root, writer = self._root, self._writer
        if reason:
            raise FileRefused(reason, safe_files.stamp_of(root.lstat_path(path)))
        for _ in range(_RETRIES):
            handle, before = root.open_file(path)
            try:
                expected = before.st_size
                if expected > self._limit:
                    raise FileRefused("too large", safe_files.stamp_of(before))
                if writer.next_offset + expected > MAX_TEXT_BYTES:
                    raise FileRefused("over the total", safe_files.stamp_of(before))
                size = safe_files.read_fully(handle, writer.reserve_bytes(expected))
                after = os.fstat(handle)
            finally:
                os.close(handle)
            at, whole = safe_files.stamp_of(after), size == expected
            whole = whole and at == safe_files.stamp_of(before)
            if whole:
                break
        if not stat.S_ISREG(after.st_mode):
            raise FileRefused("not a file", at)
        if not whole or not safe_files.is_settled(after):
            at = at._replace(ctime_ns=-1)  # No file has this time: it is read again.
        if utf16_encoding(writer.head_bytes(min(size, UTF16_SNIFF_BYTES))):
            text = searchable_text(writer.head_bytes(size))
            if text is None:
                raise FileRefused("binary", at)
            if writer.next_offset + len(text) > MAX_TEXT_BYTES:
                raise FileRefused("over the total", at)
            size = len(text)
            writer.reserve_bytes(size)[:] = text
        elif writer.has_nul(min(size, SNIFF_BYTES)):
            raise FileRefused("binary", at)
        return size, at


def _decline_all(_path: bytes) -> bool:
    return False


def _same_reason(kept: np.void | None, code: int) -> bool:
    return kept is not None and int(kept["reason"]) == code


def _stored_stamp(at: FileStamp) -> FileStamp:
    return at._replace(inode=at.inode & INODE_MASK)
