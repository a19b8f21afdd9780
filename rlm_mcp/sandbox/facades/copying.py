"""`copy` and `dataclasses` for cells: over plain values and classes of cells, by their type alone.

The library's own read `__reduce_ex__`, `__deepcopy__` or `__dataclass_fields__` from an instance
and then read or set attributes by names that these hold. Here nothing is asked of an instance:
what it is says its class, what it holds is taken from its `__dict__` and its slots.
"""

from __future__ import annotations

import array
import ast
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import pathlib
import re
import sys
import time
import types
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from rlm_mcp.sandbox import allowed_names, classes, guards
from rlm_mcp.sandbox.facades.annotations import Annotation
from rlm_mcp.sandbox.facades.facade import Facade
from rlm_mcp.sandbox.record_types import CellList, CellRecord
from rlm_mcp.sandbox.text_view import TextView, ViewMethod
from rlm_mcp.sdk import values as sdk_values

CopyPart = Callable[[Any], Any]

_ATOMIC_TYPES: set[type] = {
    type(None), type(Ellipsis), type(NotImplemented), bool, int, float, complex, str, bytes, range,
    slice, property, types.FunctionType, types.BuiltinFunctionType, types.MethodWrapperType,
    types.WrapperDescriptorType, types.MethodDescriptorType, types.GenericAlias, types.UnionType,
    re.Pattern, re.Match, datetime.date, datetime.time, datetime.datetime, datetime.timedelta,
    datetime.timezone, decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath,
    pathlib.PurePosixPath, pathlib.PureWindowsPath, Annotation, Facade, ViewMethod, TextView,
    time.struct_time, functools._lru_cache_wrapper,
}  # fmt: skip
_CONSTRUCTED_TYPES = (tuple, frozenset, str, bytes, int, float, complex)
copied_classes: set[type] = {collections.ChainMap, CellList, CellRecord} | {
    item for item in vars(sdk_values).values() if isinstance(item, type)
}
"""Classes of ours whose instances are copied as those of a cell's classes are."""


def never_copied(*kinds: type) -> None:
    """Give instances of these classes back as they are."""
    _ATOMIC_TYPES.update(kinds)


def shallow_copy(value: Any) -> Any:
    """Answer `copy.copy`."""
    cls = type(value)
    if _is_atomic(cls):
        return value
    own = _own_method(cls, "__copy__")
    if own is not None:
        return own(value)
    if cls in (tuple, frozenset):
        return value
    made = _copy_object(value, cls, lambda part: part, {})
    inside = variables_of(made)
    if isinstance(made, (collections.UserDict, collections.UserList)) and "data" in inside:
        inside["data"] = shallow_copy(inside["data"])
    if isinstance(made, collections.ChainMap) and inside.get("maps"):
        first, *others = inside["maps"]
        inside["maps"] = [shallow_copy(first), *others]
    return made


def deep_copy(value: Any, memo: Any = None) -> Any:
    """Answer `copy.deepcopy`."""
    return _copy_deep(value, memo if type(memo) is dict else {})


def _copy_deep(value: Any, memo: dict[int, Any]) -> Any:
    cls = type(value)
    if _is_atomic(cls):
        return value
    if id(value) in memo:
        return memo[id(value)]
    own = _own_method(cls, "__deepcopy__")
    if own is not None:
        made = own(value, memo)
    else:
        made = _copy_object(value, cls, lambda part: _copy_deep(part, memo), memo)
    memo[id(value)] = made
    if made is not value:
        kept = memo.setdefault(id(memo), [])
        if type(kept) is list:  # keeps `value` alive as long as its id stands for it
            kept.append(value)
    return made


def _is_atomic(cls: type) -> bool:
    return cls in _ATOMIC_TYPES or issubclass(cls, (type, enum.Enum, types.GenericAlias))


def _own_method(cls: type, name: str) -> Callable[..., Any] | None:
    """Return a method that a class of a cell defines, or None where the library's would be met."""
    for parent in type.mro(cls):
        if name in parent.__dict__:
            found = parent.__dict__[name]
            if not guards.is_made(parent):
                return None
            if not guards.is_own_function(found):
                raise TypeError(f"{name} is a plain method here")
            method: Callable[..., Any] = found
            return method
    return None


