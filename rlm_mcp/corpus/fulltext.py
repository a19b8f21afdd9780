"""The full-text index of a corpus: passages on definition borders, in SQLite FTS5.

It is kept beside the packed text and compared with it by content, so only what changed is read
again. Rows of old contents stay until a quarter is stale, then the index is built anew. It may be
deleted at any time.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.corpus import words
from rlm_mcp.corpus.language import is_doc, is_test
from rlm_mcp.corpus.passages import split

if TYPE_CHECKING:
    from rlm_mcp.corpus.pack import Corpus, Snapshot

VERSION = 2
MAX_DOCUMENT = 64 << 20
"""Bytes of a document that are indexed."""

STEP = 64
"""Documents that are indexed between two looks at the clock."""
MAX_ALL = 4 << 30
"""Bytes of all indexes of a user."""
BATCH = 2 << 20
"""Bytes of text that are written together."""
PENDING = 16 << 20
"""Bytes of postings that SQLite gathers before it writes them: its 1 MiB costs many merges."""


def _items(count: int) -> str:
    """Return the columns that a row of JSON has."""
    return ", ".join(f"json_extract(value, '$[{place}]')" for place in range(count))


_EMPTY = "insert into body(body) values('delete-all')"
_ADD_DOCUMENTS = f"insert into documents select {_items(3)} from json_each(?)"
_GATHER = f"insert into gathered select {_items(9)} from json_each(?)"
_ADD_PASSAGES = "insert into passages select id, document, start, stop, symbol from gathered"
_ADD_BODIES = """insert into body(rowid, path, symbol, text)
    select id, path, name, cast(substr(?, begin, size) as text) from gathered"""
_SCHEMA = f"""
pragma journal_mode = memory;
pragma synchronous = off;
create table if not exists documents(
    id integer primary key, path text, blob text, unique(path, blob));
create table if not exists passages(
    id integer primary key, document integer, start integer, stop integer, symbol text);
create index if not exists by_symbol on passages(symbol collate nocase) where symbol != '';
create virtual table if not exists body using fts5(
    path, symbol, text, content='', detail=full,
    tokenize="porter unicode61 remove_diacritics 2");
create temp table gathered(
    id integer primary key, document integer, start integer, stop integer, symbol text,
    path text, name text, begin integer, size integer);
insert into body(body, rank) values('hashsize', {PENDING});
insert into body(body, rank) values('rank', 'bm25(3.0, 6.0, 1.0)');
pragma user_version = {VERSION};
"""


class Passage(NamedTuple):
    """Lines `start` to `stop` of a document; `symbol` is what they define, if anything."""

    path: str
    start: int
    stop: int
    symbol: str
    score: float


class Coverage(NamedTuple):
    """How many of the documents are indexed."""

    documents: int
    total: int

    @property
    def complete(self) -> bool:
        return self.documents >= self.total


class Index:
    """The index of one corpus. Safe from several threads; one builds, the others wait."""

    def __init__(self, corpus: Corpus) -> None:
        packed = Path(os.fspath(corpus.snapshot.text.name)).parent
        self._path = packed.parent.parent / "ranked" / f"{packed.name}.sqlite"
        self._lock = threading.Lock()
        self._base: sqlite3.Connection | None = None
        self._generation = -1
        self._passages = -1
        self._live: dict[int, str] = {}
        self._seen = -1
        """SQLite's number for what other processes wrote; they may renumber documents."""

    def update(self, snapshot: Snapshot, deadline_s: float) -> Coverage:
        """Index what is new, for so long; say how far it came."""
        with self._lock:
            base = self._connect()
            seen = base.execute("pragma data_version").fetchone()[0]
            if self._generation == snapshot.table.generation and seen == self._seen:
                return Coverage(len(snapshot.paths), len(snapshot.paths))
            deadline = time.monotonic() + deadline_s
            try:
                coverage = self._fill(snapshot, deadline)
            except sqlite3.DatabaseError:
                self._forget()
                coverage = self._fill(snapshot, deadline)
            self._seen = self._connect().execute("pragma data_version").fetchone()[0]
            if coverage.complete:
                self._generation = snapshot.table.generation
            return coverage

    def find(self, match: str, limit: int) -> list[Passage]:
        """Return the passages that fit an FTS5 expression, best first by BM25."""
        sql = """select p.document, p.start, p.stop, p.symbol, best.score
            from (select rowid, rank as score from body where body match ? order by rank limit ?)
            as best join passages p on p.id = best.rowid order by best.score"""
        return self._rows(sql, (match, limit))

    def defining(self, names: Sequence[str], limit: int) -> list[Passage]:
        """Return the passages that define one of these names."""
        marks = ",".join("?" * len(names))
        sql = f"""select document, start, stop, symbol, 0.0 from passages
            where symbol != '' and symbol collate nocase in ({marks}) limit ?"""
        return self._rows(sql, (*names, limit))

    def counts(self, phrases: Sequence[str]) -> list[int]:
        """Return in how many passages each FTS5 phrase occurs."""
        sql = "select count(*) from body where body match ?"
        with self._lock:
            base = self._connect()
            return [int(base.execute(sql, (phrase,)).fetchone()[0]) for phrase in phrases]

    def size(self) -> int:
        """Return how many passages there are."""
        with self._lock:
            if self._passages < 0:
                row = self._connect().execute("select count(*) from passages").fetchone()
                self._passages = int(row[0])
            return self._passages

    def close(self) -> None:
        with self._lock:
            if self._base is not None:
                self._base.close()
                self._base = None

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[Passage]:
        with self._lock:
            base = self._connect()
            rows = base.execute(sql, values).fetchall()
            live = self._live
        return [
            Passage(live[document], start, stop, symbol, -score)
            for document, start, stop, symbol, score in rows
            if document in live
        ]

    def _connect(self) -> sqlite3.Connection:
        if self._base is None:
            _evict(self._path.parent, self._path)
            try:
                self._base = _open(self._path)
            except sqlite3.DatabaseError:
                self._forget()
                self._base = _open(self._path)
        return self._base

    def _forget(self) -> None:
        """Drop a broken index; everything in it can be made again."""
        if self._base is not None:
            self._base.close()
            self._base = None
        self._path.unlink(missing_ok=True)
        self._generation = -1
        self._live = {}

    def _fill(self, snapshot: Snapshot, deadline: float) -> Coverage:
        base = self._connect()
        wanted = {}
        for place, path in enumerate(snapshot.paths):
            name = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            wanted[name, snapshot.document(place).blob] = place
        base.execute("begin immediate")
        known = {
            (path, blob): number
            for number, path, blob in base.execute("select id, path, blob from documents")
        }
        live = {known[key]: snapshot.paths[place] for key, place in wanted.items() if key in known}
        if len(known) > 100 and len(live) < 0.75 * len(known):
            for statement in ("delete from documents", "delete from passages", _EMPTY):
                base.execute(statement)
            live = {}
            known = {}
        missing = sorted(
            (key for key in wanted if key not in known),
            key=lambda key: (is_test(key[0]), is_doc(key[0])),
        )
        batch = _Batch(base)
        try:
            for count, key in enumerate(missing):
                if count % STEP == 0 and time.monotonic() > deadline:
                    break
                live[batch.add(snapshot, wanted[key], key)] = snapshot.paths[wanted[key]]
        finally:
            batch.end()
        base.execute("commit")
        self._live = live
        self._passages = -1
        return Coverage(len(live), len(wanted))


