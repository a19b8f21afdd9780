"""Parse one document with its tree-sitter grammar: definitions, references, imports.

This is run in a worker process only (parsing.py): the parsers are C code over hostile text. The
grammars come in wheels of their own; nothing is fetched at run time.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from rlm_mcp.corpus.mend import MENDED, mend
from rlm_mcp.corpus.tags import QUERIES

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Parser, Query

VERSION = 6
"""Raised when the queries change: what was parsed with older ones is parsed again."""

_MODULES = {
    "python": ("tree_sitter_python", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "go": ("tree_sitter_go", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "java": ("tree_sitter_java", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "csharp": ("tree_sitter_c_sharp", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
    "php": ("tree_sitter_php", "language_php"),
    "bash": ("tree_sitter_bash", "language"),
}
LANGUAGES = frozenset(_MODULES)
"""Languages with a grammar."""


class Definition(NamedTuple):
    """What a document defines. Lines count from 1; `stop` is included."""

    name: str
    kind: str
    line: int
    stop: int
    depth: int
    owner: str
    """The definition around it, as `Class.method` where there are several; or empty."""


_WIDTH = len(Definition._fields)

Uses = dict[str, dict[str, list[int]]]
"""Kind (call, base, type, import) to name to lines; an import's name is what is imported."""


Brief = tuple[dict[str, int], dict[str, str]]


class Parsed:
    """What one document defines and uses.

    Definitions are kept as columns, and each column and the uses are read from their text when
    they are asked for: a repository has hundreds of thousands, and most questions look at few.
    """

    __slots__ = ("_brief", "_columns", "_lines", "_uses")

    def __init__(self, columns: list[list[Any]], uses: Uses) -> None:
        self._columns: dict[int, list[Any]] = dict(enumerate(columns or [[]] * _WIDTH))
        self._uses: Uses | None = uses
        self._lines: list[str] = []
        self._brief: Brief | None = None

    @classmethod
    def of(cls, definitions: Sequence[Definition], uses: Uses) -> Parsed:
        """Make it from definitions in order."""
        return cls([list(column) for column in zip(*definitions, strict=True)], uses)

    @classmethod
    def read(cls, text: str) -> Parsed:
        """Make it from what `written` returned."""
        made = cls([], {})
        made._columns, made._uses, made._lines = {}, None, text.split("\n")
        return made

    def written(self) -> str:
        """Return it as text: a line for each column of the definitions, the uses and the brief."""
        parts = (*self.columns, self.uses, self.brief)
        return "\n".join(json.dumps(part, separators=(",", ":")) for part in parts)

    def column(self, number: int) -> list[Any]:
        """Return one column of the definitions, numbered as the fields of Definition are."""
        if number not in self._columns:
            self._columns[number] = json.loads(self._lines[number])
        return self._columns[number]

    @property
    def columns(self) -> list[list[Any]]:
        return [self.column(number) for number in range(_WIDTH)]

    @property
    def uses(self) -> Uses:
        if self._uses is None:
            self._uses = json.loads(self._lines[_WIDTH])
        return self._uses

    @property
    def brief(self) -> Brief:
        """How often each name is called, inherited from or used as a type; what is imported.

        An imported name has the last word of the module that it is from, or none.
        """
        if self._brief is None:
            self._brief = json.loads(self._lines[-1]) if self._lines else self._count()
        return self._brief

    def _count(self) -> Brief:
        counts: dict[str, int] = {}
        for kind in ("call", "base", "type"):
            for name, lines in self.uses.get(kind, {}).items():
                counts[name] = counts.get(name, 0) + len(lines)
        imported = {}
        for text in self.uses.get("import", {}):
            *modules, name = re.split(r"\W+", text)
            imported[name] = modules[-1] if modules else ""
        return counts, imported

    @property
    def names(self) -> Sequence[str]:
        """The names of the definitions, in order."""
        names: list[str] = self.column(0)
        return names

    @property
    def definitions(self) -> list[Definition]:
        """The definitions, in order."""
        return list(map(Definition._make, zip(*self.columns, strict=True)))