def variables_of(value: Any) -> dict[str, Any]:
    """Return the real `__dict__` of an instance; an empty one where there is none."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if type(found) is dict else {}


def _copy_object(value: Any, cls: type, part: CopyPart, memo: dict[int, Any]) -> Any:
    if cls is types.MethodType:
        held = value.__self__
        return types.MethodType(value.__func__, part(held)) if guards.is_made(type(held)) else value
    if cls is functools.partial:
        named = {name: part(item) for name, item in value.keywords.items()}
        return functools.partial(value.func, *map(part, value.args), **named)
    if cls is array.array:
        return value[:]
    if cls is guards.InstanceVariables:
        value = dict(value.items())
        cls = dict
    made = _copy_content(value, cls, part, memo)
    if made is None:
        raise TypeError(
            f"{guards.shown_name(cls)} cannot be copied here: copy takes plain values, "
            "containers, and instances of classes that you define"
        )
    if made is not value:
        _copy_state(value, made, cls, part)
    return made


def _copy_content(value: Any, cls: type, part: CopyPart, memo: dict[int, Any]) -> Any:
    """Return a new object of the same class with the same items, or None for an unknown class."""
    made: Any
    for kind in _CONSTRUCTED_TYPES:
        if issubclass(cls, kind) and (kind is tuple or _is_known(cls, kind)):
            return _copy_immutable(value, cls, kind, part, memo)
    if issubclass(cls, dict) and _is_known(cls, *_DICT_TYPES):
        kind = next(kind for kind in _DICT_TYPES if issubclass(cls, kind))
        made = memo[id(value)] = kind.__new__(cls)
        if kind is collections.defaultdict:
            factory: Any = vars(collections.defaultdict)["default_factory"]
            factory.__set__(made, part(factory.__get__(value)))
        for key, item in list(kind.items(value)):
            kind.__setitem__(made, part(key), part(item))
    elif issubclass(cls, list) and _is_known(cls, list):
        made = memo[id(value)] = list.__new__(cls)
        list.extend(made, map(part, list(list.__iter__(value))))
    elif issubclass(cls, set) and _is_known(cls, set):
        made = memo[id(value)] = set.__new__(cls)
        set.update(made, list(map(part, list(set.__iter__(value)))))
    elif issubclass(cls, collections.deque) and _is_known(cls, collections.deque):
        made = memo[id(value)] = collections.deque.__new__(cls)
        size = collections.deque.maxlen.__get__(value)
        collections.deque.__init__(made, (), size)
        collections.deque.extend(made, map(part, list(collections.deque.__iter__(value))))
    elif issubclass(cls, bytearray) and _is_known(cls, bytearray):
        made = bytearray.__new__(cls)
        bytearray.__init__(made, bytearray.copy(value))
    elif issubclass(cls, (io.StringIO, io.BytesIO)):
        made = _copy_stream(value, cls)
    elif issubclass(cls, BaseException):
        made = _copy_error(value, cls, part)
    elif issubclass(cls, types.SimpleNamespace):
        made = types.SimpleNamespace.__new__(cls)
    elif issubclass(cls, ast.AST):
        made = cls.__new__(cls)
    elif _is_known(cls):
        made = object.__new__(cls)
    else:
        return None
    memo[id(value)] = made
    return made


_DICT_TYPES: tuple[Any, ...] = (
    collections.Counter,
    collections.OrderedDict,
    collections.defaultdict,
    dict,
)


def _is_known(cls: type, *exact: type) -> bool:
    return cls in exact or guards.is_made(cls) or cls in copied_classes


def _copy_immutable(value: Any, cls: type, kind: Any, part: CopyPart, memo: dict[int, Any]) -> Any:
    if kind not in (tuple, frozenset):
        return kind.__new__(cls, *kind.__getnewargs__(value))
    old = list(kind.__iter__(value))
    new = list(map(part, old))
    if id(value) in memo:  # a part of it holds it
        return memo[id(value)]
    if cls is kind and all(item is other for item, other in zip(old, new, strict=True)):
        return value
    return kind.__new__(cls, new)


def _copy_stream(value: Any, cls: type) -> Any:
    kind: Any = io.StringIO if issubclass(cls, io.StringIO) else io.BytesIO
    made = kind.__new__(cls)
    kind.__init__(made, kind.getvalue(value))
    kind.seek(made, kind.tell(value))
    return made


def _copy_error(value: Any, cls: type, part: CopyPart) -> Any:
    built_in: Any = next(kind for kind in type.mro(cls) if not guards.is_made(kind))
    given = [part(item) for item in BaseException.args.__get__(value)]  # type: ignore[attr-defined]
    made = built_in.__new__(cls, *given)
    built_in.__init__(made, *given)
    return made


def _copy_state(value: Any, made: Any, cls: type, part: CopyPart) -> None:
    target = variables_of(made)
    for name, item in list(variables_of(value).items()):
        if type(name) is not str or allowed_names.attribute_fault(name):
            raise TypeError(f"an object with the attribute {name!r} cannot be copied here")
        target[name] = part(item)
    for parent in type.mro(cls):
        if guards.is_made(parent):
            for slot in parent.__dict__.values():
                if type(slot) is types.MemberDescriptorType and slot.__objclass__ is parent:
                    _copy_slot(slot, value, made, part)


def _copy_slot(slot: Any, value: Any, made: Any, part: CopyPart) -> None:
    try:
        held = slot.__get__(value)
    except AttributeError:
        return
    slot.__set__(made, part(held))


# dataclasses


def dataclass(cls: Any = None, **options: Any) -> Any:
    """Answer `dataclasses.dataclass`, which makes a new class for `slots=True`."""
    if cls is None:
        return lambda found: dataclass(found, **options)
    if not (isinstance(cls, type) and guards.is_made(cls)):
        raise TypeError("dataclass() decorates a class of this environment")
    annotated = cls.__annotations__ if sys.version_info >= (3, 14) else cls.__dict__
    if sys.version_info < (3, 14):
        annotated = annotated.get("__annotations__", {})
    for name in allowed_names.GUARDED_NAMES.intersection(annotated):
        if name not in cls.__dict__ and hasattr(cls, name):
            raise TypeError(f"a field {name!r} needs a default here: a base of the class has one")
    made: Any = dataclasses.dataclass(cls, **options)
    guards.adopt_class(classes.check_fields(made))
    return made


def _find_fields(value: Any) -> dict[str, dataclasses.Field[Any]] | None:
    """Return the fields of a dataclass or of an instance of one, as the decorator left them."""
    for parent in type.mro(value if isinstance(value, type) else type(value)):
        found = parent.__dict__.get("__dataclass_fields__")
        if type(found) is dict and (guards.is_made(parent) or parent in copied_classes):
            return found
    return None


def _need_fields(value: Any, function: str) -> dict[str, dataclasses.Field[Any]]:
    found = _find_fields(value)
    if found is None and function == "fields":
        raise TypeError("must be called with a dataclass type or instance")
    if found is None or (function != "fields" and isinstance(value, type)):
        raise TypeError(f"{function}() should be called on dataclass instances")
    return found


def is_dataclass(value: Any) -> bool:
    """Answer `dataclasses.is_dataclass`."""
    return _find_fields(value) is not None


def data_fields(value: Any) -> tuple[dataclasses.Field[Any], ...]:
    """Answer `dataclasses.fields`."""
    return tuple(_real_fields(_need_fields(value, "fields")))


def _real_fields(found: dict[str, dataclasses.Field[Any]]) -> Iterator[dataclasses.Field[Any]]:
    for field in found.values():
        if field._field_type is dataclasses._FIELD:  # type: ignore[attr-defined]
            yield field


def as_dict(value: Any, *, dict_factory: Callable[[Any], Any] = dict) -> Any:
    """Answer `dataclasses.asdict`."""
    _need_fields(value, "asdict")
    return _unfold_value(value, dict_factory)


def as_tuple(value: Any, *, tuple_factory: Callable[[Any], Any] = tuple) -> Any:
    """Answer `dataclasses.astuple`."""
    _need_fields(value, "astuple")
    return _unfold_value(value, lambda pairs: tuple_factory([item for _, item in pairs]))


def _unfold_value(value: Any, factory: Callable[[Any], Any]) -> Any:
    cls: Any = type(value)
    found = _find_fields(value) if not isinstance(value, type) else None
    if found is not None:
        pairs = [(f.name, guards.read_attribute(value, f.name)) for f in _real_fields(found)]
        return factory([(name, _unfold_value(item, factory)) for name, item in pairs])
    if isinstance(value, (list, tuple)):
        items = [_unfold_value(item, factory) for item in value]
        return cls(*items) if isinstance(value, tuple) and hasattr(cls, "_fields") else cls(items)
    if isinstance(value, dict):
        inside = [(_unfold_value(k, factory), _unfold_value(v, factory)) for k, v in value.items()]
        if isinstance(value, collections.defaultdict):
            return cls(value.default_factory, inside)
        return cls(inside)
    return deep_copy(value)


def replace_fields(value: Any, /, **changes: Any) -> Any:
    """Answer `dataclasses.replace`."""
    for field in _need_fields(value, "replace").values():
        kind = field._field_type  # type: ignore[attr-defined]
        if kind is dataclasses._FIELD_CLASSVAR:  # type: ignore[attr-defined]
            continue
        if not field.init:
            if field.name in changes:
                raise ValueError(
                    f"field {field.name} is declared with init=False, "
                    "it cannot be specified with replace()"
                )
        elif field.name not in changes:
            initial = kind is dataclasses._FIELD_INITVAR  # type: ignore[attr-defined]
            if initial and field.default is dataclasses.MISSING:
                raise ValueError(f"InitVar {field.name!r} must be specified with replace()")
            changes[field.name] = guards.read_attribute(value, field.name)
    return type(value)(**changes)
