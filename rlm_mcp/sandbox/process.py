"""A worker process as its parent holds it, however it was made.

On Linux by a process descriptor, which can never name another process; on other POSIX systems by
its id; on Windows as a child of this process (that path has not been run).
"""

from __future__ import annotations

import base64
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from typing import Protocol

from rlm_mcp.sandbox import wire

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
END_SECONDS = 5.0
_START = (
    "import sys; sys.path += {paths!r}; from rlm_mcp.sandbox import worker; "
    "worker.main_shared(sys.stdin.read())"
)


class Handle(Protocol):
    """What a worker is held by."""

    @property
    def pid(self) -> int: ...
    def signal(self, number: int) -> None:
        """Send a signal, unless the process is gone."""
        ...

    def kill(self) -> None:
        """End the process and wait until it has ended."""
        ...


class PidHandle:
    """A process that the zygote forked."""

    def __init__(self, pid: int, pidfd: int | None) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._ended = False
        self._lock = threading.Lock()

    def signal(self, number: int) -> None:
        """Send a signal, unless the process is gone."""
        with self._lock:
            self._signal(number)

    def _signal(self, number: int) -> None:
        if self._ended:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process and wait until it has ended."""
        with self._lock:
            self._signal(_KILL)
            if self._pidfd is not None and not self._ended:
                waiting = select.poll()
                waiting.register(self._pidfd, select.POLLIN)
                waiting.poll(round(END_SECONDS * 1000))
                os.close(self._pidfd)
            self._ended = True


class ChildHandle:
    """A process that this process started itself (Windows)."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid

    def signal(self, number: int) -> None:
        """Only ending is possible: a cell that runs too long loses its worker."""
        if number == _KILL:
            self._child.kill()

    def kill(self) -> None:
        """End the process and wait until it has ended."""
        self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(END_SECONDS)


class Process:
    """A worker: its line, and what it is held by."""

    def __init__(self, end: socket.socket, handle: Handle) -> None:
        self.line = wire.Line(end)
        self.handle = handle

    @property
    def pid(self) -> int:
        return self.handle.pid

    def signal(self, number: int) -> None:
        """Send a signal, unless the worker is gone."""
        self.handle.signal(number)

    def kill(self) -> None:
        """End the worker now and release what it held here."""
        self.handle.kill()
        self.line.close()


class Spawner:
    """Makes workers where there is no fork: each is started anew (Windows; not run)."""

    def __init__(self, paths: list[str]) -> None:
        self._start = _START.format(paths=paths)
        self.alive = True

    def take(self) -> Process:
        """Start a worker and hand it its end of the line."""
        ours, theirs = socket.socketpair()
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", self._start],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"SYSTEMROOT": os.environ.get("SYSTEMROOT", "")},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        share = getattr(theirs, "share")  # noqa: B009 - exists on Windows alone
        with theirs:
            assert child.stdin is not None
            child.stdin.write(base64.b64encode(share(child.pid)))
            child.stdin.close()
        return Process(ours, ChildHandle(child))

    def close(self) -> None:
        """Nothing is kept: workers end when their lines are closed."""
        self.alive = False
