"""Programs put together by chance from facade calls and attribute paths: none leads out.

A program is a list of cells that are run under the language layer alone, in this process. The
oracle sees every value that a cell gets hold of, also through a method that trusted code calls,
and looks at our own functions and classes afterwards: frames, code, tracebacks, modules,
metaclasses, real builtins, live namespaces, and anything written to what is not the cell's.

`make fuzz` runs it for longer and with other seeds.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import copy
import gc
import inspect
import random
import re
import signal
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from rlm_mcp.sandbox import classes, guards, match, policy, worker
from rlm_mcp.sandbox.cell_environment import CellEnvironment
from rlm_mcp.sandbox.facades import copying, find_facade, known_modules, tasks
from rlm_mcp.sandbox.facades.facade import Facade, exports_of
from rlm_mcp.sandbox.output import CellOutput
from tests.sandbox.test_facades import FORBIDDEN, HIDDEN_TYPES

Removal = Callable[[pytest.MonkeyPatch], None]

worker.preload_worker()
CellEnvironment(CellOutput(1000), language=True)  # provides what belongs to one environment

PRELUDE = """
import ast, collections, contextlib, copy, csv, dataclasses, enum, functools, io, itertools, json
import operator, pprint, re, string, sys, types, typing, asyncio, concurrent.futures, abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
def gen(): yield 1
async def agen(): yield 1
def fun(*given, **named): return note(given[0]) if given else 1
class A:
    x = 1
    def method(self, *given): return note(given)
class K(str):
    def startswith(self, *given): return False
    def __eq__(self, other): return True
    __hash__ = str.__hash__
class S(str): pass
class U(collections.UserString):
    def up(self, *given): return super().format(*given)
class Names(str): pass
class L(collections.UserList): pass
class M(collections.UserDict): pass
class T(string.Template): idpattern = "[a-z._0-9]+"
class E(enum.Enum):
    a = 1
class N(typing.NamedTuple):
    x: int
class Err(AttributeError): pass
class Abc(abc.ABC):
    __match_args__ = ("x", "obj")
@dataclass
class D:
    x: object = 1
    name: str = "x"
class Field:
    name = "__globals__"
    init = repr = compare = True
class Spy:
    def __init__(self, *given, **named): note(given)
    def __call__(self, *given, **named):
        note(list(named.values()))
        return note(given)[0] if given else self
    def __eq__(self, other): return note(other) is self
    def __hash__(self): return 1
    def __iter__(self): return iter(["gi_frame", "format"])
    def __len__(self): return 2
    def __getitem__(self, key): return note(key)
    def __getattr__(self, name): return Spy()
    def __enter__(self): return self
    def __exit__(self, *given): return bool(note(given))
    def __next__(self): raise StopIteration
    def send(self, *given): note(given); raise StopIteration
    def throw(self, *given): note(given); raise StopIteration
    def write(self, *given): return note(given)
    def __ror__(self, other):
        note(other)
        try: other["__planted__"] = 1
        except TypeError: pass
        return self
    def __set_name__(self, owner, name): note(owner)
    def __deepcopy__(self, memo): return note(memo)
    def __copy__(self): return self
    def __format__(self, spec): return note(spec)
    def __lt__(self, other): return bool(note(other)) or True
    __radd__ = __add__ = __or__ = __mod__ = __call__
