"""Read files of a folder that may be hostile, without following or opening what is not a file.

Each component of a path is opened relative to its folder and without following links, so that a
path cannot leave the root, whatever changes meanwhile. Devices, pipes and sockets are looked at,
never opened. On Windows, where Python has no relative opens, paths are checked one by one.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rlm_mcp.errors import Unavailable
from rlm_mcp.files import READ_FOLDER_NO_LINK, READ_NO_LINK

AdmitPath = Callable[[Path], str | None]
"""Asked about each path; returns a reason to leave it out, or None."""

HAS_DIR_FD = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd
CLOCK_TICK_NS = 25_000_000
"""A file changed this close to its reading may change again without a new time stamp."""
MAX_OPEN_FOLDERS = 32
"""Folders that are held open, at the top of a path and at its end: handles are few."""


class FileStamp(NamedTuple):
    """What tells one state of a file from another."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


NEVER_STAMP = FileStamp(-1, -1, -1, 0)
"""A stamp that equals no file's: what carries it is read again."""


def stamp_of(status: os.stat_result) -> FileStamp:
    """Return the stamp of a file's status."""
    return FileStamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


MISSING_STAMP = FileStamp(-2, -2, -2, 0)
"""The stamp of what is not there."""


class FileRefused(Exception):
    """A path that is not read; `reason` is one of table.REASONS."""

    def __init__(self, reason: str, at: FileStamp = NEVER_STAMP) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


class RootFolder:
    """A root folder, held open, and the chain of folders of the last path that was opened."""

    def __init__(self, root: Path) -> None:
        self.root = os.fsencode(root)
        self._chain: list[tuple[bytes, int]] = []
        self._above = b"\0"  # no folder's name
        self._name, self._folder = b"", -1
        try:
            self._top = _open_root(self.root) if HAS_DIR_FD else -1
        except OSError as error:
            raise Unavailable(f"{root} is gone or cannot be opened: {error.strerror}.") from error

    def __enter__(self) -> RootFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every folder."""
        self._truncate_chain(0)
        if self._top >= 0:
            os.close(self._top)
            self._above = b"\0"  # no folder's name
        self._name, self._folder = b"", -1
        self._top = -1

    def lstat_path(self, path: bytes) -> os.stat_result:
        """Return lstat of a path under the root, following no link on the way."""
        if not HAS_DIR_FD:
            return self._slow_status(path)
        name, folder = self.open_parent(path)
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def open_file(self, path: bytes) -> tuple[int, os.stat_result]:
        """Open a regular file for reading; return its handle and its status before that.

        Raises Refused or OSError. What is read counts only if fstat then says the same.
        """
        before = self.lstat_path(path)
        if not stat.S_ISREG(before.st_mode):
            kind = "link" if stat.S_ISLNK(before.st_mode) else "not a file"
            raise FileRefused(kind, stamp_of(before))
        try:
            if HAS_DIR_FD:
                return os.open(self._name, READ_NO_LINK, dir_fd=self._folder), before
            return os.open(os.path.join(self.root, path), READ_NO_LINK), before
        except PermissionError as error:
            raise FileRefused("unreadable", stamp_of(before)) from error

    def open_parent(self, path: bytes) -> tuple[bytes, int]:
        """Return the last component of `path` and the open folder that holds it."""
        above, _, self._name = path.rpartition(b"/")
        if above == self._above:
            return self._name, self._folder
        parts = above.split(b"/") if above else []
        depth = 0
        for part, (known, _) in zip(parts, self._chain, strict=False):
            if part != known:
                break
            depth += 1
        while depth and self._chain[depth - 1][1] < 0:
            depth -= 1
        self._truncate_chain(depth)
        for part in parts[depth:]:
            inside = self._chain[-1][1] if self._chain else self._top
            self._chain.append((part, os.open(part, READ_FOLDER_NO_LINK, dir_fd=inside)))
            middle = len(self._chain) - MAX_OPEN_FOLDERS
            if middle >= MAX_OPEN_FOLDERS:
                name, handle = self._chain[middle]
                self._chain[middle] = (name, -1)
                os.close(handle)
        self._above = above
        self._folder = self._chain[-1][1] if self._chain else self._top
        return self._name, self._folder

    def _truncate_chain(self, depth: int) -> None:
        self._above = b"\0"
        while len(self._chain) > depth:
            _, handle = self._chain.pop()
            if handle >= 0:
                os.close(handle)

    def _slow_status(self, path: bytes) -> os.stat_result:
        whole = self.root
        for part in path.split(b"/")[:-1]:
            whole = os.path.join(whole, part)
            if not stat.S_ISDIR(os.lstat(whole).st_mode):
                raise NotADirectoryError(whole)
        return os.lstat(os.path.join(self.root, path))


def _open_root(root: bytes) -> int:
    """Open a folder by its whole path, following no link: callers resolve what a person wrote, so
    a link has been put there since. Elsewhere than on Linux such a swap is not seen.
    """
    if not hasattr(os, "O_PATH") or not os.path.isabs(root):
        return os.open(root, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    *above, last = [part for part in root.split(b"/") if part] or [b"."]
    at = os.open(b"/", os.O_PATH | os.O_DIRECTORY)
    try:
        for part in above:  # may be folders that can be passed through, but not listed
            deeper = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = deeper
        return os.open(last, READ_FOLDER_NO_LINK, dir_fd=at)
    finally:
        os.close(at)


def read_fully(handle: int, room: memoryview) -> int:
    """Fill `room` from an open file and return how many bytes there were."""
    if not room:
        return 0
    done = os.readv(handle, [room]) if hasattr(os, "readv") else 0
    if done == len(room):
        return done
    while done < len(room):
        got = (
            os.readv(handle, [room[done:]])
            if hasattr(os, "readv")
            else _read_into(handle, room[done:])
        )
        if got == 0:
            break
        done += got
    return done


def is_settled(status: os.stat_result) -> bool:
    """Whether the file's time stamps are old enough to show any later change."""
    now = time.time_ns()
    return max(status.st_mtime_ns, status.st_ctime_ns) < now - CLOCK_TICK_NS


def _read_into(handle: int, room: memoryview) -> int:
    data = os.read(handle, len(room))
    room[: len(data)] = data
    return len(data)
