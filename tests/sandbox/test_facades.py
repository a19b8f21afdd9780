"""Every export of every facade: none evaluates text, reads attributes by name, or leads out."""

from __future__ import annotations

import builtins
import inspect
import operator
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rlm_mcp.sandbox import guards, worker
from rlm_mcp.sandbox.cell_environment import CellEnvironment
from rlm_mcp.sandbox.facades import find_facade, known_modules, tasks
from rlm_mcp.sandbox.facades.facade import Facade, exports_of
from rlm_mcp.sandbox.output import CellOutput

worker.preload_worker()
ENVIRONMENT = CellEnvironment(CellOutput(1000), language=True)


def exports(module: str) -> list[tuple[str, Any]]:
    return [(f"{module}.{name}", item) for name, item in exports_of(find_facade(module)).items()]


def callables(module: str) -> list[tuple[str, Any]]:
    return [(name, item) for name, item in exports(module) if callable(item)]


FORBIDDEN: tuple[Any, ...] = (
    eval, exec, compile, open, input, getattr, setattr, delattr, vars, dir, globals, locals,
    __import__, breakpoint, type, isinstance, operator.attrgetter, operator.methodcaller,
)  # fmt: skip
HIDDEN_TYPES = (types.ModuleType, types.FrameType, types.CodeType, types.TracebackType)

# Library functions in whose source getattr, eval or exec stands, and why they are still exported.
AUDITED: dict[str, str] = {}
SUSPECTS = {"getattr", "eval", "exec", "compile", "__import__", "get_type_hints", "_getframe"}


def reached(value: Any, depth: int = 0) -> Iterator[Any]:
    """Yield what a cell could get out of a value without an attribute."""
    yield value
    if depth < 3:
        if isinstance(value, dict):
            for key, item in list(value.items())[:50]:
                yield from reached(key, depth + 1)
                yield from reached(item, depth + 1)
        elif isinstance(value, (list, tuple, set, frozenset)):
            for item in list(value)[:50]:
                yield from reached(item, depth + 1)


def leads_out(value: Any) -> str:
    """Say why a value must not be in the hands of a cell, or nothing."""
    if isinstance(value, HIDDEN_TYPES):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, type) and issubclass(value, type) and value is not guards.TypeStandIn:
        return f"metaclass {value!r}"
    if any(value is item for item in FORBIDDEN):
        return f"{value!r}"
    if isinstance(value, dict) and "__builtins__" in value:
        return "a namespace"
    return ""


def test_about_forty_modules_can_be_imported() -> None:
    assert len(known_modules()) >= 40


@pytest.mark.parametrize("module", known_modules())
def test_no_export_is_a_module_metaclass_or_evaluator_or_shared_and_mutable(module: str) -> None:
    for name, item in exports(module):
        for value in reached(item):
            assert isinstance(value, Facade) or not leads_out(value), name
        if name != "sys.argv":  # a list of its own
            assert not isinstance(item, (list, dict, set, bytearray)), name


@pytest.mark.parametrize("facade", known_modules())
def test_no_source_of_an_export_evaluates_or_reads_by_name_unless_audited(facade: str) -> None:
    for name, item in callables(facade):
        check_source(name, item)


def check_source(name: str, item: Any) -> None:
    module = getattr(item, "__module__", "") or ""
    if module.startswith("rlm_mcp") or name in AUDITED:
        return
    functions = [item] if isinstance(item, types.FunctionType) else []
    if isinstance(item, type) and name.partition(".")[0] not in ("ast", "pathlib"):
        functions = [f for f in vars(item).values() if isinstance(f, types.FunctionType)]
    for function in functions:
        if function.__name__ in ("__reduce__", "__getstate__", "__init_subclass__", "__repr__"):
            continue
        found = SUSPECTS & set(function.__code__.co_names)
        assert not found, f"{name}: {function.__qualname__} uses {found}"


def generator() -> Iterator[int]:
    yield 1


PROBES: list[tuple[Any, ...]] = [
    (),
    ("__class__",),
    ("__import__('os')",),
    ("{0.__class__}", 1),
    (print, "__self__"),
    ("gi_frame", "x"),
    (int,),
    (["__class__", "__globals__"],),
    (lambda *a: a[0] if a else None, [1]),
    ({"__class__": int},),
    (3, 4),
]
NOT_CALLED = {"sys.exit", "time.sleep", "asyncio.run", "sys.setrecursionlimit"}


@pytest.mark.parametrize("module", known_modules())
def test_no_call_of_an_export_gives_a_frame_module_or_metaclass(module: str) -> None:
    for name, item in callables(module):
        check_calls(name, item)


def check_calls(name: str, item: Callable[..., Any]) -> None:
    if name in NOT_CALLED or name.startswith(("itertools.count", "itertools.cycle")):
        return
    for probe in [*PROBES, (generator(), "gi_frame"), (generator(),)]:
        try:
            value = item(*probe)
        except (Exception, SystemExit):
            continue
        if inspect.iscoroutine(value):
            value.close()
        for task in tasks._tasks:
            task._coroutine.close()
        tasks._tasks.clear()
        for part in reached(value):
            assert not leads_out(part) or any(part is given for given in probe), (name, probe)


def test_the_builtins_of_a_cell_lead_nowhere() -> None:
    for name, item in ENVIRONMENT.builtins_of_cells.items():
        if name == "__import__":
            continue  # for C code; no cell can name it
        assert not leads_out(item), name
    words = {"eval", "exec", "compile", "open", "getattr", "type", "vars", "dir", "globals"}
    for word in words:
        assert ENVIRONMENT.builtins_of_cells[word] is not getattr(builtins, word)


@pytest.mark.parametrize("module", known_modules())
def test_a_facade_is_read_only_and_shows_its_exports_alone(module: str) -> None:
    facade = find_facade(module)
    with pytest.raises(AttributeError):
        facade.anything = 1
    for name in ("sys", "os", "builtins", "_os", "__loader__", "__spec__", "__file__"):
        if name not in exports_of(facade):
            with pytest.raises(AttributeError):
                guards.read_attribute(facade, name)


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("subprocess", "no processes"),
        ("requests", "no network"),
        ("jso", "json"),
        ("numpy", "statistics"),
    ],
)
def test_an_import_that_is_refused_says_what_to_do(module: str, advice: str) -> None:
    with pytest.raises(ImportError, match=advice):
        find_facade(module)