try: raise Err("x", name="y")
except Err as caught: err = caught
g, ag, o, spy, ns = gen(), agen(), A(), Spy(), types.SimpleNamespace(x=1)
u, s, t, d, n = U("{0.gi_frame}"), S("{0.gi_frame}"), T("$x.gi_frame"), D(), N(1)
cm = contextlib.contextmanager(gen)
node = ast.Name("x")
"""

HOSTILE = [
    "__reduce_ex__", "__reduce__", "__deepcopy__", "__copy__", "__getstate__", "__setstate__",
    "__getnewargs__", "__match_args__", "__subclasshook__", "__dataclass_fields__", "__wrapped__",
    "__dict__", "__class__", "__slots__", "__annotations__", "__globals__", "__code__", "__self__",
    "__func__", "__closure__", "__defaults__", "__traceback__", "__bases__", "__mro__",
    "__subclasses__", "__init__", "__new__", "__call__", "__init_subclass__", "__class_getitem__",
    "__mro_entries__", "__isabstractmethod__", "__signature__", "__builtins__", "__objclass__",
    "gi_frame", "gi_code", "ag_frame", "tb_frame", "f_globals", "f_builtins", "cr_frame",
]  # fmt: skip
PLAIN = [
    "format", "format_map", "mro", "register", "obj", "x", "data", "name", "maps", "pattern",
    "_fields", "_attributes", "_make", "_replace", "_asdict", "method", "items", "copy", "default",
    "func", "thing", "update", "mapping", "write", "args", "send", "join", "__getitem__",
]  # fmt: skip
OBJECTS = [
    *("o", "o", "ns", "g", "ag", "fun", "gen", "err", "spy", "Spy", "A", "u", "s", "t", "d", "n"),
    *("D", "N", "E", "E.a", "S", "U", "T", "L", "M", "Abc", "Err", "node", "cm", "cm()", "json"),
    *("sys.stdout", "json.loads", "collections.Counter", "dataclasses.fields(D)[0]", "o.method"),
    *("Mapping", "Mapping[int, int]", "Sequence[int]", "list[int]", "int | str", "str", "type"),
    *("type(list[int])", "re.compile('x')", "functools.partial(fun, g)", "vars(o)", "vars(ns)"),
    *("vars(o).items().mapping", "vars(d)", "L([1])", "M(a=1)", "io.StringIO('x')", "Field", "0"),
    *("asyncio.Future()", "object", "super", "property(fun)", "[g, o]", "{'x': g}", "(g,)", "2"),
    *("collections.UserString('{0.gi_frame}')", "collections.UserString", "types.SimpleNamespace"),
]  # fmt: skip
NOT_CALLED = {
    "sys.exit", "time.sleep", "itertools.count", "itertools.cycle", "itertools.repeat",
    "sys.setrecursionlimit", "traceback.print_exc",
}  # fmt: skip
CALLED = sorted(
    f"{module}.{name}"
    for module in known_modules()
    if module not in ("builtins", "rlm_mcp.sdk") and not module.startswith("rlm_mcp")
    for name, item in exports_of(find_facade(module)).items()
    if callable(item) and not inspect.iscoroutinefunction(item)
    if f"{module}.{name}" not in NOT_CALLED
)
LIKELY = [
    *("copy.copy", "copy.deepcopy", "dataclasses.replace", "dataclasses.asdict", "pprint.pformat"),
    *("dataclasses.fields", "dataclasses.dataclass", "functools.total_ordering", "ast.dump"),
    *("functools.lru_cache", "functools.wraps", "contextlib.contextmanager", "itertools.tee"),
    *("collections.namedtuple", "json.dumps", "enum.unique", "ast.iter_fields", "super", "iter"),
]  # fmt: skip

PAIRS = [
    ("g", "gi_frame"), ("g", "gi_code"), ("ag", "ag_frame"), ("fun", "__globals__"),
    ("fun", "__code__"), ("err", "__traceback__"), ("json.loads", "__globals__"),
    ("o.method", "__func__"), ("s", "format"), ("u", "format"), ("S", "format"), ("o", "mro"),
    ("Mapping[int, int]", "register"), ("Sequence[int]", "register"), ("list[int]", "mro"),
    ("o", "__reduce_ex__"), ("o", "__deepcopy__"), ("o", "__dataclass_fields__"), ("o", "x"),
    ("ns", "__reduce_ex__"), ("d", "__dataclass_fields__"), ("A", "__match_args__"),
    ("err", "obj"), ("Abc", "register"), ("D", "__match_args__"), ("node", "_fields"),
]  # fmt: skip
"""Objects and what would lead out of them: each program is about one or two of these."""

PUTS = [
    "(WORD,)", "{WORD: Field}", "spy", "OBJ", "lambda *given: OBJ", "lambda *given: note(given)",
    "lambda *given: (lambda *more: OBJ, (), {WORD: fun})",
    "lambda *given: (lambda *more: TRUSTED, (), {WORD: fun})",
    "lambda *given: (lambda *more: OBJ, (), (None, {WORD: fun}))",
]  # fmt: skip
TRUSTED = ["json.loads", "collections.Counter", "sys.stdout", "dataclasses.fields", "re.sub"]
READS = [
    "OBJ.NAME", "getattr(OBJ, WORD)", "'{0.NAME}'.format(OBJ)", "operator.attrgetter(WORD)(OBJ)",
    "collections.UserString('{0.NAME}').format(OBJ)", "OBJ.NAME(GIVEN)", "type(OBJ)", "vars(OBJ)",
    "(lambda c: getattr(c, dir(c)[NUMBER % len(dir(c))]))(OBJ)",
]  # fmt: skip
EXPRESSIONS = [
    "CALL(OBJ)", "CALL(OBJ)", "CALL(OBJ)", "CALL(GIVEN)", "CALL(OBJ)(OBJ)", "CALL(OBJ, GIVEN)",
    "getattr(OBJ, WORD)", "getattr(OBJ, WORD)(GIVEN)", "OBJ.NAME", "OBJ.NAME(GIVEN)",
    "(lambda c: getattr(c, dir(c)[NUMBER % len(dir(c))]))(OBJ)",
    "(lambda c: getattr(c, dir(c)[NUMBER % len(dir(c))]))(OBJ)(GIVEN)",
    "'{0.NAME}'.format(OBJ)", "OBJ.format(OBJ)", "str.format('{0.NAME}', OBJ)",
    "S('{0.NAME}').format(OBJ)", "U('{0.NAME}').format(OBJ)", "U('{0.NAME}').up(OBJ)",
    "collections.UserString('{x.NAME}').format_map({'x': OBJ})",
    "operator.methodcaller(WORD, OBJ)(OBJ)", "operator.attrgetter(WORD)(OBJ)",
    "super(OBJ, OBJ)", "OBJ == OBJ", "OBJ | OBJ", "OBJ + OBJ", "OBJ % OBJ", "f'{OBJ:{OBJ}}'",
    "isinstance(OBJ, OBJ)", "OBJ(GIVEN)", "OBJ[OBJ]", "type(OBJ)(GIVEN)", "vars(OBJ)", "dict(OBJ)",
]  # fmt: skip
STATEMENTS = [
    "PLACE = note(EXPR)", "PLACE = note(EXPR)", "PLACE = note(EXPR)", "PLACE = note(EXPR)",
    "vars(OBJ)[WORD] = PUT", "vars(OBJ)[WORD] = PUT\nPLACE = note(CALL(OBJ))",
    "OBJ.__dict__.update({WORD: PUT})\nPLACE = note(copy.copy(OBJ))",
    "setattr(OBJ, WORD, PUT)", "OBJ.NAME = PUT", "operator.setitem(vars(OBJ), WORD, PUT)",
    "PLACE = types.SimpleNamespace(**{WORD: PUT})\nPLACE = note(CALL(PLACE))",
    "PLACE = ast.Name(**{WORD: PUT})\nPLACE = note(CALL(PLACE))",
    "match OBJ:\n    case D(w) | S(w) | Abc(w) | N(w): note(w)",
    "match OBJ:\n    case CLASS(w): note(w)", "match OBJ:\n    case object(NAME=w): note(w)",
    "match [OBJ, OBJ]:\n    case [A(NAME=w) | object(NAME=w), *_]: note(w)",
    "with OBJ as w:\n    note(w)\n    1 / 0", "with spy: EXPR",
    "class C(CLASS):\n    NAME = PUT\nPLACE = note(C)",
    "class C(CLASS):\n    __match_args__ = PUT\nD = PLACE = note(C)",
    "@dataclass\nclass C(CLASS):\n    FIELD: int\n"
    "note([f.default for f in dataclasses.fields(C)])",
    "class C(CLASS):\n    def __new__(cls, *given): return TRUSTED\nPLACE = note(C(OBJ).copy())",
    "class C(CLASS):\n    __new__ = lambda *given: TRUSTED\n    a = 1\nPLACE = note(C)",
    "class C(CLASS):\n    def __exit__(self, *given): note(given)\n"
    "    def __enter__(self): pass\nwith C(): 1 / 0",
    "class C(CLASS):\n    def get(self): return super().NAME\nPLACE = note(C(OBJ).get())",
    "for w in OBJ: note(w)", "note([w for w in EXPR])",
    "@OBJ\ndef h(*given): return note(given)\nPLACE = note(h)",
]  # fmt: skip
CLASSES = ["A", "S", "U", "L", "M", "T", "E", "N", "D", "Err", "Abc", "Spy", "object", "enum.Enum"]
TOKEN = re.compile("OBJ|WORD|NAME|PUT|EXPR|CALL|GIVEN|CLASS|FIELD|TRUSTED|NUMBER|PLACE")


class Program:
    """One program, made by chance: about an object or two and what would lead out of them."""

    def __init__(self, number: int) -> None:
        self.chance = random.Random(number)
        self.about = self.chance.sample(PAIRS, 2)
        self.pair = self.about[0]
        self.cells: list[str] = []
        self.parts = {
            "OBJ": self.obj, "WORD": self.word, "NAME": self.name, "PUT": self.put,
            "EXPR": self.expr, "CALL": self.call, "GIVEN": self.given, "NUMBER": self.number,
            "FIELD": self.field, "TRUSTED": self.trusted, "PLACE": self.place,
            "CLASS": self.class_name,
        }  # fmt: skip
        for _ in range(self.chance.randint(2, 6)):
            self.pair = self.chance.choice(self.about)
            self.cells.append(self.filled(self.chance.choice(STATEMENTS)))

    def filled(self, template: str) -> str:
        """Put something in the place of every token."""
        return TOKEN.sub(lambda found: self.parts[found[0]](), template)

    def obj(self) -> str:
        """Return an expression for an object."""
        if self.chance.random() < 0.6:
            return self.pair[0]
        return self.chance.choice([*OBJECTS, "v0", "v1", "v2", "v3"])

    def name(self) -> str:
        """Return a name of an attribute."""
        if self.chance.random() < 0.6:
            return self.pair[1]
        return self.chance.choice(self.chance.choice([HOSTILE, PLAIN]))

    def word(self) -> str:
        """Return an expression that gives a name as data."""
        name = self.name()
        forms = [f"{name!r}", f"K({name!r})", f"{name[:3]!r} + {name[3:]!r}"]
        return self.chance.choice(forms)

    def put(self) -> str:
        """Return an expression for what a protocol might take from a cell."""
        return self.filled(self.chance.choice(PUTS))

    def expr(self) -> str:
        """Return an expression: a read, a call, a format, an operation."""
        return self.filled(self.chance.choice(self.chance.choice([READS, EXPRESSIONS])))

    def call(self) -> str:
        """Return an export of a facade."""
        return self.chance.choice(self.chance.choice([CALLED, LIKELY]))

    def given(self) -> str:
        """Return arguments of a call."""
        count = self.chance.randint(0, 3)
        kinds = self.chance.choices([self.obj, self.word], [2, 1], k=count)
        return ", ".join(kind() for kind in kinds)

    def class_name(self) -> str:
        """Return a class that a cell may derive from."""
        return self.chance.choice(CLASSES)

    def number(self) -> str:
        """Return a small number."""
        return str(self.chance.randint(0, 40))

    def field(self) -> str:
        """Return the name of a field."""
        return self.chance.choice(["format", "format_map", "mro", "register", "obj", "x", "join"])

    def trusted(self) -> str:
        """Return an object that is not the cell's."""
        return self.chance.choice(TRUSTED)

    def place(self) -> str:
        """Return the variable of this cell."""
        return f"v{len(self.cells)}"


