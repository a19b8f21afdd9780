"""Split a document into passages on definition borders, as words that a full-text index takes.

A passage is what ranking compares: a definition, or a window of lines where there is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus import words
from rlm_mcp.corpus.outline import Mark, marks

WINDOW = 40
"""Lines of a passage that has no definitions in it."""
LONGEST = 80
"""Lines of the longest passage."""
SHORTEST = 2
"""A definition shorter than this joins the one before it."""
SMALL = frozenset({"const", "let", "var", "define", "type"})
"""Definitions that are no passage of their own when they take one line."""

_NEWLINE = 10


class Piece(NamedTuple):
    """Lines `start` to `stop` (from 1); `symbol` is what they define, `text` their words."""

    start: int
    stop: int
    symbol: str
    text: bytes


def split(path: str, data: bytes) -> Iterator[Piece]:
    """Give the passages of a document, in order; each line is in one of them."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1
    if data and not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    found = marks(path, data)
    begins = (ends.searchsorted([mark.offset for mark in found], "right") + 1).tolist()
    spans = list(_spans(_borders(found, begins), len(ends)))
    if not spans:
        return
    text, places = words.separate(data)
    stops = ends[[stop - 1 for _, stop, _ in spans]]
    edges = _moved(stops, places).tolist()
    edge = 0
    for (start, stop, symbol), end in zip(spans, edges, strict=True):
        yield Piece(start, stop, symbol, text[edge:end])
        edge = end


def _moved(offsets: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return where places of a text are once spaces were put into it."""
    return offsets + places.searchsorted(offsets)


def _spans(borders: list[tuple[int, str]], count: int) -> Iterator[tuple[int, int, str]]:
    """Give (first line, last line, symbol) between the borders, none longer than it may be."""
    stops = [line - 1 for line, _ in borders[1:]] + [count]
    for (start, name), stop in zip(borders, stops, strict=True):
        size = LONGEST if name else WINDOW
        for first in range(start, stop + 1, size):
            yield first, min(stop, first + size - 1), name if first == start else ""


def _borders(found: list[Mark], begins: list[int]) -> list[tuple[int, str]]:
    """Return the lines at which passages start, with what they define."""
    borders: list[tuple[int, str]] = [(1, "")]
    for place, (mark, line) in enumerate(zip(found, begins, strict=True)):
        if mark.kind in SMALL and _is_short(found, begins, place):
            continue
        if line - borders[-1][0] < SHORTEST and borders[-1][1]:
            continue
        if line == borders[-1][0]:
            borders[-1] = (line, mark.name)
        else:
            borders.append((line, mark.name))
    return borders


def _is_short(found: list[Mark], begins: list[int], place: int) -> bool:
    """Say whether another definition, not inside this one, follows on the next line."""
    below = place + 1
    if below == len(found):
        return False
    return found[below].level <= found[place].level and begins[below] <= begins[place] + 1
