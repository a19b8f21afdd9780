"""Open another program's SQLite file without leaving a trace beside it.

A database at rest is opened immutable: no lock, no journal, no shared memory. One that is being
written keeps its newest pages in a write-ahead log, which an immutable reader does not see: then
file and log are copied into our own cache folder and the copy is read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from rlm_mcp import config

COPY_LIMIT_BYTES = 1 << 30
"""Bytes, with its log, up to which a database in use is copied; of more the log is left out."""

LOG_SKIPPED_NOTE = (
    "The database has with its log more than 1 GB and is in use: what its agent wrote last stands "
    "in its log and is read only once the agent has closed it"
)
"""What is said of such a one."""

COPY_TRIES, PAUSE_S = 20, 0.05
"""How often a copy is made anew because it was written meanwhile."""

VALUE_LIMIT_BYTES = 128 << 20
"""Bytes that one value may have."""
READ_LIMIT_S = 60.0
"""How long a database may be read."""


@contextlib.contextmanager
def open_readonly(path: str | Path) -> Iterator[sqlite3.Connection]:
    """Give a read-only connection. Raises OSError or sqlite3.Error."""
    path = Path(os.path.realpath(path))
    if not path.is_file():
        raise OSError(errno.EINVAL, "It is no ordinary file", str(path))
    log = path.with_name(path.name + "-wal")
    with contextlib.ExitStack() as stack:
        at, in_use = path, False
        if _log_size(log) and not is_log_skipped(path):
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=config.cache_dir()))
            at = Path(folder) / "copy.db"
            in_use = _copy_database(path, log, at)
        at = at if in_use else path
        uri = f"file:{quote(str(at))}" + ("" if in_use else "?mode=ro&immutable=1")
        db = sqlite3.connect(uri, uri=True, check_same_thread=False)
        stack.callback(db.close)
        _limit_database(db)
        db.row_factory = sqlite3.Row
        db.text_factory = lambda data: data.decode("utf-8", "replace")
        yield db


def is_log_skipped(path: str | Path) -> bool:
    """Say whether the newest pages of a database are left out."""
    path = Path(path)
    log = path.with_name(path.name + "-wal")
    size = _log_size(log)
    return size > 0 and path.stat().st_size + size > COPY_LIMIT_BYTES


def _log_size(log: Path) -> int:
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def _copy_database(path: Path, log: Path, to: Path) -> bool:
    """Copy a database and its log as of one moment; raises OSError where there is none.

    False where the log is gone meanwhile: then all of it is in the file, and no copy counts.
    """
    for _ in range(COPY_TRIES):
        try:
            before = _write_stamp(path, log)
            shutil.copyfile(path, to)
            shutil.copyfile(log, to.with_name(to.name + "-wal"))
            if before == _write_stamp(path, log):
                return True
        except FileNotFoundError:
            return False
        time.sleep(PAUSE_S)
    raise OSError(errno.EBUSY, "The database is written all the time; try again", str(path))


def _write_stamp(path: Path, log: Path) -> tuple[object, ...]:
    """Return what a write to either file changes: sizes, times, and the header of the log."""
    with log.open("rb") as file:
        header = file.read(32)
    stats = [os.stat(file) for file in (path, log)]
    return header, *((status.st_size, status.st_mtime_ns) for status in stats)


def _limit_database(db: sqlite3.Connection) -> None:
    """Let no schema of a stranger compute without an end, or make values of any size."""
    deadline = time.monotonic() + READ_LIMIT_S
    db.set_progress_handler(lambda: time.monotonic() > deadline, 200)
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_LIMIT_BYTES)
    db.execute("PRAGMA trusted_schema = OFF")


def table_names(db: sqlite3.Connection) -> set[str]:
    """Return the names of the tables."""
    return {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}


def is_database(head: bytes) -> bool:
    return head.startswith(b"SQLite format 3\0")
