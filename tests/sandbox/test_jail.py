"""The kernel layers: the tables, and what can be checked of other systems' layers here."""

from __future__ import annotations

import ctypes
import struct
import sys

import pytest

from rlm_mcp.sandbox.jail import choose, seccomp, windows


def run_filter(program: bytes, number: int, arch: int, arguments: tuple[int, ...] = ()) -> int:
    """Interpret a filter as the kernel would, and return its verdict."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *arguments, *([0] * (6 - len(arguments))))
    steps = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    held = place = 0
    while True:
        code, if_true, if_false, value = steps[place]
        place += 1
        if code == seccomp.LOAD:
            (held,) = struct.unpack_from("=I", data, value)
        elif code == seccomp.AND:
            held &= value
        elif code == seccomp.RETURN:
            return int(value)
        else:
            taken = {
                seccomp.JUMP_EQUAL: held == value,
                seccomp.JUMP_SET: bool(held & value),
                seccomp.JUMP_OVER: held >= value,
            }[code]
            place += if_true if taken else if_false


@pytest.mark.parametrize("name", seccomp.TABLES)
def test_only_the_calls_of_the_table_pass(name: str) -> None:
    table = seccomp.TABLES[name]
    program = seccomp.program(table)
    assert len(program) % 8 == 0 and len(program) // 8 < 4096
    checked = {table.mmap, table.mprotect, table.fcntl}
    for number in range(600):
        verdict = run_filter(program, number, table.audit)
        if number not in checked:
            allowed = number in table.plain.values()
            assert verdict == (seccomp.ALLOW if allowed else seccomp.REFUSE), number
    assert run_filter(program, table.plain["read"], 0x40000003) == seccomp.KILL


@pytest.mark.parametrize("name", seccomp.TABLES)
def test_memory_is_neither_executable_nor_shared(name: str) -> None:
    table = seccomp.TABLES[name]
    program = seccomp.program(table)

    def mmap(prot: int, flags: int) -> bool:
        arguments = (0, 4096, prot, flags, 0, 0)
        return run_filter(program, table.mmap, table.audit, arguments) == seccomp.ALLOW

    assert mmap(3, 0x22) and mmap(1, 0x02)
    assert not mmap(7, 0x22) and not mmap(4, 0x22)
    assert not mmap(3, 0x21) and not mmap(3, 0x23) and not mmap(1, 0x01)
    for prot, allowed in ((0, True), (1, True), (3, True), (5, False), (7, False)):
        verdict = run_filter(program, table.mprotect, table.audit, (0, 4096, prot))
        assert (verdict == seccomp.ALLOW) == allowed


@pytest.mark.parametrize("name", seccomp.TABLES)
def test_descriptors_can_be_duplicated_and_looked_at_but_not_changed(name: str) -> None:
    table = seccomp.TABLES[name]
    program = seccomp.program(table)
    for command in range(1050):
        verdict = run_filter(program, table.fcntl, table.audit, (3, command))
        assert (verdict == seccomp.ALLOW) == (command in (1, 3, 1030))


def test_the_numbering_of_32_bit_programs_is_refused() -> None:
    program = seccomp.program(seccomp.X86_64)
    assert run_filter(program, 0x40000000 | 0, seccomp.X86_64.audit) == seccomp.REFUSE


@pytest.mark.parametrize("name", seccomp.TABLES)
def test_a_table_names_no_call_that_opens_makes_or_signals_anything(name: str) -> None:
    table = seccomp.TABLES[name]
    words = set(table.plain)
    assert not words & {
        "open", "openat", "openat2", "socket", "connect", "sendmsg", "sendto", "clone", "clone3",
        "fork", "vfork", "execve", "kill", "tgkill", "ptrace", "prctl", "ioctl", "memfd_create",
        "io_uring_setup", "stat", "newfstatat", "statx", "unlink", "chmod", "dup2", "setrlimit",
        "process_vm_readv", "bpf", "userfaultfd", "shmget", "pipe2", "eventfd2", "timerfd_create",
    }  # fmt: skip
    assert len(set(table.plain.values())) == len(words)


def test_the_aarch64_table_names_the_same_calls_but_for_those_it_has_not() -> None:
    missing = set(seccomp.X86_64.plain) ^ set(seccomp.AARCH64.plain)
    assert missing == {"poll", "ppoll", "time"}


def test_every_system_has_its_module_and_others_have_none() -> None:
    assert choose.jail("plan9") is None
    assert set(choose.MODULES) == {"linux", "darwin", "win32"}
    found = choose.jail("win32")
    assert found is not None and found.kind(("job", "low-integrity")) == "windows-job"
    assert found.kind(("job",)) == "none"
    assert "windows-job" not in choose.FULL, "it stops neither reading nor the network"


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_the_macos_profile_denies_first_and_opens_nothing() -> None:
    macos = choose.jail("darwin")
    assert macos is not None
    profile: str = macos.PROFILE  # type: ignore[attr-defined]
    assert profile.splitlines()[1] == "(deny default)"
    allowed = [line for line in profile.splitlines() if "allow" in line]
    assert allowed == ["(allow signal (target self))"]
    assert macos.kind(("rlimits",)) == "none" and macos.kind(("seatbelt",)) == "macos-seatbelt"


def test_the_windows_job_limits_memory_and_processes() -> None:
    wanted = windows.limits(1 << 29)
    assert wanted.process_memory == 1 << 29 and wanted.basic.active_processes == 1
    assert wanted.basic.flags & windows.LIMIT_KILL_ON_CLOSE
    if ctypes.sizeof(ctypes.c_void_p) == 8:
        assert ctypes.sizeof(windows.ExtendedLimits) == 144, "as the system declares it"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone")
def test_linux_layers_add_up_to_a_name() -> None:
    linux = choose.jail("linux")
    assert linux is not None
    assert linux.kind(("rlimits", "landlock-5", "seccomp")) == "linux-full"
    assert linux.kind(("rlimits", "seccomp")) == "linux-seccomp"
    assert linux.kind(("rlimits", "landlock-5")) == "none"
