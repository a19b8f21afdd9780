"""The kernel layers: the tables, and what can be checked of other systems' layers here."""

from __future__ import annotations

import ctypes
import struct
import sys

import pytest

from rlm_mcp.sandbox.jail import seccomp, select, windows

FLOOR = 0x7FFC_9000_0000
"""The lowest address of a stack."""


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
        elif code == seccomp.RETURN:
            return int(value)
        else:
            taken = {
                seccomp.JUMP_EQUAL: held == value,
                seccomp.JUMP_OVER: held >= value,
            }[code]
            place += if_true if taken else if_false


@pytest.mark.parametrize("name", seccomp.TABLES)
def test_only_the_calls_of_the_table_pass(name: str) -> None:
    table = seccomp.TABLES[name]
    program = seccomp.build_filter(table, FLOOR)
    assert len(program) % 8 == 0 and len(program) // 8 < 4096
    checked = {table.mmap, table.mprotect, table.mremap, table.madvise, table.fcntl}
    for number in range(600):
        verdict = run_filter(program, number, table.audit)
        if number not in checked:
            allowed = number in table.plain.values()
            assert verdict == (seccomp.ALLOW if allowed else seccomp.REFUSE), number
    assert run_filter(program, table.plain["read"], 0x40000003) == seccomp.KILL


@pytest.mark.parametrize("name", seccomp.TABLES)
def test_memory_comes_in_two_forms_where_the_kernel_puts_it(name: str) -> None:
    table = seccomp.TABLES[name]
    program = seccomp.build_filter(table, FLOOR)

    def mmap(prot: int, flags: int, address: int = 0) -> bool:
        arguments = (address, 4096, prot, flags, 0, 0)
        return run_filter(program, table.mmap, table.audit, arguments) == seccomp.ALLOW

    single = [0, *(1 << bit for bit in range(32))]
    for prot in [*single, 3, 5, 7]:
        for kind in (0, 1, 2, 3):
            for anonymous in (0, 0x20):
                for more in single:
                    flags = kind | anonymous | more
                    held = mmap(prot, flags)
                    assert held == ((prot, flags) in {(3, 0x22), (1, 0x02)}), (prot, flags)
    for address in (1, 4096, 1 << 31, 1 << 32, 1 << 46, 1 << 63):
        assert not mmap(3, 0x22, address) and not mmap(1, 0x02, address)


@pytest.mark.parametrize("name", seccomp.TABLES)
def test_memory_that_was_writable_never_stops_to_count_as_data(name: str) -> None:
    table = seccomp.TABLES[name]
    program = seccomp.build_filter(table, FLOOR)
    for prot in [*range(16), 0x1000003, 0x2000003]:
        verdict = run_filter(program, table.mprotect, table.audit, (4096, 4096, prot))
        assert (verdict == seccomp.ALLOW) == (prot == 3)


@pytest.mark.parametrize("name", seccomp.TABLES)
def test_memory_is_moved_below_the_stack_and_nowhere_in_particular(name: str) -> None:
    table = seccomp.TABLES[name]
    program = seccomp.build_filter(table, FLOOR)

    def mremap(address: int, flags: int = 1) -> bool:
        arguments = (address, 4096, 8192, flags, 0, 0)
        return run_filter(program, table.mremap, table.audit, arguments) == seccomp.ALLOW

    for address in (0, 4096, 0x5555_0000_0000, 0x5555_FFFF_F000, FLOOR - 4096, FLOOR - 1):
        assert mremap(address) and mremap(address, 0)
        assert not any(mremap(address, flags) for flags in (2, 3, 4, 5, 6, 7, 8, 9))
    for address in (FLOOR, FLOOR + 4096, FLOOR + (1 << 32), 0x7FFF_0000_0000, 1 << 63):
        assert not mremap(address)


@pytest.mark.parametrize("name", seccomp.TABLES)
def test_advice_about_memory_only_gives_it_back(name: str) -> None:
    table = seccomp.TABLES[name]
    program = seccomp.build_filter(table, FLOOR)
    for advice in range(120):
        verdict = run_filter(program, table.madvise, table.audit, (4096, 4096, advice))
        assert (verdict == seccomp.ALLOW) == (advice in (4, 8))


@pytest.mark.parametrize("name", seccomp.TABLES)
def test_descriptors_can_be_duplicated_and_looked_at_but_not_changed(name: str) -> None:
    table = seccomp.TABLES[name]
    program = seccomp.build_filter(table, FLOOR)
    for command in range(1050):
        verdict = run_filter(program, table.fcntl, table.audit, (3, command))
        assert (verdict == seccomp.ALLOW) == (command in (1, 3, 1030))


def test_the_numbering_of_32_bit_programs_is_refused() -> None:
    program = seccomp.build_filter(seccomp.X86_64, FLOOR)
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
    assert select.select_jail("plan9") is None
    assert set(select.JAIL_MODULES) == {"linux", "darwin", "win32"}
    found = select.select_jail("win32")
    assert found is not None and found.layer_kind(("job", "low-integrity")) == "windows-job"
    assert found.layer_kind(("job",)) == "none"
    assert "windows-job" not in select.FULL_LAYERS, "it stops neither reading nor the network"


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_the_macos_profile_denies_first_and_opens_nothing() -> None:
    macos = select.select_jail("darwin")
    assert macos is not None
    profile: str = macos.PROFILE  # type: ignore[attr-defined]
    assert profile.splitlines()[1] == "(deny default)"
    allowed = [line for line in profile.splitlines() if "allow" in line]
    assert allowed == ["(allow signal (target self))"]
    assert (
        macos.layer_kind(("rlimits",)) == "none"
        and macos.layer_kind(("seatbelt",)) == "macos-seatbelt"
    )


def test_the_windows_job_limits_memory_and_processes() -> None:
    wanted = windows.job_limits(1 << 29)
    assert wanted.process_memory == 1 << 29 and wanted.basic.active_processes == 1
    assert wanted.basic.flags & windows.LIMIT_KILL_ON_CLOSE
    if ctypes.sizeof(ctypes.c_void_p) == 8:
        assert ctypes.sizeof(windows.ExtendedLimits) == 144, "as the system declares it"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone")
def test_linux_layers_add_up_to_a_name() -> None:
    linux = select.select_jail("linux")
    assert linux is not None
    assert linux.layer_kind(("rlimits", "landlock-5", "seccomp")) == "linux-full"
    assert linux.layer_kind(("rlimits", "seccomp")) == "linux-seccomp"
    assert linux.layer_kind(("rlimits", "landlock-5")) == "none"
