"""Say which files are logs: by their names, and those of no telling name by how they begin."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from rlm_mcp.files import open_regular
from rlm_mcp.logs import log_formats
from rlm_mcp.logs.log_time import Clock

_NAMES = re.compile(r"(?i)(?:\.log(?:[.-]\d[\w-]*)?|\Asyslog(?:\.\d+)?)(?:\.(?:gz|bz2|xz|zst))?\Z")
"""What log files are called; rotated and compressed ones too."""
_PACKED = re.compile(r"(?i)(?<!\.tar)\.(?:gz|bz2|xz|zst)\Z")
"""A single compressed file, which is read as a log reads it, whatever it is called."""
_UNTOLD = frozenset({"", ".txt", ".out", ".err", ".jsonl", ".ndjson", ".trace"})
"""Endings that do not say what a file is."""
_HEAD = 1 << 16
_LINES, _TIMED, _LEVELLED = 10, 0.5, 0.3
"""What the beginning of a log has: so many lines, and these shares with a time and a level."""


def is_log_name(path: Path) -> bool:
    """Say whether a file is a log by its name, or compressed like one."""
    return bool(_NAMES.search(path.name) or _PACKED.search(path.name))


def is_log_file(path: Path) -> bool:
    """Say whether a file is a log, by its name or, where that says nothing, by how it begins."""
    if is_log_name(path):
        return True
    if path.suffix.lower() not in _UNTOLD:
        return False
    lines = _file_head(path).split(b"\n")[:-1][:400]
    if len(lines) < _LINES:
        return False
    found = log_formats.detect_format(lines, Clock(time.time()))
    levelled = sum(bool(log_formats.line_level(line)) for line in lines) / len(lines)
    timed = found.formats[0] is not log_formats.PLAIN and found.share >= _TIMED
    return timed and levelled >= _LEVELLED


def logs_in_folder(folder: Path) -> list[Path]:
    """Return the logs that lie in a folder, not below it; nothing where it cannot be read."""
    return sorted(path for path in _folder_files(folder) if is_log_file(path))


def logs_by_name(folders: Iterable[Path]) -> list[Path]:
    """Return the files of some folders that are logs by their names; none of them is opened."""
    return sorted(path for folder in folders for path in _folder_files(folder) if is_log_name(path))


def _folder_files(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(e.path) for e in entries if e.is_file(follow_symlinks=False)]
    except OSError:
        return []  # no such folder, or not ours to read


def _file_head(path: Path) -> bytes:
    """Return how a regular file begins; nothing of one that cannot be read."""
    try:
        with open_regular(path, follow_links=True) as file:
            return file.read(_HEAD)
    except OSError:
        return b""
