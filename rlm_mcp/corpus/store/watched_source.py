"""What all changing origins share: list, compare, read, describe.

The stamp of each file is compared with the one in the table, and what differs is read. A file
that was changed within a clock tick of its reading is read again next time.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.store import safe_files
from rlm_mcp.corpus.store.file_reader import INODE_MASK, FileReader
from rlm_mcp.corpus.store.file_table import (
    ROW_DTYPE,
    SKIP_REASONS,
    FileTable,
    SourceLocked,
    SourceMoving,
    TableChange,
    TableRows,
)
from rlm_mcp.corpus.store.safe_files import MISSING_STAMP, AdmitPath, FileRefused, RootFolder
from rlm_mcp.corpus.store.watch import FolderWatch
from rlm_mcp.errors import Unavailable

if TYPE_CHECKING:
    from rlm_mcp.corpus.store.packed_text import TextWriter


BACKSTOP_S = 10.0
"""After so long everything is compared, whatever the watch says: it may have missed something."""
MAX_FOREIGN_PATHS = 10_000
_RULE_FILES = frozenset({".gitignore", ".ignore", ".gitmodules", ".git"})
_GIT_FILES = frozenset({"index", "HEAD", "exclude"})

ListFolders = Callable[[], Iterable[bytes]]


class ChangeHints:
    """A watch over the folders of a listing, begun at the second look.

    The kernel watches inodes, not names: whenever a watched folder, or the root, may have become
    another one, the watch is begun anew, and until it stands everything is compared.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._root_id: tuple[int, int] | None = None
        self._outside: frozenset[str] = frozenset()
        self._listed: Sequence[bytes] = ()
        self._foreign: set[str] = set()
        self._unlisted: set[str] = set()
        self._pending: set[str] = set()
        self._watch: FolderWatch | None = None
        self._looks = 0
        self._compared = 0.0

    def take_changed(self) -> set[bytes] | None:
        """Return the paths under the root that may have changed; None: any may have.

        All events of the batch are judged, in whatever order they stand.
        """
        if self._watch is None:
            return None
        if self._root_id != _folder_id(self._root):
            self.close()
            return None
        changed = self._watch.changed_paths()
        if changed is None:
            return None
        watched, unsure, remade, touched = self._watch.folders, False, False, set[str]()
        for path in changed:
            folder, _, name = path.rpartition("/")
            if path in watched or path in self._outside:
                remade = True
            elif folder in self._outside:
                unsure |= name in _GIT_FILES
            elif name in _RULE_FILES or _is_folder(path):
                remade = True
            elif path not in self._foreign:
                touched.add(path)
        self._pending |= touched
        if remade:
            self._foreign.clear()
            self.close()
        if remade or unsure or time.monotonic() - self._compared > BACKSTOP_S:
            return None
        return {os.fsencode(os.path.relpath(path, self._root)) for path in touched}

    def force_compare(self) -> None:
        """Compare everything at the next look: what was told already did not lead to a state."""
        self._compared = float("-inf")

    def watch_listing(
        self, paths: Sequence[bytes], outside: Sequence[bytes], more: ListFolders
    ) -> None:
        """Note that everything is being compared now; from the second time on, keep a watch.

        `paths` are the files, `outside` folders of git whose changes matter, `more` lists further
        folders where files may appear; it is called in the background.
        """
        self._compared = time.monotonic()
        self._looks += 1
        if self._looks < 2:
            return
        self._note_foreign(paths)
        places = frozenset(os.fsdecode(path) for path in outside)
        if self._watch is not None and (places != self._outside or paths != self._listed):
            if places != self._outside or not self._parents_of(paths) <= self._watch.folders:
                self.close()
            self._listed = paths
        if self._watch is None:
            self._outside, self._listed = places, paths
            self._root_id = _folder_id(self._root)
            self._watch = FolderWatch(self._root, lambda: self._list_folders(paths, more))

    def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _note_foreign(self, paths: Sequence[bytes]) -> None:
        """Learn which paths that changed belong to nothing that is listed: ignored files.

        One that was unlisted once may have come back just behind the listing; twice is enough.
        """
        if not (self._pending or self._foreign):
            return
        listed = {os.path.join(self._root, os.fsdecode(path)) for path in paths}
        unlisted = {path for path in self._pending - listed if os.path.lexists(path)}
        if len(self._foreign) < MAX_FOREIGN_PATHS:
            self._foreign |= unlisted & self._unlisted
        self._foreign -= listed
        self._unlisted, self._pending = unlisted, set()

    def _parents_of(self, paths: Iterable[bytes]) -> set[str]:
        """Return the folders of some paths, the root among them."""
        parents = {b""}
        for path in paths:
            while (path := path.rpartition(b"/")[0]) not in parents:
                parents.add(path)
        root = self._root
        return {os.path.join(root, os.fsdecode(path)) if path else root for path in parents}

    def _list_folders(self, paths: Sequence[bytes], more: ListFolders) -> Iterable[str]:
        return self._parents_of((*paths, *(folder + b"/" for folder in more()))) | {
            path for path in self._outside if os.path.isdir(path)
        }


