"""Check a model's JSON reply against a JSON Schema (draft 2020-12), by `jsonschema`.

A schema comes from a model, so it is hostile input. `pattern` is answered by RE2; `$ref` names a
part of the same schema and is put in its place, so that no schema refers to itself or grows
without a bound; what could run long or reach a network is refused. A check that is silently left
out is no check: an unknown keyword is an error.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from rlm_mcp.corpus.search import compile_text_pattern
from rlm_mcp.errors import BadRequest, did_you_mean

MAX_PARTS = 1_000
"""Parts that a schema may have once its references are in place."""
MAX_DEPTH = 20
SAID_CHARS = 200
"""Characters of a part of the schema that an error quotes."""
_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated",
     "readOnly", "writeOnly", "format"}
)  # fmt: skip
_PARTS_BY_NAME = ("properties", "$defs", "definitions")
_LISTS_OF_PARTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_PARTS = ("items", "additionalProperties", "propertyNames", "contains", "not", "if", "then", "else")
_CHECKS = (
    "type", "enum", "const", "required", "dependentRequired", "pattern", "minLength", "maxLength",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems",
    "maxItems", "uniqueItems", "minContains", "maxContains", "minProperties", "maxProperties",
)  # fmt: skip
KEYWORDS = (*_CHECKS, *_PARTS, *_LISTS_OF_PARTS, *_PARTS_BY_NAME, "$ref")
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL)


def parse_schema(text: str) -> dict[str, Any]:
    """Read a schema; its references are put in place. Raises BadRequest that says what is wrong."""
    try:
        schema = json.loads(text)
    except RecursionError:
        raise BadRequest("The schema is nested too deeply.") from None
    except ValueError as error:
        raise BadRequest(f"The schema is not JSON: {error}.") from error
    if not isinstance(schema, dict):
        raise BadRequest('The schema is a JSON object, as in {"type": "array"}.')
    whole = _SchemaReader(schema).read_part(schema, 0, ())
    from jsonschema.exceptions import SchemaError

    try:
        _validator_class().check_schema(whole)
    except SchemaError as error:
        place = error.json_path.removeprefix("$").lstrip(".") or "it"
        raise BadRequest(
            f"The schema's {place!r} has a value of the wrong kind: {error.message[:SAID_CHARS]}."
        ) from error
    return dict(whole)


def value_in(reply: str) -> Any:
    """Return the JSON value of a reply, which may stand in a fence. Raises ValueError."""
    found = _FENCE.search(reply)
    try:
        text = found[1] if found else reply
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite_float)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def schema_errors(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each place where `value` does not fit a schema that was read."""
    try:
        for error in _validator_class()(schema).iter_errors(value):
            yield _error_sentence(error)
    except RecursionError:
        yield "$ is nested too deeply"


def _error_sentence(error: Any) -> str:
    place, keyword, wanted = error.json_path, error.validator, error.validator_value
    if keyword is None:
        return f"{place} is not allowed"
    if keyword == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"{place} is not of type {' or '.join(kinds)}"
    if keyword in ("required", "additionalProperties", "dependentRequired"):
        return f"{place}: {error.message[:SAID_CHARS]}"
    return f"{place} does not fit {keyword} {json.dumps(wanted)[:SAID_CHARS]}"


@cache
def _validator_class() -> Any:
    """Return the validator of the draft, with RE2 for patterns. Importing it takes 100 ms."""
    from jsonschema import Draft202012Validator, ValidationError, validators

    def check_pattern(_: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:
        if isinstance(value, str) and not compile_text_pattern(pattern)(value):
            yield ValidationError("does not match")

    def check_unique(_: Any, wanted: bool, value: Any, schema: Any) -> Iterator[Any]:
        if not wanted or not isinstance(value, list):
            return
        if len({_canonical_json(item) for item in value}) < len(value):
            yield ValidationError("has equal items")

    changed = {"pattern": check_pattern, "uniqueItems": check_unique}
    return validators.extend(Draft202012Validator, changed)  # type: ignore[no-untyped-call]


class _SchemaReader:
    """Reads one schema: refuses what is not checked here, and puts references in place."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema
        self._count = 0

    def read_part(self, part: Any, depth: int, within: tuple[str, ...]) -> Any:
        """Return a part without references; `within` are those that led to it."""
        self._count += 1
        if isinstance(part, bool):
            return part
        if not isinstance(part, dict) or depth > MAX_DEPTH:
            raise BadRequest("A part of the schema is no JSON object, or is nested too deeply.")
        if self._count > MAX_PARTS:
            raise BadRequest(f"The schema has more than {MAX_PARTS:,} parts; make it simpler.")
        read: dict[str, Any] = {}
        for name, value in part.items():
            if name in _ANNOTATIONS:
                continue
            if name not in KEYWORDS:
                raise BadRequest(
                    f"The schema uses {name!r}, which is not checked here."
                    f"{did_you_mean(name, KEYWORDS)} Known: {', '.join(KEYWORDS)}."
                )
            if name == "$ref":
                found = self._find_part(value, within)
                extra = self.read_part(found, depth + 1, (*within, value))
                read.setdefault("allOf", []).append(extra)
            elif name in ("$defs", "definitions"):
                continue  # read where a reference names them
            else:
                inner = self._read_value(name, value, depth, within)
                read[name] = [*read.get("allOf", []), *inner] if name == "allOf" else inner
        return read

    def _read_value(self, name: str, value: Any, depth: int, within: tuple[str, ...]) -> Any:
        if name == "properties" and isinstance(value, dict):
            return {key: self.read_part(item, depth + 1, within) for key, item in value.items()}
        if name in _LISTS_OF_PARTS and isinstance(value, list):
            return [self.read_part(item, depth + 1, within) for item in value]
        if name in _PARTS:
            return self.read_part(value, depth + 1, within)
        if name == "pattern" and isinstance(value, str):
            compile_text_pattern(value)
        if name in (*_PARTS_BY_NAME, *_LISTS_OF_PARTS):
            raise BadRequest(f"The schema's {name!r} has a value of the wrong kind.")
        return value

    def _find_part(self, ref: Any, within: tuple[str, ...]) -> Any:
        if not isinstance(ref, str) or not re.match(r"#(/|$)", ref):
            raise BadRequest(
                f"The schema refers to {str(ref)[:SAID_CHARS]!r}; only parts of its own, as in "
                "#/$defs/name, can be referred to."
            )
        if ref in within or ref == "#":
            raise BadRequest(f"The schema's {ref!r} contains itself, which is not checked here.")
        found: Any = self._schema
        for step in ref[2:].split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                raise BadRequest(f"The schema refers to {ref!r}, which it does not hold.")
        return found


def _canonical_json(value: Any) -> str:
    """Return the same text for values that JSON Schema takes for equal."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return f"[{','.join(map(_canonical_json, value))}]"
    if isinstance(value, dict):
        inner = (f"{json.dumps(key)}:{_canonical_json(value[key])}" for key in sorted(value))
        return f"{{{','.join(inner)}}}"
    return json.dumps(value)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value
