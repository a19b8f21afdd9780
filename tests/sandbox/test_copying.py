"""What replaces `copy`, `dataclasses`, `vars` and the containers gives what the library gives."""

from __future__ import annotations

import contextlib
import io

import pytest

from rlm_mcp.sandbox import worker
from rlm_mcp.sandbox.cell_environment import CellEnvironment
from rlm_mcp.sandbox.output import CellOutput

worker.preload_worker()


def printed(code: str) -> str:
    """Run a cell under the language layer, in this process, and return what it printed."""
    environment = CellEnvironment(CellOutput(100_000), language=True)
    environment.execute(code)
    return environment.output.kept_text()


def by_python(code: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "cell", "exec", dont_inherit=True), {"__name__": "__main__"})
    return out.getvalue()


COPIED = """
import copy, array, datetime, decimal, enum, functools, io, pathlib, re
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, UserString
from collections import defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import urlparse
P = namedtuple("P", "x y")
class Q(NamedTuple):
    x: list
    y: int = 3
class Color(enum.Enum):
    RED = 1
@dataclass
class Node:
    name: str
    items: list = field(default_factory=list)
@dataclass(frozen=True, slots=True)
class Frozen:
    name: str
    items: list
class Slots:
    __slots__ = ("a", "b")
class Both(Slots):
    def __init__(self): self.a, self.c = [1], [2]
class MyList(list): pass
class MyDict(dict): pass
class MyTuple(tuple): pass
class MyStr(str): pass
class MyInt(int): pass
class MyFactory(defaultdict): pass
class MyUser(UserDict): pass
class Problem(ValueError):
    def __init__(self, *given):
        super().__init__(*given)
        self.more = [given]
def note(made, *names, **named):
    for name in names: setattr(made, name, [name])
    return made
slots = Slots()
slots.a = [1]
"""

VALUES = [
    "[1, [2, {'a': (3, [4])}]]", "{'a': {1: [2]}}", "{1, 2}", "frozenset([(1, 2)])", "(1, [2])",
    "(1, 2)", "P(1, [2])", "Q([1])", "Color.RED", "[Color.RED]", "Node('n', [Node('m')])",
    "Frozen('f', [1])", "Both()", "slots", "Counter('aab')", "defaultdict(list, {'a': [1]})",
    "OrderedDict(a=[1], b=2)", "deque([1, [2]], 3)", "ChainMap({'a': [1]}, {'b': [2]})",
    "UserDict(a=[1])", "UserList([1, [2]])", "UserString('text')", "SimpleNamespace(a=[1], b=2)",
    "note(MyList([1, [2]]), 'm')", "note(MyDict(a=[1]), 'm')", "note(MyTuple([1, [2]]), 'm')",
    "note(MyStr('s'), 'm')", "note(MyInt(5), 'm')", "MyFactory(list, {1: [2]})",
    "note(MyUser(a=[1]), 'm')", "Problem('a', 2)", "KeyError('k')", "OSError(2, 'gone')",
    "bytearray(b'abc')", "array.array('i', [1, 2])", "range(3)", "slice(1, 2)", "None", "2.5",
    "datetime.date(2024, 1, 2)", "decimal.Decimal('1.5')", "pathlib.PurePosixPath('a/b')",
    "re.compile('x')", "len", "int", "Node", "functools.partial(max, [1], key=abs)",
    "urlparse('http://a/b')", "io.StringIO('text')", "Node('n').items.append",
]  # fmt: skip

