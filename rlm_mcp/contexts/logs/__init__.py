"""Log files as a context variable: `open(paths, name, settings)`, `detect(path)`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.config import Settings, cache_dir

if TYPE_CHECKING:
    from rlm_mcp.contexts.variable import Variable

NAMES = re.compile(r"(?i)(?:\.log(?:[.-]\d[\w-]*)?|\Asyslog(?:\.\d+)?)(?:\.(?:gz|bz2|xz|zst))?\Z")
"""What log files are called; rotated and compressed ones too."""
PACKED = re.compile(r"(?i)(?<!\.tar)\.(?:gz|bz2|xz|zst)\Z")
"""A single compressed file, which is read as a log reads it, whatever it is called."""


def detect(path: Path) -> bool:
    """Say whether a file is a log, by its name, or compressed like one."""
    return bool(NAMES.search(path.name) or PACKED.search(path.name))


def open(paths: Sequence[Path], name: str, settings: Settings) -> Variable:
    """Open log files as one variable, rotated ones in order of time."""
    from rlm_mcp.contexts.logs.logs import Logs  # numpy costs 100 ms

    return Logs(paths, name, settings, cache_dir())
