"""The tables of a session's index, and opening them: another version's, or broken ones, are made
anew."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rlm_mcp.errors import Unavailable
from rlm_mcp.files import private_file

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE docs (
  doc INTEGER PRIMARY KEY, name TEXT UNIQUE, path BLOB, call TEXT, stamp TEXT, state TEXT);
CREATE TABLE turns (
  doc INT, n INT, native TEXT, parent INT, segment INT, live INT, role TEXT, origin TEXT,
  ts TEXT, model TEXT, cwd TEXT, input INT, cache_read INT, cache_write INT, output INT,
  usage_key TEXT, PRIMARY KEY (doc, n)) WITHOUT ROWID;
CREATE TABLE blocks (
  doc INT, n INT, i INT, type TEXT, name TEXT, kind TEXT, call TEXT, status TEXT, exit INT,
  arg TEXT, data TEXT, note TEXT, start INT, end INT, part INT, pointer TEXT, spill TEXT,
  head INTEGER PRIMARY KEY, off INT, len INT, lines INT, copy INT, sha TEXT);
CREATE TABLE batches (doc INT, start INTEGER PRIMARY KEY, stop INT, copy INT, copy_stop INT);
CREATE TABLE runs (path TEXT, start INT, len INT);
CREATE TABLE nodes (doc INT, run INT, uids BLOB, turns BLOB, PRIMARY KEY (doc, run));
"""
INDEXES = {
    "blocks_by_call": "INDEX {} ON blocks (call)",
    "blocks_by_turn": "UNIQUE INDEX {} ON blocks (doc, n, i)",
    "blocks_by_kind": "INDEX {} ON blocks (kind, type)",
    "blocks_by_type": "INDEX {} ON blocks (type, status)",
    "turns_off_live": "INDEX {} ON turns (doc, n) WHERE live!=1",
}
"""Made after a first reading, since adding to them row by row takes twice as long."""


def open_database(file: Path, version: str) -> sqlite3.Connection:
    """Return a connection to the index in `file`, with the tables of this version."""
    for attempt in range(2):
        db = sqlite3.connect(
            private_file(file), timeout=30, check_same_thread=False, isolation_level=None
        )
        db.row_factory = sqlite3.Row
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=OFF")
            db.execute("PRAGMA cache_size=-16000")
            if _read_version(db) != version:
                _create_tables(db, version)
            return db
        except sqlite3.DatabaseError as error:
            db.close()
            if attempt:
                raise Unavailable(f"The session index cannot be used: {error}.") from error
            for suffix in (".sqlite", ".sqlite-wal", ".sqlite-shm"):
                file.with_suffix(suffix).unlink(missing_ok=True)
    raise AssertionError("unreachable")


def create_indexes(db: sqlite3.Connection) -> None:
    """Make the indexes that are not there."""
    for name, form in INDEXES.items():
        db.execute("CREATE " + form.format(f"IF NOT EXISTS {name}"))


def drop_indexes(db: sqlite3.Connection) -> None:
    """Drop the indexes, before the tables are filled."""
    for name in INDEXES:
        db.execute(f"DROP INDEX IF EXISTS {name}")


def _create_tables(db: sqlite3.Connection, version: str) -> None:
    """Make the tables anew; in a transaction, since another server may do the same."""
    db.execute("BEGIN IMMEDIATE")
    if _read_version(db) != version:
        names = db.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall()
        for (name,) in names:
            if not name.startswith("sqlite_") and not name.startswith("fts_"):
                db.execute(f'DROP TABLE "{name}"')
        for statement in TABLES.split(";"):
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('version', ?)", (version,))
    db.execute("COMMIT")


def _read_version(db: sqlite3.Connection) -> str:
    try:
        row = db.execute("SELECT value FROM meta WHERE key='version'").fetchone()
    except sqlite3.OperationalError:
        return ""
    return row[0] if row else ""
