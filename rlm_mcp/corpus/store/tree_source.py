"""The working tree of a repository, and the repositories inside it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.corpus.store import ignore_rules, safe_files
from rlm_mcp.corpus.store.file_table import SourceLocked
from rlm_mcp.corpus.store.safe_files import AdmitPath
from rlm_mcp.corpus.store.watched_source import ListedPath, WatchedSource
from rlm_mcp.errors import Denied, TimedOut, Unavailable
from rlm_mcp.git import RepositoryPaths, run_git

if TYPE_CHECKING:
    from rlm_mcp.corpus.store.safe_files import AdmitPath, FileStamp


LOCK_WAIT_S = 2.0
"""How long a query waits for a git command that is changing the working tree."""
STALE_LOCK_S = 30.0
LISTING_PATIENCE_S = 2.0
"""How long git may list before we look for a pipe that it waits for."""
MAX_NESTING = 8
"""How deep repositories inside repositories are followed."""


_stalling_pipes: dict[Path, Path] = {}
"""What held git up, by working tree, so that it does not wait for it again."""


class TreeSource(WatchedSource):
    """The working tree of a repository, with the repositories inside it."""

    def __init__(
        self, repository: RepositoryPaths, admit: AdmitPath | None, limit_bytes: int, trust: bool
    ) -> None:
        assert repository.top is not None
        super().__init__(repository.top, admit, limit_bytes, trust)
        self.git_dir = repository.git_dir
        self._inner: set[Path] = set()
        self._endured: FileStamp | None = None

    def raw_listing(self) -> bytes:
        """Return what git lists."""
        return _ls_files(self.root)

    def has_nested(self) -> bool:
        """Whether there are repositories inside this one."""
        return bool(self._inner)

    def parse_listing(self, raw: bytes) -> list[ListedPath]:
        """Return tracked files and untracked ones that are not ignored."""
        found: dict[bytes, str] = {}
        self._inner = set()
        _list_tree(self.root, raw, b"", found, self._inner, depth=0)
        kept = ignore_rules.without_ignored(self.root, found)
        return sorted(ListedPath(path, reason) for path, reason in kept.items())

    def watched_folders(self) -> Sequence[bytes]:
        """Return the folders that hold the indexes and the excluded patterns."""
        places = [self.git_dir, *sorted(self._inner)]
        return [os.fsencode(place) for at in places for place in (at, at / "info")]

    def extra_folders(self) -> Iterable[bytes]:
        """Return untracked folders that are not ignored, empty ones too, and all below them."""
        if _would_stall(self.root):
            yield from ignore_rules.walk_folders(self.root, b"")
            return
        listed = ["ls-files", "--others", "--directory", "--exclude-standard", "-z"]
        for path in _git_list(self.root, listed).split(b"\0"):
            if path.endswith(b"/"):
                yield path.rstrip(b"/")
                yield from ignore_rules.walk_folders(self.root, path)

    def source_state(self) -> object:
        """Return the state of the index and HEAD, once no git command is changing the tree.

        Raises Locked after two seconds of waiting, and at once for the same lock again (git keeps
        one while a commit message is edited). A lock older than LOCK_S is of a killed git.
        """
        deadline = time.monotonic() + LOCK_WAIT_S
        while (lock := _lock_stamp(self.git_dir / "index.lock")) is not None:
            if lock == self._endured or time.monotonic() > deadline:
                self._endured = lock
                raise SourceLocked
            time.sleep(0.01)
        found: list[FileStamp | None] = []
        for name in ("index", "HEAD"):
            try:
                found.append(safe_files.stamp_of(os.stat(self.git_dir / name)))
            except OSError:
                found.append(None)
        return tuple(found)


def _lock_stamp(path: Path) -> FileStamp | None:
    """Return the stamp of a lock that a living git may hold."""
    try:
        status = path.stat()
    except OSError:
        return None
    return safe_files.stamp_of(status) if time.time() - status.st_mtime < STALE_LOCK_S else None


def _ls_files(top: Path) -> bytes:
    """Return what git lists; where a pipe for a .gitignore holds it up, what we list ourselves."""
    listed = ["ls-files", "-v", "--stage", "--cached", "--others", "--exclude-standard", "-z"]
    if not _would_stall(top):
        try:
            return _git_list(top, listed, LISTING_PATIENCE_S)
        except TimedOut:
            trap = ignore_rules.find_pipe(top)
            if trap is None:
                return _git_list(top, listed)
            _stalling_pipes[top] = trap
    tracked = _git_list(top, ["ls-files", "-v", "--stage", "--cached", "-z"])
    known = {record.partition(b"\t")[2] for record in tracked.split(b"\0")}
    others = [b"? " + path + b"\0" for path in ignore_rules.walk_files(top) if path not in known]
    return tracked + b"".join(others)


def _would_stall(top: Path) -> bool:
    """Whether a pipe would hold git up: for the first .gitignore that it opens, or as before."""
    return ignore_rules.is_pipe(_stalling_pipes.get(top, top / ".gitignore"))


def _git_list(top: Path, arguments: Sequence[str], timeout_s: float = 120) -> bytes:
    """Return what git lists by its ignore rules, the user's own among them."""
    return run_git(arguments, top, timeout_s=timeout_s, alone=False)


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
            _list_nested(top, prefix, path.rstrip(b"/"), found, inner, depth)
        else:
            found[prefix + path] = "link" if mode == b"120000" else ""


def _list_nested(
    top: Path, prefix: bytes, path: bytes, found: dict[bytes, str], inner: set[Path], depth: int
) -> None:
    place = top / os.fsdecode(path)
    try:
        there = stat.S_ISDIR(place.lstat().st_mode) and (place / ".git").exists()
        repository = RepositoryPaths.discover_at(place) if there and depth < MAX_NESTING else None
        if repository is None or repository.top is None or repository.top != place.resolve():
            found[prefix + path] = "not checked out"
            return
        inner.add(repository.git_dir)
        _list_tree(place, _ls_files(place), prefix + path + b"/", found, inner, depth + 1)
    except (OSError, Unavailable, Denied):
        found[prefix + path] = "unreadable"


class FolderSource(WatchedSource):
    """A folder that is no repository."""

    def raw_listing(self) -> bytes:
        """Return what the folder's .gitignore and .ignore files leave of it."""
        if not self.root.is_dir():
            raise Unavailable(f"{self.root} is gone.")
        return b"\0".join(ignore_rules.walk_files(self.root))

    def parse_listing(self, raw: bytes) -> list[ListedPath]:
        """Return the files of a walk."""
        return sorted(ListedPath(path) for path in raw.split(b"\0") if path)

    def extra_folders(self) -> Iterable[bytes]:
        """Return every folder that is not ignored."""
        return ignore_rules.walk_folders(self.root, b"")


class FileListSource(WatchedSource):
    """A list of files, under the folder that they share."""

    def __init__(
        self, names: Sequence[Path], admit: AdmitPath | None, limit_bytes: int, trust: bool
    ) -> None:
        root = Path(os.path.commonpath([path.parent for path in names]))
        super().__init__(root, admit, limit_bytes, trust)
        self._names = sorted({os.fsencode(path.relative_to(root)) for path in names})

    def raw_listing(self) -> bytes:
        """Return the names, which never change."""
        return b"\0".join(self._names)

    def parse_listing(self, raw: bytes) -> list[ListedPath]:
        """Return the files."""
        return [ListedPath(name) for name in self._names]
