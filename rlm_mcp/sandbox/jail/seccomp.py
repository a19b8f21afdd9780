"""The system calls that a worker may make, as a BPF program per architecture.

An allow-list: what is not named fails with EPERM. Memory comes in two forms alone, so that
RLIMIT_DATA counts all that can be written: private anonymous memory to read and write, and private
mappings of a file to read, both where the kernel puts them. `mprotect` may only make memory
writable, `mremap` may not touch the stack, `fcntl` may only duplicate a descriptor or read its
flags. x86-64 is run by the tests; the aarch64 table is checked for its shape and has not been run.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

LOAD, JUMP_EQUAL, JUMP_OVER, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000  # EPERM is 1
PROT_READ, PROT_READ_WRITE = 0x1, 0x3
MAP_PRIVATE, MAP_PRIVATE_ANONYMOUS = 0x02, 0x22
MREMAP_MAYMOVE = 1
MADV_DONTNEED, MADV_FREE = 4, 8
NR, ARCH, ARGS = 0, 4, 16
F_GETFD, F_GETFL, F_DUPFD_CLOEXEC = 1, 3, 1030


@dataclass(frozen=True)
class Table:
    """The numbers of one architecture. `plain` calls pass with any argument."""

    audit: int
    """The kernel's AUDIT_ARCH value."""
    plain: dict[str, int]
    mmap: int
    mprotect: int
    mremap: int
    madvise: int
    fcntl: int
    landlock: int
    """landlock_create_ruleset; add_rule and restrict_self follow."""
    capset: int
    pidfd_send_signal: int = 424


X86_64 = Table(
    audit=0xC000003E,
    plain={
        "read": 0,
        "write": 1,
        "close": 3,
        "fstat": 5,
        "poll": 7,
        "munmap": 11,
        "brk": 12,
        "rt_sigaction": 13,
        "rt_sigprocmask": 14,
        "rt_sigreturn": 15,
        "sched_yield": 24,
        "nanosleep": 35,
        "getpid": 39,
        "recvfrom": 45,
        "recvmsg": 47,
        "exit": 60,
        "gettimeofday": 96,
        "getrusage": 98,
        "sigaltstack": 131,
        "gettid": 186,
        "time": 201,
        "futex": 202,
        "restart_syscall": 219,
        "clock_gettime": 228,
        "clock_getres": 229,
        "clock_nanosleep": 230,
        "exit_group": 231,
        "getrandom": 318,
    },
    mmap=9,
    mprotect=10,
    mremap=25,
    madvise=28,
    fcntl=72,
    landlock=444,
    capset=126,
)

AARCH64 = Table(
    audit=0xC00000B7,
    plain={
        "read": 63,
        "write": 64,
        "close": 57,
        "fstat": 80,
        "ppoll": 73,
        "munmap": 215,
        "brk": 214,
        "rt_sigaction": 134,
        "rt_sigprocmask": 135,
        "rt_sigreturn": 139,
        "sched_yield": 124,
        "nanosleep": 101,
        "getpid": 172,
        "recvfrom": 207,
        "recvmsg": 212,
        "exit": 93,
        "gettimeofday": 169,
        "getrusage": 165,
        "sigaltstack": 132,
        "gettid": 178,
        "futex": 98,
        "restart_syscall": 128,
        "clock_gettime": 113,
        "clock_getres": 114,
        "clock_nanosleep": 115,
        "exit_group": 94,
        "getrandom": 278,
    },
    mmap=222,
    mprotect=226,
    mremap=216,
    madvise=233,
    fcntl=25,
    landlock=444,
    capset=91,
)

TABLES = {"x86_64": X86_64, "aarch64": AARCH64}


def program(table: Table, stack_floor: int) -> bytes:
    """Return the filter as an array of `struct sock_filter`.

    `stack_floor` is the lowest address that the stack may reach: from there on nothing is moved or
    made longer, for the kernel counts a stack as no data.
    """
    code = [
        _step(LOAD, ARCH),
        _step(JUMP_EQUAL, table.audit, 1, 0),
        _step(RETURN, KILL),
        _step(LOAD, NR),
    ]
    if table.audit == X86_64.audit:  # the x32 numbering would bypass the table
        code += [_step(JUMP_OVER, 0x40000000, 0, 1), _step(RETURN, REFUSE)]
    for number in sorted(table.plain.values()):
        code += [_step(JUMP_EQUAL, number, 0, 1), _step(RETURN, ALLOW)]
    code += _checked(table.mprotect, _one_of(2, PROT_READ_WRITE))
    code += _checked(table.mmap, _mapping())
    code += _checked(table.mremap, [*_below(0, stack_floor), *_one_of(3, 0, MREMAP_MAYMOVE)])
    code += _checked(table.madvise, _one_of(2, MADV_DONTNEED, MADV_FREE))
    code += _checked(table.fcntl, _one_of(1, F_GETFD, F_GETFL, F_DUPFD_CLOEXEC))
    return b"".join([*code, _step(RETURN, REFUSE)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _argument(index: int) -> int:
    return ARGS + 8 * index  # the low half: both architectures are little-endian


def _one_of(index: int, *values: int) -> list[bytes]:
    """Allow the call if an argument has one of these values."""
    steps = [_step(LOAD, _argument(index))]
    for value in values:
        steps += [_step(JUMP_EQUAL, value, 0, 1), _step(RETURN, ALLOW)]
    return [*steps, _step(RETURN, REFUSE)]


def _below(index: int, address: int) -> list[bytes]:
    """Refuse the call unless an address lies below another; go on after the last step."""
    high, low = address >> 32, address & 0xFFFFFFFF
    return [
        _step(LOAD, _argument(index) + 4),
        _step(JUMP_EQUAL, high, 0, 2),
        _step(LOAD, _argument(index)),
        _step(JUMP_OVER, low, 1, 2),
        _step(JUMP_OVER, high, 0, 1),
        _step(RETURN, REFUSE),
    ]


def _mapping() -> list[bytes]:
    """Allow memory to read and write, and files to read; addresses are the kernel's own choice.

    A page at an address of the worker's choice would cost two or three pages of page tables.
    """
    return [
        _step(LOAD, _argument(0)),
        _step(JUMP_EQUAL, 0, 1, 0),
        _step(RETURN, REFUSE),
        _step(LOAD, _argument(0) + 4),
        _step(JUMP_EQUAL, 0, 1, 0),
        _step(RETURN, REFUSE),
        _step(LOAD, _argument(2)),
        _step(JUMP_EQUAL, PROT_READ_WRITE, 0, 2),
        _step(LOAD, _argument(3)),
        _step(JUMP_EQUAL, MAP_PRIVATE_ANONYMOUS, 3, 4),
        _step(JUMP_EQUAL, PROT_READ, 0, 3),
        _step(LOAD, _argument(3)),
        _step(JUMP_EQUAL, MAP_PRIVATE, 0, 1),
        _step(RETURN, ALLOW),
        _step(RETURN, REFUSE),
    ]


def _checked(number: int, body: list[bytes]) -> list[bytes]:
    return [_step(JUMP_EQUAL, number, 0, len(body)), *body]
