"""The working tree of a repository, and the repositories inside it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from rlm_mcp.corpus import files, ignore
from rlm_mcp.corpus.files import Admit, Stamp
from rlm_mcp.corpus.living import Listed, Living
from rlm_mcp.corpus.table import Locked
from rlm_mcp.errors import Denied, Unavailable
from rlm_mcp.git import RepositoryPaths, command, discover_paths

WAIT_S = 2.0
"""How long a query waits for a git command that is changing the working tree."""
LOCK_S = 30.0
PATIENCE_S = 2.0
"""How long git may list before we look for a pipe that it waits for."""
DEPTH = 8
"""How deep repositories inside repositories are followed."""


_traps: dict[Path, Path] = {}
"""What held git up, by working tree, so that it does not wait for it again."""


class Tree(Living):
    """The working tree of a repository, with the repositories inside it."""

    def __init__(
        self, repository: RepositoryPaths, admit: Admit | None, limit_bytes: int, trust: bool
    ) -> None:
        assert repository.top is not None
        super().__init__(repository.top, admit, limit_bytes, trust)
        self.git_dir = repository.git_dir
        self._inner: set[Path] = set()
        self._endured: Stamp | None = None

    def raw(self) -> bytes:
        """Return what git lists."""
        return _ls_files(self.root)

    def inner(self) -> bool:
        """Whether there are repositories inside this one."""
        return bool(self._inner)

    def listing(self, raw: bytes) -> list[Listed]:
        """Return tracked files and untracked ones that are not ignored."""
        found: dict[bytes, str] = {}
        self._inner = set()
        _list_tree(self.root, raw, b"", found, self._inner, depth=0)
        kept = ignore.without_ignored(self.root, found)
        return sorted(Listed(path, reason) for path, reason in kept.items())

    def watched(self) -> Sequence[bytes]:
        """Return the folders that hold the indexes and the excluded patterns."""
        places = [self.git_dir, *sorted(self._inner)]
        return [os.fsencode(place) for at in places for place in (at, at / "info")]

    def folders(self) -> Iterable[bytes]:
        """Return untracked folders that are not ignored, empty ones too, and all below them."""
        if _is_trapped(self.root):
            yield from ignore.folders(self.root, b"")
            return
        listed = ["ls-files", "--others", "--directory", "--exclude-standard", "-z"]
        for path in _list(self.root, listed).split(b"\0"):
            if path.endswith(b"/"):
                yield path.rstrip(b"/")
                yield from ignore.folders(self.root, path)

    def state(self) -> object:
        """Return the state of the index and HEAD, once no git command is changing the tree.

        Raises Locked after two seconds of waiting, and at once for the same lock again (git keeps
        one while a commit message is edited). A lock older than LOCK_S is of a killed git.
        """
        deadline = time.monotonic() + WAIT_S
        while (lock := _lock(self.git_dir / "index.lock")) is not None:
            if lock == self._endured or time.monotonic() > deadline:
                self._endured = lock
                raise Locked
            time.sleep(0.01)
        found: list[Stamp | None] = []
        for name in ("index", "HEAD"):
            try:
                found.append(files.stamp(os.stat(self.git_dir / name)))
            except OSError:
                found.append(None)
        return tuple(found)


def _lock(path: Path) -> Stamp | None:
    """Return the stamp of a lock that a living git may hold."""
    try:
        status = path.stat()
    except OSError:
        return None
    return files.stamp(status) if time.time() - status.st_mtime < LOCK_S else None


def _ls_files(top: Path) -> bytes:
    """Return what git lists; where a pipe for a .gitignore holds it up, what we list ourselves."""
    listed = ["ls-files", "-v", "--stage", "--cached", "--others", "--exclude-standard", "-z"]
    if not _is_trapped(top):
        try:
            return _list(top, listed, PATIENCE_S)
        except command.Slow:
            trap = ignore.trap(top)
            if trap is None:
                return _list(top, listed)
            _traps[top] = trap
    tracked = _list(top, ["ls-files", "-v", "--stage", "--cached", "-z"])
    known = {record.partition(b"\t")[2] for record in tracked.split(b"\0")}
    others = [b"? " + path + b"\0" for path in ignore.walk(top) if path not in known]
    return tracked + b"".join(others)


def _is_trapped(top: Path) -> bool:
    """Whether a pipe would hold git up: for the first .gitignore that it opens, or as before."""
    return ignore.is_trap(_traps.get(top, top / ".gitignore"))


def _list(top: Path, arguments: Sequence[str], timeout_s: float = 120) -> bytes:
    """Return what git lists by its ignore rules, the user's own among them."""
    return command.run(arguments, top, timeout_s=timeout_s, alone=False)


def _list_tree(
    top: Path, raw: bytes, prefix: bytes, found: dict[bytes, str], inner: set[Path], depth: int
) -> None:
    """Add what one repository lists, and what the repositories inside it list."""
    for record in raw.split(b"\0"):
        if not record:
            continue
        if record.startswith(b"? "):
            path, mode = record[2:], b""
        else:
            facts, _, path = record.partition(b"\t")
            mode = facts[2:8]
        if mode == b"160000" or path.endswith(b"/"):
            _list_inner(top, prefix, path.rstrip(b"/"), found, inner, depth)
        else:
            found[prefix + path] = "link" if mode == b"120000" else ""


def _list_inner(
    top: Path, prefix: bytes, path: bytes, found: dict[bytes, str], inner: set[Path], depth: int
) -> None:
    place = top / os.fsdecode(path)
    try:
        there = stat.S_ISDIR(place.lstat().st_mode) and (place / ".git").exists()
        repository = discover_paths(place) if there and depth < DEPTH else None
        if repository is None or repository.top is None or repository.top != place.resolve():
            found[prefix + path] = "not checked out"
            return
        inner.add(repository.git_dir)
        _list_tree(place, _ls_files(place), prefix + path + b"/", found, inner, depth + 1)
    except (OSError, Unavailable, Denied):
        found[prefix + path] = "unreadable"
