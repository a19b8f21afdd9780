"""Choose the kernel layer of this system. Never falls back to less without being told to."""

from __future__ import annotations

import sys
from types import ModuleType

KERNEL_LAYERS = ("linux-full", "linux-seccomp", "macos-seatbelt", "windows-job")
REDUCED = ("windows-job",)
"""Layers that stop less than files, network and processes; they need the user's opt-in too."""


def jail() -> ModuleType | None:
    """Return the module that locks a worker on this system, or None where there is none."""
    if sys.platform.startswith("linux"):
        from rlm_mcp.sandbox.jail import linux  # 12 ms of ctypes, wanted in workers alone

        return linux
    return None
