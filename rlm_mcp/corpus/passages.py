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


class Pieces(NamedTuple):
    """The passages of a document, in order; each line is in one of them."""

    starts: list[int]
    """The first line of each, from 1, and behind them the line after the last."""
    symbols: list[str]
    """What each defines, if anything."""
    edges: npt.NDArray[np.int64]
    """Where each ends in the text."""
    text: bytes
    """The words of the document."""


def split(path: str, data: bytes) -> Pieces:
    """Return the passages of a document."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1
    if data and not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    found = marks(path, data)
    begins = (ends.searchsorted([mark.offset for mark in found], "right") + 1).tolist()
    spans = list(_spans(_borders(found, begins), len(ends)))
    if not spans:
        return Pieces([1], [], np.zeros(1, np.int64), b"")
    text, places = words.separate(data)
    starts, symbols = [start for start, _ in spans], [symbol for _, symbol in spans]
    starts.append(len(ends) + 1)
    stops = ends[np.array(starts[1:]) - 2]
    return Pieces(starts, symbols, _moved(stops, places), text)


def _moved(offsets: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return where places of a text are once spaces were put into it."""
    return offsets + places.searchsorted(offsets)


def _spans(borders: list[tuple[int, str]], count: int) -> Iterator[tuple[int, str]]:
    """Give (first line, symbol) of what lies between the borders, cut where it is too long."""
    stops = [line - 1 for line, _ in borders[1:]] + [count]
    for (start, name), stop in zip(borders, stops, strict=True):
        size = LONGEST if name else WINDOW
        for first in range(start, stop + 1, size):
            yield first, name if first == start else ""


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
