"""Folders in which editors keep their data, and what they say of projects and times."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rlm_mcp import files


def config_folder() -> Path:
    """Return the folder under which editors keep theirs; macOS and Windows are unverified."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def user_data_folders(*names: str) -> Iterator[Path]:
    """Yield the User folders of editors; code-server keeps its own beside other programs' data."""
    for name in names:
        if name == "code-server":
            data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
            yield Path(data) / name / "User"
        else:
            yield config_folder() / name / "User"


def uri_folder(uri: str) -> str:
    """Return the folder that a file URI names."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme in ("file", "vscode-remote") else uri


def workspace_project(workspace: Path) -> str:
    """Return the project of a workspace storage folder."""
    values = load_json(workspace / "workspace.json")
    uri = values.get("folder") or values.get("workspace") if isinstance(values, dict) else None
    return uri_folder(uri) if isinstance(uri, str) else ""


def load_json(path: Path, limit: int = 1 << 28) -> Any:
    """Return the JSON value in a file, or None. Bytes that are no text spoil only themselves."""
    try:
        with files.open_regular(path) as file:
            return json.loads(file.read(limit).decode("utf-8-sig", "replace"))
    except (OSError, ValueError, RecursionError):
        return None


def iso_time(value: Any) -> str:
    """Return a time in milliseconds (or seconds, or already as text) in ISO form."""
    if isinstance(value, str):
        return value
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return ""
    seconds = value / 1000 if value > 1e11 else value
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    except (OverflowError, OSError, ValueError):
        return ""
