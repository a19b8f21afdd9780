"""The compile-time policy: every node type, every name that a node binds by string, and fuzzing."""

from __future__ import annotations

import ast
import contextlib
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from RestrictedPython.transformer import INSPECT_ATTRIBUTES

from rlm_mcp.sandbox import allowed_names, policy

# One sample of source for every node type of the grammar that source can make.
SAMPLES: dict[str, str] = {
    "Add": "1 + 2", "And": "x and y", "AnnAssign": "x: int = 1", "Assert": "assert x",
    "Assign": "x = 1", "AsyncFor": "async def f():\n async for x in y: pass",
    "AsyncFunctionDef": "async def f(): pass",
    "AsyncWith": "async def f():\n async with x as y: pass", "Attribute": "x.y",
    "AugAssign": "x += 1", "Await": "async def f(): await x", "BinOp": "1 + 2",
    "BitAnd": "1 & 2", "BitOr": "1 | 2", "BitXor": "1 ^ 2", "BoolOp": "x or y",
    "Break": "while x: break", "Call": "f()", "ClassDef": "class C: pass", "Compare": "x < y",
    "Constant": "1", "Continue": "while x: continue", "Del": "del x", "Delete": "del x",
    "Dict": "{1: 2}", "DictComp": "{x: x for x in y}", "Div": "1 / 2", "Eq": "1 == 2",
    "ExceptHandler": "try: x\nexcept E as e: y", "Expr": "x", "FloorDiv": "1 // 2",
    "For": "for x in y: pass", "FormattedValue": "f'{x}'", "FunctionDef": "def f(): pass",
    "GeneratorExp": "(x for x in y)", "Global": "def f():\n global x", "Gt": "1 > 2",
    "GtE": "1 >= 2", "If": "if x: y", "IfExp": "x if y else z", "Import": "import re",
    "ImportFrom": "from re import sub", "In": "1 in x", "Invert": "~1", "Is": "x is y",
    "IsNot": "x is not y", "JoinedStr": "f'{x}'", "LShift": "1 << 2", "Lambda": "lambda: 1",
    "List": "[1]", "ListComp": "[x for x in y]", "Load": "x", "Lt": "1 < 2", "LtE": "1 <= 2",
    "MatMult": "x @ y", "Match": "match x:\n case 1: pass",
    "MatchAs": "match x:\n case y: pass", "MatchClass": "match x:\n case C(): pass",
    "MatchMapping": "match x:\n case {}: pass", "MatchOr": "match x:\n case 1 | 2: pass",
    "MatchSequence": "match x:\n case []: pass",
    "MatchSingleton": "match x:\n case None: pass",
    "MatchStar": "match x:\n case [*y]: pass", "MatchValue": "match x:\n case 1: pass",
    "Mod": "1 % 2", "Module": "x", "Mult": "1 * 2", "Name": "x", "NamedExpr": "(x := 1)",
    "Nonlocal": "def f():\n x = 1\n def g():\n  nonlocal x", "Not": "not x", "NotEq": "1 != 2",
    "NotIn": "1 not in x", "Or": "x or y", "Pass": "pass", "Pow": "1 ** 2", "RShift": "1 >> 2",
    "Raise": "raise x", "Return": "def f(): return 1", "Set": "{1}",
    "SetComp": "{x for x in y}", "Slice": "x[1:2]", "Starred": "[*x]", "Store": "x = 1",
    "Sub": "1 - 2", "Subscript": "x[1]", "Try": "try: x\nfinally: y",
    "TryStar": "try: x\nexcept* E: y", "Tuple": "(1, 2)", "UAdd": "+1", "USub": "-1",
    "UnaryOp": "-x", "While": "while x: pass", "With": "with x: pass", "Yield": "def f(): yield",
    "YieldFrom": "def f(): yield from x", "alias": "import re as r", "arg": "def f(x): pass",
    "arguments": "def f(x): pass", "comprehension": "[x for x in y]", "keyword": "f(x=1)",
    "match_case": "match x:\n case 1: pass", "withitem": "with x as y: pass",
    "TypeAlias": "type X = int", "TypeVar": "def f[T](x): pass",
    "ParamSpec": "def f[**P](x): pass", "TypeVarTuple": "def f[*T](x): pass",
    "TemplateStr": "t'{x}'", "Interpolation": "t'{x}'",
}  # fmt: skip

