"""Claude Code: mcpServers in the project's .mcp.json, or through `claude mcp` for the user.

The user's own file is written by Claude Code while it runs, so that only its command may edit it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from rlm_mcp.clients.client import SERVER_NAME, Client, InstallScope, Run
from rlm_mcp.errors import Unavailable
from rlm_mcp.programs import find_program


def _claude_path(scope: InstallScope, project: Path) -> Path:
    return project / ".mcp.json"


def _claude_entry(run: Run, scope: InstallScope) -> dict[str, Any]:
    return {"type": "stdio", "command": run[0], "args": [*run[1:], "serve"]}


CLAUDE_CODE = Client(
    name="claude-code",
    title="Claude Code",
    format="jsonc",
    keys=("mcpServers",),
    scopes=("project",),
    config_path=_claude_path,
    make_entry=_claude_entry,
    executables=("claude",),
    next_step="Start claude in this folder and allow the server when it asks.",
)


def add_for_user(run: Run) -> str:
    """Add us for every project of this user; return what claude said."""
    return _run_claude("mcp", "add", "--scope", "user", SERVER_NAME, "--", *run, "serve")


def remove_for_user() -> str:
    """Take us out again; return what claude said."""
    return _run_claude("mcp", "remove", "--scope", "user", SERVER_NAME)


def _run_claude(*arguments: str) -> str:
    executable = find_program("claude")
    if executable is None:
        raise Unavailable(
            "The claude command was not found; install Claude Code first, or use "
            "--scope project, which writes .mcp.json."
        )
    done = subprocess.run(
        [executable, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    if done.returncode:
        raise Unavailable(f"claude {' '.join(arguments[:2])} failed: {said[-300:]}")
    return said
