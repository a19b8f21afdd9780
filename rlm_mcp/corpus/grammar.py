"""Parse one document with its tree-sitter grammar: definitions, references, imports.

This is run in a worker process only (parsing.py): the parsers are C code over hostile text. The
grammars come in wheels of their own; nothing is fetched at run time.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Parser, Query

VERSION = 1
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

_ECMA = """
(function_declaration name: (identifier) @name) @def.function
(generator_function_declaration name: (identifier) @name) @def.function
(method_definition name: (property_identifier) @name) @def.method
(lexical_declaration (variable_declarator name: (identifier) @name
    value: [(arrow_function) (function_expression)])) @def.function
(program (lexical_declaration (variable_declarator name: (identifier) @name)) @def.constant)
(program (export_statement (lexical_declaration
    (variable_declarator name: (identifier) @name)) @def.constant))
(call_expression function: [(identifier) @name
    (member_expression property: (property_identifier) @name)]) @ref.call
(new_expression constructor: [(identifier) @name
    (member_expression property: (property_identifier) @name)]) @ref.call
(import_statement source: (string) @name) @ref.import
(export_statement source: (string) @name) @ref.import
(call_expression function: [(identifier) (import)] @require arguments: (arguments . (string) @name)
    (#match? @require "^(require|import)$")) @ref.import
"""
_TYPESCRIPT = (
    _ECMA
    + """
(class_declaration name: (type_identifier) @name) @def.class
(abstract_class_declaration name: (type_identifier) @name) @def.class
(interface_declaration name: (type_identifier) @name) @def.interface
(type_alias_declaration name: (type_identifier) @name) @def.type
(enum_declaration name: (identifier) @name) @def.enum
(function_signature name: (identifier) @name) @def.function
(abstract_method_signature name: (property_identifier) @name) @def.method
(internal_module name: (identifier) @name) @def.module
(class_heritage (extends_clause value: (identifier) @name)) @ref.base
(class_heritage (implements_clause (type_identifier) @name)) @ref.base
(type_annotation (type_identifier) @name) @ref.type
"""
)
_QUERIES = {
    "python": """
(class_definition name: (identifier) @name) @def.class
(function_definition name: (identifier) @name) @def.function
(module (expression_statement (assignment left: (identifier) @name)) @def.constant)
(call function: [(identifier) @name (attribute attribute: (identifier) @name)]) @ref.call
(decorator [(identifier) @name (attribute attribute: (identifier) @name)]) @ref.call
(class_definition superclasses: (argument_list
    [(identifier) @name (attribute attribute: (identifier) @name)])) @ref.base
(import_statement name: [(dotted_name) @name (aliased_import name: (dotted_name) @name)])
    @ref.import
(import_from_statement) @ref.from
""",
    "javascript": _ECMA
    + """
(class_declaration name: (identifier) @name) @def.class
(class_heritage (identifier) @name) @ref.base
""",
    "typescript": _TYPESCRIPT,
    "tsx": _TYPESCRIPT,
    "go": """
(function_declaration name: (identifier) @name) @def.function
(method_declaration name: (field_identifier) @name) @def.method
(type_declaration (type_spec name: (type_identifier) @name)) @def.type
(source_file (const_declaration (const_spec name: (identifier) @name) @def.constant))
(source_file (var_declaration (var_spec name: (identifier) @name) @def.constant))
(call_expression function: [(identifier) @name
    (selector_expression field: (field_identifier) @name)]) @ref.call
(composite_literal type: (type_identifier) @name) @ref.type
(import_spec path: (interpreted_string_literal) @name) @ref.import
""",
    "rust": """
(function_item name: (identifier) @name) @def.function
(function_signature_item name: (identifier) @name) @def.function
(struct_item name: (type_identifier) @name) @def.struct
(enum_item name: (type_identifier) @name) @def.enum
(union_item name: (type_identifier) @name) @def.union
(trait_item name: (type_identifier) @name) @def.trait
(type_item name: (type_identifier) @name) @def.type
(mod_item name: (identifier) @name) @def.module
(macro_definition name: (identifier) @name) @def.macro
(const_item name: (identifier) @name) @def.constant
(static_item name: (identifier) @name) @def.constant
(impl_item type: [(type_identifier) @name (generic_type type: (type_identifier) @name)]) @def.impl
(impl_item trait: (type_identifier) @name) @ref.base
(call_expression function: [(identifier) @name (field_expression field: (field_identifier) @name)
    (scoped_identifier name: (identifier) @name)]) @ref.call
(macro_invocation macro: (identifier) @name) @ref.call
(use_declaration argument: (_) @name) @ref.import
(mod_item name: (identifier) @name !body) @ref.import
""",
    "java": """
(class_declaration name: (identifier) @name) @def.class
(interface_declaration name: (identifier) @name) @def.interface
(enum_declaration name: (identifier) @name) @def.enum
(record_declaration name: (identifier) @name) @def.class
(annotation_type_declaration name: (identifier) @name) @def.interface
(method_declaration name: (identifier) @name) @def.method
(constructor_declaration name: (identifier) @name) @def.method
(method_invocation name: (identifier) @name) @ref.call
(object_creation_expression type: (type_identifier) @name) @ref.call
(superclass (type_identifier) @name) @ref.base
(super_interfaces (type_list (type_identifier) @name)) @ref.base
(import_declaration (scoped_identifier) @name) @ref.import
""",
    "c": """
(function_definition declarator: (function_declarator declarator: (identifier) @name))
    @def.function
(function_definition declarator: (pointer_declarator declarator: (function_declarator
    declarator: (identifier) @name))) @def.function
(struct_specifier name: (type_identifier) @name body: (_)) @def.struct
(union_specifier name: (type_identifier) @name body: (_)) @def.union
(enum_specifier name: (type_identifier) @name body: (_)) @def.enum
(type_definition declarator: (type_identifier) @name) @def.type
(preproc_function_def name: (identifier) @name) @def.macro
(preproc_def name: (identifier) @name) @def.macro
(call_expression function: [(identifier) @name
    (field_expression field: (field_identifier) @name)]) @ref.call
(preproc_include path: (_) @name) @ref.import
""",
    "cpp": """
(function_definition declarator: (function_declarator declarator: [(identifier) @name
    (field_identifier) @name (qualified_identifier name: (_) @name) (destructor_name) @name]))
    @def.function
(function_definition declarator: (pointer_declarator declarator: (function_declarator
    declarator: [(identifier) @name (field_identifier) @name
    (qualified_identifier name: (_) @name)]))) @def.function
(function_definition declarator: (reference_declarator (function_declarator
    declarator: [(identifier) @name (field_identifier) @name
    (qualified_identifier name: (_) @name)]))) @def.function
(class_specifier name: (type_identifier) @name body: (_)) @def.class
(struct_specifier name: (type_identifier) @name body: (_)) @def.struct
(union_specifier name: (type_identifier) @name body: (_)) @def.union
(enum_specifier name: (type_identifier) @name body: (_)) @def.enum
(namespace_definition name: (namespace_identifier) @name) @def.module
(type_definition declarator: (type_identifier) @name) @def.type
(alias_declaration name: (type_identifier) @name) @def.type
(preproc_function_def name: (identifier) @name) @def.macro
(preproc_def name: (identifier) @name) @def.macro
(call_expression function: [(identifier) @name
    (field_expression field: (field_identifier) @name)
    (qualified_identifier name: (identifier) @name)]) @ref.call
(base_class_clause (type_identifier) @name) @ref.base
(preproc_include path: (_) @name) @ref.import
""",
    "csharp": """
(class_declaration name: (identifier) @name) @def.class
(interface_declaration name: (identifier) @name) @def.interface
(struct_declaration name: (identifier) @name) @def.struct
(enum_declaration name: (identifier) @name) @def.enum
(record_declaration name: (identifier) @name) @def.class
(delegate_declaration name: (identifier) @name) @def.type
(method_declaration name: (identifier) @name) @def.method
(constructor_declaration name: (identifier) @name) @def.method
(property_declaration name: (identifier) @name) @def.property
(namespace_declaration name: (_) @name) @def.module
(invocation_expression function: [(identifier) @name
    (member_access_expression name: (identifier) @name)]) @ref.call
(object_creation_expression type: (identifier) @name) @ref.call
(base_list (identifier) @name) @ref.base
(using_directive [(identifier) @name (qualified_name) @name]) @ref.import
""",
    "ruby": """
(method name: (_) @name) @def.method
(singleton_method name: (_) @name) @def.method
(class name: [(constant) @name (scope_resolution name: (constant) @name)]) @def.class
(module name: [(constant) @name (scope_resolution name: (constant) @name)]) @def.module
(program (assignment left: (constant) @name) @def.constant)
(superclass [(constant) @name (scope_resolution name: (constant) @name)]) @ref.base
(call method: (identifier) @name) @ref.call
(call method: (identifier) @require arguments: (argument_list . (string) @name)
    (#match? @require "^(require|require_relative|load)$")) @ref.import
""",
    "php": """
(function_definition name: (name) @name) @def.function
(method_declaration name: (name) @name) @def.method
(class_declaration name: (name) @name) @def.class
(interface_declaration name: (name) @name) @def.interface
(trait_declaration name: (name) @name) @def.trait
(enum_declaration name: (name) @name) @def.enum
(const_element (name) @name) @def.constant
(function_call_expression function: [(name) @name (qualified_name (name) @name)]) @ref.call
(member_call_expression name: (name) @name) @ref.call
(scoped_call_expression name: (name) @name) @ref.call
(object_creation_expression [(name) @name (qualified_name (name) @name)]) @ref.call
(base_clause (name) @name) @ref.base
(class_interface_clause (name) @name) @ref.base
(namespace_use_clause [(name) @name (qualified_name) @name]) @ref.import
""",
    "bash": """
(function_definition name: (word) @name) @def.function
(command name: (command_name (word) @name)) @ref.call
(command name: (command_name (word) @require) argument: (word) @name
    (#match? @require "^(source|\\.)$")) @ref.import
(program (variable_assignment name: (variable_name) @name) @def.constant)
""",
}


class Definition(NamedTuple):
    """What a document defines. Lines count from 1; `stop` is included."""

    name: str
    kind: str
    line: int
    stop: int
    depth: int
    owner: str
    """The definition around it, as `Class.method` where there are several; or empty."""


Uses = dict[str, dict[str, list[int]]]
"""Kind (call, base, type, import) to name to lines; an import's name is what is imported."""


class Parsed:
    """What one document defines and uses.

    Definitions are kept as columns: a repository has hundreds of thousands, and most questions
    look at few of them.
    """

    __slots__ = ("columns", "uses")

    def __init__(self, columns: list[list[Any]], uses: Uses) -> None:
        self.columns = columns
        self.uses = uses

    @classmethod
    def of(cls, definitions: Sequence[Definition], uses: Uses) -> Parsed:
        """Make it from definitions in order."""
        return cls([list(column) for column in zip(*definitions, strict=True)], uses)

    @property
    def names(self) -> Sequence[str]:
        """The names of the definitions, in order."""
        return self.columns[0] if self.columns else []

    @property
    def definitions(self) -> list[Definition]:
        """The definitions, in order."""
        return list(map(Definition._make, zip(*self.columns, strict=True)))


def parse(language: str, data: bytes) -> Parsed:
    """Parse one document; broken code gives what can be made out of it."""
    from tree_sitter import QueryCursor

    parser, query = _tools(language)
    tree = parser.parse(data)
    cursor = QueryCursor(query, match_limit=100_000)
    found: dict[int, tuple[str, str, Node]] = {}
    uses: Uses = {}
    tags = _tags(language)
    for pattern, captures in cursor.matches(tree.root_node):
        tag = tags[pattern]
        if tag == "ref.from":
            for name, line in _from(captures[tag][0]):
                uses.setdefault("import", {}).setdefault(name, []).append(line)
            continue
        place = captures["name"][0]
        name = _text(place)
        if tag.startswith("ref."):
            line = place.start_point.row + 1
            uses.setdefault(tag[4:], {}).setdefault(name, []).append(line)
        else:
            key = place.start_byte
            if key not in found or found[key][1] == "constant":
                found[key] = (name, tag[4:], captures[tag][0])
    return Parsed.of(_nest(list(found.values())), uses)


@cache
def _tags(language: str) -> list[str]:
    """Return the tag (def.class, ref.call) of each pattern of a language's query, in order."""
    return re.findall(r"@((?:def|ref)\.\w+)", _QUERIES[language])


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


def _nest(found: list[tuple[str, str, Node]]) -> list[Definition]:
    found.sort(key=lambda item: (item[2].start_byte, -item[2].end_byte))
    stack: list[tuple[int, str]] = []
    definitions = []
    for name, kind, node in found:
        while stack and stack[-1][0] <= node.start_byte:
            stack.pop()
        *outside, name = name.split("::")
        owner = ".".join([*(outer for _, outer in stack), *outside])
        if kind == "function" and stack and found and _in_class(node):
            kind = "method"
        stop = node.end_point.row + (node.end_point.column > 0)
        line = node.start_point.row + 1
        definitions.append(Definition(name, kind, line, max(line, stop), len(stack), owner))
        if kind != "constant":
            stack.append((node.end_byte, name))
    return definitions


_BODIES = ("class_definition", "class_specifier", "struct_specifier", "impl_item", "trait_item")


def _in_class(node: Node) -> bool:
    around = node.parent
    for _ in range(3):
        if around is None:
            return False
        if around.type in _BODIES:
            return True
        around = around.parent
    return False


def _text(node: Node) -> str:
    text = (node.text or b"").decode("utf-8", "replace")
    return text if text.isidentifier() else " ".join(text.strip("\"'`<>").split())[:200]


@cache
def _tools(language: str) -> tuple[Parser, Query]:
    from tree_sitter import Language, Parser, Query

    module, function = _MODULES[language]
    grammar: Language = Language(getattr(importlib.import_module(module), function)())
    return Parser(grammar), Query(grammar, _QUERIES[language])
