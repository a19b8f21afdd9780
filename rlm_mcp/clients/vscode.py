"""VS Code: servers in .vscode/mcp.json, or in mcp.json of the user's profile."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from rlm_mcp.clients.client import Client, Run, Scope


def _path(scope: Scope, project: Path) -> Path:
    if scope == "project":
        return project / ".vscode" / "mcp.json"
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "Code" / "User" / "mcp.json"


def _entry(run: Run, scope: Scope) -> dict[str, Any]:
    args = [*run[1:], "serve", "--root", "${workspaceFolder}"]
    return {"type": "stdio", "command": run[0], "args": args}


VSCODE = Client(
    name="vscode",
    title="VS Code",
    format="jsonc",
    keys=("servers",),
    scopes=("project", "user"),
    path=_path,
    entry=_entry,
    executables=("code", "code-insiders", "codium"),
    after="Run the command `MCP: List Servers` and start rlm.",
)
