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

from rlm_mcp.corpus.code import words
from rlm_mcp.corpus.code.language import is_doc_path, is_test_path
from rlm_mcp.corpus.code.text_outline import OutlineMark, find_marks
from rlm_mcp.corpus.code.word_vectors import (
    DIMENSIONS,
    HEAD_BYTES,
    DocumentVectors,
    PassageEmbedder,
    PassageVectors,
    load_word_vectors,
)
from rlm_mcp.files import private_file, private_folder

if TYPE_CHECKING:
    from rlm_mcp.corpus.store import Corpus, Snapshot


WINDOW_LINES = 40
"""Lines of a passage that has no definitions in it."""
MAX_PASSAGE_LINES = 80
"""Lines of the longest passage."""
MIN_PASSAGE_LINES = 2
"""A definition shorter than this joins the one before it."""
MINOR_KINDS = frozenset({"const", "let", "var", "define", "type"})
"""Definitions that are no passage of their own when they take one line."""

_NEWLINE = 10


class DocumentPassages(NamedTuple):
    """The passages of a document, in order; each line is in one of them."""

    starts: list[int]
    """The first line of each, from 1, and behind them the line after the last."""
    symbols: list[str]
    """What each defines, if anything."""
    edges: npt.NDArray[np.int64]
    """Where each ends in the text."""
    text: bytes
    """The words of the document."""


def split_passages(path: str, data: bytes) -> DocumentPassages:
    """Return the passages of a document."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1
    if data and not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    found = find_marks(path, data)
    begins = (ends.searchsorted([mark.offset for mark in found], "right") + 1).tolist()
    spans = list(_passage_spans(_passage_borders(found, begins), len(ends)))
    if not spans:
        return DocumentPassages([1], [], np.zeros(1, np.int64), b"")
    text, places = words.separate_identifiers(data)
    starts, symbols = [start for start, _ in spans], [symbol for _, symbol in spans]
    starts.append(len(ends) + 1)
    stops = ends[np.array(starts[1:]) - 2]
    return DocumentPassages(starts, symbols, _shift_offsets(stops, places), text)


def _shift_offsets(
    offsets: npt.NDArray[np.int64], places: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return where places of a text are once spaces were put into it."""
    return offsets + places.searchsorted(offsets)


def _passage_spans(borders: list[tuple[int, str]], count: int) -> Iterator[tuple[int, str]]:
    """Give (first line, symbol) of what lies between the borders, cut where it is too long."""
    stops = [line - 1 for line, _ in borders[1:]] + [count]
    for (start, name), stop in zip(borders, stops, strict=True):
        size = MAX_PASSAGE_LINES if name else WINDOW_LINES
        for first in range(start, stop + 1, size):
            yield first, name if first == start else ""


def _passage_borders(found: list[OutlineMark], begins: list[int]) -> list[tuple[int, str]]:
    """Return the lines at which passages start, with what they define."""
    borders: list[tuple[int, str]] = [(1, "")]
    for place, (mark, line) in enumerate(zip(found, begins, strict=True)):
        if mark.kind in MINOR_KINDS and _is_one_line(found, begins, place):
            continue
        if line - borders[-1][0] < MIN_PASSAGE_LINES and borders[-1][1]:
            continue
        if line == borders[-1][0]:
            borders[-1] = (line, mark.name)
        else:
            borders.append((line, mark.name))
    return borders


def _is_one_line(found: list[OutlineMark], begins: list[int], place: int) -> bool:
    """Say whether another definition, not inside this one, follows on the next line."""
    below = place + 1
    if below == len(found):
        return False
    return found[below].level <= found[place].level and begins[below] <= begins[place] + 1


VERSION = 4
MAX_INDEXED_BYTES = 64 << 20
"""Bytes of a document that are indexed."""

DEADLINE_STEP = 64
"""Documents that are indexed between two looks at the clock."""
MAX_INDEX_BYTES = 4 << 30
"""Bytes of all indexes of a user."""
MAX_CACHED_BORDERS = 2_000
"""Documents whose passages are kept in memory."""
BATCH_BYTES = 2 << 20
"""Bytes of text that are written together."""
PENDING = 16 << 20
"""Bytes of postings that SQLite gathers before it writes them: its 1 MiB costs many merges."""


_EMPTY = "insert into body(body) values('delete-all')"
_ADD = """insert into body(rowid, symbol, path, text)
    select ? + key, json_extract(value, '$[2]'), json_extract(value, '$[3]'),
        cast(substr(?, 1 + json_extract(value, '$[0]'), json_extract(value, '$[1]')) as text)
    from json_each(?)"""
