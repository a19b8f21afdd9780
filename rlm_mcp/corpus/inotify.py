"""Ask the Linux kernel what changed in some folders, at the moment of asking.

The kernel queues an event as part of the write itself, so reading the queue misses nothing that
was written before, however busy the machine is: no thread has to be scheduled in between. What it
does not report: writes through a shared mapping, and changes made by another machine to a network
file system. `local` says whether a folder is on one that can be trusted.
"""

from __future__ import annotations

import ctypes
import os
import struct
import weakref
from collections.abc import Iterable

_MODIFY, _ATTRIB, _CLOSE_WRITE, _FROM, _TO = 0x2, 0x4, 0x8, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_ONLY_FOLDERS, _NO_LINKS, _NOT_UNLINKED = 0x1000000, 0x2000000, 0x4000000
_WANTED = (
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
        for folder in folders:
            watch = libc.inotify_add_watch(self._fd, os.fsencode(folder), _WANTED)
            if watch >= 0:
                self._folders[watch] = folder
            elif (code := ctypes.get_errno()) in (28, 12):  # no watches left, no memory
                self.close()
                raise OSError(code, "inotify_add_watch")

    def changed(self) -> set[str] | None:
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


def local(folder: str) -> bool:
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
