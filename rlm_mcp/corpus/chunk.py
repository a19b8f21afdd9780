"""Split documents on natural borders: definitions, headings, lines.

The parts of a scope cover it exactly once, in order. A part holds whole lines; it is larger than
asked only where a single line is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.corpus import tokens as estimates
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.corpus.pack import Corpus

KINDS = ("auto", "symbols", "headings", "lines", "tokens")


class Part(NamedTuple):
    """Lines `start` to `end` (from 1, both included) of a document."""

    path: str
    start: int
    end: int
    tokens: int
    title: str


def chunk(
    corpus: Corpus,
    paths: Sequence[str] | None = None,
    by: str = "auto",
    tokens: int = 4000,
    kind: str = "code",
) -> list[Part]:
    """Return the parts of some documents (None: all), each of at most about `tokens` tokens.

    `by`: auto (definitions in code, headings in prose), symbols, headings, lines (`tokens` is
    then the number of lines), tokens (any line border). Raises BadRequest for another word.
    """
    if by not in KINDS:
        raise BadRequest(f"Unknown way to chunk {by!r}; use one of {', '.join(KINDS)}.")
    if tokens < 1:
        raise BadRequest(f"A chunk needs at least 1 token, got {tokens}.")
    parts: list[Part] = []
    for path in corpus.paths() if paths is None else paths:
        parts.extend(_document(corpus, path, by, tokens, kind))
    return parts


def _document(corpus: Corpus, path: str, by: str, tokens: int, kind: str) -> Iterator[Part]:
    lines = corpus.line_bytes(path, 1, corpus.line_count(path))
    start, size = 1, 0
    for number, line in enumerate(lines, 1):
        cost = 1 if by == "lines" else len(line) + 1
        full = (
            size + cost > tokens
            if by == "lines"
            else estimates.estimate(size + cost, kind) > tokens
        )
        if size and full:
            yield _part(path, lines, start, number - 1, kind)
            start, size = number, 0
        size += cost
    if size:
        yield _part(path, lines, start, len(lines), kind)


def _part(path: str, lines: Sequence[bytes], start: int, end: int, kind: str) -> Part:
    size = sum(len(line) + 1 for line in lines[start - 1 : end])
    title = next((line.strip() for line in lines[start - 1 : end] if line.strip()), b"")
    return Part(
        path, start, end, estimates.estimate(size, kind), title[:80].decode("utf-8", "replace")
    )
