"""Split text into the words that ranking compares: identifiers by case and underscore."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

import numpy as np

STOP = frozenset(
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

_TERM = re.compile(r"[^\W_](?:[\w.$]*[^\W_])?|[^\W_]", re.UNICODE)
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\dA-Za-z_]+", re.UNICODE)


class Term(NamedTuple):
    """A word of a question; `parts` are lower-case, `exact` marks an identifier as written."""

    text: str
    parts: tuple[str, ...]
    exact: bool


@lru_cache(1 << 16)
def parts(word: str) -> tuple[str, ...]:
    """Return the lower-case parts of an identifier: getUserName, get_user_name → get user name."""
    return tuple(part.lower() for part in _PART.findall(word))


def terms(question: str) -> list[Term]:
    """Return the telling words of a question, identifiers first; at least the longest word."""
    found: dict[str, Term] = {}
    quoted = set(re.findall(r"[`'\"]([\w.$]{2,})[`'\"(]", question))
    every = []
    for match in _TERM.finditer(question[:4_000]):
        word = match.group().strip(".$")
        split = parts(word)
        if not split:
            continue
        inner = word[1:] != word[1:].lower() and not word.isupper()
        exact = word in quoted or "_" in word or inner or "." in word
        exact = exact or question[match.end() : match.end() + 1] == "("
        term = Term(word, split, exact)
        every.append(term)
        if exact or (word.lower() not in STOP and len(word) > 1):
            found.setdefault(word.lower(), term)
    if not found and every:
        longest = max(every, key=lambda term: len(term.text))
        found[longest.text.lower()] = longest
    return sorted(found.values(), key=lambda term: not term.exact)[:24]


def separate(data: bytes) -> bytes:
    """Return text with a space put where an identifier changes case (loadFile → load File)."""
    array = np.frombuffer(data, np.uint8)
    if len(array) < 2:
        return data
    upper = (array >= 65) & (array <= 90)
    lower = ((array >= 97) & (array <= 122)) | ((array >= 48) & (array <= 57))
    places = np.flatnonzero(lower[:-1] & upper[1:]) + 1
    if len(array) > 2:
        tail = np.flatnonzero(upper[:-2] & upper[1:-1] & lower[2:]) + 1
        places = np.union1d(places, tail)
    return np.insert(array, places, 32).tobytes() if len(places) else data


@lru_cache(1 << 16)
def stem(word: str) -> str:
    """Return a word without its commonest endings, as a cheap stand-in for Porter's stem."""
    for ending in ("ings", "ing", "ies", "ied", "es", "ed", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
