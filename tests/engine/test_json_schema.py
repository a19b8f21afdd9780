"""JSON replies against schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.engine import json_schema
from rlm_mcp.errors import BadRequest

jsonschema = pytest.importorskip("jsonschema")

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"name": "x", "age": 3}, ""),
        ({"age": 3}, "lacks 'name'"),
        ({"name": ""}, "minLength"),
        ({"name": "x", "age": "3"}, "$.age is not of type integer"),
        ({"name": "x", "age": True}, "$.age is not of type integer"),
        ({"name": "x", "more": 1}, "'more'"),
        ([1], "not of type object"),
    ],
)
def test_errors_name_the_place(value: Any, said: str) -> None:
    found = list(json_schema.schema_errors(value, PERSON))
    assert (said in found[0]) if said else not found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object"),
        ('{"typ": "string"}', "Did you mean type"),
        ('{"pattern": "(a+)+"}', "not checked here"),
        ('{"$ref": "#"}', "not checked here"),
        ('{"type": "text"}', "wrong kind"),
        ('{"items": {"properties": {"a": {"if": 1}}}}', "not checked here"),
    ],
)
def test_a_schema_that_cannot_be_checked_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said.replace("(", r"\(")):
        json_schema.parse_schema(text)


def test_a_reply_in_a_fence_is_read() -> None:
    assert json_schema.value_in('Here:\n```json\n{"a": [1]}\n```') == {"a": [1]}
    with pytest.raises(ValueError, match="NaN"):
        json_schema.value_in("[NaN]")
    with pytest.raises(ValueError, match="1e999 is too large"):
        json_schema.value_in('{"a": 1e999}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text("ab", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)
types = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
leaves = st.fixed_dictionaries(
    {},
    optional={
        "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
        "enum": st.lists(json_values, min_size=1, max_size=3),
        "const": json_values,
        "minLength": st.integers(0, 3),
        "maxItems": st.integers(0, 3),
        "minimum": st.integers(-3, 3),
        "required": st.lists(st.sampled_from("ab"), unique=True),
    },
)
schemas = st.recursive(
    leaves,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "items": inner,
            "properties": st.dictionaries(st.sampled_from("ab"), inner),
            "additionalProperties": st.booleans() | inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=4,
)


@given(value=json_values, wanted=schemas)
def test_it_agrees_with_the_reference_validator(value: Any, wanted: dict[str, Any]) -> None:
    ours = not list(json_schema.schema_errors(value, json_schema.parse_schema(json.dumps(wanted))))
    theirs = jsonschema.Draft202012Validator(wanted).is_valid(value)
    assert ours == theirs