class Breach(AssertionError):
    """A program got hold of something, or changed something."""


def leads_out(value: Any, environment: CellEnvironment) -> str:
    """Say why a cell must not have a value, or nothing."""
    if type(value) is str and SIGNS.search(value):
        return f"the text of a hidden object: {value[:80]!r}"
    if isinstance(value, (*HIDDEN_TYPES, types.CellType)):
        return f"a {type(value).__name__}"
    if isinstance(value, type) and issubclass(value, type) and value is not guards.TypeStandIn:
        return f"the metaclass {value!r}"
    if any(value is item for item in FORBIDDEN) or type(value) is super:
        return f"{value!r}"
    if type(value) is dict and ("__builtins__" in value or value is environment.variables):
        return "a namespace"
    if type(value) is types.MappingProxyType and "__module__" in value:
        return "the namespace of a class"
    if isinstance(value, (types.BuiltinMethodType, types.MethodDescriptorType)):
        of_text = isinstance(getattr(value, "__self__", None), str) or value in (
            str.format,
            str.format_map,
        )
        if of_text and value.__name__ in ("format", "format_map"):
            return f"{value!r}"
    if isinstance(value, (types.MethodType, types.BuiltinMethodType)):
        ours = not guards.is_own_function(getattr(value, "__func__", None))
        if ours and isinstance(value.__self__, type) and value.__name__ in ("register", "mro"):
            return f"{value!r}"
    return ""


