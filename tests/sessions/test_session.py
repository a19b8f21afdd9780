"""The session variable on a small Claude Code transcript."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp import sessions
from rlm_mcp.config import Settings
from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import parse_ref
from rlm_mcp.variable import Variable

SID = "73104a6c-2880-482b-a281-f48aa2101b19"


def record(kind: str, uuid: str, parent: str | None, content: Any, **more: Any) -> str:
    message: dict[str, Any] = {"role": kind, "content": content}
    if kind == "assistant":
        message["id"] = more.pop("id", f"msg-{uuid}")
    return json.dumps(
        {
            "type": kind, "uuid": uuid, "parentUuid": parent, "sessionId": SID, "cwd": "/w",
            "timestamp": "2026-01-01T00:00:00Z", "message": message, **more,
        }
    )  # fmt: skip


def lines() -> list[str]:
    return [
        record("user", "u1", None, "Never touch a.sql."),
        record("assistant", "a1", "u1", [{"type": "text", "text": "Understood.\nReally."}]),
        record(
            "assistant",
            "a2",
            "a1",
            [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls -a"}}],
            id="msg-a1",
        ),
        record(
            "user",
            "r1",
            "a2",
            [{"type": "tool_result", "tool_use_id": "t1", "content": "one\ntwo\nthree"}],
        ),
        record("user", "u2", "r1", "Use Celery."),
        record("assistant", "a3", "u2", [{"type": "text", "text": "Celery it is."}]),
        record("user", "u3", "r1", "No Celery."),
        "{broken",
        record("assistant", "a4", "u3", [{"type": "text", "text": "No Celery, fine."}]),
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / f"{SID}.jsonl"
    path.write_text("\n".join(lines()) + "\n", "utf-8")
    return path


@pytest.fixture
def variable(path: Path) -> Iterator[Variable]:
    opened = sessions.open_session(str(path), "session", Settings(roots=(path.parent,)))
    yield opened
    opened.close()


def test_a_block_ref_gives_its_text_verbatim(variable: Variable) -> None:
    assert variable.full_text(parse_ref("session:73104a6c#2.1")) == "Understood.\nReally."
    assert variable.full_text(parse_ref("session#2.3")) == "one\ntwo\nthree"


def test_a_window_goes_on_at_its_next_ref(variable: Variable) -> None:
    seen = []
    ref = "session"
    while ref:
        passage = variable.peek(parse_ref(ref), 3)
        assert variable.full_text(parse_ref(passage.ref)) == passage.text
        seen.append(passage.text)
        ref = passage.next_ref
    assert "\n".join(seen) == variable.full_text(parse_ref("session")).removesuffix("\n")


def test_a_rewound_branch_is_not_part_of_the_session(variable: Variable) -> None:
    found = variable.grep(Query("Celery"), parse_ref("session"))
    assert [hit.text for hit in found.hits] == ["No Celery.", "No Celery, fine."]
    assert found.total == 2
    passage = variable.peek(parse_ref("session:73104a6c#4.1"))
    assert "abandoned branch" in passage.note


def test_heads_above_blocks_are_no_matches(variable: Variable) -> None:
    found = variable.grep(Query("assistant|▌|result"), parse_ref("session"))
    assert (found.total, found.hits) == (0, ())


def test_each_hit_opens_at_its_ref(variable: Variable) -> None:
    found = variable.grep(Query(".", limit=100), parse_ref("session"))
    assert found.total == len(found.hits) == 9
    for hit in found.hits:
        assert hit.text in variable.full_text(parse_ref(hit.ref)).split("\n")


def test_an_append_is_seen_by_the_next_call(variable: Variable, path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(record("user", "u4", "a4", "And tests, please.")[:40])
    assert variable.refresh()
    assert variable.grep(Query("tests"), parse_ref("session")).total == 0
    with path.open("a", encoding="utf-8") as file:
        file.write(record("user", "u4", "a4", "And tests, please.")[40:] + "\n")
    before = variable.mapped_text().generation
    assert variable.refresh()
    assert variable.mapped_text().generation > before
    hit = variable.grep(Query("tests"), parse_ref("session")).hits[0]
    assert hit.ref == "session:73104a6c#7.1"


def test_a_rewritten_file_is_read_anew(variable: Variable, path: Path) -> None:
    path.write_text("\n".join(lines()[:2]) + "\n", "utf-8")
    assert variable.refresh()
    assert variable.grep(Query("Celery"), parse_ref("session")).total == 0
    assert variable.full_text(parse_ref("session#2.1")) == "Understood.\nReally."


def test_an_outline_begins_with_what_holds_now_and_counts_the_rest(variable: Variable) -> None:
    whole = variable.outline(parse_ref("session"))
    assert whole.items[0].kind == "rule" and whole.items[0].name == "Never touch a.sql."
    assert variable.peek(parse_ref(whole.items[0].ref)).text.startswith("Never touch a.sql.")
    kinds = [item.kind for item in whole.items]
    assert kinds == sorted(kinds, key=["rule", "prompt"].index) and set(kinds) == {"rule", "prompt"}
    assert whole.total == len(whole.items)
    short = variable.outline(parse_ref("session"), 1)
    assert [item.kind for item in short.items] == ["rule"]
    assert short.total == whole.total and "prompts" in short.note
    part = variable.outline(parse_ref(whole.items[0].ref))
    assert {item.kind for item in part.items} == {"prompt"}


def test_chunks_cover_every_line_once(variable: Variable) -> None:
    parts = variable.chunk(parse_ref("session"), tokens=10)
    assert len(parts) > 3
    text = "\n".join(variable.full_text(parse_ref(part.ref)) for part in parts)
    assert text == variable.full_text(parse_ref("session")).removesuffix("\n")


def test_broken_lines_are_counted_and_said(variable: Variable) -> None:
    assert any(note.startswith("1 line could not be parsed") for note in variable.describe().notes)


def test_an_unknown_turn_is_named_with_what_there_is(variable: Variable) -> None:
    with pytest.raises(BadRequest, match="turns 1 to 6, not 99"):
        variable.peek(parse_ref("session#99.1"))


def test_a_secret_in_a_title_or_prompt_comes_out_as_a_marker(
    transcript: Callable[..., Path], opened: Callable[[Path], Any]
) -> None:
    key = "AKIA" + "QWERTYUIOPASDFGH"
    path = transcript(
        record("user", "u1", None, f"Use the key {key} for it."),
        json.dumps({"type": "summary", "summary": f"Deploy with {key}", "leafUuid": "u1"}),
    )
    found = opened(path)
    for text in (
        str(found.describe()),
        found.full_text(parse_ref("session")),
        found.methods["brief"](),
    ):
        assert key not in text
        assert "[secret:aws-key:" in text
