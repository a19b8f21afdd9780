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

_NAMES = re.compile(
    r"(?i)(?:\.(?:log|glog|syslog)(?:[.-]\d[\w-]*)?"
    r"|\A(?:syslog|messages|catalina\.out)(?:[.-]\d+)?)(?:\.(?:gz|bz2|xz|zst))?\Z"
)
"""What log files are called; rotated and compressed ones too."""
_PACKED = re.compile(r"(?i)(?<!\.tar)\.(?:gz|bz2|xz|zst)\Z")
"""A single compressed file, which is read as a log reads it, whatever it is called."""
_UNTOLD = frozenset({"", ".txt", ".out", ".err", ".jsonl", ".ndjson", ".trace", ".export"})
"""Endings that do not say what a file is."""
_HEAD = 1 << 16
_LINES, _TIMED, _LEVELLED = 10, 0.5, 0.3
"""What the beginning of a log has: so many lines, and these shares with a time and a level."""

ROTATED = re.compile(r"(?P<base>.*?)(?:[.-](?P<number>\d{1,3})|[.-](?P<date>\d{8}(?:[-.T]?\d+)?))?"
                      r"(?P<end>\.(?:gz|bz2|xz|zst))?\Z")  # fmt: skip


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


def logs_in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the logs in a folder and below it, and what was not taken for one, with the reason.

    Hidden folders, links and what lies behind MAX_FOLDER_FILES files are left out.
    """
    found: list[Path] = []
    left_out: list[str] = []
    seen = 0
    for below, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if name[0] != "." and name not in _NOT_LOGS)
        for name in sorted(names):
            path = Path(below, name)
            seen += 1
            if seen > MAX_FOLDER_FILES:
                return found, [*left_out, f"what follows {MAX_FOLDER_FILES:,} files"]
            if path.is_symlink() or not path.is_file():
                continue
            if is_log_name(path) or _begins_like_log(path):
                found.append(path)
            else:
                reason = "its name" if _told_by_name(path) else "no times or levels at its start"
                left_out.append(f"{path.relative_to(folder).as_posix()} ({reason})")
    return found, left_out


MAX_FOLDER_FILES = 20_000
"""Files of a folder that are looked at."""
_NOT_LOGS = frozenset({"node_modules", "__pycache__", "venv"})


def _told_by_name(path: Path) -> bool:
    return path.suffix.lower() not in _UNTOLD and not path.suffix[1:].isdigit()


def _begins_like_log(path: Path) -> bool:
    """Say whether a file of a folder of logs is one: half of its first lines have times."""
    if _told_by_name(path):
        return False
    lines = _file_head(path).split(b"\n")[:400]
    found = log_formats.detect_format(lines, Clock(time.time()))
    return found.formats[0] is not log_formats.PLAIN and found.share >= _TIMED


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


def rotated_set(path: Path) -> list[Path]:
    """Return a log and what was rotated away from it, in its folder."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return [path]
    found = [name for name in names if (m := ROTATED.match(name)) and m["base"] == path.name]
    return sorted({path, *(path.with_name(name) for name in found)})
