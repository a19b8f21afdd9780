"""Check a model's JSON reply against a JSON Schema, without a library.

Understands type, enum, const, properties, required, additionalProperties, items, minItems,
maxItems, minLength, maxLength, minimum, maximum, anyOf, oneOf, allOf, and ignores annotations.
A schema that uses anything else is refused: a check that is silently left out is no check.
(`pattern` is left out on purpose: a schema comes from a model, and regular expressions of
strangers are not run here.)
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from rlm_mcp.errors import BadRequest, did_you_mean

_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "$schema", "$id"})
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: _is_number(value) and value == int(value),
    "number": lambda value: _is_number(value),
}
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL)


def parse_schema(text: str) -> dict[str, Any]:
    """Read a schema. Raises BadRequest that says what is wrong with it."""
    try:
        schema = json.loads(text)
    except RecursionError:
        raise BadRequest("The schema is nested too deeply.") from None
    except ValueError as error:
        raise BadRequest(f"The schema is not JSON: {error}.") from error
    if not isinstance(schema, dict):
        raise BadRequest('The schema is a JSON object, as in {"type": "array"}.')
    _check_schema(schema, 0)
    return schema


def value_in(reply: str) -> Any:
    """Return the JSON value of a reply, which may stand in a fence. Raises ValueError."""
    found = _FENCE.search(reply)
    try:
        text = found[1] if found else reply
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite_float)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def schema_errors(value: Any, schema: dict[str, Any], place: str = "$") -> Iterator[str]:
    """Yield a sentence for each place where `value` does not fit."""
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_TYPES[name](value) for name in types):
        yield f"{place} is not of type {' or '.join(types)}"
        return
    if "enum" in schema and not any(_same_json(value, item) for item in schema["enum"]):
        yield f"{place} is not one of {json.dumps(schema['enum'])[:200]}"
    if "const" in schema and not _same_json(value, schema["const"]):
        yield f"{place} is not {json.dumps(schema['const'])[:200]}"
    if isinstance(value, dict):
        yield from _object_errors(value, schema, place)
    elif isinstance(value, list):
        yield from _bound_errors(len(value), schema, "minItems", "maxItems", place, "items")
        if "items" in schema:
            for number, item in enumerate(value):
                yield from schema_errors(item, schema["items"], f"{place}[{number}]")
    elif isinstance(value, str):
        yield from _bound_errors(len(value), schema, "minLength", "maxLength", place, "characters")
    elif _is_number(value):
        yield from _bound_errors(value, schema, "minimum", "maximum", place, "")
    yield from _combined_errors(value, schema, place)


def _object_errors(value: dict[str, Any], schema: dict[str, Any], place: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            yield f"{place} lacks {name!r}"
    more = schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in properties:
            yield from schema_errors(item, properties[name], f"{place}.{name}")
        elif more is False:
            yield f"{place} has {name!r}, which the schema does not allow"
        elif isinstance(more, dict):
            yield from schema_errors(item, more, f"{place}.{name}")


def _combined_errors(value: Any, schema: dict[str, Any], place: str) -> Iterator[str]:
    for part in schema.get("allOf", []):
        yield from schema_errors(value, part, place)
    for name in ("anyOf", "oneOf"):
        if name in schema:
            fits = sum(not any(schema_errors(value, part, place)) for part in schema[name])
            if fits == 0 or (name == "oneOf" and fits > 1):
                yield f"{place} fits {fits} of the alternatives in {name}"


def _bound_errors(
    size: float, schema: dict[str, Any], low: str, high: str, place: str, unit: str
) -> Iterator[str]:
    if low in schema and size < schema[low]:
        yield f"{place} is below {low} {schema[low]} {unit}".rstrip()
    if high in schema and size > schema[high]:
        yield f"{place} is above {high} {schema[high]} {unit}".rstrip()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same_json(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _check_schema(schema: Any, depth: int) -> None:
    if not isinstance(schema, dict) or depth > 20:
        raise BadRequest("A part of the schema is no JSON object, or is nested too deeply.")
    for name, value in schema.items():
        if name in _ANNOTATIONS:
            continue
        if name not in _CHECKS:
            raise BadRequest(
                f"The schema uses {name!r}, which is not checked here.{did_you_mean(name, _CHECKS)}"
                f" Known: {', '.join(_CHECKS)}."
            )
        if not _CHECKS[name](value):
            raise BadRequest(f"The schema's {name!r} has a value of the wrong kind.")
        for part in _nested_schemas(name, value):
            _check_schema(part, depth + 1)


def _nested_schemas(name: str, value: Any) -> list[Any]:
    """Return the schemas inside the value of a keyword."""
    if name == "properties":
        return list(value.values())
    if name in ("anyOf", "oneOf", "allOf"):
        return list(value)
    return (
        [value]
        if name in ("items", "additionalProperties") and value is not True and value is not False
        else []
    )


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_type(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return _is_names(names) and bool(names) and all(name in _TYPES for name in names)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "type": _is_type,
    "enum": lambda value: isinstance(value, list),
    "const": lambda value: True,
    "properties": lambda value: isinstance(value, dict),
    "required": _is_names,
    "additionalProperties": lambda value: isinstance(value, (bool, dict)),
    "items": lambda value: isinstance(value, dict),
    "minItems": _is_number,
    "maxItems": _is_number,
    "minLength": _is_number,
    "maxLength": _is_number,
    "minimum": _is_number,
    "maximum": _is_number,
    "anyOf": lambda value: isinstance(value, list) and bool(value),
    "oneOf": lambda value: isinstance(value, list) and bool(value),
    "allOf": lambda value: isinstance(value, list),
}
