"""Say of a line that uses `Owner.name` whether it is that owner's name that is used.

Classes and what they inherit from are known by name; a receiver is read from the line, a variable
from the lines around it. Nothing is executed and no type is inferred through calls,
so what cannot be known stays in, marked as a match of the name alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.corpus.code.grammar import Definition, ParsedDocument
from rlm_mcp.corpus.code.language import language_of

if TYPE_CHECKING:
    from rlm_mcp.corpus.code.imports import ImportResolver


MAX_LINE_CHARS = 2_000
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


def find_receivers(line: str, word: str) -> Iterator[Receiver]:
    """Give the receiver of each place where a word stands on a line."""
    if len(line) > MAX_LINE_CHARS:
        yield Receiver((UNKNOWN,))
        return
    for match in re.finditer(rf"(?<![\w$]){re.escape(word)}(?![\w$])", line):
        before = line[: match.start()].removesuffix("#")  # a private name of JavaScript
        joint = _JOINT.search(before)
        yield _parse_receiver(before[: joint.start()].rstrip()) if joint else Receiver(())


def _parse_receiver(before: str) -> Receiver:
    made = before.endswith(")")
    if made:
        before = before[: _opening_bracket(before)].rstrip()
    plain = _PLAIN.search(before)
    if plain is None:
        return Receiver((UNKNOWN,))
    parts = tuple(filter(None, re.split(r"[?.:>-]+", plain[1])))
    if len(parts) > 1 and parts[-1] == "new":  # Ruby's and Rust's way to make one
        return Receiver(parts[:-1], True)
    return Receiver(parts, made)


def _opening_bracket(text: str) -> int:
    """Return where the bracket opens that closes at the end of a text; 0 where it does not."""
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += (text[place] == ")") - (text[place] == "(")
        if depth == 0:
            return place
    return 0


def assigned_classes(lines: Iterable[str], variable: str) -> set[str]:
    """Return the names of classes that lines say a variable is of; UNKNOWN for anything else."""
    name = rf"(?<![\w.$]){re.escape(variable)}"
    given = re.compile(rf"{name}\s*(?::[^=(]*)?:?=(?!=)\s*(.*)")
    said = re.compile(rf"{name}\s*\??:\s*[\"'&*]*(?:mut\s+)?(?:Optional\[|Type\[)?{_CLASS}")
    before = re.compile(rf"{_CLASS}(?:<[^<>]*>)?[\s*&]+{re.escape(variable)}\s*[=;,)]")
    behind = re.compile(rf"[(,]\s*{re.escape(variable)}\s+\*?{_CLASS}\s*[,)]")
    found: set[str] = set()
    for line in lines:
        if variable not in line or len(line) > MAX_LINE_CHARS:
            continue
        for pattern in (said, before, behind):
            found.update(match[1] for match in pattern.finditer(line))
        if match := given.search(line):
            made = _CONSTRUCTOR.match(match[1])
            found.add(made[1] if made else UNKNOWN)
    return {re.split(r"\.|::", text)[-1] for text in found}


_CONSTRUCTOR = re.compile(
    rf"(?:await\s+)?(?:new\s+|&)?{_CLASS}\s*(?:(?:\.|::)new\b)?\s*(?:<[^<>]*>)?[({{]"
)


CLASS, VARIABLE, OVERRIDE, MODULE, NAME, OTHER = (
    "class", "variable", "override", "module", "name", ""
)  # fmt: skip
"""How it is known: the receiver is the class or a subclass's own object; a variable that is made or
declared as one; an object of a class above, whose method the owner overrides; a function of the
module; by the name only. OTHER: it is something else."""

BASIS_ORDER = (CLASS, MODULE, VARIABLE, OVERRIDE, NAME, OTHER)
"""The surest first."""
BODY_KINDS = frozenset({"class", "struct", "union", "impl", "trait", "interface", "module", "enum"})
_SELF_NAMES = frozenset({"self", "cls", "this", "$this", "Self", "static"})
_SUPER_NAMES = frozenset({"super", "parent", "base"})
_IMPLICIT_SELF = frozenset({"java", "kotlin", "csharp", "cpp", "ruby", "swift", "scala"})
"""Languages in which a method of one's own is called without a receiver."""
_MAX_DEPTH = 10
"""Steps of inheritance that are followed."""

