"""Where a measurement of the engine takes place, and a line of its table."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from rlm_mcp import promptbook, toolbox
from rlm_mcp.config import Settings
from rlm_mcp.engine import Workspace

MODEL = "anthropic:claude-haiku-5-5"


def row(what: str, ours: str, beside: str = "", goal: str = "") -> None:
    """Print one line of the table."""
    print(f"{what:<52} {ours:>22}  {beside:<34} {goal}", flush=True)


class Place:
    """Fresh folders for one measurement, and a repository of `megabytes`."""

    def __init__(self, megabytes: float = 1.0) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rlm-bench-")
        self.path = Path(self._folder.name)
        for name in ("STATE", "CACHE", "CONFIG"):
            os.environ[f"RLM_MCP_{name}_DIR"] = str(self.path / name)
        self.root = self.path / "repo"
        self.root.mkdir()
        line = "some words of an ordinary line of text, with a needle in some of them\n"
        (self.root / "a.txt").write_text(line * int(megabytes * 1e6 / len(line)))

    def workspace(self, **settings: Any) -> Workspace:
        """Return a workspace over the repository."""
        chosen = Settings(**{"roots": (self.root,), "model": MODEL, "max_usd": 50.0, **settings})
        tools = {tool.name: tool.source for tool in toolbox.read_tools()}
        return Workspace(chosen, tools, promptbook.read_prompts().texts_by_name)

    def close(self) -> None:
        """Remove the folders."""
        self._folder.cleanup()
