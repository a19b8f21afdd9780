"""Rank the passages of a corpus by how well they fit a question, best first.

BM25 over split identifiers (FTS5) finds candidates; names of definitions and of paths, the share
of the question that a passage covers, and what kind of file it is decide their order: a
definition before a mention, source before tests and documents unless those are asked for.
"""

from __future__ import annotations

import math
import re
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.corpus import words
from rlm_mcp.corpus.language import is_doc, is_test
from rlm_mcp.corpus.passages import Coverage, Index, Passage
from rlm_mcp.corpus.words import Term
from rlm_mcp.errors import Unavailable

if TYPE_CHECKING:
    from rlm_mcp.corpus.pack import Corpus

CANDIDATES = 200
"""Passages that are looked at closely."""
BUILD_S = 60.0
"""Seconds that one call may spend on building the index."""
CUT = 300
_KINDS = {
    "test": frozenset({"test", "tests", "tested", "testing", "fixture", "fixtures"}),
    "doc": frozenset({"doc", "docs", "documentation", "documented", "readme", "changelog"}),
}
"""Words that ask for a kind of file rather than for what it says."""
_SIDE = re.compile(
    r"/(?:vendor|third_party|node_modules|examples?|samples?|locale)/|/migrations/\d{3,}"
)
"""Folders whose files are seldom what is asked for."""

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
    note: str = ""
    """How far the index came, where it does not hold everything yet."""


class Weighed(NamedTuple):
    """A word of a question, and how much it says."""

    term: Term
    weight: float


def rank(
    corpus: Corpus, question: str, paths: Sequence[str] | None = None, limit: int = 10
) -> list[Ranked]:
    """Return the passages that best fit a question; empty where no word of it occurs.

    Where the index does not hold all documents yet, each passage says so; raises Unavailable
    where it holds none that fits.
    """
    want, asked = _wants(words.terms(question))
    if not asked or limit < 1:
        return []
    index = _index(corpus)
    coverage = index.update(corpus.snapshot, BUILD_S)
    note = "" if coverage.complete else _partly(coverage)
    weights = _weights(index, asked)
    found = index.defining([_name(term) for term in asked], CANDIDATES)
    found += index.find(_expression(asked), CANDIDATES)
    inside = None if paths is None else set(paths)
    chosen = {
        (passage.path, passage.start): passage
        for passage in sorted(found, key=lambda passage: passage.score)
        if inside is None or passage.path in inside
    }
    scored = [(_score(corpus, passage, weights, want), passage) for passage in chosen.values()]
    scored.sort(key=lambda pair: (-pair[0], pair[1].path, pair[1].start))
    if note and not scored:
        raise Unavailable(note)
    return [_shown(corpus, passage, weights, score, note) for score, passage in scored[:limit]]


def _partly(coverage: Coverage) -> str:
    return (
        f"Ranked over {coverage.documents:,} of {coverage.total:,} documents, as far as the index "
        f"came in {BUILD_S:.0f} s; ask again and it goes on from there."
    )


def _name(term: Term) -> str:
    """Return what a term names: the last part of a dotted one."""
    return term.text.rsplit(".", 1)[-1]


def _weights(index: Index, asked: Sequence[Term]) -> list[Weighed]:
    """Return the terms with their weights: rare words and written identifiers say more."""
    counts = index.counts([_phrase(term) for term in asked])
    total = max(2, index.size())
    found = []
    for term, count in zip(asked, counts, strict=True):
        rarity = math.log(1 + total / (1 + count)) / math.log(total)
        found.append(Weighed(term, rarity * (2.0 if term.exact else 1.0)))
    return found


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
        found.append(_phrase(term))
        if len(term.parts) > 1:
            found.extend(f'"{part}"' for part in term.parts if len(part) > 2)
    return " OR ".join(dict.fromkeys(found))


def _phrase(term: Term) -> str:
    return '"' + " ".join(term.parts) + '"'


def _wants(asked: Sequence[Term]) -> tuple[frozenset[str], list[Term]]:
    """Return which kinds of files are asked for by name, and the words that say what about."""
    found = {
        kind
        for kind, names in _KINDS.items()
        for term in asked
        if not term.exact and names.intersection(term.parts)
    }
    every = frozenset().union(*(_KINDS[kind] for kind in found))
    rest = [term for term in asked if term.exact or not every.intersection(term.parts)]
    return frozenset(found), rest or list(asked)


def _score(
    corpus: Corpus, passage: Passage, asked: Sequence[Weighed], want: frozenset[str]
) -> float:
    text = "\n".join(_lines(corpus, passage)).lower()
    symbol = {words.stem(part) for part in words.parts(passage.symbol)}
    path = {words.stem(part) for part in words.parts(passage.path)}
    covered = named = placed = 0.0
    total = sum(weight for _, weight in asked)
    spelled = 0.0
    for term, weight in asked:
        stems = [words.stem(part) for part in term.parts]
        if term.text.lower() in text or all(stem in text for stem in stems):
            covered += weight
        share = sum(stem in symbol for stem in stems) / len(stems)
        named += weight * share
        if term.exact and passage.symbol.lower() == _name(term).lower():
            spelled += 1.0 if passage.symbol == _name(term) else 0.7
        placed += weight * sum(stem in path for stem in stems) / len(stems)
    fit = 10 * (covered / total) ** 2 + 6 * placed / total + min(passage.score, 30) / 4
    # A name made of the question's words is telling; one that has many others less so.
    fit += 9 * named / total * min(1.0, 2.0 / max(1, len(symbol)) + 0.3) + 14 * spelled
    for kind, is_kind, seldom in (("test", is_test, 0.45), ("doc", is_doc, 0.6)):
        if is_kind(passage.path):
            return fit * (1.3 if kind in want else seldom)
    if want:
        return fit * 0.4
    if _SIDE.search(f"/{passage.path}"):
        return fit * 0.5
    return fit


def _lines(corpus: Corpus, passage: Passage) -> list[str]:
    raw = corpus.line_bytes(passage.path, passage.start, passage.stop)
    return [line.decode("utf-8", "replace") for line in raw]


def _shown(
    corpus: Corpus, passage: Passage, asked: Sequence[Weighed], score: float, note: str
) -> Ranked:
    lines = _lines(corpus, passage)
    best, place = -1.0, 0
    for number, line in enumerate(lines):
        lower = line.lower()
        fit = sum(
            weight
            * (term.text.lower() in lower or all(words.stem(part) in lower for part in term.parts))
            for term, weight in asked
        )
        fit += 0.3 if number == 0 and passage.symbol else 0.0
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
        note=note,
    )
