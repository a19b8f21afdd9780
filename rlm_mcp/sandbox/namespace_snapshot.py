"""What can be given back to an environment whose worker was killed.

Plain values up to a stated size are copied after each cell (sharing between them is kept);
functions, classes and imports come back by replaying their statements, as they were defined.
Everything else is named as lost. The parent keeps the copy as opaque bytes and never reads it.
"""

from __future__ import annotations

import ast
import collections
import marshal
import sys
import types
from collections.abc import Callable
from typing import Any

from rlm_mcp.sandbox import guards
from rlm_mcp.sandbox.facades import Facade
from rlm_mcp.sandbox.wire_values import MAX_SNAPSHOT_BYTES, MAX_VALUE_BYTES

_SCALARS = frozenset({str, bytes, int, float, bool, complex, type(None), type(Ellipsis)})
_FACTORIES: dict[str, Any] = {kind.__name__: kind for kind in (list, dict, set, int, str, float)}
_REPLAYED_CALLS = frozenset({"compile", "namedtuple", "TypeVar", "NewType"})
_REACHES_ALL = frozenset({"globals", "locals", "vars", "_", "gc"})


class NotPlain(Exception):
    """A value that cannot be copied, or is too large."""


class Snapshotter:
    """Watches the variables of one environment and copies what changed."""

    def __init__(self) -> None:
        self._defined: dict[str, tuple[str, Any]] = {}  # name -> statement, what it bound
        self._last = b""
        self._known: dict[str, int] = {}

    def take_snapshot(
        self, variables: dict[str, Any], trees: list[tuple[ast.Module, str]], codes: list[Any]
    ) -> tuple[bytes | None, list[str]]:
        """Return a new snapshot, or None where nothing changed, and the names it leaves out."""
        self._note_definitions(variables, trees)
        if not self._has_touched(variables, codes):
            return None, []
        self._known = {name: id(value) for name, value in variables.items()}
        values, wrapped, lost = {}, {}, []
        left = MAX_VALUE_BYTES
        for name, value in variables.items():
            if name in self._defined:
                continue
            try:
                inner, kind = _unwrap_value(value)
                left -= _plain_size(inner, left)
            except NotPlain:
                lost.append(name)
                continue
            values[name] = inner
            if kind:
                wrapped[name] = kind
        statements = [statement for statement, _ in self._defined.values()]
        try:
            snapshot = marshal.dumps((values, wrapped, list(dict.fromkeys(statements))))
        except ValueError:  # nested too deep
            return b"", sorted(variables)
        if snapshot == self._last:
            return None, lost
        if len(snapshot) > MAX_SNAPSHOT_BYTES:
            return b"", sorted(variables)
        self._last = snapshot
        return snapshot, lost

    def _has_touched(self, variables: dict[str, Any], codes: list[Any]) -> bool:
        """Say whether the cell could have changed anything: it bound or named a variable."""
        if {name: id(value) for name, value in variables.items()} != self._known:
            return True
        used = _names_in(codes)
        return bool(used & _REACHES_ALL) or any(
            name in used and type(value) not in _SCALARS for name, value in variables.items()
        )

    def _note_definitions(
        self, variables: dict[str, Any], trees: list[tuple[ast.Module, str]]
    ) -> None:
        for tree, source in trees:
            for statement in tree.body:
                text = _statement_text(statement, source)
                for name in _bound_names(statement) if text else ():
                    if name in variables and _is_replayable(variables[name]):
                        self._defined.pop(name, None)
                        self._defined[name] = text, variables[name]
        for name, (_, value) in list(self._defined.items()):
            if variables.get(name) is not value:
                del self._defined[name]


def restore_snapshot(
    snapshot: bytes, variables: dict[str, Any], replay: Callable[[str], None]
) -> list[str]:
    """Bind what a snapshot holds; return the names and statements that did not come back."""
    values, wrapped, statements = marshal.loads(snapshot)
    lost = []
    for name, value in values.items():
        try:
            _plain_size(value, MAX_SNAPSHOT_BYTES)
        except NotPlain:
            lost.append(name)
            continue
        variables[name] = _wrap_value(value, wrapped.get(name))
    for statement in statements:
        try:
            replay(statement)
        except Exception:
            lost.append(statement.split("\n", 1)[0][:60])
    return lost


def _names_in(codes: list[Any]) -> set[str]:
    used: set[str] = set()
    while codes:
        code = codes.pop()
        used.update(code.co_names)
        codes.extend(item for item in code.co_consts if isinstance(item, types.CodeType))
    return used


def _statement_text(statement: ast.stmt, source: str) -> str:
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(item.lineno for item in decorators)])
    lines = source.split("\n")[first - 1 : statement.end_lineno]
    if statement.col_offset or (ast.get_source_segment(source, statement) or "") not in "\n".join(
        lines
    ):
        return ""
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.Assign)):
        return ast.get_source_segment(source, statement) or ""
    return "\n".join(lines)


def _bound_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, ast.Import):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Name) and _is_repeatable(statement.value):
            return [target.id]
    return []


def _is_repeatable(node: ast.expr) -> bool:
    """Whether an expression gives the same again: a lambda, `re.compile("…")`, a namedtuple."""
    if isinstance(node, ast.Lambda):
        return True
    if not isinstance(node, ast.Call):
        return False
    word = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    parts = [*node.args, *(keyword.value for keyword in node.keywords)]
    return word in _REPLAYED_CALLS and not any(
        isinstance(inner, ast.Call) for part in parts for inner in ast.walk(part)
    )


def _is_replayable(value: Any) -> bool:
    if type(value) in _SCALARS:
        return False
    if type(value) is types.FunctionType:
        return value.__closure__ is None
    return isinstance(value, (type, Facade)) or callable(value) or type(value).__name__ == "Pattern"


def _unwrap_value(value: Any) -> tuple[Any, str]:
    kind = type(value)
    if kind is collections.Counter:
        return dict(value), "Counter"
    if kind is collections.OrderedDict:
        return dict(value), "OrderedDict"
    if kind is collections.deque:
        return (list(value), value.maxlen), "deque"
    if kind is collections.defaultdict:
        factory = value.default_factory
        for name, known in _FACTORIES.items():
            if factory is known:
                return dict(value), f"defaultdict {name}"
        raise NotPlain
    return value, ""


def _wrap_value(value: Any, kind: str | None) -> Any:
    if not kind:
        return value
    if kind == "Counter":
        return collections.Counter(value)
    if kind == "OrderedDict":
        return collections.OrderedDict(value)
    if kind == "deque":
        return collections.deque(value[0], value[1])
    return collections.defaultdict(_FACTORIES[kind.split()[1]], value)


def _plain_size(value: Any, left: int) -> int:
    """Return about how many bytes a plain value takes; raise NotPlain for another or a larger."""
    total = 0
    waiting = [value]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind in _SCALARS:
            total += sys.getsizeof(item)
        elif kind in (list, tuple, set, frozenset, dict):
            if id(item) in seen:
                continue
            seen.add(id(item))
            total += 8 * len(item) + 8
            if total <= left:
                parts = [*item.keys(), *item.values()] if kind is dict else list(item)
                if set(map(type, parts)) <= {str, bytes}:
                    total += sum(map(len, parts))
                else:
                    waiting.extend(parts)
        else:
            raise NotPlain
        if total > left:
            raise NotPlain
    return total


guards.keep_internal(Snapshotter)
