"""Find the types that have every method of a Go interface: there, nobody declares it.

By the names of the methods, not by what they take and give, so a type that is found may not fit
after all; its basis says so. Methods that come from an embedded struct are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rlm_mcp.contexts.heirs import Found
from rlm_mcp.corpus.grammar import Definition, Parsed
from rlm_mcp.corpus.language import language

METHODS = "methods"
"""The basis of what is found: it has methods of these names."""
_TYPES = frozenset({"struct", "type", "class"})

Among = Callable[[Sequence[str]], Mapping[str, Parsed]]
"""Parses the documents that hold one of some words."""


def find(among: Among, name: str) -> Iterator[Found]:
    """Give the types of Go that have all methods of an interface."""
    for wanted in _interfaces(among([name]), name):
        holding = _methods(among(sorted(wanted)))
        owners = {place: names for place, names in holding.items() if wanted <= names}
        types = sorted({owner for _, owner in owners})
        for path, item in among(types).items() if types else ():
            for one in item.definitions:
                if (_folder(path), one.name) in owners and _is_type(path, one):
                    yield Found(path, one, name, 1, METHODS)


def _interfaces(documents: Mapping[str, Parsed], name: str) -> Iterator[frozenset[str]]:
    """Give the names of the methods of each Go interface of a name that has any."""
    for path, item in documents.items():
        for one in item.definitions:
            if one.name == name and one.kind == "interface" and language(path) == "go":
                inside = {
                    method.name
                    for method in item.definitions
                    if method.owner == name and one.line <= method.line <= one.stop
                }
                if inside:
                    yield frozenset(inside)


def _methods(documents: Mapping[str, Parsed]) -> dict[tuple[str, str], set[str]]:
    """Return the methods of each type, by its package's folder and its name."""
    found: dict[tuple[str, str], set[str]] = {}
    for path, item in documents.items():
        for one in item.definitions if language(path) == "go" else ():
            if one.kind == "method" and one.owner:
                found.setdefault((_folder(path), one.owner), set()).add(one.name)
    return found


def _is_type(path: str, item: Definition) -> bool:
    return item.kind in _TYPES and language(path) == "go"


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
