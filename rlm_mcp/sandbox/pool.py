"""Workers, ready before they are wanted: one zygote for this process, one spare beside it.

A worker is taken, told its limits, locks itself, tests the lock, and only then is given a cell.
A worker that fails its self-test is killed and never used. Nothing here outlives this process.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.errors import SandboxError
from rlm_mcp.sandbox import wire
from rlm_mcp.sandbox.jail import select
from rlm_mcp.sandbox.process import PidHandle, Spawner, WorkerProcess

START_SECONDS = 30.0
"""How long a zygote or a worker may take to answer on a machine under load."""
_START = "import sys; sys.path += {paths!r}; from rlm_mcp.sandbox import zygote; zygote.main({fd})"


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is told before its first cell."""

    memory_mb: int
    output_chars: int
    wire_bytes: int
    call_bytes: int
    language: bool
    kernel: bool


class Zygote:
    """The process that workers are forked from, and the spare one it has made ahead."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            paths = _import_paths()
            start = _START.format(paths=paths, fd=theirs.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-X", "utf8", "-c", start],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._control = ours
        self._control.settimeout(START_SECONDS)
        self._ordered_end: socket.socket | None = None
        self.owner = os.getpid()
        try:
            started = self._control.recv(1)
        except OSError:
            started = b""
        if started != b"+":
            self.close()
            raise SandboxError("The sandbox could not start its first process; run rlm-mcp doctor.")
        self._order_fork()

    def take_worker(self) -> WorkerProcess:
        """Return a fresh worker and order the next one."""
        if self._ordered_end is None:
            self._order_fork()
        end, self._ordered_end = self._ordered_end, None
        assert end is not None
        data, rights, _, _ = self._control.recvmsg(4, socket.CMSG_SPACE(4))
        if len(data) != 4:
            raise OSError("the zygote is gone")
        pidfd = array.array("i", rights[0][2][:4])[0] if rights else None
        process = WorkerProcess(end, PidHandle(struct.unpack(">I", data)[0], pidfd))
        with contextlib.suppress(OSError):
            self._order_fork()
        return process

    def _order_fork(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            passed = array.array("i", [theirs.fileno()]).tobytes()
            self._control.sendmsg([b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        self._ordered_end = ours

    @property
    def is_alive(self) -> bool:
        """Whether it belongs to this process (not to one we were forked from) and runs."""
        return self.owner == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """End it; its workers end with it."""
        self._control.close()
        if self._ordered_end is not None:
            self._ordered_end.close()
        if self.owner == os.getpid():
            self._process.kill()
            self._process.wait()


_lock = threading.Lock()
_zygote: Zygote | Spawner | None = None


def take_worker(config: WorkerConfig, *, reduced: bool) -> tuple[WorkerProcess, tuple[str, ...]]:
    """Return a locked and tested worker and its layers.

    Raises SandboxError where there is no kernel layer and the user has not opted for less, and
    for a worker whose self-test let anything through.
    """
    process = _fork_worker()
    try:
        deadline = time.monotonic() + START_SECONDS
        order = {
            "op": "config",
            "memory_mb": config.memory_mb,
            "output_chars": config.output_chars,
            "wire_bytes": config.wire_bytes,
            "call_bytes": config.call_bytes,
            "language": config.language,
            "kernel": config.kernel,
        }
        process.channel.send(wire.encode_frame(order), deadline)
        ready, _ = process.channel.receive(deadline, 1 << 16)
    except (wire.ChannelClosed, wire.DeadlinePassed, wire.ProtocolViolation) as error:
        process.kill_worker()
        raise SandboxError(
            f"A sandbox worker did not start with cell_memory_mb = {config.memory_mb}. If that is "
            "too little, raise it in the project's .rlm/config.toml or in your own config.toml; "
            "else run rlm-mcp doctor."
        ) from error
    layers = _ready_layers(ready)
    failed = ready.get("failed")
    if config.kernel and not reduced and (failed != [] or not _is_full(layers)):
        process.kill_worker()
        raise SandboxError(
            f"The sandbox has no full kernel layer here (layers: {', '.join(layers) or 'none'}; "
            f"not refused: {', '.join(map(str, failed or [])) or 'nothing'}). To run with less, "
            "set reduced_sandbox in your own configuration or on the command line."
        )
    if any(name.startswith("linux") for name in layers):
        process.memory_limit_bytes = config.memory_mb << 20
    return process, layers


def stop_pool() -> None:
    """End the zygote and every worker; the next `take` starts anew."""
    global _zygote
    with _lock:
        if _zygote is not None:
            _zygote.close()
        _zygote = None


def _fork_worker() -> WorkerProcess:
    global _zygote
    with _lock:
        for attempt in (1, 2):
            if _zygote is None or not _zygote.is_alive:
                if _zygote is not None:
                    _zygote.close()
                _zygote = Zygote() if hasattr(os, "fork") else Spawner(_import_paths())
            try:
                return _zygote.take_worker()
            except OSError as error:
                _zygote.close()
                _zygote = None
                if attempt == 2:
                    raise SandboxError("The sandbox cannot make workers.") from error
    raise AssertionError("unreachable")


def _ready_layers(ready: wire.Message) -> tuple[str, ...]:
    layers = ready.get("layers")
    if ready.get("op") != "ready" or type(layers) is not list:
        return ()
    return tuple(str(name) for name in layers)


def _is_full(layers: tuple[str, ...]) -> bool:
    return bool(select.FULL_LAYERS.intersection(layers))


def _import_paths() -> list[str]:
    """Return the folders of this package and of RestrictedPython, and no others."""
    from importlib.util import find_spec  # the package itself is never imported in this process

    spec = find_spec("RestrictedPython")
    if spec is None or spec.origin is None:
        raise SandboxError("RestrictedPython is not installed.")
    ours = str(Path(__file__).resolve().parents[2])
    return list(dict.fromkeys([ours, str(Path(spec.origin).resolve().parents[1])]))


atexit.register(stop_pool)
