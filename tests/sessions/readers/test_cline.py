"""Sessions as Cline's command line leaves them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.sessions.session import Session

Open = Callable[[Path], Session]


@pytest.fixture
def told(tmp_path: Path, opened: Open) -> Callable[..., Session]:
    def make(*messages: tuple[str, Any]) -> Session:
        path = tmp_path / ".cline" / "data" / "sessions" / "17_a" / "17_a.messages.json"
        path.parent.mkdir(parents=True)
        listed = [{"role": role, "content": content} for role, content in messages]
        whole = {"version": "1", "agent": "lead", "sessionId": "17_a", "messages": listed}
        path.write_text(json.dumps(whole))
        path.with_name("17_a.json").write_text(json.dumps({"cwd": "/w"}))
        return opened(path)

    return make


def text(said: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": said}]


def call(name: str, call_id: str, **values: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": values}


def result(name: str, call_id: str, content: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": call_id, "name": name, "content": content}


def ended(query: str, output: str, *, error: str = "") -> dict[str, Any]:
    return {"query": query, "result": output, "error": error, "success": not error}


def test_a_prompt_stands_in_a_tag_with_its_mode(told: Callable[..., Session]) -> None:
    session = told(
        ("user", text('<user_input mode="act">Never edit a.sql.</user_input>')),
        ("assistant", text("Fine.")),
        ("user", text('<user_input mode="plan">\nNo, b.sql.\n</user_input>')),
    )
    said = [prompt["text"] for prompt in session.methods["prompts"]()]
    assert said == ["Never edit a.sql.", "No, b.sql."]
    assert [rule["quote"] for rule in session.methods["preferences"]()] == ["Never edit a.sql."]


def test_each_command_of_a_call_has_its_own_end(told: Callable[..., Session]) -> None:
    failed = ended("make a", "[Command exited with code 2]\nno", error="exited with code 2")
    session = told(
        ("user", text('<user_input mode="act">Build.</user_input>')),
        ("assistant", [call("run_commands", "c1", commands=["make a", "make b"])]),
        ("user", [result("run_commands", "c1", [failed, ended("make b", "p95=61ms")])]),
        ("assistant", [call("run_commands", "c2", commands=["make a"])]),
        ("user", [result("run_commands", "c2", [ended("make a", "fine")])]),
    )
    found = session.methods["commands"]()
    assert [(c["command"], c["ok"], c["failed"], c["exit_codes"]) for c in found] == [
        ("make a", 1, 1, [2]), ("make b", 1, 0, []),
    ]  # fmt: skip
    assert not any(
        session.index.is_stale(row) for row in session.index.query_rows("SELECT * FROM blocks")
    )


def test_an_edit_that_did_not_fit_changed_no_file(told: Callable[..., Session]) -> None:
    missed = json.dumps(ended("edit:/w/b.py", "", error="No replacement performed"))
    session = told(
        ("user", text('<user_input mode="act">Write.</user_input>')),
        ("assistant", [
            call("editor", "c1", path="/w/a.py", new_text="A = 1\n"),
            call("editor", "c2", path="/w/a.py", old_text="1", new_text="2"),
            call("editor", "c3", path="/w/b.py", old_text="x", new_text="y"),
            call("read_files", "c4", files=[{"path": "/w/c.py"}, {"path": "/w/d.py"}]),
        ]),
        ("user", [
            result("editor", "c1", json.dumps(ended("edit:/w/a.py", "File created."))),
            result("editor", "c2", json.dumps(ended("edit:/w/a.py", "Edited."))),
            result("editor", "c3", missed),
            result("read_files", "c4", [ended("/w/c.py", "C"), ended("/w/d.py", "", error="no")]),
        ]),
    )  # fmt: skip
    assert [file["path"] for file in session.methods["files"]()["files"]] == ["a.py"]
    assert session.methods["file_at"]("a.py")["text"] == "A = 2\n"
    assert [error["error"] for error in session.methods["errors"]()] == ["No replacement performed"]
