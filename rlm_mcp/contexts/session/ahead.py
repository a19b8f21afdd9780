"""Read the running session ahead of a client's hooks, in a thread of this process.

A prompt's hook says which transcript runs. While it grows, what the hooks around a compaction need
is read as it comes. A hook waits for what is missing for a bounded time; then it says what was
known last, and that it is behind.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from rlm_mcp.contexts.session.find import short
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.contexts.session.hooks import Standing
    from rlm_mcp.contexts.session.session import Session
    from rlm_mcp.contexts.variable import Variable

T = TypeVar("T")

WAIT_S = 5.0
"""How long a hook waits: a compaction takes much longer, and the user's rules are worth it."""
LOOK_S = 3.0
"""How often the transcript is looked at."""
WORTH = 64 << 10
"""Bytes of a transcript from which it is read ahead; a smaller one is read at once."""
STEP = 64 << 10
"""Bytes by which it has to have grown."""

_log = logging.getLogger(__name__)


class Ahead:
    """Follows one transcript at a time. `open` gives its variable, and may be slow."""

    def __init__(self, open: Callable[[], Variable], wait_s: float) -> None:
        self._open, self.wait_s = open, wait_s
        self._jobs: SimpleQueue[tuple[Callable[[Session], Any], Future[Any]] | None]
        self._jobs = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._path = Path()
        self._size = 0
        self._known: Standing | None = None
        self._closed = False

    def follow(self, path: Path) -> None:
        """Read `path` ahead from now on."""
        with self._lock:
            if path != self._path:
                self._path, self._size, self._known = path, 0, None
        self._start()
        self._jobs.put(None)

    def before(self, name: str) -> str:
        """Return what to hand the client's summariser."""
        from rlm_mcp.contexts.session import hooks  # 60 ms that a prompt's hook has no use for

        known = self._ask(hooks.standing)
        native = short(self._path.stem)
        return hooks.before_text(name, native, known or self._known, late=known is None)

    def after(self, name: str) -> str:
        """Return what to tell the model after the compaction."""
        from rlm_mcp.contexts.session import hooks

        found = self._ask(lambda session: (hooks.standing(session), hooks.wrong(session)))
        native = short(self._path.stem)
        if found is None:
            return hooks.after_text(name, native, self._known, None, late=True)
        return hooks.after_text(name, native, *found)

    def close(self) -> None:
        """End the thread as soon as it has done what it is at."""
        self._closed = True
        self._jobs.put(None)

    def _ask(self, make: Callable[[Session], T]) -> T | None:
        """Return what `make` gives for the fresh session, None where that takes too long."""
        self._start()
        future: Future[T] = Future()
        self._jobs.put((make, future))
        try:
            return future.result(self.wait_s)
        except TimeoutError:
            future.cancel()
            return None

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="rlm-ahead", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            job = None
            with contextlib.suppress(Empty):
                job = self._jobs.get(timeout=LOOK_S)
            if job is not None:
                self._do(*job)
            elif not self._closed and self._grown():
                self._read()

    def _do(self, make: Callable[[Session], Any], future: Future[Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(make(self._fresh()))
        except BaseException as error:
            future.set_exception(error)

    def _read(self) -> None:
        """Read what was added, and remember what holds now."""
        from rlm_mcp.contexts.session import hooks

        path = self._path
        try:
            known = hooks.prepare(self._fresh())
        except Exception as error:  # the next hook meets it again, and says it
            _log.info("The running session was not read ahead: %s", error)
            return
        with self._lock:
            if path == self._path:
                self._known = known

    def _fresh(self) -> Session:
        from rlm_mcp.contexts.session.session import Session

        variable = self._open()
        if not isinstance(variable, Session):
            raise BadRequest(f"{variable.name} is no session, but {variable.kind}.")
        variable.refresh()
        return variable

    def _grown(self) -> bool:
        """Say whether the transcript has grown enough to be read, or was rewritten."""
        try:
            size = os.stat(self._path).st_size
        except OSError:
            return False
        if size < WORTH or 0 <= size - self._size < STEP:
            return False
        self._size = size
        return True
