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

from rlm_mcp import config
from rlm_mcp.contexts.session import build, relay, spans, tables
from rlm_mcp.contexts.session.filing import Filing
from rlm_mcp.contexts.session.readers import plain
from rlm_mcp.contexts.session.readers.reader import Reader
from rlm_mcp.contexts.session.ready import digest
from rlm_mcp.contexts.session.turns import Block, Child, Piece, Source
from rlm_mcp.errors import Unavailable
from rlm_mcp.redact import redact

if TYPE_CHECKING:
    from rlm_mcp.corpus.pack import Corpus
    from rlm_mcp.corpus.runs import Run
    from rlm_mcp.corpus.text import Writer

VERSION = 6
"""Raised with every change of the tables, of rendering or of redaction."""

TRIES = 3
"""How often a transcript that was replaced while it was read is read anew."""
SPILL_LIMIT = 16 << 20
_PROBE = 4096


class Index:
    """An open index. Safe from several threads; `refresh` makes it right for bytes written now."""

    def __init__(self, path: Path, key: str, reader: Reader) -> None:
        self.path, self.key, self.reader = path, key, reader
        folder = config.cache_dir() / "sessions"
        folder.mkdir(mode=0o700, exist_ok=True)
        self.id = sha256(f"{path}\0{key}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
        self._file = folder / f"{self.id}.sqlite"
        self.lock = threading.RLock()
        self.db = tables.opened(self._file, self.version)
        self._children: Sequence[Child] = ()
        self._text_id = ""
        self._recut = 0
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
        for _ in range(TRIES):
            with contextlib.suppress(Replaced):
                return self._refresh()
        return self._refresh()

    def _refresh(self) -> bool:
        from rlm_mcp.corpus.pack import Corpus
        from rlm_mcp.corpus.runs import Runs
        from rlm_mcp.corpus.store import Store

        with self.lock:
            stamps = self._stamps()
            if self._corpus is not None and stamps == self._meta("stamps") and self._current():
                return False
            if self._corpus is None:
                store = Store.lasting(config.cache_dir(), "session", self.id)
                self._corpus = Corpus(store, Runs(self))
                changed = True
            else:
                changed = self._corpus.refresh()
            table = self._corpus.snapshot.table
            self._set(text=[table.text_id, table.text_bytes])
            return changed

    def _current(self) -> bool:
        """Say whether the text that is mapped here is the newest, not another server's."""
        table = self.corpus.snapshot.table
        return bool([table.text_id, table.text_bytes] == self._meta("text"))

    def changed(self, text: tuple[str, int] | None) -> str:
        """Say whether the packed text has to grow, or to be written anew."""
        self._text_id = text[0] if text else ""
        if text is None or list(text) != self._meta("text"):
            return "anew"
        stamps, before = self._stamps(), self._meta("stamps")
        if stamps == before:
            return ""
        touched = [name for name in before if stamps.get(name) != before[name]]
        return "anew" if any(self._rewritten(name) for name in touched) else "more"

    def write(self, writer: Writer, *, anew: bool) -> Sequence[Run]:
        """Append what is new to the packed text, and return its runs; the store is locked."""
        filing = Filing(self.db, writer)
        self.db.execute("BEGIN IMMEDIATE")
        try:
            stamps = self._stamps()
            if anew:
                for table in ("docs", "turns", "blocks", "nodes", "batches", "runs"):
                    self.db.execute(f"DELETE FROM {table}")
                self.db.execute("DROP TABLE IF EXISTS fts")
                tables.unindex(self.db)
                self.db.execute("DELETE FROM meta WHERE key IN ('fts', 'stamps', 'text')")
            before = self._meta("stamps") or {}
            size = self._recut = writer.end
            for name, path in list(self._files()):
                if stamps.get(name) != before.get(name):
                    self._read(name, path, filing)
            if _files_of(self._stamps(), stamps) != _files_of(stamps, stamps):
                raise Replaced(f"The transcript {self.path.name!r} was replaced while it was read.")
            filing.index()
            self._set(stamps=stamps)
            runs = spans.renew(self.db, size, self._recut)
            if anew:
                self.db.execute("ANALYZE")  # without it, no query would go by kind or type
            # A table that is not put in force after this is told by its smaller size.
            self._set(text=["" if anew else self._text_id, writer.end])
            self.db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self.db.execute("ROLLBACK")
            raise
        return runs

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        with self.lock:
            return self.db.execute(query, values).fetchall()

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the packed text."""
        return bytes(self.corpus.snapshot.buffer[offset : offset + length])

    def states(self) -> dict[str, build.State]:
        """Return what building each thread found, by the thread's name ("" is the main one)."""
        return {
            row["name"]: build.State.load(row["state"])
            for row in self.rows("SELECT name, state FROM docs ORDER BY doc")
        }

    def source_block(self, row: sqlite3.Row) -> Block | None:
        """Read a block again from the transcript itself, unredacted; None where it is gone."""
        stored = self.rows("SELECT path FROM docs WHERE doc=?", (row["doc"],))[0]["path"]
        path = os.fsdecode(stored)
        source = Source(path, self.key)
        try:
            for event in self.reader.events(source, row["start"]):
                if not isinstance(event, Piece):
                    continue
                if (event.start, event.pointer) == (row["start"], row["pointer"]):
                    part = row["part"]
                    block = event.blocks[part] if part < len(event.blocks) else None
                    return self._whole(block, path)
                if event.start > row["start"]:
                    return None
        except (OSError, ValueError, KeyError, AssertionError):
            return None
        return None

    def stale(self, row: sqlite3.Row) -> bool:
        """Say whether the transcript no longer holds what a block was read from."""
        block = self.source_block(row)
        return block is None or digest(block.text) != row["sha"]

    def _whole(self, block: Block | None, path: str) -> Block | None:
        if block is not None and block.spill:
            block.text = _spilled(Path(path), block.spill) or block.text
        return block

    def close(self) -> None:
        with self.lock:
            self.db.close()
            if self._corpus is not None:
                self._corpus.close()

    def _meta(self, key: str) -> Any:
        row = self.db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def _set(self, **values: Any) -> None:
        pairs = [(key, json.dumps(value)) for key, value in values.items()]
        self.db.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", pairs)

    def _stamps(self) -> dict[str, Any]:
        """Return size, time and inode of the transcript and of its children's files."""
        stamps = {}
        for name, path in self._files():
            try:
                info = os.stat(path)
            except OSError as error:
                if name == "":
                    raise Unavailable(
                        f"The transcript {path.name!r} cannot be read: {error.strerror}."
                    ) from None
                continue
            if name == "" and not plain.is_own(path):
                raise Unavailable(
                    f"The transcript {path.name!r} was replaced by a link or a special file, "
                    "which is not followed."
                )
            stamps[name] = [info.st_size, info.st_mtime_ns, info.st_ino]
            with contextlib.suppress(OSError):  # a database's newest pages
                log = os.stat(f"{path}-wal")
                stamps[name] += [log.st_size, log.st_mtime_ns]
        return stamps

    def _files(self) -> Iterator[tuple[str, Path]]:
        yield "", self.path
        found = self.reader.children(self.path)
        self._children = [child for child in found if plain.is_own(child.path)]
        for child in self._children:
            yield child.name, Path(child.path)

    def _rewritten(self, name: str) -> bool:
        """Say whether a file is no longer what was read, only longer."""
        row = self.db.execute("SELECT path, stamp FROM docs WHERE name=?", (name,)).fetchone()
        if row is None:
            return False
        stamp = json.loads(row["stamp"])
        if stamp[0] == 0:
            return True  # the reader cannot go on, only begin anew
        try:
            return bool(stamp != _probe(os.fsdecode(row["path"]), stamp[0]))
        except OSError:
            return name == ""

    def _read(self, name: str, path: Path, filing: Filing) -> None:
        """Read what a file holds since the last time, with the threads inside it."""
        child = next((c for c in self._children if c.name == name), None)
        builders: dict[str, build.Builder] = {}
        row = self.db.execute("SELECT stamp FROM docs WHERE name=?", (name,)).fetchone()
        start = json.loads(row["stamp"])[0] if row else 0

        def builder(thread: str) -> build.Builder:
            label = thread or name
            if label not in builders:
                doc, state = self._doc(label, path, child)
                builders[label] = build.Builder(
                    self.db, doc, label, filing, state, lambda spill: _spilled(path, spill)
                )
            return builders[label]

        main = builder("")
        source = Source(str(path), self.key, main.state.reader, start)
        try:
            size = os.stat(path).st_size
            begun = _probe(str(path), size)
            for item in relay.read(self.reader, source, size):
                thread = item[0].thread if isinstance(item[0], Piece) else ""
                (builder(thread) if thread else main).take(item)
            if source.offset and begun != _probe(str(path), size):
                raise Replaced(f"{path.name!r} was rewritten while it was read.")
            stamp = json.dumps(_probe(str(path), source.offset))
        except OSError as error:
            raise Unavailable(f"{path.name!r} cannot be read: {error.strerror}.") from None
        for label, one in builders.items():
            self.db.execute("UPDATE docs SET state=? WHERE name=?", (one.finish().dump(), label))
            if (place := one.changed) is not None:
                self._recut = min(self._recut, place)
        self.db.execute("UPDATE docs SET stamp=? WHERE name=?", (stamp, name))

    def _doc(self, label: str, path: Path, child: Child | None) -> tuple[int, build.State]:
        row = self.db.execute("SELECT doc, state FROM docs WHERE name=?", (label,)).fetchone()
        if row:
            return row["doc"], build.State.load(row["state"])
        state = build.State()
        if child is not None:
            state.facts.update((name, redact(fact)) for name, fact in child.facts.items())
        cursor = self.db.execute(
            "INSERT INTO docs (name, path, call, stamp, state) VALUES (?,?,?,?,?)",
            (label, os.fsencode(path), child.call if child else "", "[0]", state.dump()),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid, state


class Replaced(Unavailable):
    """A file was put in another's place while that one was read; nothing of either counts."""


def _files_of(stamps: dict[str, Any], names: Iterable[str]) -> list[Any]:
    """Return the inodes of files by their stamps, None for those that are gone."""
    return [stamps[name][2] if name in stamps else None for name in names]


def _spilled(path: Path, spill: str) -> str | None:
    """Return the text of an output that was saved beside the transcript, or None."""
    folder = os.path.realpath(path.with_suffix(""))
    file = os.path.realpath(os.path.join(folder, spill))
    if not file.startswith(folder + os.sep):
        return None
    try:
        with plain.opened(file) as stream:
            data = stream.read(SPILL_LIMIT + 1)
    except OSError:
        return None
    text = data[:SPILL_LIMIT].decode("utf-8", "replace")
    return text if len(data) <= SPILL_LIMIT else f"{text}\n… (more than 16 MB; cut)"


def _probe(path: str, read: int) -> list[Any]:
    """Return how far a file was read, with digests of its start and of what was read last."""
    with plain.opened(path) as file:
        head = file.read(min(read, _PROBE))
        file.seek(max(0, read - _PROBE))
        tail = file.read(min(read, _PROBE))
    return [read, sha256(head).hexdigest()[:16], sha256(tail).hexdigest()[:16]]
