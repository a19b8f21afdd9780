"""macOS: a Seatbelt profile that denies everything, taken by the worker itself. Unverified.

Written from the documentation and never run. Seatbelt is deprecated by its maker and in use by
every tool of this kind. macOS ignores RLIMIT_DATA for most memory, so the memory limit is not held
by the kernel there, and a worker whose parent was killed ends only when its line does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
from collections.abc import Callable

PROFILE = """(version 1)
(deny default)
(deny file*)
(deny network*)
(deny process*)
(deny mach-lookup)
(deny signal)
(allow signal (target self))
"""
LIMITS = (
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_CPU, 6 * 3600),
)


def detach_inherited(keep: int) -> tuple[str, ...]:
    """Close every descriptor but `keep`; there are no namespaces."""
    os.closerange(3, keep)
    os.closerange(keep + 1, 4096)
    return ()


def lock_process(memory_bytes: int) -> tuple[str, ...]:
    """Take the profile for good. Returns the layers that the system took, by name."""
    for limit, value in (*LIMITS, (resource.RLIMIT_DATA, memory_bytes)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))
    return ("rlimits", "seatbelt") if _apply_seatbelt() else ("rlimits",)


def layer_kind(layers: tuple[str, ...]) -> str:
    """Name what `lock` reached."""
    return "macos-seatbelt" if "seatbelt" in layers else "none"


def self_test() -> tuple[str, ...]:
    """Return the names of what should be refused and is not."""
    tries: dict[str, Callable[[], object]] = {
        "open": lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)),
        "list": lambda: os.listdir("/"),
        "write": lambda: os.close(os.open("/tmp/.rlm-mcp", os.O_WRONLY | os.O_CREAT, 0o600)),
        "connect": _try_connect,
        "fork": _try_fork,
        "kill": lambda: os.kill(os.getppid(), 0),
    }
    passed = []
    for name, attempt in tries.items():
        try:
            attempt()
        except OSError:
            continue
        passed.append(name)
    return tuple(passed)


def _try_connect() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", 9))


def _try_fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _apply_seatbelt() -> bool:
    library = ctypes.CDLL("/usr/lib/libSystem.B.dylib", use_errno=True)
    problem = ctypes.c_char_p()
    result: int = library.sandbox_init(PROFILE.encode(), 0, ctypes.byref(problem))
    return result == 0
