"""`str.format` for cells: the same result, with fields read through the guard.

The built-in method walks attributes and items by names in the text, which would go around every
guard; so each value is looked up here and formatted by `format()`.
"""

from __future__ import annotations

import string
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_PARSE = string.Formatter().parse


def _no_guard(value: object, name: str) -> Any:
    raise AttributeError(f"the attribute {name!r} is not available here")


read_attribute: Callable[[object, str], Any] = _no_guard
"""How an attribute in a field is read; set by the guards, which use this module in their turn."""


def safe_method(found: Any, name: str) -> Any:
    """Return the safe form of `str.format` or `str.format_map`, or `found` if it is neither."""
    if isinstance(found, types.BuiltinMethodType) and isinstance(found.__self__, str):
        text = str.__str__(found.__self__)
        return _BoundFormat(text, name)
    if isinstance(found, types.MethodDescriptorType) and issubclass(found.__objclass__, str):
        return _unbound_format if name == "format" else _unbound_format_map
    return found


class _BoundFormat:
    __slots__ = ("_mapped", "_text")

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._mapped = name == "format_map"

    def __call__(self, *positional: Any, **named: Any) -> str:
        if self._mapped:
            (mapping,) = positional
            return format_text(self._text, (), mapping)
        return format_text(self._text, positional, named)

    def __repr__(self) -> str:
        return f"<built-in method {'format_map' if self._mapped else 'format'} of str object>"


def _unbound_format(text: str, *positional: Any, **named: Any) -> str:
    return format_text(str.__str__(text), positional, named)


def _unbound_format_map(text: str, mapping: Mapping[str, Any]) -> str:
    return format_text(str.__str__(text), (), mapping)


def format_text(text: str, positional: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Return `text.format(*positional, **named)`."""
    return _Formatting(positional, named).format_text(text, 2)


class _Formatting:
    def __init__(self, positional: Sequence[Any], named: Mapping[str, Any]) -> None:
        self.positional = positional
        self.named = named
        self.next = 0  # the number of the next {}; -1 once numbers are written out

    def format_text(self, text: str, depth: int) -> str:
        if depth < 0:
            raise ValueError("Max string recursion exceeded")
        parts = []
        for literal, field, spec, conversion in _PARSE(text):
            parts.append(literal)
            if field is not None:
                value = self.field_value(field)
                if conversion:
                    value = _convert_value(value, conversion)
                filled = self.format_text(spec, depth - 1) if spec and "{" in spec else spec or ""
                parts.append(format(value, filled))
        return "".join(parts)

    def field_value(self, field: str) -> Any:
        first, rest = _split_field(field)
        value = self.first_value(first)
        for is_attribute, key in rest:
            value = (
                read_attribute(value, key)
                if is_attribute
                else value[int(key) if key.isdigit() else key]
            )
        return value

    def first_value(self, word: str) -> Any:
        if word == "":
            if self.next < 0:
                raise ValueError(
                    "cannot switch from manual field specification to automatic field numbering"
                )
            self.next += 1
            return self.positional_value(self.next - 1)
        if not word.isdigit():
            return self.named[word]
        if self.next > 0:
            raise ValueError(
                "cannot switch from automatic field numbering to manual field specification"
            )
        self.next = -1
        return self.positional_value(int(word))

    def positional_value(self, index: int) -> Any:
        if index >= len(self.positional):
            raise IndexError(f"Replacement index {index} out of range for positional args tuple")
        return self.positional[index]


def _convert_value(value: Any, conversion: str) -> str:
    if conversion == "r":
        return repr(value)
    if conversion == "s":
        return str(value)
    if conversion == "a":
        return ascii(value)
    raise ValueError(f"Unknown conversion specifier {conversion!s}")


def _split_field(field: str) -> tuple[str, list[tuple[bool, str]]]:
    """Split `a.b[c]` into its first word and its (is attribute, key) steps."""
    end = min((place for place in (field.find("."), field.find("[")) if place >= 0), default=-1)
    if end < 0:
        return field, []
    first, rest = field[:end], field[end:]
    steps: list[tuple[bool, str]] = []
    while rest:
        if rest[0] == ".":
            ends = [place for mark in ".[" if (place := rest.find(mark, 1)) > 0]
            stop = min(ends, default=len(rest))
            key, rest = rest[1:stop], rest[stop:]
            steps.append((True, key))
        elif rest[0] == "[":
            stop = rest.find("]")
            if stop < 0:
                raise ValueError("Missing ']' in format string")
            steps.append((False, rest[1:stop]))
            rest = rest[stop + 1 :]
        else:
            raise ValueError("Only '.' or '[' may follow ']' in format field specifier")
        if not steps[-1][1]:
            raise ValueError("Empty attribute in format string")
    return first, steps
