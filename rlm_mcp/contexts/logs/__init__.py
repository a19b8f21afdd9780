"""Log files as a context variable: `open(paths, name, settings)`, and how they are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.config import Settings, cache_dir
from rlm_mcp.contexts.logs.find import by_name, detect, named, under

if TYPE_CHECKING:
    from rlm_mcp.contexts.variable import Variable

__all__ = ["by_name", "detect", "named", "open", "under"]


def open(paths: Sequence[Path], name: str, settings: Settings) -> Variable:
    """Open log files as one variable, rotated ones in order of time."""
    from rlm_mcp.contexts.logs.logs import Logs  # numpy costs 100 ms

    return Logs(paths, name, settings, cache_dir())
