"""`typing` and named tuples for cells: annotations are inert, what does something is safe."""

from __future__ import annotations

import collections
import collections.abc
import typing
from typing import Any

from rlm_mcp.sandbox import guards


def named_tuple(name: str, fields: Any, **options: Any) -> Any:
    """Answer `collections.namedtuple`."""
    words = fields.replace(",", " ").split() if isinstance(fields, str) else list(fields)
    guards.check_words(words)
    options.pop("module", None)
    made = collections.namedtuple(name, words, module="__main__", **options)  # type: ignore[misc]
    guards.adopt_class(made)
    return made


class Annotation:
    """Stands for a name of `typing`: can be subscripted and joined, and means nothing."""

    __slots__ = ("_text", "checked_as")

    def __init__(self, text: str, checked_as: Any = None) -> None:
        self._text = text
        self.checked_as = checked_as

    def __getitem__(self, item: object) -> Annotation:
        return self

    def __or__(self, other: object) -> Annotation:
        return self

    __ror__ = __or__

    def __call__(self, *_: object, **__: object) -> Annotation:
        return self

    def __repr__(self) -> str:
        return self._text

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return _BASES.get(self._text.removeprefix("typing."), ())


class GenericBase:
    """`typing.Generic` as a base: the class can be subscripted."""

    def __class_getitem__(cls, item: object) -> type:
        return cls


_BASES: dict[str, tuple[type, ...]] = {"TypedDict": (dict,), "Generic": (GenericBase,)}


class NamedTupleBase:
    """`typing.NamedTuple`, as a base or called."""

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (typing._NamedTuple,)  # type: ignore[attr-defined]

    def __call__(self, name: str, fields: Any) -> Any:
        return named_tuple(name, [word for word, _ in fields])


_STANDINS = (Annotation,)
_ANNOTATIONS = [
    "Any",
    "Union",
    "Optional",
    "List",
    "Dict",
    "Tuple",
    "Set",
    "FrozenSet",
    "Deque",
    "DefaultDict",
    "Callable",
    "Type",
    "Literal",
    "Final",
    "ClassVar",
    "Annotated",
    "Iterable",
    "Iterator",
    "Generator",
    "Mapping",
    "MutableMapping",
    "Sequence",
    "MutableSequence",
    "Awaitable",
    "Coroutine",
    "Collection",
    "Container",
    "Hashable",
    "Sized",
    "Text",
    "AnyStr",
    "NoReturn",
    "Never",
    "Self",
    "Generic",
    "Protocol",
    "TypeAlias",
    "TypeGuard",
    "Concatenate",
    "Pattern",
    "Match",
    "SupportsFloat",
    "SupportsInt",
    "SupportsIndex",
    "TypedDict",
    "Required",
    "NotRequired",
    "LiteralString",
    "Counter",
    "OrderedDict",
    "Reversible",
    "AbstractSet",
    "IO",
    "TextIO",
]


def typing_exports() -> dict[str, Any]:
    """Return `typing` for cells: annotations are inert, what does something is safe."""
    exports: dict[str, Any] = {name: Annotation(f"typing.{name}") for name in _ANNOTATIONS}
    for name in ("Callable", "Iterable", "Iterator", "Mapping", "Sequence", "Hashable"):
        exports[name].checked_as = getattr(collections.abc, name)
    for name, kind in {"List": list, "Dict": dict, "Tuple": tuple, "Set": set}.items():
        exports[name].checked_as = kind
    exports |= {
        "NamedTuple": NamedTupleBase(),
        "TypeVar": lambda name, *_, **__: Annotation(f"~{name}"),
        "NewType": lambda name, kind: kind,
        "TYPE_CHECKING": False,
        "cast": typing.cast,
        "overload": lambda function: function,
        "runtime_checkable": lambda cls: cls,
        "final": lambda item: item,
    }
    return exports
