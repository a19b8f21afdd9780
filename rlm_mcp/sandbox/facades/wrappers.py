"""What wraps a function of a cell: caches, context managers, `wraps`.

The library's own copy whatever `__dict__` and named attributes the function has; here names and a
docstring are taken over, read through the guard.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

from rlm_mcp.sandbox import guards


def partial_names(function: Callable[..., Any]) -> dict[str, str | None]:
    """Return what `wraps` copies, read through the guard."""
    copied: dict[str, str | None] = {}
    for name in ("__name__", "__qualname__", "__doc__"):
        try:
            copied[name] = guards.read_label(function, name)
        except AttributeError:
            continue
    return copied


def name_after(wrapper: Any, wrapped: Any) -> Any:
    """Give a function of ours the names and the docstring of the cell's that it stands for."""
    for name, text in partial_names(wrapped).items():
        setattr(wrapper, name, text)
    return wrapper


def update_wrapper(wrapper: Any, wrapped: Any, *_: Any, **__: Any) -> Any:
    """Answer `functools.update_wrapper`: names and docstring, nothing by a name from the cell."""
    if guards.is_own_function(wrapper):
        name_after(wrapper, wrapped)
    return wrapper


def wraps(wrapped: Any, *_: Any, **__: Any) -> Any:
    """Answer `functools.wraps`."""
    return functools.partial(update_wrapper, wrapped=wrapped)


class Suppress(contextlib.AbstractContextManager[None]):
    """`contextlib.suppress`, which lets a stop through."""

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        if kind is None or issubclass(kind, guards.CellStop):
            return False
        return issubclass(kind, self._kinds)


class Manager:
    """One use of a generator as a context manager."""

    def __init__(self, function: Callable[..., Iterator[Any]], given: Any, named: Any) -> None:
        self._made_of = (function, given, named)
        self._inner: Any = function(*given, **named)

    def __enter__(self) -> Any:
        for value in self._inner:
            return value
        raise RuntimeError("generator didn't yield")

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        if kind is None:
            for _ in self._inner:
                raise RuntimeError("generator didn't stop")
            return False
        thrown = kind() if error is None else error
        try:
            self._inner.throw(thrown)
        except StopIteration as stop:
            return stop is not thrown
        except BaseException as raised:
            if raised is thrown or (
                isinstance(thrown, StopIteration) and raised.__cause__ is thrown
            ):
                return False
            raise
        raise RuntimeError("generator didn't stop after throw()")

    def __call__(self, wrapped: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*positional: Any, **named: Any) -> Any:
            with Manager(*self._made_of):
                return wrapped(*positional, **named)

        name_after(inner, wrapped)
        return inner


def context_manager(function: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
    """Answer `contextlib.contextmanager`."""

    def make(*positional: Any, **named: Any) -> Manager:
        return Manager(function, positional, named)

    name_after(make, function)
    return make


def lru_cache(maxsize: Any = 128, typed: bool = False) -> Any:
    """Answer `functools.lru_cache`, which takes over names and a docstring and nothing else."""
    if callable(maxsize):
        return lru_cache()(maxsize)
    size = maxsize if maxsize is None else max(0, maxsize)

    def wrap(function: Callable[..., Any]) -> Any:
        make: Any = functools._lru_cache_wrapper
        made = make(function, size, typed, functools._CacheInfo)
        made.cache_parameters = lambda: {"maxsize": size, "typed": typed}
        return name_after(made, function)

    return wrap


guards.keep_internal(Manager)