ABSTRACT = {
    "AST", "mod", "stmt", "expr", "expr_context", "boolop", "operator", "unaryop", "cmpop",
    "excepthandler", "pattern", "type_ignore", "type_param", "slice", "ExtSlice", "Index", "Num",
    "Str", "Bytes", "NameConstant", "Ellipsis", "AugLoad", "AugStore", "Param", "Suite",
}  # fmt: skip
NOT_SOURCE = {"Interactive", "Expression", "FunctionType", "TypeIgnore"}

# Where a node binds or reads a name by string, not through a Name node.
BINDING = {
    "function": "def NAME(): pass",
    "async function": "async def NAME(): pass",
    "class": "class NAME: pass",
    "argument": "def f(NAME): pass",
    "positional only": "def f(NAME, /): pass",
    "keyword only": "def f(*, NAME): pass",
    "star": "def f(*NAME): pass",
    "double star": "def f(**NAME): pass",
    "lambda": "lambda NAME: 1",
    "import": "import NAME",
    "import as": "import re as NAME",
    "from import": "from re import NAME",
    "from import as": "from re import sub as NAME",
    "global": "def f():\n global NAME",
    "nonlocal": "def g():\n def f():\n  nonlocal NAME",
    "handler": "try: x\nexcept E as NAME: y",
    "star handler": "try: x\nexcept* E as NAME: y",
    "match capture": "match x:\n case NAME: pass",
    "match as": "match x:\n case [1] as NAME: pass",
    "match star": "match x:\n case [*NAME]: pass",
    "match rest": "match x:\n case {**NAME}: pass",
    "match class": "match x:\n case NAME(): pass",
    "match keyword": "match x:\n case C(NAME=1): pass",
    "keyword": "f(NAME=1)",
    "store": "NAME = 1",
    "load": "NAME",
    "delete": "del NAME",
    "for": "for NAME in x: pass",
    "with": "with x as NAME: pass",
    "walrus": "(NAME := 1)",
    "annotated": "NAME: int = 1",
    "augmented": "NAME += 1",
    "comprehension": "[1 for NAME in x]",
    "attribute load": "x.NAME",
    "attribute store": "x.NAME = 1",
    "attribute delete": "del x.NAME",
    "attribute augmented": "x.NAME += 1",
    "class annotation": "class C:\n NAME: int",
    "class name": "class C:\n NAME = 1",
    "method": "class C:\n def NAME(self): pass",
}
GUARDS = [
    "_getattr_", "_write_", "_class_", "_type_", "_vars_", "_label_", "_match_", "_import_",
    "_import_from_", "_Stop_", "_m1_", "__builtins__", "__import__", "__build_class__",
    "__globals__", "__subclasses__", "__code__", *sorted(INSPECT_ATTRIBUTES),
]  # fmt: skip


def accepted(source: str) -> bool:
    try:
        policy.compile_cell(source, "cell")
    except SyntaxError:
        return False
    return True


def node_types() -> set[str]:
    return {
        name
        for name, item in vars(ast).items()
        if isinstance(item, type) and issubclass(item, ast.AST) and not name.startswith("_")
    }


def test_every_node_type_of_this_python_is_in_the_table() -> None:
    known = set(SAMPLES) | ABSTRACT | NOT_SOURCE
    assert node_types() - known == set()


@pytest.mark.parametrize("name", sorted(set(SAMPLES) & node_types()))
def test_a_known_node_type_is_accepted_and_really_made(name: str) -> None:
    tree = ast.parse(SAMPLES[name])
    assert name in {type(node).__name__ for node in ast.walk(tree)}
    assert accepted(SAMPLES[name])


