"""Choose the kernel layer of this system. Never falls back to less without being told to."""

from __future__ import annotations

import importlib
import sys
from typing import Protocol

FULL_LAYERS = frozenset({"linux-full", "linux-seccomp", "macos-seatbelt"})
"""Layers that refuse files, network and processes. `windows-job` does not: it is reduced."""
JAIL_MODULES = {"linux": "linux", "darwin": "macos", "win32": "windows"}


class Jail(Protocol):
    """What the module of a system offers to a worker."""

    def detach_inherited(self, keep: int) -> tuple[str, ...]:
        """Leave everything inherited behind but the descriptor `keep`; name what was entered."""
        ...

    def lock_process(self, memory_bytes: int) -> tuple[str, ...]:
        """Lock this process for good; name the layers that the system took."""
        ...

    def layer_kind(self, layers: tuple[str, ...]) -> str:
        """Name what those layers add up to, or none."""
        ...

    def self_test(self) -> tuple[str, ...]:
        """Name what should be refused and is not."""
        ...


def select_jail(platform: str = sys.platform) -> Jail | None:
    """Return the kernel layer of a system, or None where there is none."""
    name = JAIL_MODULES.get(platform)
    if name is None:
        return None
    # 12 ms of ctypes, wanted in workers alone, and no system can import another's module.
    module: Jail = importlib.import_module(f"rlm_mcp.sandbox.jail.{name}")
    return module
