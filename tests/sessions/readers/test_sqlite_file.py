"""Another program's database, read while it writes, and left as it was."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rlm_mcp.sessions import locate
from rlm_mcp.sessions.readers import sqlite_file
from rlm_mcp.sessions.schema import SessionInfo
from tests.sessions.generator import measure
from tests.sessions.generator.layouts import LAYOUTS
from tests.sessions.generator.story import tell

WRITER = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("PRAGMA wal_autocheckpoint=5")
print("ready", flush=True)
until, n = time.monotonic() + 20, 0
while time.monotonic() < until:
    n += 1
    db.execute("BEGIN")
    db.execute("UPDATE a SET n = n + 1")
    db.execute("INSERT INTO filler VALUES (zeroblob(9000))")
    db.execute("UPDATE b SET n = n + 1")
    db.execute("COMMIT")
    time.sleep(0.03)
"""


def test_a_database_in_use_is_read_as_of_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "agent" / "store.db"
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        for table in ("a", "b"):
            db.execute(f"CREATE TABLE {table} (n)")
            db.execute(f"INSERT INTO {table} VALUES (0)")
        db.execute("CREATE TABLE filler (x)")
    db.close()
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
    seen: set[int] = set()
    try:
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        tries = 0
        while tries < 30 or len(seen) < 2:  # the writer may get no time at first
            tries += 1
            with sqlite_file.open_readonly(path) as copy:
                one, other = (copy.execute(f"SELECT n FROM {t}").fetchone()[0] for t in "ab")
                assert copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert one == other
            seen.add(one)
    finally:
        writer.kill()
        writer.communicate()
    assert {file.name for file in path.parent.iterdir()} <= {
        "store.db", "store.db-wal", "store.db-shm",
    }  # fmt: skip


def test_a_database_at_rest_keeps_its_folder_and_times(tmp_path: Path) -> None:
    path = tmp_path / "agent" / "rest.db"
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE a (n)")
    db.close()
    before = path.stat()
    with sqlite_file.open_readonly(path) as copy:
        assert sqlite_file.table_names(copy) == {"a"}
    assert [file.name for file in path.parent.iterdir()] == ["rest.db"]
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_copy_that_was_turned_down_is_not_read_when_the_log_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "agent" / "store.db"
    path.parent.mkdir()
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE a (n)")
    writer.execute("INSERT INTO a VALUES (1)")
    copy = shutil.copyfile

    def meanwhile(source: Path, target: Path) -> None:
        copy(source, target)
        if source.name.endswith("-wal"):  # the writer goes on, ends, and takes its log away
            writer.execute("UPDATE a SET n = 2")
            writer.close()

    monkeypatch.setattr(shutil, "copyfile", meanwhile)
    with sqlite_file.open_readonly(path) as found:
        assert found.execute("SELECT n FROM a").fetchone()[0] == 2


@pytest.mark.parametrize("layout", ["cursor-ide", "opencode-db"])
def test_a_database_whose_log_is_left_out_is_said_to_be_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    path = LAYOUTS[layout].write(tell(3), tmp_path / "written")
    session = measure.opened(path, tmp_path)
    assert not [note for note in session.describe().notes if "in use" in note]
    file = session.index.path
    agent = sqlite3.connect(file, isolation_level=None)
    agent.execute("PRAGMA journal_mode=WAL")
    agent.execute("CREATE TABLE later (x)")
    monkeypatch.setattr(sqlite_file, "COPY_LIMIT_BYTES", 10)
    try:
        session.refresh()
        assert f"{sqlite_file.LOG_SKIPPED_NOTE}." in session.describe().notes
        assert sqlite_file.LOG_SKIPPED_NOTE in session.methods["brief"]()
        assert sqlite_file.LOG_SKIPPED_NOTE in session.methods["handoff"](form="yaml")
        assert locate.is_behind(SessionInfo("", "", str(file)))
    finally:
        agent.close()
    session.refresh()
    assert not locate.is_behind(SessionInfo("", "", str(file)))
    assert sqlite_file.LOG_SKIPPED_NOTE not in session.methods["brief"]()
    session.close()