ParseDefiners = Callable[[Sequence[str]], Mapping[str, ParsedDocument]]
"""Parses the documents that define some classes."""


class ClassInfo(NamedTuple):
    """A class by name; what it inherits from by name, and the names it defines."""

    path: str
    name: str
    bases: tuple[str, ...]
    members: frozenset[str]


class UsageLine(NamedTuple):
    """A line that uses a name: its document, its number, and the document's lines."""

    path: str
    number: int
    parsed: ParsedDocument
    lines: Sequence[str]

    @property
    def line_text(self) -> str:
        return self.lines[self.number - 1] if self.number <= len(self.lines) else ""


class _UsagePlace(NamedTuple):
    """Where a name stands: in which definitions, behind what, and what that was made of."""

    line: UsageLine
    inside: tuple[Definition, ...]
    receiver: Receiver
    classes: frozenset[str]


class OwnerResolver:
    """The classes around the lines that use a name, and whether they are the owner's."""

    def __init__(self, owner: str, word: str, parse: ParseDefiners) -> None:
        self._owner, self._word, self._parse = owner, word, parse
        self._last = owner.rsplit(".", 1)[-1]
        self._classes: dict[str, list[ClassInfo]] = {}
        self._documents: set[str] = set()
        self._sought: set[str] = set()
        self._lines: dict[ClassInfo, tuple[ClassInfo | None, ...]] = {}
        self._types: dict[tuple[str, int, str], frozenset[str]] = {}

    def add_classes(self, parsed: Mapping[str, ParsedDocument]) -> None:
        """Take in the classes of some documents."""
        self._lines.clear()
        for path, item in parsed.items():
            if path not in self._documents:
                self._documents.add(path)
                for made in _classes_in(path, item):
                    self._classes.setdefault(made.name.rsplit(".", 1)[-1], []).append(made)

    @property
    def is_known(self) -> bool:
        """Whether the owner is a class of the corpus."""
        return any(self._is_owner(item) for item in self._classes_named(self._last))

    def judge_lines(self, lines: Sequence[UsageLine]) -> list[str]:
        """Say of each line how it is known that the owner's name is used; OTHER where it is not."""
        places = [list(self._usage_places(line)) for line in lines]
        names: set[str] = {self._last}
        for place in (one for some in places for one in some):
            names |= {_enclosing_class(place.inside), *place.receiver.parts[-1:], *place.classes}
        for _ in range(_MAX_DEPTH):
            self._load_classes(names)
            known = [item for name in names for item in self._classes.get(name, ())]
            names = {base for item in known for base in item.bases}
        told = ([self._judge_place(place) for place in some] for some in places)
        return [min(some, key=BASIS_ORDER.index, default=NAME) for some in told]

    def _usage_places(self, line: UsageLine) -> Iterator[_UsagePlace]:
        inside = tuple(_enclosing_definitions(line.parsed, line.number))
        for receiver in find_receivers(line.line_text, self._word):
            classes: frozenset[str] = frozenset()
            parts = receiver.parts
            if (
                parts
                and not receiver.made
                and parts[-1] not in _SELF_NAMES
                and UNKNOWN not in parts
            ):
                classes = self._assigned_classes(".".join(parts), line, inside)
            yield _UsagePlace(line, inside, receiver, classes)

    def _assigned_classes(
        self, name: str, line: UsageLine, inside: Sequence[Definition]
    ) -> frozenset[str]:
        """Return what a variable is of: one of a function, or of the object around it."""
        first, dot, _ = name.partition(".")
        bodies = [item for item in inside if item.kind in BODY_KINDS]
        where = bodies[-1:] if dot and first in _SELF_NAMES else inside[len(bodies) :][:1]
        key = (line.path, where[0].line if where else 0, name)
        if key not in self._types:
            self._types[key] = frozenset(assigned_classes(_body_lines(where, line.lines), name))
        return self._types[key]

    def _judge_place(self, place: _UsagePlace) -> str:
        line, inside, (parts, made), classes = place
        around, kind = _enclosing_class(inside), language_of(line.path)
        if not parts and kind in _IMPLICIT_SELF:
            parts = ("self",)
        if not parts:
            if self._is_reassigned(inside, line.lines):
                return NAME
            body = bool(inside) and inside[-1].kind in BODY_KINDS
            return self._class_verdict(around, line.path, virtual=False) if body else OTHER
        if parts[-1] in _SELF_NAMES or (
            kind == "go" and parts[-1] == _go_receiver(inside, line.lines)
        ):
            return self._class_verdict(around, line.path, virtual=True) if around else NAME
        if parts[0] in _SUPER_NAMES and len(parts) == 1:
            return self._super_verdict(around, line.path)
        if UNKNOWN in parts:
            return NAME
        if self._classes_named(parts[-1]):
            return self._class_verdict(parts[-1], line.path, virtual=False)
        if made:
            return NAME
        if len(parts) == 1 and parts[0] in line.parsed.uses.get("import", {}):
            return OTHER  # a module
        told = {
            self._class_verdict(known, line.path, virtual=True)
            if self._classes_named(known)
            else NAME
            for known in classes or {UNKNOWN}
        }
        if len(told) == 1:
            return told.pop().replace(CLASS, VARIABLE)
        return VARIABLE if CLASS in told else NAME

    def _is_reassigned(self, inside: Sequence[Definition], lines: Sequence[str]) -> bool:
        """Say whether a function gives the bare word a meaning of its own."""
        given = re.compile(rf"\b{re.escape(self._word)}\b\s*:?=(?!=)")
        return any(
            self._word in line and given.search(line) for line in _body_lines(inside[:1], lines)
        )

    def _class_verdict(self, name: str, path: str, *, virtual: bool) -> str:
        """Say whose the name is in a class; `virtual`: its objects may be those of a subclass."""
        found = self._classes_named(name)
        near = [item for item in found if item.path == path] or found
        told = {self._item_verdict(item, virtual=virtual) for item in near}
        return told.pop() if len(told) == 1 else NAME

    def _item_verdict(self, item: ClassInfo, *, virtual: bool) -> str:
        for above in self._with_ancestors(item):
            if self._is_owner(above):
                return CLASS
            if above is None or self._word in above.members:
                break
        owners = [one for one in self._classes_named(self._last) if self._is_owner(one)]
        if virtual and any(item in self._with_ancestors(owner) for owner in owners):
            return OVERRIDE
        # Without a method of its own it may be a mixin, or have it from outside.
        has = any(above and self._word in above.members for above in self._with_ancestors(item))
        return OTHER if has else NAME

    def _super_verdict(self, around: str, path: str) -> str:
        bases = [base for item in self._classes_named(around) for base in item.bases]
        told = {
            self._class_verdict(base, path, virtual=False)
            for base in bases
            if self._classes_named(base)
        }
        if CLASS in told:
            return CLASS if told == {CLASS} or len(bases) > 1 else NAME
        return NAME if NAME in told or not told else OTHER

    def _with_ancestors(self, item: ClassInfo) -> tuple[ClassInfo | None, ...]:
        """Return a class and those above it, the nearest first; None for one that is not known."""
        if item not in self._lines:
            self._lines[item] = tuple(self._walk_bases(item))
        return self._lines[item]

    def _walk_bases(self, item: ClassInfo) -> Iterator[ClassInfo | None]:
        todo: list[ClassInfo | None] = [item]
        seen = {item}
        for _ in range(_MAX_DEPTH):
            yield from todo
            following: list[ClassInfo | None] = []
            for one in todo:
                for base in one.bases if one else ():
                    found = self._classes.get(base, [])
                    near = [two for two in found if one and two.path == one.path] or found
                    fresh = [two for two in near if two not in seen]
                    seen.update(fresh)
                    following += fresh or ([] if near else [None])
            todo = following

    def _classes_named(self, name: str) -> list[ClassInfo]:
        """Return the classes of a name, looking for their documents once."""
        if name not in self._classes:
            self._load_classes({name})
        return self._classes.get(name, [])

    def _load_classes(self, names: Iterable[str]) -> None:
        """Parse the documents that define classes of these names, unless they were sought."""
        wanted = {name for name in names if name[:1].isupper()} - self._sought
        if wanted:
            self._sought |= wanted
            self.add_classes(self._parse(sorted(wanted)))

    def _is_owner(self, item: ClassInfo | None) -> bool:
        return item is not None and f".{item.name}".endswith(f".{self._owner}")


