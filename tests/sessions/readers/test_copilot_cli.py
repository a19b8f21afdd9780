"""Events as Copilot CLI leaves them: how commands ended, what was spent, what subagents did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.sessions.session import Session

Open = Callable[[Path], Session]
AGENT = "f44d9210-3431-4818-9fcb-6c620c0d4ad5"


@pytest.fixture
def log(tmp_path: Path, opened: Open) -> Callable[..., Session]:
    def make(*events: tuple[str, dict[str, Any], str]) -> Session:
        path = tmp_path / "session-state" / "a1" / "events.jsonl"
        path.parent.mkdir(parents=True)
        lines, parent = [], None
        for number, (kind, data, agent) in enumerate(events):
            record = {"type": kind, "data": data, "id": f"e{number}", "parentId": parent}
            lines.append(json.dumps(record | ({"agentId": agent} if agent else {})))
            parent = f"e{number}"
        path.write_text("\n".join(lines) + "\n")
        return opened(path)

    return make


def start() -> tuple[str, dict[str, Any], str]:
    return "session.start", {"copilotVersion": "1.0.102", "context": {"cwd": "/w"}}, ""


def asked(text: str, agent: str = "") -> tuple[str, dict[str, Any], str]:
    return "user.message", {"content": text}, agent


def spent(agent: str = "") -> tuple[str, dict[str, Any], str]:
    usage = {"model": "m", "inputTokens": 10, "cacheReadTokens": 4, "outputTokens": 5}
    return "session.usage_record", {"usage": usage}, agent


def said(text: str, *calls: tuple[str, str, Any], agent: str = "") -> tuple[str, Any, str]:
    wanted = [{"toolCallId": i, "name": name, "arguments": values} for i, name, values in calls]
    data = {"messageId": text, "content": text, "toolRequests": wanted, "model": "m"}
    return "assistant.message", data, agent


def done(call: str, text: str, agent: str = "", **more: Any) -> tuple[str, dict[str, Any], str]:
    data = {"toolCallId": call, "success": True, "result": {"content": text}, **more}
    return "tool.execution_complete", data, agent


def test_a_command_that_failed_is_no_success_of_its_call(log: Callable[..., Session]) -> None:
    session = log(
        start(),
        asked("Test it."),
        spent(),
        said("Testing.", ("1", "bash", {"command": "make test"})),
        done("1", "ValueError: no", shellExecution={"exitCode": 2}),
        spent(),
        said("Again.", ("2", "bash", {"command": "make test"})),
        done("2", "ok", shellExecution={"exitCode": 0}),
    )
    (command,) = session.methods["commands"]()
    assert (command["ok"], command["failed"], command["exit_codes"]) == (1, 1, [2, 0])
    (error,) = session.methods["errors"]()
    assert error["error"] == "ValueError: no" and error["fixed_at"]
    usage = session.methods["usage"]()
    assert (usage["input"], usage["cache_read"], usage["output"]) == (12, 8, 10)
    assert list(usage["models"]) == ["m"]
    assert not session.describe().skipped


def test_what_a_subagent_says_is_a_thread_of_its_own(log: Callable[..., Session]) -> None:
    session = log(
        start(),
        asked("Who calls it?"),
        said("Sending a helper.", ("1", "task", {"description": "Find callers"})),
        ("subagent.started", {"toolCallId": "1"}, AGENT),
        asked("Never look in src.", AGENT),
        said("Decision: one caller stays.", ("2", "bash", {"command": "rg x"}), agent=AGENT),
        done("2", "a.py:1", AGENT, shellExecution={"exitCode": 0}),
        said("One caller: a.py:1.", agent=AGENT),
        done("1", "One caller: a.py:1."),
        ("subagent.completed", {"toolCallId": "1"}, AGENT),
        said("There is one."),
    )
    assert [prompt["text"] for prompt in session.methods["prompts"]()] == ["Who calls it?"]
    assert session.methods["preferences"]() == []
    assert session.methods["commands"]() == []
    assert session.methods["turns"](branch="abandoned") == []
    assert len(session.methods["turns"]()) == 3
    (agent,) = session.methods["subagents"]()
    assert (agent["errand"], agent["report"]) == ("Find callers", "One caller: a.py:1.")
    assert not session.describe().skipped
