"""What all changing origins share: list, compare, read, describe.

The stamp of each file is compared with the one in the table, and what differs is read. A file
that was changed within a clock tick of its reading is read again next time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus import files
from rlm_mcp.corpus.files import MISSING, Admit, Folder, Refused
from rlm_mcp.corpus.hints import Hints
from rlm_mcp.corpus.reading import INODE, Reader
from rlm_mcp.corpus.table import REASONS, ROW, Change, Locked, Moving, Rows, Table
from rlm_mcp.corpus.text import Writer
from rlm_mcp.errors import Unavailable

_CODE = {reason: code for code, reason in enumerate(REASONS)}
_STAMP = ("size", "mtime_ns", "ctime_ns", "inode")
WHOLE_BYTES = 256 << 20
"""What a file that was not loaded may have to be read into memory when asked for."""

Flags = npt.NDArray[np.bool_]


class Listed(NamedTuple):
    """A path that belongs to the corpus; `reason` is set where it is not to be read."""

    path: bytes
    reason: str = ""


class Living:
    """An origin whose files are under a root folder and may change at any time."""

    def __init__(self, root: Path, admit: Admit | None, limit_bytes: int, trust: bool) -> None:
        self.root, self.admit, self.limit_bytes = root, admit, limit_bytes
        self._verdicts: dict[bytes, str] = {}
        self._judged = trust
        self._hints = Hints(root)
        self._index: tuple[Sequence[bytes], dict[bytes, int]] = ((), {})

    def raw(self) -> bytes:
        """Return something that is the same as long as the listing is; `listing` reads it."""
        raise NotImplementedError

    def listing(self, raw: bytes) -> list[Listed]:
        """Return what belongs to the corpus, sorted by path, each once."""
        raise NotImplementedError

    def inner(self) -> bool:
        """Whether the last listing holds repositories that `raw` does not look into."""
        return False

    def state(self) -> object:
        """Return what tells whether the whole source is being changed."""
        return None

    def watched(self) -> Sequence[bytes]:
        """Return folders outside the listing whose changes matter."""
        return ()

    def folders(self) -> Iterable[bytes]:
        """Return folders under the root, besides those of the listing, where files may appear."""
        return ()

    def survey(self, table: Table | None) -> Change | None:
        """Compare the source with a table; None where nothing changed. Reads no content."""
        try:
            state = self.state()
        except Locked:
            # Where there is nothing older to show, what is there is read as it is.
            if table is not None:
                raise
            state = None
        # Only now: what git did before its lock was gone is all in what is told.
        touched = self._hints.take() if self._judged else None
        if table is not None and touched is not None:
            change = self._glance(table, touched, state) if touched else None
            if change is not _UNSURE:
                return change if change is not None and change.todo else None
        if table is None:
            raw, stamps = self.raw(), None
        else:
            # git lists in its own process while stamps are taken in this one.
            with ThreadPoolExecutor(1, "rlm-list") as pool:
                job = pool.submit(self.raw)
                stamps = self._stamps(table.paths)
                raw = job.result()
            if table.facts.get("listing") == _digest(raw) and not table.facts.get("inner"):
                change = self._same_listing(table, stamps, state)
                if change is not _UNSURE:
                    self._hints.watch(table.paths, self.watched(), self.folders)
                    return change if change.todo else None
        return self._compare(table, stamps, raw, state)

    def _same_listing(self, table: Table, stamps: npt.NDArray[np.int64], state: object) -> Change:
        """Compare where the listing is the one of the table; _UNSURE where that is not enough."""
        rows = table.rows
        if not self._judged:
            denied = np.zeros(len(rows), bool)
            if self.admit is not None:
                judged = self._judge([*map(Listed, table.paths)])
                denied = np.array([item.reason == "denied" for item in judged], bool)
            if (denied != (rows["reason"] == _CODE["denied"])).any():
                return _UNSURE
            self._judged = True
        same = _equal(rows, stamps)
        todo = np.flatnonzero(~same).tolist()
        for place in todo:
            if rows["reason"][place] in _SETTLED or table.paths[place].endswith(b".ignore"):
                return _UNSURE
        return Change(table, table.paths, rows.copy(), [(p, "") for p in todo], state, table.facts)

    def _compare(
        self, table: Table | None, stamps: npt.NDArray[np.int64] | None, raw: bytes, state: object
    ) -> Change | None:
        """Compare everything, listing and stamps."""
        listed = self._judge(self.listing(raw))
        paths = [item.path for item in listed]
        facts = {"listing": _digest(raw), "inner": self.inner()}
        self._hints.watch(paths, self.watched(), self.folders)
        rows = np.zeros(len(listed), ROW)
        todo: list[tuple[int, str]] = [(place, item.reason) for place, item in enumerate(listed)]
        if table is not None and stamps is not None:
            same = self._unchanged(table, stamps, listed, paths, rows)
            if (
                same.all()
                and len(paths) == len(table.paths)
                and facts.items() <= table.facts.items()
            ):
                return None
            todo = [todo[place] for place in np.flatnonzero(~same).tolist()]
        return Change(table, paths, rows, todo, state, facts)

    def write(self, change: Change, writer: Writer, old: memoryview) -> tuple[Table, bool]:
        """Read what changed; return the new table and whether any content differs.

        `old` is the text file of the table that the change starts from. Raises Moving.
        """
        rows, base = change.rows, change.base
        differs = base is None or len(change.paths) != len(base.paths)
        with Folder(self.root) as root:
            reader = Reader(root, writer, self.limit_bytes)
            if base is None:
                reader.read(change.paths, change.todo, rows)
            before = {} if base is None else self._places(base)
            for place, reason in change.todo if base is not None else ():
                path = change.paths[place]
                was = before.get(path)
                kept = None if was is None or base is None else base.rows[was]
                rows[place], same = reader.row(path, reason, kept, old)
                differs |= not same
        if change.state is not None and change.state != self.state():
            raise Moving
        if base is None:
            return Table("", 0, 0, 0, change.paths, rows, dict(change.facts)), True
        generation = base.generation + differs
        facts = base.facts | dict(change.facts)
        table = replace(base, generation=generation, paths=change.paths, rows=rows, facts=facts)
        return table, differs

    def open(self, path: bytes) -> bytes:
        """Return the content of a file that was too large to load."""
        with Folder(self.root) as root:
            return read_whole(root, path)

    def distrust(self) -> None:
        """Compare everything at the next survey."""
        self._hints.distrust()

    def close(self) -> None:
        """Stop watching."""
        self._hints.close()

    def _judge(self, listed: list[Listed]) -> list[Listed]:
        """Ask `admit` about each path that it was not asked about yet."""
        self._judged = True
        if self.admit is None:
            return listed
        verdicts = self._verdicts
        for item in listed:
            if item.path not in verdicts:
                refused = self.admit(self.root / os.fsdecode(item.path)) is not None
                verdicts[item.path] = "denied" if refused else ""
        return [item._replace(reason="denied") if verdicts[item.path] else item for item in listed]

    def _places(self, table: Table) -> dict[bytes, int]:
        """Return the place of each path of a table."""
        if self._index[0] is not table.paths:
            index = {path: place for place, path in enumerate(table.paths)}
            self._index = (table.paths, index)
        return self._index[1]

    def _glance(self, table: Table, touched: set[bytes], state: object) -> Change | None:
        """Compare only the touched files; _UNSURE where more than contents may have changed."""
        places = self._places(table)
        todo: list[tuple[int, str]] = []
        rows = table.rows.copy()
        for path in touched:
            place = places.get(path, -1)
            now = self._stamps([path])[0]
            if place < 0 and now[0] < 0 and not self._hints.is_folder(path):
                continue  # Something that came and went, as editors do when they save.
            if place < 0 or now[0] < 0 or rows["reason"][place] in _SETTLED:
                return _UNSURE
            if any(
                int(rows[name][place]) != value for name, value in zip(_STAMP, now, strict=True)
            ):
                todo.append((place, ""))
        return Change(table, table.paths, rows, todo, state)

    def _unchanged(
        self,
        table: Table,
        stamps: npt.NDArray[np.int64],
        listed: Sequence[Listed],
        paths: list[bytes],
        rows: Rows,
    ) -> Flags:
        """Copy the rows whose file has the stamp it had; return which they are."""
        if paths == table.paths:
            old = np.arange(len(paths))
        else:
            places = self._places(table)
            old = np.fromiter((places.get(path, -1) for path in paths), np.int64, len(paths))
        same: Flags = old >= 0
        if not len(table.rows):
            return same
        before = table.rows[old]
        same &= _equal(before, stamps[old])
        wanted = np.fromiter((_CODE[item.reason] for item in listed), np.uint8, len(listed))
        settled = np.isin(before["reason"], _SETTLED)
        same &= np.where(wanted == 0, ~settled, wanted == before["reason"])
        rows[same] = before[same]
        return same

    def _stamps(self, paths: Sequence[bytes]) -> npt.NDArray[np.int64]:
        root = os.fsencode(self.root) + b"/"
        flat: list[int] = []
        for path in paths:
            try:
                status = os.lstat(root + path)
            except OSError:
                flat += MISSING
            else:
                flat += (
                    status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & INODE,
                )  # fmt: skip
        return np.array(flat, np.int64).reshape(-1, 4)


_SETTLED = [_CODE[reason] for reason in ("link", "denied", "submodule", "not checked out")]
"""Reasons that come from the listing, not from the file."""
_UNSURE = Change(None, (), np.zeros(0, ROW), ())


def _equal(rows: Rows, stamps: npt.NDArray[np.int64]) -> Flags:
    """Return which rows carry the stamps."""
    same = np.ones(len(rows), bool)
    for column, name in enumerate(_STAMP):
        same &= rows[name].astype(np.int64) == stamps[:, column]
    return same


def _digest(raw: bytes) -> str:
    return blake2b(raw, digest_size=16).hexdigest()


def read_whole(root: Folder, path: bytes) -> bytes:
    """Return the content of a regular file under `root`. Raises Unavailable."""
    name = os.fsdecode(path)
    try:
        handle, status = root.open(path)
        try:
            if status.st_size > WHOLE_BYTES:
                raise Unavailable(
                    f"{name} has {status.st_size:,} bytes, too many to be opened whole; "
                    "open it as a context of its own."
                )
            room = bytearray(status.st_size)
            return bytes(room[: files.read(handle, memoryview(room))])
        finally:
            os.close(handle)
    except Refused as refused:
        raise Unavailable(f"{name} is {refused.reason}; it cannot be opened.") from refused
    except OSError as error:
        raise Unavailable(f"{name} cannot be read now: {error.strerror}.") from error
