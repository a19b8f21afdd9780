"""Editing TOML: our table in and out, every other byte as it was."""

from __future__ import annotations

import tomllib

import pytest

from rlm_mcp.clients import patch, toml
from rlm_mcp.errors import BadRequest

KEYS = ("mcp_servers", "rlm")
ENTRY = {"command": "rlm-mcp", "args": ["serve"], "tool_timeout_sec": 130}

FILES = {
    "absent": "",
    "no line end": 'model = "x"',
    "other tables": (
        '# mine\nmodel = "x"\n\n[mcp_servers.a]\ncommand = "y" # why\n\n# next\n[tui]\nz = 1\n'
    ),
    "windows": 'model = "x"\r\n[tui]\r\nz = 1\r\n',
    "array of tables": "[[things]]\na = 1\n[[things]]\na = 2\n",
}


def edited(text: str, edits: list[patch.TextEdit]) -> str:
    return patch.apply_edits(text, edits)[0]


@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
def test_our_table_goes_in_behind_what_is_there(text: str) -> None:
    after = edited(text, toml.set_entry(text, KEYS, ENTRY))
    assert after.startswith(text)
    wanted = toml.load_document(text)
    wanted.setdefault("mcp_servers", {})["rlm"] = ENTRY
    assert toml.load_document(after) == wanted
    assert toml.set_entry(after, KEYS, ENTRY) == []


def test_taking_out_leaves_neighbours_and_comments() -> None:
    text = (
        '[mcp_servers.rlm]\ncommand = "x"\n\n[mcp_servers.rlm.env]\nA = "1"\n\n'
        '# about b\n[mcp_servers.b]\ncommand = "y"\n'
    )
    after = edited(text, toml.remove_entry(text, KEYS))
    assert tomllib.loads(after) == {"mcp_servers": {"b": {"command": "y"}}}
    assert "# about b" in after


def test_a_quoted_header_is_ours_too_and_a_longer_name_is_not() -> None:
    text = '[mcp_servers."rlm"]\na = 1\n[mcp_servers.rlm2]\nb = 2\n'
    after = edited(text, toml.remove_entry(text, KEYS))
    assert tomllib.loads(after) == {"mcp_servers": {"rlm2": {"b": 2}}}


def test_an_old_table_is_replaced_where_it_stands() -> None:
    text = '[mcp_servers.rlm]\ncommand = "old"\n\n[tui]\nz = 1\n'
    after = edited(text, toml.set_entry(text, KEYS, ENTRY))
    assert tomllib.loads(after) == {"mcp_servers": {"rlm": ENTRY}, "tui": {"z": 1}}
    assert after.index("rlm") < after.index("[tui]")


def test_a_broken_file_is_refused() -> None:
    with pytest.raises(BadRequest):
        toml.set_entry("a = = 1", KEYS, ENTRY)


def test_strings_with_quotes_and_controls_survive() -> None:
    entry = {"command": 'C:\\a "b"\n\x7f\x00é'}
    assert (
        toml.load_document(edited("", toml.set_entry("", KEYS, entry)))["mcp_servers"]["rlm"]
        == entry
    )
