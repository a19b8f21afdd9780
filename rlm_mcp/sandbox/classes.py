"""How classes of a cell are made: allowed bases, no metaclass of its own, checked names.

Names reach a class as data in several ways (slots, match arguments, annotations, enum members);
each is checked here, so that no class can make trusted code read an attribute that a guard refuses.
"""

from __future__ import annotations

import abc
import enum
import typing
from typing import Any

from rlm_mcp.sandbox import allowed_names
from rlm_mcp.sandbox.guards import adopt_class, check_words, is_made, shown_name

_NOTHING = object()
allowed_bases: set[type] = set()
"""Classes that a class of a cell may be derived from, besides those of the cell."""


class PlainEnumMeta(enum.EnumMeta):
    """Enums by class statement; the functional form would take member names as data."""

    def __call__(cls, value: Any = _NOTHING, *more: Any, **options: Any) -> Any:
        if value is _NOTHING or more or options:
            raise TypeError("write an Enum as a class statement here")
        return super().__call__(value)

    @classmethod
    def _find_new_(cls, *given: Any) -> Any:
        """Let `__new__` of a cell give members alone: the library writes to what it gives."""
        new, *more = super()._find_new_(*given)  # type: ignore[misc]

        def make_member(made_of: Any, *values: Any) -> Any:
            made = new(made_of, *values)
            if not isinstance(made, made_of):
                raise TypeError("__new__ of an Enum gives a member of it")
            return made

        return (make_member if new is not object.__new__ else new, *more)


def make_class(name: str, bases: tuple[Any, ...], body: dict[str, Any], **options: Any) -> type:
    """Make a class of a cell: allowed bases, no metaclass of its own, checked names."""
    if any(base is typing._NamedTuple for base in bases):  # type: ignore[attr-defined]
        return _make_tuple(name, bases, body)
    if any(base is dict for base in bases):
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
    adopt_class(check_fields(made))
    return made


def _make_tuple(name: str, bases: tuple[Any, ...], body: dict[str, Any]) -> type:
    _check_body(body)
    check_words(list(body.get("__annotations__", ())))
    made: type = typing.NamedTupleMeta(name, bases, body)  # type: ignore[attr-defined]
    adopt_class(made)
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


def check_fields(cls: type) -> type:
    """Check that no generated method of a dataclass reads what the guard would not."""
    if issubclass(cls, (str, AttributeError)):
        for word in allowed_names.GUARDED_NAMES.intersection(
            getattr(cls, "__dataclass_fields__", ())
        ):
            raise TypeError(f'"{word}" cannot be a field of this class')
    return cls


def _without_trace(own: Any) -> Any:
    """Keep the traceback from `__exit__`: it is None there."""

    def exit_without_trace(
        self: Any, kind: Any = None, error: Any = None, trace: Any = None
    ) -> Any:
        bind = getattr(type(own), "__get__", None)
        return (own if bind is None else bind(own, self, type(self)))(kind, error, None)

    exit_without_trace.__name__ = exit_without_trace.__qualname__ = "__exit__"
    if getattr(own, "__isabstractmethod__", False):
        exit_without_trace.__isabstractmethod__ = True  # type: ignore[attr-defined]
    return exit_without_trace


def _check_body(body: dict[str, Any]) -> None:
    """Check names that reach a class as data: slots, match arguments, annotations."""
    for field in ("__slots__", "__match_args__", "__annotations__"):
        if field not in body:
            continue
        given = body[field]
        words = (given,) if isinstance(given, str) else tuple(given)
        for word in words:
            fault = (
                allowed_names.attribute_fault(word) if type(word) is str else "a name is no string"
            )
            if fault:
                raise TypeError(fault)
        if field != "__annotations__":
            body[field] = words  # what was checked, whatever it would give the next time
    for key in body:
        if key in allowed_names.HIDDEN_NAMES:
            raise TypeError(f'"{key}" is a reserved name')
    for key in ("__exit__", "__aexit__"):
        if key in body:
            body[key] = _without_trace(body[key])
