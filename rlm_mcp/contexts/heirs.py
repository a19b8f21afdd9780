"""Find the classes that inherit from a class or implement it, through any number of steps.

By name, as the grammars tell it: `extends`, `implements`, `include`, `impl Trait for`, embedded
structs. Which class a name means is read from the document itself and from its imports; where
several have the name and nothing tells them apart, the heir stays in, marked by its basis. Who
implements an interface of Go nobody declares: see implementers.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rlm_mcp.contexts.modules import INDEXES, module
from rlm_mcp.contexts.owners import BODIES, CLASS, MODULE, NAME, OTHER
from rlm_mcp.contexts.receivers import receivers
from rlm_mcp.corpus.grammar import Definition, Parsed
from rlm_mcp.corpus.imports import Imports
from rlm_mcp.corpus.language import language

DEEPEST = 12
"""Steps of inheritance that are followed."""
_FAMILIES = {"typescript": "javascript", "tsx": "javascript", "cpp": "c"}
_NAMED = frozenset({"python", "java", "rust", "php"})
"""Languages whose imports end with the name that they bring."""

Among = Callable[[Sequence[str]], Mapping[str, Parsed]]
"""Parses the documents that hold one of some words."""
LineOf = Callable[[str, int], str]


class Found(NamedTuple):
    """A class that names another as its base."""

    path: str
    item: Definition
    base: str
    depth: int
    basis: str


class Heirs:
    """The heirs of one class, level by level."""

    def __init__(self, imports: Imports, among: Among, line_of: LineOf) -> None:
        self._imports = imports
        self._among, self._line_of = among, line_of

    def find(self, owner: str, name: str) -> Iterator[Found]:
        """Give the heirs of `owner.name`, the nearest first; the owner may be a module."""
        documents = self._among([name])
        level = {name: _roots(documents, owner, name)}
        seen: set[tuple[str, int]] = set()
        for depth in range(1, DEEPEST + 1):
            following: dict[str, set[str]] = {}
            for found in self._level(documents, level, depth):
                place = (found.path, found.item.line)
                if place not in seen:
                    seen.add(place)
                    yield found
                    following.setdefault(found.item.name, set()).add(found.path)
            if not following:
                return
            level = following
            documents = self._among(sorted(level))

    def _level(
        self, documents: Mapping[str, Parsed], level: Mapping[str, set[str]], depth: int
    ) -> Iterator[Found]:
        known = {name: _definers(documents, name) for name in level}
        for path, item in documents.items():
            for base, lines in item.uses.get("base", {}).items():
                name = re.split(r"\.|::", base)[-1]
                if name not in level:
                    continue
                for line in lines:
                    heir = _body(item, line)
                    if heir is None:
                        continue
                    basis = self._basis(path, item, heir, name, line, known[name], level[name])
                    if basis != OTHER:
                        yield Found(path, heir, base, depth, basis)

    def _basis(
        self, path: str, item: Parsed, heir: Definition, name: str, line: int,
        definers: Mapping[str, set[int]], wanted: set[str],
    ) -> str:  # fmt: skip
        """Say how it is known that a base is one of the wanted classes; OTHER where it is not."""
        family = _family(path)
        before = self._qualifiers(path, line, name)
        own = definers.get(path, set()) - {heir.line}
        if own and not before:
            return CLASS if path in wanted else OTHER
        possible = {other for other in definers if other != path and _family(other) == family}
        if not possible:
            return OTHER if wanted else NAME
        if wanted and not possible & wanted:
            return OTHER
        imported = self._imported(path, item, name, before, possible)
        if imported:
            hit = imported & wanted
            return MODULE if hit == imported else NAME if hit else OTHER
        if before and before & _ends(item).keys():
            return OTHER if wanted else NAME  # of a module that is not here
        if not wanted:
            return NAME
        return CLASS if len(possible) == 1 else NAME

    def _qualifiers(self, path: str, line: int, name: str) -> set[str]:
        """Return what a base stands behind on its line: `models` in `models.Model`."""
        some = receivers(self._line_of(path, line), name)
        return {part for one in some for part in one.parts[-1:]}

    def _imported(
        self, path: str, item: Parsed, name: str, before: set[str], possible: set[str]
    ) -> set[str]:
        """Return the documents, of those that define a name, that a document takes it from."""
        kind = language(path)
        ends = _ends(item)
        texts = [text for some in ends.values() for text in some]
        if kind in _NAMED:
            texts = [text for end in before or {name} for text in ends.get(end, ())]
        found = set()
        for other in possible:
            places = [other, *_indexes(other, self._imports.paths)]
            if any(
                self._imports.means(path, text, place)
                for whole in texts
                for text in {whole, _above(whole, name)}
                if text
                for place in places
            ):
                found.add(other)
        return found


def _ends(item: Parsed) -> dict[str, list[str]]:
    """Return the imports of a document by their last words."""
    ends: dict[str, list[str]] = {}
    for text in item.uses.get("import", {}):
        ends.setdefault(re.split(r"[./:\\]+", text)[-1], []).append(text)
    return ends


def _above(text: str, name: str) -> str:
    """Return what an import takes a name from."""
    above = text.removesuffix(name)
    if above == text:
        return ""
    return above if not above.strip(".") else re.sub(r"(?:\.|::|\\)$", "", above)


def _indexes(path: str, paths: frozenset[str]) -> list[str]:
    """Return the documents that may hand on what a document defines: those of its packages."""
    suffix = path.rpartition(".")[2]
    found = []
    folder = path.rpartition("/")[0]
    for _ in range(3):
        for stem in INDEXES:
            index = f"{folder}/{stem}.{suffix}"
            if index in paths and index != path:
                found.append(index)
        folder = folder.rpartition("/")[0]
        if not folder:
            break
    return found


def _roots(documents: Mapping[str, Parsed], owner: str, name: str) -> set[str]:
    """Return the documents that define the class; the owner is one around it, or its module."""
    found = set()
    for path, item in documents.items():
        for one in item.definitions:
            if one.name == name and one.kind in BODIES and one.kind != "impl":
                inside = f".{module(path)}.{one.owner}." if one.owner else f".{module(path)}."
                if not owner or f".{owner}." in inside:
                    found.add(path)
    return found


def _definers(documents: Mapping[str, Parsed], name: str) -> dict[str, set[int]]:
    """Return the documents that define a class, and the lines where they do."""
    found: dict[str, set[int]] = {}
    for path, item in documents.items():
        if name in item.names:
            for one in item.definitions:
                if one.name == name and one.kind in BODIES and one.kind != "impl":
                    found.setdefault(path, set()).add(one.line)
    return found


def _body(item: Parsed, line: int) -> Definition | None:
    """Return the innermost class that a line stands in."""
    inside = None
    for one in item.definitions:
        if one.line > line:
            break
        if one.stop >= line and one.kind in BODIES:
            inside = one
    return inside


def _family(path: str) -> str:
    name = language(path)
    return _FAMILIES.get(name, name)
