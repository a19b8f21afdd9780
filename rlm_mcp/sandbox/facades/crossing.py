"""What a pattern could match: whether a line end, and whether it means the same over bytes."""

from __future__ import annotations

import re
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

NEWLINE = 10
_SPACES = "\\x1c-\\x1f"  # what \s matches in a str and not in bytes


def can_match_newline(pattern: str, flags: int) -> bool:
    """Say whether a match could hold a line end; True where that is not clear."""
    try:
        return _any_newline(parser.parse(pattern, flags), flags)
    except (re.error, RecursionError, KeyError, ValueError):
        return True


def _any_newline(items: Any, flags: int) -> bool:
    return any(_item_has_newline(code, argument, flags) for code, argument in items)


def _item_has_newline(code: Any, argument: Any, flags: int) -> bool:
    if code is op.LITERAL:
        return bool(argument == NEWLINE)
    if code is op.NOT_LITERAL:
        return bool(argument != NEWLINE)
    if code is op.ANY:
        return bool(flags & re.DOTALL)
    if code is op.IN:
        return _class_has_newline(argument)
    if code in (op.AT, op.GROUPREF, op.FAILURE):
        return False
    if code is op.SUBPATTERN:
        _, added, removed, items = argument
        return _any_newline(items, (flags | added) & ~removed)
    if code in _REPEATS:
        return _any_newline(argument[2], flags)
    if code is op.BRANCH:
        return any(_any_newline(items, flags) for items in argument[1])
    if code in (op.ASSERT, op.ASSERT_NOT):
        return _any_newline(argument[1], flags)
    if code is getattr(op, "ATOMIC_GROUP", None):
        return _any_newline(argument, flags)
    return True


_REPEATS = tuple(
    getattr(op, name)
    for name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
    if hasattr(op, name)
)
_WITH_NEWLINE = (op.CATEGORY_SPACE, op.CATEGORY_NOT_DIGIT, op.CATEGORY_NOT_WORD)


def _class_has_newline(items: Any) -> bool:
    negated = found = False
    for code, argument in items:
        if code is op.NEGATE:
            negated = True
        elif code is op.LITERAL:
            found = found or argument == NEWLINE
        elif code is op.RANGE:
            found = found or argument[0] <= NEWLINE <= argument[1]
        elif code is op.CATEGORY:
            found = found or argument in _WITH_NEWLINE
        else:
            return True
    return found != negated


def bytes_pattern(pattern: str) -> bytes | None:
    """Return the same pattern for ASCII bytes, or None where it would not mean the same."""
    if not pattern.isascii():
        return None
    made = []
    place, in_class = 0, False
    while place < len(pattern):
        char = pattern[place]
        if char == "\\":
            escaped = pattern[place + 1 : place + 2]
            if escaped in ("u", "U", "N") or (escaped == "S" and in_class):
                return None
            made.append(_bytes_escape(escaped, in_class))
            place += 2
            continue
        if not in_class and char == "[":
            in_class = True
            opening = re.match(r"\[\^?\]?", pattern[place:])
            assert opening is not None
            made.append(opening.group())
            place += opening.end()
            continue
        if in_class and char == "]":
            in_class = False
        made.append(char)
        place += 1
    return "".join(made).encode("ascii")


def _bytes_escape(char: str, in_class: bool) -> str:
    if char == "s":
        return f"\\s{_SPACES}" if in_class else f"[\\s{_SPACES}]"
    if char == "S":
        return f"[^\\s{_SPACES}]"
    return "\\" + char