def _classes_in(path: str, item: ParsedDocument) -> Iterator[ClassInfo]:
    """Give the classes of a document, also those that only methods outside of them tell."""
    bodies = [one for one in item.definitions if one.kind in BODY_KINDS]
    members: dict[str, set[str]] = {_full_name(one): set() for one in bodies}
    for one in item.definitions:
        if one.owner and (one.owner in members or one.kind in ("method", "function")):
            members.setdefault(one.owner, set()).update({one.name, one.name.removeprefix("#")})
    bases: dict[str, list[str]] = {}
    for base, places in item.uses.get("base", {}).items():
        for line in places:
            inner = [one for one in bodies if one.line <= line <= one.stop]
            if inner:
                bases.setdefault(_full_name(inner[-1]), []).append(re.split(r"\.|::", base)[-1])
    functions = {_full_name(one) for one in item.definitions if one.kind in ("function", "method")}
    for name, own in members.items():
        if name not in functions:
            yield ClassInfo(path, name, tuple(bases.get(name, ())), frozenset(own))


def _full_name(item: Definition) -> str:
    return f"{item.owner}.{item.name}" if item.owner else item.name


def _enclosing_definitions(item: ParsedDocument, line: int) -> Iterator[Definition]:
    """Give the definitions that a line stands in, the outermost first."""
    for one in item.definitions:
        if one.line > line:
            break
        if one.stop >= line and one.kind not in ("constant", "field", "type", "property"):
            yield one


