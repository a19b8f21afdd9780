"""Runs over MCP: an answer, or an id to wait for; cancelling; failures that are told."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.config import Settings
from rlm_mcp.engine import workspace
from tests.server.talk import in_memory

ANSWER = '```repl\nanswer["content"] = "forty-two"\nanswer["ready"] = True\n```'
LOOK = "```repl\nprint(repo[:20])\n```"


def scripted(settings: Settings, folder: Path, script: dict[str, Any]) -> Settings:
    path = folder / "script.json"
    path.write_text(json.dumps(script))
    return dataclasses.replace(settings, model=f"fake:{path}")


def test_a_run_that_takes_long_gives_its_id_and_wait_gives_its_result(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "LONGEST_WAIT_S", 1.0)
    slow = scripted(settings, tmp_path, {"replies": [LOOK, ANSWER], "latency_s": 1.5})
    with in_memory(slow) as talk:
        started = time.monotonic()
        said = talk.call("rlm_query", prompt="What is the number?", mode="environment")
        assert time.monotonic() - started < 10
        assert not said.error, said.text
        match = re.search(r"wait\('([\w.-]+)'\)", said.text)
        assert match is not None, said.text
        done = talk.call("wait", run=match[1], seconds=30)
        assert not done.error
        assert "forty-two" in done.text
        assert "status:" in done.text


def test_wait_stops_a_run(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "LONGEST_WAIT_S", 0.5)
    slow = scripted(settings, tmp_path, {"replies": [LOOK] * 20, "latency_s": 2})
    with in_memory(slow) as talk:
        said = talk.call("rlm_query", prompt="What is the number?", mode="environment")
        match = re.search(r"wait\('([\w.-]+)'\)", said.text)
        assert match is not None, said.text
        stopped = talk.call("wait", run=match[1], cancel=True)
        assert "cancelled" in stopped.text
        again = talk.call("wait", run=match[1], seconds=5)
        assert "cancelled" in again.text


def test_a_provider_that_is_dead_is_a_failure_and_not_an_answer(
    settings: Settings, tmp_path: Path
) -> None:
    dead = scripted(settings, tmp_path, {"replies": [{"error": "server"}], "repeat": True})
    with in_memory(dead) as talk:
        said = talk.call("llm_query", prompt="Say hello.")
        assert said.error
        said = talk.call("rlm_query", prompt="What is the number?", mode="environment")
        assert said.error or "status: failed" in said.text
        assert "forty-two" not in said.text


def test_a_fan_out_tells_its_coverage_and_keeps_the_whole(
    settings: Settings, tmp_path: Path
) -> None:
    script = {"rules": [{"match": ".*", "reply": "seen " + "x" * 400}], "repeat": True}
    with in_memory(scripted(settings, tmp_path, script)) as talk:
        chunked = talk.call("chunk", ref="repo:many.txt", tokens=500)
        match = re.match(r"(r\d+): (\d+) chunks", chunked.text)
        assert match is not None
        said = talk.call("llm_query", prompt="What is there?", refs=match[1])
        assert said.text.startswith(f"{match[2]} of {match[2]} answered.")
        whole = re.search(r"whole: (r\d+)", said.text)
        assert whole is not None
        assert "seen x" in talk.call("peek", ref=whole[1]).text


def test_a_budget_is_refused_before_it_is_spent(settings: Settings, tmp_path: Path) -> None:
    script = {"rules": [{"match": ".*", "reply": "seen"}], "repeat": True}
    narrow = dataclasses.replace(scripted(settings, tmp_path, script), max_calls=2)
    with in_memory(narrow) as talk:
        chunked = talk.call("chunk", ref="repo:many.txt", tokens=500)
        handle = chunked.text.split(":")[0]
        said = talk.call("llm_query", prompt="What is there?", refs=handle)
        assert said.error
        assert "max_calls" in said.text
        assert not talk.call("llm_query", prompt="What is there?").error
