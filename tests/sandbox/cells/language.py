# %% classes and inheritance
class Shape:
    kind = "shape"
    def __init__(self, name, **extra):
        self.name = name
        self._extra = extra
    def area(self):
        raise NotImplementedError
    def __repr__(self):
        return f"{type(self).__name__}({self.name!r})"
    @property
    def extra(self):
        return dict(self._extra)
    @classmethod
    def make(cls, name):
        return cls(name)
    @staticmethod
    def twice(x):
        return x * 2
class Square(Shape):
    kind = "square"
    def __init__(self, side):
        super().__init__("sq", side=side)
        self.side = side
    def area(self):
        return self.side**2
s = Square(3)
print(s, s.area(), s.extra, Shape.make("q"), Square.twice(4), isinstance(s, Shape), issubclass(Square, Shape), s.kind)
try:
    Shape("x").area()
except NotImplementedError as e:
    print(type(e).__name__, e.args)
# %% operators and special methods
from functools import total_ordering
@total_ordering
class V:
    def __init__(self, x):
        self.x = x
    def __add__(self, o):
        return V(self.x + o.x)
    def __radd__(self, o):
        return V(self.x + o)
    def __iadd__(self, o):
        self.x += o.x
        return self
    def __mul__(self, k):
        return V(self.x * k)
    def __neg__(self):
        return V(-self.x)
    def __eq__(self, o):
        return self.x == o.x
    def __lt__(self, o):
        return self.x < o.x
    def __hash__(self):
        return hash(self.x)
    def __bool__(self):
        return self.x != 0
    def __len__(self):
        return abs(self.x)
    def __getitem__(self, i):
        return (self.x, i)
    def __contains__(self, i):
        return i == self.x
    def __call__(self, *a, **k):
        return (self.x, a, k)
    def __iter__(self):
        return iter(range(self.x))
    def __str__(self):
        return f"V<{self.x}>"
    def __format__(self, spec):
        return f"[{spec}:{self.x}]"
a, b = V(2), V(3)
a += b
print(a, a + b, 10 + a, a * 2, -a, a > b, a == V(5), len({a, V(5)}), bool(V(0)), len(a), a[1], 5 in a, a(1, k=2), list(a), f"{a:zz}", sorted([b, V(1), a], reverse=True)[0].x)
# %% private names in classes
class Account:
    __count = 0
    def __init__(self, owner):
        self.__owner = owner
        self._balance = 0
        Account.__count += 1
    def owner(self):
        return self.__owner
    def deposit(self, n):
        self._balance += n
        return self
    @classmethod
    def count(cls):
        return cls.__count
a = Account("x").deposit(5).deposit(7)
print(a.owner(), a._balance, Account.count(), sorted(vars(a)))
# %% dataclasses
from dataclasses import dataclass, field, asdict, astuple, replace, fields
@dataclass(order=True, frozen=True)
class P:
    x: int
    y: int = 0
    tags: tuple[str, ...] = ()
    meta: dict = field(default_factory=dict, compare=False)
    def norm(self) -> float:
        return (self.x**2 + self.y**2) ** 0.5
p = P(3, 4)
print(p, p.norm(), replace(p, y=5), asdict(p), astuple(p), P(1) < P(2), [f.name for f in fields(P)])
try:
    p.x = 5
except Exception as e:
    print(type(e).__name__, e)
# %% post init and kw only
from dataclasses import dataclass, field, KW_ONLY, InitVar
@dataclass(slots=True)
class Q:
    a: int
    b: int = field(init=False)
    k: InitVar[int] = 2
    _: KW_ONLY
    c: str = "c"
    def __post_init__(self, k):
        self.b = self.a * k
print(Q(3), Q(3, 5, c="z").b)
# %% enum
from enum import Enum, IntEnum, Flag, auto, StrEnum
class Color(Enum):
    RED = "r"
    GREEN = auto()
    @property
    def pretty(self):
        return self.name.title()
class Level(IntEnum):
    LOW = 1
    HIGH = 2
class Perm(Flag):
    R = auto()
    W = auto()
class S(StrEnum):
    A = auto()