def _folder_id(path: str) -> tuple[int, int] | None:
    """Return what tells a folder from another one of the same name."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


_REASON_CODES = {reason: code for code, reason in enumerate(SKIP_REASONS)}
_STAMP = ("size", "mtime_ns", "ctime_ns", "inode")
MAX_WHOLE_BYTES = 256 << 20
"""What a file that was not loaded may have to be read into memory when asked for."""

Flags = npt.NDArray[np.bool_]


class ListedPath(NamedTuple):
    """A path that belongs to the corpus; `reason` is set where it is not to be read."""

    path: bytes
    reason: str = ""


class WatchedSource:
    """An origin whose files are under a root folder and may change at any time."""

    def __init__(self, root: Path, admit: AdmitPath | None, limit_bytes: int, trust: bool) -> None:
        self.root, self.admit, self.limit_bytes = root, admit, limit_bytes
        self._verdicts: dict[bytes, str] = {}
        self._judged = trust
        self._hints = ChangeHints(root)
        self._index: tuple[Sequence[bytes], dict[bytes, int]] = ((), {})

    def raw_listing(self) -> bytes:
        """Return something that is the same as long as the listing is; `listing` reads it."""
        raise NotImplementedError

    def parse_listing(self, raw: bytes) -> list[ListedPath]:
        """Return what belongs to the corpus, sorted by path, each once."""
        raise NotImplementedError

    def has_nested(self) -> bool:
        """Whether the last listing holds repositories that `raw` does not look into."""
        return False

    def source_state(self) -> object:
        """Return what tells whether the whole source is being changed."""
        return None

    def watched_folders(self) -> Sequence[bytes]:
        """Return folders outside the listing whose changes matter."""
        return ()

    def extra_folders(self) -> Iterable[bytes]:
        """Return folders under the root, besides those of the listing, where files may appear."""
        return ()

    def detect_change(self, table: FileTable | None) -> TableChange | None:
        """Compare the source with a table; None where nothing changed. Reads no content."""
        try:
            state = self.source_state()
        except SourceLocked:
            # Where there is nothing older to show, what is there is read as it is.
            if table is not None:
                raise
            state = None
        # Only now: what git did before its lock was gone is all in what is told.
        touched = self._hints.take_changed() if self._judged else None
        if table is not None and touched is not None:
            change = self._compare_touched(table, touched, state) if touched else None
            if change is not _UNSURE:
                return change if change is not None and change.todo else None
        if table is None:
            raw, stamps = self.raw_listing(), None
        else:
            # git lists in its own process while stamps are taken in this one.
            with ThreadPoolExecutor(1, "rlm-list") as pool:
                job = pool.submit(self.raw_listing)
                stamps = self._read_stamps(table.paths)
                raw = job.result()
            if table.facts.get("listing") == _listing_digest(raw) and not table.facts.get("inner"):
                change = self._compare_stamps(table, stamps, state)
                if change is not _UNSURE:
                    self._hints.watch_listing(
                        table.paths, self.watched_folders(), self.extra_folders
                    )
                    return change if change.todo else None
        return self._compare_all(table, stamps, raw, state)

    def _compare_stamps(
        self, table: FileTable, stamps: npt.NDArray[np.int64], state: object
    ) -> TableChange:
        """Compare where the listing is the one of the table; _UNSURE where that is not enough."""
        rows = table.rows
        if not self._judged:
            denied = np.zeros(len(rows), bool)
            if self.admit is not None:
                judged = self._apply_admit([*map(ListedPath, table.paths)])
                denied = np.array([item.reason == "denied" for item in judged], bool)
            if (denied != (rows["reason"] == _REASON_CODES["denied"])).any():
                return _UNSURE
            self._judged = True
        same = _equal_stamps(rows, stamps)
        todo = np.flatnonzero(~same).tolist()
        for place in todo:
            if rows["reason"][place] in _LISTING_REASONS or table.paths[place].endswith(b".ignore"):
                return _UNSURE
        return TableChange(
            table, table.paths, rows.copy(), [(p, "") for p in todo], state, table.facts
        )

    def _compare_all(
        self,
        table: FileTable | None,
        stamps: npt.NDArray[np.int64] | None,
        raw: bytes,
        state: object,
    ) -> TableChange | None:
        """Compare everything, listing and stamps."""
        listed = self._apply_admit(self.parse_listing(raw))
        paths = [item.path for item in listed]
        facts = {"listing": _listing_digest(raw), "inner": self.has_nested()}
        self._hints.watch_listing(paths, self.watched_folders(), self.extra_folders)
        rows = np.zeros(len(listed), ROW_DTYPE)
        todo: list[tuple[int, str]] = [(place, item.reason) for place, item in enumerate(listed)]
        if table is not None and stamps is not None:
            same = self._copy_unchanged(table, stamps, listed, paths, rows)
            if (
                same.all()
                and len(paths) == len(table.paths)
                and facts.items() <= table.facts.items()
            ):
                return None
            todo = [todo[place] for place in np.flatnonzero(~same).tolist()]
        return TableChange(table, paths, rows, todo, state, facts)

    def write_change(
        self, change: TableChange, writer: TextWriter, old: memoryview
    ) -> tuple[FileTable, bool]:
        """Read what changed; return the new table and whether any content differs.

        `old` is the text file of the table that the change starts from. Raises Moving.
        """
        rows, base = change.rows, change.base
        differs = base is None or len(change.paths) != len(base.paths)
        with RootFolder(self.root) as root:
            reader = FileReader(root, writer, self.limit_bytes)
            if base is None:
                reader.fill_rows(change.paths, change.todo, rows)
            before = {} if base is None else self._path_index(base)
            for place, reason in change.todo if base is not None else ():
                path = change.paths[place]
                was = before.get(path)
                kept = None if was is None or base is None else base.rows[was]
                rows[place], same = reader.read_row(path, reason, kept, old)
                differs |= not same
        if change.state is not None and change.state != self.source_state():
            raise SourceMoving
        if base is None:
            return FileTable("", 0, 0, 0, change.paths, rows, dict(change.facts)), True
        generation = base.generation + differs
        facts = base.facts | dict(change.facts)
        table = replace(base, generation=generation, paths=change.paths, rows=rows, facts=facts)
        return table, differs

    def read_unloaded(self, path: bytes) -> bytes:
        """Return the content of a file that was too large to load."""
        with RootFolder(self.root) as root:
            return read_whole(root, path)

    def force_compare(self) -> None:
        """Compare everything at the next survey."""
        self._hints.force_compare()

    def close(self) -> None:
        """Stop watching."""
        self._hints.close()

    def _apply_admit(self, listed: list[ListedPath]) -> list[ListedPath]:
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

    def _path_index(self, table: FileTable) -> dict[bytes, int]:
        """Return the place of each path of a table."""
        if self._index[0] is not table.paths:
            index = {path: place for place, path in enumerate(table.paths)}
            self._index = (table.paths, index)
        return self._index[1]

    def _compare_touched(
        self, table: FileTable, touched: set[bytes], state: object
    ) -> TableChange | None:
        """Compare only the touched files; _UNSURE where more than contents may have changed."""
        places = self._path_index(table)
        todo: list[tuple[int, str]] = []
        rows = table.rows.copy()
        for path in touched:
            place = places.get(path, -1)
            now = self._read_stamps([path])[0]
            if place < 0 and now[0] < 0:
                continue  # Something that came and went, as editors do when they save.
            if place < 0 or now[0] < 0 or rows["reason"][place] in _LISTING_REASONS:
                return _UNSURE
            if any(
                int(rows[name][place]) != value for name, value in zip(_STAMP, now, strict=True)
            ):
                todo.append((place, ""))
        return TableChange(table, table.paths, rows, todo, state)

    def _copy_unchanged(
        self,
        table: FileTable,
        stamps: npt.NDArray[np.int64],
        listed: Sequence[ListedPath],
        paths: list[bytes],
        rows: TableRows,
    ) -> Flags:
        """Copy the rows whose file has the stamp it had; return which they are."""
        if paths == table.paths:
            old = np.arange(len(paths))
        else:
            places = self._path_index(table)
            old = np.fromiter((places.get(path, -1) for path in paths), np.int64, len(paths))
        same: Flags = old >= 0
        if not len(table.rows):
            return same
        before = table.rows[old]
        same &= _equal_stamps(before, stamps[old])
        wanted = np.fromiter((_REASON_CODES[item.reason] for item in listed), np.uint8, len(listed))
        settled = np.isin(before["reason"], _LISTING_REASONS)
        same &= np.where(wanted == 0, ~settled, wanted == before["reason"])
        rows[same] = before[same]
        return same

    def _read_stamps(self, paths: Sequence[bytes]) -> npt.NDArray[np.int64]:
        root = os.fsencode(self.root) + b"/"
        flat: list[int] = []
        for path in paths:
            try:
                status = os.lstat(root + path)
            except OSError:
                flat += MISSING_STAMP
            else:
                flat += (
                    status.st_size,
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                    status.st_ino & INODE_MASK,
                )
        return np.array(flat, np.int64).reshape(-1, 4)


_LISTING_REASONS = [
    _REASON_CODES[reason] for reason in ("link", "denied", "submodule", "not checked out")
]
"""Reasons that come from the listing, not from the file."""
_UNSURE = TableChange(None, (), np.zeros(0, ROW_DTYPE), ())


def _equal_stamps(rows: TableRows, stamps: npt.NDArray[np.int64]) -> Flags:
    """Return which rows carry the stamps."""
    same = np.ones(len(rows), bool)
    for column, name in enumerate(_STAMP):
        same &= rows[name].astype(np.int64) == stamps[:, column]
    return same


def _listing_digest(raw: bytes) -> str:
    return blake2b(raw, digest_size=16).hexdigest()


def read_whole(root: RootFolder, path: bytes) -> bytes:
    """Return the content of a regular file under `root`. Raises Unavailable."""
    name = os.fsdecode(path)
    try:
        handle, status = root.open_file(path)
        try:
            if status.st_size > MAX_WHOLE_BYTES:
                raise Unavailable(
                    f"{name} has {status.st_size:,} bytes, too many to be opened whole; "
                    "open it as a context of its own."
                )
            room = bytearray(status.st_size)
            return bytes(room[: safe_files.read_fully(handle, memoryview(room))])
        finally:
            os.close(handle)
    except FileRefused as refused:
        raise Unavailable(f"{name} is {refused.reason}; it cannot be opened.") from refused
    except OSError as error:
        raise Unavailable(f"{name} cannot be read now: {error.strerror}.") from error