def _enclosing_class(inside: Sequence[Definition]) -> str:
    """Return the name of the innermost class, or the owner of a method outside of it."""
    name = ""
    for one in inside:
        if one.kind in BODY_KINDS:
            name = one.name
        elif not name and one.kind == "method" and one.owner:
            name = one.owner.rsplit(".", 1)[-1]
    return name


def _body_lines(inside: Sequence[Definition], lines: Sequence[str]) -> Iterable[str]:
    return lines[inside[0].line - 1 : inside[0].stop] if inside else ()


def _go_receiver(inside: Sequence[Definition], lines: Sequence[str]) -> str:
    """Return what a method of Go calls its own object."""
    for one in inside:
        if found := re.match(r"func\s*\(\s*(\w+)\s", next(iter(_body_lines([one], lines)), "")):
            return found[1]
    return ""


_RESOLVED_LANGUAGES = frozenset({"python", "javascript", "typescript", "tsx", "go"})
"""Languages whose imports tell what a bare name is."""
PACKAGE_STEMS = ("__init__", "index", "mod")


class ModuleResolver:
    """The documents that are the module, and those that import its function."""

    def __init__(
        self, owner: str, word: str, imports: ImportResolver, parsed: Mapping[str, ParsedDocument]
    ) -> None:
        self._word, self._imports = word, imports
        self._last = owner.rsplit(".", 1)[-1]
        self._targets = {
            path
            for path, item in parsed.items()
            if f".{module_name(path)}".endswith(f".{owner}") and word in _top_names(item)
        }
        for _ in range(3):  # a package may hand on what it imports
            handed = {
                path
                for path, item in parsed.items()
                if path.rsplit("/", 1)[-1].partition(".")[0] in PACKAGE_STEMS
                and self._imports_function(path, item)
            }
            if handed <= self._targets:
                break
            self._targets |= handed

    @property
    def is_known(self) -> bool:
        """Whether a document is the module and defines the name."""
        return bool(self._targets)

    def judge_lines(self, lines: Sequence[UsageLine]) -> list[str]:
        """Say of each line how it is known that the function is used; OTHER where it is not."""
        return [self._line_basis(line) for line in lines]

    def _line_basis(self, line: UsageLine) -> str:
        if language_of(line.path) not in _RESOLVED_LANGUAGES:
            return NAME
        told = [
            self._receiver_basis(known, line.path, line.parsed, line.lines)
            for known in find_receivers(line.line_text, self._word)
        ]
        return min(told, key=BASIS_ORDER.index, default=NAME)

    def _receiver_basis(
        self, receiver: Receiver, path: str, item: ParsedDocument, lines: Sequence[str]
    ) -> str:
        parts = receiver.parts
        if parts:
            if not receiver.made and parts[-1] in self._local_names(path, item, lines):
                return MODULE
            return NAME if parts[-1] == self._last else OTHER
        if self._is_target(path) or self._imports_function(path, item):
            return MODULE
        if self._word in _top_names(item):
            return OTHER
        brought = self._module_imports(path, item)
        named = any(self._word in lines[place - 1] for _, place in brought if place <= len(lines))
        if named and language_of(path) != "python":
            return MODULE
        return NAME if brought else OTHER

    def _is_target(self, path: str) -> bool:
        if path in self._targets:
            return True
        folder = path.rpartition("/")[0]
        return path.endswith(".go") and any(
            known.endswith(".go") and known.rpartition("/")[0] == folder for known in self._targets
        )

    def _means_module(self, path: str, text: str) -> bool:
        return any(self._imports.resolves_to(path, text, known) for known in self._targets)

    def _imports_function(self, path: str, item: ParsedDocument) -> bool:
        """Say whether a document imports the function itself (`from module import name`)."""
        for text in item.uses.get("import", {}):
            above = text.removesuffix(self._word)
            if above != text and above[-1:] == ".":
                base = above if not above.strip(".") else above.rstrip(".")
                if self._means_module(path, base):
                    return True
        return False

    def _module_imports(self, path: str, item: ParsedDocument) -> list[tuple[str, int]]:
        """Return the imports of the module itself, with their lines."""
        return [
            (text, line)
            for text, places in item.uses.get("import", {}).items()
            if self._means_module(path, text)
            for line in places
        ]

    def _local_names(self, path: str, item: ParsedDocument, lines: Sequence[str]) -> set[str]:
        """Return what a document calls the module."""
        found = set()
        for text, line in self._module_imports(path, item):
            last = re.split(r"[./]", text)[-1]
            shown = lines[line - 1] if line <= len(lines) else ""
            other = re.search(rf"\b{re.escape(last)}\s+as\s+(\w+)|\*\s+as\s+(\w+)", shown)
            found.add((other[1] or other[2]) if other else last)
        return found


def module_name(path: str) -> str:
    """Return the dotted name of a document as a module; a folder in Go."""
    stem, _, suffix = path.rpartition(".")
    if suffix == "go":
        stem = path.rpartition("/")[0]
    head, _, last = stem.rpartition("/")
    return (head if last in PACKAGE_STEMS else stem).replace("/", ".")


def _top_names(item: ParsedDocument) -> set[str]:
    """Return what a document defines outside of anything else."""
    return {one.name for one in item.definitions if not one.owner}
