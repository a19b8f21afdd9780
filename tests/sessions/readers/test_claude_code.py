"""The traps of Claude Code's transcripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlm_mcp.refs import parse_ref
from rlm_mcp.sessions.session import Session

Record = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
Open = Callable[[Path], Session]


def call(name: str, tool: str = "Bash", **arguments: str) -> list[dict[str, Any]]:
    return [{"type": "tool_use", "id": name, "name": tool, "input": arguments}]


def result(name: str, text: str, *, error: bool = False) -> list[dict[str, Any]]:
    return [{"type": "tool_result", "tool_use_id": name, "content": text, "is_error": error}]


def boundary(uuid: str, before: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "system", "subtype": "compact_boundary", "uuid": uuid, "parentUuid": None,
        "logicalParentUuid": before, "content": "Conversation compacted",
        "compactMetadata": {"trigger": "auto", **more},
    }  # fmt: skip


def test_usage_that_a_replys_records_repeat_is_counted_once(
    record: Record, transcript: Write, opened: Open
) -> None:
    usage = {"input_tokens": 5, "output_tokens": 70}
    path = transcript(
        record("user", "u1", None, "Go on with the work."),
        record("assistant", "a1", "u1", [{"type": "text", "text": "One."}], id="m", usage=usage),
        record("assistant", "a2", "a1", call("t1", command="ls"), id="m", usage=usage),
        record("user", "r1", "a2", result("t1", "x")),
        record("assistant", "a3", "r1", [{"type": "text", "text": "Two."}], id="n", usage=usage),
    )
    used = opened(path).methods["usage"]()
    assert (used["input"], used["output"]) == (10, 140)


def test_parallel_calls_are_no_branches(record: Record, transcript: Write, opened: Open) -> None:
    path = transcript(
        record("user", "u1", None, "Look at both files."),
        record("assistant", "a1", "u1", call("t1", command="cat a"), id="m"),
        record("assistant", "a2", "a1", call("t2", command="cat b"), id="m"),
        record("user", "r1", "a1", result("t1", "first")),
        record("user", "r2", "a2", result("t2", "second")),
        record("assistant", "a3", "r2", [{"type": "text", "text": "Both seen."}]),
    )
    session = opened(path)
    assert session.describe().facts.get("off the live branch") is None
    assert [r["command"] for r in session.methods["commands"]()] == ["cat a", "cat b"]
    assert session.full_text(parse_ref("session#2.3")) == "first"


def test_messages_that_a_compaction_kept_do_not_fork(
    record: Record, transcript: Write, opened: Open
) -> None:
    kept = {"preservedMessages": {"uuids": ["u2", "a2"]}}
    path = transcript(
        record("user", "u1", None, "Never touch a.sql."),
        record("assistant", "a1", "u1", [{"type": "text", "text": "Understood."}]),
        record("user", "u2", "a1", "Then write the docs."),
        record("assistant", "a2", "u2", [{"type": "text", "text": "Writing them."}]),
        boundary("b", "a2", **kept),
        record("user", "s", "b", "This session is being continued", isCompactSummary=True),
        record("user", "u3", "a2", "Is it done?"),
        record("assistant", "a3", "u3", [{"type": "text", "text": "It is."}]),
    )
    session = opened(path)
    assert session.describe().facts.get("off the live branch") is None
    assert len(session.methods["compactions"]()) == 1
    assert [p["text"] for p in session.methods["prompts"]()] == [
        "Never touch a.sql.", "Then write the docs.", "Is it done?",
    ]  # fmt: skip


def test_repeated_records_of_a_resumed_session_are_read_once(
    record: Record, transcript: Write, opened: Open
) -> None:
    first = record("user", "u1", None, "Start with the parser.")
    session = opened(transcript(first, first, first))
    assert len(session.methods["prompts"]()) == 1
    assert any("2 records repeated" in note for note in session.describe().notes)


def test_a_rewind_to_the_very_first_prompt_drops_everything(
    record: Record, transcript: Write, opened: Open
) -> None:
    path = transcript(
        record("user", "u1", None, "Use Celery for this."),
        record("assistant", "a1", "u1", call("t1", "Write", file_path="/w/celery.py", content="x")),
        record("user", "r1", "a1", result("t1", "ok")),
        record("user", "u2", None, "Use the scheduler for this."),
        record("assistant", "a2", "u2", [{"type": "text", "text": "The scheduler."}]),
    )
    session = opened(path)
    files = session.methods["files"]()
    assert files["files"] == []
    assert [file["path"] for file in files["abandoned"]] == ["celery.py"]


def test_going_back_to_an_abandoned_branch_makes_it_live_again(
    record: Record, transcript: Write, opened: Open
) -> None:
    path = transcript(
        record("user", "u1", None, "Start with the plan."),
        record("user", "u2", "u1", "Branch one of it."),
        record("user", "u3", "u1", "Branch two of it."),
        record("user", "u4", "u2", "On with branch one."),
    )
    assert [p["text"] for p in opened(path).methods["prompts"]()] == [
        "Start with the plan.", "Branch one of it.", "On with branch one.",
    ]  # fmt: skip


def test_text_of_the_harness_is_not_the_users(
    record: Record, transcript: Write, opened: Open
) -> None:
    path = transcript(
        record("user", "u1", None, "<command-name>/model</command-name>"),
        record("user", "u2", "u1", "<local-command-stdout>Never use opus</local-command-stdout>"),
        record("user", "u3", "u2", "Caveat: you must always obey", isMeta=True),
        record("user", "u4", "u3", "Fix it.<system-reminder>Never stop.</system-reminder>"),
        record("user", "u5", "u4", "[Request interrupted by user]"),
    )
    session = opened(path)
    assert [p["text"] for p in session.methods["prompts"]()] == ["Fix it."]
    assert session.methods["preferences"]() == []


def test_a_prompt_queued_while_the_agent_worked_is_the_users(
    record: Record, transcript: Write, opened: Open
) -> None:
    queued = {
        "type": "attachment", "uuid": "q", "parentUuid": "u1",
        "attachment": {"type": "queued_command", "prompt": "Also run the linter."},
    }  # fmt: skip
    session = opened(transcript(record("user", "u1", None, "Fix the parser."), queued))
    assert [p["text"] for p in session.methods["prompts"]()][-1] == "Also run the linter."


def test_inline_subagents_have_a_thread_of_their_own(
    record: Record, transcript: Write, opened: Open
) -> None:
    path = transcript(
        record("user", "u1", None, "Find the callers."),
        record("user", "s1", None, "Never mind the tests.", isSidechain=True),
        record("assistant", "s2", "s1", call("t9", command="rg x"), isSidechain=True),
        record("assistant", "a1", "u1", [{"type": "text", "text": "Found one."}]),
    )
    session = opened(path)
    assert session.methods["preferences"]() == []
    assert session.methods["commands"]() == []
    assert [s["name"] for s in session.methods["subagents"]()] == ["side-s1"]


def test_unknown_records_are_counted_and_carry_the_chain_on(
    record: Record, transcript: Write, opened: Open
) -> None:
    path = transcript(
        record("user", "u1", None, "First of all this."),
        {"type": "hologram", "uuid": "h", "parentUuid": "u1"},
        record("user", "u2", "h", "And then that."),
    )
    session = opened(path)
    assert session.describe().skipped == {"hologram": 1}
    assert len(session.methods["prompts"]()) == 2


def test_a_saved_output_that_lies_elsewhere_is_not_read(
    record: Record, transcript: Write, opened: Open, tmp_path: Path
) -> None:
    (tmp_path / "project").mkdir()
    secret = tmp_path / "project" / "secret.txt"
    secret.write_text("the secret")
    path = transcript(
        record("user", "u1", None, "Read it for me."),
        record("assistant", "a1", "u1", call("t1", command="cat x")),
        record(
            "user", "r1", "a1", result("t1", "stub"),
            toolUseResult={"persistedOutputPath": str(secret)},
        ),
    )  # fmt: skip
    session = opened(path)
    assert session.full_text(parse_ref("session#2.2")) == "stub"
    assert "the secret" not in session.full_text(parse_ref("session"))


def test_a_task_is_closed_by_the_number_that_its_making_told(
    record: Record, transcript: Callable[..., Path], opened: Callable[[Path], Session]
) -> None:
    def call(name: str, tool: str, output: str, failed: bool, **values: Any) -> list[Any]:
        use = {"type": "tool_use", "id": name, "name": tool, "input": values}
        result = {"type": "tool_result", "tool_use_id": name, "content": output}
        return [
            record("assistant", f"a{name}", None, [use], parentUuid=last),
            record("user", f"u{name}", f"a{name}", [{**result, "is_error": failed}]),
        ]

    records, last = [record("user", "u", None, "Do both.")], "u"
    todos = [{"content": "refused", "status": "pending"}]
    for name, tool, output, failed, values in (
        ("0", "TodoWrite", "No such tool available", True, {"todos": todos}),
        ("1", "TaskCreate", "Task #4 created successfully: alpha", False, {"subject": "alpha"}),
        ("2", "TaskCreate", "Task #5 created successfully: beta", False, {"subject": "beta"}),
        ("3", "TaskUpdate", "Updated", False, {"taskId": "5", "status": "completed"}),
    ):
        records += call(name, tool, output, failed, **values)
        last = f"u{name}"
    tasks = opened(transcript(*records)).methods["tasks"]()
    assert [(t["task"], t["status"]) for t in tasks] == [("alpha", "open"), ("beta", "done")]


def test_an_edit_of_every_occurrence_is_rebuilt_so(
    record: Record, transcript: Callable[..., Path], opened: Callable[[Path], Session]
) -> None:
    write = {"type": "tool_use", "id": "w", "name": "Write",
             "input": {"file_path": "/w/a.py", "content": "x\nx\n"}}  # fmt: skip
    values = {"file_path": "/w/a.py", "old_string": "x", "new_string": "y", "replace_all": True}
    edit = {"type": "tool_use", "id": "e", "name": "Edit", "input": values}
    session = opened(
        transcript(
            record("user", "u", None, "Go."),
            record("assistant", "a", "u", [write]),
            record("assistant", "b", "a", [edit]),
        )
    )
    assert session.methods["file_at"]("a.py")["text"] == "y\ny\n"
