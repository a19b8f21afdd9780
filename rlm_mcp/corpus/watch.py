"""Tell what changed in some folders, or that it is not known.

A thread of watchfiles (inotify and its like) notes paths as they change. Exactly the folders that
are named are watched, so that ignored trees cost nothing. Where watching fails or runs out of
watches, `changed()` returns None, and the caller compares everything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

DEBOUNCE_MS, STEP_MS = 50, 5
MANY = 1_000
"""Changes in one batch from which on some may have been lost."""


class Watch:
    """Watches the folders that `folders()` returns, not those below them.

    It is called in the thread of the watch: listing them may take long.
    """

    def __init__(self, folders: Callable[[], Iterable[str]]) -> None:
        self.folders: frozenset[str] = frozenset()
        self._changed: set[str] = set()
        self._ready = self._trusted = False
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(folders,), name="rlm-watch", daemon=True
        )
        self._thread.start()

    def changed(self) -> set[str] | None:
        """Return the paths that changed since the last call; None: unknown, compare everything.

        The first answer after watching has begun is None: what came before is not known.
        """
        with self._guard:
            trusted, self._trusted = self._trusted, self._ready
            paths, self._changed = self._changed, set()
        return paths if trusted else None

    def close(self) -> None:
        """Stop watching; the thread ends within a few milliseconds."""
        self._stop.set()

    def _run(self, folders: Callable[[], Iterable[str]]) -> None:
        try:
            self.folders = frozenset(folders())
            self._watch(sorted(self.folders))
        except Exception:
            pass
        finally:
            with self._guard:
                self._ready = self._trusted = False

    def _watch(self, folders: list[str]) -> None:
        # watchfiles takes 40 ms to import; here it costs nobody time.
        from watchfiles._rust_notify import RustNotify

        with RustNotify(folders, False, False, 300, False, True) as notify:
            with self._guard:
                self._ready = True
            while not self._stop.is_set():
                batch = notify.watch(DEBOUNCE_MS, STEP_MS, 0, self._stop)
                if not isinstance(batch, set):
                    return
                with self._guard:
                    if len(batch) > MANY:
                        self._trusted = False
                    self._changed.update(path for _, path in batch)
