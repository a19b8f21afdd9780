"""What `help` says of a variable's methods: how each is called, and what its results hold."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from rlm_mcp.contexts.variable import Listed


def entries(methods: Mapping[str, Callable[..., Any]]) -> dict[str, str]:
    """Return the manual of each method, a line each."""
    return {name: entry(name, method) for name, method in methods.items()}


def entry(name: str, method: Callable[..., Any]) -> str:
    """Return `name(parameters) -> what it gives`, and the fields of what it holds."""
    said = purpose(method)
    usage = said if said.startswith(f"{name}(") else f"{name}{_signature(method)} -> {said}"
    result = _result(method)
    fields = ", ".join(_fields(result))
    more = "; .total counts all" if typing.get_origin(result) is Listed else ""
    if typing.is_typeddict(result):
        return f"{usage} [keys: {', '.join(typing.get_type_hints(result))}]"
    return f"{usage} [each: {fields}{more}]" if fields else usage


def purpose(method: Callable[..., Any]) -> str:
    """Return the first paragraph of a method's docstring, on one line."""
    return " ".join((method.__doc__ or "").strip().partition("\n\n")[0].split())


def _signature(method: Callable[..., Any]) -> str:
    """Return the parameters as a person writes them: names and defaults."""
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(method).parameters.values()
    ]
    return str(inspect.Signature(bare))


def _result(method: Callable[..., Any]) -> Any:
    """Return the type of what a method returns, or None."""
    try:
        return typing.get_type_hints(method).get("return")
    except NameError:  # A type that is imported for the type checker alone.
        return None


def _fields(result: Any) -> list[str]:
    """Return the fields of the records that a result is a list of, or nothing."""
    for kind in typing.get_args(result):
        if dataclasses.is_dataclass(kind):
            return [field.name for field in dataclasses.fields(kind)]
        if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return list(kind._fields)
        if typing.is_typeddict(kind):
            return list(typing.get_type_hints(kind))
    return []
