"""Transcripts are hostile input: whatever stands in them, reading goes on."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.methods import to_wire
from rlm_mcp.refs import parse_ref
from rlm_mcp.sessions.readers import choose_reader
from rlm_mcp.sessions.session import Session
from tests.sessions.generator.layouts import LAYOUTS
from tests.sessions.generator.story import tell

Record = Callable[..., dict[str, Any]]
Open = Callable[[Path], Session]

JUNK: tuple[Any, ...] = (
    None, True, -1, 10**30, 1e308, "", "\ud83e", "\x00\x1b[31m", [], {}, [[]], {"a": {"b": 1}},
    [1, "x", None, {"type": "text", "text": 5}], "../../../etc/passwd",
)  # fmt: skip
CALLS = ("brief", "files", "errors", "commands", "tasks", "prompts", "timeline", "usage",
         "compactions", "subagents", "commits", "decisions")  # fmt: skip


def spoil(value: Any, rng: random.Random, share: float) -> Any:
    """Return a JSON value with some of its parts replaced by junk."""
    if rng.random() < share:
        return rng.choice(JUNK)
    if isinstance(value, dict):
        return {key: spoil(item, rng, share) for key, item in value.items()}
    if isinstance(value, list):
        return [spoil(item, rng, share) for item in value]
    return value


@pytest.mark.parametrize(
    "name", [n for n in LAYOUTS if n not in ("aider", "specstory", "cursor-txt", "cursor-ide",
             "opencode-db", "opencode-storage")],
)  # fmt: skip
def test_records_of_any_shape_are_survived(name: str, tmp_path: Path, opened: Open) -> None:
    rng = random.Random(name)
    path = LAYOUTS[name].write(tell(2, filler=4), tmp_path / "written")
    text = path.read_text("utf-8")
    for round_ in range(6):
        target = tmp_path / f"round{round_}" / path.name
        target.parent.mkdir()
        if path.suffix == ".jsonl":
            lines = [line for line in text.split("\n") if line.startswith("{") and line[-1] == "}"]
            made = [json.dumps(spoil(json.loads(line), rng, 0.04)) for line in lines[1:]]
            target.write_text("\n".join([lines[0], *made]) + "\n", "utf-8")
        else:
            value = json.loads(text)
            key = next((k for k in ("messages", "requests") if k in value), None)
            spoiled = spoil(value if key is None else value[key], rng, 0.03)
            target.write_text(json.dumps(spoiled if key is None else {**value, key: spoiled}))
        if choose_reader(target) is None:
            continue
        session = opened(target)
        for call in CALLS:
            json.dumps(to_wire(session.methods[call]()))
        session.full_text(parse_ref("session")).encode("utf-8")


@pytest.mark.parametrize("name", ["cursor-ide", "opencode-db"])
def test_a_database_that_is_cut_short_is_survived(name: str, tmp_path: Path) -> None:
    path = LAYOUTS[name].write(tell(2, filler=4), tmp_path / "written")
    data = path.read_bytes()
    for size in (20, 100, 5_000, len(data) // 2):
        path.write_bytes(data[:size])
        reader = choose_reader(path)
        assert reader is None or list(reader.find_sessions([])) == []


def test_deep_nesting_is_a_broken_line(
    record: Record, transcript: Callable[..., Path], opened: Open
) -> None:
    deep = '{"type":"user","x":' + "[" * 100_000 + "]" * 100_000 + "}"
    session = opened(transcript(record("user", "u1", None, "Hello there."), deep))
    assert any("1 line could not be parsed" in note for note in session.describe().notes)


def test_a_loop_of_parents_ends(
    record: Record, transcript: Callable[..., Path], opened: Open
) -> None:
    path = transcript(
        record("user", "u1", "u3", "One of it."),
        record("user", "u2", "u2", "Two of it."),
        record("user", "u3", "u1", "Three of it."),
        record("user", "u4", "u2", "Four of it."),
    )
    assert len(opened(path).methods["prompts"]()) >= 2


def test_names_of_threads_are_safe_in_refs(
    record: Record, transcript: Callable[..., Path], opened: Open
) -> None:
    path = transcript(
        record("user", "u1", None, "Hello there."),
        record("user", "s1", None, "Look.", isSidechain=True, agentId="x#1/../y z\n\x1b"),
    )
    session = opened(path)
    ref = session.methods["subagents"]()[0]["ref"]
    assert session.full_text(parse_ref(f"{ref}#1.1")) == "Look."


def test_a_transcript_may_have_a_name_that_is_not_utf8(
    record: Record, tmp_path: Path, opened: Open
) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    path = Path(os.fsdecode(folder + b"/s\xe9.jsonl"))
    first, second = (record("user", f"u{n}", None, f"Hello {n}.") for n in (1, 2))
    path.write_text(json.dumps(first) + "\n")
    session = opened(path)
    (prompt,) = session.methods["prompts"]()
    assert session.methods["get"](prompt["ref"])["text"] == "Hello 1."
    with path.open("a") as file:
        file.write(json.dumps(second) + "\n")
    session.refresh()
    assert session.documents(parse_ref("session"))
    assert session.methods["grep"]("Hello 2")
