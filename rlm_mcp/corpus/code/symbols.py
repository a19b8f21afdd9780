"""Definitions and references of a corpus, parsed when they are asked for.

A question about a name parses only the documents that contain the name, and what was parsed is
kept by the content's id in one SQLite file for all corpora, so no content is parsed twice.
Documents without a grammar, or that their parser gives up on, have an RE2 outline instead.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.corpus.code import parse_pool, text_outline
from rlm_mcp.corpus.code.grammar import GRAMMAR_VERSION, LANGUAGES, Definition, ParsedDocument
from rlm_mcp.corpus.code.language import language_of
from rlm_mcp.files import private_file, private_folder

if TYPE_CHECKING:
    from rlm_mcp.corpus.store import Corpus, Snapshot

MAX_CACHE_BYTES = 1 << 30
"""Bytes of the file above which it is begun anew."""
HEADER_BYTES = 16 << 10
"""Bytes of a header that are looked at for its language."""
_READ_BATCH = 500
_WRITE_BATCH = 200


class SymbolIndex:
    """What the documents of a corpus define and use. Safe from several threads."""

    def __init__(self, corpus: Corpus, cache: Path) -> None:
        self._corpus = corpus
        self._path = cache / f"symbols-{GRAMMAR_VERSION}.sqlite"
        self._lock = threading.Lock()
        self._base: sqlite3.Connection | None = None

    def parse_paths(self, paths: Iterable[str]) -> Mapping[str, ParsedDocument]:
        """Return what each of these documents defines and uses, parsing what is not known yet."""
        snapshot = self._corpus.snapshot
        found: dict[str, ParsedDocument] = {}
        keys: dict[str, list[str]] = {}
        jobs: dict[str, parse_pool.ParseJob] = {}
        for path in paths:
            place = snapshot.index.get(path)
            if place is None:
                continue
            offset, length = snapshot.spans[place]
            name = _parse_language(snapshot, path, offset, length)
            if not length or not (name in LANGUAGES or text_outline.has_outline(name)):
                found[path] = ParsedDocument([], {})
                continue
            key = f"{name}:{snapshot.document_at(place).blob}"
            keys.setdefault(key, []).append(path)
            jobs[key] = parse_pool.ParseJob(key, name, offset, length)
        for key, text in self._cached_or_parsed(snapshot, jobs):
            for path in keys[key]:
                found[path] = (
                    ParsedDocument.from_text(text) if text else self._parse_fallback(snapshot, path)
                )
        return found

    def parse_path(self, path: str) -> ParsedDocument:
        """Return what one document defines and uses."""
        return self.parse_paths([path]).get(path, ParsedDocument([], {}))

    def close(self) -> None:
        with self._lock:
            if self._base is not None:
                self._base.close()
                self._base = None

    def _parse_fallback(self, snapshot: Snapshot, path: str) -> ParsedDocument:
        offset, length = snapshot.spans[snapshot.index[path]]
        return parse_by_pattern(path, bytes(snapshot.buffer[offset : offset + length]))

    def _cached_or_parsed(
        self, snapshot: Snapshot, jobs: Mapping[str, parse_pool.ParseJob]
    ) -> Iterable[tuple[str, str]]:
        if not jobs:
            return
        with self._lock:
            known = self._read_cached(list(jobs))
        yield from known.items()
        missing = [job for key, job in jobs.items() if key not in known]
        if not missing:
            return
        fresh: list[tuple[str, str]] = []
        for answer in self._parse_missing(snapshot, missing):
            yield answer
            fresh.append(answer)
            if len(fresh) >= _WRITE_BATCH:
                self._write_cached(fresh)
                fresh = []
        self._write_cached(fresh)

    def _parse_missing(
        self, snapshot: Snapshot, missing: Sequence[parse_pool.ParseJob]
    ) -> Iterator[tuple[str, str]]:
        """Parse documents in the workers, and the outline of others here meanwhile."""
        by_grammar = [job for job in missing if job.language in LANGUAGES]
        for job in missing:
            if job.language not in LANGUAGES:
                data = bytes(snapshot.buffer[job.offset : job.offset + job.length])
                yield job.key, parse_by_pattern("", data, job.language).to_text()
        if by_grammar:
            yield from parse_pool.parse_all(Path(os.fspath(snapshot.text.name)), by_grammar)

    def _read_cached(self, keys: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        try:
            base = self._open_cache()
            for start in range(0, len(keys), _READ_BATCH):
                some = keys[start : start + _READ_BATCH]
                marks = ",".join("?" * len(some))
                wanted = f"select key, parsed from documents where key in ({marks})"
                found.update(
                    {
                        key: zlib.decompress(data).decode() if data else ""
                        for key, data in base.execute(wanted, some)
                    }
                )
        except (sqlite3.OperationalError, OSError):
            return {}  # a cache that cannot be read now
        except (zlib.error, sqlite3.DatabaseError, UnicodeDecodeError, TypeError):
            self._drop_cache()  # damaged; everything in it can be parsed again
            return {}
        return found

    def _write_cached(self, answers: Sequence[tuple[str, str]]) -> None:
        rows = [(key, zlib.compress(text.encode(), 1) if text else b"") for key, text in answers]
        # What cannot be kept (a full or read-only disk) is parsed again next time.
        with self._lock, contextlib.suppress(OSError, sqlite3.Error):
            base = self._open_cache()
            with base:
                base.executemany("insert or replace into documents values(?, ?)", rows)

    def _drop_cache(self) -> None:
        if self._base is not None:
            self._base.close()
            self._base = None
        with contextlib.suppress(OSError):
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    def _open_cache(self) -> sqlite3.Connection:
        if self._base is None:
            private_folder(self._path.parent)
            if self._path.exists() and self._path.stat().st_size > MAX_CACHE_BYTES:
                self._path.unlink()
            try:
                self._base = _open_symbol_cache(self._path)
            except sqlite3.DatabaseError:
                self._path.unlink(missing_ok=True)  # broken; everything in it can be parsed again
                self._base = _open_symbol_cache(self._path)
        return self._base


_CPLUSPLUS = re.compile(
    rb"^[ \t]*(?:class|namespace|template|using|public:|private:)\b|\bstd::", re.M
)
"""What C++ has and C has not."""
_CPLUSPLUS_WORDS = (
    b"class",
    b"namespace",
    b"template",
    b"using",
    b"public:",
    b"private:",
    b"std::",
)


def _parse_language(snapshot: Snapshot, path: str, offset: int, length: int) -> str:
    """Return the language to parse a document with; a header may be C++ under C's suffix."""
    name = language_of(path, bytes(snapshot.buffer[offset : offset + min(length, 120)]))
    if name == "c" and path.endswith(".h"):
        head = bytes(snapshot.buffer[offset : offset + min(length, HEADER_BYTES)])
        telling = any(word in head for word in _CPLUSPLUS_WORDS)  # a tenth of the expression's time
        name = "cpp" if telling and _CPLUSPLUS.search(head) else name
    return name


def parse_by_pattern(path: str, data: bytes, name: str = "") -> ParsedDocument:
    """Return the RE2 outline of a document in the same form; it has no references."""
    stack: list[str] = []
    definitions = []
    for item in text_outline.outline_document(path, data, name):
        del stack[item.depth :]
        owner = ".".join(stack)
        definitions.append(Definition(item.name, item.kind, item.line, item.end, item.depth, owner))
        stack.append(item.name)
    return ParsedDocument.from_definitions(definitions, {})


def _open_symbol_cache(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(private_file(path), timeout=30, check_same_thread=False)
    base.execute("pragma journal_mode = wal")
    base.execute("pragma synchronous = off")
    base.execute("create table if not exists documents(key text primary key, parsed blob)")
    return base