print(Color.RED, Color("r"), Color["RED"].value, [c.name for c in Color], Color.RED.pretty, Level.HIGH > 1, Perm.R | Perm.W, S.A, Color.RED in Color, len(Level), max(Level))
try:
    Color("zz")
except ValueError as e:
    print(e)
# %% namedtuple
from collections import namedtuple
Point = namedtuple("Point", "x y", defaults=[0])
p = Point(3)
print(p, p._asdict(), p._replace(y=2), Point._fields, Point._make([1, 2]), p.x + p[1], *p)
# %% match statement
from dataclasses import dataclass
from enum import Enum
class K(Enum):
    A = 1
    B = 2
@dataclass
class Node:
    kind: K
    value: object = None
def show(x):
    match x:
        case None | True | False:
            return "constant"
        case int() | float() if x > 100:
            return "big"
        case int(n):
            return f"int {n}"
        case str() as s:
            return f"str {s}"
        case [first, *_, last]:
            return f"seq {first}..{last}"
        case []:
            return "empty"
        case {"type": "a", "v": v, **rest}:
            return f"map {v} {rest}"
        case Node(kind=K.A, value=v):
            return f"node A {v}"
        case Node(K.B):
            return "node B"
        case K.A:
            return "kind A"
        case _:
            return "other"
for x in (None, 1000, 5, "s", [1, 2, 3], [], {"type": "a", "v": 1, "z": 2}, Node(K.A, 9), Node(K.B), K.A, K.B, 2.5):
    print(show(x))
# %% match dotted alternatives
import math
class C:
    A = 1
    B = 2
for x in (1, 2, 3):
    match x:
        case C.A | C.B:
            print("ab")
        case -1 | 3:
            print("three")
match (1, 2):
    case (C.A, y) if y == C.B:
        print("pair", y)
# %% walrus and chained comparison
data = [3, 8, 1]
print([y for x in data if (y := x * 2) > 5], 1 < 2 < 3 != 4, (n := len(data)), n)
# %% closures and nonlocal
def counter():
    count = 0
    def up(by=1):
        nonlocal count
        count += by
        return count
    return up
c = counter()
print(c(), c(5), c())
# %% global
total = 0
def add(n):
    global total
    total += n
for i in range(4):
    add(i)
print(total)
# %% decorators
import functools, time
def logged(prefix):
    def wrap(fn):
        @functools.wraps(fn)
        def inner(*args, **kwargs):
            result = fn(*args, **kwargs)
            print(prefix, fn.__name__, args, kwargs, result)
            return result
        return inner
    return wrap
@logged(">")
def mul(a, b=2):
    "Multiply."
    return a * b
mul(3, b=4)
print(mul.__name__, mul.__doc__)
# %% context managers
from contextlib import contextmanager, suppress
@contextmanager
def block(name):
    print("enter", name)
    try:
        yield name.upper()
    finally:
        print("exit", name)
class Timer:
    def __enter__(self):
        self.log = []
        return self
    def __exit__(self, kind, error, tb):
        self.log.append(kind.__name__ if kind else None)
        return kind is KeyError
with block("a") as x, Timer() as t:
    print(x)
with Timer() as t2:
    {}["missing"]
with suppress(ValueError):
    int("x")
print(t.log, t2.log)
# %% exceptions
class AppError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
def risky(n):
    if n == 0:
        raise AppError(7, "zero")
    if n == 1:
        raise ValueError("one")
    return n
for n in range(3):
    try:
        r = risky(n)
    except AppError as e:
        print("app", e.code, e)
    except (ValueError, TypeError) as e:
        print(type(e).__name__, str(e), repr(e))
    else:
        print("fine", r)
    finally:
        print("done", n)
try:
    try:
        1 / 0
    except ZeroDivisionError as e:
        raise RuntimeError("wrapped") from e
except RuntimeError as e:
    print(e)
# %% exception groups
try:
    raise ExceptionGroup("many", [ValueError(1), TypeError(2), ValueError(3)])
except* ValueError as g:
    print([str(e) for e in g.exceptions])
