"""Parse one document with its tree-sitter grammar: definitions, references, imports.

This is run in a worker process only (parse_pool.py): the parsers are C code over hostile text. The
grammars come in wheels of their own; nothing is fetched at run time.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from rlm_mcp.corpus.code.c_macros import PREPROCESSED_LANGUAGES, reparse_without_macros
from rlm_mcp.corpus.code.tag_queries import TAG_QUERIES

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Parser, Query


GRAMMAR_VERSION = 6
"""Raised when the queries change: what was parsed with older ones is parsed again."""

_GRAMMAR_MODULES = {
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
LANGUAGES = frozenset(_GRAMMAR_MODULES)
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


_COLUMN_COUNT = len(Definition._fields)

UsesByKind = dict[str, dict[str, list[int]]]
"""Kind (call, base, type, import) to name to lines; an import's name is what is imported."""


NameCounts = tuple[dict[str, int], dict[str, str]]


class ParsedDocument:
    """What one document defines and uses.

    Definitions are kept as columns, and each column and the uses are read from their text when
    they are asked for: a repository has hundreds of thousands, and most questions look at few.
    """

    __slots__ = ("_columns", "_lines", "_name_counts", "_uses")

    def __init__(self, columns: list[list[Any]], uses: UsesByKind) -> None:
        self._columns: dict[int, list[Any]] = dict(enumerate(columns or [[]] * _COLUMN_COUNT))
        self._uses: UsesByKind | None = uses
        self._lines: list[str] = []
        self._name_counts: NameCounts | None = None

    @classmethod
    def from_definitions(
        cls, definitions: Sequence[Definition], uses: UsesByKind
    ) -> ParsedDocument:
        """Make it from definitions in order."""
        return cls([list(column) for column in zip(*definitions, strict=True)], uses)

    @classmethod
    def from_text(cls, text: str) -> ParsedDocument:
        """Make it from what `written` returned."""
        made = cls([], {})
        made._columns, made._uses, made._lines = {}, None, text.split("\n")
        return made

    def to_text(self) -> str:
        """Return it as text: a line for each column of the definitions, the uses and the brief."""
        parts = (*self.columns, self.uses, self.name_counts)
        return "\n".join(json.dumps(part, separators=(",", ":")) for part in parts)

    def read_column(self, number: int) -> list[Any]:
        """Return one column of the definitions, numbered as the fields of Definition are."""
        if number not in self._columns:
            self._columns[number] = json.loads(self._lines[number])
        return self._columns[number]

    @property
    def columns(self) -> list[list[Any]]:
        return [self.read_column(number) for number in range(_COLUMN_COUNT)]

    @property
    def uses(self) -> UsesByKind:
        if self._uses is None:
            self._uses = json.loads(self._lines[_COLUMN_COUNT])
        return self._uses

    @property
    def name_counts(self) -> NameCounts:
        """How often each name is called, inherited from or used as a type; what is imported.

        An imported name has the last word of the module that it is from, or none.
        """
        if self._name_counts is None:
            self._name_counts = json.loads(self._lines[-1]) if self._lines else self._count_names()
        return self._name_counts

    def _count_names(self) -> NameCounts:
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
        names: list[str] = self.read_column(0)
        return names

    @property
    def definitions(self) -> list[Definition]:
        """The definitions, in order."""
        return list(map(Definition._make, zip(*self.columns, strict=True)))


_WEAK_KINDS = ("constant", "field", "type")
"""Kinds that give way to another one for the same name."""
_FLAT_KINDS = ("constant", "field", "type", "property")
"""Kinds that nothing is inside of."""
_GO_BUILTINS = frozenset(
    {
        "any", "bool", "byte", "error", "float32", "float64", "int", "int8", "int16", "int32",
        "int64", "rune", "string", "uint", "uint8", "uint16", "uint32", "uint64", "uintptr",
    }
)  # fmt: skip
"""Types of Go that no document defines."""

_FoundNames = dict[int, tuple[str, str, "Node", "Node"]]
"""First byte of a name to the name, its kind, and the nodes where it begins and ends."""


def parse_document(language: str, data: bytes) -> ParsedDocument:
    """Parse one document; broken code gives what can be made out of it."""
    from tree_sitter import QueryCursor

    parser, query = _parser_and_query(language)
    tree = parser.parse(data)
    if language in PREPROCESSED_LANGUAGES:
        tree = reparse_without_macros(parser, data, tree)
    cursor = QueryCursor(query, match_limit=100_000)
    found: _FoundNames = {}
    uses: UsesByKind = {}
    tags = _query_tags(language)
    for pattern, captures in cursor.matches(tree.root_node):
        what, kind = tags[pattern]
        if what == "def":
            _note_definition(found, kind, captures)
        elif kind in _IMPORT_LISTS:
            into = uses.setdefault("import", {})
            for name, line in _IMPORT_LISTS[kind](captures[f"ref.{kind}"][0]):
                into.setdefault(name, []).append(line)
        else:
            place = captures["name"][0]
            name = _node_text(place)
            if "prefix" in captures:
                name = f"{_node_text(captures['prefix'][0])}\\{name}"
            uses.setdefault(kind, {}).setdefault(name, []).append(place.start_point.row + 1)
    _drop_local_uses(language, uses)
    return ParsedDocument.from_definitions(_nest_definitions(list(found.values())), uses)


@cache
def _query_tags(language: str) -> list[tuple[str, str]]:
    """Return the tag of each pattern of a language's query, in order, as (def or ref, kind)."""
    return re.findall(r"@(def|ref)\.(\w+)", TAG_QUERIES[language])


