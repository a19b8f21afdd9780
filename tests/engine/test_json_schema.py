"""JSON replies against schemas."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.engine import json_schema
from rlm_mcp.errors import BadRequest

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
        ({"age": 3}, "$: 'name' is a required property"),
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
        ('{"pattern": "(a"}', "missing"),
        ('{"pattern": "(?=a)b"}', "at character"),
        ('{"patternProperties": {"(a+)+": {}}}', "not checked here"),
        ('{"$ref": "#"}', "contains itself"),
        ('{"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}', "itself"),
        ('{"$ref": "https://host/schema.json"}', "only parts of its own"),
        ('{"$ref": "file:///etc/passwd"}', "only parts of its own"),
        ('{"$ref": "#/$defs/none"}', "does not hold"),
        ('{"type": "text"}', "wrong kind"),
        ('{"items": {"properties": {"a": {"unevaluatedItems": 1}}}}', "not checked here"),
        ('{"properties": [1]}', "wrong kind"),
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
def test_references_and_unique_items_agree_with_the_reference_validator(
    value: Any, wanted: dict[str, Any]
) -> None:
    outer = {"$defs": {"a/b": wanted}, "uniqueItems": True, "$ref": "#/$defs/a~1b"}
    ours = not list(json_schema.schema_errors(value, json_schema.parse_schema(json.dumps(outer))))
    assert ours == jsonschema.Draft202012Validator(outer).is_valid(value)


def test_a_pattern_is_answered_in_linear_time() -> None:
    read = json_schema.parse_schema('{"type": "string", "pattern": "^(a+)+$"}')
    assert not list(json_schema.schema_errors("a" * 50_000, read))
    assert list(json_schema.schema_errors("a" * 50_000 + "!", read)) == [
        '$ does not fit pattern "^(a+)+$"'
    ]


def test_references_that_multiply_are_refused() -> None:
    links = {
        f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(15)
    }
    text = json.dumps({"$defs": {**links, "d15": {"type": "string"}}, "$ref": "#/$defs/d0"})
    with pytest.raises(BadRequest, match=r"more than 1,000 parts|nested too deeply"):
        json_schema.parse_schema(text)


def test_many_items_are_compared_once_each() -> None:
    read = json_schema.parse_schema('{"uniqueItems": true}')
    mixed = [[n, str(n), {"a": n}] for n in range(20_000)]
    assert not list(json_schema.schema_errors(mixed, read))
    assert list(json_schema.schema_errors([*mixed, mixed[7]], read))


def test_a_schema_as_a_class_library_writes_it_is_read() -> None:
    wanted = {
        "$defs": {
            "Finding": {
                "properties": {"ref": {"title": "Ref", "type": "string"}, "line": {"minimum": 1}},
                "required": ["ref"], "title": "Finding", "type": "object",
            }
        },
        "properties": {"found": {"items": {"$ref": "#/$defs/Finding"}, "type": "array"}},
        "required": ["found"], "type": "object",
    }  # fmt: skip
    read = json_schema.parse_schema(json.dumps(wanted))
    assert not list(json_schema.schema_errors({"found": [{"ref": "a", "line": 2}]}, read))
    [said] = json_schema.schema_errors({"found": [{"line": 2}]}, read)
    assert said == "$.found[0]: 'ref' is a required property"
