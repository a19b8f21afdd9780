"""Rank the passages of a corpus by how well they fit a question, best first.

BM25 over split identifiers (FTS5) finds candidates; names of definitions and of paths, the share
of the question that a passage covers, and what kind of file it is decide their order: a
definition before a mention, source before tests and documents unless those are asked for.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm_mcp.corpus import words
from rlm_mcp.corpus.language import is_doc, is_test
from rlm_mcp.corpus.passages import Index, Passage
from rlm_mcp.corpus.words import Term

if TYPE_CHECKING:
    from rlm_mcp.corpus.pack import Corpus

CANDIDATES = 300
"""Passages that are looked at closely."""
BUILD_S = 60.0
"""Seconds that one call may spend on building the index."""
CUT = 300

_indexes: weakref.WeakKeyDictionary[Corpus, Index] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Ranked:
    """A passage: lines `start` to `end`; `line` is its most telling one, `text` that line."""

    path: str
    start: int
    end: int
    line: int
    text: str
    score: float
    symbol: str = ""
    cut: bool = False


def rank(
    corpus: Corpus, question: str, paths: Sequence[str] | None = None, limit: int = 10
) -> list[Ranked]:
    """Return the passages that best fit a question; empty where no word of it occurs."""
    asked = words.terms(question)
    if not asked or limit < 1:
        return []
    index = _index(corpus)
    index.update(corpus.snapshot, BUILD_S)
    found = index.defining([term.text.rsplit(".", 1)[-1] for term in asked], CANDIDATES)
    found += index.find(_expression(asked), CANDIDATES)
    inside = None if paths is None else set(paths)
    chosen = {
        (passage.path, passage.start): passage
        for passage in found
        if inside is None or passage.path in inside
    }
    want = _wants(question)
    scored = [(_score(corpus, passage, asked, want), passage) for passage in chosen.values()]
    scored.sort(key=lambda pair: (-pair[0], pair[1].path, pair[1].start))
    return [_shown(corpus, passage, asked, score) for score, passage in scored[:limit]]


def _index(corpus: Corpus) -> Index:
    with _lock:
        index = _indexes.get(corpus)
        if index is None:
            index = _indexes[corpus] = Index(corpus)
            weakref.finalize(corpus, index.close)
        return index


def _expression(asked: Sequence[Term]) -> str:
    """Return the FTS5 expression: identifiers as phrases, and every part by itself."""
    found: list[str] = []
    for term in asked:
        found.append('"' + " ".join(term.parts) + '"')
        if len(term.parts) > 1:
            found.extend(f'"{part}"' for part in term.parts if len(part) > 2)
    return " OR ".join(dict.fromkeys(found))


def _wants(question: str) -> frozenset[str]:
    """Return which kinds of files a question asks for by name."""
    lower = set(words.parts(question))
    found = set()
    if lower & {"test", "tests", "tested", "testing", "fixture", "fixtures"}:
        found.add("test")
    if lower & {"doc", "docs", "documentation", "documented", "readme", "changelog", "guide"}:
        found.add("doc")
    return frozenset(found)


def _score(corpus: Corpus, passage: Passage, asked: Sequence[Term], want: frozenset[str]) -> float:
    text = "\n".join(_lines(corpus, passage)).lower()
    symbol = words.parts(passage.symbol)
    path = set(words.parts(passage.path))
    covered = weight = 0.0
    score = 0.0
    for term in asked:
        own = 2.0 if term.exact else 1.0
        weight += own
        name = term.text.rsplit(".", 1)[-1]
        stems = [_stem(part) for part in term.parts]
        if term.text.lower() in text or all(stem in text for stem in stems):
            covered += own
        if passage.symbol == name:
            score += 12 * own
        elif passage.symbol.lower() == name.lower():
            score += 8 * own
        elif any(_stem(part) == stem for part in symbol for stem in stems):
            score += 3 * own / max(1, len(symbol) - 1)
        if any(_stem(part) == stem for part in path for stem in stems):
            score += 1.5 * own
    score += 10 * (covered / weight) ** 2 + min(passage.score, 25) / 2.5
    if is_test(passage.path) and "test" not in want:
        score *= 0.45
    elif is_doc(passage.path) and "doc" not in want:
        score *= 0.6
    return score


def _stem(word: str) -> str:
    """Return a word without its commonest endings, as a cheap stand-in for Porter's stem."""
    for ending in ("ings", "ing", "ies", "ied", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _lines(corpus: Corpus, passage: Passage) -> list[str]:
    raw = corpus.line_bytes(passage.path, passage.start, passage.stop)
    return [line.decode("utf-8", "replace") for line in raw]


def _shown(corpus: Corpus, passage: Passage, asked: Sequence[Term], score: float) -> Ranked:
    lines = _lines(corpus, passage)
    best, place = -1.0, 0
    for number, line in enumerate(lines):
        lower = line.lower()
        fit = sum(
            (2.0 if term.exact else 1.0)
            * (term.text.lower() in lower or all(_stem(part) in lower for part in term.parts))
            for term in asked
        )
        fit += 0.5 if number == 0 and passage.symbol else 0.0
        if fit > best and line.strip():
            best, place = fit, number
    text = lines[place] if lines else ""
    return Ranked(
        path=passage.path,
        start=passage.start,
        end=passage.stop,
        line=passage.start + place,
        text=text[:CUT],
        score=round(score, 3),
        symbol=passage.symbol,
        cut=len(text) > CUT,
    )
