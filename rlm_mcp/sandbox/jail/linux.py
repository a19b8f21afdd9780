"""Linux: Landlock, seccomp, limits and, where they are permitted, namespaces. No root needed.

Neither Landlock (UDP, stat, fork) nor seccomp (descriptors left open) is enough alone; together
they are the boundary. `detach` is done ahead of time in a spare worker, `lock` before its first
byte from a cell, and `self_test` proves what the kernel in fact refuses.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable

from rlm_mcp.sandbox.jail import seccomp

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
SECCOMP_MODE_FILTER = 2
NAMESPACES = {"user": 0x10000000, "net": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000}
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Landlock's number of file rights by ABI; later ones have as many as 5."""
CPU_SECONDS = 6 * 3600
MAX_DESCRIPTORS = 64
STACK_BYTES = 8 << 20
"""What Linux gives a stack by default; it is no data, so RLIMIT_DATA does not count it."""
_STACK_GAP = 1 << 20
"""What lies between the end of a stack at its limit and what is mapped below it."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def detach_inherited(keep: int) -> tuple[str, ...]:
    """Leave everything inherited behind: descriptors but `keep`, networks, capabilities.

    Returns the namespaces that were permitted. The process dies with its parent.
    """
    entered = _enter_namespaces()
    _call_prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _call_prctl(PR_SET_DUMPABLE, 0)
    _call_prctl(PR_SET_NO_NEW_PRIVS, 1)
    os.closerange(3, keep)
    os.closerange(keep + 1, 65536)
    return entered


def lock_process(memory_bytes: int) -> tuple[str, ...]:
    """Lock this process for good. Returns the layers that the kernel took, by name."""
    layers = ["rlimits"]
    floor = _stack_floor()
    _set_limits(memory_bytes)
    if abi := _apply_landlock():
        layers.append(f"landlock-{abi}")
    if _apply_seccomp(floor):
        layers.append("seccomp")
    return tuple(layers)


def layer_kind(layers: tuple[str, ...]) -> str:
    """Name what `lock` reached: linux-full, linux-seccomp, or none."""
    if "seccomp" not in layers:
        return "none"
    return "linux-full" if any(name.startswith("landlock") for name in layers) else "linux-seccomp"


def self_test() -> tuple[str, ...]:
    """Return the names of what should be refused and is not."""
    tries: dict[str, Callable[[], object]] = {
        "open": lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)),
        "list": lambda: os.listdir("/"),
        "write": lambda: os.close(os.open("/tmp/.rlm-mcp", os.O_WRONLY | os.O_CREAT, 0o600)),
        "stat": lambda: os.stat("/etc"),
        "socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
        "unix-socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "fork": _try_fork,
        "kill": lambda: os.kill(os.getppid(), 0),
        "exec-memory": lambda: _try_map(prot=7, flags=0x22),
        "stack-memory": lambda: _try_map(prot=3, flags=0x122),
        "shared-memory": lambda: _try_map(prot=3, flags=0x21),
        "reserved-memory": lambda: _try_map(prot=1, flags=0x22),
        "limits": lambda: resource.setrlimit(
            resource.RLIMIT_AS, resource.getrlimit(resource.RLIMIT_AS)
        ),
    }
    passed = []
    for name, attempt in tries.items():
        try:
            attempt()
        except OSError:
            continue
        passed.append(name)
    return tuple(passed)


def _try_fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _try_map(prot: int, flags: int) -> None:
    mmap = _libc.mmap
    mmap.restype = ctypes.c_void_p
    mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    if mmap(None, 4096, prot, flags, -1, 0) == ctypes.c_void_p(-1).value:
        raise PermissionError("mmap")


def _call_prctl(option: int, value: int, more: object = 0) -> int:
    result: int = _libc.prctl(option, ctypes.c_ulong(value), more, 0, 0)
    if result != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")
    return result


def _enter_namespaces() -> tuple[str, ...]:
    entered = []
    for name, flag in NAMESPACES.items():
        if _libc.unshare(flag) == 0:
            entered.append(name)
    _drop_capabilities()
    return tuple(entered)


def _drop_capabilities() -> None:
    table = seccomp.TABLES.get(platform.machine())
    if table is None:
        return
    header = struct.pack("=Ii", 0x20080522, 0)
    _libc.syscall(table.capset, ctypes.c_char_p(header), ctypes.c_char_p(bytes(24)))


def _set_limits(memory_bytes: int) -> None:
    for limit, value in (
        (resource.RLIMIT_DATA, memory_bytes),
        (resource.RLIMIT_STACK, STACK_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, MAX_DESCRIPTORS),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        with contextlib.suppress(ValueError):
            resource.setrlimit(limit, (value, value))
    _limit_addresses(memory_bytes + STACK_BYTES)


def _limit_addresses(more_bytes: int) -> None:
    """Bound the address space. The parent raises it by each context that it attaches.

    Only the soft limit is set: no parent without privileges could raise the hard one, and the
    worker has no call left that changes either.
    """
    with open("/proc/self/statm", "rb") as file:
        pages = int(file.read().split()[0])
    wanted = pages * resource.getpagesize() + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def _stack_floor() -> int:
    """Return the lowest address that the stack may come to."""
    with open("/proc/self/maps", "rb") as file:
        for line in file:
            if line.endswith(b"[stack]\n"):
                low, high = line.split(b" ", 1)[0].split(b"-")
                return min(int(low, 16), int(high, 16) - STACK_BYTES) - _STACK_GAP
    raise OSError("the stack of a worker was not found in /proc/self/maps")


def _apply_landlock() -> int:
    table = seccomp.TABLES.get(platform.machine())
    if table is None:
        return 0
    create, restrict = table.landlock, table.landlock + 2
    abi = _libc.syscall(create, None, 0, 1)
    if abi < 1:
        return 0
    rights = (1 << FILE_RIGHTS.get(abi, 16)) - 1
    attributes = struct.pack("=Q", rights)
    if abi >= 4:
        attributes += struct.pack("=Q", 3)  # bind and connect of TCP
    if abi >= 6:
        attributes += struct.pack("=Q", 3)  # abstract sockets and signals outside
    ruleset = _libc.syscall(create, ctypes.c_char_p(attributes), len(attributes), 0)
    if ruleset < 0:
        return 0
    locked = _libc.syscall(restrict, ruleset, 0) == 0
    os.close(ruleset)
    return int(abi) if locked else 0


def _apply_seccomp(stack_floor: int) -> bool:
    table = seccomp.TABLES.get(platform.machine())
    if table is None or sys.byteorder != "little" or sys.maxsize < 2**32:
        return False
    code = seccomp.build_filter(table, stack_floor)
    buffer = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    wanted = Program(len(code) // 8, ctypes.addressof(buffer))
    with contextlib.suppress(OSError):
        _call_prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(wanted))
        return True
    return False
