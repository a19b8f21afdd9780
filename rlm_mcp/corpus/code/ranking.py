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
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.corpus.code import words
from rlm_mcp.corpus.code.fulltext import FullTextIndex, IndexCoverage, IndexedPassage
from rlm_mcp.corpus.code.language import is_build_output, is_doc_path, is_test_path
from rlm_mcp.corpus.code.word_vectors import load_word_vectors
from rlm_mcp.errors import Unavailable

if TYPE_CHECKING:
    from rlm_mcp.corpus.code.word_vectors import ComparedPassages
    from rlm_mcp.corpus.code.words import QuestionTerm
    from rlm_mcp.corpus.store import Corpus

MAX_CANDIDATES = 150
"""Passages that are looked at closely."""
NAME_CANDIDATES = 100
"""Definitions that are looked at closely because of their names."""
COMMON_NAME_LIMIT = 400
"""Definitions with a word in their names up to which that tells something."""
FILE_NAME_WEIGHT = 7.0
"""What it counts that a file's own name is the question's words."""
MEANT_ONLY = "No word of the question occurs; what follows is near it in meaning."
NEAR_CANDIDATES = 60
"""Passages that are looked at closely because of their meaning."""
NEAR_WEIGHTS = (90.0, 30.0)
NEAR_DOCUMENT_SHARES = (0.2, 0.7)
"""What nearness in meaning counts, and the share of the whole document in it: where names have
nothing of the question, and where they have all of it. Set on 73 questions over four packages.
"""
SUPPORTING_PASSAGES = 3
"""Other passages of its document that speak for one."""
BM25_PASSAGES = 3_000
"""Passages, about, that BM25 looks at to find those."""
BUILD_S = 60.0
"""Seconds that one call may spend on building the index."""
RANKED_LINE_CHARS = 300
_KINDS = {
    "test": frozenset({"test", "tests", "tested", "testing", "fixture", "fixtures"}),
    "doc": frozenset({"doc", "docs", "documentation", "documented", "readme", "changelog"}),
}
"""Words that ask for a kind of file rather than for what it says."""
_SIDE_FOLDERS = re.compile(r"/(?:examples?|samples?|locale)/|/migrations/\d{3,}")
"""Folders whose files are seldom what is asked for."""
_INSTRUCTIONS = re.compile(
    r"/\.(?:agents?|claude|codex|cursor|gemini|github|windsurf)/|/(?:agents|claude|gemini|skill)\.md$"
    r"|/(?:\.cursorrules|copilot-instructions\.md)$",
    re.IGNORECASE,
)
"""Files that tell agents how to work here."""
_LEGACY = re.compile(
    r"/_?(?:deprecated|legacy|old|obsolete|compat|v[01])(?:/|\.\w+$)|/_?vendor(?:ed)?/"
    r"|/(?:externals?|third[-_]party)/|/generated/|_pb2(?:_grpc)?\.pyi?$|[._]g(?:enerated)?\.\w+$",
    re.IGNORECASE,
)
"""Files that are kept for others: old ones, copies of other projects, what a program wrote."""
IDLE_FACTOR = 0.75
"""What a definition counts that only hands something out: it seldom says how or why."""
_ACTS = re.compile(
    r"^\s*(?:if|elif|else|for|while|try|except|catch|case|switch|match|raise|throw|yield|with|when"
    r"|async (?:for|with))\b|\bif\b.*\belse\b|\? .* : |\b(?:raise|throw)\b",
    re.MULTILINE,
)
"""What a definition has that decides or repeats something."""
ACCESSOR_FACTOR = 0.4
"""What a definition counts that is one attribute under another name."""
ACCESSOR_LINES = 12
_ACCESSOR = re.compile(
    r"^\s*return (?:\w+\()?(?:self|this)(?:\.\w+)+\)?(?: if .* else \w+)?;?\s*$", re.MULTILINE
)
MAX_ENDING = 3
"""Letters that a name may go on for behind a word of the question: slugify, but not callback."""
_KIND_FACTORS = {"test": 0.45, "doc": 0.6, "side": 0.5, "legacy": 0.6, "instructions": 0.35}
"""What a passage counts in a kind of file that was not asked for."""

_indexes: weakref.WeakKeyDictionary[Corpus, FullTextIndex] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class RankedPassage:
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


class WeightedTerm(NamedTuple):
    """A word of a question as it is looked for, and how much it says."""

    text: str
    """In lower case."""
    name: str
    """What it names, as written; empty where it is no identifier."""
    stems: tuple[str, ...]
    weight: float


class PathFacts(NamedTuple):
    """What the path of a passage says: its words, and what kind of file it is."""

    stems: frozenset[str]
    own: frozenset[str]
    """Those of the file's own name."""
    kind: str


