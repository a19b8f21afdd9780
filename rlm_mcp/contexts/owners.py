"""Say of a line that uses `Owner.name` whether it is that owner's name that is used.

Classes and what they inherit from are known by name; a receiver is read from the line, a variable
from the lines around it (receivers.py). Nothing is executed and no type is inferred through calls,
so what cannot be known stays in, marked as a match of the name alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rlm_mcp.contexts.receivers import UNKNOWN, Receiver, made_of, receivers
from rlm_mcp.corpus.grammar import Definition, Parsed
from rlm_mcp.corpus.language import language

CLASS, VARIABLE, OVERRIDE, MODULE, NAME, OTHER = (
    "class", "variable", "override", "module", "name", ""
)  # fmt: skip
"""How it is known: the receiver is the class or an heir's own object; a variable that is made or
declared as one; an object of a class above, whose method the owner overrides; a function of the
module; by the name only. OTHER: it is something else."""

ORDER = (CLASS, MODULE, VARIABLE, OVERRIDE, NAME, OTHER)
"""The surest first."""
BODIES = frozenset({"class", "struct", "union", "impl", "trait", "interface", "module", "enum"})
_SELF = frozenset({"self", "cls", "this", "$this", "Self", "static"})
_ABOVE = frozenset({"super", "parent", "base"})
_BARE = frozenset({"java", "kotlin", "csharp", "cpp", "ruby", "swift", "scala"})
"""Languages in which a method of one's own is called without a receiver."""
_DEEPEST = 10
"""Steps of inheritance that are followed."""

Parse = Callable[[Sequence[str]], Mapping[str, Parsed]]
"""Parses the documents that define some classes."""


class Class(NamedTuple):
    """A class by name; what it inherits from by name, and the names it defines."""

    path: str
    name: str
    bases: tuple[str, ...]
    members: frozenset[str]


class Line(NamedTuple):
    """A line that uses a name: its document, its number, and the document's lines."""

    path: str
    number: int
    parsed: Parsed
    lines: Sequence[str]

    @property
    def text(self) -> str:
        return self.lines[self.number - 1] if self.number <= len(self.lines) else ""


class _Place(NamedTuple):
    """Where a name stands: in which definitions, behind what, and what that was made of."""

    line: Line
    inside: tuple[Definition, ...]
    receiver: Receiver
    classes: frozenset[str]


