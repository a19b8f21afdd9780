"""The full-text index of a corpus: passages on definition borders, in SQLite FTS5.

It is kept beside the packed text and compared with it by content, so only what changed is read
again. Rows of old contents stay until a quarter is stale, then the index is built anew. It may be
deleted at any time.
"""

from __future__ import annotations

import bisect
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus import words
from rlm_mcp.corpus.language import is_doc, is_test
from rlm_mcp.corpus.passages import split

if TYPE_CHECKING:
    from rlm_mcp.corpus.pack import Corpus, Snapshot

VERSION = 3
MAX_DOCUMENT = 64 << 20
"""Bytes of a document that are indexed."""

STEP = 64
"""Documents that are indexed between two looks at the clock."""
MAX_ALL = 4 << 30
"""Bytes of all indexes of a user."""
MAX_BORDERS = 2_000
"""Documents whose passages are kept in memory."""
BATCH = 2 << 20
"""Bytes of text that are written together."""
PENDING = 16 << 20
"""Bytes of postings that SQLite gathers before it writes them: its 1 MiB costs many merges."""


_EMPTY = "insert into body(body) values('delete-all')"
_ADD = """insert into body(rowid, symbol, path, text)
    select ? + key, json_extract(value, '$[2]'), json_extract(value, '$[3]'),
        cast(substr(?, 1 + json_extract(value, '$[0]'), json_extract(value, '$[1]')) as text)
    from json_each(?)"""
