"""The stores of one process: what waits is written together, and committed before it is told.

Work that comes in one turn of the event loop is one transaction. It is tried at once, without
waiting for anybody: a commit takes 0.1 ms, a change of threads and back three times that. Where
another process holds a store, or the disk was slow a moment ago, it goes to a thread of its own,
which takes everything that has come meanwhile. The event loop waits for neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rlm_mcp.errors import Unavailable
from rlm_mcp.files import private_file

PATIENCE_S = 10.0
"""How long the thread waits for another process."""
SLOW_S = 0.005
"""After a write that took longer, the next ones are not made on the event loop."""
SLOW_SHARE = 0.01
"""The most of the event loop's time that slow writes may take: it is spared that much longer."""
AVOIDED_S = 60.0
"""But no longer than this."""
CHECKPOINT_EVERY = 200
"""Transactions after which the log is moved into the stores: that waits for the disk."""

CHECKED_BYTES = 16 << 20
"""Size of a store up to which it is checked whole when it is opened: 3 ms a MB."""
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
                   sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})  # fmt: skip
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

log = logging.getLogger("rlm_mcp")
_T = TypeVar("_T")


class _WriteJob(NamedTuple):
    future: asyncio.Future[Any]
    work: Callable[..., Any]
    arguments: tuple[Any, ...]


