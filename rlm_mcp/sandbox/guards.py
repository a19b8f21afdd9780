"""The language layer, at run time: how attributes are read and written and classes are made.

Guards decide by exact types and by names; they never ask an object of the cell what it is.
What a guard hands out is plain data, a class of the allowed kinds, or an object of the cell.
"""

from __future__ import annotations

import ast
import types
import weakref
from collections.abc import Callable, MutableMapping
from typing import Any

from rlm_mcp.sandbox import allowed_names
from rlm_mcp.sandbox import format as formatting

_NOTHING = object()
_CELL_CLASSES: weakref.WeakSet[type] = weakref.WeakSet()
_OPAQUE_TYPES: tuple[type, ...] = (
    types.FunctionType, types.MethodType, types.ModuleType, types.CodeType, types.FrameType,
    types.CellType, types.TracebackType, types.GeneratorType, types.CoroutineType,
    types.AsyncGeneratorType, types.BuiltinFunctionType, types.MethodWrapperType,
    types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType,
    types.GetSetDescriptorType, types.MemberDescriptorType, types.UnionType,
)  # fmt: skip
_HIDDEN_TYPES: tuple[type, ...] = (
    types.ModuleType, types.CodeType, types.FrameType, types.CellType, types.TracebackType,
)  # fmt: skip
_PLAIN_WRITES: tuple[type, ...] = (ast.AST, types.SimpleNamespace)


class CellStop(BaseException):
    """Raised in a cell that ran out of time or was interrupted; a cell cannot catch it."""


class TypeStandIn:
    """Stands for `type`: says what something is, and makes no classes."""

    def __new__(cls, value: object = _NOTHING, *more: object) -> Any:
        if value is _NOTHING or more:
            raise TypeError("type() takes one argument here; write a class statement to make one")
        return shown_class(value)

    def __class_getitem__(cls, item: object) -> type:
        return cls


TypeStandIn.__name__ = TypeStandIn.__qualname__ = "type"
TypeStandIn.__module__ = "builtins"


class SuperStandIn(super):
    """Stands for `super`: no check that a base of ours makes can be stepped over by naming it."""

    def __new__(cls, *given: Any) -> SuperStandIn:
        if given and not (isinstance(given[0], type) and given[0] in _CELL_CLASSES):
            raise TypeError("super() takes a class of this environment here")
        return super.__new__(cls)


SuperStandIn.__name__ = SuperStandIn.__qualname__ = "super"
SuperStandIn.__module__ = "builtins"


class ClassLabel:
    """Stands for a class that is named but not handed out (functions, generators)."""

    __slots__ = ("__name__", "__qualname__")

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name

    def __repr__(self) -> str:
        return f"<class '{self.__name__}'>"


_labels: dict[type, ClassLabel] = {}
_internal: set[type] = {ClassLabel}


def is_made(cls: type) -> bool:
    """Whether a class was made by a cell."""
    return cls in _CELL_CLASSES


def keep_internal(*classes: type) -> None:
    """Never hand these classes out."""
    _internal.update(classes)


def shown_class(value: object) -> Any:
    """Return the class of a value as a cell may see it: never a metaclass."""
    cls = type(value)
    if cls is SuperStandIn:
        value = _behind_super(value)
        cls = type(value)
    if issubclass(cls, type):
        return TypeStandIn
    shown = getattr(cls, "shown_as", None) if cls in _internal else None
    if shown is not None:
        return shown
    if cls in _OPAQUE_TYPES or cls in _internal or issubclass(cls, types.GenericAlias):
        if cls not in _labels:
            _labels[cls] = ClassLabel(cls.__name__)
        return _labels[cls]
    return cls


def _behind_super(value: Any) -> Any:
    """Return the object behind a `super()`, anything else as it is."""
    return super.__self__.__get__(value) if type(value) is SuperStandIn else value  # type: ignore[attr-defined]


def read_attribute(value: object, name: str, default: Any = _NOTHING) -> Any:
    """Read an attribute as a cell may. Raises AttributeError as `getattr` does."""
    if type(name) is not str:
        raise TypeError("attribute name must be string")
    if name[:1] == "_" or name in allowed_names.HIDDEN_NAMES:
        found = _read_underscore(value, name, default)
    elif name in allowed_names.GUARDED_NAMES:
        found = _read_guarded(value, name, default)
    elif default is _NOTHING:
        found = getattr(value, name)
    else:
        found = getattr(value, name, default)
    cls = type(found)
    if cls in _HIDDEN_TYPES or (
        issubclass(cls, type) and issubclass(found, type) and found is not TypeStandIn
    ):
        raise AttributeError(f"the attribute {name!r} is not available here")
    return found


