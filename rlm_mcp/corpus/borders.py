"""Find the lines of a document before which it may be cut, and how good each cut is.

Everything is computed for all lines at once from the positions of the newlines and the first
bytes of each line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
_OPENERS = np.array([int.from_bytes(w, "little") for w in (b"def ", b"clas", b"asyn", b"func")])
_OPENING = _among(b"dcaf")
_UNDERLINES = b"=-~^\"'*+#"
_PARAGRAPH = 50


@dataclass(frozen=True, slots=True)
class Borders:
    """Lines (from 0, ascending) that may begin a part, each with a depth: less is better."""

    lines: Numbers
    depths: Numbers


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
    low = int(borders.lines.searchsorted(after, "right"))
    high = int(borders.lines.searchsorted(until, "right"))
    if low == high:
        return 0
    depths = borders.depths[low:high]
    last = high - 1 - int(np.argmax(depths[::-1] == depths.min()))
    return int(borders.lines[last])


def definitions(snapshot: Snapshot, starts: Numbers) -> Borders:
    """Return where definitions and statements begin, by their indentation.

    A border is a line that follows an empty one or a closing bracket of the same depth, or that
    opens a definition; decorators and comments above it go with it.
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
    fresh[1:] &= ~(attached[:-1] & (depths[1:] == depths[:-1]))
    lines = np.flatnonzero(fresh)
    return Borders(lines, depths[lines])


def headings(snapshot: Snapshot, starts: Numbers) -> Borders:
    """Return where sections begin, by the level of their heading, then paragraphs."""
    heads, _, firsts, empty = _layout(snapshot, starts)
    depths = np.full(len(firsts), _PARAGRAPH + 1, np.int64)
    depths[1:][empty[:-1] & ~empty[1:]] = _PARAGRAPH
    marks = (heads[:, :7] == ord("#")).astype(np.int64).cumprod(axis=1).sum(axis=1)
    sharp = (marks > 0) & (marks < 7)
    sharp &= heads[np.arange(len(heads)), np.minimum(marks, 6)] == _SPACE
    depths[sharp] = marks[sharp]
    for level, char in enumerate(_UNDERLINES, 1):
        line = (heads[:, :3] == char).all(axis=1)
        under = np.flatnonzero(line[1:] & ~line[:-1] & ~empty[:-1])
        # An overline belongs to its heading too.
        under -= line[np.maximum(under - 1, 0)] & (under > 0)
        depths[under] = level
    lines = np.flatnonzero(depths <= _PARAGRAPH)
    return Borders(lines, depths[lines])


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
    leading = blank.cumprod(axis=1, dtype=np.uint8).astype(bool)
    indents = leading.sum(axis=1)
    depths = indents + (TAB - 1) * (leading & (heads == _TAB)).sum(axis=1)
    firsts = heads[np.arange(len(heads)), np.minimum(indents, WIDTH - 1)]
    empty = (firsts == _NEWLINE) | (firsts == 13)
    return heads, depths, firsts, empty


def _opens(heads: Bytes) -> npt.NDArray[np.bool_]:
    """Whether a line begins with a word that opens a definition, at a depth of 0, 4 or 8."""
    found = np.zeros(len(heads), bool)
    for depth in (0, 4, 8):
        word = np.ascontiguousarray(heads[:, depth : depth + 4]).view("<u4")[:, 0]
        for opener in _OPENERS:
            found |= word == opener
    return found
