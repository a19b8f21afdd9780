"""Find what a definition calls, and where that is defined as far as the text tells.

A name that stands alone means the document's own definition, else an imported one, else the only
one of the corpus; behind `self` or `this` it means the class's own method, behind a module or a
class theirs. Any other receiver's type is not known, so such a call has no target.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.corpus.code.callers import BODY_KINDS, find_receivers
from rlm_mcp.corpus.code.language import CODE_LANGUAGES, builtin_names, language_of

if TYPE_CHECKING:
    from rlm_mcp.corpus.code.grammar import Definition, ParsedDocument
    from rlm_mcp.corpus.code.imports import ImportResolver

MAX_LOOKUPS = 200
"""Names that are looked up in the whole corpus."""
_MAX_DEPTH = 6
"""Steps of inheritance that are followed to a method."""
_SELF_NAMES = frozenset({"self", "cls", "this", "$this", "Self", "static"})
_SILENT_KINDS = ("field", "constant", "type", "property", "module", "heading")
"""Kinds that call nothing, or too much."""
_ECMA = frozenset({"javascript", "typescript", "tsx"})
_KEYWORDS = (
    r"def|func|fn|function\*?|class|struct|union|interface|trait|enum|record|object|module|macro_rules!|"
    r"sub|const|let|var|#\s*define"
)

LinesOf = Callable[[str, int, int], Sequence[str]]
"""Gives the lines of a document, from one to another."""


class CallSite(NamedTuple):
    """A call: who makes it, and what is called."""

    path: str
    name: str
    line: int


def calls_in(path: str, item: ParsedDocument, within: Definition) -> Iterator[CallSite]:
    """Give the calls inside a definition, by line."""
    if within.kind in _SILENT_KINDS:
        return
    found = [
        (line, name)
        for name, lines in item.uses.get("call", {}).items()
        for line in lines
        if within.line <= line <= within.stop
    ]
    for line, name in sorted(set(found)):
        yield CallSite(path, name, line)


def definition_pattern(names: Sequence[str]) -> str:
    """Return an RE2 pattern of the lines that may define one of some names."""
    some = "|".join(map(re.escape, names))
    keyword = rf"\b(?:{_KEYWORDS})\s+\*?(?:{some})\b"
    of_c = rf"^[A-Za-z_][\w\s*&:<>,]*[\s*&:](?:{some})\s*\("
    of_bash = rf"^\s*(?:{some})\s*\(\s*\)"
    return f"{keyword}|{of_c}|{of_bash}"


class CallResolver:
    """Where the names are defined that calls name."""

    def __init__(
        self,
        imports: ImportResolver,
        parse: Callable[[Sequence[str]], Mapping[str, ParsedDocument]],
        seek: Callable[[Sequence[str]], Mapping[str, ParsedDocument]],
        lines_of: LinesOf,
    ) -> None:
        self._means = imports.resolves_to
        self._parse, self._seek, self._lines_of = parse, seek, lines_of
        self._by_word: dict[str, list[str]] = {}
        for path in imports.paths:
            for word in imports.import_words(path) if language_of(path) in CODE_LANGUAGES else ():
                self._by_word.setdefault(word, []).append(path)
        self._imports: dict[str, dict[str, tuple[str, ...]]] = {}

    def resolve_calls(
        self, places: Sequence[CallSite], parsed: Mapping[str, ParsedDocument]
    ) -> list[tuple[str, Definition] | None]:
        """Return the definition of each call, or None where it is not known."""
        found = [self._local_target(place, parsed[place.path]) for place in places]
        sought: dict[str, list[tuple[str, Definition]]] = {
            word: [] for _, word in found if word is not None
        }
        names = list(sought)[:MAX_LOOKUPS]
        seen = self._seek(names) if names else {}
        for path, item in seen.items():
            for one in item.definitions:
                if one.name in sought and not one.owner and one.kind not in ("field", "constant"):
                    sought[one.name].append((path, one))
        targets = []
        for place, (target, word) in zip(places, found, strict=True):
            only = None if word is None else _sole_definition(place.path, sought[word])
            if only is not None and word != place.name:
                only = self._class_member(
                    only[0], seen[only[0]], only[1].name, place.name, _MAX_DEPTH
                )
            targets.append(target or only)
        return targets

    def _local_target(
        self, place: CallSite, item: ParsedDocument
    ) -> tuple[tuple[str, Definition] | None, str | None]:
        """Return a call's target in its document and its imports, else the word to look for."""
        receiver = self._call_receiver(place)
        if receiver is None:
            return None, None
        if receiver:
            target = self._receiver_target(place, item, receiver[-1])
            wide = receiver[-1][:1].isupper() and receiver[-1] not in _SELF_NAMES
            wide = wide and target is None and _may_resolve(place.path, item, receiver[-1])
            return target, receiver[-1] if wide else None
        if self._is_reassigned(place, item):
            return None, None
        target = self._bare_target(place, item)
        wide = target is None and _may_resolve(place.path, item, place.name)
        return target, place.name if wide else None

    def _call_receiver(self, place: CallSite) -> tuple[str, ...] | None:
        """Return what a called name stands behind; None where the line does not tell."""
        seen = {
            None if some.made else some.parts
            for line in self._lines_of(place.path, place.line, place.line)
            for some in find_receivers(line, place.name)
        }
        return seen.pop() if len(seen) == 1 else None

    def _receiver_target(
        self, place: CallSite, item: ParsedDocument, receiver: str
    ) -> tuple[str, Definition] | None:
        """Return the target of `receiver.name(...)`: of the own class, a class or a module."""
        if receiver in _SELF_NAMES:
            owner = _owner_at(item, place.line).rsplit(".", 1)[-1]
            return (
                self._class_member(place.path, item, owner, place.name, _MAX_DEPTH)
                if owner
                else None
            )
        if any(one.name == receiver and one.kind in BODY_KINDS for one in item.definitions):
            return self._class_member(place.path, item, receiver, place.name, _MAX_DEPTH)
        for path, other in self._imported_documents(place.path, item, receiver):
            for one in other.definitions:
                if one.name == place.name and not one.owner:
                    return path, one
            if found := self._class_member(path, other, receiver, place.name, _MAX_DEPTH):
                return found
        return None

    def _class_member(
        self, path: str, item: ParsedDocument, owner: str, name: str, steps: int
    ) -> tuple[str, Definition] | None:
        """Return a method of a class of a document, or of a class above it."""
        bodies = []
        for one in item.definitions:
            if one.owner.rsplit(".", 1)[-1] == owner and one.name == name:
                return path, one
            if one.name == owner and one.kind in BODY_KINDS:
                bodies.append(one)
        for base in base_names(item, bodies) if steps else ():
            if base == owner:
                continue
            near = any(one.name == base and one.kind in BODY_KINDS for one in item.definitions)
            places = [(path, item)] if near else self._imported_documents(path, item, base)
            for other, parsed in places:
                if found := self._class_member(other, parsed, base, name, steps - 1):
                    return found
        return None

    def _bare_target(self, place: CallSite, item: ParsedDocument) -> tuple[str, Definition] | None:
        """Return the target of `name(...)`: in the document, or in what it imports."""
        owner = _owner_at(item, place.line)
        here = [one for one in item.definitions if one.name == place.name]
        free = [one for one in here if not one.owner] or [
            one for one in here if one.owner == owner or one.kind == "function"
        ]
        if free:
            return place.path, free[0]
        for path, other in self._imported_documents(place.path, item, place.name):
            for one in other.definitions:
                if one.name == place.name and not one.owner:
                    return path, one
        return None

    def _is_reassigned(self, place: CallSite, item: ParsedDocument) -> bool:
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

    def _imported_documents(
        self, path: str, item: ParsedDocument, name: str
    ) -> Iterator[tuple[str, ParsedDocument]]:
        """Give the documents that an import with a name in it may mean."""
        kind = language_of(path)
        if path not in self._imports:
            self._imports[path] = {}
        for text in item.uses.get("import", {}):
            words = re.split(r"\W+", text)
            if kind not in _ECMA and words[-1] != name:
                continue
            if text not in self._imports[path]:
                self._imports[path][text] = tuple(self._import_meanings(path, text, words))
            yield from self._parse(self._imports[path][text]).items()

    def _import_meanings(self, path: str, text: str, words: Sequence[str]) -> Iterator[str]:
        above = re.sub(r"(?:\.|::|\\|/)?\w+$", "", text)
        for word in dict.fromkeys(words[-1:-3:-1]):
            for other in self._by_word.get(word, ()):
                for one in (text, above):
                    if one and self._means(path, one, other):
                        yield other
                        break


