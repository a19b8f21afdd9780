"""Keep every test's index, state and agents' folders in folders of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.config import Settings
from rlm_mcp.sessions.session import Session

SID = "73104a6c-2880-482b-a281-f48aa2101b19"

Record = Callable[..., dict[str, Any]]


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


@pytest.fixture
def record() -> Record:
    """Make a record as Claude Code writes it."""

    def make(kind: str, uuid: str, parent: str | None, content: Any, **more: Any) -> dict[str, Any]:
        message: dict[str, Any] = {"role": kind, "content": content}
        if kind == "assistant":
            message["id"] = more.pop("id", f"msg-{uuid}")
            message["usage"] = more.pop("usage", {"input_tokens": 1, "output_tokens": 2})
        return {
            "type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": SID, "cwd": "/w",
            "timestamp": "2026-01-01T00:00:00Z", "message": message, **more,
        }  # fmt: skip

    return make


@pytest.fixture
def transcript(tmp_path: Path) -> Callable[..., Path]:
    """Write records as a Claude Code transcript."""

    def write(*records: dict[str, Any] | str, name: str = SID) -> Path:
        path = tmp_path / "project" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        lines = [item if isinstance(item, str) else json.dumps(item) for item in records]
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return path

    return write


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[Path], Session]]:
    """Open transcripts, and close them at the end."""
    found: list[Session] = []

    def open_one(path: Path) -> Session:
        found.append(Session(str(path), "session", Settings(roots=(tmp_path,))))
        return found[-1]

    yield open_one
    for session in found:
        session.close()
