"""Log files as one context variable, whatever their formats, in order of time; rotated ones too.

`open_logs` opens them; the other names say which files are logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.config import Settings, cache_dir
from rlm_mcp.logs.detect import is_log_file, is_log_name, logs_by_name, logs_in_folder

if TYPE_CHECKING:
    from rlm_mcp.variable import Variable

__all__ = ["is_log_file", "is_log_name", "logs_by_name", "logs_in_folder", "open_logs"]


def open_logs(paths: Sequence[Path], name: str, settings: Settings) -> Variable:
    """Open log files as one variable, rotated ones in order of time."""
    from rlm_mcp.logs.logs import Logs  # numpy costs 100 ms

    return Logs(paths, name, settings, cache_dir())
