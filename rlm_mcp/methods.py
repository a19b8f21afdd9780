"""Methods of a variable as cells call them: their help, their arguments, what they answer with."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from rlm_mcp.errors import BadRequest

T = TypeVar("T")
Method = Callable[..., Any]
"""A call that cells may make: plain JSON arguments in, JSON or records out."""


class ResultList(list[T]):
    """What a method found, cut at its limit: `total` counts all that there is.

    `exact` is False where the total is a lower bound; `note` says why. In a cell it is a list with
    the same three attributes.
    """

    def __init__(
        self, items: Iterable[T] = (), total: int = 0, exact: bool = True, note: str = ""
    ) -> None:
        super().__init__(items)
        self.total = max(total, len(self))
        self.exact, self.note = exact, note

    @classmethod
    def truncate_to(
        cls, items: Sequence[T], limit: int, exact: bool = True, note: str = ""
    ) -> ResultList[T]:
        """Return the first `limit` of all the items."""
        return cls(items[: max(0, limit)], len(items), exact, note)


def to_wire(value: Any) -> Any:
    """Return `value` as JSON types: dataclasses as objects, tuples as arrays.

    A ResultList is an object with the keys `listed`, `total`, `exact` and `note`.
    """
    if isinstance(value, ResultList):
        items = [to_wire(item) for item in value]
        return {"listed": items, "total": value.total, "exact": value.exact, "note": value.note}
    if hasattr(value, "__dataclass_fields__"):
        return to_wire(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): to_wire(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_wire(item) for item in value]
    return value


def help_entries(methods: Mapping[str, Callable[..., Any]]) -> dict[str, str]:
    """Return the manual of each method, a line each."""
    return {name: help_entry(name, method) for name, method in methods.items()}


def help_entry(name: str, method: Callable[..., Any]) -> str:
    """Return `name(parameters) -> what it gives`, and the fields of what it holds."""
    said = docstring_purpose(method)
    usage = said if said.startswith(f"{name}(") else f"{name}{_plain_signature(method)} -> {said}"
    result = _result_type(method)
    fields = ", ".join(_result_fields(result))
    more = "; .total counts all" if typing.get_origin(result) is ResultList else ""
    if typing.is_typeddict(result):
        return f"{usage} [keys: {', '.join(typing.get_type_hints(result))}]"
    return f"{usage} [each: {fields}{more}]" if fields else usage


def docstring_purpose(method: Callable[..., Any]) -> str:
    """Return the first paragraph of a method's docstring, on one line."""
    return " ".join((method.__doc__ or "").strip().partition("\n\n")[0].split())


def _plain_signature(method: Callable[..., Any]) -> str:
    """Return the parameters as a person writes them: names and defaults."""
    bare = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in inspect.signature(method).parameters.values()
    ]
    return str(inspect.Signature(bare))


def _result_type(method: Callable[..., Any]) -> Any:
    """Return the type of what a method returns, or None."""
    try:
        return typing.get_type_hints(method).get("return")
    except NameError:  # A type that is imported for the type checker alone.
        return None


def _result_fields(result: Any) -> list[str]:
    """Return the fields of the records that a result is a list of, or nothing."""
    for kind in typing.get_args(result):
        if dataclasses.is_dataclass(kind):
            return [field.name for field in dataclasses.fields(kind)]
        if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return list(kind._fields)
        if typing.is_typeddict(kind):
            return list(typing.get_type_hints(kind))
    return []


def call_checked(
    title: str, method: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Call a method with arguments from outside. Raises BadRequest, and says how it is used."""
    try:
        check_arguments(method, args, kwargs)
    except TypeError as error:
        raise BadRequest(f"{title}: {error}. Use it as {docstring_purpose(method)}") from None
    return method(*args, **kwargs)


def check_arguments(
    method: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """Raise TypeError with a sentence where arguments do not fit the annotated plain types."""
    bound = inspect.signature(method).bind(*args, **kwargs)
    hints = typing.get_type_hints(method)
    for name, value in bound.arguments.items():
        allowed = _plain_types(hints.get(name))
        if not allowed or (isinstance(value, allowed) and not _bool_for_number(value, allowed)):
            continue
        wants = " or ".join(kind.__name__ for kind in allowed)
        raise TypeError(f"{name} wants {wants}, got {type(value).__name__}")


def _plain_types(hint: Any) -> tuple[type, ...]:
    """Return the plain classes that a hint allows; nothing where it allows more than those."""
    if hint is None:
        return ()
    if isinstance(hint, types.UnionType):
        parts = [
            _plain_types(part) if part is not type(None) else (type(None),)
            for part in hint.__args__
        ]
        return tuple(kind for part in parts for kind in part) if all(parts) else ()
    if hint is float:
        return (float, int)
    return (hint,) if hint in (str, int, bool) else ()


def _bool_for_number(value: object, allowed: tuple[type, ...]) -> bool:
    return isinstance(value, bool) and bool not in allowed
