"""Codex: a table in config.toml, of the user (CODEX_HOME) or of a trusted project."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rlm_mcp.clients.client import Client, Run, Scope


def _path(scope: Scope, project: Path) -> Path:
    if scope == "project":
        return project / ".codex" / "config.toml"
    home = os.environ.get("CODEX_HOME")
    return (Path(home) if home else Path.home() / ".codex") / "config.toml"


def _entry(run: Run, scope: Scope) -> dict[str, Any]:
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
    path=_path,
    entry=_entry,
    executables=("codex",),
    after="Start codex and type /mcp to see the tools.",
)
