"""Codex rollouts that the generator does not write: early formats, forks, what an editor adds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.contexts.session.session import Session

Open = Callable[[Path], Session]

SID = "73104a6c-2880-482b-a281-f48aa2101b19"
OTHER = "83104a6c-2880-482b-a281-f48aa2101b19"


def said(role: str, *texts: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": t} for t in texts]}


ITEMS = [
    said("user", "Never touch x.py."),
    said("assistant", "Looking."),
    {"type": "function_call", "name": "shell", "call_id": "c1",
     "arguments": json.dumps({"command": ["bash", "-lc", "make test"]})},
    {"type": "function_call_output", "call_id": "c1",
     "output": json.dumps({"output": "ok\n", "metadata": {"exit_code": 0}})},
    said("assistant", "It passes."),
    said("user", "Thank you."),
    said("assistant", "Welcome."),
]  # fmt: skip


def wrapped(*payloads: dict[str, Any]) -> bytes:
    return lines(*[{"type": "response_item", "payload": payload} for payload in payloads])


def lines(*records: dict[str, Any]) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def meta(sid: str, **more: Any) -> dict[str, Any]:
    return {"type": "session_meta", "payload": {"id": sid, "cwd": "/w", "source": "cli", **more}}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def make(data: bytes, name: str = f"rollout-2026-03-14T08-02-11-{SID}.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return make


def prompts(session: Session) -> list[str]:
    return [prompt["text"] for prompt in session.methods["prompts"]()]


@pytest.mark.parametrize("form", ["object", "bare lines", "bare lines of Windows"])
def test_the_rollouts_of_early_2025_are_read(
    form: str, write: Callable[..., Path], opened: Open
) -> None:
    head = {"id": SID, "timestamp": "2025-04-17T10:00:00Z", "instructions": ""}
    if form == "object":
        data = json.dumps({"session": head, "items": ITEMS}).encode()
        path = write(data, f"rollout-2025-04-17-{SID}.json")
    else:
        data = lines(head, {"record_type": "state"}, *ITEMS)
        if "Windows" in form:
            data = b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")
        path = write(data)
    session = opened(path)
    assert prompts(session) == ["Never touch x.py.", "Thank you."]
    assert [c["command"] for c in session.methods["commands"]()] == ["make test"]
    assert len(session.methods["turns"]()) == 5
    assert not any(session.index.stale(row) for row in session.index.rows("SELECT * FROM blocks"))


def test_a_line_with_bytes_that_are_no_text_is_read(
    write: Callable[..., Path], opened: Open
) -> None:
    data = lines(meta(SID)) + wrapped(said("user", "Bad BYTE here.")).replace(b"BYTE", b"\xff")
    session = opened(write(data))
    assert prompts(session) == ["Bad \ufffd here."]
    assert not any("could not be parsed" in note for note in session.describe().notes)


def test_a_forks_copy_of_its_parents_head_changes_nothing(
    write: Callable[..., Path], opened: Open
) -> None:
    spawn = {"subagent": {"thread_spawn": {"parent_thread_id": OTHER, "depth": 1}}}
    first = meta(SID, cwd="/child", source=spawn)
    path = write(lines(first, meta(OTHER)) + wrapped(said("user", "Do it.")))
    session = opened(path)
    assert prompts(session) == [], "a subagent's errand is no person's prompt"
    assert session.describe().facts["project"] == "/child"


def test_what_an_editor_puts_before_a_prompt_is_not_the_persons(
    write: Callable[..., Path], opened: Open
) -> None:
    context = "# Context from my IDE setup:\n\n## Open tabs:\n- never.py: always\n\n"
    asked = f"{context}## My request for Codex:\nAlways use tabs.\n"
    around = "<environment_context>\n<cwd>/never/ever</cwd>\n</environment_context>"
    session = opened(write(lines(meta(SID)) + wrapped(said("user", around, asked))))
    assert prompts(session) == ["Always use tabs."]
    assert [rule["quote"] for rule in session.methods["preferences"]()] == ["Always use tabs."]
