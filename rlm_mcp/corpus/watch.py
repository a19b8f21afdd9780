"""Tell what changed below a folder, or that it is not known.

A thread of watchfiles (inotify and its like) notes paths as they change. Where watching fails or
runs out of watches, `changed()` returns None, and the caller compares everything.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

DEBOUNCE_MS, STEP_MS = 50, 5


class Watch:
    """Watches a folder. `ignored(path)` says which folders and files do not matter."""

    def __init__(self, folder: Path, ignored: Callable[[Path], bool]) -> None:
        self._folder, self._ignored = folder, ignored
        self._changed: set[Path] = set()
        self._known = False
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rlm-watch", daemon=True)
        self._thread.start()

    def changed(self) -> set[Path] | None:
        """Return what changed since the last call; None: unknown, compare everything."""
        with self._guard:
            known, self._known = self._known, self._thread.is_alive()
            paths, self._changed = self._changed, set()
        return paths if known else None

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        # watchfiles takes 80-110 ms to import.
        import watchfiles

        with contextlib.suppress(OSError, RuntimeError):
            changes = watchfiles.watch(
                self._folder,
                watch_filter=None,
                debounce=DEBOUNCE_MS,
                step=STEP_MS,
                stop_event=self._stop,
                rust_timeout=1000,
                yield_on_timeout=False,
                raise_interrupt=False,
            )
            for batch in changes:
                paths = {Path(name) for _, name in batch}
                with self._guard:
                    self._changed |= {path for path in paths if not self._ignored(path)}
        with self._guard:
            self._known = False