def reached(value: Any, depth: int = 0) -> Iterator[Any]:
    yield value
    if depth < 3:
        if isinstance(value, dict):
            for key, item in list(dict.items(value))[:40]:
                yield from reached(key, depth + 1)
                yield from reached(item, depth + 1)
        elif isinstance(value, (list, tuple)):
            plain = list if isinstance(value, list) else tuple
            for item in list(plain.__iter__(value))[:40]:  # type: ignore[arg-type]
                yield from reached(item, depth + 1)


def ours() -> list[Any]:
    """Return what a cell can name and must not be able to change."""
    held = [item for module in known_modules() for item in exports_of(find_facade(module)).values()]
    held += [item for item in vars(guards).values() if callable(item)]
    unique = {id(item): item for item in held if not isinstance(item, Facade)}
    return [item for item in unique.values() if hasattr(item, "__dict__")]


OURS = ours()
LEFT_OUT = {"_abc_impl", "__abstractmethods__", "__doc__", "__slotnames__"}


def state() -> list[tuple[Any, dict[str, int]]]:
    """Return what our functions and classes hold now, by identity."""
    kept = []
    for item in OURS:
        held = {name: id(value) for name, value in list(vars(item).items()) if name not in LEFT_OUT}
        if isinstance(item, types.FunctionType):
            held["defaults"], held["code"] = id(item.__defaults__), id(item.__code__)
        kept.append((item, held))
    return kept


