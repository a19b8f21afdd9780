"""The commits of a history, packed for searching: all messages at once, patches bit by bit.

Messages of 10,000 commits take 0.2 s; their patches take minutes on a large project. So patches
are packed newest first by one thread, in parts of bounded size, and whoever searches is told how
far they went. Nothing starts before the first search.
"""

from __future__ import annotations

import bisect
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TypedDict

from rlm_mcp.contexts import pickaxe
from rlm_mcp.contexts.variable import Chunk, Found, Hit, Listed, Query
from rlm_mcp.corpus import chunk as chunking
from rlm_mcp.corpus import load, tokens, words
from rlm_mcp.corpus import search as searching
from rlm_mcp.corpus.pack import Corpus
from rlm_mcp.counts import counted
from rlm_mcp.errors import BadRequest, RlmError
from rlm_mcp.git import Commit, command, commits, numstat, patches
from rlm_mcp.refs import Chars, Lines, Ref

PART_BYTES = 32 << 20
"""Bytes of patches that are packed together; as much as the packing thread holds in memory."""
MAX_BYTES = 1 << 30
"""Bytes of patches that are packed for one history."""

MAX_RANKED = 5_000
"""Lines with a word of a question that are looked at."""


@dataclass(frozen=True, slots=True)
class Part:
    """The documents of the commits from `start` to `stop`, packed."""

    corpus: Corpus
    start: int
    stop: int


class Changed(TypedDict):
    """A commit that adds or removes a line."""

    ref: str
    date: str
    author: str
    subject: str
    line: str


