"""Split text into the words that ranking compares: identifiers by case and underscore."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

STOP_WORDS = frozenset(
    {
        "a", "about", "above", "after", "all", "an", "and", "any", "are", "as", "at", "be",
        "because", "been", "before", "being", "between", "both", "but", "by", "can", "could",
        "did", "do", "does", "doing", "done", "explain", "find", "for", "from", "give", "had",
        "has", "have", "he", "her", "here", "his", "how", "i", "if", "in", "into", "is", "it",
        "its", "just", "list", "me", "my", "no", "not", "of", "on", "one", "only", "or", "other",
        "our", "out", "over", "own", "please", "show", "should", "so", "some", "such", "tell",
        "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those",
        "through", "to", "too", "up", "us", "used", "using", "via", "was", "we", "were", "what",
        "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with", "would",
        "you", "your", "file", "files", "code", "function", "functions", "class", "classes",
        "method", "methods", "module", "line", "lines", "defined", "define", "defines",
        "definition", "implemented", "implement", "implements", "implementation", "declared",
        "declare", "located", "location", "exactly", "name", "named", "called", "call", "calls",
        "work", "works", "happen", "happens", "decide", "decides", "decided", "way", "repo",
        "repository", "project",
    }
)  # fmt: skip
"""Words of a question that say nothing about the place it asks for."""

_VERBS = frozenset({"call", "calls", "decide", "decides", "decided"})
"""Of these, what a question without an identifier may be about: what calls the model."""
_FRAME = re.compile(
    r"\b(?:(?:which|what) (?:parts?|places?|pieces?|bits?|sections?) of (?:the |this )?"
    r"(?:code(?:base)?|source|project|package|library|program|repository|repo)?\b"
    r"|in which (?:files?|modules?|places?)\b|what happens (?:when|if|to|after|before)\b)",
    re.IGNORECASE,
)
"""How a question begins that says nothing about its subject."""
_TERM = re.compile(r"[^\W_](?:[\w.$]*[^\W_])?|[^\W_]", re.UNICODE)
_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_CASE_CHANGE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_OUTSIDE, _UPPER, _LOWER, _DIGIT, _BEYOND = range(5)
_SPACE = 32
_BYTE_KINDS = bytes(
    _BEYOND if code > 127
    else _UPPER if chr(code).isupper()
    else _LOWER if chr(code).islower()
    else _DIGIT if chr(code).isdigit()
    else _OUTSIDE
    for code in range(256)
)  # fmt: skip
"""What each byte is in an identifier."""


class QuestionTerm(NamedTuple):
    """A word of a question; `parts` are lower-case, `exact` marks an identifier as written."""

    text: str
    parts: tuple[str, ...]
    exact: bool


@lru_cache(1 << 16)
def split_identifier(word: str) -> tuple[str, ...]:
    """Return the lower-case parts of an identifier: getUserName, get_user_name → get user name.

    Parts of one character are left out where there are others, as `separate` does.
    """
    found = _WORD.findall(_CASE_CHANGE.sub(" ", word).lower())
    return tuple([part for part in found if len(part) > 1 or part > "\x7f"] or found)


def split_question(question: str) -> list[QuestionTerm]:
    """Return the telling words of a question, identifiers first; at least the longest word."""
    found: dict[str, QuestionTerm] = {}
    question = _FRAME.sub(" ", question[:4_000])
    quoted = set(re.findall(r"[`'\"]([\w.$]{2,})[`'\"(]", question))
    every = []
    for match in _TERM.finditer(question):
        word = match.group().strip(".$")
        split = split_identifier(word)
        if not split:
            continue
        inner = word[1:] != word[1:].lower() and not word.isupper()
        exact = word in quoted or "_" in word or inner or "." in word
        exact = exact or question[match.end() : match.end() + 1] == "("
        term = QuestionTerm(word, split, exact)
        every.append(term)
        if exact or (word.lower() not in STOP_WORDS and len(word) > 1):
            found.setdefault(word.lower(), term)
    if len(found) < 3 and not any(term.exact for term in found.values()):
        verbs = (term for term in every if term.text.lower() in _VERBS)
        found.update((term.text.lower(), term) for term in verbs)
    if not found and every:
        longest = max(every, key=lambda term: len(term.text))
        found[longest.text.lower()] = longest
    return sorted(found.values(), key=lambda term: not term.exact)[:24]


def meaning_words(question: str) -> list[str]:
    """Return the words of a question, in lower case, whose meaning counts; verbs are of them."""
    found = re.findall(r"[a-z]{2,24}", _FRAME.sub(" ", question[:4_000]).lower())
    return [word for word in dict.fromkeys(found) if word not in STOP_WORDS or word in _VERBS]


class SeparatedText(NamedTuple):
    """A text whose identifiers are split; `places` are the bytes before which a space was put."""

    text: bytes
    places: npt.NDArray[np.int64]


def separate_identifiers(data: bytes) -> SeparatedText:
    """Put a space where an identifier changes case, and one over each word of one character.

    loadFile becomes load File, HTTPServer HTTP Server; SHA256 stays. A single letter or digit
    says nothing about a place and is a sixth of all words of code.
    """
    size = len(data)
    kinds = np.zeros(size + 2, np.uint8)
    kinds[1:-1] = np.frombuffer(data.translate(_BYTE_KINDS), np.uint8)
    before, here, after = slice(None, -2), slice(1, -1), slice(2, None)
    word, upper, small = kinds != _OUTSIDE, kinds == _UPPER, kinds == _LOWER
    turns = (small | (kinds == _DIGIT))[before]
    turns |= upper[before] & small[after]
    turns &= upper[here]
    begins = np.ones(size + 1, bool)
    begins[:-1] = word[here] & (turns | ~word[before])
    alone = begins[:-1] & (begins[1:] | ~word[after]) & (kinds[here] != _BEYOND)
    text = np.frombuffer(data, np.uint8).copy()
    text[alone] = _SPACE
    places = np.flatnonzero(turns)
    return SeparatedText(np.insert(text, places, _SPACE).tobytes(), places)


_ENDINGS = tuple(
    sorted(
        (
            "izations", "ization", "izers", "izer", "izing", "ized", "izes", "ize", "isations",
            "isation", "isers", "iser", "ising", "ised", "ises", "ise", "ifications", "ification",
            "ifiers", "ifier", "ifying", "ified", "ifies", "ify", "ations", "ation", "ators",
            "ator", "ating", "ated", "ates", "ate", "ions", "ion", "ors", "or", "ers", "er",
            "ings", "ing", "ies", "ied", "ives", "ive", "ments", "ment", "ables", "able", "ally",
            "ly", "es", "ed", "s", "e", "y",
        ),
        key=len,
        reverse=True,
    )
)  # fmt: skip
"""Endings that make one word of another, the longest first."""
MIN_STEM = 4


@lru_cache(1 << 16)
def cheap_stem(word: str) -> str:
    """Return the beginning that related words share: quanti of quantize is that of quantization.

    Endings of derivation go only where enough is left; those of a plural or a verb go first of
    all from short words, so that files and file meet, and so do uses and use.
    """
    for ending in _ENDINGS:
        if word.endswith(ending):
            least = 3 if ending in ("ings", "ing", "ies", "ied", "es", "ed", "s", "e") else MIN_STEM
            if len(word) - len(ending) >= least:
                return _undouble(word[: -len(ending)])
    return word


def _undouble(stem: str) -> str:
    """Return a stem without the consonant that an ending doubled: run of runn."""
    doubled = len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "aeiouls"
    return stem[:-1] if doubled else stem