@pytest.mark.parametrize("name", sorted(node_types() - ABSTRACT))
def test_a_node_type_has_a_visitor_of_its_own_or_is_refused(name: str) -> None:
    has_visitor = hasattr(policy.Policy, f"visit_{name}")
    assert has_visitor == (name in SAMPLES or name in {"Interactive", "Expression"})


def test_an_unknown_node_type_is_refused() -> None:
    class Novel(ast.expr):
        pass

    errors: list[str] = []
    policy.Policy(errors).visit(ast.Module([ast.Expr(Novel())], []))
    assert errors


@pytest.mark.parametrize("place", BINDING)
def test_no_place_takes_a_name_of_a_guard_or_a_frame(place: str) -> None:
    for name in GUARDS:
        assert not accepted(BINDING[place].replace("NAME", name)), name


@pytest.mark.parametrize("place", sorted(set(BINDING) - {"nonlocal"}))
@pytest.mark.parametrize("name", ["value", "_helper", "_", "data_"])
def test_ordinary_names_are_taken_everywhere(place: str, name: str) -> None:
    if place in ("match as", "match star", "match rest", "match capture", "match class"):
        source = BINDING[place].replace("NAME", name)
        refused = ("match as", "match rest", "match class")  # by the language itself
        assert accepted(source) == (not (name == "_" and place in refused))
        return
    assert accepted(BINDING[place].replace("NAME", name))


@pytest.mark.parametrize("name", sorted(allowed_names.GUARDED_NAMES))
def test_guarded_attributes_are_set_and_matched_through_the_guard_but_not_augmented(
    name: str,
) -> None:
    assert accepted(f"x.{name} = 1\ny = x.{name}\nmatch x:\n case C({name}=y): pass")
    assert not accepted(f"x.{name} += 1")


def test_native_reads_of_attributes_are_left_only_where_they_are_written() -> None:
    source = "\n".join(SAMPLES[name] for name in ("Attribute", "Call", "AugAssign", "ClassDef"))
    source += "\nx.y = 1\nx.y += 2\ndel x.y\nwith a.b as c.d: pass\nfor e.f in g.h: pass"
    tree = ast.parse(source)
    errors: list[str] = []
    policy.Policy(errors).visit(tree)
    assert errors == []
    assert unguarded(tree) == []


def unguarded(tree: ast.AST) -> list[str]:
    """Name what the guards would not see: raw attribute reads, imports, unmade classes."""
    seen = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            writes = isinstance(node.ctx, (ast.Store, ast.Del))
            through = isinstance(node.value, ast.Call) and _calls(node.value, "_write_")
            if not (writes and through):
                seen.append(ast.unparse(node))
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            seen.append(ast.unparse(node))
        if isinstance(node, ast.ClassDef):
            words = [k for k in node.keywords if k.arg == "metaclass"]
            if len(words) != 1 or not _named(words[0].value, "_class_"):
                seen.append(f"class {node.name}")
        if isinstance(node, ast.MatchClass):
            seen.append(ast.unparse(node))
        if isinstance(node, ast.Try) and node.handlers:
            first = node.handlers[0]
            if not (first.type is not None and _named(first.type, "_Stop_")):
                seen.append("try without a stop")
    return seen


def _named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _calls(node: ast.Call, name: str) -> bool:
    return _named(node.func, name)


