"""Names as people write them: `Class.name`, `module::name`, `Class#name`, `get_*`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm_mcp.corpus.code.grammar import Definition, ParsedDocument

DOLLAR_LANGUAGES = frozenset({"javascript", "typescript", "tsx"})
"""Languages in which a name may hold a dollar sign."""
_USE_KINDS = ("type", "import", "call", "base")
"""Kinds of use; where a line has several, the last one says most."""


def name_parts(name: str) -> list[str]:
    """Return a dotted name's parts, whatever its language joins them by."""
    if name.startswith("operator"):
        return [name]
    head, mark, last = name.rpartition("#")  # Ruby's Class#method, but #private in JavaScript
    private = not head or head.endswith(".")
    whole = f"{head}.{last}" if mark and not private else name
    return whole.replace("::", ".").replace("\\", ".").replace("->", ".").split(".")


def owner_of(name: str) -> str:
    """Return what stands before the last part of a name, joined by dots."""
    return ".".join(filter(None, name_parts(name)[:-1]))


def longest_piece(name: str) -> str:
    """Return the longest piece of a name that has no `*` in it."""
    return max(name_parts(name)[-1].split("*"), key=len)


def name_matcher(name: str) -> Callable[[Definition], bool]:
    """Return a test of definitions by name: exact, with `*`, or with an owner (Class.name)."""
    *owners, last = name_parts(name)
    owner = ".".join(owners)
    pieces = last.split("*")

    def is_match(item: Definition) -> bool:
        if item.name == name:
            return True
        if owner and not f".{item.owner}".endswith(f".{owner}"):
            return False
        own = item.name if last.startswith("#") else item.name.removeprefix("#")
        return own == last if len(pieces) == 1 else _match_star(own, pieces)

    return is_match


def _match_star(text: str, pieces: Sequence[str]) -> bool:
    """Match `*` in linear time: each piece is found behind the one before it."""
    first, *middle, last = pieces
    if not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return at <= end


def whole_word(word: str) -> str:
    """Return a pattern for a name that is not a part of a longer one."""
    # A border of a word is one of ASCII in RE2.
    left = r"\b" if re.match(r"\w", word, re.ASCII) else ""
    right = r"\b" if re.search(r"\w$", word, re.ASCII) else ""
    return f"{left}{re.escape(word)}{right}"


def use_kinds(parsed: ParsedDocument, word: str) -> dict[int, str]:
    """Return what each line of a document does with a word."""
    found: dict[int, str] = {}
    for kind in _USE_KINDS:
        for name, lines in parsed.uses.get(kind, {}).items():
            if _names_word(kind, name, word):
                found.update(dict.fromkeys(lines, kind))
    for item in parsed.definitions:
        if word in (item.name, item.name.removeprefix("#")) and found.get(item.line) not in (
            "call",
            "base",
        ):
            found[item.line] = "definition"
    return found


def _names_word(kind: str, name: str, word: str) -> bool:
    """Say whether a used name is the word, or holds it as an import or a qualified one does."""
    if word in (name, name.removeprefix("#")):
        return True
    return word in re.split(r"\W+", name) if kind == "import" else name.endswith(f"::{word}")


def full_name(item: Definition) -> str:
    """Return a definition's name with what it stands in, as Class.method."""
    return f"{item.owner}.{item.name}" if item.owner else item.name


def enclosing_name(parsed: ParsedDocument, line: int) -> str:
    """Return the innermost definition that a line stands in."""
    inside = ""
    for item in parsed.definitions:
        if item.line > line:
            break
        if item.stop >= line and item.kind not in ("constant", "field"):
            inside = full_name(item)
    return inside