class Owners:
    """The classes around the lines that use a name, and whether they are the owner's."""

    def __init__(self, owner: str, word: str, parse: Parse) -> None:
        self._owner, self._word, self._parse = owner, word, parse
        self._last = owner.rsplit(".", 1)[-1]
        self._classes: dict[str, list[Class]] = {}
        self._documents: set[str] = set()
        self._sought: set[str] = set()
        self._lines: dict[Class, tuple[Class | None, ...]] = {}
        self._types: dict[tuple[str, int, str], frozenset[str]] = {}

    def add(self, parsed: Mapping[str, Parsed]) -> None:
        """Take in the classes of some documents."""
        self._lines.clear()
        for path, item in parsed.items():
            if path not in self._documents:
                self._documents.add(path)
                for made in _classes(path, item):
                    self._classes.setdefault(made.name.rsplit(".", 1)[-1], []).append(made)

    @property
    def known(self) -> bool:
        """Whether the owner is a class of the corpus."""
        return any(self._is_owner(item) for item in self._named(self._last))

    def judge(self, lines: Sequence[Line]) -> list[str]:
        """Say of each line how it is known that the owner's name is used; OTHER where it is not."""
        places = [list(self._places(line)) for line in lines]
        names: set[str] = {self._last}
        for place in (one for some in places for one in some):
            names |= {_class_around(place.inside), *place.receiver.parts[-1:], *place.classes}
        for _ in range(_DEEPEST):
            self._seek(names)
            known = [item for name in names for item in self._classes.get(name, ())]
            names = {base for item in known for base in item.bases}
        told = ([self._one(place) for place in some] for some in places)
        return [min(some, key=ORDER.index, default=NAME) for some in told]

    def _places(self, line: Line) -> Iterator[_Place]:
        inside = tuple(_around(line.parsed, line.number))
        for receiver in receivers(line.text, self._word):
            classes: frozenset[str] = frozenset()
            parts = receiver.parts
            if parts and not receiver.made and parts[-1] not in _SELF and UNKNOWN not in parts:
                classes = self._made_of(".".join(parts), line, inside)
            yield _Place(line, inside, receiver, classes)

    def _made_of(self, name: str, line: Line, inside: Sequence[Definition]) -> frozenset[str]:
        """Return what a variable is of: one of a function, or of the object around it."""
        first, dot, _ = name.partition(".")
        bodies = [item for item in inside if item.kind in BODIES]
        where = bodies[-1:] if dot and first in _SELF else inside[len(bodies) :][:1]
        key = (line.path, where[0].line if where else 0, name)
        if key not in self._types:
            self._types[key] = frozenset(made_of(_span(where, line.lines), name))
        return self._types[key]

    def _one(self, place: _Place) -> str:
        line, inside, (parts, made), classes = place
        around, kind = _class_around(inside), language(line.path)
        if not parts and kind in _BARE:
            parts = ("self",)
        if not parts:
            if self._assigned(inside, line.lines):
                return NAME
            body = bool(inside) and inside[-1].kind in BODIES
            return self._verdict(around, line.path, virtual=False) if body else OTHER
        if parts[-1] in _SELF or (kind == "go" and parts[-1] == _receives(inside, line.lines)):
            return self._verdict(around, line.path, virtual=True) if around else NAME
        if parts[0] in _ABOVE and len(parts) == 1:
            return self._above(around, line.path)
        if UNKNOWN in parts:
            return NAME
        if self._named(parts[-1]):
            return self._verdict(parts[-1], line.path, virtual=False)
        if made:
            return NAME
        if len(parts) == 1 and parts[0] in line.parsed.uses.get("import", {}):
            return OTHER  # a module
        told = {
            self._verdict(known, line.path, virtual=True) if self._named(known) else NAME
            for known in classes or {UNKNOWN}
        }
        if len(told) == 1:
            return told.pop().replace(CLASS, VARIABLE)
        return VARIABLE if CLASS in told else NAME

    def _assigned(self, inside: Sequence[Definition], lines: Sequence[str]) -> bool:
        """Say whether a function gives the bare word a meaning of its own."""
        given = re.compile(rf"\b{re.escape(self._word)}\b\s*:?=(?!=)")
        return any(self._word in line and given.search(line) for line in _span(inside[:1], lines))

    def _verdict(self, name: str, path: str, *, virtual: bool) -> str:
        """Say whose the name is in a class; `virtual`: its objects may be those of an heir."""
        found = self._named(name)
        near = [item for item in found if item.path == path] or found
        told = {self._of(item, virtual=virtual) for item in near}
        return told.pop() if len(told) == 1 else NAME

    def _of(self, item: Class, *, virtual: bool) -> str:
        for above in self._line(item):
            if self._is_owner(above):
                return CLASS
            if above is None or self._word in above.members:
                break
        owners = [one for one in self._named(self._last) if self._is_owner(one)]
        if virtual and any(item in self._line(owner) for owner in owners):
            return OVERRIDE
        # Without a method of its own it may be a mixin, or have it from outside.
        has = any(above and self._word in above.members for above in self._line(item))
        return OTHER if has else NAME

    def _above(self, around: str, path: str) -> str:
        bases = [base for item in self._named(around) for base in item.bases]
        told = {self._verdict(base, path, virtual=False) for base in bases if self._named(base)}
        if CLASS in told:
            return CLASS if told == {CLASS} or len(bases) > 1 else NAME
        return NAME if NAME in told or not told else OTHER

    def _line(self, item: Class) -> tuple[Class | None, ...]:
        """Return a class and those above it, the nearest first; None for one that is not known."""
        if item not in self._lines:
            self._lines[item] = tuple(self._climb(item))
        return self._lines[item]

    def _climb(self, item: Class) -> Iterator[Class | None]:
        todo: list[Class | None] = [item]
        seen = {item}
        for _ in range(_DEEPEST):
            yield from todo
            following: list[Class | None] = []
            for one in todo:
                for base in one.bases if one else ():
                    found = self._classes.get(base, [])
                    near = [two for two in found if one and two.path == one.path] or found
                    fresh = [two for two in near if two not in seen]
                    seen.update(fresh)
                    following += fresh or ([] if near else [None])
            todo = following

    def _named(self, name: str) -> list[Class]:
        """Return the classes of a name, looking for their documents once."""
        if name not in self._classes:
            self._seek({name})
        return self._classes.get(name, [])

    def _seek(self, names: Iterable[str]) -> None:
        """Parse the documents that define classes of these names, unless they were sought."""
        wanted = {name for name in names if name[:1].isupper()} - self._sought
        if wanted:
            self._sought |= wanted
            self.add(self._parse(sorted(wanted)))

    def _is_owner(self, item: Class | None) -> bool:
        return item is not None and f".{item.name}".endswith(f".{self._owner}")


def _classes(path: str, item: Parsed) -> Iterator[Class]:
    """Give the classes of a document, also those that only methods outside of them tell."""
    bodies = [one for one in item.definitions if one.kind in BODIES]
    members: dict[str, set[str]] = {_full(one): set() for one in bodies}
    for one in item.definitions:
        if one.owner and (one.owner in members or one.kind in ("method", "function")):
            members.setdefault(one.owner, set()).update({one.name, one.name.removeprefix("#")})
    bases: dict[str, list[str]] = {}
    for base, places in item.uses.get("base", {}).items():
        for line in places:
            inner = [one for one in bodies if one.line <= line <= one.stop]
            if inner:
                bases.setdefault(_full(inner[-1]), []).append(re.split(r"\.|::", base)[-1])
    functions = {_full(one) for one in item.definitions if one.kind in ("function", "method")}
    for name, own in members.items():
        if name not in functions:
            yield Class(path, name, tuple(bases.get(name, ())), frozenset(own))


def _full(item: Definition) -> str:
    return f"{item.owner}.{item.name}" if item.owner else item.name


def _around(item: Parsed, line: int) -> Iterator[Definition]:
    """Give the definitions that a line stands in, the outermost first."""
    for one in item.definitions:
        if one.line > line:
            break
        if one.stop >= line and one.kind not in ("constant", "field", "type", "property"):
            yield one


def _class_around(inside: Sequence[Definition]) -> str:
    """Return the name of the innermost class, or the owner of a method outside of it."""
    name = ""
    for one in inside:
        if one.kind in BODIES:
            name = one.name
        elif not name and one.kind == "method" and one.owner:
            name = one.owner.rsplit(".", 1)[-1]
    return name


def _span(inside: Sequence[Definition], lines: Sequence[str]) -> Iterable[str]:
    return lines[inside[0].line - 1 : inside[0].stop] if inside else ()


def _receives(inside: Sequence[Definition], lines: Sequence[str]) -> str:
    """Return what a method of Go calls its own object."""
    for one in inside:
        if found := re.match(r"func\s*\(\s*(\w+)\s", next(iter(_span([one], lines)), "")):
            return found[1]
    return ""