def _note_definition(found: _FoundNames, kind: str, captures: dict[str, list[Node]]) -> None:
    """Note a definition by where its name stands; a name may fit several patterns."""
    places = captures.get("name")
    place = places[0] if places else _declared_name(captures["decl"][0])
    if place is None:
        return
    known = found.get(place.start_byte)
    if known is not None and known[1] not in _WEAK_KINDS:
        return
    name = _node_text(place).lstrip(":") if place.type == "simple_symbol" else _node_text(place)
    if place.type in ("qualified_identifier", "operator_cast"):
        name = _strip_templates(name)
    if "owner" in captures:
        name = f"{_node_text(captures['owner'][0])}::{name}"

    node = captures[f"def.{kind}"][0]
    last = captures.get("body", [node])[-1]
    if kind == "field" and captures.get("decl") and _is_function(captures["decl"][0]):
        kind = "method"
    found[place.start_byte] = (name, kind, node, last)


_NAME_NODES = frozenset(
    {
        "identifier", "field_identifier", "type_identifier", "qualified_identifier",
        "destructor_name", "operator_name", "operator_cast", "template_function",
    }
)  # fmt: skip


def _declared_name(node: Node) -> Node | None:
    """Return the name in a C or C++ declarator, whatever pointers and brackets are around it."""
    for _ in range(20):
        if node.type in _NAME_NODES:
            return node.child_by_field_name("name") if node.type == "template_function" else node
        inner = node.child_by_field_name("declarator")
        if inner is None:
            some = [child for child in node.named_children if child.type != "ms_call_modifier"]
            inner = some[-1] if some else None
        if inner is None:
            return None
        node = inner
    return None


def _strip_templates(name: str) -> str:
    """Return a C++ name without template arguments and parameters."""
    head, operator, rest = name.partition("operator")
    while (cut := re.sub(r"<[^<>]*>", "", head)) != head:
        head = cut
    return head + operator + rest.split("()")[0].split(" const")[0].rstrip()


def _is_function(node: Node) -> bool:
    """Say whether a member's declarator is a function's (and not a pointer to one)."""
    while node.type in ("pointer_declarator", "reference_declarator"):
        node = node.child_by_field_name("declarator") or node.named_children[-1]
    if node.type != "function_declarator":
        return node.type == "operator_cast"
    inner = node.child_by_field_name("declarator")
    return inner is not None and inner.type != "parenthesized_declarator"


def _drop_local_uses(language: str, uses: UsesByKind) -> None:
    """Take out what only the whole document tells: local words, types that are built in."""
    bare, local = uses.pop("bare", {}), uses.pop("local", {})
    calls = uses.setdefault("call", {}) if bare else {}
    for name, lines in bare.items():
        if name not in local:
            calls[name] = sorted({*calls.get(name, []), *lines})
    if language == "go":
        for name in _GO_BUILTINS & uses.get("type", {}).keys():
            del uses["type"][name]


def _python_imports(node: Node) -> Iterator[tuple[str, int]]:
    """Read Python's `from a import b, c` as uses of a and of a.b, a.c."""
    module = node.child_by_field_name("module_name")
    if module is None:
        return
    base, line = _node_text(module), node.start_point.row + 1
    yield base, line
    joint = "" if base.endswith(".") else "."
    for child in node.children_by_field_name("name"):
        target = child.child_by_field_name("name") or child
        yield f"{base}{joint}{_node_text(target)}", target.start_point.row + 1


def _rust_imports(node: Node) -> Iterator[tuple[str, int]]:
    """Read Rust's `use a::{b, c::d as e}` as uses of a::b and a::c::d."""
    argument = node.child_by_field_name("argument")
    todo = [("", argument, 0)] if argument is not None else []
    while todo:
        above, part, depth = todo.pop()
        if part.type == "use_as_clause":
            part = part.child_by_field_name("path") or part
        listed = part if part.type == "use_list" else part.child_by_field_name("list")
        if listed is None:
            last = _node_text(part).removesuffix("::*")
            name = above if last == "self" else f"{above}::{last}" if above else last
            yield name, part.start_point.row + 1
        elif depth < 20:
            path = part.child_by_field_name("path")
            inner = "::".join(filter(None, [above, _node_text(path) if path is not None else ""]))
            todo += [(inner, child, depth + 1) for child in reversed(listed.named_children)]


_IMPORT_LISTS: dict[str, Callable[[Node], Iterator[tuple[str, int]]]] = {
    "from": _python_imports,
    "use": _rust_imports,
}
"""Statements that import several things."""


def _nest_definitions(found: list[tuple[str, str, Node, Node]]) -> list[Definition]:
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
        if kind == "function" and (outside or (stack and stack[-1][2] in _BODY_KINDS)):
            kind = "method"
        stop = end.row + (end.column > 0)
        line = start.row + 1
        definitions.append(Definition(name, kind, line, max(line, stop), len(stack), owner))
        if kind not in _FLAT_KINDS:
            stack.append((last.end_byte, ".".join([*outside, name]), kind))
    return definitions


_BODY_KINDS = ("class", "struct", "union", "impl", "trait", "interface")
"""Kinds in which a function is a method."""


def _node_text(node: Node) -> str:
    text = (node.text or b"").decode("utf-8", "replace")
    if text.isidentifier():
        return text
    if node.type in _QUOTED_NODES or text[:1] in ("'", '"', "`"):
        text = text.strip("\"'`<>")
    return " ".join(text.split())[:200]


_QUOTED_NODES = ("system_lib_string", "string_literal", "string", "encapsed_string", "raw_string")


@cache
def _parser_and_query(language: str) -> tuple[Parser, Query]:
    from tree_sitter import Language, Parser, Query

    module, function = _GRAMMAR_MODULES[language]
    grammar: Language = Language(getattr(importlib.import_module(module), function)())
    return Parser(grammar), Query(grammar, TAG_QUERIES[language])
