"""Words and sentences of transcripts: cutting, anchors, and how far one text holds another."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r"^\s*>.*$", re.MULTILINE)
_END = re.compile(
    r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[`A-Z0-9\u4e00-\u9fff])|(?<=[\u3002\uff01\uff1f])|\n+"
)
_STRONG = re.compile(
    r"`([^`\n]+)`"
    r"|((?:[\w.-]*/)+[\w.-]*\w|(?<![\w/])[\w.-]*\w/(?![\w/])|(?<![\w/])\.?[\w-]*\w\.[A-Za-z]{1,5}(?![\w])|(?<!\w)\.[a-z]{2,8}\b)"
    r"|\b([A-Z][A-Z0-9]*_[A-Z0-9_]+|[a-z0-9]+_[a-z0-9_]+|\w+\(\))"
    r"|(?<![\w.])(\d+(?:\.\d+)?)(?![\w]|\.\d)"
)
_NEGATED = re.compile(r"\bnot\s+(`[^`]+`|[\w./-]+)", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z\u00c0-\u024f][\w\u00c0-\u024f']*|[\u4e00-\u9fff]{2}|\d+")
_COMMON = frozenset(
    [
        "a", "about", "after", "again", "all", "also", "always", "an", "and", "any", "are", "as",
        "at", "be", "because", "been", "before", "but", "by", "can", "change", "could", "did",
        "do", "doc", "does", "don't", "done", "each", "ever", "every", "for", "from", "get", "go",
        "had", "has", "have", "here", "how", "i", "i'll", "if", "in", "instead", "into", "is",
        "it", "it's", "its", "just", "keep", "let", "let's", "make", "me", "more", "must", "my",
        "never", "no", "not", "now", "of", "off", "ok", "on", "one", "only", "or", "our", "out",
        "please", "rule", "said", "say", "says", "see", "should", "so", "some", "stop", "than",
        "that", "the", "them", "then", "there", "these", "they", "this", "those", "to", "too",
        "up", "use", "used", "using", "was", "way", "we", "we'll", "we're", "well", "were", "what",
        "when", "where", "which", "while", "who", "why", "will", "with", "work", "would", "you",
        "your", "idea", "plan", "thing", "that's", "i've", "i'm",
    ]
)  # fmt: skip


def split_sentences(text: str) -> Iterator[str]:
    """Yield a text's sentences, each verbatim, without code blocks and quoted lines."""
    kept, last = [], 0
    for match in _FENCE.finditer(text):
        kept.append(text[last : match.start()])
        last = match.end()
    kept.append(text[last:])
    for part in kept:
        for piece in _END.split(_QUOTED.sub("", part)):
            if piece and (sentence := piece.strip()):
                yield sentence


def find_anchors(text: str) -> set[str]:
    """Return the anchors of a text that must survive: code, paths, names, numbers."""
    negated = {match[1].strip("`") for match in _NEGATED.finditer(text)}
    found = {next(filter(None, match.groups())) for match in _STRONG.finditer(text)}
    return {item.rstrip(".,;:") for item in found} - negated


def meaning_words(text: str) -> set[str]:
    """Return the words of a text that carry its meaning, roughly stemmed."""
    return {
        stem_word(word)
        for word in (found.lower() for found in _WORD.findall(text.replace("_", " ")))
        if word not in _COMMON and (len(word) > 2 or word.isdigit())
    }


def stem_word(word: str) -> str:
    """Return a word without its usual English endings."""
    for ending in ("'s", "ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiousl":
        word = word[:-1]  # capp(ing) -> cap
    return word


def holds_anchor(text: str, anchor: str) -> bool:
    """Say whether a text has an anchor: a path also by its name, a number not inside another."""
    plain = anchor.strip("`")
    if plain[:1].isdigit() and plain.replace(".", "").isdigit():
        return re.search(rf"(?<![\w.]){re.escape(plain)}(?![\w]|\.\d)", text) is not None
    if plain in text:
        return True
    name = plain.rpartition("/")[2]
    return "/" in plain and "." in name and name in text


def keeps_statement(statement: str, text: str) -> bool:
    """Say whether `text` still holds what `statement` says, as far as words can tell."""
    anchors = find_anchors(statement)
    if anchors:
        return sum(holds_anchor(text, anchor) for anchor in anchors) * 2 > len(anchors)
    meant = meaning_words(statement)
    return not meant or len(meant & meaning_words(text)) * 2 > len(meant)
