"""Codex rollouts that the generator does not write: early formats, forks, what an editor adds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.sessions.session import Session

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
    assert not any(
        session.index.is_stale(row) for row in session.index.query_rows("SELECT * FROM blocks")
    )


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


BACK = f"{SID}_93104a6c-2880-482b-a281-f48aa2101b19"


CHANGE = "@@ -1 +1 @@\n-A = 1\n+A = 2"


def numbered(first: int, *records: dict[str, Any]) -> bytes:
    return lines(*[{"ordinal": first + at, **record} for at, record in enumerate(records)])


def item(**values: Any) -> dict[str, Any]:
    return {"type": "event_msg", "payload": {"type": "item_completed", "item": values}}


def response(payload: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response_item", "payload": payload}


def based(sid: str, on: bytes, ordinal: int, **more: Any) -> dict[str, Any]:
    stop = sum(len(line) for line in on.splitlines(keepends=True)[:ordinal])
    return meta(
        sid, **more,
        history_base={"thread_id": SID, "end_ordinal_exclusive": ordinal, "end_byte_offset": stop},
    )  # fmt: skip


FIRST = numbered(
    0,
    meta(SID),
    response(said("user", "Never touch x.py.")),
    response(said("assistant", "Decision: retries stop after 3.")),
    response(said("user", "Try a queue.")),
    response(said("assistant", "Decision: a queue it is.")),
)


def test_a_rewound_thread_goes_on_from_the_file_before_it(
    write: Callable[..., Path], opened: Open
) -> None:
    write(FIRST)
    again = numbered(3, based(SID, FIRST, 3), response(said("user", "Scrap that idea.")))
    session = opened(write(again, f"rollout-2026-03-14T08-02-12-{BACK}.jsonl"))
    assert session.native == SID
    assert prompts(session) == ["Never touch x.py.", "Scrap that idea."]
    dropped = session.methods["turns"](branch="abandoned")
    assert [turn["role"] for turn in dropped] == ["user", "assistant"]
    decided = session.methods["decisions"]()
    assert [fact["status"] for fact in decided if "retries" in fact["quote"]] == ["active"]
    assert not any(
        session.index.is_stale(row) for row in session.index.query_rows("SELECT * FROM blocks")
    )


def test_a_fork_has_what_was_said_before_it_and_nothing_after(
    write: Callable[..., Path], opened: Open
) -> None:
    write(FIRST)
    fork = numbered(
        3, based(OTHER, FIRST, 3, forked_from_id=SID), response(said("user", "Use httpx."))
    )
    session = opened(write(fork, f"rollout-2026-03-14T08-02-12-{OTHER}.jsonl"))
    assert prompts(session) == ["Never touch x.py.", "Use httpx."]
    assert session.methods["turns"](branch="abandoned") == []


def test_a_history_is_followed_over_days_and_into_the_archive(
    tmp_path: Path, write: Callable[..., Path], opened: Open
) -> None:
    again = numbered(3, based(SID, FIRST, 3), response(said("user", "Scrap that idea.")))
    name = f"rollout-2026-03-15T08-02-12-{BACK}.jsonl"
    for first, last in (
        ("sessions/2026/03/14", "sessions/2026/03/15"),
        ("archived_sessions", "sessions/2026/03/16"),
        ("sessions/2026/03/17", "archived_sessions"),
    ):
        home = tmp_path / f"home-{first.replace('/', '-')}"
        (home / first).mkdir(parents=True)
        (home / last).mkdir(parents=True)
        (home / first / f"rollout-2026-03-14T08-02-11-{SID}.jsonl").write_bytes(FIRST)
        (home / last / name).write_bytes(again)
        assert prompts(opened(home / last / name)) == ["Never touch x.py.", "Scrap that idea."]


def test_a_history_whose_first_file_is_gone_is_said_to_miss_it(
    write: Callable[..., Path], opened: Open
) -> None:
    fork = numbered(3, based(OTHER, FIRST, 3), response(said("user", "Use httpx.")))
    session = opened(write(fork, f"rollout-2026-03-14T08-02-12-{OTHER}.jsonl"))
    assert prompts(session) == ["Use httpx."]
    assert any("said before this one" in note for note in session.describe().notes)


def test_a_history_that_names_no_thread_or_itself_is_only_missing(
    write: Callable[..., Path], opened: Open
) -> None:
    for thread in ("../../etc/passwd", "*", SID):
        head = meta(SID, history_base={"thread_id": thread, "end_ordinal_exclusive": 2})
        session = opened(write(numbered(0, head, response(said("user", "Hello there.")))))
        assert prompts(session) == ["Hello there."]


def test_calls_that_a_script_made_are_calls_of_their_own(
    write: Callable[..., Path], opened: Open
) -> None:
    def script(number: int, source: str) -> dict[str, Any]:
        return response(
            {"type": "custom_tool_call", "name": "exec", "call_id": f"c{number}", "input": source}
        )

    def printed(number: int, text: str) -> dict[str, Any]:
        parts = [{"type": "input_text", "text": text}]
        return response(
            {"type": "custom_tool_call_output", "call_id": f"c{number}", "output": parts}
        )

    shell = {"type": "CommandExecution", "command": ["/bin/bash", "-lc", "make test"]}
    path = write(
        lines(
            meta(SID),
            script(1, "const r = await tools.exec_command({cmd: 'make test'});"),
            item(**shell, id="exec-1", status="failed", exit_code=2, aggregated_output="2 failed"),
            printed(1, "Script completed\n2 failed"),
            script(2, 'await tools.apply_patch(`*** Begin Patch\n*** Add File: no.py\n+1`);'),
            printed(2, "Script failed\nScript error: apply_patch verification failed"),
            script(3, "await tools.apply_patch(p)"),
            item(
                type="FileChange", id="exec-2", status="completed", stdout="Success.",
                changes={"/w/a.py": {"type": "add", "content": "A = 1\n"}},
            ),
            printed(3, "Script completed\n"),
            item(
                type="FileChange", id="exec-3", status="completed",
                changes={"/w/a.py": {"type": "update", "unified_diff": CHANGE}},
            ),
        )
    )  # fmt: skip
    session = opened(path)
    assert [(c["command"], c["exit_codes"]) for c in session.methods["commands"]()] == [
        ("make test", [2])
    ]
    assert [f["path"] for f in session.methods["files"]()["files"]] == ["a.py"]
    assert session.methods["file_at"]("a.py")["text"] == "A = 2\n"
    assert not session.describe().skipped


def test_a_note_that_repeats_a_call_is_passed_over(
    write: Callable[..., Path], opened: Open
) -> None:
    call = {"type": "function_call", "name": "exec_command", "call_id": "c1",
            "arguments": json.dumps({"cmd": "make test"})}  # fmt: skip
    note = item(
        type="CommandExecution", id="c1", command=["bash", "-lc", "make test"],
        status="completed", exit_code=0, aggregated_output="ok",
    )  # fmt: skip
    out = {"type": "function_call_output", "call_id": "c1",
           "output": "Process exited with code 0\nOutput:\nok"}  # fmt: skip
    session = opened(write(lines(meta(SID), response(call), note, response(out))))
    assert [c["count"] for c in session.methods["commands"]()] == [1]


@pytest.mark.parametrize(
    "said_back",
    [
        "unsupported custom tool call: apply_patch",
        "apply_patch verification failed: Failed to read file to update /w/a.py",
    ],
)
def test_a_patch_that_came_to_nothing_changed_no_file(
    said_back: str, write: Callable[..., Path], opened: Open
) -> None:
    call = {"type": "custom_tool_call", "name": "apply_patch", "call_id": "c1",
            "input": "*** Begin Patch\n*** Add File: a.py\n+1\n*** End Patch"}  # fmt: skip
    out = {"type": "custom_tool_call_output", "call_id": "c1", "output": said_back}
    session = opened(write(lines(meta(SID), response(call), response(out))))
    assert session.methods["files"]()["files"] == []
    assert [error["command"] for error in session.methods["errors"]()] == ["apply_patch"]


def test_what_the_program_writes_in_a_persons_place_is_no_prompt(
    write: Callable[..., Path], opened: Open
) -> None:
    warned = said("user", "Warning: apply_patch was requested via exec_command. Use the tool.")
    kinds = {"content_item_kinds": ["environments.environment_context"]}
    around = said("user", "Always mind where you are.") | {
        "internal_chat_message_metadata_passthrough": kinds
    }
    typed = said("user", "Never touch x.py.") | {
        "internal_chat_message_metadata_passthrough": {"content_item_kinds": ["user.text"]}
    }
    session = opened(write(lines(meta(SID), *map(response, (warned, around, typed)))))
    assert prompts(session) == ["Never touch x.py."]
    assert [rule["quote"] for rule in session.methods["preferences"]()] == ["Never touch x.py."]


def test_a_subagent_is_joined_to_the_call_that_sent_it(
    write: Callable[..., Path], opened: Open
) -> None:
    spawn = {"subagent": {"thread_spawn": {"parent_thread_id": SID, "depth": 1}}}
    child = lines(meta(OTHER, source=spawn), response(said("user", "Find the callers.")))
    write(child, f"rollout-2026-03-14T08-02-12-{OTHER}.jsonl")
    call = {"type": "function_call", "name": "spawn_agent", "call_id": "c1",
            "arguments": json.dumps({"message": "Find the callers."})}  # fmt: skip
    out = {"type": "function_call_output", "call_id": "c1",
           "output": json.dumps({"agent_id": OTHER, "nickname": "Ada"})}  # fmt: skip
    session = opened(write(lines(meta(SID), response(call), response(out))))
    (agent,) = session.methods["subagents"]()
    assert agent["errand"] == "Find the callers." and agent["call"].endswith("#1.1")
