"""Find the lines of a document before which it may be cut, and how good each cut is.

Everything is computed for all lines at once from the positions of the newlines and the first
bytes of each line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.outline import fences
from rlm_mcp.corpus.snapshot import Snapshot

Numbers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

WIDTH = 16
"""Bytes of a line that are looked at: its indentation and its first word."""
TAB = 4
_SPACE, _TAB, _NEWLINE = 32, 9, 10


def _among(chars: bytes) -> npt.NDArray[np.bool_]:
    table = np.zeros(256, bool)
    table[list(chars)] = True
    return table


_NO_BORDER = _among(b")}]>,;:{\n\r")
_ATTACHED = _among(b"@#/*")
"""First characters of lines that belong to what follows: decorators and comments."""
_BLANK = _among(b" \t\n\r")
_OPENERS = np.array([int.from_bytes(w, "little") for w in (b"def ", b"clas", b"asyn", b"func")])
_OPENING = _among(b"dcaf")
_UNDERLINES = b"=-~^\"'*+#"
_RULES = _among(_UNDERLINES)
_LEVELS = np.array([_UNDERLINES.find(char) + 1 for char in range(256)])
_QUOTES = (b'"""', b"'''")
_PARAGRAPH = 50


@dataclass(frozen=True, slots=True)
class Borders:
    """Lines (from 0, ascending) that may begin a part, each with a depth: less is better."""

    lines: list[int]
    depths: list[int]


def line_starts(snapshot: Snapshot, place: int) -> Numbers:
    """Return where each line of a document starts, and behind them where the document ends."""
    row = snapshot.rows[place]
    first, count = int(row["first"]), int(row["lines"])
    starts = np.empty(count + 1, np.int64)
    starts[0] = row["offset"]
    starts[1:] = snapshot.ends[first : first + count]
    starts[1:] += 1
    return starts


def best(borders: Borders, after: int, until: int) -> int:
    """Return the best border in (after, until]: the last of the least deep; 0 for none."""
    low, high = bisect_right(borders.lines, after), bisect_right(borders.lines, until)
    if low == high:
        return 0
    # Lists: a call of numpy costs more than the few borders of a part.
    depths = borders.depths[low:high]
    depths.reverse()
    return borders.lines[high - 1 - depths.index(min(depths))]


def definitions(snapshot: Snapshot, starts: Numbers) -> Borders:
    """Return where definitions and statements begin, by their indentation.

    A border is a line that follows an empty one or a closing bracket of the same depth, or that
    opens a definition; decorators and comments above it go with it. A comment counts as deep as
    the code behind it, and what is inside a long string is no border.
    """
    heads, depths, firsts, empty = _layout(snapshot, starts)
    fresh = np.zeros(len(firsts), bool)
    fresh[1:] = empty[:-1]
    fresh[1:] |= (firsts[:-1] == ord("}")) & (depths[1:] == depths[:-1])
    maybe = np.flatnonzero(_OPENING[firsts] & (depths <= 8))
    fresh[maybe] |= _opens(heads[maybe])
    fresh &= ~_NO_BORDER[firsts]
    # A line under a decorator or a comment is no border; the first of those is.
    attached = _ATTACHED[firsts]
    fresh |= attached
    depths = depths - ((firsts == ord("*")) & (depths > 0))  # one deeper than its /*
    noted = attached & (firsts != ord("@"))
    notes, below = _notes(noted, noted | empty)
    depths[notes] = np.maximum(depths[notes], depths[below])
    fresh[notes[firsts[below] == ord("{")]] = False  # between a head and its body
    fresh[1:] &= ~(attached[:-1] & (depths[1:] == depths[:-1]))
    fresh[_decorated(depths, firsts, empty)] = False
    fresh &= ~_quoted(snapshot, starts, firsts)
    lines = np.flatnonzero(fresh)
    return Borders(lines.tolist(), depths[lines].tolist())


def _notes(noted: npt.NDArray[np.bool_], apart: npt.NDArray[np.bool_]) -> tuple[Numbers, Numbers]:
    """Return the lines of comments and directives, and the line of code behind each of them."""
    code, notes = np.flatnonzero(~apart), np.flatnonzero(noted)
    follows = code.searchsorted(notes)
    here = follows < len(code)
    return notes[here], code[follows[here]]


def _decorated(
    depths: Numbers, firsts: npt.NDArray[np.uint8], empty: npt.NDArray[np.bool_]
) -> list[int]:
    """Return the lines that stand under a decorator of several lines."""
    found = []
    for line in np.flatnonzero(firsts == ord("@")).tolist():
        below = line + 1
        while below < len(firsts) and (
            empty[below] or depths[below] > depths[line] or _NO_BORDER[firsts[below]]
        ):
            below += 1
        if line + 1 < below < len(firsts) and depths[below] == depths[line]:
            found.append(below)
    return found