def rank_passages(
    corpus: Corpus, question: str, paths: Sequence[str] | None = None, limit: int = 10
) -> list[RankedPassage]:
    """Return the passages that best fit a question; empty where no word of it occurs.

    Where the index does not hold all documents yet, each passage says so; raises Unavailable
    where it holds none that fits.
    """
    want, asked = _asked_kinds(words.split_question(question))
    if not asked or limit < 1:
        return []
    index = _index_for(corpus)
    coverage = index.update_index(corpus.snapshot, BUILD_S)
    note = "" if coverage.is_complete else _partial_note(coverage)
    counts = _phrase_counts(index, asked)
    sought = _weigh_terms(index, asked, counts)
    found = index.passages_defining([_term_name(term) for term in asked], MAX_CANDIDATES)
    found += index.match_passages(_match_expression(asked, counts), MAX_CANDIDATES)
    for column in ("symbol", "path"):
        if names := _name_expression(index, asked, column):
            found += index.match_passages(names, NAME_CANDIDATES)
    inside = None if paths is None else set(paths)
    near, weight = _compare_meaning(index, question, sought, want, inside)
    if near is not None:
        found += index.passages_at(near.nearest(NEAR_CANDIDATES))
    chosen = {
        (passage.path, passage.start): passage
        for passage in sorted(found, key=lambda passage: passage.score)
        if inside is None or passage.path in inside
    }
    scored = [
        (
            _score_passage(corpus, passage, sought, want)
            + (weight * near.nearness_of(passage.number) if near else 0.0),
            passage,
        )
        for passage in chosen.values()
    ]
    scored = _add_support(scored)
    scored.sort(key=lambda pair: (-pair[0], pair[1].path, pair[1].start))
    if note and not scored:
        raise Unavailable(note)
    if not any(counts.values()):
        note = f"{MEANT_ONLY} {note}".strip()
    return [_to_ranked(corpus, passage, sought, score, note) for score, passage in scored[:limit]]


def find_definitions(corpus: Corpus, names: Sequence[str]) -> list[RankedPassage]:
    """Return the lines that define these names, spelled so, source before tests and documents.

    Each one's note is the name. The index is taken as it is.
    """
    wanted = set(names)
    known = _index_for(corpus).passages_defining(names, MAX_CANDIDATES)
    found = [passage for passage in known if passage.symbol in wanted]
    found.sort(key=lambda one: (bool(_path_facts(one.path).kind), one.path, one.start))
    rows = []
    for passage in found:
        texts = _passage_lines(corpus, passage)
        place = next((n for n, text in enumerate(texts) if passage.symbol in text), 0)
        line = passage.start + place
        text = texts[place][:RANKED_LINE_CHARS]
        rows.append(
            RankedPassage(
                passage.path, line, line, line, text, 0.0, passage.symbol, note=passage.symbol
            )
        )
    return rows


def _compare_meaning(
    index: FullTextIndex,
    question: str,
    sought: Sequence[WeightedTerm],
    want: frozenset[str],
    inside: Collection[str] | None,
) -> tuple[ComparedPassages | None, float]:
    """Return how near in meaning the passages are to a question, and what that counts.

    It counts little where definitions and files bear the names that the question uses, much where
    none does, and nothing where an identifier is written out.
    """
    table = load_word_vectors()
    if table is None or any(term.name for term in sought):
        return None, 0.0
    vectors = index.load_vectors()
    if vectors is None:
        return None, 0.0
    asked = words.meaning_words(question)
    counts = index.count_phrases([f'"{word}"' for word in asked])
    total = max(2, index.passage_count())
    weights = {
        word: math.log(1 + total / (1 + count))
        for word, count in zip(asked, counts, strict=True)
        if count or table.has_word(word)
    }
    if not weights:
        return None, 0.0
    vector = table.embed_weighted(weights)
    named = _named_share(index, sought)

    def factor(path: str) -> float:
        if inside is not None and path not in inside:
            return 0.0
        kind = _path_facts(path).kind
        return 1.0 if kind in want else _KIND_FACTORS.get(kind, 1.0)

    share = NEAR_DOCUMENT_SHARES[0] + named * (NEAR_DOCUMENT_SHARES[1] - NEAR_DOCUMENT_SHARES[0])
    weight = NEAR_WEIGHTS[0] + named * (NEAR_WEIGHTS[1] - NEAR_WEIGHTS[0])
    return vectors.compare_passages(vector, share, factor), weight


