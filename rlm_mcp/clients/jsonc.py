"""Edit one member of a JSON document with comments, leaving every other byte as it is.

Editors' files have comments and trailing commas, so that reading and printing them again would
lose something. Here the text is only scanned; a change is a list of edits at positions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rlm_mcp.clients.patch import TextEdit
from rlm_mcp.errors import BadRequest

_SPACE = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_ATOM = re.compile(r"[-+.\w]+")
_MAX_DEPTH = 100


@dataclass
class _Node:
    """A value in the text; `members` where it is an object."""

    start: int
    end: int
    value: Any
    members: list[_Member] = field(default_factory=list)


@dataclass
class _Member:
    key: str
    start: int
    node: _Node
    comma: int | None = None


def load_document(text: str) -> dict[str, Any]:
    """Return the document's value; an empty one is {}. Raises BadRequest with the line."""
    value = _parse_document(text).value
    assert isinstance(value, dict)
    return value


def set_entry(text: str, keys: Sequence[str], entry: dict[str, Any]) -> list[TextEdit]:
    """Return the edits that set the member at `keys` to `entry`."""
    root = _parse_document(text)
    if root.end == root.start:
        lead = "" if not text or text.endswith("\n") else _line_ending(text)
        return [
            TextEdit(
                len(text),
                len(text),
                lead + _dump_json(_nest_keys(keys, entry), "  ", "", "\n") + "\n",
            )
        ]
    node = root
    for depth, key in enumerate(keys):
        member = next((member for member in reversed(node.members) if member.key == key), None)
        if member is None:
            return _add_member(text, node, depth, key, _nest_keys(keys[depth + 1 :], entry))
        if depth == len(keys) - 1:
            if member.node.value == entry:
                return []
            lead = _line_indent(text, member.start)
            new = _dump_json(entry, _indent_unit(text, root), lead, _line_ending(text))
            return [TextEdit(member.node.start, member.node.end, new)]
        node = member.node
        if not isinstance(node.value, dict):
            raise BadRequest(f"{key!r} is not an object")
    raise AssertionError("keys is not empty")


def remove_entry(text: str, keys: Sequence[str]) -> list[TextEdit]:
    """Return the edits that take the member at `keys` out; none where it is not there."""
    node = _parse_document(text)
    for key in keys[:-1]:
        found = [member for member in node.members if member.key == key]
        if not found:
            return []
        node = found[-1].node
    edits: list[TextEdit] = []
    for place, member in enumerate(node.members):
        if member.key != keys[-1]:
            continue
        start = member.start
        line = text.rfind("\n", 0, start) + 1
        if not text[line:start].strip():
            start = max(line - 1, 0)
            if text[start - 1 : start] == "\r":
                start -= 1
        if member.comma is not None:
            edits.append(TextEdit(start, member.comma + 1, ""))
        else:
            edits.append(TextEdit(start, member.node.end, ""))
            before = node.members[place - 1] if place else None
            if before is not None and before.comma is not None and before.key != keys[-1]:
                edits.append(TextEdit(before.comma, before.comma + 1, ""))
    return sorted(edits)


def format_entry(keys: Sequence[str], entry: dict[str, Any]) -> str:
    """Return the entry as it would stand in the file, for people."""
    return json.dumps(_nest_keys(keys, entry))


def _add_member(text: str, node: _Node, depth: int, key: str, value: Any) -> list[TextEdit]:
    newline, root = _line_ending(text), _parse_document(text)
    unit = _indent_unit(text, root)
    if not node.members:
        lead = _line_indent(text, node.start)
        inner = _dump_json({key: value}, unit, lead, newline)
        at = _trimmed_end(text, node.end - 1)
        tail = "\n" in text[at : node.end - 1]
        return [TextEdit(at, at, inner[1 : inner.rindex(newline)] if tail else inner[1:-1])]
    last = node.members[-1]
    if "\n" not in text[node.start : node.members[0].start]:
        comma = "" if last.comma is not None else ","
        at = last.comma + 1 if last.comma is not None else last.node.end
        return [TextEdit(at, at, f"{comma} {json.dumps(key)}: {json.dumps(value)}")]
    lead = _line_indent(text, node.members[0].start)
    member = f"{newline}{lead}{json.dumps(key)}: {_dump_json(value, unit, lead, newline)}"
    at = _trimmed_end(text, node.end - 1)
    if last.comma is not None:
        return [TextEdit(at, at, member)]
    if at == last.node.end:
        return [TextEdit(at, at, "," + member)]
    return [TextEdit(last.node.end, last.node.end, ","), TextEdit(at, at, member)]


