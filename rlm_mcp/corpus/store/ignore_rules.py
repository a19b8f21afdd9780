"""Leave out what .gitignore and .ignore files exclude, where git does not do it.

Patterns are matched by pathspec on RE2, in linear time: an ignore file of a hostile repository
cannot stall us.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import re2

from rlm_mcp.errors import Unavailable
from rlm_mcp.files import open_regular

IGNORE_FILES = (".gitignore", ".ignore")
ALWAYS_IGNORED = frozenset({".git", ".hg", ".svn"})
MAX_RULES_BYTES = 1 << 20
"""Bytes of an ignore file that are read."""


class IgnoreRules:
    """The ignore files of one folder."""

    def __init__(self, lines: list[str]) -> None:
        # pathspec takes 30 ms to import; only folders with ignore files need it.
        from pathspec import GitIgnoreSpec

        try:
            self._spec = GitIgnoreSpec.from_lines(lines, backend="re2")
        except (ValueError, re2.error):
            good = [line for line in lines if _is_pattern(line)]
            self._spec = GitIgnoreSpec.from_lines(good, backend="re2")

    def match_path(self, path: str) -> bool | None:
        """Whether a path under the folder is ignored; None where no rule speaks of it."""
        return self._spec.check_file(path).include


def walk_files(root: Path) -> Iterator[bytes]:
    """Yield the paths of files under `root` that no ignore file excludes.

    Raises Unavailable where `root` itself cannot be listed.
    """
    try:
        yield from _walk_entries(os.fsencode(root), b"", [])
    except OSError as error:
        raise Unavailable(f"{root} is gone or cannot be listed: {error.strerror}.") from error


def walk_folders(root: Path, below: bytes) -> Iterator[bytes]:
    """Yield the folders under `below` (empty, or with its slash) that no ignore file excludes."""
    with contextlib.suppress(OSError):
        for path in _walk_entries(os.fsencode(root), below, [], folders=True):
            if path.endswith(b"/"):
                yield path.rstrip(b"/")


def find_pipe(root: Path) -> Path | None:
    """Return a .gitignore under `root` that is a pipe or the like: git would wait for it."""
    for folder, _, names in os.walk(root):
        if ".gitignore" in names and is_pipe(place := Path(folder, ".gitignore")):
            return place
    return None


def is_pipe(place: Path) -> bool:
    """Whether there is something at a place that is neither a file, a link nor a folder."""
    try:
        mode = place.lstat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode))


def without_ignored(root: Path, found: Mapping[bytes, str]) -> Mapping[bytes, str]:
    """Return `found` without what the .ignore files among it exclude."""
    holders = [path for path in found if path == b".ignore" or path.endswith(b"/.ignore")]
    chain = []
    for path in sorted(holders):
        folder = path[: -len(b".ignore")]
        rules = _read_rules([os.path.join(os.fsencode(root), path)])
        if rules is not None:
            chain.append((folder, rules))
    if not chain:
        return found
    return {path: reason for path, reason in found.items() if not _is_ignored(path, chain)}


def _walk_entries(
    root: bytes, folder: bytes, chain: list[tuple[bytes, IgnoreRules]], folders: bool = False
) -> Iterator[bytes]:
    """Yield files, and with `folders` also folders (with a slash), that are not excluded.

    A folder that cannot be listed is yielded as a file would be: it is described, not lost.
    """
    levels = [_list_folder(root, folder, chain)]
    while levels:
        entries, chain = levels[-1]
        entry = next(entries, None)
        if entry is None:
            levels.pop()
            continue
        path, is_folder = entry
        if not is_folder:
            if not _is_ignored(path, chain):
                yield path
        elif not _is_ignored(path + b"/", chain):
            if folders:
                yield path + b"/"
            try:
                levels.append(_list_folder(root, path + b"/", chain))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                if not folders:
                    yield path


def _list_folder(
    root: bytes, folder: bytes, chain: list[tuple[bytes, IgnoreRules]]
) -> tuple[Iterator[tuple[bytes, bool]], list[tuple[bytes, IgnoreRules]]]:
    """Return what is in a folder (path, whether it is a folder), and the rules in force there."""
    place = os.path.join(root, folder)
    with os.scandir(place) as listed:
        found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in listed)
    own = [os.path.join(place, name) for name, _ in found if os.fsdecode(name) in IGNORE_FILES]
    if own and (rules := _read_rules(own)) is not None:
        chain = [*chain, (folder, rules)]
    kept = [
        (folder + name, is_dir) for name, is_dir in found if os.fsdecode(name) not in ALWAYS_IGNORED
    ]
    return iter(kept), chain


def _read_rules(names: list[bytes]) -> IgnoreRules | None:
    lines: list[str] = []
    for name in names:
        try:
            with open_regular(name) as file:
                lines += _decode_lossy(file.read(MAX_RULES_BYTES)).splitlines()
        except OSError:
            continue
    return IgnoreRules(lines) if lines else None


def _is_pattern(line: str) -> bool:
    """Whether a line can be compiled; git too passes over those that cannot."""
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line], backend="re2")
    except (ValueError, re2.error):
        return False
    return True


def _decode_lossy(data: bytes) -> str:
    """Return text that RE2 takes: bytes that are not UTF-8 stand for each other."""
    return data.decode("utf-8", "replace")


def _is_ignored(path: bytes, chain: list[tuple[bytes, IgnoreRules]]) -> bool:
    """Whether the innermost rule that speaks of a path excludes it."""
    for folder, rules in reversed(chain):
        if path.startswith(folder):
            said = rules.match_path(_decode_lossy(path[len(folder) :]))
            if said is not None:
                return said
    return False
