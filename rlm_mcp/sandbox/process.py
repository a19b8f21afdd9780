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
import time
from pathlib import Path
from typing import Protocol

from rlm_mcp.sandbox.line import Line

_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
END_SECONDS = 5.0
WATCH_SECONDS = 0.025
"""How often the memory of a worker at work is looked at."""
LINGER_SECONDS = 1.0
"""How long a worker is watched after its last order: a hostile one may go on."""
MEMORY_SLACK_BYTES = 32 << 20
"""What a worker may hold above its limit: a stack, page tables of an honest size."""
_START = (
    "import sys; sys.path += {paths!r}; from rlm_mcp.sandbox import worker; "
    "worker.main_shared(sys.stdin.read())"
)


class ProcessHandle(Protocol):
    """What a worker is held by."""

    @property
    def pid(self) -> int: ...
    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process is gone."""
        ...

    def kill_and_wait(self) -> None:
        """End the process and wait until it has ended."""
        ...

    def raise_limit(self, size: int) -> None:
        """Let the process map so many bytes more of files."""
        ...


class PidHandle:
    """A process that the zygote forked."""

    def __init__(self, pid: int, pidfd: int | None) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._ended = False
        self._lock = threading.Lock()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process is gone."""
        with self._lock:
            self._send_locked(number)

    def _send_locked(self, number: int) -> None:
        if self._ended:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)

    def kill_and_wait(self) -> None:
        """End the process and wait until it has ended."""
        with self._lock:
            self._send_locked(_KILL)
            if self._pidfd is not None and not self._ended:
                waiting = select.poll()
                waiting.register(self._pidfd, select.POLLIN)
                waiting.poll(round(END_SECONDS * 1000))
                os.close(self._pidfd)
            self._ended = True

    def raise_limit(self, size: int) -> None:
        """Raise the limit of the address space; the process itself cannot."""
        import resource  # absent on Windows, where this line is never reached

        if not hasattr(resource, "prlimit"):  # macOS
            return
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._ended:
                return
            soft, hard = resource.prlimit(self.pid, resource.RLIMIT_AS)
            if soft != resource.RLIM_INFINITY:
                wanted = soft + size + resource.getpagesize()
                if hard != resource.RLIM_INFINITY:
                    wanted = min(wanted, hard)
                resource.prlimit(self.pid, resource.RLIMIT_AS, (wanted, hard))


class ChildHandle:
    """A process that this process started itself (Windows)."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid

    def send_signal(self, number: int) -> None:
        """Only ending is possible: a cell that runs too long loses its worker."""
        if number == _KILL:
            self._child.kill()

    def kill_and_wait(self) -> None:
        """End the process and wait until it has ended."""
        self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(END_SECONDS)

    def raise_limit(self, size: int) -> None:
        """Nothing to do: the job counts private memory, not addresses."""


class WorkerProcess:
    """A worker: its line, and what it is held by."""

    def __init__(self, end: socket.socket, handle: ProcessHandle) -> None:
        self.channel = Line(end)
        self.handle = handle
        self.memory_limit_bytes = 0
        """Bytes of memory, page tables included, above which it is killed; 0: none."""
        self.killed_bytes = 0
        """Bytes that it held when it was killed for them."""

    @property
    def pid(self) -> int:
        return self.handle.pid

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the worker is gone."""
        self.handle.send_signal(number)

    def raise_limit(self, size: int) -> None:
        """Make room for a context of so many bytes, and for its page tables."""
        self.handle.raise_limit(size)
        if self.memory_limit_bytes:
            self.memory_limit_bytes += size >> 9

    def kill_worker(self) -> None:
        """End the worker now and release what it held here."""
        self.handle.kill_and_wait()
        self.channel.close()


def memory_held(pid: int) -> int:
    """Return the bytes of a process that are its own: resident, swapped, page tables; else 0."""
    try:
        text = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return 0
    counted = (b"RssAnon:", b"RssShmem:", b"VmPTE:", b"VmSwap:")
    return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(counted))


class MemoryWatch:
    """Kills workers that hold more than they may.

    The limits of the kernel count no page tables, and a worker that keeps one page of every two
    megabytes has as many of them as pages.
    """

    def __init__(self) -> None:
        self._until: dict[WorkerProcess, float] = {}
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def watch_process(self, process: WorkerProcess) -> None:
        """Watch a worker until a while after `end`."""
        if process.memory_limit_bytes:
            with self._lock:
                self._until[process] = float("inf")
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(
                        target=self._watch_loop, daemon=True, name="rlm-watch"
                    )
                    self._thread.start()
            if not self._wanted.is_set():
                self._wanted.set()

    def unwatch_soon(self, process: WorkerProcess) -> None:
        """Stop watching a worker soon."""
        if process.memory_limit_bytes:
            with self._lock:
                self._until[process] = time.monotonic() + LINGER_SECONDS

    def _watch_loop(self) -> None:
        while True:
            self._wanted.wait()
            time.sleep(WATCH_SECONDS)
            with self._lock:
                now = time.monotonic()
                self._until = {one: until for one, until in self._until.items() if until > now}
                watched = list(self._until)
                if not watched:
                    self._wanted.clear()
            for process in watched:
                held = memory_held(process.pid)
                if held > process.memory_limit_bytes + MEMORY_SLACK_BYTES:
                    process.killed_bytes = held
                    process.send_signal(_KILL)


memory_watch = MemoryWatch()


class Spawner:
    """Makes workers where there is no fork: each is started anew (Windows; not run)."""

    def __init__(self, paths: list[str]) -> None:
        self._start = _START.format(paths=paths)
        self.is_alive = True

    def take_worker(self) -> WorkerProcess:
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
        return WorkerProcess(ours, ChildHandle(child))

    def close(self) -> None:
        """Nothing is kept: workers end when their lines are closed."""
        self.is_alive = False
