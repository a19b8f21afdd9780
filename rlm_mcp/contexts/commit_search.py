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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from rlm_mcp.corpus.code import QuestionTerm, cheap_stem, chunk_documents, split_question
from rlm_mcp.corpus.search import GrepHit, Query, grep_corpus
from rlm_mcp.corpus.store import pack_texts
from rlm_mcp.errors import BadRequest, RlmError
from rlm_mcp.git import Commit, GitHistory
from rlm_mcp.methods import ResultList
from rlm_mcp.plurals import count_noun
from rlm_mcp.refs import CharSpan, LineSpan, Ref
from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.variable import ContextChunk, ContextHit, HitPage

if TYPE_CHECKING:
    from rlm_mcp.corpus.store import Corpus


MAX_LINES = 200_000
"""Matching lines of one pack that are looked at."""


class PickaxeMatches(NamedTuple):
    """The first changed line that matches, by the number of its commit; and what was not seen."""

    first: dict[int, str]
    notes: list[str]


def pickaxe_lines(corpus: Corpus, commits: Sequence[Commit], pattern: str) -> PickaxeMatches:
    """Search documents that are named by the number of their commit."""
    by_parents: dict[int, list[str]] = {}
    for path, commit in zip(corpus.document_paths(), commits, strict=True):
        by_parents.setdefault(max(1, len(commit.parents)), []).append(path)
    first: dict[int, str] = {}
    notes: dict[str, None] = {}
    for columns, paths in by_parents.items():
        marks = rf"(?:\+{{{columns}}}|-{{{columns}}})"
        query = Query(rf"^{marks}.*(?:{pattern})", limit=MAX_LINES)
        found = grep_corpus(corpus, query, paths)
        if not found.exact or found.total > len(found.hits):
            notes[found.note or "Some commits with very many lines were not looked at."] = None
        for hit in found.hits:
            if int(hit.path) not in first and not _names_a_file(corpus, hit):
                first[int(hit.path)] = hit.text
    return PickaxeMatches(first, list(notes))


def _names_a_file(corpus: Corpus, hit: GrepHit) -> bool:
    """Say whether a line is one of the two before a file's changes."""
    if not hit.text.startswith(("--- ", "+++ ")):
        return False
    start = hit.line + (hit.text[0] == "-")
    after = corpus.line_bytes(hit.path, start, start + 1)
    return len(after) == 2 and after[0].startswith(b"+++ ") and after[1].startswith(b"@@")


PART_BYTES = 32 << 20
"""Bytes of patches that are packed together; as much as the packing thread holds in memory."""
MAX_BYTES = 1 << 30
"""Bytes of patches that are packed for one history."""

MAX_RANKED = 5_000
"""Lines with a word of a question that are looked at."""


@dataclass(frozen=True, slots=True)
class PatchPack:
    """The documents of the commits from `start` to `stop`, packed."""

    corpus: Corpus
    start: int
    stop: int


class PatchHit(TypedDict):
    """A commit that adds or removes a line."""

    ref: str
    date: str
    author: str
    subject: str
    line: str


