"""Read branches and tags with GitPython's pure-Python object database, in this process.

GitPython starts plain git where it is given a chance, and plain git runs what a repository names.
So it is given none: its commands raise, and what it reads from is no `git.Repo` but two folders
and an object database of files. Whatever it cannot read is left to the caller's own git.
"""

from __future__ import annotations

import os
import stat
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

from rlm_mcp.errors import Unavailable

if TYPE_CHECKING:
    import git

MAX_PACKED_BYTES = 64 << 10
"""Bytes of packed refs that are read here: GitPython reads all of them again for each one."""
MAX_REF_BYTES = 4096
"""Bytes of a loose ref."""
MAX_TAG_BYTES = 1 << 20
"""Bytes of a tag, which is read whole to learn what it names."""


class _RefFolders(NamedTuple):
    """All that GitPython is given of a repository; there is no `git` to start in it."""

    git_dir: str
    common_dir: str
    odb: git.GitDB
    re_hexsha_only: Any


def read_references(git_dir: Path, common_dir: Path) -> dict[str, str]:
    """Return the commit id of every branch and tag, by its full name ("refs/tags/v1").

    Raises Unavailable where GitPython cannot read all of them as they are.
    """
    _check_files(common_dir)
    python_git = _load_gitpython()
    place = _RefFolders(
        os.fspath(git_dir),
        os.fspath(common_dir),
        python_git.GitDB(os.fspath(common_dir / "objects")),
        python_git.Repo.re_hexsha_only,
    )
    found: dict[str, str] = {}
    try:
        for ref in python_git.Reference.iter_items(cast("git.Repo", place)):
            target = ref.object
            for _ in range(5):
                if target.type != "tag":
                    break
                if place.odb.info(target.binsha).size > MAX_TAG_BYTES:
                    raise Unavailable(f"The tag {str(ref.path)!r} is very large.")
                target = target.object
            if not any(target.binsha):
                raise Unavailable(f"The reference {str(ref.path)!r} names nothing.")
            if target.type == "commit":
                found[os.fspath(ref.path)] = target.hexsha
    except Unavailable:
        raise
    except Exception as error:  # what it raises on a broken repository is any exception
        raise Unavailable(f"GitPython cannot read the references: {error!r:.200}.") from None
    return found


def _check_files(common_dir: Path) -> None:
    """Raise Unavailable for refs that would hold a reader up, or are of another format."""
    waiting = [common_dir / "refs"]
    if (common_dir / "reftable").exists():
        raise Unavailable("The references are kept in a reftable.")
    try:
        packed = common_dir / "packed-refs"
        if os.path.lexists(packed) and not _is_small(packed.lstat(), MAX_PACKED_BYTES):
            raise Unavailable("The packed references are no small file.")
        while waiting:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    elif not _is_small(entry.stat(follow_symlinks=False), MAX_REF_BYTES):
                        raise Unavailable(f"The reference {entry.name!r} is no small file.")
    except OSError as error:
        raise Unavailable(f"The references cannot be read: {error.strerror}.") from None


def _is_small(status: os.stat_result, limit_bytes: int) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_size <= limit_bytes


@cache
def _load_gitpython() -> ModuleType:
    """Return GitPython, unable to start anything.

    It runs `git version` when it is imported, whatever is set; so its program is then one that
    cannot be executed, and all that could start one raises from here on.
    """
    names = ("GIT_PYTHON_GIT_EXECUTABLE", "GIT_PYTHON_REFRESH")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update({names[0]: os.devnull, names[1]: "quiet"})
    try:
        import git  # 130-200 ms, and only references need it
        import git.cmd
        import git.index.fun
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    for module in (git.cmd, git.index.fun):
        vars(module)["safer_popen"] = _refuse_process
    vars(git.cmd)["Popen"] = _refuse_process
    for method in ("execute", "_call_process", "get_object_header", "get_object_data"):
        setattr(git.cmd.Git, method, _refuse_process)
    git.cmd.Git.GIT_PYTHON_GIT_EXECUTABLE = os.devnull
    return git


def _refuse_process(*arguments: object, **named: object) -> NoReturn:
    raise Unavailable("GitPython starts no process here.")