class WriteQueue:
    """Runs work on databases in the order in which it came. Used from one event loop."""

    def __init__(self, *stores: sqlite3.Connection) -> None:
        self._stores = stores
        self._thread = ThreadPoolExecutor(1, "rlm-disk")
        self._waiting: list[_WriteJob] = []
        self._planned = self._busy = False
        self._avoid_until = 0.0
        self._written = 0
        self._patience_ms = -1

    def submit_work(self, work: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        """Return the outcome of `work(*arguments)`, which must not commit, once it is committed.

        Cancelled before it began, it is left out.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        self._waiting.append(_WriteJob(future, work, arguments))
        if not self._planned and not self._busy:
            self._planned = True
            loop.call_soon(self._start_batch)
        return future

    async def close(self) -> None:
        """Finish what is waiting, and close the stores."""
        while self._waiting or self._busy:
            await asyncio.sleep(0.001)
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close_stores)
        self._thread.shutdown(wait=False)

    def _start_batch(self) -> None:
        self._planned = False
        jobs = self._take_waiting()
        if not jobs:
            return
        if time.monotonic() >= self._avoid_until and self._written < CHECKPOINT_EVERY:
            outcomes = self._run_batch(jobs, 0.0)
            if outcomes is not None:
                self._set_results(jobs, outcomes)
                return
        self._busy = True
        future = asyncio.get_running_loop().run_in_executor(self._thread, self._run_in_thread, jobs)
        future.add_done_callback(lambda done: self._finish_batch(jobs, done))

    def _run_in_thread(self, jobs: Sequence[_WriteJob]) -> list[Any]:
        outcomes = self._run_batch(jobs, PATIENCE_S)
        assert outcomes is not None
        if self._written >= CHECKPOINT_EVERY:
            self._checkpoint_stores()
        return outcomes

    def _finish_batch(self, jobs: Sequence[_WriteJob], done: asyncio.Future[list[Any]]) -> None:
        self._busy = False
        error = done.exception()
        self._set_results(jobs, [error] * len(jobs) if error else done.result())
        if self._waiting and not self._planned:
            self._start_batch()

    def _take_waiting(self) -> list[_WriteJob]:
        jobs, self._waiting = self._waiting, []
        return [job for job in jobs if not job.future.cancelled()]

    def _run_batch(self, jobs: Sequence[_WriteJob], patience_s: float) -> list[Any] | None:
        """Run jobs in one transaction and return their results or errors.

        None where another process was in the way and there was no patience: nothing is done then.
        """
        started = time.monotonic()
        outcomes: list[Any] = []
        try:
            self._set_patience(patience_s)
            for job in jobs:
                outcomes.append(_job_outcome(job))
            for store in self._stores:
                store.commit()
        except sqlite3.Error as error:
            for store in self._stores:
                with contextlib.suppress(sqlite3.Error):
                    store.rollback()
            if not patience_s and isinstance(error, sqlite3.OperationalError):
                return None
            return [store_failure(error, self._stores)] * len(jobs)
        self._written += 1
        taken = time.monotonic() - started
        if taken > SLOW_S:
            self._avoid_until = time.monotonic() + min(taken / SLOW_SHARE, AVOIDED_S)
        return outcomes

    def _set_patience(self, seconds: float) -> None:
        patience_ms = int(seconds * 1000)
        if patience_ms != self._patience_ms:
            for store in self._stores:
                store.execute(f"PRAGMA busy_timeout={patience_ms}")
            self._patience_ms = patience_ms

    def _checkpoint_stores(self) -> None:
        self._written = 0
        for store in self._stores:
            # Where the disk is full, what is committed stays in the log: nothing is lost.
            with contextlib.suppress(sqlite3.Error):
                store.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _close_stores(self) -> None:
        self._checkpoint_stores()
        for store in self._stores:
            store.close()

    def _set_results(self, jobs: Sequence[_WriteJob], outcomes: Sequence[Any]) -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            if job.future.done():
                continue
            if isinstance(outcome, BaseException):
                job.future.set_exception(outcome)
            else:
                job.future.set_result(outcome)


def open_store(path: Path, schema: str) -> sqlite3.Connection:
    """Return a store: readable by its owner alone, shared by processes, checkpointed by the queue.

    Raises Unavailable for a damaged one, and where its folder cannot be written.
    """
    try:
        private_file(path)
    except OSError as error:
        raise Unavailable(_folder_sentence(path.parent, error)) from error
    db = sqlite3.connect(path, timeout=PATIENCE_S, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA wal_autocheckpoint=0")
        if path.stat().st_size <= CHECKED_BYTES:
            check_store(db)
        with db:
            db.execute(schema)
        made = db.execute("SELECT sql FROM sqlite_master WHERE type = 'table'").fetchall()
        if _schema_words(schema) not in [_schema_words(sql) for (sql,) in made]:
            raise DamagedStore(f"{path.name} of the state folder is of another program or version.")
    except sqlite3.Error as error:
        failure = store_failure(error, [db], path)
        db.close()
        raise failure from error
    except DamagedStore:
        db.close()
        raise
    return db


def open_or_replace(path: Path, schema: str) -> sqlite3.Connection:
    """Return a store whose content can be had again: a damaged one is set aside, and said once.

    Where the folder cannot be written, the store is one of this process alone.
    """
    try:
        return _open_or_set_aside(path, schema)
    except (Unavailable, OSError) as error:
        log.warning("%s is kept in memory alone: %s", path.name, error)
        return memory_store(schema)


def memory_store(schema: str) -> sqlite3.Connection:
    """Return a store that ends with the process."""
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.execute(schema)
    return db


def _open_or_set_aside(path: Path, schema: str) -> sqlite3.Connection:
    try:
        return open_store(path, schema)
    except DamagedStore as error:
        aside = path.with_name(f"{path.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}")
        os.replace(path, aside)
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        log.warning("%s It was set aside as %s, and begun anew.", error, aside.name)
        return open_store(path, schema)


class DamagedStore(Unavailable):
    """A file of the state folder is no database any more, or not a whole one."""


def check_store(db: sqlite3.Connection) -> None:
    """Read every page of a store. Raises sqlite3.DatabaseError for a damaged one."""
    found = db.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        error = sqlite3.DatabaseError(str(found[0]) if found else "no answer")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def store_failure(
    error: sqlite3.Error, stores: Sequence[sqlite3.Connection], path: Path | None = None
) -> Exception:
    """Return what the disk did to a store as a sentence; any other error as it is."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGED:
        names = [path.name] if path else []
        return DamagedStore(f"{' '.join(names) or 'A store'} of the state folder is damaged.")
    if code not in _FULL:
        return error
    folder = path.parent if path else _folder_of(stores)
    return Unavailable(_folder_sentence(folder, error))


def _folder_sentence(folder: Path | str, error: Exception) -> str:
    return (
        f"The state folder ({folder}) cannot be written ({error}); make room there or mend it, or "
        "set RLM_MCP_STATE_DIR to another disk."
    )


def _folder_of(stores: Sequence[sqlite3.Connection]) -> str:
    for store in stores:
        with contextlib.suppress(sqlite3.Error):
            if name := store.execute("PRAGMA database_list").fetchone()[2]:
                return os.path.dirname(str(name))
    return "RLM_MCP_STATE_DIR"


def _schema_words(schema: str) -> list[str]:
    return schema.replace("IF NOT EXISTS", "").split()


def _job_outcome(job: _WriteJob) -> Any:
    """Return a job's result, or the error that it alone has; errors of the store are raised."""
    try:
        return job.work(*job.arguments)
    except sqlite3.Error:
        raise
    except Exception as error:
        return error
