"""Tell what changed in some folders, or that it is not known.

Exactly the folders that are named are watched, so that ignored trees cost nothing. On Linux the
kernel's queue is read when `changed()` is called; elsewhere a thread of watchfiles notes paths as
they change (unverified there). Where watching fails, runs out of watches or cannot be trusted
(network file systems), `changed()` returns None, and the caller compares everything.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

DEBOUNCE_MS, STEP_MS = 50, 5
MANY = 1_000
"""Changes in one batch of watchfiles from which on some may have been lost."""


class Source(Protocol):
    """What reports changes."""

    def changed(self) -> set[str] | None: ...
    def close(self) -> object: ...


class Watch:
    """Watches the folders that `folders()` returns, not those below them.

    It is called in a thread: listing and registering them may take long.
    """

    def __init__(self, root: str, folders: Callable[[], Iterable[str]]) -> None:
        self.folders: frozenset[str] = frozenset()
        self._root = root
        self._source: Source | None = None
        self._fresh = True
        self._early: set[str] = set()
        self._guard = threading.Lock()
        self._closed = False
        threading.Thread(target=self._begin, args=(folders,), name="rlm-watch", daemon=True).start()

    def changed(self) -> set[str] | None:
        """Return the paths that changed since the last call; None: unknown, compare everything.

        The first answer after watching has begun is None: what came before is not known.
        """
        with self._guard:
            if self._source is None:
                return None
            paths = self._source.changed()
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

    def _begin(self, folders: Callable[[], Iterable[str]]) -> None:
        try:
            named, source = _covering(self._root, folders)
        except Exception:
            # Whatever keeps us from watching, the answer is None: compare everything.
            return
        with self._guard:
            if self._closed or source is None:
                if source is not None:
                    source.close()
                return
            self.folders, self._source = named, source


def _covering(
    root: str, folders: Callable[[], Iterable[str]]
) -> tuple[frozenset[str], Source | None]:
    """Watch all folders, also those that appear between listing and watching them."""
    named = frozenset(folders())
    for _ in range(5):
        source = _source(root, named)
        again = frozenset(folders())
        if source is None or again <= named:
            return named, source
        source.close()
        named |= again
    return named, None


def _source(root: str, folders: frozenset[str]) -> Source | None:
    if sys.platform == "linux":
        from rlm_mcp.corpus import inotify

        return inotify.Inotify(folders) if inotify.local(os.path.realpath(root)) else None
    return _Thread(sorted(folders))


class _Thread:
    """A thread of watchfiles."""

    def __init__(self, folders: list[str]) -> None:
        # watchfiles takes 40 ms to import; this runs in the background.
        from watchfiles._rust_notify import RustNotify

        self._notify = RustNotify(folders, False, False, 300, False, True)
        self._changed: set[str] = set()
        self._lost = False
        self._guard = threading.Lock()
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="rlm-watch-files", daemon=True).start()

    def changed(self) -> set[str] | None:
        """Return the paths that changed since the last call; None where events were lost."""
        with self._guard:
            lost, self._lost = self._lost, self._stop.is_set()
            paths, self._changed = self._changed, set()
        return None if lost else paths

    def close(self) -> None:
        """Stop the thread; it ends within a few milliseconds."""
        self._stop.set()

    def _run(self) -> None:
        try:
            with self._notify as notify:
                while isinstance(batch := notify.watch(DEBOUNCE_MS, STEP_MS, 0, self._stop), set):
                    with self._guard:
                        self._lost |= len(batch) > MANY
                        self._changed.update(path for _, path in batch)
        finally:
            with self._guard:
                self._lost = True
            self._stop.set()
