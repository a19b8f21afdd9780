"""Take secrets out of many texts at the pace of an index.

`redact` looks for each beginning of a secret in turn, which is fine for a reply and slow for a
transcript. Here one pass over a batch says which texts hold a beginning at all, and in a large
text only the windows behind beginnings are redacted: every form of secret is bounded, so the
outcome is the same.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from rlm_mcp.redact import RULES, redact

LARGE = 8_192
BEFORE = 64
"""Bytes before a beginning that a form may look at."""
REACH = 32_000
"""More bytes than the longest form of secret."""


@cache
def _finder() -> Callable[[bytes], Iterator[int]]:
    from rlm_mcp.corpus.starts import finder

    return finder({rule.sign for rule in RULES})


def suspects(texts: Sequence[bytes]) -> set[int]:
    """Return which of the texts may hold a secret."""
    ends, size = [], 0
    for text in texts:
        size += len(text) + 1
        ends.append(size)
    found = set()
    for place in _finder()(b"\n".join(texts)):
        found.add(bisect.bisect_right(ends, place))
    return found


def clean(text: bytes) -> bytes:
    """Return `redact` of an UTF-8 text."""
    if len(text) <= LARGE:
        return _redacted(text)
    parts, done = [], 0
    for start, end in _windows(text):
        parts += [text[done:start], _redacted(text[start:end])]
        done = end
    return b"".join([*parts, text[done:]])


def _redacted(text: bytes) -> bytes:
    return redact(text.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")


def _windows(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield spans that hold every secret whole; none cuts a character."""
    start = end = -1
    for place in _finder()(text):
        low, high = _border(text, max(0, place - BEFORE)), _border(text, place + REACH)
        if start >= 0 and low <= end:
            end = high
            continue
        if start >= 0:
            yield start, end
        start, end = low, high
    if start >= 0:
        yield start, end


def _border(text: bytes, place: int) -> int:
    """Return the first border of a character at or behind `place`."""
    while place < len(text) and text[place] & 0xC0 == 0x80:
        place += 1
    return min(place, len(text))