_SCHEMA = f"""
pragma journal_mode = memory;
pragma synchronous = off;
create table if not exists documents(
    id integer primary key, path text, blob text, first integer, borders text,
    unique(path, blob));
create unique index if not exists by_first on documents(first);
create virtual table if not exists body using fts5(
    path, symbol, text, content='', detail=full,
    tokenize="porter unicode61 remove_diacritics 2");
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
        self._firsts: list[int] = []
        self._documents: list[int] = []
        """The number of the first passage of each document, in order, and the documents."""
        self._borders: dict[int, tuple[list[int], list[str]]] = {}
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
        sql = "select rowid, rank from body where body match ? order by rank limit ?"
        return self._rows(sql, match, limit)

    def defining(self, names: Sequence[str], limit: int) -> list[Passage]:
        """Return the passages that define one of these names, in any case."""
        wanted = {name.lower() for name in names}
        some = " OR ".join(f'"{mark}"' for mark in map(_whole, sorted(wanted)) if mark != _NAME)
        sql = "select rowid, 0.0 from body where body match ? limit ?"
        found = self._rows(sql, f"symbol : ({some})", limit) if some else []
        return [passage for passage in found if passage.symbol.lower() in wanted]

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
                base = self._connect()
                self._passages = _next(base) - 1
            return self._passages

    def close(self) -> None:
        with self._lock:
            if self._base is not None:
                self._base.close()
                self._base = None

    def _rows(self, sql: str, match: str, limit: int) -> list[Passage]:
        with self._lock:
            base = self._connect()
            rows = base.execute(sql, (match, limit)).fetchall()
            return [
                Passage(path, start, stop, symbol, -score)
                for number, score in rows
                for path, start, stop, symbol in self._passage(base, number)
            ]

    def _passage(
        self, base: sqlite3.Connection, number: int
    ) -> Iterator[tuple[str, int, int, str]]:
        """Give the passage of a number, unless its document is not as it was any more."""
        place = bisect.bisect_right(self._firsts, number) - 1
        document = self._documents[place] if place >= 0 else 0
        if document not in self._live:
            return
        borders = self._borders.get(document)
        if borders is None:
            if len(self._borders) > MAX_BORDERS:
                self._borders.clear()
            sql = "select borders from documents where id = ?"
            borders = json.loads(base.execute(sql, (document,)).fetchone()[0])
            self._borders[document] = borders
        starts, symbols = borders
        at = number - self._firsts[place]
        if at < len(symbols):  # an empty document has its path alone
            yield self._live[document], starts[at], starts[at + 1] - 1, symbols[at]

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
        self._borders.clear()

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
            for statement in ("delete from documents", _EMPTY):
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
        rows = base.execute("select first, id from documents order by first").fetchall()
        self._firsts, self._documents = [row[0] for row in rows], [row[1] for row in rows]
        self._borders.clear()
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
    """Documents that are written together, by a thread of its own: SQLite releases Python's lock.

    Errors of the thread are raised by the next call.
    """

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base
        self._writer = ThreadPoolExecutor(1, "rank")
        self._writing: Future[None] | None = None
        top = base.execute("select max(id) from documents").fetchone()[0]
        self._document: int = top or 0
        self._passage = _next(base)
        self._begin()

    def add(self, snapshot: Snapshot, place: int, key: tuple[str, str]) -> int:
        """Index one document and return its number."""
        self._document += 1
        offset, length = snapshot.spans[place]
        data = bytes(snapshot.buffer[offset : offset + min(length, MAX_DOCUMENT)])
        pieces = split(key[0], data)
        count = len(pieces.symbols)
        borders = json.dumps((pieces.starts, pieces.symbols), separators=(",", ":"))
        first = self._first + len(self._names)
        # A document without a passage has a number of its own too, since first numbers differ.
        self._documents.append((self._document, *key, first, borders))
        self._names += pieces.symbols or [""]
        self._paths += [key[0]] * max(1, count)
        self._edges.append(self._bytes + pieces.edges)
        self._texts.append(pieces.text)
        self._bytes += len(pieces.text)
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

    def _begin(self) -> None:
        self._first = self._passage
        self._documents: list[tuple[int, str, str, int, str]] = []
        self._names: list[str] = []
        self._paths: list[str] = []
        self._edges: list[npt.NDArray[np.int64]] = []
        self._texts: list[bytes] = []
        self._bytes = 0

    def _flush(self) -> None:
        if self._writing is not None:
            self._writing.result()
        self._passage += len(self._names)
        rows = _Rows(self._documents, self._first, self._bodies(), b"".join(self._texts))
        self._writing = self._writer.submit(rows.write, self._base)
        self._begin()

    def _bodies(self) -> str:
        """Return (where its text begins, how long it is, name, path) of each passage, as JSON."""
        if not self._names:
            return "[]"
        ends = np.concatenate(self._edges)
        sizes = np.diff(ends, prepend=0).tolist()
        apart = _separate([*self._names, *self._paths])
        names = [
            f"{parts} {_whole(name)}" if name else ""
            for name, parts in zip(self._names, apart, strict=False)
        ]
        begins = [end - size for end, size in zip(ends.tolist(), sizes, strict=True)]
        return json.dumps(list(zip(begins, sizes, names, apart[len(names) :], strict=True)))


class _Rows(NamedTuple):
    """Rows of both tables, and the words of the passages one behind the other.

    The passages are written by one statement that reads them as JSON: a call for each would take
    Python's lock from the thread that splits, and give it back, a hundred thousand times.
    """

    documents: list[tuple[int, str, str, int, str]]
    first: int
    bodies: str
    texts: bytes

    def write(self, base: sqlite3.Connection) -> None:
        base.executemany("insert into documents values(?, ?, ?, ?, ?)", self.documents)
        base.execute(_ADD, (self.first, self.texts, self.bodies))


_NAME = "def"


def _whole(name: str) -> str:
    """Return a name as one word that is none of the text: `def` and its letters and digits."""
    return _NAME + "".join(filter(str.isalnum, name.lower()))


def _next(base: sqlite3.Connection) -> int:
    """Return the number that the next passage gets."""
    row = base.execute("select first, borders from documents order by first desc limit 1")
    last = row.fetchone()
    return 1 if last is None else last[0] + max(1, len(json.loads(last[1])[1]))


def _separate(names: list[str]) -> list[str]:
    """Return identifiers with their parts apart; one call for many, since a call costs most."""
    text = "\n".join(name.replace("\n", " ") for name in names)
    return words.separate(text.encode("utf-8", "replace")).text.decode("utf-8").split("\n")
