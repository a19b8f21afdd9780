"""Find the classes that inherit from a class or implement it, through any number of steps.

By name, as the grammars tell it: `extends`, `implements`, `include`, `impl Trait for`, embedded
structs. Which class a name means is read from the document itself and from its imports; where
several have the name and nothing tells them apart, the subclass stays in, marked by its basis. Who
implements an interface of Go nobody declares: see `implementers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.corpus.code.callers import (
    BODY_KINDS,
    CLASS,
    MODULE,
    NAME,
    OTHER,
    PACKAGE_STEMS,
    find_receivers,
    module_name,
)
from rlm_mcp.corpus.code.grammar import Definition, ParsedDocument
from rlm_mcp.corpus.code.language import language_of

if TYPE_CHECKING:
    from rlm_mcp.corpus.code.imports import ImportResolver


MAX_DEPTH = 12
"""Steps of inheritance that are followed."""
_FAMILIES = {"typescript": "javascript", "tsx": "javascript", "cpp": "c"}
_NAMED_IMPORTS = frozenset({"python", "java", "rust", "php"})
"""Languages whose imports end with the name that they bring."""

ParseAmong = Callable[[Sequence[str]], Mapping[str, ParsedDocument]]
"""Parses the documents that hold one of some words."""
LineOf = Callable[[str, int], str]


class FoundSubclass(NamedTuple):
    """A class that names another as its base."""

    path: str
    item: Definition
    base: str
    depth: int
    basis: str


class SubclassFinder:
    """The subclasses of one class, level by level."""

    def __init__(self, imports: ImportResolver, among: ParseAmong, line_of: LineOf) -> None:
        self._imports = imports
        self._among, self._line_of = among, line_of

    def find_subclasses(self, owner: str, name: str) -> Iterator[FoundSubclass]:
        """Yield the subclasses of `owner.name`, the nearest first; the owner may be a module."""
        documents = self._among([name])
        level = {name: _root_documents(documents, owner, name)}
        seen: set[tuple[str, int]] = set()
        for depth in range(1, MAX_DEPTH + 1):
            following: dict[str, set[str]] = {}
            for found in self._next_level(documents, level, depth):
                place = (found.path, found.item.line)
                if place not in seen:
                    seen.add(place)
                    yield found
                    following.setdefault(found.item.name, set()).add(found.path)
            if not following:
                return
            level = following
            documents = self._among(sorted(level))

    def _next_level(
        self, documents: Mapping[str, ParsedDocument], level: Mapping[str, set[str]], depth: int
    ) -> Iterator[FoundSubclass]:
        known = {name: _definition_lines(documents, name) for name in level}
        for path, item in documents.items():
            for base, lines in item.uses.get("base", {}).items():
                name = re.split(r"\.|::", base)[-1]
                if name not in level:
                    continue
                for line in lines:
                    subclass = _enclosing_body(item, line)
                    if subclass is None:
                        continue
                    basis = self._base_basis(
                        path, item, subclass, name, line, known[name], level[name]
                    )
                    if basis != OTHER:
                        yield FoundSubclass(path, subclass, base, depth, basis)

    def _base_basis(
        self, path: str, item: ParsedDocument, subclass: Definition, name: str, line: int,
        definers: Mapping[str, set[int]], wanted: set[str],
    ) -> str:  # fmt: skip
        """Say how it is known that a base is one of the wanted classes; OTHER where it is not."""
        family = _language_family(path)
        before = self._base_qualifiers(path, line, name)
        own = definers.get(path, set()) - {subclass.line}
        if own and not before:
            return CLASS if path in wanted else OTHER
        possible = {
            other for other in definers if other != path and _language_family(other) == family
        }
        if not possible:
            return OTHER if wanted else NAME
        if wanted and not possible & wanted:
            return OTHER
        imported = self._imported_from(path, item, name, before, possible)
        if imported:
            hit = imported & wanted
            return MODULE if hit == imported else NAME if hit else OTHER
        if before and before & _import_ends(item).keys():
            return OTHER if wanted else NAME  # of a module that is not here
        if not wanted:
            return NAME
        return CLASS if len(possible) == 1 else NAME

    def _base_qualifiers(self, path: str, line: int, name: str) -> set[str]:
        """Return what a base stands behind on its line: `models` in `models.Model`."""
        some = find_receivers(self._line_of(path, line), name)
        return {part for one in some for part in one.parts[-1:]}

    def _imported_from(
        self, path: str, item: ParsedDocument, name: str, before: set[str], possible: set[str]
    ) -> set[str]:
        """Return the documents, of those that define a name, that a document takes it from."""
        kind = language_of(path)
        ends = _import_ends(item)
        texts = [text for some in ends.values() for text in some]
        if kind in _NAMED_IMPORTS:
            texts = [text for end in before or {name} for text in ends.get(end, ())]
        found = set()
        for other in possible:
            places = [other, *_package_files(other, self._imports.paths)]
            if any(
                self._imports.resolves_to(path, text, place)
                for whole in texts
                for text in {whole, _import_source(whole, name)}
                if text
                for place in places
            ):
                found.add(other)
        return found


def _import_ends(item: ParsedDocument) -> dict[str, list[str]]:
    """Return the imports of a document by their last words."""
    ends: dict[str, list[str]] = {}
    for text in item.uses.get("import", {}):
        ends.setdefault(re.split(r"[./:\\]+", text)[-1], []).append(text)
    return ends


def _import_source(text: str, name: str) -> str:
    """Return what an import takes a name from."""
    above = text.removesuffix(name)
    if above == text:
        return ""
    return above if not above.strip(".") else re.sub(r"(?:\.|::|\\)$", "", above)


def _package_files(path: str, paths: frozenset[str]) -> list[str]:
    """Return the documents that may hand on what a document defines: those of its packages."""
    suffix = path.rpartition(".")[2]
    found = []
    folder = path.rpartition("/")[0]
    for _ in range(3):
        for stem in PACKAGE_STEMS:
            index = f"{folder}/{stem}.{suffix}"
            if index in paths and index != path:
                found.append(index)
        folder = folder.rpartition("/")[0]
        if not folder:
            break
    return found


def _root_documents(documents: Mapping[str, ParsedDocument], owner: str, name: str) -> set[str]:
    """Return the documents that define the class; the owner is one around it, or its module."""
    found = set()
    for path, item in documents.items():
        for one in item.definitions:
            if one.name == name and one.kind in BODY_KINDS and one.kind != "impl":
                inside = (
                    f".{module_name(path)}.{one.owner}." if one.owner else f".{module_name(path)}."
                )
                if not owner or f".{owner}." in inside:
                    found.add(path)
    return found


def _definition_lines(documents: Mapping[str, ParsedDocument], name: str) -> dict[str, set[int]]:
    """Return the documents that define a class, and the lines where they do."""
    found: dict[str, set[int]] = {}
    for path, item in documents.items():
        if name in item.names:
            for one in item.definitions:
                if one.name == name and one.kind in BODY_KINDS and one.kind != "impl":
                    found.setdefault(path, set()).add(one.line)
    return found


def _enclosing_body(item: ParsedDocument, line: int) -> Definition | None:
    """Return the innermost class that a line stands in."""
    inside = None
    for one in item.definitions:
        if one.line > line:
            break
        if one.stop >= line and one.kind in BODY_KINDS:
            inside = one
    return inside


def _language_family(path: str) -> str:
    name = language_of(path)
    return _FAMILIES.get(name, name)


METHODS_BASIS = "methods"
"""The basis of what is found: it has methods of these names."""
_TYPE_KINDS = frozenset({"struct", "type", "class"})

ParseDocuments = Callable[[Sequence[str]], Mapping[str, ParsedDocument]]
"""Parses the documents that hold one of some words."""


def find_implementers(among: ParseDocuments, name: str) -> Iterator[FoundSubclass]:
    """Give the types of Go that have all methods of an interface."""
    for wanted in _interface_methods(among([name]), name):
        holding = _type_methods(among(sorted(wanted)))
        owners = {place: names for place, names in holding.items() if wanted <= names}
        types = sorted({owner for _, owner in owners})
        for path, item in among(types).items() if types else ():
            for one in item.definitions:
                if (_folder_of(path), one.name) in owners and _is_type(path, one):
                    yield FoundSubclass(path, one, name, 1, METHODS_BASIS)


def _interface_methods(
    documents: Mapping[str, ParsedDocument], name: str
) -> Iterator[frozenset[str]]:
    """Give the names of the methods of each Go interface of a name that has any."""
    for path, item in documents.items():
        for one in item.definitions:
            if one.name == name and one.kind == "interface" and language_of(path) == "go":
                inside = {
                    method.name
                    for method in item.definitions
                    if method.owner == name and one.line <= method.line <= one.stop
                }
                if inside:
                    yield frozenset(inside)


def _type_methods(documents: Mapping[str, ParsedDocument]) -> dict[tuple[str, str], set[str]]:
    """Return the methods of each type, by its package's folder and its name."""
    found: dict[tuple[str, str], set[str]] = {}
    for path, item in documents.items():
        for one in item.definitions if language_of(path) == "go" else ():
            if one.kind == "method" and one.owner:
                found.setdefault((_folder_of(path), one.owner), set()).add(one.name)
    return found


def _is_type(path: str, item: Definition) -> bool:
    return item.kind in _TYPE_KINDS and language_of(path) == "go"


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]
