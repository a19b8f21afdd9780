"""`match` under the policy: dotted values are compared in the guard of their case.

`case Color.RED:` reads an attribute where no call may stand. It becomes a capture under a name that
no cell can use, and `and captured == Color.RED` in the guard, which the policy then rewrites.
"""

from __future__ import annotations

import ast
from collections.abc import Callable

NewName = Callable[[], str]
Report = Callable[[ast.AST, str], None]


def rewrite_match(node: ast.Match, new_name: NewName, report: Report) -> None:
    """Rewrite the dotted values of every case in place."""
    for case in node.cases:
        tests: list[ast.expr] = []
        case.pattern = _pattern(case.pattern, tests, new_name, report)
        if tests:
            guard = [*tests, case.guard] if case.guard else tests
            case.guard = guard[0] if len(guard) == 1 else ast.BoolOp(ast.And(), guard)
            ast.copy_location(case.guard, case.pattern)
            ast.fix_missing_locations(case.guard)


def _pattern(
    node: ast.pattern, tests: list[ast.expr], new_name: NewName, report: Report
) -> ast.pattern:
    if isinstance(node, ast.MatchValue):
        if _constant(node.value):
            return node
        return _capture(node, [node.value], tests, new_name)
    if isinstance(node, ast.MatchOr):
        return _either(node, tests, new_name, report)
    if isinstance(node, ast.MatchMapping) and not all(map(_constant, node.keys)):
        report(node, "a mapping pattern takes plain constants as keys here")
    for field in ("patterns", "kwd_patterns"):
        parts = getattr(node, field, None)
        if parts is not None:
            parts[:] = [_pattern(part, tests, new_name, report) for part in parts]
    if isinstance(node, ast.MatchAs) and node.pattern is not None:
        node.pattern = _pattern(node.pattern, tests, new_name, report)
    return node


def _either(
    node: ast.MatchOr, tests: list[ast.expr], new_name: NewName, report: Report
) -> ast.pattern:
    values = [part.value for part in node.patterns if isinstance(part, ast.MatchValue)]
    if len(values) == len(node.patterns) and not all(map(_constant, values)):
        return _capture(node, values, tests, new_name)
    inner: list[ast.expr] = []
    node.patterns = [_pattern(part, inner, new_name, report) for part in node.patterns]
    if inner:
        report(node, "a dotted value within an | pattern is not available here; use separate cases")
    return node


def _capture(
    node: ast.pattern, values: list[ast.expr], tests: list[ast.expr], new_name: NewName
) -> ast.pattern:
    name = new_name()
    made = ast.MatchAs(None, name)
    made.made_here = True  # type: ignore[attr-defined]
    compared: list[ast.expr] = [
        ast.Compare(_captured(name), [ast.Eq()], [value]) for value in values
    ]
    tests.append(compared[0] if len(compared) == 1 else ast.BoolOp(ast.Or(), compared))
    return ast.copy_location(made, node)


def _captured(name: str) -> ast.Name:
    read = ast.Name(name, ast.Load())
    read.made_here = True  # type: ignore[attr-defined]
    return read


def _constant(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and _constant(node.operand)
    if isinstance(node, ast.BinOp):
        return _constant(node.left) and _constant(node.right)
    return isinstance(node, ast.Constant)
