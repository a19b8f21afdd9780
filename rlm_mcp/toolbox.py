"""Read tools/*.py into typed values: name, parameters, description, source.

A tool file is content: it is parsed, never imported. It defines one function with the name of the
file, whose docstring is what agents read. Those that came with us are reviewed code: they are
compiled here and run in this process. A user's run only in the sandbox, so that this reader judges
their form alone, and none can stand in the place of one of ours.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import keyword
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from rlm_mcp import trust
from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.tool_table import BATCHED_NAMES, RESERVED_NAMES, TOOL_ROWS
from rlm_mcp.trust import ContentFolder, ContentOrigin

READ_ONLY_CALLS = frozenset(
    {
        *(row.name for row in TOOL_ROWS.values() if row.effect == "reads"),
        "search", "Answers", "Chunk", "Chunks", "Failure", "Hit", "Hits", "Item", "Items",
        "Passage", "QueryFailed", "Reply", "Text",
    }
)  # fmt: skip
"""Names of the sdk that change nothing and cost nothing: a user's tool of these is read-only."""

OTHER_CALLS = frozenset(TOOL_ROWS).union(BATCHED_NAMES) - READ_ONLY_CALLS
"""Names that a read-only tool of a user may not even mention, whatever it binds them to."""

MAX_DESCRIPTION_CHARS = 2_000
MAX_ARGUMENT_CHARS = 1_000_000

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}\Z")
_JSON_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_ARTICLES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list of strings",
}


@dataclass(frozen=True, slots=True)
class ToolParameter:
    """One argument of a tool. `types` are JSON types, the advertised one first."""

    name: str
    types: tuple[str, ...]
    required: bool
    default: str | int | float | bool | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as it was read."""

    name: str
    description: str
    parameters: tuple[ToolParameter, ...]
    source: str
    origin: ContentOrigin
    path: Path
    read_only: bool
    """Whether a client may call it without asking: it calls no model and changes nothing."""
    title: str
    """What a client shows when it asks the user for permission."""
    always_loaded: bool = False
    """Whether a client that searches for tools is asked to load it at once."""
    shadows: str = ""
    """The origin of the tool of the same name that this one hides."""

    @property
    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the arguments, without what a reader can do without."""
        properties = {item.name: {"type": item.types[0]} for item in self.parameters}
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        required = [parameter.name for parameter in self.parameters if parameter.required]
        return {**schema, "required": required} if required else schema

    def check_arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments with their types made sure of.

        Forgives what models do (null for "not given", "30" for 30, "true" for true) and raises
        BadRequest, naming the argument, for all else.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in known:
                takes = f" It takes: {', '.join(known)}." if known else " It takes none."
                raise BadRequest(
                    f"{self.name} has no argument {_short_repr(name)}."
                    f"{did_you_mean(str(name), known)}{takes}"
                )
        parsed: dict[str, Any] = {}
        for parameter in self.parameters:
            value = given.get(parameter.name)
            if value is None:
                if parameter.required:
                    raise BadRequest(
                        f"{self.name} needs the argument {parameter.name!r} "
                        f"({_ARTICLES[parameter.types[0]]})."
                    )
                continue
            parsed[parameter.name] = _cast_argument(self.name, parameter, value)
            if parameter.required and value == "":
                raise BadRequest(f"{self.name}: argument {parameter.name!r} is empty.")
        return parsed


class Toolbox(list[Tool]):
    """Tools in the order in which agents see them; `problems` says what was left out and why."""

    problems: list[str]


def read_tools(folders: Iterable[ContentFolder | Path] | None = None) -> Toolbox:
    """Read tools, those of a later folder hiding a user's earlier ones of the same name.

    Without `folders`: ours and the user's. No other folder can bring a tool of one of our names.
    A file that is no tool costs a sentence in `problems`, never the rest.
    """
    by_name: dict[str, Tool] = {}
    problems: list[str] = []
    for item in trust.content_folders("tools") if folders is None else folders:
        folder = item if isinstance(item, ContentFolder) else ContentFolder(item)
        pages, refused = trust.usable_files(folder, "tools")
        problems += refused
        for page in pages:
            try:
                tool = parse_tool(page)
            except BadRequest as error:
                problems.append(f"{page.path} was left out: {error}")
                continue
            hidden = by_name.get(tool.name)
            if hidden is not None:
                problems.append(f"{page.path} hides the tool {tool.name} of {hidden.origin}.")
                tool = replace(tool, shadows=hidden.origin)
            by_name[tool.name] = tool
    rank = {name: place for place, name in enumerate(TOOL_ROWS)}
    found = Toolbox(
        sorted(by_name.values(), key=lambda tool: (rank.get(tool.name, len(rank)), tool.name))
    )
    found.problems = problems
    return found


@cache
def shipped_function(name: str) -> Callable[..., Any]:
    """Return the function of a tool that came with us, compiled once from its file.

    It calls the host of its caller's context (`sdk.current_host`). Raises BadRequest for a name
    that is none of ours.
    """
    if name not in TOOL_ROWS:
        raise BadRequest(f"There is no tool {name!r}.")
    path = trust.builtin_folder("tools") / f"{name}.py"
    scope: dict[str, Any] = {"__name__": f"tool {name}"}
    exec(compile(path.read_text("utf-8"), str(path), "exec"), scope)
    function: Callable[..., Any] = scope[name]
    return function


