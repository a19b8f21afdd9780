"""Transcripts of other people's hands, where they are present."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.sessions.index import TranscriptIndex
from rlm_mcp.sessions.readers import choose_reader
from rlm_mcp.sessions.schema import BRANCHES

SHARED = Path(__file__).parents[3] / "shared" / "data" / "sessions"
OTHER = ("LICENSE", "SOURCES", "taskHistory", "history_item", "ui_messages", "task_metadata",
         "workspace", "projects.json", ".meta.json", "session_index", "input.history", "prt_",
         "msg_", "_k3x9a.json")  # fmt: skip
FILES = [
    path
    for path in sorted(SHARED.rglob("*"))
    if path.is_file()
    and not any(part in path.name for part in OTHER)
    and "tool-results" not in path.parts
    and "workspaceStorage/2dd30" not in str(path)
]


@pytest.mark.skipif(not FILES, reason="the shared transcripts are not here")
def test_every_shared_transcript_is_read(tmp_path: Path) -> None:
    for path in FILES:
        reader = choose_reader(path)
        assert reader is not None, path
        for key in reader.session_keys(path):
            index = TranscriptIndex(path, key, reader)
            index.refresh()
            turns = index.query_rows("SELECT live, count(*) AS n FROM turns GROUP BY live")
            assert sum(row["n"] for row in turns) > 0, path
            assert {row["live"] for row in turns} <= set(BRANCHES)
            stale = [
                row
                for row in index.query_rows("SELECT * FROM blocks LIMIT 40")
                if index.is_stale(row)
            ]
            assert not stale, (path, dict(stale[0]))
            index.close()


def test_a_reader_refuses_what_it_does_not_know(
    tmp_path: Path, record: Callable[..., object]
) -> None:
    for name, text in (
        ("a.jsonl", '{"a": 1}\n'), ("a.json", "[]"), ("a.md", "# Title\n"), ("a.db", "SQLite"),
        ("a.txt", "user: hello\n"), ("empty.jsonl", ""),
    ):  # fmt: skip
        path = tmp_path / name
        path.write_text(text)
        assert choose_reader(path) is None, name
