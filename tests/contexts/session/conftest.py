"""Keep every test's index, state and agents' folders in folders of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE", "CACHE", "CONFIG"):
        folder = tmp_path / "rlm" / name.lower()
        folder.mkdir(parents=True)
        monkeypatch.setenv(f"RLM_MCP_{name}_DIR", str(folder))
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in (
        "CLAUDE_CONFIG_DIR", "CODEX_HOME", "CLAUDE_CODE_SESSION_ID", "CLAUDE_PROJECT_DIR",
        "XDG_DATA_HOME", "XDG_CONFIG_HOME", "CLINE_DIR", "CLINE_DATA_DIR",
        "CLINE_SESSION_DATA_DIR", "COPILOT_HOME", "GEMINI_CLI_HOME", "AIDER_CHAT_HISTORY_FILE",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
