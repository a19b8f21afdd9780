"""`match` under the policy: no pattern reads an attribute but through the guard.

`case Point(x, y=Color.RED):` reads attributes of the subject by names that a class holds, and a
dotted value where no call may stand. Such a case becomes a plain capture with a guard: the pattern
as data for `matched`, which does what the interpreter would and reads through `guards.read`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from rlm_mcp.sandbox import allowed_names, guards

NewName = Callable[[], str]
Report = Callable[[ast.AST, str], None]
IsInstance = Callable[[Any, Any], bool]

_SELF_MATCHED = (bool, bytearray, bytes, dict, float, frozenset, int, list, set, str, tuple)
"""Classes whose single positional pattern is the subject itself."""
_NOTHING = object()


def rewrite_match(node: ast.Match, new_name: NewName, report: Report) -> None:
    """Rewrite in place every case that reads an attribute."""
    for case in node.cases:
        if any(map(_reads_attribute, ast.walk(case.pattern))):
            _rewrite_case(case, new_name, report)


def _reads_attribute(node: ast.AST) -> bool:
    if isinstance(node, ast.MatchMapping):
        return not all(map(_is_constant, node.keys))
    return isinstance(node, ast.MatchClass) or (
        isinstance(node, ast.MatchValue) and not _is_constant(node.value)
    )


def _is_constant(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and _is_constant(node.operand)
    if isinstance(node, ast.BinOp):
        return _is_constant(node.left) and _is_constant(node.right)
    return isinstance(node, ast.Constant)


def _rewrite_case(case: ast.match_case, new_name: NewName, report: Report) -> None:
    described = _PatternDescription(report)
    pattern = described.describe_pattern(case.pattern)
    subject, found = new_name(), new_name()
    test = ast.Call(_guard_name("_match_"), [_guard_name(subject), pattern], [])
    tests: list[ast.expr] = [
        ast.Compare(
            ast.NamedExpr(_guard_name(found, ast.Store()), test),
            [ast.IsNot()],
            [ast.Constant(None)],
        )
    ]
    if described.captured:
        bound: list[ast.expr] = [
            ast.NamedExpr(
                ast.copy_location(ast.Name(name, ast.Store()), node),
                ast.Subscript(_guard_name(found), ast.Constant(place), ast.Load()),
            )
            for place, (name, node) in enumerate(described.captured.items())
        ]
        tests.append(ast.Tuple(bound, ast.Load()))
    if case.guard is not None:
        tests.append(case.guard)
    capture = ast.MatchAs(None, subject)
    capture.made_here = True  # type: ignore[attr-defined]
    guard = tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)
    case.guard = ast.copy_location(guard, case.pattern)
    case.pattern = ast.copy_location(capture, case.pattern)
    ast.fix_missing_locations(case.guard)


def _guard_name(name: str, context: ast.expr_context | None = None) -> ast.Name:
    made = ast.Name(name, context or ast.Load())
    made.made_here = True  # type: ignore[attr-defined]
    return made


class _PatternDescription:
    """Turns one pattern into an expression that makes its description."""

    def __init__(self, report: Report) -> None:
        self.captured: dict[str, ast.AST] = {}
        self._report = report
        self._taken: set[str] = set()

    def describe_pattern(self, node: ast.pattern) -> ast.expr:
        """Return the expression: a tuple of a word and what belongs to it."""
        if isinstance(node, ast.MatchValue):
            return _tuple_node("value", node.value)
        if isinstance(node, ast.MatchSingleton):
            return _tuple_node("is", ast.Constant(node.value))
        if isinstance(node, ast.MatchSequence):
            return _tuple_node("sequence", _tuple_node(*map(self.describe_pattern, node.patterns)))
        if isinstance(node, ast.MatchStar):
            return _tuple_node("star", self._capture_place(node.name, node))
        if isinstance(node, ast.MatchMapping):
            parts = _tuple_node(*map(self.describe_pattern, node.patterns))
            rest = (
                _tuple_node()
                if node.rest is None
                else _tuple_node(self._capture_place(node.rest, node))
            )
            return _tuple_node("mapping", _tuple_node(*node.keys), parts, rest)
        if isinstance(node, ast.MatchClass):
            for name in node.kwd_attrs:
                if fault := allowed_names.attribute_fault(name):
                    self._report(node, fault)
            words = _tuple_node(*map(ast.Constant, node.kwd_attrs))
            parts = _tuple_node(*map(self.describe_pattern, node.patterns))
            return _tuple_node(
                "class",
                node.cls,
                parts,
                words,
                _tuple_node(*map(self.describe_pattern, node.kwd_patterns)),
            )
        if isinstance(node, ast.MatchOr):
            return self._describe_or(node)
        assert isinstance(node, ast.MatchAs)
        inner = _tuple_node("any") if node.pattern is None else self.describe_pattern(node.pattern)
        return (
            inner
            if node.name is None
            else _tuple_node("as", inner, self._capture_place(node.name, node))
        )

    def _describe_or(self, node: ast.MatchOr) -> ast.expr:
        before = set(self._taken)
        parts, bound = [], []
        for part in node.patterns:
            self._taken = set(before)
            parts.append(self.describe_pattern(part))
            bound.append(self._taken)
        if any(taken != bound[0] for taken in bound):
            self._report(node, "alternative patterns bind different names")
        return _tuple_node("or", _tuple_node(*parts))

    def _capture_place(self, name: str | None, node: ast.AST) -> ast.expr:
        if name is None:
            return ast.Constant(-1)
        if name in self._taken:
            self._report(node, f"multiple assignments to name {name!r} in pattern")
        self._taken.add(name)
        self.captured.setdefault(name, node)
        return ast.Constant(list(self.captured).index(name))


def _tuple_node(*parts: ast.expr | str) -> ast.expr:
    return ast.Tuple(
        [ast.Constant(part) if isinstance(part, str) else part for part in parts], ast.Load()
    )


def match_pattern(is_instance: IsInstance, subject: Any, pattern: Any) -> list[Any] | None:
    """Return what a pattern captures of a value, by place, or None where it does not match."""
    captured: dict[int, Any] = {}
    if not _PatternMatcher(is_instance, captured).fits_pattern(subject, pattern):
        return None
    return [captured[place] for place in range(len(captured))]


class _PatternMatcher:
    def __init__(self, is_instance: IsInstance, captured: dict[int, Any]) -> None:
        self._is_instance = is_instance
        self._captured = captured

    def fits_pattern(self, subject: Any, pattern: Any) -> bool:
        """Whether a value matches a described pattern."""
        word, *parts = pattern
        if word == "any":
            return True
        if word == "as":
            inner, place = parts
            if not self.fits_pattern(subject, inner):
                return False
            self._captured[place] = subject
            return True
        if word == "value":
            return bool(subject == parts[0])
        if word == "is":
            return subject is parts[0]
        if word == "or":
            return any(self.fits_pattern(subject, part) for part in parts[0])
        if word == "sequence":
            return self._fits_sequence(subject, parts[0])
        if word == "mapping":
            return self._fits_mapping(subject, *parts)
        return self._fits_class(subject, *parts)

    def _fits_sequence(self, subject: Any, parts: Any) -> bool:
        match subject:
            case [*_]:
                size = len(subject)
            case _:
                return False
        stars = [place for place, part in enumerate(parts) if part[0] == "star"]
        if not stars:
            return size == len(parts) and all(map(self.fits_pattern, list(subject), parts))
        before, after = stars[0], len(parts) - stars[0] - 1
        if size < before + after:
            return False
        items = list(subject)
        middle = len(items) - after
        if not all(map(self.fits_pattern, items[:before], parts[:before])):
            return False
        if parts[before][1] >= 0:
            self._captured[parts[before][1]] = items[before:middle]
        return all(map(self.fits_pattern, items[middle:], parts[before + 1 :]))

    def _fits_mapping(self, subject: Any, keys: Any, parts: Any, rest: Any) -> bool:
        match subject:
            case {}:
                pass
            case _:
                return False
        if keys and len(subject) < len(keys):
            return False
        get: Any = guards.read_attribute(subject, "get") if keys else None
        for place, (key, part) in enumerate(zip(keys, parts, strict=True)):
            if key in keys[:place]:
                raise ValueError(f"mapping pattern checks duplicate key ({key!r})")
            found = get(key, _NOTHING)
            if found is _NOTHING or not self.fits_pattern(found, part):
                return False
        for place in rest:
            left = dict(subject)
            for key in keys:
                del left[key]
            self._captured[place] = left
        return True

    def _fits_class(self, subject: Any, cls: Any, parts: Any, words: Any, named: Any) -> bool:
        if not isinstance(cls, type) and not hasattr(type(cls), "checked_as"):
            raise TypeError("called match pattern must be a class")
        if not self._is_instance(subject, cls):
            return False
        positional = self._positional_names(cls, len(parts))
        if positional is None:
            return self.fits_pattern(subject, parts[0]) and self._fits_attributes(
                subject, words, named
            )
        if twice := set(positional).intersection(words):
            raise TypeError(
                f"{_shown_class_name(cls)}() got multiple sub-patterns for attribute {min(twice)!r}"
            )
        return self._fits_attributes(subject, [*positional, *words], [*parts, *named])

    def _positional_names(self, cls: Any, count: int) -> tuple[str, ...] | None:
        """Return the names of positional patterns; None where the subject itself is meant."""
        if not count:
            return ()
        words = getattr(cls, "__match_args__", None) if isinstance(cls, type) else None
        own = words is None and isinstance(cls, type) and issubclass(cls, _SELF_MATCHED)
        if words is None:
            words = ("",) if own else ()
        if type(words) is not tuple:
            raise TypeError(f"{_shown_class_name(cls)}.__match_args__ must be a tuple")
        if count > len(words):
            takes = f"{len(words)} positional sub-pattern{'' if len(words) == 1 else 's'}"
            raise TypeError(f"{_shown_class_name(cls)}() accepts {takes} ({count} given)")
        if own:
            return None
        for word in words[:count]:
            if type(word) is not str or allowed_names.attribute_fault(word):
                raise TypeError(f"{word!r} cannot be matched by position")
        return words[:count]

    def _fits_attributes(self, subject: Any, words: Any, parts: Any) -> bool:
        for word, part in zip(words, parts, strict=True):
            if word in allowed_names.GUARDED_NAMES and not guards.is_made(type(subject)):
                raise TypeError(f"{word!r} is matched on instances of your own classes alone here")
            found = guards.read_attribute(subject, word, _NOTHING)
            if found is _NOTHING or not self.fits_pattern(found, part):
                return False
        return True


def _shown_class_name(cls: Any) -> str:
    return guards.shown_name(cls).strip("'")