def _evict(folder: Path, keep: Path) -> None:
    """Delete the least lately used indexes above the limit; open ones stay readable."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        entries = [(entry.stat().st_mtime, entry.stat().st_size, entry.path)
                   for entry in os.scandir(folder)]  # fmt: skip
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= MAX_ALL or path == os.fspath(keep):
                continue
            os.unlink(path)
            total -= size
    except OSError:
        return  # another process is clearing up as well


def _open(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
    if base.execute("pragma user_version").fetchone()[0] not in (0, VERSION):
        base.close()
        path.unlink()
        return _open(path)
    base.executescript(_SCHEMA)
    return base


class _Batch:
    """Rows that are written together, by a thread of its own: SQLite releases Python's lock.

    Errors of the thread are raised by the next call.
    """

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base
        self._writer = ThreadPoolExecutor(1, "rank")
        self._writing: Future[None] | None = None
        self._rows, self._bytes = _Rows([], [], []), 0
        top = base.execute("select max(id) from documents").fetchone()[0]
        self._document: int = top or 0
        top = base.execute("select max(id) from passages").fetchone()[0]
        self._passage: int = top or 0

    def add(self, snapshot: Snapshot, place: int, key: tuple[str, str]) -> int:
        """Index one document and return its number."""
        self._document += 1
        self._rows.documents.append((self._document, *key))
        offset, length = snapshot.spans[place]
        data = bytes(snapshot.buffer[offset : offset + min(length, MAX_DOCUMENT)])
        pieces = list(split(key[0], data))
        path, *names = _separate([key[0], *(piece.symbol for piece in pieces)])
        for piece, name in zip(pieces, names, strict=True):
            self._passage += 1
            start, stop, symbol, text = piece
            self._rows.passages.append(
                (
                    self._passage,
                    self._document,
                    start,
                    stop,
                    symbol,
                    path,
                    name,
                    self._bytes + 1,
                    len(text),
                )
            )
            self._rows.texts.append(text)
            self._bytes += len(text)
        if self._bytes > BATCH:
            self._flush()
        return self._document

    def end(self) -> None:
        """Write what has come together, and wait until all is written."""
        try:
            self._flush()
            if self._writing is not None:
                self._writing.result()
        finally:
            self._writer.shutdown()

    def _flush(self) -> None:
        if self._writing is not None:
            self._writing.result()
        self._writing = self._writer.submit(self._rows.write, self._base)
        self._rows, self._bytes = _Rows([], [], []), 0


class _Rows(NamedTuple):
    """Rows of the three tables, and the words of the passages one behind the other.

    They are written by few statements that read them as JSON: a call for each row would take
    Python's lock from the thread that splits, and give it back, a hundred thousand times.
    """

    documents: list[tuple[int, str, str]]
    passages: list[tuple[int, int, int, int, str, str, str, int, int]]
    texts: list[bytes]

    def write(self, base: sqlite3.Connection) -> None:
        base.execute(_ADD_DOCUMENTS, (json.dumps(self.documents),))
        base.execute(_GATHER, (json.dumps(self.passages),))
        base.execute(_ADD_PASSAGES)
        base.execute(_ADD_BODIES, (b"".join(self.texts),))
        base.execute("delete from gathered")


def _separate(names: list[str]) -> list[str]:
    """Return identifiers with their parts apart; one call for many, since a call costs most."""
    text = "\n".join(name.replace("\n", " ") for name in names)
    return words.separate(text.encode("utf-8", "replace")).text.decode("utf-8").split("\n")