BODY = policy.compile_cell(PRELUDE, "prelude").body
SIGNS = re.compile(
    r"<frame at|<code object|<traceback object|'__builtins__':|<module '[\w.]+' [f(]"
)  # a facade shows itself as a module without a place


def run(program: tuple[str, ...], before: list[tuple[Any, dict[str, int]]]) -> None:
    """Run the cells of a program; raise Breach if one leads out."""
    found: list[str] = []
    environment = CellEnvironment(CellOutput(20_000), language=True)

    def note(value: Any) -> Any:
        for part in reached(value):
            if (why := leads_out(part, environment)) and why not in found:
                found.append(why)
        return value

    environment.bind_name("note", note)
    with contextlib.suppress(guards.CellStop), time_limit(5):
        eval(BODY, environment.variables)
        for cell in program:
            try:
                environment.execute(cell)
            except guards.CellStop:
                raise
            except BaseException as error:
                for part in reached(error.args):
                    note(part)
            for value in list(environment.user_variables().values()):
                note(value)
    for task in tasks._tasks:
        task._coroutine.close()
    tasks._tasks.clear()
    note(environment.output.kept_text())
    for (item, held), (_, old) in zip(state(), before, strict=True):
        if held != old:
            found.append(f"{item!r} was changed: {sorted(held.items() ^ old.items())[0][0]}")
    if found:
        raise Breach(f"{'; '.join(found)}\n" + "\n# next cell\n".join(program))


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Stop a program that does not end, as a worker would."""

    def stop(*_: object) -> None:
        raise guards.CellStop

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(count: int, start: int) -> int:
    """Try programs and return how many; raises Breach for one that leads out."""
    tried = 0
    before = state()

    @seed(start)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 1 << 63))
    def attempt(number: int) -> None:
        nonlocal tried
        tried += 1
        run(tuple(Program(number).cells), before)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coroutines that a program leaves behind
        try:
            attempt()
        finally:
            gc.collect()
    return tried


def raw_export(module: str, name: str, item: Any) -> Removal:
    """Hand out the library's own again."""

    def remove(patch: pytest.MonkeyPatch) -> None:
        exports = object.__getattribute__(find_facade(module), "_exports")
        patch.setitem(exports, name, item)
        patch.setattr(classes, "allowed_bases", {*classes.allowed_bases, item})

    return remove


def live_variables(patch: pytest.MonkeyPatch) -> None:
    """Hand out `__dict__` itself, and copy by what it holds."""
    patch.setattr(guards, "InstanceVariables", lambda owner, live: live)
    raw_export("copy", "copy", copy.copy)(patch)


def raw_patterns(patch: pytest.MonkeyPatch) -> None:
    """Read attributes in patterns without the guard."""
    raw = types.SimpleNamespace(read_attribute=getattr, is_made=lambda cls: True, shown_name=repr)
    patch.setattr(match, "guards", raw)


REMOVED: dict[str, Removal] = {
    "vars": live_variables,
    "UserString": raw_export("collections", "UserString", collections.UserString),
    "register": lambda patch: patch.setattr(guards, "_holds_own", lambda value, name: True),
    "patterns": raw_patterns,
    "fields": lambda patch: patch.setattr(copying, "hasattr", lambda *_: False, raising=False),
    "tracebacks": lambda patch: patch.setattr(classes, "_without_trace", lambda own: own),
    "metaclasses": lambda patch: patch.setattr(guards, "shown_class", type),
}


@pytest.mark.parametrize("name", REMOVED)
def test_a_fix_that_is_removed_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    REMOVED[name](monkeypatch)
    with pytest.raises(Breach):
        fuzz(1500, 1)


def test_no_program_leads_out() -> None:
    assert fuzz(800, 1) >= 800


def main() -> None:
    """Fuzz for a while and say how many programs were tried."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    ends, tried, start = time.monotonic() + options.seconds, 0, options.seed
    while time.monotonic() < ends:
        try:
            tried += fuzz(500, start)
        except Breach as breach:
            sys.exit(f"seed {start}: {breach}")
        start += 1
    print(f"{tried:,} programs tried (seeds {options.seed} to {start - 1}): none leads out")


if __name__ == "__main__":
    main()