_SCHEMA = f"""
create table if not exists documents(
    id integer primary key, path text, blob text, first integer, borders text, vectors blob,
    unique(path, blob));
create unique index if not exists by_first on documents(first);
create virtual table if not exists body using fts5(
    path, symbol, text, content='', detail=full,
    tokenize="porter unicode61 remove_diacritics 2");
insert into body(body, rank) values('hashsize', {PENDING});
insert into body(body, rank) values('rank', 'bm25(3.0, 6.0, 1.0)');
pragma user_version = {VERSION};
"""


class IndexedPassage(NamedTuple):
    """Lines `start` to `stop` of a document; `symbol` is what they define, if anything."""

    path: str
    start: int
    stop: int
    symbol: str
    score: float
    number: int = 0
    """Its number in the index, by which its vector is found."""


class IndexCoverage(NamedTuple):
    """How many of the documents are indexed."""

    documents: int
    total: int

    @property
    def is_complete(self) -> bool:
        return self.documents >= self.total


class FullTextIndex:
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
        self._vectors: PassageVectors | None = None
        self._seen = -1
        """SQLite's number for what other processes wrote; they may renumber documents."""

    def update_index(self, snapshot: Snapshot, deadline_s: float) -> IndexCoverage:
        """Index what is new, for so long; say how far it came."""
        with self._lock:
            base = self._open_index()
            seen = base.execute("pragma data_version").fetchone()[0]
            if self._generation == snapshot.table.generation and seen == self._seen:
                return IndexCoverage(len(snapshot.paths), len(snapshot.paths))
            deadline = time.monotonic() + deadline_s
            try:
                coverage = self._index_missing(snapshot, deadline)
            except sqlite3.DatabaseError:
                self._drop_index()
                coverage = self._index_missing(snapshot, deadline)
            self._seen = self._open_index().execute("pragma data_version").fetchone()[0]
            if coverage.is_complete:
                self._generation = snapshot.table.generation
            return coverage

    def match_passages(self, match: str, limit: int) -> list[IndexedPassage]:
        """Return the passages that fit an FTS5 expression, best first by BM25."""
        sql = "select rowid, rank from body where body match ? order by rank limit ?"
        return self._query_passages(sql, match, limit)

    def passages_defining(self, names: Sequence[str], limit: int) -> list[IndexedPassage]:
        """Return the passages that define one of these names, in any case."""
        wanted = {name.lower() for name in names}
        some = " OR ".join(
            f'"{mark}"' for mark in map(_name_token, sorted(wanted)) if mark != _NAME_PREFIX
        )
        sql = "select rowid, 0.0 from body where body match ? limit ?"
        found = self._query_passages(sql, f"symbol : ({some})", limit) if some else []
        return [passage for passage in found if passage.symbol.lower() in wanted]

    def count_phrases(self, phrases: Sequence[str]) -> list[int]:
        """Return in how many passages each FTS5 phrase occurs."""
        sql = "select count(*) from body where body match ?"
        with self._lock:
            base = self._open_index()
            return [int(base.execute(sql, (phrase,)).fetchone()[0]) for phrase in phrases]

    def passage_count(self) -> int:
        """Return how many passages there are."""
        with self._lock:
            if self._passages < 0:
                base = self._open_index()
                self._passages = _next_passage(base) - 1
            return self._passages

    def load_vectors(self) -> PassageVectors | None:
        """Return the vectors of the passages, read once for each state of the index; None where
        it has none.
        """
        with self._lock:
            if self._vectors is None and load_word_vectors() is not None:
                base = self._open_index()
                sql = "select id, first, vectors from documents order by first"
                self._vectors = PassageVectors(
                    [
                        DocumentVectors(
                            self._live[document],
                            first,
                            np.frombuffer(vectors, np.int8).reshape(-1, DIMENSIONS),
                        )
                        for document, first, vectors in base.execute(sql)
                        if vectors and document in self._live
                    ]
                )
            return self._vectors

    def passages_at(self, numbers: Sequence[int]) -> list[IndexedPassage]:
        """Return the passages of some numbers, without a score."""
        with self._lock:
            base = self._open_index()
            return [
                IndexedPassage(*found, 0.0, number)
                for number in numbers
                for found in self._passage_at(base, number)
            ]

    def close(self) -> None:
        with self._lock:
            self._vectors = None
            if self._base is not None:
                self._base.close()
                self._base = None

    def _query_passages(self, sql: str, match: str, limit: int) -> list[IndexedPassage]:
        with self._lock:
            base = self._open_index()
            rows = base.execute(sql, (match, limit)).fetchall()
            return [
                IndexedPassage(path, start, stop, symbol, -score, number)
                for number, score in rows
                for path, start, stop, symbol in self._passage_at(base, number)
            ]

    def _passage_at(
        self, base: sqlite3.Connection, number: int
    ) -> Iterator[tuple[str, int, int, str]]:
        """Give the passage of a number, unless its document is not as it was any more."""
        place = bisect.bisect_right(self._firsts, number) - 1
        document = self._documents[place] if place >= 0 else 0
        if document not in self._live:
            return
        borders = self._borders.get(document)
        if borders is None:
            if len(self._borders) > MAX_CACHED_BORDERS:
                self._borders.clear()
            sql = "select borders from documents where id = ?"
            borders = json.loads(base.execute(sql, (document,)).fetchone()[0])
            self._borders[document] = borders
        starts, symbols = borders
        at = number - self._firsts[place]
        if at < len(symbols):  # an empty document has its path alone
            yield self._live[document], starts[at], starts[at + 1] - 1, symbols[at]

    def _open_index(self) -> sqlite3.Connection:
        if self._base is None:
            _evict_indexes(self._path.parent, self._path)
            try:
                self._base = _open_index_file(self._path)
            except sqlite3.DatabaseError:
                self._drop_index()
                self._base = _open_index_file(self._path)
        return self._base

    def _drop_index(self) -> None:
        """Drop a broken index; everything in it can be made again."""
        if self._base is not None:
            self._base.close()
            self._base = None
        self._path.unlink(missing_ok=True)
        self._generation = -1
        self._live = {}
        self._vectors = None
        self._borders.clear()

    def _index_missing(self, snapshot: Snapshot, deadline: float) -> IndexCoverage:
        base = self._open_index()
        wanted = {}
        for place, path in enumerate(snapshot.paths):
            name = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            wanted[name, snapshot.document_at(place).blob] = place
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
            key=lambda key: (is_test_path(key[0]), is_doc_path(key[0])),
        )
        batch = _WriteBatch(base)
        try:
            for count, key in enumerate(missing):
                if count % DEADLINE_STEP == 0 and time.monotonic() > deadline:
                    break
                live[batch.add_document(snapshot, wanted[key], key)] = snapshot.paths[wanted[key]]
        finally:
            batch.finish_batch()
        base.execute("commit")
        rows = base.execute("select first, id from documents order by first").fetchall()
        self._firsts, self._documents = [row[0] for row in rows], [row[1] for row in rows]
        self._borders.clear()
        self._live = live
        self._passages = -1
        self._vectors = None
        return IndexCoverage(len(live), len(wanted))


