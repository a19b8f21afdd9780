"""How cells call the methods of a variable: names, help, and arguments from outside."""

from __future__ import annotations

import dataclasses
import inspect
import keyword
import re
import types
import typing
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from rlm_mcp.errors import BadRequest
from rlm_mcp.tool_table import DEFAULT_NAMES, RESERVED_NAMES, TOOL_ROWS
from rlm_mcp.variable.protocol import ResultList


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


_TAKEN_NAMES = RESERVED_NAMES.union(TOOL_ROWS)
"""Names that mean something else in an environment; the default variables keep theirs."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
"""What agents call their transcripts."""
_HANDLE = re.compile(r"r[0-9]+\Z")


def check_name(name: str) -> None:
    """Raise BadRequest for a name that a variable cannot have."""
    if not _NAME.match(name) or keyword.iskeyword(name):
        raise BadRequest(f"{name!r} is no usable name; write letters, digits and _, as docs2.")
    if name in DEFAULT_NAMES:
        raise BadRequest(f"The name {name!r} is the project's own; choose another, as my_{name}.")
    if _HANDLE.match(name) or name in _TAKEN_NAMES:
        raise BadRequest(f"The name {name!r} means something else; choose another, as my_{name}.")


def derive_name(source: str, taken: Container[str]) -> str:
    """Return a free name for a source: its last telling word, numbered where it is taken."""
    text = source.split("://", 1)[-1].rstrip("/*").removesuffix(".git")
    ranged = ".." in text.strip("./")
    text = text if ranged else re.split(r"[/\\:]", text)[-1]
    folder, slash, last = source.rpartition("/")
    if slash and any(char in last for char in "*?["):
        text = folder.rsplit("/", 1)[-1]
    named = ranged or "@" in text  # a revision, whose numbers tell
    stem = (
        text
        if named
        else re.sub(r"\.(?:txt|md|log|json|jsonl|csv|gz|bz2|xz|zst|[0-9]+)(?=\.|\Z)", "", text)
    )
    if _UUID.match(stem):
        stem = f"session_{stem[:8]}"
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_").lower()[:40]
    if not name or not name[0].isalpha():
        name = f"text_{name}".rstrip("_")
    if _HANDLE.match(name) or keyword.iskeyword(name) or name in _TAKEN_NAMES:
        name += "_"
        name += "context" if name + "context" not in taken else "2"
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


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