except* TypeError as g:
    print("types", len(g.exceptions))
# %% assert and custom message
try:
    assert 1 == 2, "numbers differ"
except AssertionError as e:
    print("assertion:", e)
# %% unpacking
first, *middle, last = range(6)
(a, b), c = (1, 2), 3
d = {**{"x": 1}, "y": 2}
def f(*args, key=None, **kw):
    return args, key, kw
print(first, middle, last, a, b, c, d, f(*[1, 2], *(3,), key=4, **{"z": 5}), [*"ab", *range(2)])
# %% argument kinds
def g(a, b=2, /, c=3, *rest, d, e=5, **more):
    return (a, b, c, rest, d, e, more)
print(g(1, d=4), g(1, 2, 3, 4, 5, d=6, z=7))
try:
    g(1)
except TypeError as e:
    print(e)
# %% annotations
from typing import Any, Dict, List, Optional, Union, Callable, Iterable, TypedDict, Protocol
Names = List[str]
x: int = 5
y: Optional[Dict[str, Any]] = None
table: dict[str, list[int]] = {}
def find(names: Names, pick: Callable[[str], bool] = bool, limit: int | None = None) -> Iterable[str]:
    out: list[str] = [n for n in names if pick(n)]
    return out[:limit]
class Movie(TypedDict):
    name: str
    year: int
m: Movie = {"name": "a", "year": 1}
print(x, y, find(["a", "", "b"], limit=1), m, Movie(name="q", year=2))
# %% generics and protocols
from typing import Generic, TypeVar, Protocol
T = TypeVar("T")
class Stack(Generic[T]):
    def __init__(self) -> None:
        self.items: list[T] = []
    def push(self, item: T) -> None:
        self.items.append(item)
class Sized2(Protocol):
    def size(self) -> int: ...
s = Stack[int]()
s.push(1)
print(s.items)
# %% lambda map filter sorted
print(list(map(lambda x, y: x * y, [1, 2], [3, 4])), sorted("bca", key=lambda c: -ord(c)), sorted({"b": 1, "a": 2}.items(), key=lambda kv: kv[1]))
# %% comprehensions with conditions
print([i * j for i in range(3) for j in range(3) if i != j], {k: v for k, v in zip("ab", (1, 2))}, {x % 3 for x in range(9)}, sum(x for x in range(5)))
# %% f-string formats
v, w = 1234567.891, 42
print(f"{v:,.2f} {v:e} {w:08b} {w:#x} {w:+d} {'x':*^7} {w!r} {v:>15.1f} {w:<5}| {0.256:.1%} {w=} {'a' if w else 'b'} {{}} {v:_.0f}")
width, prec = 10, 3
print(f"{v:{width}.{prec}g}|{'q':>{width}}")
# %% str.format
print("{} {}".format(1, 2), "{1} {0}".format("a", "b"), "{name:>8}|{n:05.1f}".format(name="x", n=3.14159), "{0[a]} {0[b][1]}".format({"a": 1, "b": [2, 3]}), "{:{}}".format("x", 5) + "|", "{!r:>6}".format("y"), "{{}}".format())
from types import SimpleNamespace
print("{u.name} {u.tags[0]}".format(u=SimpleNamespace(name="n", tags=["t"])), "{a}-{b}".format(**{"a": 1, "b": 2}), "{x}".format_map({"x": 9}))
# %% percent formatting
print("%s %d %5.2f %r %%" % ("a", 3, 2.5, "q"), "%(k)s" % {"k": 1}, "%-5s|%05d" % ("x", 42))
# %% string methods
s = " Hello, World "
print(s.strip(), s.title(), s.swapcase(), s.center(20, "."), "a,b".split(","), "x".join("abc"), s.find("W"), "abc".translate(str.maketrans("ab", "xy")), "1".zfill(3), "aXbX".rsplit("X", 1), "abc".removeprefix("a"), "tab\tx".expandtabs(4), s.isspace(), "ß".casefold())
# %% while else and continue
n = 7
while n > 1:
    n = n // 2 if n % 2 == 0 else 3 * n + 1
    if n == 5:
        continue
    if n > 1000:
        break
