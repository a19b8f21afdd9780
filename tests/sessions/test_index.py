"""The index: appends, rewrites, giant lines, sharing, and a cache that is gone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp import config
from rlm_mcp.errors import Unavailable
from rlm_mcp.refs import parse_ref
from rlm_mcp.sessions import activity, build, turn_tree
from rlm_mcp.sessions.session import Session
from tests.sessions.generator.layouts import LAYOUTS
from tests.sessions.generator.story import tell

Record = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
Open = Callable[[Path], Session]

LINED = ("claude", "codex", "copilot-cli", "gemini-jsonl", "cursor-jsonl")


def blocks(session: Session) -> list[tuple[Any, ...]]:
    return [
        tuple(row)
        for row in session.index.query_rows(
            "SELECT b.doc, b.n, b.i, b.type, b.name, b.status, b.sha, t.live, t.parent, t.segment, "
            "t.output FROM blocks b JOIN turns t USING (doc, n) ORDER BY 1, 2, 3"
        )
    ]


@pytest.mark.parametrize("name", LINED)
def test_reading_in_steps_gives_the_same_turns_as_reading_at_once(
    name: str, tmp_path: Path, opened: Open
) -> None:
    whole = LAYOUTS[name].write(tell(5, filler=12), tmp_path / "whole")
    data = whole.read_bytes()
    grown = tmp_path / "grown" / whole.name
    shutil.copytree(whole.parent, grown.parent)  # with subagents and saved outputs
    grown.write_bytes(data[:200])
    session = opened(grown)
    for end in range(200, len(data) + 3_000, 3_000):  # cuts lines anywhere
        grown.write_bytes(data[:end])
        session.refresh()
    expected = opened(whole)
    assert blocks(session) == blocks(expected)
    assert session.full_text(parse_ref("session")) == expected.full_text(parse_ref("session"))


def test_a_result_finds_a_call_of_an_earlier_reading_whose_id_is_no_text(
    record: Record, transcript: Write, opened: Open
) -> None:
    call = {"type": "tool_use", "id": "toolu_\ud800", "name": "Bash", "input": {"command": "ls"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_\ud800", "content": "a.py"}
    path = transcript(record("assistant", "a1", None, [call]))
    session = opened(path)
    with path.open("a") as file:
        file.write(json.dumps(record("user", "u1", "a1", [result])) + "\n")
    session.refresh()
    assert [run.output_text for run in activity.shell_commands(session.view)] == ["a.py"]


def test_a_second_server_uses_the_same_index(
    record: Record, transcript: Write, opened: Open
) -> None:
    path = transcript(record("user", "u1", None, "Hello there."))
    one, two = opened(path), opened(path)
    with path.open("a") as file:
        file.write(json.dumps(record("user", "u2", "u1", "More of it.")) + "\n")
    assert one.refresh()
    assert two.refresh()
    assert two.full_text(parse_ref("session#2.1")) == "More of it."
    assert not two.refresh()


@pytest.mark.parametrize("gone", ["sessions", "packed"])
def test_a_cache_that_was_deleted_is_made_again(
    gone: str, record: Record, transcript: Write, opened: Open
) -> None:
    path = transcript(record("user", "u1", None, "Hello there."))
    opened(path).close()
    shutil.rmtree(config.cache_dir() / gone)
    assert opened(path).full_text(parse_ref("session#1.1")) == "Hello there."


def test_a_broken_index_is_made_again(record: Record, transcript: Write, opened: Open) -> None:
    path = transcript(record("user", "u1", None, "Hello there."))
    session = opened(path)
    session.close()
    for file in (config.cache_dir() / "sessions").iterdir():
        file.write_bytes(b"no database at all " * 100)
    assert opened(path).full_text(parse_ref("session#1.1")) == "Hello there."


def test_a_deleted_transcript_is_said_to_be_gone(
    record: Record, transcript: Write, opened: Open
) -> None:
    path = transcript(record("user", "u1", None, "Hello there."))
    session = opened(path)
    path.unlink()
    with pytest.raises(Unavailable, match="cannot be read"):
        session.refresh()


def test_a_line_of_50_megabytes_survives(record: Record, transcript: Write, opened: Open) -> None:
    huge = "x\\n\U0001f9fe" * 8_000_000
    path = transcript(
        record("user", "u1", None, "Before the giant."),
        record("user", "u2", "u1", huge),
        record("user", "u3", "u2", "Behind the giant."),
    )
    assert path.stat().st_size > 50 << 20
    session = opened(path)
    assert session.full_text(parse_ref("session#3.1")) == "Behind the giant."
    assert "bytes in all" in session.full_text(parse_ref("session#2.1"))[-60:]
    assert session.describe().size_bytes < 1 << 20


def test_a_changed_transcript_makes_a_citation_stale(
    record: Record, transcript: Write, opened: Open
) -> None:
    path = transcript(record("user", "u1", None, "Never touch a.sql."))
    session = opened(path)
    assert session.methods["verify"]("session#1.1")["stale"] is False
    status = path.stat()
    path.write_text(path.read_text().replace("a.sql", "b.sql"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # not even the time tells
    assert session.methods["verify"]("session#1.1")["stale"] is True


def test_a_line_that_mimics_a_head_is_no_head(
    record: Record, transcript: Write, opened: Open
) -> None:
    path = transcript(record("user", "u1", None, "▌#9.9 user\nNever mind.\n▌#9.9 user"))
    text = opened(path).full_text(parse_ref("session"))
    assert [line[:3] for line in text.split("\n") if line.startswith("▌")] == ["▌#1"]


def test_the_index_is_private(record: Record, transcript: Write, opened: Open) -> None:
    opened(transcript(record("user", "u1", None, "Hello there.")))
    files = list((config.cache_dir() / "sessions").glob("*.sqlite"))
    assert files
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_what_is_dropped_from_memory_is_still_known(
    record: Record, transcript: Write, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn_tree, "RECENT_LIMIT", 8)
    monkeypatch.setattr(build, "_REMEMBERED", 10)
    monkeypatch.setattr(build, "_BATCH_BLOCKS", 4)
    chain: list[dict[str, Any]] = []
    for number in range(60):
        parent = f"u{number - 1}" if number else None
        chain.append(record("user", f"u{number}", parent, f"Step number {number}."))
    again = [chain[3], record("user", "fork", "u20", "Back to step twenty.")]
    session = opened(transcript(*chain, *again))
    told = [prompt["text"] for prompt in session.methods["prompts"]()]
    assert told == [f"Step number {number}." for number in range(21)] + ["Back to step twenty."]
