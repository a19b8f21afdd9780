"""Tell what changed in some folders, or that it is not known.

Exactly the folders that are named are watched, so that ignored trees cost nothing. On Linux the
kernel's queue is read when `changed()` is called; elsewhere a thread of watchfiles notes paths as
they change (unverified there). Where watching fails, runs out of watches or cannot be trusted
(network file systems), `changed()` returns None, and the caller compares everything.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Protocol

_MODIFY, _ATTRIB, _CLOSE_WRITE, _FROM, _TO = 0x2, 0x4, 0x8, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_ONLY_FOLDERS, _NO_LINKS, _NOT_UNLINKED = 0x1000000, 0x2000000, 0x4000000
_WATCH_MASK = (
    _MODIFY | _ATTRIB | _CLOSE_WRITE | _FROM | _TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
    | _ONLY_FOLDERS | _NO_LINKS | _NOT_UNLINKED
)  # fmt: skip
_OVERFLOW = 0x4000
_EVENT = struct.Struct("iIII")
_LOCAL = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs",
     "tmpfs", "ramfs", "overlay", "vfat", "exfat", "ntfs3", "hfsplus"}
)  # fmt: skip


class Inotify:
    """A queue of the kernel for some folders, not those below them. Raises OSError."""

    def __init__(self, folders: Iterable[str]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self.close = weakref.finalize(self, os.close, self._fd)
        self._folders: dict[int, str] = {}
        # A folder before those in it: one that comes meanwhile is told by the one above it.
        for folder in sorted(folders):
            watch = libc.inotify_add_watch(self._fd, os.fsencode(folder), _WATCH_MASK)
            if watch >= 0:
                self._folders[watch] = folder
            elif (code := ctypes.get_errno()) in (28, 12):  # no watches left, no memory
                self.close()
                raise OSError(code, "inotify_add_watch")

    def changed_paths(self) -> set[str] | None:
        """Return the paths that changed since the last call; None where events were lost."""
        found: set[str] = set()
        lost = False
        while True:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return None if lost else found
            at = 0
            while at < len(data):
                watch, mask, _, size = _EVENT.unpack_from(data, at)
                at += _EVENT.size + size
                folder = self._folders.get(watch)
                lost |= bool(mask & _OVERFLOW)
                if folder is not None:
                    name = os.fsdecode(data[at - size : at].rstrip(b"\0"))
                    found.add(f"{folder}/{name}" if name else folder)


def is_local(folder: str) -> bool:
    """Whether a folder is on a file system whose every change this kernel makes itself."""
    best, kind = -1, ""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                point = left.split(" ")[4].encode("utf-8", "surrogateescape")
                place = point.decode("unicode_escape").encode("latin-1")
                place_text = os.fsdecode(place)
                inside = folder == place_text or folder.startswith(place_text.rstrip("/") + "/")
                if inside and len(place_text) >= best:
                    best, kind = len(place_text), right.split(" ")[0]
    except (OSError, IndexError, UnicodeError):
        return False
    return kind in _LOCAL


DEBOUNCE_MS, STEP_MS = 50, 5
MAX_BATCH_CHANGES = 1_000
"""Changes in one batch of watchfiles from which on some may have been lost."""


class ChangeReporter(Protocol):
    """What reports changes."""

    def changed_paths(self) -> set[str] | None: ...
    def close(self) -> object: ...


class FolderWatch:
    """Watches the folders that `folders()` returns, not those below them.

    It is called in a thread: listing and registering them may take long.
    """

    def __init__(self, root: str, folders: Callable[[], Iterable[str]]) -> None:
        self.folders: frozenset[str] = frozenset()
        self._root = root
        self._source: ChangeReporter | None = None
        self._fresh = True
        self._early: set[str] = set()
        self._guard = threading.Lock()
        self._closed = False
        threading.Thread(
            target=self._start_watching, args=(folders,), name="rlm-watch", daemon=True
        ).start()

    def changed_paths(self) -> set[str] | None:
        """Return the paths that changed since the last call; None: unknown, compare everything.

        The first answer after watching has begun is None: what came before is not known.
        """
        with self._guard:
            if self._source is None:
                return None
            paths = self._source.changed_paths()
            if self._fresh or paths is None:
                # What came while everything is compared is told next time: a folder among it
                # may be one that is not watched.
                self._fresh, self._early = False, self._early | (paths or set())
                return None
            paths |= self._early
            self._early = set()
            return paths

    def close(self) -> None:
        """Stop watching."""
        with self._guard:
            self._closed = True
            if self._source is not None:
                self._source.close()
                self._source = None

    def _start_watching(self, folders: Callable[[], Iterable[str]]) -> None:
        try:
            named, source = _watch_all(self._root, folders)
        except Exception:
            # Whatever keeps us from watching, the answer is None: compare everything.
            return
        with self._guard:
            if self._closed or source is None:
                if source is not None:
                    source.close()
                return
            self.folders, self._source = named, source


def _watch_all(
    root: str, folders: Callable[[], Iterable[str]]
) -> tuple[frozenset[str], ChangeReporter | None]:
    """Watch all folders, also those that appear between listing and watching them."""
    named = frozenset(folders())
    for _ in range(5):
        source = _open_reporter(root, named)
        again = frozenset(folders())
        if source is None or again <= named:
            return named, source
        source.close()
        named |= again
    return named, None


def _open_reporter(root: str, folders: frozenset[str]) -> ChangeReporter | None:
    if sys.platform == "linux":
        return Inotify(folders) if is_local(os.path.realpath(root)) else None
    return _WatchfilesThread(sorted(folders))


class _WatchfilesThread:
    """A thread of watchfiles."""

    def __init__(self, folders: list[str]) -> None:
        # watchfiles takes 40 ms to import; this runs in the background.
        from watchfiles._rust_notify import RustNotify

        self._notify = RustNotify(folders, False, False, 300, False, True)
        self._changed: set[str] = set()
        self._lost = False
        self._guard = threading.Lock()
        self._stop = threading.Event()
        threading.Thread(target=self._collect_changes, name="rlm-watch-files", daemon=True).start()

    def changed_paths(self) -> set[str] | None:
        """Return the paths that changed since the last call; None where events were lost."""
        with self._guard:
            lost, self._lost = self._lost, self._stop.is_set()
            paths, self._changed = self._changed, set()
        return None if lost else paths

    def close(self) -> None:
        """Stop the thread; it ends within a few milliseconds."""
        self._stop.set()

    def _collect_changes(self) -> None:
        try:
            with self._notify as notify:
                while isinstance(batch := notify.watch(DEBOUNCE_MS, STEP_MS, 0, self._stop), set):
                    with self._guard:
                        self._lost |= len(batch) > MAX_BATCH_CHANGES
                        self._changed.update(path for _, path in batch)
        finally:
            with self._guard:
                self._lost = True
            self._stop.set()
