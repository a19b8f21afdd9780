"""Windows: a job object, low integrity and no privileges. Unverified, and reduced by design.

Written from the documentation and never run. The job holds memory, forbids further processes and
ends the worker with its parent; low integrity forbids writes to the user's files. It does not stop
reading the user's files or using the network, so it needs the user's opt-in like no layer at all.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Any

JOB_EXTENDED_LIMITS = 9
LIMIT_ACTIVE_PROCESS, LIMIT_PROCESS_MEMORY = 0x8, 0x100
LIMIT_DIE_ON_EXCEPTION, LIMIT_KILL_ON_CLOSE = 0x400, 0x2000
JOB_LIMITS = (
    LIMIT_ACTIVE_PROCESS | LIMIT_PROCESS_MEMORY | LIMIT_DIE_ON_EXCEPTION | LIMIT_KILL_ON_CLOSE
)
TOKEN_ACCESS = 0x0020 | 0x0080 | 0x0008  # adjust privileges, adjust default, query
TOKEN_INTEGRITY = 25
LOW_INTEGRITY = "S-1-16-4096"
CHILD_PROCESS_POLICY = 13


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("process_time", ctypes.c_int64),
        ("job_time", ctypes.c_int64),
        ("flags", ctypes.c_uint32),
        ("minimum_working_set", ctypes.c_size_t),
        ("maximum_working_set", ctypes.c_size_t),
        ("active_processes", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority", ctypes.c_uint32),
        ("scheduling", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", BasicLimits),
        ("io", ctypes.c_uint64 * 6),
        ("process_memory", ctypes.c_size_t),
        ("job_memory", ctypes.c_size_t),
        ("peak_process_memory", ctypes.c_size_t),
        ("peak_job_memory", ctypes.c_size_t),
    )


class SidAndAttributes(ctypes.Structure):
    """SID_AND_ATTRIBUTES, as the label of a token."""

    _fields_ = (("sid", ctypes.c_void_p), ("attributes", ctypes.c_uint32))


def job_limits(memory_bytes: int) -> ExtendedLimits:
    """Return the limits of the job."""
    wanted = ExtendedLimits()
    wanted.basic.flags = JOB_LIMITS
    wanted.basic.active_processes = 1
    wanted.process_memory = memory_bytes
    return wanted


def detach_inherited(keep: int) -> tuple[str, ...]:
    """Nothing to do: a worker is started with no handle but its line."""
    return ()


def lock_process(memory_bytes: int) -> tuple[str, ...]:
    """Lock this process for good. Returns the layers that the system took, by name."""
    system: Any = getattr(ctypes, "windll")  # noqa: B009 - exists on Windows alone
    layers = []
    if _enter_job(system.kernel32, memory_bytes):
        layers.append("job")
    if _forbid_children(system.kernel32):
        layers.append("no-child-processes")
    if _lower_integrity(system):
        layers.append("low-integrity")
    return tuple(layers)


def layer_kind(layers: tuple[str, ...]) -> str:
    """Name what `lock` reached."""
    return "windows-job" if {"job", "low-integrity"} <= set(layers) else "none"


def self_test() -> tuple[str, ...]:
    """Return the names of what should be refused and is not."""
    home = os.path.expanduser("~")
    tries: dict[str, Callable[[], object]] = {
        "open": lambda: os.listdir(home),
        "write": lambda: os.mkdir(os.path.join(home, ".rlm-mcp-probe")),
        "process": lambda: os.spawnl(os.P_WAIT, "C:\\Windows\\System32\\where.exe", "where"),
    }
    passed = []
    for name, attempt in tries.items():
        try:
            attempt()
        except OSError:
            continue
        passed.append(name)
    return tuple(passed)


def _enter_job(kernel32: Any, memory_bytes: int) -> bool:
    kernel32.CreateJobObjectW.restype = ctypes.c_void_p
    kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    job = ctypes.c_void_p(kernel32.CreateJobObjectW(None, None))
    wanted = job_limits(memory_bytes)
    size = ctypes.sizeof(wanted)
    if not kernel32.SetInformationJobObject(job, JOB_EXTENDED_LIMITS, ctypes.byref(wanted), size):
        return False
    this = ctypes.c_void_p(kernel32.GetCurrentProcess())
    return bool(kernel32.AssignProcessToJobObject(job, this))


def _forbid_children(kernel32: Any) -> bool:
    policy = ctypes.c_uint32(1)
    return bool(kernel32.SetProcessMitigationPolicy(CHILD_PROCESS_POLICY, ctypes.byref(policy), 4))


def _lower_integrity(system: Any) -> bool:
    """Give up every privilege, and the right to write what is of medium integrity."""
    token = ctypes.c_void_p()
    this = ctypes.c_void_p(system.kernel32.GetCurrentProcess())
    if not system.advapi32.OpenProcessToken(this, TOKEN_ACCESS, ctypes.byref(token)):
        return False
    system.advapi32.AdjustTokenPrivileges(token, True, None, 0, None, None)
    sid = ctypes.c_void_p()
    if not system.advapi32.ConvertStringSidToSidW(LOW_INTEGRITY, ctypes.byref(sid)):
        return False
    label = SidAndAttributes(sid, 0x20)
    size = ctypes.sizeof(label)
    return bool(
        system.advapi32.SetTokenInformation(token, TOKEN_INTEGRITY, ctypes.byref(label), size)
    )
