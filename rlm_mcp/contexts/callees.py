"""Find what a definition calls, and where that is defined as far as the text tells.

A name that stands alone means the document's own definition, else an imported one, else the only
one of the corpus; behind `self` or `this` it means the class's own method, behind a module or a
class theirs. Any other receiver's type is not known, so such a call has no target.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rlm_mcp.contexts.owners import BODIES
from rlm_mcp.contexts.receivers import receivers
from rlm_mcp.corpus.grammar import Definition, Parsed
from rlm_mcp.corpus.imports import Imports
from rlm_mcp.corpus.language import CODE, language
from rlm_mcp.corpus.native import native

MAX_SOUGHT = 200
"""Names that are looked up in the whole corpus."""
_DEEPEST = 6
"""Steps of inheritance that are followed to a method."""
_SELF = frozenset({"self", "cls", "this", "$this", "Self", "static"})
_PLAIN = ("field", "constant", "type", "property", "module", "heading")
"""Kinds that call nothing, or too much."""
_ECMA = frozenset({"javascript", "typescript", "tsx"})
_KEYWORDS = (
    r"def|func|fn|function\*?|class|struct|union|interface|trait|enum|record|object|module|macro_rules!|"
    r"sub|const|let|var|#\s*define"
)

LinesOf = Callable[[str, int, int], Sequence[str]]
"""Gives the lines of a document, from one to another."""


class Place(NamedTuple):
    """A call: who makes it, and what is called."""

    path: str
    name: str
    line: int


def called(path: str, item: Parsed, within: Definition) -> Iterator[Place]:
    """Give the calls inside a definition, by line."""
    if within.kind in _PLAIN:
        return
    found = [
        (line, name)
        for name, lines in item.uses.get("call", {}).items()
        for line in lines
        if within.line <= line <= within.stop
    ]
    for line, name in sorted(set(found)):
        yield Place(path, name, line)


def definition_pattern(names: Sequence[str]) -> str:
    """Return an RE2 pattern of the lines that may define one of some names."""
    some = "|".join(map(re.escape, names))
    keyword = rf"\b(?:{_KEYWORDS})\s+\*?(?:{some})\b"
    of_c = rf"^[A-Za-z_][\w\s*&:<>,]*[\s*&:](?:{some})\s*\("
    of_bash = rf"^\s*(?:{some})\s*\(\s*\)"
    return f"{keyword}|{of_c}|{of_bash}"


class Targets:
    """Where the names are defined that calls name."""

    def __init__(
        self,
        imports: Imports,
        parse: Callable[[Sequence[str]], Mapping[str, Parsed]],
        seek: Callable[[Sequence[str]], Mapping[str, Parsed]],
        lines_of: LinesOf,
    ) -> None:
        self._means = imports.means
        self._parse, self._seek, self._lines_of = parse, seek, lines_of
        self._by_word: dict[str, list[str]] = {}
        for path in imports.paths:
            for word in imports.words(path) if language(path) in CODE else ():
                self._by_word.setdefault(word, []).append(path)
        self._imports: dict[str, dict[str, tuple[str, ...]]] = {}

    def find(
        self, places: Sequence[Place], parsed: Mapping[str, Parsed]
    ) -> list[tuple[str, Definition] | None]:
        """Return the definition of each call, or None where it is not known."""
        found = [self._near(place, parsed[place.path]) for place in places]
        sought: dict[str, list[tuple[str, Definition]]] = {
            word: [] for _, word in found if word is not None
        }
        names = list(sought)[:MAX_SOUGHT]
        seen = self._seek(names) if names else {}
        for path, item in seen.items():
            for one in item.definitions:
                if one.name in sought and not one.owner and one.kind not in ("field", "constant"):
                    sought[one.name].append((path, one))
        targets = []
        for place, (target, word) in zip(places, found, strict=True):
            only = None if word is None else _only(place.path, sought[word])
            if only is not None and word != place.name:
                only = self._member(only[0], seen[only[0]], only[1].name, place.name, _DEEPEST)
            targets.append(target or only)
        return targets

    def _near(self, place: Place, item: Parsed) -> tuple[tuple[str, Definition] | None, str | None]:
        """Return a call's target in its document and its imports, else the word to look for."""
        receiver = self._receiver(place)
        if receiver is None:
            return None, None
        if receiver:
            target = self._behind(place, item, receiver[-1])
            wide = receiver[-1][:1].isupper() and receiver[-1] not in _SELF
            wide = wide and target is None and _may_be_here(place.path, item, receiver[-1])
            return target, receiver[-1] if wide else None
        if self._assigned(place, item):
            return None, None
        target = self._bare(place, item)
        wide = target is None and _may_be_here(place.path, item, place.name)
        return target, place.name if wide else None

    def _receiver(self, place: Place) -> tuple[str, ...] | None:
        """Return what a called name stands behind; None where the line does not tell."""
        seen = {
            None if some.made else some.parts
            for line in self._lines_of(place.path, place.line, place.line)
            for some in receivers(line, place.name)
        }
        return seen.pop() if len(seen) == 1 else None

    def _behind(self, place: Place, item: Parsed, receiver: str) -> tuple[str, Definition] | None:
        """Return the target of `receiver.name(...)`: of the own class, a class or a module."""
        if receiver in _SELF:
            owner = _class_of(item, place.line).rsplit(".", 1)[-1]
            return self._member(place.path, item, owner, place.name, _DEEPEST) if owner else None
        if any(one.name == receiver and one.kind in BODIES for one in item.definitions):
            return self._member(place.path, item, receiver, place.name, _DEEPEST)
        for path, other in self._brought(place.path, item, receiver):
            for one in other.definitions:
                if one.name == place.name and not one.owner:
                    return path, one
            if found := self._member(path, other, receiver, place.name, _DEEPEST):
                return found
        return None

    def _member(
        self, path: str, item: Parsed, owner: str, name: str, steps: int
    ) -> tuple[str, Definition] | None:
        """Return a method of a class of a document, or of a class above it."""
        bodies = []
        for one in item.definitions:
            if one.owner.rsplit(".", 1)[-1] == owner and one.name == name:
                return path, one
            if one.name == owner and one.kind in BODIES:
                bodies.append(one)
        for base in bases(item, bodies) if steps else ():
            if base == owner:
                continue
            near = any(one.name == base and one.kind in BODIES for one in item.definitions)
            places = [(path, item)] if near else self._brought(path, item, base)
            for other, parsed in places:
                if found := self._member(other, parsed, base, name, steps - 1):
                    return found
        return None

    def _bare(self, place: Place, item: Parsed) -> tuple[str, Definition] | None:
        """Return the target of `name(...)`: in the document, or in what it imports."""
        owner = _class_of(item, place.line)
        here = [one for one in item.definitions if one.name == place.name]
        free = [one for one in here if not one.owner] or [
            one for one in here if one.owner == owner or one.kind == "function"
        ]
        if free:
            return place.path, free[0]
        for path, other in self._brought(place.path, item, place.name):
            for one in other.definitions:
                if one.name == place.name and not one.owner:
                    return path, one
        return None

    def _assigned(self, place: Place, item: Parsed) -> bool:
        """Say whether the function around a call gives the name a meaning of its own."""
        given = re.compile(rf"(?<![\w.]){re.escape(place.name)}\s*:?=(?!=)")
        around = [
            one for one in item.definitions
            if one.kind in ("function", "method") and one.line <= place.line <= one.stop
        ]  # fmt: skip
        return bool(around) and any(
            place.name in text and given.search(text)
            for text in self._lines_of(place.path, around[0].line, around[0].stop)
        )

    def _brought(self, path: str, item: Parsed, name: str) -> Iterator[tuple[str, Parsed]]:
        """Give the documents that an import with a name in it may mean."""
        kind = language(path)
        if path not in self._imports:
            self._imports[path] = {}
        for text in item.uses.get("import", {}):
            words = re.split(r"\W+", text)
            if kind not in _ECMA and words[-1] != name:
                continue
            if text not in self._imports[path]:
                self._imports[path][text] = tuple(self._meant(path, text, words))
            yield from self._parse(self._imports[path][text]).items()

    def _meant(self, path: str, text: str, words: Sequence[str]) -> Iterator[str]:
        above = re.sub(r"(?:\.|::|\\|/)?\w+$", "", text)
        for word in dict.fromkeys(words[-1:-3:-1]):
            for other in self._by_word.get(word, ()):
                for one in (text, above):
                    if one and self._means(path, one, other):
                        yield other
                        break