def _named_share(index: FullTextIndex, sought: Sequence[WeightedTerm]) -> float:
    """Return the share of a question, by weight, that names of definitions or files hold."""
    stems = list({stem for term in sought for stem in term.stems})
    counts = index.count_phrases([f'{{symbol path}} : "{stem}" *' for stem in stems])
    known = {stem for stem, count in zip(stems, counts, strict=True) if count}
    held = sum(t.weight * len(known.intersection(t.stems)) / len(t.stems) for t in sought)
    return held / (sum(term.weight for term in sought) or 1.0)


def _partial_note(coverage: IndexCoverage) -> str:
    return (
        f"Ranked over {coverage.documents:,} of {coverage.total:,} documents, as far as the index "
        f"came in {BUILD_S:.0f} s; ask again and it goes on from there."
    )


def _term_name(term: QuestionTerm) -> str:
    """Return what a term names: the last part of a dotted one."""
    return term.text.rsplit(".", 1)[-1]


def _phrase_counts(index: FullTextIndex, asked: Sequence[QuestionTerm]) -> dict[str, int]:
    """Return in how many passages each word of the question and each part of one occurs."""
    phrases: dict[str, None] = {}
    for term in asked:
        phrases[_quote_phrase(term.parts)] = None
        if len(term.parts) > 1:
            phrases.update((_quote_phrase([part]), None) for part in term.parts if len(part) > 2)
    return dict(zip(phrases, index.count_phrases(list(phrases)), strict=True))


def _weigh_terms(
    index: FullTextIndex, asked: Sequence[QuestionTerm], counts: dict[str, int]
) -> list[WeightedTerm]:
    """Return the terms with their weights: rare words and written identifiers say more."""
    total = max(2, index.passage_count())
    found = []
    for term in asked:
        rarity = math.log(1 + total / (1 + counts[_quote_phrase(term.parts)])) / math.log(total)
        weight = rarity * (2.0 if term.exact else 1.0)
        stems = tuple(words.cheap_stem(part) for part in term.parts)
        name = _term_name(term) if term.exact else ""
        found.append(WeightedTerm(term.text.lower(), name, stems, weight))
    return found


def _index_for(corpus: Corpus) -> FullTextIndex:
    with _lock:
        index = _indexes.get(corpus)
        if index is None:
            index = _indexes[corpus] = FullTextIndex(corpus)
            weakref.finalize(corpus, index.close)
        return index


def _match_expression(asked: Sequence[QuestionTerm], counts: dict[str, int]) -> str:
    """Return the FTS5 expression: any of the rarer words, or all of the common ones together.

    BM25 looks at every passage that fits, so words and parts of words are taken from the rarest
    on until `PASSAGES` may fit.
    """
    whole = {_quote_phrase(term.parts) for term in asked}
    rare: list[str] = []
    common: list[str] = []
    total = 0
    for phrase, count in sorted(counts.items(), key=lambda item: item[1]):
        total += count
        if total <= BM25_PASSAGES or not rare:
            rare.append(phrase)
        elif phrase in whole:
            common.append(phrase)
    if common:
        rare.append(f"({' AND '.join(common)})")
    return " OR ".join(rare)


def _name_expression(index: FullTextIndex, asked: Sequence[QuestionTerm], column: str) -> str:
    """Return the FTS5 expression of definitions or paths with a word of the question in them.

    A name may go on from the word: slugs are made by slugify. A word of very many names tells
    nothing.
    """
    plain = [term for term in asked if not term.exact] or asked
    some = dict.fromkeys(part for term in plain for part in term.parts if len(part) > 2)
    names = [f'{column} : "{part}" *' for part in some]
    counts = index.count_phrases(names)
    return " OR ".join(
        name for name, count in zip(names, counts, strict=True) if count <= COMMON_NAME_LIMIT
    )


def _quote_phrase(parts: Sequence[str]) -> str:
    return '"' + " ".join(parts) + '"'


def _asked_kinds(asked: Sequence[QuestionTerm]) -> tuple[frozenset[str], list[QuestionTerm]]:
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


