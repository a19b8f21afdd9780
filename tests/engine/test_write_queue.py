"""Work on databases: together, committed before it is told, never waiting on the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from rlm_mcp.engine.write_queue import WriteQueue, open_store
from tests.engine.conftest import run

SCHEMA = "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY) STRICT"


def rows(path: Path) -> list[int]:
    """Return what another process would read now."""
    other = sqlite3.connect(path)
    try:
        return [n for (n,) in other.execute("SELECT n FROM t ORDER BY n")]
    finally:
        other.close()


def test_work_is_committed_before_it_is_told_and_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"

    async def go() -> None:
        db = open_store(path, SCHEMA)
        disk, seen = WriteQueue(db), list[int]()

        async def one(n: int) -> None:
            await disk.submit_work(db.execute, "INSERT INTO t VALUES (?)", (n,))
            assert n in rows(path)
            seen.append(n)

        await asyncio.gather(*(one(n) for n in range(50)))
        assert seen == list(range(50))
        await disk.close()

    run(go())
    assert rows(path) == list(range(50))


def test_an_error_of_one_job_is_its_own_and_an_error_of_the_store_is_everyones(
    tmp_path: Path,
) -> None:
    def fails() -> None:
        raise ValueError("no")

    async def go() -> None:
        db = open_store(tmp_path / "a.sqlite", SCHEMA)
        disk = WriteQueue(db)
        add = "INSERT INTO t VALUES (1)"
        one, other = disk.submit_work(fails), disk.submit_work(db.execute, add)
        with pytest.raises(ValueError, match="no"):
            await one
        await other
        got = await asyncio.gather(
            disk.submit_work(db.execute, "INSERT INTO t VALUES (2)"),
            disk.submit_work(db.execute, add),
            return_exceptions=True,
        )
        assert all(isinstance(item, sqlite3.IntegrityError) for item in got)
        await disk.close()

    run(go())
    assert rows(tmp_path / "a.sqlite") == [1]


def test_a_store_held_by_another_process_holds_up_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"

    async def go() -> None:
        db = open_store(path, SCHEMA)
        disk = WriteQueue(db)
        other = sqlite3.connect(path, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        waiting = [disk.submit_work(db.execute, f"INSERT INTO t VALUES ({n})") for n in range(3)]
        for _ in range(20):  # the loop runs on
            await asyncio.sleep(0.001)
        later = disk.submit_work(db.execute, "INSERT INTO t VALUES (9)")
        assert not any(future.done() for future in waiting)
        threading.Timer(0.05, other.rollback).start()
        await asyncio.wait_for(asyncio.gather(*waiting, later), 5)
        other.close()
        await disk.close()

    run(go())
    assert rows(path) == [0, 1, 2, 9]


def test_work_that_was_cancelled_before_it_began_is_left_out(tmp_path: Path) -> None:
    async def go() -> None:
        db = open_store(tmp_path / "a.sqlite", SCHEMA)
        disk = WriteQueue(db)
        disk.submit_work(db.execute, "INSERT INTO t VALUES (1)").cancel()
        with pytest.raises(sqlite3.OperationalError):
            await disk.submit_work(db.execute, "INSERT INTO nothing VALUES (1)")
        await disk.submit_work(db.execute, "INSERT INTO t VALUES (2)")
        await disk.close()

    run(go())
    assert rows(tmp_path / "a.sqlite") == [2]