def parse_tool(page: trust.ContentFile) -> Tool:
    """Read one tool file. Raises BadRequest with the reason why it is none."""
    name = page.name
    if not _NAME.match(name) or keyword.iskeyword(name) or name in RESERVED_NAMES:
        raise BadRequest(f"{name!r} cannot be the name of a tool (lower-case words, not taken).")
    row = TOOL_ROWS.get(name) if page.origin == "rlm-mcp" else None
    if row is None and name in TOOL_ROWS:
        raise BadRequest(f"{name!r} is a tool of rlm-mcp; give the file another name.")
    try:
        tree = ast.parse(page.text, str(page.path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadRequest(f"it is not Python ({error}).") from error
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    function = next((node for node in functions if node.name == name), None)
    if function is None:
        raise BadRequest(f"it defines no function {name}().")
    docstring = ast.get_docstring(function) or ""
    if not docstring:
        raise BadRequest(f"{name}() has no docstring, and that is what an agent reads.")
    description = "\n\n".join(
        " ".join(paragraph.split()) for paragraph in inspect.cleandoc(docstring).split("\n\n")
    )
    if len(description) > MAX_DESCRIPTION_CHARS:
        raise BadRequest(f"its docstring has more than {MAX_DESCRIPTION_CHARS:,} characters.")
    return Tool(
        name,
        description,
        _parse_parameters(function.args),
        page.text,
        page.origin,
        page.path,
        row.effect != "spends" if row else _is_read_only(tree),
        row.title if row else f"{name} (tool of the {page.origin})",
        row is not None and row.always_loaded,
    )


def _parse_parameters(args: ast.arguments) -> tuple[ToolParameter, ...]:
    if args.posonlyargs or args.vararg or args.kwarg:
        raise BadRequest("its arguments must all have names (no *, ** or /).")
    required = len(args.args) - len(args.defaults)
    defaults: list[ast.expr | None] = [*[None] * required, *args.defaults, *args.kw_defaults]
    return tuple(
        _parse_parameter(arg, default)
        for arg, default in zip([*args.args, *args.kwonlyargs], defaults, strict=True)
    )


def _parse_parameter(arg: ast.arg, default: ast.expr | None) -> ToolParameter:
    options = _union_types(arg.annotation)
    types = tuple(_JSON_TYPES.get(name, "array") for name in options)
    if not types or any(name not in _JSON_TYPES and name != "list[str]" for name in options):
        raise BadRequest(
            f"argument {arg.arg!r} must be annotated with str, int, float, bool or list[str]."
        )
    if default is None:
        return ToolParameter(arg.arg, types, required=True)
    if not isinstance(default, ast.Constant) or isinstance(default.value, (bytes, complex)):
        raise BadRequest(f"the default of argument {arg.arg!r} must be a plain value.")
    value = default.value
    return ToolParameter(arg.arg, types, False, None if value is Ellipsis else value)


def _union_types(annotation: ast.expr | None) -> list[str]:
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        return [*_union_types(annotation.left), *_union_types(annotation.right)]
    text = ast.unparse(annotation) if annotation is not None else ""
    return [] if text in ("", "None") else [text]


def _is_read_only(tree: ast.Module) -> bool:
    """Whether a user's code only reads: judged from its names, not from what it claims."""
    own: set[str] = set()
    used: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                return False
            case ast.ImportFrom(module="rlm_mcp.sdk", names=names):
                if any(alias.name not in READ_ONLY_CALLS for alias in names):
                    return False
                own.update(alias.asname or alias.name for alias in names)
            case ast.ImportFrom():
                return False
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                own.add(name)
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name):
                own.add(name)
    return used <= own | set(dir(builtins)) and not used & OTHER_CALLS


def _cast_argument(tool: str, parameter: ToolParameter, value: Any) -> Any:
    for kind in parameter.types:
        result = _as_json_type(kind, value)
        if result is not None:
            break
    else:
        wanted = " or ".join(_ARTICLES[kind] for kind in parameter.types)
        raise BadRequest(
            f"{tool}: argument {parameter.name!r} wants {wanted}, got {_short_repr(value)}."
        )
    for text in result if isinstance(result, list) else [result]:
        if isinstance(text, str):
            _check_text(tool, parameter.name, text)
    return result


def _as_json_type(kind: str, value: Any) -> Any:
    if kind == "array":
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        return value if fits else None
    if kind == "string":
        return value if isinstance(value, str) else None
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
        if not math.isfinite(number) or abs(number) > 1e15:
            return None
        if kind == "number":
            return number
        return int(number) if number.is_integer() else None
    except (ValueError, OverflowError):
        return None


def _check_text(tool: str, name: str, text: str) -> None:
    if len(text) > MAX_ARGUMENT_CHARS:
        raise BadRequest(
            f"{tool}: argument {name!r} has {len(text):,} characters, more than "
            f"{MAX_ARGUMENT_CHARS:,}; write it to a file and use open_context."
        )
    if "\x00" in text:
        raise BadRequest(f"{tool}: argument {name!r} holds a NUL character.")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise BadRequest(f"{tool}: argument {name!r} holds half of a character (a surrogate).")


def _short_repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