else:
    print("reached", n)
for x in []:
    pass
else:
    print("empty else")
# %% bytes and bit operations
b = bytes([1, 2, 255])
print(b.hex(), int.from_bytes(b, "big"), (1000).to_bytes(2, "little"), bytearray(b"ab") + b"c", 5 & 3, 5 | 3, 5 ^ 3, ~5, 1 << 4, b"a b".split(), memoryview(b"abc")[1])
# %% numbers
print(7 // 2, -7 // 2, 7 % -3, divmod(17, 5), 2**100, round(2.5), round(2.675, 2), abs(-3), 0.1 + 0.2, int("ff", 16), float("inf") > 1, complex(1, 2) * 2, bin(10), hex(255), oct(8), int(3.9), 10e-3)
# %% dict methods
d = {"a": 1}
d.update(b=2)
d |= {"c": 3}
print(d.pop("a"), d.setdefault("z", []), list(d), d.get("q", 0), dict(zip("ab", [1, 2])), d.items() - {("b", 2)} if False else len(d), dict.fromkeys("ab", 0), {**d}["b"])
del d["b"]
print(d, "b" in d, sorted(d))
# %% list methods
l = [3, 1, 2]
l.sort()
l.insert(1, 9)
l.extend([7, 7])
l.remove(9)
l[1:2] = [8, 8]
del l[0]
print(l, l.index(7), l.count(8), l[::-1], l.pop(), sorted(l, reverse=True), list(reversed(l)), l + [1] * 2)
# %% recursion
def depth(tree):
    return 1 + max((depth(t) for t in tree), default=0)
def perms(s):
    return [s] if len(s) < 2 else [c + p for i, c in enumerate(s) for p in perms(s[:i] + s[i + 1 :])]
print(depth([[], [[], [[]]]]), perms("abc"))
# %% iterators by class
class Down:
    def __init__(self, n):
        self.n = n
    def __iter__(self):
        return self
    def __next__(self):
        if self.n == 0:
            raise StopIteration
        self.n -= 1
        return self.n
print(list(Down(3)), sum(Down(4)), dict(enumerate(Down(2))), next(iter([]), "none"))
# %% getattr setattr
class Box: pass
b = Box()
setattr(b, "x", 1)
b.y = 2
print(getattr(b, "x"), getattr(b, "q", None), hasattr(b, "y"), vars(b), b.__dict__, type(b).__name__, b.__class__.__name__)
b.__dict__.update(z=3)
delattr(b, "x")
print(sorted(vars(b)))
# %% abstract base class
from abc import ABC, abstractmethod
class Reader(ABC):
    @abstractmethod
    def read(self): ...
class One(Reader):
    def read(self):
        return 1
try:
    Reader()
except TypeError as e:
    print("abstract")
print(One().read())
# %% subclasses of builtins
class Bag(dict):
    def __missing__(self, key):
        return f"<{key}>"
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None
class Path2(str):
    def up(self):
        return Path2(self.rsplit("/", 1)[0])
class Stack(list):
    push = list.append
b = Bag(a=1)
s = Stack()
s.push(3)
print(b["a"], b["q"], b.a, Path2("x/y/z").up().up(), s, isinstance(b, dict))
# %% slots and class attributes
class P:
    __slots__ = ("x", "y")
    count = 0
    def __init__(self, x, y):
        self.x, self.y = x, y
        P.count += 1
p = P(1, 2)
try:
    p.z = 3
except AttributeError:
    print("no z")
print(p.x, P.count)
# %% descriptors and init_subclass
class Field:
    def __set_name__(self, owner, name):
        self.name = name
    def __get__(self, obj, owner=None):
        return self if obj is None else obj.data.get(self.name)
    def __set__(self, obj, value):
        obj.data[self.name] = value
registry = []
class Base:
    def __init_subclass__(cls, tag=None, **kw):
        super().__init_subclass__(**kw)
        registry.append((cls.__name__, tag))
    def __init__(self):
        self.data = {}
class Doc(Base, tag="t"):
    title = Field()
d = Doc()
d.title = "x"
print(d.title, registry)
# %% copy
import copy
a = [[1], {"k": [2]}]
b, c = copy.copy(a), copy.deepcopy(a)
a[0].append(9)
print(b, c, b[0] is a[0], c[0] is a[0])
# %% itertools
from itertools import chain, combinations, product, count, cycle, takewhile, dropwhile, starmap, repeat, compress, islice, permutations, tee
print(list(chain([1], [2, 3])), list(combinations("abc", 2)), list(product([0, 1], repeat=2)), list(islice(count(5, 2), 3)), list(islice(cycle("ab"), 5)), list(takewhile(lambda x: x < 3, range(9))), list(starmap(pow, [(2, 3)])), list(compress("abc", [1, 0, 1])), list(chain.from_iterable(["ab", "c"])))
# %% random with a seed
import random
random.seed(7)
r = random.Random(3)
print(random.randint(1, 100), random.choice("abc"), random.sample(range(10), 3), r.random(), random.shuffle([1]))
# %% pprint
from pprint import pprint, pformat
pprint({"b": [1, 2, 3], "a": {"x": "y" * 30, "z": "w" * 40}})
print(pformat([1, 2]))
# %% async comprehension and iteration
import asyncio
class Ticks:
    def __init__(self, n):
        self.n = n
    def __aiter__(self):
        return self
    async def __anext__(self):
        if not self.n:
            raise StopAsyncIteration
        self.n -= 1
        return self.n
async def gen():
    for i in range(3):
        yield i
async def main():
    return [x async for x in Ticks(3)], [x async for x in gen() if x]
print(asyncio.run(main()))
# %% main guard
def main():
    print("main ran")
if __name__ == "__main__":
    main()
# %% type checks
for x in (1, 1.5, "a", [1], {"a": 1}, None, True, (1,), {1}, b"x"):
    print(type(x).__name__, type(x) is int, isinstance(x, (list, tuple)), end="; ")
print(type(1) == int, type("") is str, type(x) in (bytes, str))
# %% traceback text
import traceback
try:
    {}["k"]
except KeyError:
    text = traceback.format_exc()
print("KeyError: 'k'" in text)
# %% sys use
import sys
sys.stdout.write("written\n")
print("to err", file=sys.stderr) if False else None
print(sys.maxsize > 2**31, sys.version_info >= (3, 11), sys.getsizeof([]) > 0)
# %% singledispatch
from functools import singledispatch
@singledispatch
def show(x):
    return "any"
@show.register(int)
def _(x):
    return "int"
@show.register(list)
def _(x):
    return "list"
print(show(1), show([]), show("x"))
# %% cached property
from functools import cached_property
class C:
    calls = 0
    @cached_property
    def value(self):
        self.calls += 1
        return self.calls
c = C()
print(c.value, c.value, c.calls)
# %% property setter
class T:
    def __init__(self):
        self._c = 0
    @property
    def f(self):
        return self._c * 9 / 5 + 32
    @f.setter
    def f(self, v):
        self._c = (v - 32) * 5 / 9
t = T()
t.f = 212
print(t._c, t.f)
# %% chained assignment and swap
a = b = [1]
a.append(2)
x, y = 1, 2
x, y = y, x
i = 0
l = [0, 0]
i, l[i] = 1, 5
print(b, x, y, i, l)
# %% string building
out = []
for i in range(3):
    out += [f"{i}:{chr(97 + i)}"]
text = ""
for o in out:
    text += o + ";"
print(text, "".join(reversed(text)))
# %% deque ordered chainmap
from collections import deque, OrderedDict, ChainMap
d = deque([1, 2, 3], maxlen=3)
d.append(4)
d.rotate(1)
o = OrderedDict(a=1, b=2)
o.move_to_end("a")
print(d, list(o), o.popitem(last=False), ChainMap({"a": 1}, {"a": 2, "b": 3})["b"])
# %% bisect and array
import bisect
from array import array
l = [1, 3, 5]
bisect.insort(l, 4)
print(l, bisect.bisect_left(l, 4), array("i", [1, 2]).tolist())
# %% struct and zlib
import struct, zlib
print(struct.unpack(">HB", struct.pack(">HB", 258, 7)), zlib.crc32(b"x"), zlib.decompress(zlib.compress(b"abc")))
# %% time is monotonic
import time
a = time.perf_counter()
time.sleep(0.001)
print(time.perf_counter() > a, time.time() > 1e9, len(time.strftime("%Y-%m-%d")))
# %% unicode
import unicodedata
print(unicodedata.normalize("NFKD", "é").encode("ascii", "ignore"), unicodedata.category("A"), "ünï".upper(), len("👍🏽"), ascii("é"), "\N{BULLET}")
# %% del and reassign
x = [1, 2]
del x
try:
    x
except NameError as e:
    print(e)
# %% conditional imports
try:
    import numpy_that_is_not_there
except ImportError:
    print("no numpy")
# %% simple namespace and id
from types import SimpleNamespace
n = SimpleNamespace(a=1)
n.b = 2
print(n, n == SimpleNamespace(a=1, b=2), id(n) == id(n), hash("a") == hash("a"))
# %% lambda defaults in loop
fs = [lambda x, i=i: x + i for i in range(3)]
print([f(10) for f in fs])
# %% nested functions and recursion with memo
def solve(n, memo={}):
    if n in memo:
        return memo[n]
    memo[n] = n if n < 2 else solve(n - 1) + solve(n - 2)
    return memo[n]
print(solve(30), len(solve.__name__))
# %% function attributes
def f():
    f.calls += 1
    return f.calls
f.calls = 0
f(); f()
print(f.calls)
# %% frozen with object setattr
from dataclasses import dataclass
@dataclass(frozen=True)
class F:
    x: int
    def __post_init__(self):
        object.__setattr__(self, "x", self.x + 1)
print(F(1))
# %% setattr override
class Log:
    def __init__(self):
        super().__setattr__("seen", [])
    def __setattr__(self, name, value):
        self.seen.append(name)
        super().__setattr__(name, value)
l = Log()
l.a = 1
print(l.seen, l.a)
# %% last expression is echoed
x = {"a": [1, 2, 3], "b": ("t", {1})}
x
# %% none is not echoed
x = None
x
# %% error keeps what was printed
print("before")
[1, 2][5]
# %% a name error says the name
print("before")
undefined_name + 1
# %% a type error in a function
def f(a):
    return a + "x"
f(1)
# %% attributes named like guarded ones
from dataclasses import dataclass
from collections import namedtuple
class Config:
    def __init__(self, format, obj):
        self.format = format
        self.obj = obj
        self.join = ", ".join(["a", "b"])
    def register(self, x):
        return x
@dataclass
class Row:
    format: str
    obj: int = 0
Out = namedtuple("Out", "format size")
c = Config("json", [1])
print(c.format, c.obj, c.join, c.register(3), Row("x").format, Out("a", 1))
match Row("y", 2):
    case Row(f, o):
        print(f, o)
# %% a slot or two
class P:
    __slots__ = "x"
    def __init__(self):
        self.x = 1
class Q(P):
    __slots__ = ["y"]
q = Q()
q.y = 2
print(q.x, q.y, hasattr(q, "__dict__"))
# %% counters of a class and of an instance
class Node:
    made = []
    def __init__(self, parent=None):
        self.parent = parent
        self.children = []
        Node.made.append(self)
        if parent is not None:
            parent.children.append(self)
    def path(self):
        return ([] if self.parent is None else self.parent.path()) + [len(self.children)]
root = Node()
leaf = Node(Node(root))
print(len(Node.made), leaf.path(), root.children[0].parent is root)
# %% a class that answers every attribute
class Any1:
    def __getattr__(self, name):
        return name.upper()
    def __repr__(self):
        return "Any1()"
class Strict(dict):
    def __getattr__(self, name):
        return self[name]
    def __missing__(self, key):
        raise LookupError(key)
print(Any1().x, Strict(a=1).a)
Any1()
# %% a strict dict is echoed
class Strict(dict):
    def __getattr__(self, name):
        raise KeyError(name)
Strict(a=1)
