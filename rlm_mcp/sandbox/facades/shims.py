"""Safe forms of what the library offers in an unsafe one, and the builtins of a cell."""

from __future__ import annotations

import abc
import builtins
import collections.abc
import contextlib
import csv
import decimal
import enum
import functools
import io
import json
import pprint
import string
import types
import typing
from collections.abc import Callable
from typing import Any, NoReturn

from rlm_mcp.sandbox import classes, guards
from rlm_mcp.sandbox.facades import containers, copying, wrappers
from rlm_mcp.sandbox.facades.annotations import (
    Annotation,
    GenericBase,
    named_tuple,
    typing_exports,
)

BUILTIN_NAMES = [
    "None",
    "False",
    "True",
    "Ellipsis",
    "NotImplemented",
    "abs",
    "all",
    "any",
    "ascii",
    "bin",
    "bool",
    "bytearray",
    "bytes",
    "callable",
    "chr",
    "classmethod",
    "complex",
    "dict",
    "divmod",
    "enumerate",
    "filter",
    "float",
    "format",
    "frozenset",
    "hash",
    "hex",
    "id",
    "int",
    "iter",
    "len",
    "list",
    "map",
    "max",
    "memoryview",
    "min",
    "next",
    "object",
    "oct",
    "ord",
    "pow",
    "property",
    "range",
    "repr",
    "reversed",
    "round",
    "set",
    "slice",
    "sorted",
    "staticmethod",
    "str",
    "sum",
    "tuple",
    "zip",
    "aiter",
    "anext",
    "__build_class__",
]


def builtin_exceptions() -> dict[str, type[BaseException]]:
    """Return every built-in exception by name."""
    return {
        name: item
        for name, item in vars(builtins).items()
        if isinstance(item, type) and issubclass(item, BaseException)
    }


def refused_function(name: str, advice: str) -> Callable[..., NoReturn]:
    """Return a function that raises with advice."""

    def refuse_call(*_: object, **__: object) -> NoReturn:
        raise PermissionError(f"{name}() is not available here; {advice}")

    refuse_call.__name__ = refuse_call.__qualname__ = name
    return refuse_call


def real_class(kind: Any) -> Any:
    """Return what `isinstance` really has to look for."""
    if type(kind) is tuple:
        return tuple(map(real_class, kind))
    if kind is guards.TypeStandIn:
        return type
    return getattr(kind, "checked_as", kind) if type(kind) is Annotation else kind


def is_instance(value: object, kind: Any) -> bool:
    """Answer `isinstance`; a view of a context counts as a str."""
    if isinstance(value, real_class(kind)):
        return True
    shown = guards.shown_class(value)
    return shown is str and shown is not type(value) and _accepts_str(kind)


def _accepts_str(kind: Any) -> bool:
    return any(map(_accepts_str, kind)) if type(kind) is tuple else kind is str


def is_subclass(cls: Any, kind: Any) -> bool:
    """Answer `issubclass`."""
    return issubclass(real_class(cls), real_class(kind))


class StringIO(io.StringIO):
    """`io.StringIO`, which takes a view too."""

    def __init__(self, initial: Any = "", newline: str | None = "\n") -> None:
        super().__init__(view_to_text(initial), newline)


def view_to_text(value: Any) -> Any:
    """Return a view as a plain str, anything else as it is."""
    return str(value) if guards.shown_class(value) is str and not isinstance(value, str) else value


def attribute_getter(*paths: str) -> Callable[[Any], Any]:
    """Answer `operator.attrgetter` through the guard."""
    if not paths:
        raise TypeError("attrgetter expected 1 argument, got 0")

    def read_path(value: Any, path: str) -> Any:
        for word in path.split("."):
            value = guards.read_attribute(value, word)
        return value

    if len(paths) == 1:
        return lambda value: read_path(value, paths[0])
    return lambda value: tuple(read_path(value, path) for path in paths)


def method_caller(name: str, *positional: Any, **named: Any) -> Callable[[Any], Any]:
    """Answer `operator.methodcaller` through the guard."""
    return lambda value: guards.read_attribute(value, name)(*positional, **named)


def loads(text: Any, **options: Any) -> Any:
    """Answer `json.loads`."""
    return json.loads(view_to_text(text), **options)


def load(file: Any, **options: Any) -> Any:
    """Answer `json.load`."""
    return loads(file.read(), **options)


def dump(value: Any, file: Any, **options: Any) -> None:
    """Answer `json.dump`."""
    file.write(json.dumps(value, **options))


class Enum(enum.Enum, metaclass=classes.PlainEnumMeta):
    """`enum.Enum` by class statement."""


class IntEnum(enum.IntEnum, metaclass=classes.PlainEnumMeta):
    """`enum.IntEnum` by class statement."""


class StrEnum(enum.StrEnum, metaclass=classes.PlainEnumMeta):
    """`enum.StrEnum` by class statement."""


class Flag(enum.Flag, metaclass=classes.PlainEnumMeta):
    """`enum.Flag` by class statement."""


class IntFlag(enum.IntFlag, metaclass=classes.PlainEnumMeta):
    """`enum.IntFlag` by class statement."""