class Packed:
    """The commits of some revisions, newest first, as they were when it was made."""

    def __init__(
        self, git: command.Git, revs: Sequence[str], name: str, cache: Path, *, secrets: bool
    ) -> None:
        self.git, self.revs, self.name = git, list(revs), name
        self._cache, self._secrets = cache, secrets
        self.commits: list[Commit] = list(commits.stream(git, self.revs)) if revs else []
        self.messages = load.texts(
            (
                (_place(n), commit.shown.encode("utf-8", "replace"))
                for n, commit in enumerate(self.commits)
            ),
            cache=cache,
            name=f"messages {name} {revs} {id(self)}",
        )
        self.churn = numstat.Churn(git, [commit.commit for commit in self.commits], cache)
        self._parts: list[Part] = []
        self._packed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stop = False
        self._done = not self.commits
        self._failure = ""

    def stop(self) -> None:
        """End the work in the background soon; what is packed stays readable."""
        with self._packed:
            self._stop = True
        self.churn.stop()

    def close(self) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(timeout=10)
        self.churn.close()
        self.messages.close()
        for part in self._parts:
            part.corpus.close()

    def state(self) -> str:
        """Return how far patches are packed, as a sentence; empty where all or none are."""
        covered = self._parts[-1].stop if self._parts else 0
        if self._thread is None or (self._done and covered == len(self.commits)):
            return ""
        what = f"Patches of the newest {covered:,} of {len(self.commits):,} commits were searched"
        why = f" ({self._failure})" if self._failure else ""
        return f"{what}{why}, and the messages of all."

    def sample(self) -> bytes:
        """Return the start of the newest messages, without their headers, for their script."""
        return "\n".join(commit.message for commit in self.commits[:50]).encode("utf-8", "replace")

    def messages_of(self, span: Lines | None) -> str:
        """Return headers and messages of all commits, or of those with these numbers from 1."""
        paths = list(self.messages.paths())
        chosen = paths if span is None else paths[span.start - 1 : span.end]
        return "\n".join(self.messages.data(path).decode("utf-8", "replace") for path in chosen)

    def search(self, query: Query, wait_s: float) -> Found:
        """Search messages and, as far as they are packed, patches; newest commits first."""
        self._pack(wait_s)
        segment, inner = _cursor(query.cursor)
        wanted = replace(query, cursor="", spread=False)
        hits: list[Hit] = []
        total = documents = 0
        cursor = ""
        exact = True
        for number, (corpus, start, paths) in enumerate(self._segments()):
            room = query.limit - len(hits) if number >= segment else 0
            ask = replace(wanted, limit=max(1, room), cursor=inner if number == segment else "")
            found = searching.search(corpus, ask, paths)
            total += found.total
            documents += found.documents
            exact = exact and found.exact
            if number < segment or (room <= 0 and not found.hits):
                continue
            if room <= 0:
                cursor = cursor or f"{number}:"
                continue
            hits += [self._hit(hit, start) for hit in found.hits]
            if found.cursor and not cursor:
                cursor = f"{number}:{found.cursor}"
        state = self.state()
        return Found(tuple(hits), total, documents, cursor, exact and not state, state)

    def search_one(self, query: Query, scope: Ref, data: bytes) -> Found:
        """Search one commit's document."""
        corpus = self._pack_texts([data])
        try:
            found = searching.search(corpus, query, None)
        finally:
            corpus.close()
        hits = tuple(
            Hit(str(scope.at(Lines(hit.line, hit.line))), scope.path, hit.line, hit.text,
                tuple(hit.before), tuple(hit.after), hit.cut)
            for hit in found.hits
        )  # fmt: skip
        return Found(hits, found.total, found.documents, found.cursor, found.exact, found.note)

    def chunk_one(self, scope: Ref, data: bytes, limit: int) -> list[Chunk]:
        """Return the parts of one commit's document."""
        corpus = self._pack_texts([data])
        try:
            span = scope.span if isinstance(scope.span, (Lines, Chars)) else None
            parts = chunking.chunk(corpus, None, "tokens", limit, within=span)
        finally:
            corpus.close()
        return [Chunk(str(scope.at(part.span)), part.tokens, part.title) for part in parts]

    def chunk(self, limit: int) -> list[Chunk]:
        """Return runs of whole commits (headers and messages), newest first."""
        sizes = [length for _, length in self.messages.spans()]
        ends = list(accumulate(tokens.estimate(size, "prose") for size in sizes))
        found = []
        start = 0
        while start < len(ends):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, bisect.bisect_right(ends, before + limit))
            first, last = self.commits[start], self.commits[stop - 1]
            found.append(
                Chunk(
                    f"{self.name}#L{start + 1}-L{stop}",
                    ends[stop - 1] - before,
                    f"{counted(stop - start, 'commit')}, {last.date[:10]} to {first.date[:10]}",
                )
            )
            start = stop
        return found

    def pickaxe(self, pattern: str, paths: Sequence[str], limit: int) -> Listed[Changed]:
        """Return commits that add or remove a line that matches, newest first.

        It ends with the first commit that there is no room for.
        """
        found: list[Changed] = []
        notes: dict[str, None] = {}
        for batch in self._batches(paths):
            corpus = self._pack_texts([change.text for change in batch])
            try:
                lines = pickaxe.lines(corpus, [change.commit for change in batch], pattern)
            finally:
                corpus.close()
            notes.update(dict.fromkeys(lines.notes))
            for number, text in sorted(lines.first.items()):
                found.append(_summary(self.name, batch[number].commit, text))
            if len(found) > limit:
                notes["It stopped here; a larger limit goes further back."] = None
                break
        if self._stop:
            notes["The history changed meanwhile; ask again."] = None
        return Listed(found[: max(0, limit)], len(found), not notes, " ".join(notes))

    def rank(self, question: str, limit: int) -> list[Hit]:
        """Return the commits whose messages hold most of a question's words, newer ones first.

        The rarer a word is among the messages, the more it says.
        """
        asked = words.terms(question)
        found: dict[int, dict[str, int]] = {}
        weights: dict[str, float] = {}
        for term in asked:
            some = "|".join("".join(rf"\x{{{ord(c):x}}}" for c in part) for part in _forms(term))
            query = searching.Query(rf"\b(?:{some})", limit=MAX_RANKED, ignore_case=True)
            matches = searching.search(self.messages, query, None)
            weights[term.text] = math.log(1 + len(self.commits) / (1 + matches.documents))
            for hit in matches.hits:
                found.setdefault(int(hit.path), {}).setdefault(term.text, hit.line)
        scored = sorted(
            found.items(), key=lambda item: (-sum(weights[word] for word in item[1]), item[0])
        )
        return [self._message(number, lines) for number, lines in scored[: max(0, limit)]]

    def _message(self, number: int, lines: Mapping[str, int]) -> Hit:
        line = min(lines.values())
        commit = self.commits[number].commit[: commits.SHORT]
        raw = self.messages.line_bytes(_place(number), line, line)
        text = raw[0].decode("utf-8", "replace")
        last = self.messages.line_count(_place(number))
        ref = Ref(self.name, commit, "", Lines(1, last))
        return Hit(str(ref), commit, line, text[:300], cut=len(text) > 300)

    def _batches(self, paths: Sequence[str]) -> Iterator[list[patches.Change]]:
        batch: list[patches.Change] = []
        size = 0
        if not self.revs:
            return
        for change in patches.stream(self.git, self.revs, secrets=self._secrets, paths=paths):
            if self._stop:
                return
            batch.append(change)
            size += len(change.patch)
            if size > PART_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _pack(self, wait_s: float) -> None:
        """Start packing patches where that has not begun, and wait a while for it to finish."""
        deadline = time.monotonic() + wait_s
        with self._packed:
            if self._thread is None and not self._done:
                self._thread = threading.Thread(target=self._work, name="patches", daemon=True)
                self._thread.start()
            while not self._done and (left := deadline - time.monotonic()) > 0:
                self._packed.wait(left)

    def _work(self) -> None:
        total = start = 0
        try:
            for batch in self._batches(()):
                part = Part(self._pack_texts([c.text for c in batch]), start, start + len(batch))
                total += sum(len(change.patch) for change in batch)
                start = part.stop
                with self._packed:
                    self._parts.append(part)
                    self._packed.notify_all()
                    if self._stop:
                        return
                if total > MAX_BYTES:
                    self._failure = f"the rest is above {MAX_BYTES >> 20:,} MiB"
                    break
        except (RlmError, OSError) as error:
            self._failure = str(error)
        finally:
            with self._packed:
                self._done = True
                self._packed.notify_all()

    def _pack_texts(self, texts: list[bytes]) -> Corpus:
        items = [(_place(number), text) for number, text in enumerate(texts)]
        return load.texts(items, cache=self._cache, name=f"patches {self.name} {id(items)}")

    def _segments(self) -> list[tuple[Corpus, int, list[str] | None]]:
        """Return (corpus, number of its first commit, its paths) in order, each commit once."""
        with self._packed:
            parts = list(self._parts)
        found: list[tuple[Corpus, int, list[str] | None]]
        found = [(part.corpus, part.start, None) for part in parts]
        covered = parts[-1].stop if parts else 0
        if covered < len(self.commits):
            rest = [_place(number) for number in range(covered, len(self.commits))]
            found.append((self.messages, 0, rest))
        return found

    def _hit(self, hit: searching.Match, start: int) -> Hit:
        commit = self.commits[start + int(hit.path)].commit[: commits.SHORT]
        ref = Ref(self.name, commit, "", Lines(hit.line, hit.line))
        return Hit(
            str(ref), commit, hit.line, hit.text, tuple(hit.before), tuple(hit.after), hit.cut
        )


def _forms(term: words.Term) -> list[str]:
    """Return what a word of a question may look like in a message: itself, or its stem."""
    stem = words.stem(term.text.lower())
    return list(dict.fromkeys([term.text, stem]))


def _place(number: int) -> str:
    return f"{number:08d}"


def _summary(name: str, commit: Commit, line: str) -> Changed:
    ref = f"{name}:{commit.commit[: commits.SHORT]}"
    return Changed(
        ref=ref, date=commit.date, author=commit.author, subject=commit.subject, line=line
    )


def _cursor(text: str) -> tuple[int, str]:
    number, colon, inner = text.partition(":")
    if not text:
        return 0, ""
    if not colon or not number.isdigit():
        raise BadRequest("This is not a cursor of a search; leave it out to start again.")
    return int(number), inner