def _may_be_here(path: str, item: Parsed, name: str) -> bool:
    """Say whether a name that no import led to may be defined in another document."""
    kind = language(path)
    imported = item.uses.get("import", {})
    if kind in _ECMA:
        return not imported  # a module has only what it imports
    if name in native(kind):
        return False
    return all(re.split(r"\W+", text)[-1] != name for text in imported)


def _only(path: str, some: Sequence[tuple[str, Definition]]) -> tuple[str, Definition] | None:
    """Return the one definition that the corpus has of a name, in the caller's language."""
    kind = language(path)
    alike = [one for one in some if language(one[0]) == kind]
    folder = path.rpartition("/")[0]
    near = [one for one in alike if one[0].rpartition("/")[0] == folder]
    if len(near) == 1 and kind in ("go", "java", "csharp"):
        return near[0]
    return alike[0] if len(alike) == 1 else None


def bases(item: Parsed, bodies: Sequence[Definition]) -> list[str]:
    """Return the last words of what some classes of a document name as their bases."""
    return [
        re.split(r"\.|::", name)[-1]
        for name, lines in item.uses.get("base", {}).items()
        if any(one.line <= line <= one.stop for line in lines for one in bodies)
    ]


def _class_of(item: Parsed, line: int) -> str:
    """Return the owner of the method that a line stands in."""
    owner = ""
    for one in item.definitions:
        if one.line > line:
            break
        if one.stop >= line and one.kind == "method":
            owner = one.owner
    return owner
