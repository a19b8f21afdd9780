"""Logs and databases that were written to break their reader."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.errors import RlmError
from rlm_mcp.sessions.readers import sqlite_file
from tests.project import OpenProject

Make = Callable[..., OpenProject]


def test_times_outside_of_the_calendar_are_shown_as_its_ends(
    tmp_path: Path, catalog_of: Make
) -> None:
    line = "9999-12-31T23:59:59-23:00 last\n0001-01-01T00:00:00+23:59 first\n"
    (tmp_path / "odd.log").write_text(line * 50)
    catalog = catalog_of(tmp_path)
    catalog.open_context("odd.log", "odd")
    assert catalog.outline("odd", 60).items
    assert catalog.call_method("odd", "at", ["09:30"], {}) is not None


def test_a_file_without_text_has_an_empty_outline(tmp_path: Path, catalog_of: Make) -> None:
    (tmp_path / "junk.db").write_bytes(b"SQLite format 3\0" + bytes(8_000))
    catalog = catalog_of(tmp_path)
    catalog.open_context("junk.db", "junk")
    assert not catalog.outline("junk", 60).items


def test_a_database_makes_no_value_of_any_size(tmp_path: Path) -> None:
    place = tmp_path / "state.vscdb"
    with sqlite3.connect(place) as db:
        db.execute("CREATE TABLE t(k, v GENERATED ALWAYS AS (zeroblob(900000000)) VIRTUAL)")
        db.execute("INSERT INTO t(k) VALUES (1)")
    db.close()
    with sqlite_file.open_readonly(place) as opened, pytest.raises(sqlite3.Error):
        opened.execute("SELECT v FROM t").fetchone()


def test_a_database_does_not_compute_without_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "READ_LIMIT_S", 0.2)
    place = tmp_path / "state.vscdb"
    with sqlite3.connect(place) as db:
        db.execute(
            "CREATE VIEW t AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) "
            "SELECT n FROM r"
        )
    db.close()
    with sqlite_file.open_readonly(place) as opened, pytest.raises(sqlite3.Error):
        opened.execute("SELECT count(*) FROM t").fetchone()


def test_a_cursor_database_of_endless_values_is_one_sentence(
    tmp_path: Path, catalog_of: Make
) -> None:
    place = tmp_path / "state.vscdb"
    huge = "value GENERATED ALWAYS AS (zeroblob(900000000)) VIRTUAL"
    with sqlite3.connect(place) as db:
        for table in ("ItemTable", "cursorDiskKV"):
            db.execute(f"CREATE TABLE {table}(key TEXT, {huge})")
            db.executemany(
                f"INSERT INTO {table}(key) VALUES (?)", [(f"composerData:{n}",) for n in range(50)]
            )
    db.close()
    with pytest.raises(RlmError):
        catalog_of(tmp_path).open_context("state.vscdb", "x")