def _score_passage(
    corpus: Corpus, passage: IndexedPassage, asked: Sequence[WeightedTerm], want: frozenset[str]
) -> float:
    lines = corpus.line_bytes(passage.path, passage.start, passage.stop)
    text = b"\n".join(lines).decode("utf-8", "replace").lower()
    symbol = {words.cheap_stem(part) for part in words.split_identifier(passage.symbol)}
    path, own, kind = _path_facts(passage.path)
    covered = named = placed = titled = 0.0
    total = sum(word.weight for word in asked)
    spelled = 0.0
    hits = 0
    for word in asked:
        if _has_term(word, text):
            covered += word.weight
        share = word.weight / len(word.stems)
        for stem in word.stems:
            fits = _name_fit(stem, symbol)
            # An identifier that is written out is not asked for by its parts.
            named += share * fits * (0.5 if word.name else 1.0)
            hits += fits > 0
            placed += share * (stem in path)
            titled += share * _name_fit(stem, own)
        if word.name and passage.symbol.lower() == word.name.lower():
            spelled += 1.0 if passage.symbol == word.name else 0.7
    fit = 8 * covered / total + 4 * placed / total + min(passage.score, 60)
    # A name made of the question's words is telling; one that has many others less so.
    size = max(1, len(symbol))
    telling = min(1.0, 2.0 / size + 0.3) * (0.5 + 0.5 * min(1.0, hits / size))
    fit += 11 * named / total * telling + 14 * spelled
    # A file that is called what the question is about is on that subject.
    if not kind or kind in want:
        fit += FILE_NAME_WEIGHT * titled / total * min(1.0, 1.3 / max(1, len(own)) + 0.2)
    if passage.symbol and not kind and not any(word.name for word in asked):
        fit *= _acting_factor(text, len(lines))
    if kind in want:
        return fit * 1.3
    if kind in _KIND_FACTORS and (kind != "side" or not want):
        return fit * _KIND_FACTORS[kind]
    return fit * 0.4 if want else fit


def _acting_factor(text: str, lines: int) -> float:
    """Return what a definition counts: less where it decides and repeats nothing."""
    if lines <= ACCESSOR_LINES and _ACCESSOR.search(text):
        return ACCESSOR_FACTOR
    return 1.0 if _ACTS.search(text) else IDLE_FACTOR


def _add_support(scored: list[tuple[float, IndexedPassage]]) -> list[tuple[float, IndexedPassage]]:
    """Let the best passages of a document speak for each other: a file on a subject has several."""
    best: dict[str, list[float]] = {}
    for score, passage in scored:
        best.setdefault(passage.path, []).append(score)
    for scores in best.values():
        scores.sort(reverse=True)
        del scores[SUPPORTING_PASSAGES + 1 :]
    found = []
    for score, passage in scored:
        others = best[passage.path]
        own = score if score in others else others[-1] if len(others) > SUPPORTING_PASSAGES else 0.0
        found.append((score + 0.08 * (sum(others) - own), passage))
    return found


def _name_fit(stem: str, parts: Collection[str]) -> float:
    """Say how well a word is in a name: as one of its parts, or as the beginning of one."""
    if stem in parts:
        return 1.0
    longest = len(stem) + MAX_ENDING
    goes_on = any(part.startswith(stem) and len(part) <= longest for part in parts)
    return 0.8 if len(stem) > 3 and goes_on else 0.0


def _has_term(word: WeightedTerm, text: str) -> bool:
    """Say whether a text in lower case has a word, in one piece or all of its parts."""
    return word.text in text or all(stem in text for stem in word.stems)


@lru_cache(1 << 14)
def _path_facts(path: str) -> PathFacts:
    folder, _, name = path.rpartition("/")
    name = name.partition(".")[0] or name
    if name in ("__init__", "index", "mod", "lib", "main"):
        name = folder.rpartition("/")[2]
    stems = frozenset(words.cheap_stem(part) for part in words.split_identifier(path))
    own = frozenset(words.cheap_stem(part) for part in words.split_identifier(name))
    return PathFacts(stems, own, _path_kind(path))


def _path_kind(path: str) -> str:
    """Return what kind of file a path is of that is seldom asked for; nothing for source."""
    rooted = f"/{path}"
    if _INSTRUCTIONS.search(rooted):
        return "instructions"
    if is_test_path(path):
        return "test"
    if is_doc_path(path):
        return "doc"
    if is_build_output(path) or _SIDE_FOLDERS.search(rooted):
        return "side"
    return "legacy" if _LEGACY.search(rooted) else ""


def _passage_lines(corpus: Corpus, passage: IndexedPassage) -> list[str]:
    raw = corpus.line_bytes(passage.path, passage.start, passage.stop)
    return [line.decode("utf-8", "replace") for line in raw]


def _to_ranked(
    corpus: Corpus, passage: IndexedPassage, asked: Sequence[WeightedTerm], score: float, note: str
) -> RankedPassage:
    lines = _passage_lines(corpus, passage)
    best, place = -1.0, 0
    for number, line in enumerate(lines):
        lower = line.lower()
        fit = sum(word.weight for word in asked if _has_term(word, lower))
        fit += 0.3 if number == 0 and passage.symbol else 0.0
        if fit > best and line.strip():
            best, place = fit, number
    text = lines[place] if lines else ""
    return RankedPassage(
        path=passage.path,
        start=passage.start,
        end=passage.stop,
        line=passage.start + place,
        text=text[:RANKED_LINE_CHARS],
        score=round(score, 3),
        symbol=passage.symbol,
        cut=len(text) > RANKED_LINE_CHARS,
        note=note,
    )