def _quoted(
    snapshot: Snapshot, starts: Numbers, firsts: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """Return which lines begin inside a string of three quotes; none where quotes do not pair."""
    inside = np.zeros(len(firsts), bool)
    begin, end = int(starts[0]), int(starts[-1])
    data = bytes(snapshot.buffer[begin:end])
    marks = sorted((place, quote) for quote in _QUOTES for place in _places(data, quote))
    lines = (starts.searchsorted([place + begin for place, _ in marks], "right") - 1).tolist()
    opened, at = b"", 0
    spans: list[tuple[int, int]] = []
    for (_, quote), line in zip(marks, lines, strict=True):
        if quote == opened:
            spans.append((at + 1, line + 1))
            opened = b""
        elif not opened and firsts[line] != ord("#"):
            opened, at = quote, line
    for first, last in spans if not opened else ():
        inside[first:last] = True
    return inside


def headings(snapshot: Snapshot, starts: Numbers, *, markdown: bool) -> Borders:
    """Return where sections begin, by the level of their heading, then paragraphs.

    In Markdown, what is fenced has neither, and only `=` and `-` underline a heading.
    """
    heads, _, firsts, empty = _layout(snapshot, starts)
    depths = np.full(len(firsts), _PARAGRAPH + 1, np.int64)
    depths[1:][empty[:-1] & ~empty[1:]] = _PARAGRAPH
    sharps = np.flatnonzero(heads[:, 0] == ord("#"))
    marks = (heads[sharps, :8] != ord("#")).argmax(axis=1)
    sharps, marks = sharps[(marks > 0) & (marks < 7)], marks[(marks > 0) & (marks < 7)]
    spaced = _BLANK[heads[sharps, marks]]
    depths[sharps[spaced]] = marks[spaced]
    rules = _RULES & (_LEVELS[ord("-")] >= _LEVELS) if markdown else _RULES
    ruled = np.flatnonzero(rules[heads[:, 0]] & (heads[:, 1] == heads[:, 0]))
    ruled = ruled[(ruled > 0) & (heads[ruled, 2] == heads[ruled, 0])]
    lines = np.zeros(len(empty), bool)
    lines[ruled] = True
    under = ruled[~lines[ruled - 1] & ~empty[ruled - 1]] - 1
    levels = _LEVELS[heads[under + 1, 0]]
    if not markdown:
        # An overline belongs to its heading too.
        under -= lines[np.maximum(under - 1, 0)] & (under > 0)
    depths[under] = levels
    if markdown:
        depths[_fenced(snapshot, starts, firsts)] = _PARAGRAPH + 1
        if b"".join(heads[:1]).rstrip() == b"---" and len(ruled):
            depths[: int(ruled[0])] = _PARAGRAPH + 1  # front matter
    lines = np.flatnonzero(depths <= _PARAGRAPH)
    return Borders(lines.tolist(), depths[lines].tolist())


def _fenced(
    snapshot: Snapshot, starts: Numbers, firsts: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """Return which lines stand behind the first line of a fence, up to its last one."""
    inside = np.zeros(len(firsts), bool)
    begin, end = int(starts[0]), int(starts[-1])
    edges = fences(bytes(snapshot.buffer[begin:end]))
    lines = starts.searchsorted(np.array(edges, np.int64) + begin, "right") - 1
    for first, last in zip(lines[::2], [*lines[1::2], len(firsts) - 1], strict=False):
        inside[first + 1 : last + 1] = True
    return inside


def _places(data: bytes, word: bytes) -> Iterator[int]:
    place = data.find(word)
    while place >= 0:
        yield place
        place = data.find(word, place + len(word))


def _layout(
    snapshot: Snapshot, starts: Numbers
) -> tuple[Bytes, Numbers, npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return of each line: its first bytes, its depth, its first character, whether it is empty."""
    begin, end = int(starts[0]), int(starts[-1])
    text = np.frombuffer(snapshot.buffer, np.uint8)[begin:end]
    padded = np.concatenate((text, np.full(WIDTH, _NEWLINE, np.uint8)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WIDTH)
    heads = windows[starts[:-1] - begin]
    blank = (heads == _SPACE) | (heads == _TAB)
    indents = blank.argmin(axis=1)
    indents[blank.all(axis=1)] = WIDTH - 1
    depths = indents.copy()
    tabbed = np.flatnonzero(heads[:, 0] == _TAB)
    if len(tabbed):
        leading = np.arange(WIDTH) < indents[tabbed, None]
        depths[tabbed] += (TAB - 1) * (leading & (heads[tabbed] == _TAB)).sum(axis=1)
    firsts = heads[np.arange(len(heads)), indents]
    empty = (firsts == _NEWLINE) | (firsts == 13)
    return heads, depths, firsts, empty


def _opens(heads: Bytes) -> npt.NDArray[np.bool_]:
    """Whether a line begins with a word that opens a definition, behind few blanks or tabs."""
    found = np.zeros(len(heads), bool)
    for indent in (0, 1, 2, 4, 8):
        word = np.ascontiguousarray(heads[:, indent : indent + 4]).view("<u4")[:, 0]
        right = (word[:, None] == _OPENERS).any(axis=1)
        if indent:
            right &= (heads[:, indent - 1] == _SPACE) | (heads[:, indent - 1] == _TAB)
        found |= right
    return found