_WEAK = ("constant", "field", "type")
"""Kinds that give way to another one for the same name."""
_FLAT = ("constant", "field", "type", "property")
"""Kinds that nothing is inside of."""
_BUILT_IN = frozenset(
    {
        "any", "bool", "byte", "error", "float32", "float64", "int", "int8", "int16", "int32",
        "int64", "rune", "string", "uint", "uint8", "uint16", "uint32", "uint64", "uintptr",
    }
)  # fmt: skip
"""Types of Go that no document defines."""

_Found = dict[int, tuple[str, str, "Node", "Node"]]
"""First byte of a name to the name, its kind, and the nodes where it begins and ends."""


def parse(language: str, data: bytes) -> Parsed:
    """Parse one document; broken code gives what can be made out of it."""
    from tree_sitter import QueryCursor

    parser, query = _tools(language)
    tree = parser.parse(data)
    if language in MENDED:
        tree = mend(parser, data, tree)
    cursor = QueryCursor(query, match_limit=100_000)
    found: _Found = {}
    uses: Uses = {}
    tags = _tags(language)
    for pattern, captures in cursor.matches(tree.root_node):
        what, kind = tags[pattern]
        if what == "def":
            _define(found, kind, captures)
        elif kind in _SPREAD:
            into = uses.setdefault("import", {})
            for name, line in _SPREAD[kind](captures[f"ref.{kind}"][0]):
                into.setdefault(name, []).append(line)
        else:
            place = captures["name"][0]
            name = _text(place)
            if "prefix" in captures:
                name = f"{_text(captures['prefix'][0])}\\{name}"
            uses.setdefault(kind, {}).setdefault(name, []).append(place.start_point.row + 1)
    _settle(language, uses)
    return Parsed.of(_nest(list(found.values())), uses)


@cache
def _tags(language: str) -> list[tuple[str, str]]:
    """Return the tag of each pattern of a language's query, in order, as (def or ref, kind)."""
    return re.findall(r"@(def|ref)\.(\w+)", QUERIES[language])


def _define(found: _Found, kind: str, captures: dict[str, list[Node]]) -> None:
    """Note a definition by where its name stands; a name may fit several patterns."""
    places = captures.get("name")
    place = places[0] if places else _declared(captures["decl"][0])
    if place is None:
        return
    known = found.get(place.start_byte)
    if known is not None and known[1] not in _WEAK:
        return
    name = _text(place).lstrip(":") if place.type == "simple_symbol" else _text(place)
    if place.type in ("qualified_identifier", "operator_cast"):
        name = _plain(name)
    if "owner" in captures:
        name = f"{_text(captures['owner'][0])}::{name}"

    node = captures[f"def.{kind}"][0]
    last = captures.get("body", [node])[-1]
    if kind == "field" and captures.get("decl") and _calls(captures["decl"][0]):
        kind = "method"
    found[place.start_byte] = (name, kind, node, last)


_NAMES = frozenset(
    {
        "identifier", "field_identifier", "type_identifier", "qualified_identifier",
        "destructor_name", "operator_name", "operator_cast", "template_function",
    }
)  # fmt: skip


def _declared(node: Node) -> Node | None:
    """Return the name in a C or C++ declarator, whatever pointers and brackets are around it."""
    for _ in range(20):
        if node.type in _NAMES:
            return node.child_by_field_name("name") if node.type == "template_function" else node
        inner = node.child_by_field_name("declarator")
        if inner is None:
            some = [child for child in node.named_children if child.type != "ms_call_modifier"]
            inner = some[-1] if some else None
        if inner is None:
            return None
        node = inner
    return None


def _plain(name: str) -> str:
    """Return a C++ name without template arguments and parameters."""
    head, operator, rest = name.partition("operator")
    while (cut := re.sub(r"<[^<>]*>", "", head)) != head:
        head = cut
    return head + operator + rest.split("()")[0].split(" const")[0].rstrip()


