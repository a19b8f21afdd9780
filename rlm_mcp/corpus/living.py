"""Origins that change: a working tree, a folder, a list of files.

Each lists its paths, compares the stamp of each file with the one in the table, and reads what
differs. A file that was changed within a clock tick of its reading is read again next time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rlm_mcp.corpus import files, git, ignore, marks
from rlm_mcp.corpus.files import NOWHEN, Folder, Refused, Stamp
from rlm_mcp.corpus.load import Admit
from rlm_mcp.corpus.table import REASONS, ROW, Rows, Table
from rlm_mcp.corpus.text import MAX_TEXT, Writer
from rlm_mcp.errors import Denied, Unavailable

_CODE = {reason: code for code, reason in enumerate(REASONS)}
_STAMP = ("size", "mtime_ns", "ctime_ns", "inode")
_INODE = (1 << 63) - 1
_RETRIES = 3


class Listed(NamedTuple):
    """A path that belongs to the corpus; `reason` is set where it is not to be read."""

    path: bytes
    reason: str = ""


class Living:
    """What all changing origins share: compare, read, describe."""

    def __init__(self, root: Path, admit: Admit | None, limit_bytes: int) -> None:
        self.root, self.admit, self.limit_bytes = root, admit, limit_bytes

    def listing(self) -> list[Listed]:
        """Return what belongs to the corpus, sorted by path, each once."""
        raise NotImplementedError

    def load(self, table: Table | None, writer: Writer) -> Table | None:
        """Bring `table` up to date; return None where no row changed."""
        listed = self.listing()
        paths = [item.path for item in listed]
        rows = np.zeros(len(listed), ROW)
        todo: Iterable[int] = range(len(listed))
        if table is not None:
            same = self._unchanged(table, listed, paths, rows)
            if len(paths) == len(table.paths) and same.all():
                return None
            todo = np.flatnonzero(~same).tolist()
        self._read(listed, rows, todo, writer)
        gone = rows["reason"] == _GONE
        if gone.any():
            keep = np.flatnonzero(~gone)
            paths = [paths[place] for place in keep.tolist()]
            rows = rows[keep]
        return self._changed(table, paths, rows)

    def open(self, path: bytes) -> bytes:
        """Return the content of a file that was too large to load."""
        with Folder(self.root) as root:
            return read_whole(root, path)

    def close(self) -> None:
        """Hold nothing."""

    def _unchanged(
        self, table: Table, listed: Sequence[Listed], paths: list[bytes], rows: Rows
    ) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Copy the rows whose file has the stamp it had; return which they are."""
        if paths == table.paths:
            old = np.arange(len(paths))
        else:
            places = {path: place for place, path in enumerate(table.paths)}
            old = np.fromiter((places.get(path, -1) for path in paths), np.int64, len(paths))
        now = self._stamps(paths)
        same = old >= 0
        before = table.rows[old]
        for column, name in enumerate(_STAMP):
            same &= before[name].astype(np.int64) == now[:, column]
        wanted = np.fromiter((_CODE[item.reason] for item in listed), np.uint8, len(listed))
        same &= (wanted == 0) | (wanted == before["reason"])
        rows[same] = before[same]
        return same

    def _stamps(self, paths: Sequence[bytes]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        root = os.fsencode(self.root) + b"/"
        flat: list[int] = []
        for path in paths:
            try:
                status = os.lstat(root + path)
            except OSError:
                flat += NOWHEN
            else:
                flat += (
                    status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _INODE,
                )  # fmt: skip
        return np.array(flat, np.int64).reshape(-1, 4)

    def _read(
        self, listed: Sequence[Listed], rows: Rows, todo: Iterable[int], writer: Writer
    ) -> None:
        with Folder(self.root) as root:
            for place in todo:
                path, reason = listed[place]
                try:
                    row = self._row(root, path, reason, writer)
                except Refused as refused:
                    row = _refused(refused)
                except (FileNotFoundError, NotADirectoryError):
                    row = (0, 0, 0, 0, *NOWHEN, _GONE, 0, b"")
                except OSError:
                    row = (0, 0, 0, 0, *NOWHEN, _CODE["unreadable"], 0, b"")
                rows[place] = row

    def _row(self, root: Folder, path: bytes, reason: str, writer: Writer) -> tuple[object, ...]:
        if reason:
            raise Refused(reason, files.stamp(root.status(path)))
        if self.admit is not None and self.admit(self.root / os.fsdecode(path)) is not None:
            raise Refused("denied", files.stamp(root.status(path)))
        for attempt in range(_RETRIES):
            with root.opened(path) as (handle, before):
                if before.st_size > self.limit_bytes:
                    raise Refused("too large", files.stamp(before))
                if writer.end + before.st_size > MAX_TEXT:
                    raise Refused("over the total", files.stamp(before))
                room = writer.room(before.st_size)
                size = files.read(handle, room)
                after = os.fstat(handle)
            whole = files.stamp(before) == files.stamp(after) and size == before.st_size
            if whole or attempt == _RETRIES - 1:
                break
        at = files.stamp(before) if whole and files.settled(after) else NOWHEN
        if writer.has_nul(min(size, files.SNIFF)):
            raise Refused("binary", at)
        mark = marks.mark(path, writer.peek(min(size, marks.HEAD)), size)
        span = writer.keep(size)
        return (*span, 0, -1, *_stored(at), 0, mark, b"")

    def _changed(self, table: Table | None, paths: list[bytes], rows: Rows) -> Table | None:
        if table is None:
            return Table("", 0, 0, 0, paths, rows, {})
        return replace(
            table, generation=table.generation + 1, paths=paths, rows=rows, facts=dict(table.facts)
        )


_GONE = 255


class Tree(Living):
    """The working tree of a repository, with the repositories inside it."""

    def __init__(self, repository: git.Repository, admit: Admit | None, limit_bytes: int) -> None:
        assert repository.top is not None
        super().__init__(repository.top, admit, limit_bytes)

    def listing(self) -> list[Listed]:
        """Return tracked files and untracked ones that are not ignored."""
        found: dict[bytes, str] = {}
        _list_tree(self.root, b"", found, depth=0)
        kept = ignore.without_ignored(self.root, found)
        return sorted(Listed(path, reason) for path, reason in kept.items())


class Plain(Living):
    """A folder that is no repository."""

    def listing(self) -> list[Listed]:
        """Return what the folder's .gitignore and .ignore files leave of it."""
        return sorted(Listed(path) for path in ignore.walk(self.root))


class Files(Living):
    """A list of files, under the folder that they share."""

    def __init__(self, names: Sequence[Path], admit: Admit | None, limit_bytes: int) -> None:
        root = Path(os.path.commonpath([path.parent for path in names]))
        super().__init__(root, admit, limit_bytes)
        self._names = sorted({os.fsencode(path.relative_to(root)) for path in names})

    def listing(self) -> list[Listed]:
        """Return the files."""
        return [Listed(name) for name in self._names]


def read_whole(root: Folder, path: bytes) -> bytes:
    """Return the content of a regular file under `root`. Raises Unavailable."""
    name = os.fsdecode(path)
    try:
        with root.opened(path) as (handle, status):
            room = bytearray(status.st_size)
            size = files.read(handle, memoryview(room))
            return bytes(room[:size])
    except Refused as refused:
        raise Unavailable(f"{name} is {refused.reason}; it cannot be opened.") from refused
    except OSError as error:
        raise Unavailable(f"{name} cannot be read now: {error.strerror}.") from error


def _list_tree(top: Path, prefix: bytes, found: dict[bytes, str], depth: int) -> None:
    """Add what one repository lists, and what the repositories inside it list."""
    out = git.run(
        top,
        ["ls-files", "-v", "--stage", "--cached", "--others", "--exclude-standard", "-z"],
        timeout_s=300,
    )
    for record in out.split(b"\0"):
        if not record:
            continue
        if record.startswith(b"? "):
            path, mode = record[2:], b""
        else:
            facts, _, path = record.partition(b"\t")
            mode = facts[2:8]
        if mode == b"160000" or path.endswith(b"/"):
            _list_inner(top, prefix, path.rstrip(b"/"), found, depth)
        else:
            found[prefix + path] = "link" if mode == b"120000" else ""


def _list_inner(top: Path, prefix: bytes, path: bytes, found: dict[bytes, str], depth: int) -> None:
    inner = top / os.fsdecode(path)
    try:
        status = inner.lstat()
        there = stat.S_ISDIR(status.st_mode) and (inner / ".git").exists() and depth < 8
        repository = git.find(inner) if there else None
        if repository is None or repository.top is None or repository.top != inner.resolve():
            found[prefix + path] = "not checked out"
            return
        _list_tree(inner, prefix + path + b"/", found, depth + 1)
    except (OSError, Unavailable, Denied):
        found[prefix + path] = "unreadable"


def _refused(refused: Refused) -> tuple[object, ...]:
    return (0, 0, 0, 0, *_stored(refused.at), _CODE[refused.reason], 0, b"")


def _stored(at: Stamp) -> Stamp:
    return at._replace(inode=at.inode & _INODE)
