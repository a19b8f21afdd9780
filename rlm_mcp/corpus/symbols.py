"""Definitions and references of a corpus, parsed when they are asked for.

A question about a name parses only the documents that contain the name, and what was parsed is
kept by the content's id in one SQLite file for all corpora, so no content is parsed twice.
Documents without a grammar, or that their parser gives up on, have an RE2 outline instead.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.corpus import outline, parsing
from rlm_mcp.corpus.grammar import LANGUAGES, VERSION, Definition, Parsed
from rlm_mcp.corpus.language import language

if TYPE_CHECKING:
    from rlm_mcp.corpus.pack import Corpus, Snapshot

MAX_CACHE = 1 << 30
"""Bytes of the file above which it is begun anew."""
HEADER = 16 << 10
"""Bytes of a header that are looked at for its language."""
_READ = 500
_WRITE = 200


class Symbols:
    """What the documents of a corpus define and use. Safe from several threads."""

    def __init__(self, corpus: Corpus, cache: Path) -> None:
        self._corpus = corpus
        self._path = cache / f"symbols-{VERSION}.sqlite"
        self._lock = threading.Lock()
        self._base: sqlite3.Connection | None = None

    def parsed(self, paths: Iterable[str]) -> Mapping[str, Parsed]:
        """Return what each of these documents defines and uses, parsing what is not known yet."""
        snapshot = self._corpus.snapshot
        found: dict[str, Parsed] = {}
        keys: dict[str, list[str]] = {}
        jobs: dict[str, parsing.Job] = {}
        for path in paths:
            place = snapshot.index.get(path)
            if place is None:
                continue
            offset, length = snapshot.spans[place]
            name = _language(snapshot, path, offset, length)
            if not length or not (name in LANGUAGES or outline.known(name)):
                found[path] = Parsed([], {})
                continue
            key = f"{name}:{snapshot.document(place).blob}"
            keys.setdefault(key, []).append(path)
            jobs[key] = parsing.Job(key, name, offset, length)
        for key, text in self._answers(snapshot, jobs):
            for path in keys[key]:
                found[path] = Parsed.read(text) if text else self._fallback(snapshot, path)
        return found

    def one(self, path: str) -> Parsed:
        """Return what one document defines and uses."""
        return self.parsed([path]).get(path, Parsed([], {}))

    def close(self) -> None:
        with self._lock:
            if self._base is not None:
                self._base.close()
                self._base = None

    def _fallback(self, snapshot: Snapshot, path: str) -> Parsed:
        offset, length = snapshot.spans[snapshot.index[path]]
        return by_pattern(path, bytes(snapshot.buffer[offset : offset + length]))

    def _answers(
        self, snapshot: Snapshot, jobs: Mapping[str, parsing.Job]
    ) -> Iterable[tuple[str, str]]:
        if not jobs:
            return
        with self._lock:
            known = self._known(list(jobs))
        yield from known.items()
        missing = [job for key, job in jobs.items() if key not in known]
        if not missing:
            return
        fresh: list[tuple[str, str]] = []
        for answer in self._parse(snapshot, missing):
            yield answer
            fresh.append(answer)
            if len(fresh) >= _WRITE:
                self._keep(fresh)
                fresh = []
        self._keep(fresh)

    def _parse(
        self, snapshot: Snapshot, missing: Sequence[parsing.Job]
    ) -> Iterator[tuple[str, str]]:
        """Parse documents in the workers, and the outline of others here meanwhile."""
        by_grammar = [job for job in missing if job.language in LANGUAGES]
        for job in missing:
            if job.language not in LANGUAGES:
                data = bytes(snapshot.buffer[job.offset : job.offset + job.length])
                yield job.key, by_pattern("", data, job.language).written()
        if by_grammar:
            yield from parsing.parse_all(Path(os.fspath(snapshot.text.name)), by_grammar)

    def _known(self, keys: Sequence[str]) -> dict[str, str]:
        base = self._connect()
        found = {}
        for start in range(0, len(keys), _READ):
            some = keys[start : start + _READ]
            marks = ",".join("?" * len(some))
            rows = base.execute(f"select key, parsed from documents where key in ({marks})", some)
            found.update(
                {key: zlib.decompress(data).decode() if data else "" for key, data in rows}
            )
        return found

    def _keep(self, answers: Sequence[tuple[str, str]]) -> None:
        rows = [(key, zlib.compress(text.encode(), 1) if text else b"") for key, text in answers]
        with self._lock:
            base = self._connect()
            with base:
                base.executemany("insert or replace into documents values(?, ?)", rows)

    def _connect(self) -> sqlite3.Connection:
        if self._base is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._path.exists() and self._path.stat().st_size > MAX_CACHE:
                self._path.unlink()
            try:
                self._base = _open(self._path)
            except sqlite3.DatabaseError:
                self._path.unlink(missing_ok=True)  # broken; everything in it can be parsed again
                self._base = _open(self._path)
        return self._base


_CPLUSPLUS = re.compile(
    rb"^[ \t]*(?:class|namespace|template|using|public:|private:)\b|\bstd::", re.M
)
"""What C++ has and C has not."""
_TELLING = (b"class", b"namespace", b"template", b"using", b"public:", b"private:", b"std::")


def _language(snapshot: Snapshot, path: str, offset: int, length: int) -> str:
    """Return the language to parse a document with; a header may be C++ under C's suffix."""
    name = language(path, bytes(snapshot.buffer[offset : offset + min(length, 120)]))
    if name == "c" and path.endswith(".h"):
        head = bytes(snapshot.buffer[offset : offset + min(length, HEADER)])
        telling = any(word in head for word in _TELLING)  # a tenth of the expression's time
        name = "cpp" if telling and _CPLUSPLUS.search(head) else name
    return name


def by_pattern(path: str, data: bytes, name: str = "") -> Parsed:
    """Return the RE2 outline of a document in the same form; it has no references."""
    stack: list[str] = []
    definitions = []
    for item in outline.outline(path, data, name):
        del stack[item.depth :]
        owner = ".".join(stack)
        definitions.append(Definition(item.name, item.kind, item.line, item.end, item.depth, owner))
        stack.append(item.name)
    return Parsed.of(definitions, {})


def _open(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, timeout=30, check_same_thread=False)
    base.execute("pragma journal_mode = wal")
    base.execute("pragma synchronous = off")
    base.execute("create table if not exists documents(key text primary key, parsed blob)")
    return base
