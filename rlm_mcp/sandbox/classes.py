"""How classes of a cell are made: allowed bases, no metaclass of its own, checked names.

Names reach a class as data in several ways (slots, match arguments, annotations, enum members);
each is checked here, so that no class can make trusted code read an attribute that a guard refuses.
"""

from __future__ import annotations

import abc
import enum
import typing
from typing import Any

from rlm_mcp.sandbox import names
from rlm_mcp.sandbox.guards import adopt, check_words, is_made, shown_name

_NOTHING = object()
allowed_bases: set[type] = set()
"""Classes that a class of a cell may be derived from, besides those of the cell."""


class PlainEnumMeta(enum.EnumMeta):
    """Enums by class statement; the functional form would take member names as data."""

    def __call__(cls, value: Any = _NOTHING, *more: Any, **options: Any) -> Any:
        if value is _NOTHING or more or options:
            raise TypeError("write an Enum as a class statement here")
        return super().__call__(value)


def make_class(name: str, bases: tuple[Any, ...], body: dict[str, Any], **options: Any) -> type:
    """Make a class of a cell: allowed bases, no metaclass of its own, checked names."""
    if typing._NamedTuple in bases:  # type: ignore[attr-defined]
        return _make_tuple(name, bases, body)
    if dict in bases:
        options.pop("total", None)  # a TypedDict says so
    for base in bases:
        if not (isinstance(base, type) and (base in allowed_bases or is_made(base))):
            raise TypeError(f"a class cannot be derived from {shown_name(base)} here")
        if issubclass(base, type) or issubclass(base, BaseExceptionGroup):
            raise TypeError(f"a class cannot be derived from {shown_name(base)} here")
    meta: type = type
    for base in bases:
        if issubclass(type(base), meta):
            meta = type(base)
    if meta not in (type, abc.ABCMeta, PlainEnumMeta):
        raise TypeError("a class cannot be derived from these bases here")
    if meta is not PlainEnumMeta:
        _check_body(body)
        made = meta(name, bases, body, **options)  # type: ignore[arg-type]
    else:
        made = _make_enum(name, bases, body, options)
    adopt(check_match(made))
    return made


def _make_tuple(name: str, bases: tuple[Any, ...], body: dict[str, Any]) -> type:
    _check_body(body)
    check_words(list(body.get("__annotations__", ())))
    made: type = typing.NamedTupleMeta(name, bases, body)  # type: ignore[attr-defined]
    adopt(made)
    return made


def _make_enum(
    name: str, bases: tuple[Any, ...], body: dict[str, Any], options: dict[str, Any]
) -> type:
    prepared = PlainEnumMeta.__prepare__(name, bases, **options)
    for key, item in body.items():
        if key not in ("__classcell__",):
            prepared[key] = item
    _check_body(prepared)
    if "__classcell__" in body:
        prepared["__classcell__"] = body["__classcell__"]
    return PlainEnumMeta(name, bases, prepared, **options)


def check_match(cls: type) -> type:
    """Check that positional patterns read nothing that a guard would not; inherited or own."""
    words = getattr(cls, "__match_args__", ())
    guarded = names.GUARDED if issubclass(cls, (str, AttributeError)) else frozenset()
    for word in words:
        if word in names.HIDDEN or word in guarded:
            raise TypeError(f'"{word}" cannot be matched by position')
    return cls


def _check_body(body: dict[str, Any]) -> None:
    """Check names that reach a class as data: slots, match arguments, annotations."""
    for field in ("__slots__", "__match_args__", "__annotations__"):
        if field not in body:
            continue
        given = body[field]
        words = (given,) if isinstance(given, str) else tuple(given)
        for word in words:
            fault = names.attribute_fault(word) if type(word) is str else "a name is no string"
            if fault:
                raise TypeError(fault)
        if field != "__annotations__":
            body[field] = words  # what was checked, whatever it would give the next time
    for key in body:
        if key in names.HIDDEN:
            raise TypeError(f'"{key}" is a reserved name')
