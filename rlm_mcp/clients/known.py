"""VS Code: servers in .vscode/mcp.json, or in mcp.json of the user's profile."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlm_mcp.clients.claude_code import CLAUDE_CODE
from rlm_mcp.clients.client import Client, InstallScope, Run


def _cursor_path(scope: InstallScope, project: Path) -> Path:
    return (project if scope == "project" else Path.home()) / ".cursor" / "mcp.json"


def _cursor_entry(run: Run, scope: InstallScope) -> dict[str, Any]:
    return {"command": run[0], "args": [*run[1:], "serve", "--root", "${workspaceFolder}"]}


CURSOR = Client(
    name="cursor",
    title="Cursor",
    format="jsonc",
    keys=("mcpServers",),
    scopes=("project", "user"),
    config_path=_cursor_path,
    make_entry=_cursor_entry,
    executables=("cursor", "cursor-agent"),
    next_step="Open Cursor's settings, Tools & MCP, and switch rlm on.",
)


def _codex_path(scope: InstallScope, project: Path) -> Path:
    if scope == "project":
        return project / ".codex" / "config.toml"
    home = os.environ.get("CODEX_HOME")
    return (Path(home) if home else Path.home() / ".codex") / "config.toml"


def _codex_entry(run: Run, scope: InstallScope) -> dict[str, Any]:
    # rlm_query answers within 100 s; Codex gives a call 60 s unless told otherwise.
    return {
        "command": run[0],
        "args": [*run[1:], "serve"],
        "startup_timeout_sec": 30,
        "tool_timeout_sec": 130,
    }


CODEX = Client(
    name="codex",
    title="Codex",
    format="toml",
    keys=("mcp_servers",),
    scopes=("user", "project"),
    config_path=_codex_path,
    make_entry=_codex_entry,
    executables=("codex",),
    next_step="Start codex and type /mcp to see the tools.",
)


def _vscode_path(scope: InstallScope, project: Path) -> Path:
    if scope == "project":
        return project / ".vscode" / "mcp.json"
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "Code" / "User" / "mcp.json"


def _vscode_entry(run: Run, scope: InstallScope) -> dict[str, Any]:
    args = [*run[1:], "serve", "--root", "${workspaceFolder}"]
    return {"type": "stdio", "command": run[0], "args": args}


VSCODE = Client(
    name="vscode",
    title="VS Code",
    format="jsonc",
    keys=("servers",),
    scopes=("project", "user"),
    config_path=_vscode_path,
    make_entry=_vscode_entry,
    executables=("code", "code-insiders", "codium"),
    next_step="Run the command `MCP: List Servers` and start rlm.",
)


CLIENTS: Mapping[str, Client] = {
    client.name: client for client in (CLAUDE_CODE, CURSOR, VSCODE, CODEX)
}
