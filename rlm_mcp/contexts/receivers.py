"""Read from lines of code through what a name is used, and of which class a variable is.

By the text alone: a receiver is what stands before `.name`, `->name` or `::name` on the same line,
and a variable is of a class where the lines around it make it or declare it so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LONGEST = 2_000
"""Characters of a line; longer ones are not read, since nobody wrote them."""
UNKNOWN = "?"
"""A receiver that is no plain name: the end of an expression, or on the line before."""

_JOINT = re.compile(r"(?:\?\.|!\.|&\.|\.|->|::)\s*$")
_PLAIN = re.compile(r"(?<![\w$@.])([\w$@]+(?:(?:\?\.|\.|->|::)[\w$@]+)*)$")
_CLASS = r"((?:\w+(?:\.|::))*[A-Z]\w*)"


class Receiver(NamedTuple):
    """What stands before a name: dotted parts (none where it stands alone); `made` is `X(...)`."""

    parts: tuple[str, ...]
    made: bool = False


def receivers(line: str, word: str) -> Iterator[Receiver]:
    """Give the receiver of each place where a word stands on a line."""
    if len(line) > LONGEST:
        yield Receiver((UNKNOWN,))
        return
    for match in re.finditer(rf"(?<![\w$]){re.escape(word)}(?![\w$])", line):
        before = line[: match.start()].removesuffix("#")  # a private name of JavaScript
        joint = _JOINT.search(before)
        yield _receiver(before[: joint.start()].rstrip()) if joint else Receiver(())


def _receiver(before: str) -> Receiver:
    made = before.endswith(")")
    if made:
        before = before[: _opening(before)].rstrip()
    plain = _PLAIN.search(before)
    if plain is None:
        return Receiver((UNKNOWN,))
    parts = tuple(filter(None, re.split(r"[?.:>-]+", plain[1])))
    if len(parts) > 1 and parts[-1] == "new":  # Ruby's and Rust's way to make one
        return Receiver(parts[:-1], True)
    return Receiver(parts, made)


def _opening(text: str) -> int:
    """Return where the bracket opens that closes at the end of a text; 0 where it does not."""
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += (text[place] == ")") - (text[place] == "(")
        if depth == 0:
            return place
    return 0


def made_of(lines: Iterable[str], variable: str) -> set[str]:
    """Return the names of classes that lines say a variable is of; UNKNOWN for anything else."""
    name = rf"(?<![\w.$]){re.escape(variable)}"
    given = re.compile(rf"{name}\s*(?::[^=(]*)?:?=(?!=)\s*(.*)")
    said = re.compile(rf"{name}\s*\??:\s*[\"'&*]*(?:mut\s+)?(?:Optional\[|Type\[)?{_CLASS}")
    before = re.compile(rf"{_CLASS}(?:<[^<>]*>)?[\s*&]+{re.escape(variable)}\s*[=;,)]")
    behind = re.compile(rf"[(,]\s*{re.escape(variable)}\s+\*?{_CLASS}\s*[,)]")
    found: set[str] = set()
    for line in lines:
        if variable not in line or len(line) > LONGEST:
            continue
        for pattern in (said, before, behind):
            found.update(match[1] for match in pattern.finditer(line))
        if match := given.search(line):
            made = _MAKES.match(match[1])
            found.add(made[1] if made else UNKNOWN)
    return {re.split(r"\.|::", text)[-1] for text in found}


_MAKES = re.compile(
    rf"(?:await\s+)?(?:new\s+|&)?{_CLASS}\s*(?:(?:\.|::)new\b)?\s*(?:<[^<>]*>)?[({{]"
)