COMPARED = """
def state(v):
    if isinstance(v, (Slots,)):
        return [getattr(v, n, None) for n in ("a", "b", "c")]
    if isinstance(v, io.StringIO):
        return v.getvalue()
    if isinstance(v, Exception):
        return v.args, getattr(v, "more", None)
    if isinstance(v, functools.partial):
        return v.func, v.args, v.keywords
    kept = [getattr(v, "m", None), getattr(v, "maxlen", None), getattr(v, "default_factory", None)]
    return kept, "method" if callable(v) else v
for way in (copy.copy, copy.deepcopy):
    value = VALUE
    made = way(value)
    print(type(made) is type(value), state(made) == state(value))
    if isinstance(value, (list, dict, set, deque, UserDict, UserList, Node, Slots, Exception)):
        print(made is value)
    for part in ("items", "a", "c", "m", "data", "maps", "more"):
        if hasattr(value, part) and not callable(getattr(value, part)):
            print(part, getattr(made, part) is getattr(value, part))
    if isinstance(value, (list, tuple, deque, UserList)):
        print([x is y for x, y in zip(value, made)])
    if isinstance(value, (dict, UserDict, ChainMap)):
        print([value[k] is made[k] for k in value])
"""


@pytest.mark.parametrize("value", VALUES)
def test_a_copy_is_what_the_library_makes(value: str) -> None:
    code = COPIED + COMPARED.replace("VALUE", value)
    assert printed(code) == by_python(code)