class PackedCommits:
    """The commits of some revisions, newest first, as they were when it was made."""

    def __init__(
        self, history: GitHistory, revs: Sequence[str], name: str, cache: Path, *, secrets: bool
    ) -> None:
        self.revs, self.name, self._cache = list(revs), name, cache
        self.commits: list[Commit] = list(history.stream_commits(self.revs)) if revs else []
        self.messages = pack_texts(
            (
                (_document_name(n), commit.log_text.encode("utf-8", "replace"))
                for n, commit in enumerate(self.commits)
            ),
            cache=cache,
            name=f"messages {name} {revs} {id(self)}",
        )
        self.churn = history.churn_counter([commit.commit for commit in self.commits], cache)
        self._parts: list[PatchPack] = []
        self._packed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._patch_batches = partial(
            history.patch_batches, self.revs, PART_BYTES, self._stop.is_set, secrets=secrets
        )
        self._done = not self.commits
        self._failure = ""

    def stop_packing(self) -> None:
        """End the work in the background soon; what is packed stays readable."""
        with self._packed:
            self._stop.set()
        self.churn.stop_counting()

    def close(self) -> None:
        self.stop_packing()
        if self._thread is not None:
            self._thread.join(timeout=10)
        self.churn.close()
        self.messages.close()
        for part in self._parts:
            part.corpus.close()

    def coverage_note(self) -> str:
        """Return how far patches are packed, as a sentence; empty where all or none are."""
        covered = self._parts[-1].stop if self._parts else 0
        if self._thread is None or (self._done and covered == len(self.commits)):
            return ""
        what = f"Patches of the newest {covered:,} of {len(self.commits):,} commits were searched"
        why = f" ({self._failure})" if self._failure else ""
        return f"{what}{why}, and the messages of all."

    def message_sample(self) -> bytes:
        """Return the start of the newest messages, without their headers, for their script."""
        return "\n".join(commit.message for commit in self.commits[:50]).encode("utf-8", "replace")

    def messages_text(self, span: LineSpan | None) -> str:
        """Return headers and messages of all commits, or of those with these numbers from 1."""
        paths = list(self.messages.document_paths())
        chosen = paths if span is None else paths[span.start - 1 : span.end]
        return "\n".join(
            self.messages.document_bytes(path).decode("utf-8", "replace") for path in chosen
        )

    def grep(self, query: Query, wait_s: float) -> HitPage:
        """Search messages and, as far as they are packed, patches; newest commits first."""
        self._await_packing(wait_s)
        segment, inner = _parse_cursor(query.cursor)
        wanted = replace(query, cursor="", spread=False)
        hits: list[ContextHit] = []
        total = documents = 0
        cursor = ""
        exact = True
        for number, (corpus, start, paths) in enumerate(self._search_segments()):
            room = query.limit - len(hits) if number >= segment else 0
            ask = replace(wanted, limit=max(1, room), cursor=inner if number == segment else "")
            found = grep_corpus(corpus, ask, paths)
            total += found.total
            documents += found.documents
            exact = exact and found.exact
            if number < segment or (room <= 0 and not found.hits):
                continue
            if room <= 0:
                cursor = cursor or f"{number}:"
                continue
            hits += [self._commit_hit(hit, start) for hit in found.hits]
            if found.cursor and not cursor:
                cursor = f"{number}:{found.cursor}"
        state = self.coverage_note()
        return HitPage(tuple(hits), total, documents, cursor, exact and not state, state)

    def grep_commit(self, query: Query, scope: Ref, data: bytes) -> HitPage:
        """Search one commit's document."""
        corpus = self._pack_texts([data])
        try:
            found = grep_corpus(corpus, query, None)
        finally:
            corpus.close()
        hits = tuple(
            ContextHit(
                str(scope.with_span(LineSpan(hit.line, hit.line))),
                scope.path,
                hit.line,
                hit.text,
                tuple(hit.before),
                tuple(hit.after),
                hit.cut,
            )
            for hit in found.hits
        )
        return HitPage(hits, found.total, found.documents, found.cursor, found.exact, found.note)

    def chunk_commit(self, scope: Ref, data: bytes, limit: int) -> list[ContextChunk]:
        """Return the parts of one commit's document."""
        corpus = self._pack_texts([data])
        try:
            span = scope.span if isinstance(scope.span, (LineSpan, CharSpan)) else None
            parts = chunk_documents(corpus, None, "tokens", limit, within=span)
        finally:
            corpus.close()
        return [
            ContextChunk(str(scope.with_span(part.span)), part.tokens, part.title) for part in parts
        ]

    def chunk(self, limit: int) -> list[ContextChunk]:
        """Return runs of whole commits (headers and messages), newest first."""
        sizes = [length for _, length in self.messages.document_spans()]
        ends = list(accumulate(estimate_tokens(size, "prose") for size in sizes))
        found = []
        start = 0
        while start < len(ends):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, bisect.bisect_right(ends, before + limit))
            first, last = self.commits[start], self.commits[stop - 1]
            found.append(
                ContextChunk(
                    f"{self.name}#L{start + 1}-L{stop}",
                    ends[stop - 1] - before,
                    f"{count_noun(stop - start, 'commit')}, {last.date[:10]} to {first.date[:10]}",
                )
            )
            start = stop
        return found

    def pickaxe_commits(
        self, pattern: str, paths: Sequence[str], limit: int
    ) -> ResultList[PatchHit]:
        """Return commits that add or remove a line that matches, newest first.

        It ends with the first commit that there is no room for.
        """
        found: list[PatchHit] = []
        notes: dict[str, None] = {}
        for batch in self._patch_batches(paths=paths):
            corpus = self._pack_texts([change.document_bytes for change in batch])
            try:
                lines = pickaxe_lines(corpus, [change.commit for change in batch], pattern)
            finally:
                corpus.close()
            notes.update(dict.fromkeys(lines.notes))
            for number, text in sorted(lines.first.items()):
                found.append(_patch_hit(self.name, batch[number].commit, text))
            if len(found) > limit:
                notes["It stopped here; a larger limit goes further back."] = None
                break
        if self._stop.is_set():
            notes["The history changed meanwhile; ask again."] = None
        return ResultList(found[: max(0, limit)], len(found), not notes, " ".join(notes))

    def search(self, question: str, limit: int) -> list[ContextHit]:
        """Return the commits whose messages hold most of a question's words, newer ones first.

        The rarer a word is among the messages, the more it says.
        """
        asked = split_question(question)
        found: dict[int, dict[str, int]] = {}
        weights: dict[str, float] = {}
        for term in asked:
            some = "|".join(
                "".join(rf"\x{{{ord(c):x}}}" for c in part) for part in _word_forms(term)
            )
            query = Query(rf"\b(?:{some})", limit=MAX_RANKED, ignore_case=True)
            matches = grep_corpus(self.messages, query, None)
            weights[term.text] = math.log(1 + len(self.commits) / (1 + matches.documents))
            for hit in matches.hits:
                found.setdefault(int(hit.path), {}).setdefault(term.text, hit.line)
        scored = sorted(
            found.items(), key=lambda item: (-sum(weights[word] for word in item[1]), item[0])
        )
        return [self._message_hit(number, lines) for number, lines in scored[: max(0, limit)]]

    def _message_hit(self, number: int, lines: Mapping[str, int]) -> ContextHit:
        line = min(lines.values())
        commit = self.commits[number].short_id
        raw = self.messages.line_bytes(_document_name(number), line, line)
        text = raw[0].decode("utf-8", "replace")
        last = self.messages.line_count(_document_name(number))
        ref = Ref(self.name, commit, "", LineSpan(1, last))
        return ContextHit(str(ref), commit, line, text[:300], cut=len(text) > 300)

    def _await_packing(self, wait_s: float) -> None:
        """Start packing patches where that has not begun, and wait a while for it to finish."""
        deadline = time.monotonic() + wait_s
        with self._packed:
            if self._thread is None and not self._done:
                self._thread = threading.Thread(
                    target=self._pack_patches, name="patches", daemon=True
                )
                self._thread.start()
            while not self._done and (left := deadline - time.monotonic()) > 0:
                self._packed.wait(left)

    def _pack_patches(self) -> None:
        total = start = 0
        try:
            for batch in self._patch_batches():
                part = PatchPack(
                    self._pack_texts([c.document_bytes for c in batch]), start, start + len(batch)
                )
                total += sum(len(change.patch) for change in batch)
                start = part.stop
                with self._packed:
                    self._parts.append(part)
                    self._packed.notify_all()
                    if self._stop.is_set():
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
        items = [(_document_name(number), text) for number, text in enumerate(texts)]
        return pack_texts(items, cache=self._cache, name=f"patches {self.name} {id(items)}")

    def _search_segments(self) -> list[tuple[Corpus, int, list[str] | None]]:
        """Return (corpus, number of its first commit, its paths) in order, each commit once."""
        with self._packed:
            parts = list(self._parts)
        found: list[tuple[Corpus, int, list[str] | None]]
        found = [(part.corpus, part.start, None) for part in parts]
        covered = parts[-1].stop if parts else 0
        if covered < len(self.commits):
            rest = [_document_name(number) for number in range(covered, len(self.commits))]
            found.append((self.messages, 0, rest))
        return found

    def _commit_hit(self, hit: GrepHit, start: int) -> ContextHit:
        commit = self.commits[start + int(hit.path)].short_id
        ref = Ref(self.name, commit, "", LineSpan(hit.line, hit.line))
        return ContextHit(
            str(ref), commit, hit.line, hit.text, tuple(hit.before), tuple(hit.after), hit.cut
        )


def _word_forms(term: QuestionTerm) -> list[str]:
    """Return what a word of a question may look like in a message: itself, or its stem."""
    stem = cheap_stem(term.text.lower())
    return list(dict.fromkeys([term.text, stem]))


def _document_name(number: int) -> str:
    return f"{number:08d}"


def _patch_hit(name: str, commit: Commit, line: str) -> PatchHit:
    ref = f"{name}:{commit.short_id}"
    return PatchHit(
        ref=ref, date=commit.date, author=commit.author, subject=commit.subject, line=line
    )


def _parse_cursor(text: str) -> tuple[int, str]:
    number, colon, inner = text.partition(":")
    if not text:
        return 0, ""
    if not colon or not number.isdigit():
        raise BadRequest("This is not a cursor of a search; leave it out to start again.")
    return int(number), inner
