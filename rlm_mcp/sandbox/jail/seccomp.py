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
class SyscallTable:
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


X86_64 = SyscallTable(
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

AARCH64 = SyscallTable(
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


def build_filter(table: SyscallTable, stack_floor: int) -> bytes:
    """Return the filter as an array of `struct sock_filter`.

    `stack_floor` is the lowest address that the stack may reach: from there on nothing is moved or
    made longer, for the kernel counts a stack as no data.
    """
    code = [
        _bpf_step(LOAD, ARCH),
        _bpf_step(JUMP_EQUAL, table.audit, 1, 0),
        _bpf_step(RETURN, KILL),
        _bpf_step(LOAD, NR),
    ]
    if table.audit == X86_64.audit:  # the x32 numbering would bypass the table
        code += [_bpf_step(JUMP_OVER, 0x40000000, 0, 1), _bpf_step(RETURN, REFUSE)]
    for number in sorted(table.plain.values()):
        code += [_bpf_step(JUMP_EQUAL, number, 0, 1), _bpf_step(RETURN, ALLOW)]
    code += _checked_call(table.mprotect, _allow_values(2, PROT_READ_WRITE))
    code += _checked_call(table.mmap, _allow_mapping())
    code += _checked_call(
        table.mremap, [*_below_address(0, stack_floor), *_allow_values(3, 0, MREMAP_MAYMOVE)]
    )
    code += _checked_call(table.madvise, _allow_values(2, MADV_DONTNEED, MADV_FREE))
    code += _checked_call(table.fcntl, _allow_values(1, F_GETFD, F_GETFL, F_DUPFD_CLOEXEC))
    return b"".join([*code, _bpf_step(RETURN, REFUSE)])


def _bpf_step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _argument_offset(index: int) -> int:
    return ARGS + 8 * index  # the low half: both architectures are little-endian


def _allow_values(index: int, *values: int) -> list[bytes]:
    """Allow the call if an argument has one of these values."""
    steps = [_bpf_step(LOAD, _argument_offset(index))]
    for value in values:
        steps += [_bpf_step(JUMP_EQUAL, value, 0, 1), _bpf_step(RETURN, ALLOW)]
    return [*steps, _bpf_step(RETURN, REFUSE)]


def _below_address(index: int, address: int) -> list[bytes]:
    """Refuse the call unless an address lies below another; go on after the last step."""
    high, low = address >> 32, address & 0xFFFFFFFF
    return [
        _bpf_step(LOAD, _argument_offset(index) + 4),
        _bpf_step(JUMP_EQUAL, high, 0, 2),
        _bpf_step(LOAD, _argument_offset(index)),
        _bpf_step(JUMP_OVER, low, 1, 2),
        _bpf_step(JUMP_OVER, high, 0, 1),
        _bpf_step(RETURN, REFUSE),
    ]


def _allow_mapping() -> list[bytes]:
    """Allow memory to read and write, and files to read; addresses are the kernel's own choice.

    A page at an address of the worker's choice would cost two or three pages of page tables.
    """
    return [
        _bpf_step(LOAD, _argument_offset(0)),
        _bpf_step(JUMP_EQUAL, 0, 1, 0),
        _bpf_step(RETURN, REFUSE),
        _bpf_step(LOAD, _argument_offset(0) + 4),
        _bpf_step(JUMP_EQUAL, 0, 1, 0),
        _bpf_step(RETURN, REFUSE),
        _bpf_step(LOAD, _argument_offset(2)),
        _bpf_step(JUMP_EQUAL, PROT_READ_WRITE, 0, 2),
        _bpf_step(LOAD, _argument_offset(3)),
        _bpf_step(JUMP_EQUAL, MAP_PRIVATE_ANONYMOUS, 3, 4),
        _bpf_step(JUMP_EQUAL, PROT_READ, 0, 3),
        _bpf_step(LOAD, _argument_offset(3)),
        _bpf_step(JUMP_EQUAL, MAP_PRIVATE, 0, 1),
        _bpf_step(RETURN, ALLOW),
        _bpf_step(RETURN, REFUSE),
    ]


def _checked_call(number: int, body: list[bytes]) -> list[bytes]:
    return [_bpf_step(JUMP_EQUAL, number, 0, len(body)), *body]
