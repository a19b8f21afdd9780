"""Prompts outlive transcripts: ~/.claude/history.jsonl has them by session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.config import Settings
from rlm_mcp.errors import Denied
from rlm_mcp.sessions.locate import list_sessions, locate_session
from rlm_mcp.sessions.session import Session

GONE, KEPT = "11111111-aaaa-4bbb-8ccc-000000000001", "22222222-aaaa-4bbb-8ccc-000000000002"


def line(display: Any, session: str | None, project: Path, at: int, **more: Any) -> str:
    record = {"display": display, "pastedContents": {}, "timestamp": at, "project": str(project)}
    return json.dumps({**record, **({"sessionId": session} if session else {}), **more}) + "\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    project = tmp_path / "work"
    project.mkdir()
    folder = Path.home() / ".claude" / "projects" / "x"
    folder.mkdir(parents=True)
    (folder / f"{KEPT}.jsonl").write_text(
        json.dumps(
            {
                "type": "user",
                "uuid": "u",
                "parentUuid": None,
                "sessionId": KEPT,
                "cwd": str(project),
                "timestamp": "2026-01-01T00:00:00Z",
                "message": {"role": "user", "content": "Kept."},
            }
        )
        + "\n"
    )
    pasted = {"1": {"id": 1, "type": "text", "content": "Never touch a.sql."}}
    key = "sk-ant-api03-" + "Qm7xV2kLpZ9wRt4bNs6yHd1cJg8fXe3u"
    start = 4_000_000_000_000  # newer than any file
    (Path.home() / ".claude" / "history.jsonl").write_text(
        line("/model opus", GONE, project, start)
        + line(f"Port the importer with {key}", GONE, project, start + 1_000)
        + line("Kept.", KEPT, project, start + 2_000)
        + "{broken\n"
        + line(7, GONE, project, start)
        + line("[Pasted text #1 +1 lines]", GONE, project, start + 3_000, pastedContents=pasted)
        + line("Before sessions had names.", None, project, start)
        + '{"display": "cut'
    )
    return Settings(roots=(project,))


def test_a_session_whose_transcript_is_gone_is_listed_with_its_prompts(settings: Settings) -> None:
    found = {item.native: item for item in list_sessions(settings)}
    assert found[KEPT].agent == "claude"
    assert found[GONE].agent == "claude-history"
    assert found[GONE].started.startswith("2096-10-02")
    session = Session(f"session:{GONE[:8]}", "session", settings)
    prompts = [prompt["text"] for prompt in session.methods["prompts"]()]
    assert prompts[0].startswith("Port the importer with [secret:anthropic-key:")
    assert prompts[1:] == ["Never touch a.sql."]
    rules = [fact["quote"] for fact in session.methods["preferences"]()]
    assert rules == ["Never touch a.sql."]
    notes = " ".join(session.describe().notes)
    assert "only what was typed" in notes and "1 line could not be parsed" in notes
    session.close()


def test_prompts_without_a_session_are_those_of_their_project(settings: Settings) -> None:
    (one,) = [item for item in list_sessions(settings) if "Before sessions" in item.title]
    session = Session(f"session:{one.native}", "session", settings)
    assert [p["text"] for p in session.methods["prompts"]()] == ["Before sessions had names."]
    session.close()


def test_latest_is_a_transcript_while_there_is_one(settings: Settings) -> None:
    assert locate_session("session:latest", settings)[3] == KEPT


def test_nothing_else_of_the_folder_may_be_opened(settings: Settings) -> None:
    other = Path.home() / ".claude" / "other" / "history.jsonl"
    other.parent.mkdir()
    other.write_text((Path.home() / ".claude" / "history.jsonl").read_text())
    with pytest.raises(Denied):
        locate_session(str(other), settings)
