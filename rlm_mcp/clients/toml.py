"""Edit one table of a TOML document, leaving every other byte as it is.

The standard library reads TOML but does not write it; one table of plain values is all we write.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from rlm_mcp.clients.patch import TextEdit
from rlm_mcp.errors import BadRequest

_HEADER = re.compile(r"^[ \t]*\[\[?[^\n]*", re.MULTILINE)


def load_document(text: str) -> dict[str, Any]:
    """Return the document's value. Raises BadRequest with the position."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise BadRequest(str(error)) from error


def set_entry(text: str, keys: Sequence[str], entry: Mapping[str, Any]) -> list[TextEdit]:
    """Return the edits that set the table at `keys` to `entry` (plain values only)."""
    value: Any = load_document(text)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if value == entry:
        return []
    newline = "\r\n" if "\r\n" in text else "\n"
    block = newline.join(_table_lines(keys, entry)) + newline
    old = remove_entry(text, keys)
    if old:
        return [TextEdit(old[0].start, old[0].end, block), *old[1:]]
    lead = "" if not text.strip("\ufeff") else newline if text.endswith("\n") else newline * 2
    return [TextEdit(len(text), len(text), lead + block)]


def remove_entry(text: str, keys: Sequence[str]) -> list[TextEdit]:
    """Return the edits that take the table at `keys`, and those below it, out."""
    load_document(text)
    path = r"[ \t]*\.[ \t]*".join(rf"(?:{re.escape(key)}|\"{re.escape(key)}\")" for key in keys)
    ours = re.compile(rf"[ \t]*\[[ \t]*{path}[ \t]*(?:\.[^\]\n]*)?\]")
    headers = list(_HEADER.finditer(text))
    edits = []
    for place, header in enumerate(headers):
        if not ours.match(header[0]):
            continue
        limit = headers[place + 1].start() if place + 1 < len(headers) else len(text)
        body = text[header.start() : limit].splitlines(keepends=True)
        while len(body) > 1 and (not body[-1].strip() or body[-1].lstrip().startswith("#")):
            body.pop()
        edits.append(TextEdit(header.start(), header.start() + sum(map(len, body)), ""))
    return edits


def format_entry(keys: Sequence[str], entry: Mapping[str, Any]) -> str:
    """Return the table as it would stand in the file, for people."""
    return "\n" + "\n".join(_table_lines(keys, entry))


def _table_lines(keys: Sequence[str], entry: Mapping[str, Any]) -> list[str]:
    return [f"[{'.'.join(keys)}]", *(f"{key} = {_dump_value(item)}" for key, item in entry.items())]


def _dump_value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_dump_value, value)) + "]"
    # A JSON string, number or boolean is the same in TOML; DEL is the one exception.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
