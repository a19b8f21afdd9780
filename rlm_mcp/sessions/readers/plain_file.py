"""Open files of other programs' folders: ordinary ones alone, and no link in their place.

What lies in such a folder may have been swapped since it was listed: a pipe would keep the reader
waiting without an end, a link would lead it elsewhere.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def open_regular(path: str | Path) -> BinaryIO:
    """Open an ordinary file for reading. Raises OSError, for a link or a pipe, too."""
    handle = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "It is no ordinary file", os.fspath(path))
    return os.fdopen(handle, "rb")


def is_regular_file(path: str | Path) -> bool:
    """Say whether a path without links still leads to an ordinary file, and over none."""
    try:
        ordinary = stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
    return ordinary and os.path.realpath(path) == os.fspath(path)