def total_ordering(cls: Any) -> Any:
    """Answer `functools.total_ordering`, which writes to the class that it is given."""
    if not (isinstance(cls, type) and guards.is_made(cls)):
        raise TypeError("total_ordering() decorates a class of this environment")
    return functools.total_ordering(cls)


def abstract_method(function: Any) -> Any:
    """Answer `abc.abstractmethod`, which writes to the function that it is given."""
    if not isinstance(function, (property, classmethod, staticmethod)):
        guards.check_writable(function, "abstract")
    return abc.abstractmethod(function)


class SingleDispatch:
    """`functools.singledispatch`, which takes classes and never evaluates an annotation."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._default = function
        self._known: dict[type, Callable[..., Any]] = {}

    def register(self, cls: Any, function: Callable[..., Any] | None = None) -> Any:
        """Register a function for a class; also as a decorator."""
        cls = real_class(cls)
        if not isinstance(cls, type):
            raise TypeError("register() takes the class here: @function.register(int)")
        if function is None:
            return lambda found: self.register(cls, found)
        self._known[cls] = function
        return function

    def dispatch(self, cls: Any) -> Callable[..., Any]:
        """Return the function for a class."""
        for parent in type.mro(real_class(cls)):
            if parent in self._known:
                return self._known[parent]
        return self._default

    def __call__(self, value: Any, *positional: Any, **named: Any) -> Any:
        return self.dispatch(type(value))(value, *positional, **named)


guards.writable_classes.add(decimal.Context)
guards.attribute_holders.add(SingleDispatch)


def base_classes() -> set[type]:
    """Return the classes that a class of a cell may be derived from."""
    plain = (object, str, bytes, int, float, complex, list, tuple, dict, set, frozenset, bytearray)
    library = (
        collections.Counter, collections.OrderedDict, collections.defaultdict, collections.deque,
        containers.UserDict, containers.UserList, containers.UserString, abc.ABC, Enum, IntEnum,
        StrEnum, Flag, IntFlag, containers.NodeVisitor, containers.NodeTransformer,
        json.JSONEncoder, StringIO, string.Template, containers.SimpleNamespace,
        contextlib.AbstractContextManager, GenericBase, typing.Generic,
    )  # fmt: skip
    errors = {
        cls for cls in builtin_exceptions().values() if not issubclass(cls, BaseExceptionGroup)
    }
    abstract = {item for item in vars(collections.abc).values() if isinstance(item, abc.ABCMeta)}
    return {*plain, *library, *errors, *abstract}


def shim_exports() -> dict[str, dict[str, Any]]:
    """Return the exports that replace or complete those of `library.PLAIN`."""
    return {
        "abc": {"abstractmethod": abstract_method},
        "collections": {
            "namedtuple": named_tuple,
            "UserDict": containers.UserDict,
            "UserList": containers.UserList,
            "UserString": containers.UserString,
        },
        "contextlib": {
            "suppress": wrappers.Suppress,
            "contextmanager": wrappers.context_manager,
            "redirect_stdout": refused_function("redirect_stdout", "print is kept in _stdout"),
        },
        "copy": {"copy": copying.shallow_copy, "deepcopy": copying.deep_copy},
        "csv": {"field_size_limit": lambda *_: csv.field_size_limit()},
        "enum": {
            "Enum": Enum,
            "IntEnum": IntEnum,
            "StrEnum": StrEnum,
            "Flag": Flag,
            "IntFlag": IntFlag,
        },
        "functools": {
            "cache": wrappers.lru_cache(None),
            "lru_cache": wrappers.lru_cache,
            "wraps": wrappers.wraps,
            "update_wrapper": wrappers.update_wrapper,
            "partial": functools.partial,
            "singledispatch": SingleDispatch,
            "total_ordering": total_ordering,
        },
        "io": {"StringIO": StringIO},
        "json": {"loads": loads, "load": load, "dump": dump},
        "operator": {"attrgetter": attribute_getter, "methodcaller": method_caller},
        "types": {
            "SimpleNamespace": containers.SimpleNamespace,
            "MappingProxyType": types.MappingProxyType,
        },
        "dataclasses": {
            "dataclass": copying.dataclass,
            "fields": copying.data_fields,
            "is_dataclass": copying.is_dataclass,
            "asdict": copying.as_dict,
            "astuple": copying.as_tuple,
            "replace": copying.replace_fields,
        },
        "warnings": {
            "warn": lambda *_, **__: None,
            "filterwarnings": lambda *_, **__: None,
            "simplefilter": lambda *_, **__: None,
        },
        "typing": typing_exports(),
        "string": {"Template": string.Template},
    }


def pprint_exports(write: Callable[[str], int]) -> dict[str, Any]:
    """Return `pprint` for cells."""

    def print_value(value: Any, *positional: Any, **named: Any) -> None:
        write(pprint.pformat(value, *_without_stream(positional), **named) + "\n")

    return {"pformat": pprint.pformat, "pprint": print_value, "pp": print_value}


def _without_stream(positional: tuple[Any, ...]) -> tuple[Any, ...]:
    return positional[1:]  # the first is a stream