CELLS = {
    "cycles": """
import copy
class Tree:
    def __init__(self, parent=None):
        self.parent, self.children = parent, []
root = Tree()
root.children += [Tree(root), Tree(root)]
made = copy.deepcopy(root)
print(made is root, made.children[0].parent is made, len(made.children))
x = [1]; x.append(x); y = copy.deepcopy(x); print(y[1] is y)
d = {}; d["d"] = (d,); e = copy.deepcopy(d); print(e["d"][0] is e)
shared = [1]; two = copy.deepcopy([shared, shared]); print(two[0] is two[1], two[0] is shared)
""",
    "own methods": """
import copy
class K:
    def __deepcopy__(self, memo):
        made = K()
        memo[id(self)] = made
        made.v = copy.deepcopy(self.v, memo)
        return made
    def __copy__(self): return "copied"
k = K(); k.v = [k]
c = copy.deepcopy([k, k])
print(c[0] is c[1], c[0].v[0] is c[0], c[0] is k, copy.copy(k))
""",
    "bound methods": """
import copy
class A:
    def __init__(self): self.n = [1]
    def get(self): return self.n
a = A()
get = copy.deepcopy(a.get)
a.n.append(2)
print(get())
""",
    "dataclasses": """
from collections import defaultdict, namedtuple
from dataclasses import (InitVar, asdict, astuple, dataclass, field, fields, is_dataclass, replace)
P = namedtuple("P", "x y")
@dataclass(order=True)
class A:
    x: int
    y: list = field(default_factory=list)
    z: int = field(default=3, init=False, repr=False, metadata={"unit": "ms"})
    format: str = "json"
    _hidden: int = 0
@dataclass
class B(A):
    w: InitVar[int] = 2
    def __post_init__(self, w): self.z = w
a = A(1, [A(2), {"k": A(3)}, P(A(4), 5)])
print(a, asdict(a), astuple(a), a.format)
print([(f.name, f.type, f.init, dict(f.metadata)) for f in fields(A)], len(fields(a)))
print(is_dataclass(A), is_dataclass(a), is_dataclass(3), is_dataclass(int))
print(replace(a, x=9, format="xml"), replace(B(1, w=7), x=3), A(1) < A(2))
print(asdict(a, dict_factory=lambda pairs: sorted(k for k, _ in pairs)))
copied = asdict(a)
copied["y"].append(1)
print(len(a.y))
for call in (lambda: replace(a, z=1), lambda: replace(3), lambda: asdict(A), lambda: fields(3)):
    try: print(call())
    except (TypeError, ValueError) as error: print(type(error).__name__, error)
""",
    "vars": """
import json
class A:
    def __init__(self, **named): self.__dict__.update(named)
    def __repr__(self): return f"A({self.__dict__})"
a = A(x=1, _y=2)
d = vars(a)
d["z"] = 3
a.w = 4
print(a, d, sorted(d), len(d), "w" in d, dict(d), {**d}, list(d.values()), bool(d))
print(d == {"x": 1, "_y": 2, "z": 3, "w": 4}, isinstance(d, dict), d.get("q"), d["w"])
del d["x"]
print(hasattr(a, "x"), d.pop("w"), d.setdefault("k", [1]), d | {"m": 1})
print(json.dumps(vars(a)), [(k, v) for k, v in vars(a).items()])
for key in list(d): d[key] = str(d[key])
print(vars(a))
d.clear()
print(a, bool(vars(a)))
def keywords(**named): return named
a.n = 1
print(keywords(**vars(a)), "n=%(n)s" % vars(a), "{n}".format(**vars(a)))
""",
    "namespaces": """
from types import SimpleNamespace
n = SimpleNamespace(a=1, b=[2])
vars(n)["c"] = 3
n.d = 4
print(n, n == SimpleNamespace(a=1, b=[2], c=3, d=4), n.c, sorted(vars(n)))
class N(SimpleNamespace):
    def total(self): return sum(vars(self).values())
print(N(a=1, b=2).total(), N(a=1))
""",
    "UserString": """
from collections import UserString
s = UserString("a {} {x}")
print(s.format(1, x=2), s.upper(), s + "!", s.count("a"), len(s), s == "a {} {x}", s[0:1])
print(UserString("{a.real} {b[0]}").format_map({"a": 3, "b": [4]}), UserString("%s") % 5)
class T(UserString):
    def shout(self): return T(self.upper() + "!")
print(T("x").shout(), type(T("x").shout()).__name__)
""",
    "UserDict": """
from collections import UserDict, UserList
class Lower(UserDict):
    def __setitem__(self, key, value): super().__setitem__(key.lower(), value)
d = Lower(A=1)
d.extra = 1
c = d.copy()
c["B"] = 2
print(d, c, type(c).__name__, c.extra, d | {"C": 3}, UserList([1]).copy() + [2])
""",
    "context managers": """
from contextlib import contextmanager
@contextmanager
def managed(name):
    \"\"\"Doc.\"\"\"
    try: yield name
    except ValueError as error: print("caught", error)
    finally: print("end", name)
with managed(1) as v: raise ValueError(v)
try:
    with managed(2): raise KeyError("k")
except KeyError as error: print("through", error)
@managed(3)
def work(x): return x
print(work(4), work(5), work.__name__, managed.__name__, managed.__doc__)
class Timer:
    def __enter__(self): return self
    def __exit__(self, kind, error, trace):
        print(kind, error)
        return True
with Timer(): 1 / 0
with Timer(): pass
""",
    "caches": """
from functools import cache, lru_cache
@lru_cache(maxsize=2)
def square(x):
    \"\"\"Doc.\"\"\"
    print("work", x)
    return x * x
print(square(2), square(2), square.cache_info(), square.__name__, square.__doc__)
print(square.cache_parameters())
square.cache_clear()
class A:
    @lru_cache
    def f(self, x): return x
    @cache
    def g(self): return 1
print(A().f(1), A().g(), A.f.cache_info())
""",
    "super": """
class A:
    def f(self): return "A"
    @classmethod
    def make(cls): return cls()
class B(A):
    def f(self): return super().f() + "B"
    @classmethod
    def make(cls): return super().make()
class C(B):
    def f(self): return super(C, self).f() + super(B, self).f()
print(C().f(), type(C.make()).__name__)
""",
    "registries": """
from functools import singledispatch
class Registry:
    known = {}
    @classmethod
    def register(cls, item): cls.known[item] = 1; return item
class Sub(Registry):
    @classmethod
    def register(cls, item): return super().register(item)
    def mro(self): return "own"
    obj = 3
print(Sub.register(1), Registry.register(2), Sub.known, Sub().mro(), Sub().obj, Sub.obj)
@singledispatch
def show(x): return "any"
@show.register(int)
def show_int(x): return "int"
print(show(1), show("a"))
""",
    "patterns": """
from dataclasses import dataclass
from enum import Enum
class Color(Enum):
    RED = 1
    GREEN = 2
@dataclass
class Point:
    x: int
    y: object = None
    format: str = "f"
class Keys:
    A = "a"
def what(value):
    match value:
        case Point(x=0, y=0): return "origin"
        case Point(x, Point(a, _) | [a]): return "nested", x, a
        case Point(x, Color.RED | Color.GREEN as c) if x > 1: return "color", x, c
        case Point(format=f, x=x): return f, x
        case {"k": Color.RED, **rest}: return rest
        case {Keys.A: int(n), "b": [*_, last]}: return n, last
        case [Color.RED, *mid, Point(y=y)]: return mid, y
        case (str(s), _) | [_, int(s), _]: return "either", s
        case str(s) | bytes(s): return s
        case bool(): return "bool"
        case int() | float(): return "number"
        case Color.RED: return "red"
        case [1, *_]: return "one"
        case None: return "none"
        case dict(d): return len(d)
        case _: return "other"
for value in [Point(0, 0), Point(1, Point(5)), Point(1, [7]), Point(2, Color.RED),
              Point(1, Color.RED), {"k": Color.RED, "z": 1}, [Color.RED, 1, 2, Point(3, 4)],
              {"a": 1, "b": [1, 2]}, {"a": 1}, ("s", 1), [1, 2, 3], "s", b"b", True, 3, 2.5,
              Color.RED, Color.GREEN, [1], None, object, {}, (i for i in [1])]:
    print(what(value))
class Box:
    __match_args__ = ("inner",)
    def __init__(self, inner): self.inner = inner
    def look(self):
        match self:
            case Box(Box(x)): return x
            case Box(inner=x): return [x]
print(Box(Box(1)).look(), Box(2).look())
for source in (lambda v: what(v),):
    try:
        match 3:
            case int(a, b): pass
    except TypeError as error: print(error)
    try:
        match Point(1):
            case Point(x, x=1): pass
    except TypeError as error: print(error)
""",
}


