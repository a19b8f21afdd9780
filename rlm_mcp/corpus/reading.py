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

from rlm_mcp.corpus import files, marks
from rlm_mcp.corpus.files import MISSING, NOWHEN, TICK_NS, Folder, Refused, Stamp
from rlm_mcp.corpus.table import REASONS, Rows
from rlm_mcp.corpus.text import MAX_TEXT, Writer

INODE = (1 << 63) - 1
_CODE = {reason: code for code, reason in enumerate(REASONS)}
_COLUMNS = ("offset", "length", "size", "mtime_ns", "ctime_ns", "inode", "mark")
_RETRIES = 3
_READV = hasattr(os, "readv")


class Reader:
    """Reads files under a folder into a writer."""

    def __init__(self, root: Folder, writer: Writer, limit_bytes: int) -> None:
        self._root, self._writer, self._limit = root, writer, limit_bytes

    def read(self, paths: Sequence[bytes], todo: Sequence[tuple[int, str]], rows: Rows) -> None:
        """Fill the rows of files that were never read before."""
        places: list[int] = []
        numbers: list[int] = []
        if not _READV or not files.RELATIVE:
            quick: Callable[[bytes], bool] = _never
        else:
            quick = self._quick(numbers, time.time_ns() - TICK_NS)
        for place, reason in todo:
            path = paths[place]
            if not reason and quick(path):
                places.append(place)
            else:
                rows[place], _ = self.row(path, reason, None, memoryview(b""))
        table = np.array(numbers, np.int64).reshape(-1, len(_COLUMNS))
        for name, column in zip(_COLUMNS, table.T, strict=True):
            rows[name][places] = column
        rows["lines"][places] = -1

    def _quick(self, numbers: list[int], settled_ns: int) -> Callable[[bytes], bool]:
        """Return what reads an ordinary file and notes its numbers, or declines.

        A third of a first load is spent here: names are local, and nothing is made that is not
        kept. What is at all unusual is left to `row`, which begins anew.
        """
        status, opened, fstat, close, readv = os.stat, os.open, os.fstat, os.close, os.readv
        enter, writer, mark, most = self._root.enter, self._writer, marks.mark, self._limit
        regular, flags, head, utf16 = stat.S_ISREG, files.FILE, marks.HEAD, files.UTF16

        def quick(path: bytes) -> bool:
            try:
                name, folder = enter(path)
                before = status(name, dir_fd=folder, follow_symlinks=False)
                size = before.st_size
                if not regular(before.st_mode) or size > most or writer.end + size > MAX_TEXT:
                    return False
                handle = opened(name, flags, dir_fd=folder)
            except OSError:
                return False
            try:
                got = readv(handle, (writer.room(size),)) if size else 0
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
                or writer.has_nul(min(size, files.SNIFF))
            ):
                return False
            first = writer.peek(min(size, head))
            if first[:2] in utf16:
                return False
            kind = mark(path, first, size)
            offset, _ = writer.keep(size)
            numbers.extend((offset, size, size, mtime, ctime, before.st_ino & INODE, kind))
            return True

        return quick

    def row(
        self, path: bytes, reason: str, kept: np.void | None, old: memoryview
    ) -> tuple[tuple[object, ...], bool]:
        """Return the row of a path, and whether it says the same as the row that was kept.

        `old` is the text that the kept row points into.
        """
        writer = self._writer
        try:
            size, stamp = self._content(path, reason)
        except Refused as refused:
            code = _CODE[refused.reason]
            row = (0, 0, 0, 0, *_stored(refused.at), code, 0)
            return row, _is(kept, code)
        except (FileNotFoundError, NotADirectoryError):
            code = _CODE["gone"]
            return (0, 0, 0, 0, *MISSING, code, 0), _is(kept, code)
        except OSError:
            code = _CODE["unreadable"]
            return (0, 0, 0, 0, *NOWHEN, code, 0), _is(kept, code)
        if kept is not None and not kept["reason"] and int(kept["length"]) == size:
            offset = int(kept["offset"])
            if writer.peek(size) == old[offset : offset + size]:
                span = (offset, size, int(kept["first"]), int(kept["lines"]))
                return (*span, *_stored(stamp), 0, int(kept["mark"])), True
        mark = marks.mark(path, writer.peek(min(size, marks.HEAD)), size)
        return (*writer.keep(size), 0, -1, *_stored(stamp), 0, mark), False

    def _content(self, path: bytes, reason: str) -> tuple[int, Stamp]:
        """Read a file into the writer's room; return its text's size and its stamp.

        Raises Refused.
        """
        root, writer = self._root, self._writer
        if reason:
            raise Refused(reason, files.stamp(root.status(path)))
        for _ in range(_RETRIES):
            handle, before = root.open(path)
            try:
                expected = before.st_size
                if expected > self._limit:
                    raise Refused("too large", files.stamp(before))
                if writer.end + expected > MAX_TEXT:
                    raise Refused("over the total", files.stamp(before))
                size = files.read(handle, writer.room(expected))
                after = os.fstat(handle)
            finally:
                os.close(handle)
            at, whole = files.stamp(after), size == expected
            whole = whole and at == files.stamp(before)
            if whole:
                break
        if not stat.S_ISREG(after.st_mode):
            raise Refused("not a file", at)
        if not whole or not files.settled(after):
            at = at._replace(ctime_ns=-1)  # No file has this time: it is read again.
        if files.utf16(writer.peek(min(size, files.TOLD_BY))):
            text = files.as_text(writer.peek(size))
            if text is None:
                raise Refused("binary", at)
            if writer.end + len(text) > MAX_TEXT:
                raise Refused("over the total", at)
            size = len(text)
            writer.room(size)[:] = text
        elif writer.has_nul(min(size, files.SNIFF)):
            raise Refused("binary", at)
        return size, at


def _never(_path: bytes) -> bool:
    return False


def _is(kept: np.void | None, code: int) -> bool:
    return kept is not None and int(kept["reason"]) == code


def _stored(at: Stamp) -> Stamp:
    return at._replace(inode=at.inode & INODE)
