"""Refuse a git folder that takes its objects or refs from outside the roots.

A git folder is a few small files and two trees, and each of them may be a link, a pipe, or name
another place. Git follows all of that; so does this, in the same way, before git may run.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.errors import Denied
from rlm_mcp.files import read_limited

if TYPE_CHECKING:
    from rlm_mcp.confine import Confine

_MAY_BE_LINKS = ("objects", "refs", "refs/heads", "packed-refs", "HEAD", "index")
"""What may be a link in a git folder, and must not lead out."""
_PLAIN_FILES = (
    "HEAD", "commondir", "config", "config.worktree", "index", "packed-refs", "shallow",
    "info/attributes", "info/exclude", "info/grafts", "info/sparse-checkout",
    "objects/info/alternates",
)  # fmt: skip
"""What git waits for without an end where it is a pipe."""
MAX_FILE_BYTES = 65_536
"""Bytes that one of the small files may have."""


def read_small_file(path: Path) -> str:
    """Return the text of a small file without its last newlines; empty where there is none.

    Raises Denied for a pipe, a device or a file too large to be what it should be.
    """
    try:
        data = read_limited(path, MAX_FILE_BYTES)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EFBIG):
            raise Denied(f"{path.name!r} of a git folder: {error.strerror}.") from error
        return ""
    return data.decode("utf-8", "surrogateescape").rstrip("\r\n")


def check_git_dir(git_dir: Path, confine: Confine) -> None:
    """Raise Denied where a git folder takes its objects or refs from outside the roots.

    A linked worktree lies in its repository's own folder, which is its own in this sense.
    """
    common = git_dir
    if text := read_small_file(git_dir / "commondir"):
        common = Path(os.path.realpath(git_dir / text))
        if git_dir.parent.parent != common and not confine.is_within(common):
            raise Denied(_borrowing_sentence(git_dir))

    def is_own(path: Path) -> bool:
        real = Path(os.path.realpath(path))
        return real.is_relative_to(common) or confine.is_within(real)

    for folder in dict.fromkeys((git_dir, common)):
        _refuse_special(folder)
        if not all(is_own(folder / name) for name in _MAY_BE_LINKS):
            raise Denied(_borrowing_sentence(git_dir))
    waiting, seen = [common / "objects"], set[Path]()
    while waiting:
        store = Path(os.path.realpath(waiting.pop()))
        if store in seen:
            continue
        seen.add(store)
        lent = list(_read_alternates(store))
        if not all(map(is_own, (store, *_symlinks_in(store), *lent))):
            raise Denied(_borrowing_sentence(git_dir))
        waiting += lent


def _refuse_special(folder: Path) -> None:
    for name in _PLAIN_FILES:
        try:
            mode = os.stat(folder / name).st_mode
        except OSError:
            continue
        if not stat.S_ISREG(mode):
            raise Denied(f"{name!r} of the git folder of {folder.parent.name!r} is no plain file.")


def _read_alternates(store: Path) -> Iterator[Path]:
    """Yield the object folders that one borrows from, as git reads them.

    Git resolves `..` by the text alone, before it follows links: both readings count.
    """
    for line in read_small_file(store / "info" / "alternates").split("\n"):
        if line.startswith('"'):
            raise Denied("A repository that borrows objects by a quoted path is not opened.")
        if line and not line.startswith("#"):
            yield store / line
            yield Path(os.path.normpath(store / line))


def _symlinks_in(store: Path) -> Iterator[Path]:
    """Yield every link in an object folder: its folders, its packs, single objects."""
    waiting = [os.fspath(store)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        yield Path(entry.path)
                    elif entry.is_dir():
                        waiting.append(entry.path)
        except OSError:
            continue  # git cannot read it either


def _borrowing_sentence(git_dir: Path) -> str:
    return (
        f"The repository of {git_dir.parent.name!r} borrows objects from outside the roots; "
        "start the server with --root for that folder as well."
    )