def _read_underscore(value: object, name: str, default: Any) -> Any:
    cls = type(value)
    if name in allowed_names.LABEL_NAMES:
        return read_label(value, name)
    if name == "__class__":
        return shown_class(value)
    if name == "__dict__":
        return read_vars(value)
    if name == "__setattr__" and (cls is SuperStandIn or value is object):
        return _checked_setter(value)
    if name in allowed_names.SUPER_METHODS:
        allowed = (
            name in allowed_names.READABLE_METHODS
            or cls is SuperStandIn
            or (name == "__new__" and value is object)
        )
        if name == "__init__":  # what trusted code made is not made anew
            allowed = cls is SuperStandIn or issubclass(cls, type) or cls in _CELL_CLASSES
    elif allowed_names.attribute_fault(name) is not None:
        allowed = False
    else:
        allowed = _owns_underscore(value, cls, name)
    if allowed:
        return getattr(value, name) if default is _NOTHING else getattr(value, name, default)
    if default is not _NOTHING:
        return default
    raise AttributeError(f"the attribute {name!r} of {_class_name(cls)} is not available here")


def _checked_setter(value: Any) -> Callable[..., None]:
    """Answer `object.__setattr__` and `super().__setattr__`: the check, then the real one."""
    if value is object:
        return lambda target, name, item: object.__setattr__(
            check_writable(target, name), name, item
        )
    real, target = value.__setattr__, value.__self__
    return lambda name, item: real(name, item) if check_writable(target, name) is target else None


def _owns_underscore(value: object, cls: type, name: str) -> bool:
    if cls is SuperStandIn:
        return True  # what it leads to is a base of a class of the cell; the name is harmless
    owner = value if issubclass(cls, type) else cls
    if name in allowed_names.TUPLE_NAMES and issubclass(owner, tuple):  # type: ignore[arg-type]
        return True
    if name == "_fields" and issubclass(owner, ast.AST):  # type: ignore[arg-type]
        return True
    return owner in _CELL_CLASSES


def _read_guarded(value: object, name: str, default: Any) -> Any:
    found = getattr(value, name) if default is _NOTHING else getattr(value, name, default)
    if name in ("format", "format_map"):
        return formatting.safe_method(found, name)
    if name == "join" and type(value) in (str, bytes):
        return _safe_joiner(found)
    if name in ("mro", "register", "obj") and not _holds_own(value, name):
        raise AttributeError(f"the attribute {name!r} of this value is not available here")
    return found


def _holds_own(value: object, name: str) -> bool:
    """Whether `mro`, `register` or `obj` is the cell's own attribute of a value.

    Everything else may stand for a class or an error: a generic alias, a union, a proxy.
    """
    held = _behind_super(value)
    cls = type(held)
    if issubclass(cls, type):
        return type(value) is SuperStandIn or any(
            name in parent.__dict__ for parent in type.mro(held) if parent in _CELL_CLASSES
        )
    if name == "obj" and issubclass(cls, AttributeError):
        return False
    return cls in _CELL_CLASSES or cls in attribute_holders or _own_function(held, cls)


attribute_holders: set[type] = {memoryview}
"""Classes of ours and of the library whose instances may have attributes of any of these names."""


text_views: set[type] = set()
"""Classes that stand for a str where one is wanted."""


def _safe_joiner(real: Callable[[list[Any]], Any]) -> Callable[[Any], Any]:
    def join(items: Any) -> Any:
        held = list(items)
        if text_views.intersection(map(type, held)):
            held = [str(item) if type(item) in text_views else item for item in held]
        return real(held)

    return join


def read_label(value: object, name: str) -> str | None:
    """Answer `__name__`, `__qualname__`, `__doc__` and `__module__` with a string."""
    if name == "__module__":
        return (
            "__main__"
            if (value in _CELL_CLASSES if isinstance(value, type) else True)
            else "builtins"
        )
    found = getattr(value, name)
    if found is None or type(found) is str:
        return found
    raise AttributeError(f"{_class_name(type(value))} has no attribute {name!r}")


def read_vars(value: object = _NOTHING) -> Any:
    """Answer `vars(x)` and `x.__dict__`: checked for an instance, a copy for a class."""
    cls = type(value)
    if cls in _CELL_CLASSES or issubclass(cls, types.SimpleNamespace):
        own = object.__getattribute__(value, "__dict__")
        if type(own) is dict:
            return InstanceVariables(value, own)
    if issubclass(cls, type) and value in _CELL_CLASSES:
        own = type.__getattribute__(value, "__dict__")
        return {key: item for key, item in own.items() if not key.startswith("_")}
    raise TypeError("vars() argument must have a __dict__ attribute")


