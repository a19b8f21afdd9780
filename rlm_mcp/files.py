"""Open, read and replace files whose folder others may write to.

The one safe open (no link where the caller did not resolve it, no wait on a pipe, no device), the
one atomic write, and what is the owner's alone. `corpus/store/safe_files.py` walks whole trees
with the same flags; `confine.py` decides which paths may be opened at all.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import BinaryIO

from rlm_mcp.errors import Denied

ANY_LINK = (
    getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)
NO_LINK = ANY_LINK | getattr(os, "O_NOFOLLOW", 0)
"""Flags beside the mode: the last part of a path is no link, and a pipe is not waited for."""
READ_NO_LINK = os.O_RDONLY | NO_LINK
READ_FOLDER_NO_LINK = (
    os.O_RDONLY
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


def open_regular(path: str | bytes | Path, *, follow_links: bool = False) -> BinaryIO:
    """Open an ordinary file for reading. Raises OSError, also for a link and what is no file."""
    return os.fdopen(regular_handle(path, os.O_RDONLY, follow_links=follow_links), "rb")


def regular_handle(path: str | bytes | Path, flags: int, *, follow_links: bool = False) -> int:
    """Return an open ordinary file; one that `flags` create is its owner's alone.

    Raises OSError, also for a link (unless `follow_links`), a pipe, a socket and a device.
    """
    handle = os.open(path, flags | (ANY_LINK if follow_links else NO_LINK), 0o600)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "It is no ordinary file", os.fspath(path))
    return handle


def read_limited(path: str | bytes | Path, max_bytes: int, *, follow_links: bool = True) -> bytes:
    """Return the bytes of an ordinary file that may be another's, of any size.

    Raises OSError: what `open_regular` raises, and EFBIG for more than `max_bytes` bytes.
    """
    with open_regular(path, follow_links=follow_links) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"It has more than {max_bytes:,} bytes", os.fspath(path))
    return data


def is_regular_file(path: str | Path) -> bool:
    """Say whether a path without links still leads to an ordinary file, and over none."""
    try:
        ordinary = stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
    return ordinary and os.path.realpath(path) == os.fspath(path)


def replace_file(path: Path, data: bytes | memoryview, mode: int = 0o600) -> None:
    """Write a file that others see whole, as it was or as it is now, whatever happens.

    What stood there, a link too, is replaced. Raises OSError, and leaves nothing behind.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        if os.name != "nt":
            os.chmod(fresh, mode)  # whatever the umask is
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def private_folder(path: Path) -> Path:
    """Return a folder, made where it is missing, that nobody else can write to or plant.

    Raises Denied for a link and for a folder of another user.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(path, 0o700)
    return path


def private_file(path: Path) -> Path:
    """Return a file, made empty where it is missing, that its owner alone can read.

    Raises Denied for a link, a special file and a file of another user.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o600))
    except FileExistsError:
        _check_private(path, 0o600)
    return path


def _check_private(path: Path, mode: int) -> None:
    status = os.lstat(path)
    kind = stat.S_ISDIR if mode & 0o100 else stat.S_ISREG
    if not kind(status.st_mode):
        raise Denied(f"{path} is a link or no plain file or folder; remove it and try again.")
    if os.name == "nt":
        return
    if status.st_uid != os.geteuid():
        raise Denied(f"{path} belongs to another user; remove it or choose another folder.")
    if status.st_mode & 0o777 & ~mode:
        os.chmod(path, mode)
