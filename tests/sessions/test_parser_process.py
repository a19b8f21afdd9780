"""Reading a long transcript in two processes: the same index, whatever becomes of the other one."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.refs import parse_ref
from rlm_mcp.sessions import parser_process
from rlm_mcp.sessions.readers import choose_reader
from rlm_mcp.sessions.schema import MessagePiece, TranscriptSource
from rlm_mcp.sessions.session import Session
from rlm_mcp.sessions.writer import event_rows
from tests.sessions.generator.layouts import LAYOUTS
from tests.sessions.generator.story import tell

Open = Callable[[Path], Session]

BY_LINES = ("claude", "codex", "copilot-cli", "gemini-jsonl", "cursor-jsonl", "copilot-oplog")
TABLES = ("docs", "turns", "blocks", "runs", "nodes")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[parser_process.ParserProcess]:
    """Hand files of any length to a second process, which is up before they are read here."""
    found: list[parser_process.ParserProcess] = []
    begin = parser_process.ParserProcess.start_process

    def up(source: TranscriptSource) -> parser_process.ParserProcess | None:
        one = begin(source)
        assert one is not None
        until = time.monotonic() + 30
        while not source.pause and time.monotonic() < until:
            time.sleep(0.005)
        assert source.pause
        found.append(one)
        return one

    monkeypatch.setattr(parser_process, "PARALLEL_MIN_BYTES", 0)
    monkeypatch.setattr(parser_process, "_has_idle_cpu", lambda: True)
    monkeypatch.setattr(parser_process.ParserProcess, "start_process", up)
    return found


def index(session: Session) -> list[object]:
    """Return all that an index holds, except where the transcript lies."""
    hidden = ("path", "stamp")
    rows = [
        [row[name] for name in row.keys() if name not in hidden]  # noqa: SIM118  rows yield values
        for table in TABLES
        for row in session.index.query_rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3")
    ]
    return [*rows, bytes(session.index.corpus.snapshot.buffer)]


def two(layout: str, folder: Path, *, filler: int = 40) -> tuple[Path, Path]:
    """Write the same transcript twice."""
    first, second = (
        LAYOUTS[layout].write(tell(3, filler=filler), folder / name) for name in ("one", "two")
    )
    return first, second


@pytest.mark.parametrize("layout", BY_LINES)
def test_two_processes_make_the_index_that_one_makes(
    layout: str, tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch, begun: list[Any]
) -> None:
    first, second = two(layout, tmp_path)
    found = index(opened(first))
    assert begun
    monkeypatch.setattr(parser_process, "PARALLEL_MIN_BYTES", 1 << 40)
    count = len(begun)
    assert found == index(opened(second))
    assert len(begun) == count


def test_records_of_any_shape_come_over_unchanged(tmp_path: Path, begun: list[Any]) -> None:
    odd = [
        {"type": "user", "uuid": "u1", "message": {"role": "user", "content": "a \ud800 b ▌"}},
        {"type": "assistant", "uuid": "a1", "message": {"id": "m", "usage": {"input_tokens": 1e300},
         "content": [{"type": "tool_use", "id": "\udc00", "name": "Bash", "input": {"x": 2**90}}]}},
        {"type": "user", "uuid": "u2", "toolUseResult": {"persistedOutputPath": "out.txt"},
         "message": {"content": [{"type": "tool_result", "tool_use_id": "\udc00"}]}},
        {"type": "system", "subtype": "compact_boundary", "uuid": "s1", "content": "cut",
         "compactMetadata": {"preservedMessages": {"uuids": ["u1", 7, "\ud800"]}}},
        {"type": "summary", "summary": "A title"},
        {"type": "what next year brings", "uuid": "w1"},
        {"type": "user", "uuid": 7, "isSidechain": True, "message": {"content": [None, {}, "x"]}},
        {"type": "user", "message": 3},
    ]  # fmt: skip
    path = tmp_path / "odd.jsonl"
    lines = [json.dumps(record) for record in odd] + ["[]", "{broken", "", '{"type":"user","uui']
    path.write_text("\n".join(lines))
    reader = choose_reader(path)
    assert reader is not None
    here = [*map(event_rows, reader.read_events(TranscriptSource(str(path)), 0))]
    there = [
        *parser_process.stream_events(reader, TranscriptSource(str(path)), path.stat().st_size)
    ]
    for item in (*here, *there):
        if isinstance(item[0], MessagePiece):
            item[0].blocks.clear()  # the rows stand for them
    assert there == here
    assert begun
    assert sum(isinstance(item[0], MessagePiece) for item in here) == 6


@pytest.mark.parametrize("batches", [0, 1])
def test_what_a_killed_process_left_is_read_here(
    batches: int,
    tmp_path: Path,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    begun: list[Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = two("codex", tmp_path, filler=400)
    take = parser_process.ParserProcess._read_batch
    taken: list[object] = []

    def killing(self: parser_process.ParserProcess) -> Any:
        if len(taken) == batches:
            self._child.kill()
            self._child.wait()
            assert self._child.stdout is not None
            self._child.stdout.read()
        taken.append(take(self))
        return taken[-1]

    monkeypatch.setattr(parser_process.ParserProcess, "_read_batch", killing)
    with caplog.at_level(logging.WARNING):
        found = index(opened(first))
    assert len(taken) == batches
    assert "ended early" in caplog.text
    monkeypatch.setattr(parser_process, "PARALLEL_MIN_BYTES", 1 << 40)
    assert found == index(opened(second))


def test_a_process_that_stands_still_is_ended(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch, begun: list[Any]
) -> None:
    if not hasattr(os, "kill") or sys.platform == "win32":
        pytest.skip("processes cannot be stopped here")
    import signal

    first, _ = two("claude", tmp_path)
    monkeypatch.setattr(parser_process, "BATCH_S", 0.2)
    begin = parser_process.ParserProcess.start_process

    def stopped(source: TranscriptSource) -> parser_process.ParserProcess | None:
        one = begin(source)
        assert one is not None
        one._child.send_signal(signal.SIGSTOP)
        return one

    monkeypatch.setattr(parser_process.ParserProcess, "start_process", stopped)
    assert opened(first).full_text(parse_ref("session")).count("\n") > 100


def test_no_process_is_left_and_none_is_given_the_environment(
    tmp_path: Path,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    begun: list[parser_process.ParserProcess],
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "not for others")
    environments: list[bytes] = []
    begin = parser_process.ParserProcess.start_process

    def looked(source: TranscriptSource) -> parser_process.ParserProcess | None:
        one = begin(source)
        assert one is not None
        at = Path(f"/proc/{one._child.pid}/environ")
        environments.append(at.read_bytes() if at.exists() else b"")
        return one

    monkeypatch.setattr(parser_process.ParserProcess, "start_process", looked)
    opened(two("claude", tmp_path)[0])
    assert begun and environments
    assert all(one._child.returncode is not None for one in begun)
    names = {entry.partition(b"=")[0] for one in environments for entry in one.split(b"\0")}
    assert names <= {b"", b"PATH", b"PYTHONPATH", b"SYSTEMROOT"}


def test_a_short_file_needs_no_second_process(
    tmp_path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(source: TranscriptSource) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(parser_process, "_has_idle_cpu", lambda: True)
    monkeypatch.setattr(parser_process.ParserProcess, "start_process", refused)
    opened(two("claude", tmp_path)[0])


@pytest.mark.parametrize(
    ("processors", "pressure", "load", "spare"),
    [
        (2, "some avg10=1.50 avg60=99.0 avg300=99.0 total=1\n", 9.0, True),
        (2, "some avg10=95.20 avg60=0.00 avg300=0.00 total=1\n", 0.0, False),
        (2, None, 1.2, True),
        (2, "", 2.5, False),
        (1, "some avg10=0.00 avg60=0.00 avg300=0.00 total=1\n", 0.0, False),
    ],
)
def test_a_second_process_takes_a_processor_that_is_free(
    processors: int,
    pressure: str | None,
    load: float,
    spare: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "pressure"
    if pressure is not None:
        file.write_text(pressure)
    monkeypatch.setattr(parser_process, "_PRESSURE", file)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)), raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    assert parser_process._has_idle_cpu() is spare


def test_where_no_process_can_be_started_the_file_is_read_here(
    tmp_path: Path,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(parser_process, "PARALLEL_MIN_BYTES", 0)
    monkeypatch.setattr(parser_process, "_has_idle_cpu", lambda: True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no such program"))
    session = opened(two("claude", tmp_path)[0])
    assert session.full_text(parse_ref("session"))
    assert "No process could be started" in caplog.text
