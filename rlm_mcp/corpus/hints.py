"""Which files may have changed since the last look, from a watch that is not trusted for long."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rlm_mcp.corpus.watch import Watch

BACKSTOP_S = 10.0
"""After so long everything is compared, whatever the watch says: it may have missed something."""
MOST_FOREIGN = 10_000
_RULES = frozenset({".gitignore", ".ignore", ".gitmodules", ".git"})
_GIT = frozenset({"index", "HEAD", "exclude"})

Folders = Callable[[], Iterable[bytes]]


class Hints:
    """A watch over the folders of a listing, begun at the second look."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._outside: frozenset[str] = frozenset()
        self._foreign: set[str] = set()
        self._pending: set[str] = set()
        self._watch: Watch | None = None
        self._looks = 0
        self._compared = 0.0

    def take(self) -> set[bytes] | None:
        """Return the paths under the root that may have changed; None: any may have."""
        self._pending = set()
        changed = None if self._watch is None else self._watch.changed()
        if changed is None or time.monotonic() - self._compared > BACKSTOP_S:
            return None
        for path in changed - self._foreign:
            folder, _, name = path.rpartition("/")
            if folder in self._outside:
                if name in _GIT:
                    return None
            elif name in _RULES:
                self._foreign.clear()
                self.close()
                return None
            else:
                self._pending.add(path)
        return {os.fsencode(os.path.relpath(path, self._root)) for path in self._pending}

    def distrust(self) -> None:
        """Compare everything at the next look: what was told already did not lead to a state."""
        self._compared = float("-inf")

    def is_folder(self, path: bytes) -> bool:
        """Whether this path is a folder that is watched."""
        watched = self._watch.folders if self._watch is not None else frozenset()
        return os.path.join(self._root, os.fsdecode(path)) in watched

    def watch(self, paths: Sequence[bytes], outside: Sequence[bytes], more: Folders) -> None:
        """Note that everything is being compared now; from the second time on, keep a watch.

        `paths` are the files, `outside` folders of git whose changes matter, `more` lists further
        folders where files may appear; it is called in the background.
        """
        self._compared = time.monotonic()
        self._looks += 1
        if self._looks < 2:
            return
        if any(os.path.isdir(path) for path in self._pending):
            self.close()
        listed = {os.path.join(self._root, os.fsdecode(path)) for path in paths}
        there = {path for path in self._pending - listed if os.path.lexists(path)}
        if len(self._foreign) < MOST_FOREIGN:
            self._foreign |= there
        if self._watch is None:
            self._outside = frozenset(os.fsdecode(path) for path in outside)
            self._watch = Watch(self._root, lambda: self._folders(paths, more))

    def close(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _folders(self, paths: Sequence[bytes], more: Folders) -> Iterable[str]:
        parents = {b""}
        for path in (*paths, *(folder + b"/" for folder in more())):
            while (path := path.rpartition(b"/")[0]) not in parents:
                parents.add(path)
        root = self._root
        return {os.path.join(root, os.fsdecode(path)) if path else root for path in parents} | {
            path for path in self._outside if os.path.isdir(path)
        }