def _may_resolve(path: str, item: ParsedDocument, name: str) -> bool:
    """Say whether a name that no import led to may be defined in another document."""
    kind = language_of(path)
    imported = item.uses.get("import", {})
    if kind in _ECMA:
        return not imported  # a module has only what it imports
    if name in builtin_names(kind):
        return False
    return all(re.split(r"\W+", text)[-1] != name for text in imported)


def _sole_definition(
    path: str, some: Sequence[tuple[str, Definition]]
) -> tuple[str, Definition] | None:
    """Return the one definition that the corpus has of a name, in the caller's language."""
    kind = language_of(path)
    alike = [one for one in some if language_of(one[0]) == kind]
    folder = path.rpartition("/")[0]
    near = [one for one in alike if one[0].rpartition("/")[0] == folder]
    if len(near) == 1 and kind in ("go", "java", "csharp"):
        return near[0]
    return alike[0] if len(alike) == 1 else None


def base_names(item: ParsedDocument, bodies: Sequence[Definition]) -> list[str]:
    """Return the last words of what some classes of a document name as their bases."""
    return [
        re.split(r"\.|::", name)[-1]
        for name, lines in item.uses.get("base", {}).items()
        if any(one.line <= line <= one.stop for line in lines for one in bodies)
    ]


def _owner_at(item: ParsedDocument, line: int) -> str:
    """Return the owner of the method that a line stands in."""
    owner = ""
    for one in item.definitions:
        if one.line > line:
            break
        if one.stop >= line and one.kind == "method":
            owner = one.owner
    return owner
