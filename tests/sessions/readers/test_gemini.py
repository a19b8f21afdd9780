"""Chats as Gemini CLI leaves them: what it lists again, compresses, and says for a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.sessions.session import Session

Open = Callable[[Path], Session]
Make = Callable[..., Session]

HEAD = {"sessionId": "s", "projectHash": "h", "kind": "main"}


def user(name: str, *texts: str) -> dict[str, Any]:
    return {"id": name, "type": "user", "content": [{"text": text} for text in texts]}


def reply(name: str, text: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "gemini", "content": text, **more}


def listing(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"$set": {"messages": list(messages)}}


SETTING = user("0", "<session_context>\nAlways mind the date.\n</session_context>")


@pytest.fixture
def chat(tmp_path: Path, opened: Open) -> Make:
    path = tmp_path / "chats" / "session-1.jsonl"
    path.parent.mkdir()

    def make(*records: dict[str, Any]) -> Session:
        with path.open("a") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
        return opened(path)

    return make


def prompts(session: Session) -> list[str]:
    return [prompt["text"] for prompt in session.methods["prompts"]()]


def test_what_a_chat_starts_with_is_no_compaction_and_no_prompt(chat: Make) -> None:
    session = chat(HEAD, listing(SETTING), user("1", "Never edit a.sql."), reply("2", "Fine."))
    assert prompts(session) == ["Never edit a.sql."]
    assert session.methods["compactions"]() == []
    assert [rule["quote"] for rule in session.methods["preferences"]()] == ["Never edit a.sql."]


def test_a_list_of_what_is_known_is_no_compaction(chat: Make) -> None:
    first = (HEAD, listing(SETTING), user("1", "Never edit a.sql."), reply("2", "Fine."))
    session = chat(*first)
    parts = {"content": [{"text": "Hm.", "thought": True}, {"text": "Fine."}]}
    again = [SETTING, user("1", "Never edit a.sql."), {"id": "2", "type": "gemini", **parts}]
    called = {"functionResponse": {"name": "ls", "response": {"output": "Never stop."}}}
    again.append({"id": "2_response", "type": "user", "content": [called]})
    chat(HEAD, listing(SETTING), listing(*again), user("3", "Go on."))
    session.refresh()
    assert prompts(session) == ["Never edit a.sql.", "Go on."]
    assert session.methods["compactions"]() == []


def test_a_compression_is_what_a_list_says_that_is_new(chat: Make) -> None:
    session = chat(
        HEAD,
        listing(SETTING),
        user("1", "Never edit a.sql."),
        reply("2", "Fine."),
        user("3", "Go on."),
        listing(SETTING, user("4", "SUMMARY."), reply("5", "Got it."), user("6", "Go on.")),
        reply("7", "Going on."),
        listing(SETTING, user("8", "SUMMARY."), reply("9", "Got it."), user("10", "Go on.")),
    )
    (one,) = session.methods["compactions"]()
    texts = [session.methods["get"](ref)["text"] for ref in one["refs"]]
    assert texts == ["SUMMARY.", "Got it."]
    assert prompts(session) == ["Never edit a.sql.", "Go on."]
    assert not any(
        session.index.is_stale(row) for row in session.index.query_rows("SELECT * FROM blocks")
    )


def test_a_result_that_is_sent_back_to_the_model_is_no_prompt(chat: Make) -> None:
    part = {"functionResponse": {"name": "ls", "response": {"output": "Always sing."}}}
    session = chat(
        HEAD,
        user("1", "Look."),
        {"id": "2", "type": "user", "content": [part, part]},
        {"id": "3", "type": "user", "content": [part, {"text": "Stop here."}]},
    )
    assert prompts(session) == ["Look.", "Stop here."]


def test_files_that_a_prompt_names_state_nothing(chat: Make) -> None:
    start, stop = "\n--- Content from referenced files ---", "\n--- End of content ---"
    asked = user("1", "@a.py explain it.", start, "\nContent from @a.py:\n", "Always sing.", stop)
    session = chat(HEAD, asked)
    assert prompts(session) == ["@a.py explain it."]
    assert session.methods["preferences"]() == []