PIECES = st.sampled_from(
    [
        "x", "x.y", "x.y.z", "f(x)", "x[1]", "(x.a, y.b)", "[q.r for q in x.s if q.t]",
        "lambda v: v.w", "x.a if y.b else z.c", "f(*x.a, **y.b)", "{x.a: y.b, **z.c}",
        "f'{x.a!r:>{y.b}}'", "(w := x.a)", "x.a + y.b", "not x.a", "x.a < y.b < z.c",
        "super().__init__(x.a)", "x.__class__.__name__", "x._y", "x.__len__()", "x.__dict__",
    ]
)  # fmt: skip
STATEMENTS = st.sampled_from(
    [
        "EXPR", "a = EXPR", "a.b = EXPR", "a.b.c += EXPR", "a[EXPR] = EXPR", "del a.b, c[EXPR]",
        "for a.b in EXPR:\n    BODY", "with EXPR as a.b:\n    BODY",
        "def f(p=EXPR) -> EXPR:\n    BODY",
        "class C(B):\n    a = EXPR\n    BODY", "try:\n    BODY\nexcept EXPR as e:\n    BODY",
        "if EXPR:\n    BODY\nelse:\n    BODY", "while EXPR:\n    BODY",
        "match EXPR:\n    case [a, b] if EXPR:\n        BODY\n    case C.D:\n        BODY",
        "match EXPR:\n    case {'k': C.D | C.E, **r}:\n        BODY",
        "match EXPR:\n    case C(a, b=D.E(c)) | C.D(a, c, b=1) if EXPR:\n        BODY",
        "import re as a, json",
        "from re import sub as s, compile", "assert EXPR, EXPR", "raise E(EXPR)",
        "async def g():\n    await EXPR\n    BODY", "@EXPR\ndef h(): return EXPR",
        "a: EXPR = EXPR", "a.b: int = EXPR", "a, *b = EXPR", "a.b, c.d = EXPR",
    ]
)  # fmt: skip


@st.composite
def programs(draw: st.DrawFn, depth: int = 3) -> str:
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        text = draw(STATEMENTS)
        while "EXPR" in text:
            text = text.replace("EXPR", draw(PIECES), 1)
        while "BODY" in text:
            line = next(line for line in text.split("\n") if "BODY" in line)
            indent = line[: len(line) - len(line.lstrip())]
            inner = draw(programs(depth=depth - 1)) if depth > 0 else "pass"
            inner = ("\n" + indent).join(inner.split("\n"))
            text = text.replace("BODY", inner, 1)
        lines.append(text)
    return "\n".join(lines)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs())
def test_what_is_accepted_holds_nothing_that_the_guards_do_not_see(source: str) -> None:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    errors: list[str] = []
    policy.Policy(errors).visit(tree)
    if not errors:
        assert unguarded(tree) == []


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.sampled_from(sorted(SAMPLES)))
def test_mutated_trees_are_refused_or_guarded_and_never_crash(seed: int, name: str) -> None:
    chance = random.Random(seed)
    pool = [node for text in SAMPLES.values() for node in _nodes(text)]
    try:
        tree = ast.parse(SAMPLES[name])
    except SyntaxError:
        return
    expressions = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
    donors = [node for node in pool if isinstance(node, ast.expr)]
    for target in expressions[:3]:
        donor = chance.choice(donors)
        if isinstance(target, ast.Attribute):
            target.attr = chance.choice(["y", "gi_frame", "__globals__", "format", "_x"])
        elif isinstance(target, ast.Call):
            target.args = [donor]
        elif isinstance(target, ast.BinOp):
            target.left = donor
    try:
        source = ast.unparse(tree)
        tree = ast.parse(source)
    except (SyntaxError, ValueError, AttributeError):
        return
    errors: list[str] = []
    policy.Policy(errors).visit(tree)
    if not errors:
        assert unguarded(tree) == []
        for bad in ("gi_frame", "__globals__"):
            assert bad not in ast.unparse(tree)


def _nodes(source: str) -> list[ast.AST]:
    try:
        return list(ast.walk(ast.parse(source)))
    except SyntaxError:
        return []


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_text_compiles_or_is_a_syntax_error(source: str) -> None:
    with contextlib.suppress(SyntaxError, ValueError):
        policy.compile_cell(source, "cell")


def test_an_error_names_the_line_and_what_to_do() -> None:
    with pytest.raises(policy.PolicyError, match=r"line 2: the special attribute \"__globals__\""):
        policy.compile_cell("x = 1\ny = f.__globals__", "cell")


def test_a_cell_that_is_too_long_is_refused() -> None:
    with pytest.raises(policy.PolicyError, match="at most"):
        policy.compile_cell("x = 1\n" * 300_000, "cell")
