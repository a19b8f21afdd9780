"""The index of one session: where every block is, and its redacted text in one packed file.

Kept in the cache folder (SQLite for places, a corpus for the text), safe to delete, shared by
all servers of this user. The transcript itself is only ever read. An append is read from where
the last reading stopped; a rewritten, shortened or replaced file is read anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm_mcp import config, files
from rlm_mcp.errors import Unavailable
from rlm_mcp.files import private_folder
from rlm_mcp.redact import redact
from rlm_mcp.sessions import build, parser_process, tables
from rlm_mcp.sessions.schema import LIVE, ChildTranscript, MessagePiece, TranscriptSource, TurnBlock
from rlm_mcp.sessions.writer import RowWriter, block_digest

if TYPE_CHECKING:
    from rlm_mcp.corpus.store import Corpus, DocumentSpan, TextWriter
    from rlm_mcp.sessions.readers.reader import TranscriptReader


_BATCHES = "SELECT doc, start, stop, copy, copy_stop FROM batches WHERE stop>? ORDER BY start"
_OFF_LIVE = """
SELECT head, off + len + 1, copy, copy + off - head, live FROM turns t CROSS JOIN blocks b
WHERE live != 1 AND b.doc = t.doc AND b.n = t.n AND head >= ? ORDER BY head
"""

_Span = tuple[int, int, int, int, int, int]
"""(thread, branch, start and end in the text, the same of the copies of heads)."""


def recut_runs(db: sqlite3.Connection, size: int, changed: int) -> Sequence[DocumentSpan]:
    """Cut the runs of what lies behind `size`, and return all of them.

    `changed` is where the first block lies whose turn changed its branch; those from there on are
    cut anew.
    """
    from rlm_mcp.corpus.store import DocumentSpan

    start = min(size, changed)
    batches = [tuple(row) for row in db.execute(_BATCHES, (start,))]
    if changed < size:
        doc, _, stop, _, copy_stop = batches[0]
        batches[0] = (doc, start, stop, _drop_runs(db, start), copy_stop)
    last = db.execute("SELECT max(substr(path, -8)) FROM runs").fetchone()[0]
    number = int(last or 0)
    found = list(_join_spans(_split_batches(batches, db.execute(_OFF_LIVE, (start,)))))
    rows = [("text", row[:4]) for row in found] + [("head", row[:2] + row[4:]) for row in found]
    for kind, (doc, live, begin, stop) in rows:
        number += 1
        path = f"{kind}/{doc:06}/{live}/{number:08}"
        db.execute("INSERT INTO runs VALUES (?,?,?)", (path, begin, stop - begin))
    return [DocumentSpan(*row) for row in db.execute("SELECT path, start, len FROM runs")]


def _drop_runs(db: sqlite3.Connection, place: int) -> int:
    """Forget the runs from a block on; return where the copy of its head lies."""
    row = db.execute("SELECT copy FROM blocks WHERE head>=? ORDER BY head", (place,))
    copy = int(row.fetchone()[0])
    for kind, start in (("text", place), ("head", copy)):
        like = f"{kind}/%"
        db.execute("DELETE FROM runs WHERE path LIKE ? AND start>=?", (like, start))
        db.execute(
            "UPDATE runs SET len=?-start WHERE path LIKE ? AND start+len>?", (start, like, start)
        )
    return copy


def _split_batches(
    batches: Iterable[Sequence[int]], off: Iterable[Sequence[int]]
) -> Iterator[_Span]:
    """Yield the spans of batches, cut where blocks off the live branch lie in them."""
    others = iter(off)
    other = next(others, None)
    for doc, start, stop, copy, copy_stop in batches:
        while other is not None and other[0] < stop:
            head, end, copied, copied_end, live = other
            yield doc, LIVE, start, head, copy, copied
            yield doc, live, head, end, copied, copied_end
            start, copy = end, copied_end
            other = next(others, None)
        yield doc, LIVE, start, stop, copy, copy_stop


def _join_spans(spans: Iterable[_Span]) -> Iterator[_Span]:
    """Yield the spans that are not empty; those of one branch without a gap become one."""
    last: _Span | None = None
    for span in spans:
        if span[2] == span[3]:
            continue
        if last is not None and (*last[:2], last[3]) == span[:3]:
            last = (*last[:3], span[3], last[4], span[5])
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last


VERSION = 6
"""Raised with every change of the tables, of rendering or of redaction."""

READ_TRIES = 3
"""How often a transcript that was replaced while it was read is read anew."""
SPILL_LIMIT_BYTES = 16 << 20
_PROBE_BYTES = 4096


class TranscriptIndex:
    """An open index. Safe from several threads; `refresh` makes it right for bytes written now."""

    def __init__(self, path: Path, key: str, reader: TranscriptReader) -> None:
        self.path, self.key, self.reader = path, key, reader
        folder = config.cache_dir() / "sessions"
        private_folder(folder)
        self.id = sha256(f"{path}\0{key}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
        self._file = folder / f"{self.id}.sqlite"
        self.lock = threading.RLock()
        self.db = tables.open_database(self._file, self.version)
        self._children: Sequence[ChildTranscript] = ()
        self._text_id = ""
        self._recut_offset = 0
        """Where the runs have to be cut anew from."""
        self._corpus: Corpus | None = None

    @property
    def version(self) -> str:
        """What this index was made by."""
        return f"{VERSION}/{self.reader.agent}/{self.reader.version}"

    @property
    def corpus(self) -> Corpus:
        """The packed text; `refresh` was called before."""
        assert self._corpus is not None
        return self._corpus

    def refresh(self) -> bool:
        """Read what was added since; say whether anything changed. Raises Unavailable."""
        for _ in range(READ_TRIES):
            with contextlib.suppress(TranscriptReplaced):
                return self._refresh_once()
        return self._refresh_once()

    def _refresh_once(self) -> bool:
        from rlm_mcp.corpus.store import open_spans

        with self.lock:
            stamps = self._file_stamps()
            if (
                self._corpus is not None
                and stamps == self._read_meta("stamps")
                and self._is_current()
            ):
                return False
            if self._corpus is None:
                self._corpus = open_spans(self, "session", self.id, cache=config.cache_dir())
                changed = True
            else:
                changed = self._corpus.refresh()
            table = self._corpus.snapshot.table
            self._write_meta(text=[table.text_id, table.text_bytes])
            return changed

    def _is_current(self) -> bool:
        """Say whether the text that is mapped here is the newest, not another server's."""
        table = self.corpus.snapshot.table
        return bool([table.text_id, table.text_bytes] == self._read_meta("text"))

    def pending_change(self, text: tuple[str, int] | None) -> str:
        """Say whether the packed text has to grow, or to be written anew."""
        self._text_id = text[0] if text else ""
        if text is None or list(text) != self._read_meta("text"):
            return "anew"
        stamps, before = self._file_stamps(), self._read_meta("stamps")
        if stamps == before:
            return ""
        touched = [name for name in before if stamps.get(name) != before[name]]
        return "anew" if any(self._is_rewritten(name) for name in touched) else "more"

    def write_spans(self, writer: TextWriter, *, anew: bool) -> Sequence[DocumentSpan]:
        """Append what is new to the packed text, and return its runs; the store is locked."""
        filing = RowWriter(self.db, writer)
        self.db.execute("BEGIN IMMEDIATE")
        try:
            stamps = self._file_stamps()
            if anew:
                for table in ("docs", "turns", "blocks", "nodes", "batches", "runs"):
                    self.db.execute(f"DELETE FROM {table}")
                self.db.execute("DROP TABLE IF EXISTS fts")
                tables.drop_indexes(self.db)
                self.db.execute("DELETE FROM meta WHERE key IN ('fts', 'stamps', 'text')")
            before = self._read_meta("stamps") or {}
            size = self._recut_offset = writer.next_offset
            for name, path in list(self._session_files()):
                if stamps.get(name) != before.get(name):
                    self._read_file(name, path, filing)
            if _stamped_inodes(self._file_stamps(), stamps) != _stamped_inodes(stamps, stamps):
                raise TranscriptReplaced(
                    f"The transcript {self.path.name!r} was replaced while it was read."
                )
            filing.ensure_indexes()
            self._write_meta(stamps=stamps)
            runs = recut_runs(self.db, size, self._recut_offset)
            if anew:
                self.db.execute("ANALYZE")  # without it, no query would go by kind or type
            # A table that is not put in force after this is told by its smaller size.
            self._write_meta(text=["" if anew else self._text_id, writer.next_offset])
            self.db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self.db.execute("ROLLBACK")
            raise
        return runs

    def query_rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        with self.lock:
            return self.db.execute(query, values).fetchall()

    def packed_bytes(self, offset: int, length: int) -> bytes:
        """Return bytes of the packed text."""
        return bytes(self.corpus.snapshot.buffer[offset : offset + length])

    def thread_states(self) -> dict[str, build.ThreadState]:
        """Return what building each thread found, by the thread's name ("" is the main one)."""
        return {
            row["name"]: build.ThreadState.from_json(row["state"])
            for row in self.query_rows("SELECT name, state FROM docs ORDER BY doc")
        }

    def read_source_block(self, row: sqlite3.Row) -> TurnBlock | None:
        """Read a block again from the transcript itself, unredacted; None where it is gone."""
        stored = self.query_rows("SELECT path FROM docs WHERE doc=?", (row["doc"],))[0]["path"]
        path = os.fsdecode(stored)
        source = TranscriptSource(path, self.key)
        try:
            for event in self.reader.read_events(source, row["start"]):
                if not isinstance(event, MessagePiece):
                    continue
                if (event.start, event.pointer) == (row["start"], row["pointer"]):
                    part = row["part"]
                    block = event.blocks[part] if part < len(event.blocks) else None
                    return self._with_spill(block, path)
                if event.start > row["start"]:
                    return None
        except (OSError, ValueError, KeyError, AssertionError):
            return None
        return None

    def is_stale(self, row: sqlite3.Row) -> bool:
        """Say whether the transcript no longer holds what a block was read from."""
        block = self.read_source_block(row)
        return block is None or block_digest(block.text) != row["sha"]

    def _with_spill(self, block: TurnBlock | None, path: str) -> TurnBlock | None:
        if block is not None and block.spill:
            block.text = _spilled_text(Path(path), block.spill) or block.text
        return block

    def close(self) -> None:
        with self.lock:
            self.db.close()
            if self._corpus is not None:
                self._corpus.close()

    def _read_meta(self, key: str) -> Any:
        row = self.db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def _write_meta(self, **values: Any) -> None:
        pairs = [(key, json.dumps(value)) for key, value in values.items()]
        self.db.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", pairs)

    def _file_stamps(self) -> dict[str, Any]:
        """Return size, time and inode of the transcript and of its children's files."""
        stamps = {}
        for name, path in self._session_files():
            try:
                info = os.stat(path)
            except OSError as error:
                if name == "":
                    raise Unavailable(
                        f"The transcript {path.name!r} cannot be read: {error.strerror}."
                    ) from None
                continue
            if name == "" and not files.is_regular_file(path):
                raise Unavailable(
                    f"The transcript {path.name!r} was replaced by a link or a special file, "
                    "which is not followed."
                )
            stamps[name] = [info.st_size, info.st_mtime_ns, info.st_ino]
            with contextlib.suppress(OSError):  # a database's newest pages
                log = os.stat(f"{path}-wal")
                stamps[name] += [log.st_size, log.st_mtime_ns]
        return stamps

    def _session_files(self) -> Iterator[tuple[str, Path]]:
        yield "", self.path
        found = self.reader.find_children(self.path)
        self._children = [child for child in found if files.is_regular_file(child.path)]
        for child in self._children:
            yield child.name, Path(child.path)

    def _is_rewritten(self, name: str) -> bool:
        """Say whether a file is no longer what was read, only longer."""
        row = self.db.execute("SELECT path, stamp FROM docs WHERE name=?", (name,)).fetchone()
        if row is None:
            return False
        stamp = json.loads(row["stamp"])
        if stamp[0] == 0:
            return True  # the reader cannot go on, only begin anew
        try:
            return bool(stamp != _probe_file(os.fsdecode(row["path"]), stamp[0]))
        except OSError:
            return name == ""

    def _read_file(self, name: str, path: Path, filing: RowWriter) -> None:
        """Read what a file holds since the last time, with the threads inside it."""
        child = next((c for c in self._children if c.name == name), None)
        builders: dict[str, build.IndexBuilder] = {}
        row = self.db.execute("SELECT stamp FROM docs WHERE name=?", (name,)).fetchone()
        start = json.loads(row["stamp"])[0] if row else 0

        def builder(thread: str) -> build.IndexBuilder:
            label = thread or name
            if label not in builders:
                doc, state = self._find_thread(label, path, child)
                builders[label] = build.IndexBuilder(
                    self.db, doc, label, filing, state, lambda spill: _spilled_text(path, spill)
                )
            return builders[label]

        main = builder("")
        source = TranscriptSource(str(path), self.key, main.state.reader, start)
        try:
            size = os.stat(path).st_size
            begun = _probe_file(str(path), size)
            for item in parser_process.stream_events(self.reader, source, size):
                thread = item[0].thread if isinstance(item[0], MessagePiece) else ""
                (builder(thread) if thread else main).add_event(item)
            if source.offset and begun != _probe_file(str(path), size):
                raise TranscriptReplaced(f"{path.name!r} was rewritten while it was read.")
            stamp = json.dumps(_probe_file(str(path), source.offset))
        except OSError as error:
            raise Unavailable(f"{path.name!r} cannot be read: {error.strerror}.") from None
        for label, one in builders.items():
            self.db.execute(
                "UPDATE docs SET state=? WHERE name=?", (one.finish_thread().to_json(), label)
            )
            if (place := one.changed_offset) is not None:
                self._recut_offset = min(self._recut_offset, place)
        self.db.execute("UPDATE docs SET stamp=? WHERE name=?", (stamp, name))

    def _find_thread(
        self, label: str, path: Path, child: ChildTranscript | None
    ) -> tuple[int, build.ThreadState]:
        row = self.db.execute("SELECT doc, state FROM docs WHERE name=?", (label,)).fetchone()
        if row:
            return row["doc"], build.ThreadState.from_json(row["state"])
        state = build.ThreadState()
        if child is not None:
            state.facts.update((name, redact(fact)) for name, fact in child.facts.items())
        cursor = self.db.execute(
            "INSERT INTO docs (name, path, call, stamp, state) VALUES (?,?,?,?,?)",
            (label, os.fsencode(path), child.call if child else "", "[0]", state.to_json()),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid, state


class TranscriptReplaced(Unavailable):
    """A file was put in another's place while that one was read; nothing of either counts."""


def _stamped_inodes(stamps: dict[str, Any], names: Iterable[str]) -> list[Any]:
    """Return the inodes of files by their stamps, None for those that are gone."""
    return [stamps[name][2] if name in stamps else None for name in names]


def _spilled_text(path: Path, spill: str) -> str | None:
    """Return the text of an output that was saved beside the transcript, or None."""
    folder = os.path.realpath(path.with_suffix(""))
    file = os.path.realpath(os.path.join(folder, spill))
    if not file.startswith(folder + os.sep):
        return None
    try:
        with files.open_regular(file) as stream:
            data = stream.read(SPILL_LIMIT_BYTES + 1)
    except OSError:
        return None
    text = data[:SPILL_LIMIT_BYTES].decode("utf-8", "replace")
    return text if len(data) <= SPILL_LIMIT_BYTES else f"{text}\n… (more than 16 MB; cut)"


def _probe_file(path: str, read: int) -> list[Any]:
    """Return how far a file was read, with digests of its start and of what was read last."""
    with files.open_regular(path) as file:
        head = file.read(min(read, _PROBE_BYTES))
        file.seek(max(0, read - _PROBE_BYTES))
        tail = file.read(min(read, _PROBE_BYTES))
    return [read, sha256(head).hexdigest()[:16], sha256(tail).hexdigest()[:16]]