def _evict_indexes(folder: Path, keep: Path) -> None:
    """Delete the least lately used indexes above the limit; open ones stay readable."""
    private_folder(folder)
    try:
        entries = [(entry.stat().st_mtime, entry.stat().st_size, entry.path)
                   for entry in os.scandir(folder)]  # fmt: skip
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= MAX_INDEX_BYTES or path == os.fspath(keep):
                continue
            os.unlink(path)
            total -= size
    except OSError:
        return  # another process is clearing up as well


def _open_index_file(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(
        private_file(path), check_same_thread=False, isolation_level=None, timeout=30
    )
    if base.execute("pragma user_version").fetchone()[0] not in (0, VERSION):
        base.close()
        path.unlink()
        return _open_index_file(path)
    base.execute("pragma journal_mode = memory")
    base.execute("pragma synchronous = off")
    base.execute("begin immediate")
    # Written once: each change of FTS5's settings fails the next query of every other reader.
    if base.execute("pragma user_version").fetchone()[0] == 0:
        for statement in filter(str.strip, _SCHEMA.split(";")):
            base.execute(statement)
    base.execute("commit")
    return base


class _WriteBatch:
    """Documents that are written together, by a thread of its own: SQLite releases Python's lock.

    Errors of the thread are raised by the next call.
    """

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base
        self._writer = ThreadPoolExecutor(1, "rank")
        self._writing: Future[None] | None = None
        table = load_word_vectors()
        self._embedder = None if table is None else PassageEmbedder(table)
        top = base.execute("select max(id) from documents").fetchone()[0]
        self._document: int = top or 0
        self._passage = _next_passage(base)
        self._reset_batch()

    def add_document(self, snapshot: Snapshot, place: int, key: tuple[str, str]) -> int:
        """Index one document and return its number."""
        self._document += 1
        offset, length = snapshot.spans[place]
        data = bytes(snapshot.buffer[offset : offset + min(length, MAX_INDEXED_BYTES)])
        pieces = split_passages(key[0], data)
        count = len(pieces.symbols)
        borders = json.dumps((pieces.starts, pieces.symbols), separators=(",", ":"))
        first = self._first + len(self._names)
        # A document without a passage has a number of its own too, since first numbers differ.
        vectors = self._embed_pieces(key[0], pieces)
        self._documents.append((self._document, *key, first, borders, vectors))
        self._names += pieces.symbols or [""]
        self._paths += [key[0]] * max(1, count)
        self._edges.append(self._bytes + pieces.edges)
        self._texts.append(pieces.text)
        self._bytes += len(pieces.text)
        if self._bytes > BATCH_BYTES:
            self._submit_batch()
        return self._document

    def _embed_pieces(self, path: str, pieces: DocumentPassages) -> bytes:
        """Return the vectors of the passages of a document; a test has none: they would take
        longer than those of all other source, and their words find it.
        """
        if self._embedder is None or is_test_path(path):
            return b""
        edges = pieces.edges.tolist()
        begins = [0, *edges[:-1]]
        heads = [
            pieces.text[begin : min(end, begin + HEAD_BYTES)]
            for begin, end in zip(begins, edges, strict=True)
        ]
        names = _separate_names([path, *(pieces.symbols or [""])])
        heading, *own = (name.encode("utf-8", "replace") for name in names)
        rows = self._embedder.embed_passages(heading, own, heads)
        return bytes(rows.tobytes())

    def finish_batch(self) -> None:
        """Write what has come together, and wait until all is written."""
        try:
            self._submit_batch()
            if self._writing is not None:
                self._writing.result()
        finally:
            self._writer.shutdown()

    def _reset_batch(self) -> None:
        self._first = self._passage
        self._documents: list[tuple[int, str, str, int, str, bytes]] = []
        self._names: list[str] = []
        self._paths: list[str] = []
        self._edges: list[npt.NDArray[np.int64]] = []
        self._texts: list[bytes] = []
        self._bytes = 0

    def _submit_batch(self) -> None:
        if self._writing is not None:
            self._writing.result()
        self._passage += len(self._names)
        rows = _BatchRows(self._documents, self._first, self._bodies_json(), b"".join(self._texts))
        self._writing = self._writer.submit(rows.insert_rows, self._base)
        self._reset_batch()

    def _bodies_json(self) -> str:
        """Return (where its text begins, how long it is, name, path) of each passage, as JSON."""
        if not self._names:
            return "[]"
        ends = np.concatenate(self._edges)
        sizes = np.diff(ends, prepend=0).tolist()
        apart = _separate_names([*self._names, *self._paths])
        names = [
            f"{parts} {_name_token(name)}" if name else ""
            for name, parts in zip(self._names, apart, strict=False)
        ]
        begins = [end - size for end, size in zip(ends.tolist(), sizes, strict=True)]
        return json.dumps(list(zip(begins, sizes, names, apart[len(names) :], strict=True)))


class _BatchRows(NamedTuple):
    """Rows of both tables, and the words of the passages one behind the other.

    The passages are written by one statement that reads them as JSON: a call for each would take
    Python's lock from the thread that splits, and give it back, a hundred thousand times.
    """

    documents: list[tuple[int, str, str, int, str, bytes]]
    first: int
    bodies: str
    texts: bytes

    def insert_rows(self, base: sqlite3.Connection) -> None:
        base.executemany("insert into documents values(?, ?, ?, ?, ?, ?)", self.documents)
        base.execute(_ADD, (self.first, self.texts, self.bodies))


_NAME_PREFIX = "def"


def _name_token(name: str) -> str:
    """Return a name as one word that is none of the text: `def` and its letters and digits."""
    return _NAME_PREFIX + "".join(filter(str.isalnum, name.lower()))


def _next_passage(base: sqlite3.Connection) -> int:
    """Return the number that the next passage gets."""
    row = base.execute("select first, borders from documents order by first desc limit 1")
    last = row.fetchone()
    return 1 if last is None else last[0] + max(1, len(json.loads(last[1])[1]))


def _separate_names(names: list[str]) -> list[str]:
    """Return identifiers with their parts apart; one call for many, since a call costs most."""
    text = "\n".join(name.replace("\n", " ") for name in names)
    return (
        words.separate_identifiers(text.encode("utf-8", "replace")).text.decode("utf-8").split("\n")
    )
