"""Say of a line that uses `module.name` whether it is the function of that module.

By the imports of each document, as imports.py reads them. What may come in by other ways (a star
import, a module that is handed on) stays in, marked as a match of the name alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rlm_mcp.contexts.owners import MODULE, NAME, ORDER, OTHER, Line
from rlm_mcp.contexts.receivers import Receiver, receivers
from rlm_mcp.corpus.grammar import Parsed
from rlm_mcp.corpus.imports import Imports
from rlm_mcp.corpus.language import language

_READ = frozenset({"python", "javascript", "typescript", "tsx", "go"})
"""Languages whose imports tell what a bare name is."""
INDEXES = ("__init__", "index", "mod")


class Modules:
    """The documents that are the module, and those that import its function."""

    def __init__(
        self, owner: str, word: str, imports: Imports, parsed: Mapping[str, Parsed]
    ) -> None:
        self._word, self._imports = word, imports
        self._last = owner.rsplit(".", 1)[-1]
        self._targets = {
            path
            for path, item in parsed.items()
            if f".{module(path)}".endswith(f".{owner}") and word in _top(item)
        }
        for _ in range(3):  # a package may hand on what it imports
            handed = {
                path
                for path, item in parsed.items()
                if path.rsplit("/", 1)[-1].partition(".")[0] in INDEXES and self._takes(path, item)
            }
            if handed <= self._targets:
                break
            self._targets |= handed

    @property
    def known(self) -> bool:
        """Whether a document is the module and defines the name."""
        return bool(self._targets)

    def judge(self, lines: Sequence[Line]) -> list[str]:
        """Say of each line how it is known that the function is used; OTHER where it is not."""
        return [self._basis(line) for line in lines]

    def _basis(self, line: Line) -> str:
        if language(line.path) not in _READ:
            return NAME
        told = [
            self._one(known, line.path, line.parsed, line.lines)
            for known in receivers(line.text, self._word)
        ]
        return min(told, key=ORDER.index, default=NAME)

    def _one(self, receiver: Receiver, path: str, item: Parsed, lines: Sequence[str]) -> str:
        parts = receiver.parts
        if parts:
            if not receiver.made and parts[-1] in self._local(path, item, lines):
                return MODULE
            return NAME if parts[-1] == self._last else OTHER
        if self._is_target(path) or self._takes(path, item):
            return MODULE
        if self._word in _top(item):
            return OTHER
        brought = self._brought(path, item)
        named = any(self._word in lines[place - 1] for _, place in brought if place <= len(lines))
        if named and language(path) != "python":
            return MODULE
        return NAME if brought else OTHER

    def _is_target(self, path: str) -> bool:
        if path in self._targets:
            return True
        folder = path.rpartition("/")[0]
        return path.endswith(".go") and any(
            known.endswith(".go") and known.rpartition("/")[0] == folder for known in self._targets
        )

    def _means(self, path: str, text: str) -> bool:
        return any(self._imports.means(path, text, known) for known in self._targets)

    def _takes(self, path: str, item: Parsed) -> bool:
        """Say whether a document imports the function itself (`from module import name`)."""
        for text in item.uses.get("import", {}):
            above = text.removesuffix(self._word)
            if above != text and above[-1:] == ".":
                base = above if not above.strip(".") else above.rstrip(".")
                if self._means(path, base):
                    return True
        return False

    def _brought(self, path: str, item: Parsed) -> list[tuple[str, int]]:
        """Return the imports of the module itself, with their lines."""
        return [
            (text, line)
            for text, places in item.uses.get("import", {}).items()
            if self._means(path, text)
            for line in places
        ]

    def _local(self, path: str, item: Parsed, lines: Sequence[str]) -> set[str]:
        """Return what a document calls the module."""
        found = set()
        for text, line in self._brought(path, item):
            last = re.split(r"[./]", text)[-1]
            shown = lines[line - 1] if line <= len(lines) else ""
            other = re.search(rf"\b{re.escape(last)}\s+as\s+(\w+)|\*\s+as\s+(\w+)", shown)
            found.add((other[1] or other[2]) if other else last)
        return found


def module(path: str) -> str:
    """Return the dotted name of a document as a module; a folder in Go."""
    stem, _, suffix = path.rpartition(".")
    if suffix == "go":
        stem = path.rpartition("/")[0]
    head, _, last = stem.rpartition("/")
    return (head if last in INDEXES else stem).replace("/", ".")


def _top(item: Parsed) -> set[str]:
    """Return what a document defines outside of anything else."""
    return {one.name for one in item.definitions if not one.owner}
