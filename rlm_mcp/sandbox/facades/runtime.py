"""Facades that belong to one environment: what prints, what explains, what looks at code."""

from __future__ import annotations

import ast
import inspect
import posixpath
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, NoReturn

from rlm_mcp.sandbox import guards
from rlm_mcp.sandbox.facades import containers
from rlm_mcp.sandbox.facades.shims import view_to_text

Write = Callable[[str], int]


class CellStream:
    """`sys.stdout` of a cell."""

    encoding = "utf-8"

    def __init__(self, write: Write) -> None:
        self._write = write

    def write(self, text: str) -> int:
        """Print text."""
        return self._write(text)

    def writelines(self, lines: Any) -> None:
        """Print several texts."""
        for line in lines:
            self._write(line)

    def flush(self) -> None:
        """Do nothing: what is printed is kept at once."""

    def isatty(self) -> bool:
        """Say that nobody is watching."""
        return False


def exit_cell(code: object = None) -> NoReturn:
    """End the cell."""
    raise SystemExit(code)


def sys_exports(stream: CellStream) -> dict[str, Any]:
    """Return `sys` for cells."""
    return {
        "stdout": stream,
        "stderr": stream,
        "maxsize": sys.maxsize,
        "maxunicode": sys.maxunicode,
        "version": sys.version,
        "version_info": tuple(sys.version_info),
        "byteorder": sys.byteorder,
        "platform": sys.platform,
        "argv": [""],
        "float_info": sys.float_info,
        "getsizeof": sys.getsizeof,
        "getrecursionlimit": sys.getrecursionlimit,
        "setrecursionlimit": lambda limit: None,
        "intern": sys.intern,
        "exit": exit_cell,
    }


def path_exports() -> dict[str, dict[str, Any]]:
    """Return `os`, `os.path` and `pathlib` for cells: the functions on strings alone."""
    words = "join basename dirname split splitext normpath commonprefix commonpath isabs splitdrive"
    path = {word: getattr(posixpath, word) for word in words.split()}
    return {
        "os": {"sep": "/", "linesep": "\n", "extsep": ".", "pathsep": ":", "name": "posix"},
        "os.path": {**path, "sep": "/"},
        "pathlib": {
            "Path": PurePosixPath,
            "PurePath": PurePath,
            "PurePosixPath": PurePosixPath,
            "PureWindowsPath": PureWindowsPath,
        },
    }


def ast_exports() -> dict[str, Any]:
    """Return `ast` for cells: every node class, and the functions that only look."""
    nodes = {
        name: item
        for name, item in vars(ast).items()
        if isinstance(item, type) and issubclass(item, ast.AST)
    }
    public: dict[str, Any] = {
        name: item for name, item in nodes.items() if not name.startswith("_")
    }
    public.update(NodeVisitor=containers.NodeVisitor, NodeTransformer=containers.NodeTransformer)
    public.update(parse=_parse_source, literal_eval=_literal_value, walk=containers.walk_nodes)
    public.update(iter_fields=containers.node_fields, iter_child_nodes=containers.child_nodes)
    for name in ("dump", "unparse", "get_docstring", "fix_missing_locations"):
        public[name] = _on_tree(getattr(ast, name))
    public["get_source_segment"] = lambda source, node, **named: ast.get_source_segment(
        view_to_text(source), containers.plain_node(node), **named
    )
    return public


def _parse_source(source: Any, filename: str = "<text>", mode: str = "exec", **_: Any) -> ast.AST:
    text = view_to_text(source)
    if not isinstance(text, (str, bytes)):
        raise TypeError("ast.parse() takes source text")
    tree: ast.AST = ast.parse(text, "<text>", mode)
    return tree


def _literal_value(source: Any) -> Any:
    text = view_to_text(source)
    return ast.literal_eval(containers.whole_tree(text) if isinstance(text, ast.AST) else text)


def _on_tree(function: Callable[..., Any]) -> Callable[..., Any]:
    def call_checked(node: Any, *positional: Any, **named: Any) -> Any:
        return function(containers.whole_tree(node), *positional, **named)

    call_checked.__name__ = call_checked.__qualname__ = function.__name__
    call_checked.__doc__ = function.__doc__
    return call_checked


def describe(value: Any) -> str:
    """Return what `help` prints."""
    shown = guards.read_attribute(value, "shown", None) if not isinstance(value, type) else None
    if type(shown) is str:
        return shown
    if hasattr(type(value), "_methods"):
        entries = value._methods.values()
        about = [line for line in repr(value).split("\n") if not _tells_a_method(line, entries)]
        return "\n".join([*about, *(f"  .{entry}" for entry in entries)])
    name = getattr(value, "__name__", type(value).__name__)
    signature = ""
    if isinstance(value, types.FunctionType):
        signature = str(inspect.signature(value))
    text = getattr(value, "__doc__", None)
    return f"{name}{signature}\n{inspect.cleandoc(text) if type(text) is str else ''}".rstrip()


def plain_signature(function: types.FunctionType) -> str:
    """Return the parameters of a function with their defaults, without types."""
    found = inspect.signature(function)
    bare = [given.replace(annotation=given.empty) for given in found.parameters.values()]
    return str(inspect.Signature(bare))


def help_overview(given: Mapping[str, Any]) -> str:
    """Return what `help()` prints: context variables and functions by name."""
    variables = [name for name, value in given.items() if hasattr(type(value), "_methods")]
    functions = [
        f"{name}({', '.join(inspect.signature(value).parameters)})"
        for name, value in sorted(given.items())
        if isinstance(value, types.FunctionType) and not name.startswith("_")
    ]
    return (
        f"Context variables: {', '.join(sorted(variables)) or 'none used yet (see contexts())'}.\n"
        f"Functions: {', '.join(functions)}.\n"
        "help(name) tells of one: the methods of a variable, what a function takes."
    )


def _tells_a_method(line: str, entries: Iterable[str]) -> bool:
    """Whether a line of a description says what an entry of the manual says."""
    said = line.strip().rstrip(">").partition(".")[2]
    return bool(said) and any(entry.startswith(said) for entry in entries)


def traceback_exports(write: Write, explain: Callable[[BaseException], str]) -> dict[str, Any]:
    """Return `traceback` for cells: texts, never frames."""

    def format_exc(*_: Any, **__: Any) -> str:
        error = sys.exc_info()[1]
        return "NoneType: None\n" if error is None else explain(error) + "\n"

    def print_exc(*_: Any, **__: Any) -> None:
        write(format_exc())

    def format_exception(error: Any, *more: Any, **_: Any) -> list[str]:
        found = more[0] if isinstance(error, type) and more else error
        if not isinstance(found, BaseException):
            raise TypeError("format_exception() takes an exception")
        return [explain(found) + "\n"]

    return {"format_exc": format_exc, "print_exc": print_exc, "format_exception": format_exception}


guards.keep_internal(CellStream)