@pytest.mark.parametrize("title", CELLS)
def test_an_ordinary_use_gives_what_python_gives(title: str) -> None:
    assert printed(CELLS[title]) == by_python(CELLS[title])


@pytest.mark.parametrize(
    "name", ["__deepcopy__", "__reduce_ex__", "__match_args__", "gi_frame", "_x_"]
)
@pytest.mark.parametrize(
    "way",
    [
        "vars(a)[name] = 1",
        "a.__dict__.update({name: 1})",
        "vars(a).setdefault(name, 1)",
        "d = vars(a)\nd |= {name: 1}",
        "operator.setitem(vars(a), name, 1)",
        "SimpleNamespace(**{name: 1})",
        "setattr(a, name, 1)",
    ],
)
def test_no_way_of_writing_takes_the_name_of_a_protocol(way: str, name: str) -> None:
    start = "import operator\nfrom types import SimpleNamespace\nclass A: pass\na = A()\n"
    with pytest.raises(AttributeError, match=r"cannot be set here|not available|reserved"):
        printed(f"{start}name = {name!r}\n{way}")


@pytest.mark.parametrize(
    "source",
    ["match 1:\n case A(x, x): pass", "match 1:\n case A(x) | A(y): pass",
     "match 1:\n case [A.B, x, *x]: pass", "match 1:\n case A(gi_frame=x): pass"],
)  # fmt: skip
def test_a_pattern_that_python_refuses_is_refused(source: str) -> None:
    with pytest.raises(SyntaxError):
        printed(source)


@pytest.mark.parametrize("value", ["(i for i in [1])", "sys.stdout", "iter([1])"])
def test_what_is_no_plain_value_is_not_copied(value: str) -> None:
    with pytest.raises(TypeError, match="cannot be copied here"):
        printed(f"import copy, sys\ncopy.deepcopy([{value}])")