def _calls(node: Node) -> bool:
    """Say whether a member's declarator is a function's (and not a pointer to one)."""
    while node.type in ("pointer_declarator", "reference_declarator"):
        node = node.child_by_field_name("declarator") or node.named_children[-1]
    if node.type != "function_declarator":
        return node.type == "operator_cast"
    inner = node.child_by_field_name("declarator")
    return inner is not None and inner.type != "parenthesized_declarator"


def _settle(language: str, uses: Uses) -> None:
    """Take out what only the whole document tells: local words, types that are built in."""
    bare, local = uses.pop("bare", {}), uses.pop("local", {})
    calls = uses.setdefault("call", {}) if bare else {}
    for name, lines in bare.items():
        if name not in local:
            calls[name] = sorted({*calls.get(name, []), *lines})
    if language == "go":
        for name in _BUILT_IN & uses.get("type", {}).keys():
            del uses["type"][name]


def _from(node: Node) -> Iterator[tuple[str, int]]:
    """Read Python's `from a import b, c` as uses of a and of a.b, a.c."""
    module = node.child_by_field_name("module_name")
    if module is None:
        return
    base, line = _text(module), node.start_point.row + 1
    yield base, line
    joint = "" if base.endswith(".") else "."
    for child in node.children_by_field_name("name"):
        target = child.child_by_field_name("name") or child
        yield f"{base}{joint}{_text(target)}", target.start_point.row + 1


def _use(node: Node) -> Iterator[tuple[str, int]]:
    """Read Rust's `use a::{b, c::d as e}` as uses of a::b and a::c::d."""
    argument = node.child_by_field_name("argument")
    todo = [("", argument, 0)] if argument is not None else []
    while todo:
        above, part, depth = todo.pop()
        if part.type == "use_as_clause":
            part = part.child_by_field_name("path") or part
        listed = part if part.type == "use_list" else part.child_by_field_name("list")
        if listed is None:
            last = _text(part).removesuffix("::*")
            name = above if last == "self" else f"{above}::{last}" if above else last
            yield name, part.start_point.row + 1
        elif depth < 20:
            path = part.child_by_field_name("path")
            inner = "::".join(filter(None, [above, _text(path) if path is not None else ""]))
            todo += [(inner, child, depth + 1) for child in reversed(listed.named_children)]


_SPREAD: dict[str, Callable[[Node], Iterator[tuple[str, int]]]] = {"from": _from, "use": _use}
"""Statements that import several things."""


def _nest(found: list[tuple[str, str, Node, Node]]) -> list[Definition]:
    found.sort(key=lambda item: (item[2].start_byte, -item[3].end_byte))
    stack: list[tuple[int, str, str]] = []
    definitions = []
    for name, kind, node, last in found:
        start, end = node.start_point, last.end_point
        while stack and stack[-1][0] <= node.start_byte:
            stack.pop()
        *outside, name = name.split("::") if "::" in name else [name]
        outside = list(filter(None, outside))
        owner = ".".join([*(outer for _, outer, _ in stack), *outside])
        if kind == "function" and (outside or (stack and stack[-1][2] in _BODIES)):
            kind = "method"
        stop = end.row + (end.column > 0)
        line = start.row + 1
        definitions.append(Definition(name, kind, line, max(line, stop), len(stack), owner))
        if kind not in _FLAT:
            stack.append((last.end_byte, ".".join([*outside, name]), kind))
    return definitions


_BODIES = ("class", "struct", "union", "impl", "trait", "interface")
"""Kinds in which a function is a method."""


def _text(node: Node) -> str:
    text = (node.text or b"").decode("utf-8", "replace")
    if text.isidentifier():
        return text
    if node.type in _QUOTED or text[:1] in ("'", '"', "`"):
        text = text.strip("\"'`<>")
    return " ".join(text.split())[:200]


_QUOTED = ("system_lib_string", "string_literal", "string", "encapsed_string", "raw_string")


@cache
def _tools(language: str) -> tuple[Parser, Query]:
    from tree_sitter import Language, Parser, Query

    module, function = _MODULES[language]
    grammar: Language = Language(getattr(importlib.import_module(module), function)())
    return Parser(grammar), Query(grammar, QUERIES[language])
