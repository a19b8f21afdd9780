"""Log files as one context variable, whatever their formats, in order of time; rotated ones too.

`open_logs` opens them; the other names say which files are logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.config import Settings, cache_dir
from rlm_mcp.logs.detect import is_log_file, is_log_name, logs_by_name, logs_in_folder, rotated_set

if TYPE_CHECKING:
    from rlm_mcp.logs.log_files import LogSource
    from rlm_mcp.variable import Variable

__all__ = [
    "is_log_file",
    "is_log_name",
    "logs_by_name",
    "logs_in_folder",
    "open_log_source",
    "open_logs",
    "rotated_set",
]


def open_logs(
    paths: Sequence[Path], name: str, settings: Settings, how: LogSource | None = None
) -> Variable:
    """Open log files as one variable, rotated ones in order of time."""
    from rlm_mcp.logs.logs import Logs  # numpy costs 100 ms

    return Logs(paths, name, settings, cache_dir(), how)


def open_log_source(
    source: str, find_paths: Callable[[str], tuple[list[Path], list[str]]], name: str,
    settings: Settings,
) -> Variable:  # fmt: skip
    """Open what follows `logs:`; `?tz=Europe/Berlin&year=2025` says what its times lack.

    `find_paths` returns the logs of a source, and what was left out.
    """
    from rlm_mcp.logs.log_files import LogSource  # numpy costs 100 ms
    from rlm_mcp.logs.log_time import Clock, text_time, zone_named

    zone, latest = None, 0.0
    if asked := _ASKED.search(source):
        source = source[: asked.start()]
        given = dict(pair.split("=", 1) for pair in asked[1].split("&"))
        zone = zone_named(given["tz"]) if "tz" in given else None
        latest = (
            text_time(f"{given['year']}-12-31 23:59:59", Clock(0.0)) or 0.0
            if "year" in given
            else 0.0
        )
    paths, left_out = find_paths(source)
    how = LogSource(zone, latest, lambda: find_paths(source)[0], tuple(left_out))
    return open_logs(paths, name, settings, how)


_ASKED = re.compile(r"\?((?:tz=[^&?]+|year=\d{4})(?:&(?:tz=[^&?]+|year=\d{4}))*)\Z")