def _trimmed_end(text: str, end: int) -> int:
    """Return the position behind the last character before `end` that is not white."""
    return len(text[:end].rstrip())


def _nest_keys(keys: Sequence[str], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def _dump_json(value: Any, unit: str, lead: str, newline: str) -> str:
    lines = json.dumps(value, indent=unit, ensure_ascii=False).split("\n")
    return newline.join([lines[0], *(lead + line for line in lines[1:])])


def _line_ending(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _line_indent(text: str, position: int) -> str:
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _indent_unit(text: str, root: _Node) -> str:
    for member in root.members:
        lead = _line_indent(text, member.start)
        if lead and "\n" in text[root.start : member.start]:
            return lead
    return "  "


def _parse_document(text: str) -> _Node:
    start = _skip_space(text, 0)
    if start == len(text):
        return _Node(start, start, {})
    node = _parse_value(text, start, 0)
    end = _skip_space(text, node.end)
    if end != len(text):
        raise _syntax_error(text, end, "something after the end")
    if not isinstance(node.value, dict):
        raise _syntax_error(text, start, "it is not an object")
    return node


def _parse_value(text: str, at: int, depth: int) -> _Node:
    if depth > _MAX_DEPTH:
        raise _syntax_error(text, at, "nested too deep")
    if text.startswith("{", at):
        return _parse_object(text, at, depth)
    if text.startswith("[", at):
        return _parse_array(text, at, depth)
    match = _STRING.match(text, at) or _ATOM.match(text, at)
    if match is None:
        raise _syntax_error(text, at, "a value was expected")
    try:
        return _Node(at, match.end(), json.loads(match[0]))
    except ValueError:
        raise _syntax_error(text, at, "not a value") from None


def _parse_object(text: str, at: int, depth: int) -> _Node:
    members: list[_Member] = []
    position = _skip_space(text, at + 1)
    while not text.startswith("}", position):
        if members and members[-1].comma is None:
            raise _syntax_error(text, position, "a comma was expected")
        match = _STRING.match(text, position)
        colon = _skip_space(text, match.end()) if match else position
        if match is None or not text.startswith(":", colon):
            raise _syntax_error(text, position, "a key was expected")
        node = _parse_value(text, _skip_space(text, colon + 1), depth + 1)
        member = _Member(json.loads(match[0]), position, node)
        members.append(member)
        position = _skip_space(text, node.end)
        if text.startswith(",", position):
            member.comma = position
            position = _skip_space(text, position + 1)
    value = {member.key: member.node.value for member in members}
    return _Node(at, position + 1, value, members)


def _parse_array(text: str, at: int, depth: int) -> _Node:
    values: list[Any] = []
    position, comma = _skip_space(text, at + 1), True
    while not text.startswith("]", position):
        if not comma:
            raise _syntax_error(text, position, "a comma was expected")
        node = _parse_value(text, position, depth + 1)
        values.append(node.value)
        position = _skip_space(text, node.end)
        comma = text.startswith(",", position)
        if comma:
            position = _skip_space(text, position + 1)
    return _Node(at, position + 1, values)


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _syntax_error(text: str, at: int, what: str) -> BadRequest:
    line = text.count("\n", 0, at) + 1
    return BadRequest(f"{what} (line {line}, column {at - text.rfind(chr(10), 0, at)})")