class InstanceVariables(dict[str, Any]):
    """The attributes of an instance as a dict: what is written is checked as `setattr` checks it.

    The real `__dict__` takes any name and stays out of reach. This dict is brought up to date
    when it is read, so that C code which looks into it directly finds what was there then.
    """

    __slots__ = ("_live", "_owner")
    shown_as = dict

    def __init__(self, owner: object, live: dict[str, Any]) -> None:
        super().__init__(live)
        self._owner = owner
        self._live = live

    def __setitem__(self, name: str, item: object) -> None:
        check_writable(self._owner, name)
        self._live[name] = item
        super().__setitem__(name, item)

    def __delitem__(self, name: str) -> None:
        check_writable(self._owner, name)
        del self._live[name]
        super().pop(name, None)

    def refresh(self) -> None:
        """Take over what was set or deleted on the instance itself."""
        live = self._live
        old = super().items()
        if len(old) != len(live) or any(
            name is not other or item is not value
            for (name, item), (other, value) in zip(old, live.items(), strict=True)
        ):
            super().clear()
            super().update(live)

    def __ior__(self, other: Any) -> InstanceVariables:  # type: ignore[override,misc]
        MutableMapping.update(self, other)
        return self

    update = MutableMapping.update
    setdefault = MutableMapping.setdefault
    pop = MutableMapping.pop
    popitem = MutableMapping.popitem
    clear = MutableMapping.clear


def _refreshed_method(name: str) -> Callable[..., Any]:
    real = getattr(dict, name)

    def call_refreshed(self: InstanceVariables, *positional: Any) -> Any:
        self.refresh()
        return real(self, *positional)

    call_refreshed.__name__ = call_refreshed.__qualname__ = name
    return call_refreshed


for _name_of_method in (
    *("__getitem__", "__contains__", "__iter__", "__len__", "__repr__", "__eq__", "__ne__"),
    *("__or__", "__ror__", "__reversed__", "get", "keys", "values", "items", "copy"),
):
    setattr(InstanceVariables, _name_of_method, _refreshed_method(_name_of_method))


def has_attribute(value: object, name: str) -> bool:
    """Answer `hasattr`."""
    try:
        read_attribute(value, name)
    except AttributeError:
        return False
    return True


def check_writable(value: object, name: str) -> object:
    """Return `value` if a cell may set or delete its attribute `name`, else raise."""
    if type(name) is not str:
        raise TypeError("attribute name must be string")
    if allowed_names.attribute_fault(name):
        raise AttributeError(f"the attribute {name!r} cannot be set here")
    cls = type(value)
    if cls in _CELL_CLASSES or (issubclass(cls, type) and value in _CELL_CLASSES):
        return value
    if not name.startswith("_") and (
        issubclass(cls, _PLAIN_WRITES) or cls in writable_classes or _own_function(value, cls)
    ):
        return value
    raise AttributeError(f"attributes of {_class_name(cls)} cannot be set here")


writable_classes: set[type] = set()
"""Classes of the library whose instances take plain attributes (a decimal context)."""


def is_own_function(value: object) -> bool:
    """Whether a value is a plain function that a cell defined."""
    return _own_function(value, type(value))


def _own_function(value: object, cls: type) -> bool:
    return cls is types.FunctionType and "_getattr_" in value.__globals__  # type: ignore[attr-defined]


def write_attribute(value: object, name: str, item: object) -> None:
    """Answer `setattr`."""
    setattr(check_writable(value, name), name, item)


def delete_attribute(value: object, name: str) -> None:
    """Answer `delattr`."""
    delattr(check_writable(value, name), name)


def check_words(words: list[Any]) -> None:
    """Check names that a cell gives as data, for instance the fields of a namedtuple."""
    for word in words:
        if type(word) is not str:
            raise TypeError("a field name must be a string")
        if word in allowed_names.HIDDEN_NAMES:
            raise ValueError(f'"{word}" is a reserved name')


def adopt_class(cls: type) -> None:
    """Treat a class that trusted code made for a cell as one of its own."""
    _CELL_CLASSES.add(cls)


def _class_name(cls: type) -> str:
    return repr(type.__getattribute__(cls, "__name__"))


def shown_name(base: object) -> str:
    return _class_name(base) if isinstance(base, type) else _class_name(type(base))


keep_internal(TypeStandIn, InstanceVariables)


formatting.read_attribute = read_attribute
