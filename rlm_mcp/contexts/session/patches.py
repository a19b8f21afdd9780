"""Apply a recorded patch to a text: a unified diff, or what the tool apply_patch takes."""

from __future__ import annotations

import re

_HUNK = re.compile(r"^@@.*$", re.MULTILINE)
_ASIDE = ("*** ", "\\ No newline")
_HEAD = (*_ASIDE, "--- ", "+++ ", "diff --git ", "index ")
"""Lines that belong to no hunk, and those that stand before the first."""


def applied(text: str, patch: str) -> str | None:
    """Return the text with every hunk in it, in order; None where one of them does not fit."""
    lines, at = text.split("\n"), 0
    for number, hunk in enumerate(_HUNK.split(patch)):
        aside = _ASIDE if number else _HEAD
        rows = [row for row in hunk.strip("\n").split("\n") if not row.startswith(aside)]
        old = [row[1:] for row in rows if row[:1] != "+"]
        new = [row[1:] for row in rows if row[:1] != "-"]
        if not any(rows):
            continue
        place = _find(lines, old, at) if old or lines == [""] else None
        if place is None:
            return None
        lines[place : place + len(old)] = new
        at = place + len(new)
    return "\n".join(lines)


def _find(lines: list[str], wanted: list[str], start: int) -> int | None:
    """Return where lines stand, from a line on."""
    last = len(lines) - len(wanted)
    return next(
        (at for at in range(start, last + 1) if lines[at : at + len(wanted)] == wanted), None
    )
