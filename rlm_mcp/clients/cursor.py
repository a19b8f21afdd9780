"""Cursor: mcpServers in .cursor/mcp.json, of the project or of the home folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlm_mcp.clients.client import Client, Run, Scope


def _path(scope: Scope, project: Path) -> Path:
    return (project if scope == "project" else Path.home()) / ".cursor" / "mcp.json"


def _entry(run: Run, scope: Scope) -> dict[str, Any]:
    return {"command": run[0], "args": [*run[1:], "serve", "--root", "${workspaceFolder}"]}


CURSOR = Client(
    name="cursor",
    title="Cursor",
    format="jsonc",
    keys=("mcpServers",),
    scopes=("project", "user"),
    path=_path,
    entry=_entry,
    executables=("cursor", "cursor-agent"),
    after="Open Cursor's settings, Tools & MCP, and switch rlm on.",
)
