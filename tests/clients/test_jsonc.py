"""Editing JSON with comments: our member in and out, every other byte as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlm_mcp.clients import jsonc, patch
from rlm_mcp.errors import BadRequest

KEYS = ("mcpServers", "rlm")
ENTRY = {"command": "rlm-mcp", "args": ["serve"]}

FILES = {
    "absent": "",
    "empty object": "{}",
    "empty object, own line": "{\n}\n",
    "no servers": '{\n  "theme": "dark"\n}\n',
    "no servers, four spaces": '{\n    "theme": "dark",\n    "n": 1\n}\n',
    "tabs": '{\n\t"mcpServers": {\n\t\t"a": {"command": "x"}\n\t}\n}\n',
    "empty servers": '{\n  "mcpServers": {}\n}\n',
    "other server": '{\n  "mcpServers": {\n    "a": {\n      "command": "x"\n    }\n  }\n}\n',
    "trailing commas": '{\n  "mcpServers": {\n    "a": {"command": "x",},\n  },\n}\n',
    "windows": '{\r\n  "mcpServers": {\r\n    "a": {"command": "x"}\r\n  }\r\n}\r\n',
    "byte order mark": '\ufeff{\n  "mcpServers": {\n    "a": {}\n  }\n}\n',
    "minified": '{"mcpServers":{"a":{"command":"x"}},"z":[1,2]}',
    "line comments": (
        '// mine\n{\n  // servers\n  "mcpServers": {\n    "a": {} // the first, {not a brace}\n'
        "    // and nothing else\n  } // end\n}\n// after\n"
    ),
    "block comments": '{ /* a */ "mcpServers" /* b */ : /* c */ { "a": {} /* d */ } /* e */ }',
    "only a comment": "// nothing here yet\n",
    "comment in the empty object": '{\n  "mcpServers": {\n    // none yet\n  }\n}\n',
    "looks like a comment": '{\n  "url": "http://x/*y*/", "mcpServers": {"a": {"u": "//"}}\n}\n',
    "duplicate keys": '{\n  "mcpServers": {"b": 1},\n  "mcpServers": {"a": {}}\n}\n',
    "escapes": '{\n  "mcpServers": {"a\\"}": {"k": "\\u007b"}}\n}\n',
}


def edited(text: str, edits: list[patch.TextEdit]) -> str:
    return patch.apply_edits(text, edits)[0]


@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
def test_our_member_goes_in_and_all_else_means_the_same(text: str) -> None:
    wanted = jsonc.load_document(text)
    wanted.setdefault("mcpServers", {})["rlm"] = ENTRY
    assert jsonc.load_document(edited(text, jsonc.set_entry(text, KEYS, ENTRY))) == wanted


@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
def test_putting_in_removes_not_one_character(text: str) -> None:
    after = edited(text, jsonc.set_entry(text, KEYS, ENTRY))
    position = 0
    for char in text:
        position = after.find(char, position) + 1
        assert position, f"{char!r} of the user's file is gone"


@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
def test_putting_in_twice_changes_nothing_the_second_time(text: str) -> None:
    once = edited(text, jsonc.set_entry(text, KEYS, ENTRY))
    assert jsonc.set_entry(once, KEYS, ENTRY) == []


@pytest.mark.parametrize(
    "name", ["tabs", "other server", "windows", "byte order mark", "line comments"]
)
def test_taking_out_gives_the_file_back_byte_for_byte(name: str) -> None:
    text = FILES[name]
    after = edited(text, jsonc.set_entry(text, KEYS, ENTRY))
    assert after != text
    assert edited(after, jsonc.remove_entry(after, KEYS)) == text


def test_an_entry_in_the_middle_goes_with_its_comma_and_leaves_its_neighbours() -> None:
    text = '{\n  "mcpServers": {\n    "a": {},\n    "rlm": {"x": 1}, // ours\n    "b": {}\n  }\n}\n'
    after = edited(text, jsonc.remove_entry(text, KEYS))
    assert jsonc.load_document(after) == {"mcpServers": {"a": {}, "b": {}}}
    assert "// ours" in after


def test_an_entry_that_stands_twice_goes_twice() -> None:
    text = '{"mcpServers": {"rlm": 1, "a": 2, "rlm": 3}}'
    assert jsonc.load_document(edited(text, jsonc.remove_entry(text, KEYS))) == {
        "mcpServers": {"a": 2}
    }


def test_an_old_entry_is_replaced_where_it_stands() -> None:
    text = '{\n  "mcpServers": {\n    "rlm": {"command": "old"}, // mine\n    "z": 1\n  }\n}\n'
    after = edited(text, jsonc.set_entry(text, KEYS, ENTRY))
    assert jsonc.load_document(after) == {"mcpServers": {"rlm": ENTRY, "z": 1}}
    assert after.index('"rlm"') < after.index("// mine") < after.index('"z"')


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "not an object"),
        ('{"a": }', "column 7"),
        ('{"a": 1 "b": 2}', "comma"),
        ('{\n"a": tru\n}', "line 2"),
        ("{", "key was expected"),
        ('{"a": "\n"}', "value"),
        ("{} {}", "after the end"),
        ("{" * 5000, "key"),
        ('{"a":' * 5000, "deep"),
        ("/* never closed", "value"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(text: str, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        jsonc.set_entry(text, KEYS, ENTRY)


def test_a_key_that_is_no_object_is_refused() -> None:
    with pytest.raises(BadRequest, match="mcpServers"):
        jsonc.set_entry('{"mcpServers": []}', KEYS, ENTRY)


words = st.text('ab"\\/*{}:,é\n', max_size=5)
scalars = st.none() | st.booleans() | st.integers() | words
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(words, values, max_size=4),
    st.none() | st.dictionaries(words, values, max_size=3),
    st.sampled_from([None, 1, 2, 4, "\t"]),
)
def test_any_document_keeps_its_meaning_and_comes_back(
    document: dict[str, Any], servers: dict[str, Any] | None, indent: int | str | None
) -> None:
    document.pop("mcpServers", None)
    if servers is not None:
        servers.pop("rlm", None)
        document["mcpServers"] = servers
    text = json.dumps(document, indent=indent)
    after = edited(text, jsonc.set_entry(text, KEYS, ENTRY))
    wanted = json.loads(text)
    wanted.setdefault("mcpServers", {})["rlm"] = ENTRY
    assert json.loads(after) == wanted
    back = json.loads(edited(after, jsonc.remove_entry(after, KEYS)))
    wanted["mcpServers"].pop("rlm")
    assert back == wanted
