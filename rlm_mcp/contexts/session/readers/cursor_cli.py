"""Read Cursor CLI's chats: ~/.cursor/chats/<hash of the folder>/<id>/store.db.

The table `blobs` is a graph: messages are JSON, and what strings them together are protobuf
records whose fields are other blobs' ids. The newest root is named in `meta`; messages that it
does not reach were left behind, and are counted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.readers import cursor, database, places
from rlm_mcp.contexts.session.readers.reader import Reader, guarded
from rlm_mcp.contexts.session.turns import Block, Event, Found, Meta, Odd, Piece, Source

_ID = 32
"""Bytes of an id."""
_MOST = 200_000
"""Blobs that one chat may reach."""


def folders() -> list[Path]:
    return [Path.home() / ".cursor" / "chats"]


def detect(path: Path, head: bytes) -> bool:
    if path.name != "store.db" or not database.is_database(head):
        return False
    try:
        with database.opened(path) as db:
            return {"blobs", "meta"} <= database.tables(db)
    except (OSError, sqlite3.Error):
        return False


def native(path: Path) -> str:
    return path.parent.name


def find(roots: Sequence[Path]) -> Iterator[Found]:
    hashes = {
        hashlib.md5(str(root).encode(), usedforsecurity=False).hexdigest(): str(root)
        for root in roots
    }
    for folder in folders():
        for path in sorted(folder.glob("*/*/store.db")):
            try:
                with database.opened(path) as db:
                    meta = _meta(db)
            except (OSError, sqlite3.Error):
                continue
            title, started = str(meta.get("name") or ""), places.moment(meta.get("createdAt"))
            where = hashes.get(path.parents[1].name, "")
            yield Found("cursor-cli", native(path), str(path), "", where, title, started)


def _meta(db: sqlite3.Connection) -> dict[str, Any]:
    """Return what the chat's own record says: JSON, in hexadecimal digits or bare."""
    for row in db.execute("SELECT value FROM meta ORDER BY key"):
        value = row["value"]
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        with contextlib.suppress(ValueError):
            text = bytes.fromhex(text).decode("utf-8", "replace")
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and "latestRootBlobId" in found:
            return found
    return {}


def events(source: Source, start: int) -> Iterator[Event]:
    try:
        with database.opened(source.path) as db:
            meta = _meta(db)
            if database.behind(source.path):
                yield Odd("behind")
            if title := meta.get("name"):
                yield Meta("title", str(title))
            model = str(meta.get("lastUsedModel") or "")
            reached = 0
            for name, message in _reached(db, str(meta.get("latestRootBlobId") or "")):
                reached += 1
                yield from guarded(_message(message, name, model))
            row = db.execute("SELECT count(*) FROM blobs WHERE substr(data, 1, 1)=x'7b'").fetchone()
            for _ in range(min(max(0, row[0] - reached), _MOST)):
                yield Odd("noise", "a message that the newest root does not reach")
            if not meta:
                yield Odd("broken", "meta")
    except (OSError, sqlite3.Error):
        yield Odd("broken", "database")


def _reached(db: sqlite3.Connection, root: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the messages below a root in order, each once; a graph with a loop ends too."""
    waiting = [root]
    seen: set[str] = set()
    while waiting and len(seen) < _MOST:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        row = db.execute("SELECT data FROM blobs WHERE id=?", (name,)).fetchone()
        data = row["data"] if row is not None else None
        data = data.encode() if isinstance(data, str) else data
        if not isinstance(data, bytes):
            continue
        if data[:1] == b"{":
            try:
                value = json.loads(data.decode("utf-8", "replace"))
            except (ValueError, RecursionError):
                value = None
            yield name, value if isinstance(value, dict) else {}
            continue
        waiting += [field.hex() for field in reversed(_fields(data)) if len(field) == _ID]


def _fields(data: bytes) -> list[bytes]:
    """Return the length-delimited fields of a protobuf record; what is no such record has none."""
    found, at = [], 0
    while at < len(data):
        tag, at = _number(data, at)
        kind = tag & 7
        if kind == 2:
            size, at = _number(data, at)
            if at + size > len(data):
                break
            found.append(data[at : at + size])
            at += size
        elif kind == 0:
            _, at = _number(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            break
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return value, at


def _message(message: Mapping[str, Any], name: str, model: str) -> Iterator[Event]:
    role, content = message.get("role"), message.get("content")
    if role == "system":
        yield Odd("noise", "system")
        return
    if role not in ("user", "assistant", "tool"):
        yield Odd("unknown" if message else "broken", f"role {role}")
        return
    piece = Piece("assistant", "agent", [], pointer=name, model=model)
    if role == "user":
        piece = Piece("user", "human", [], pointer=name)
    for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        if isinstance(part, dict):
            piece.blocks += _blocks(part, role)
    if role == "user" and not any(block.type == "text" for block in piece.blocks):
        piece.origin = "harness"
    yield piece


def _blocks(part: Mapping[str, Any], role: str) -> Iterator[Block]:
    kind, call = part.get("type"), str(part.get("toolCallId") or "")
    text = str(part.get("text") or "")
    if kind == "text" and role == "user":
        asked, around = cursor.query(text)
        if asked == text and text.lstrip().startswith("<user_info>"):
            asked, around = "", text
        if asked:
            yield Block("text", asked)
        if around:
            yield Block("notice", around)
    elif kind in ("text", "reasoning"):
        yield Block("text" if kind == "text" else "thinking", text)
    elif kind == "tool-call":
        yield calls.call(str(part.get("toolName") or ""), part.get("args") or {}, call)
    elif kind == "tool-result":
        value = part.get("result", part.get("output"))
        shown = value if isinstance(value, str) else calls.show(value)
        status, code = calls.outcome(shown, None)
        yield Block("result", shown, call=call, status=status, exit_code=code)
    elif kind != "redacted-reasoning":
        yield Block("notice", f"[{kind}]", note="not understood")


READER = Reader(
    agent="cursor-cli",
    layout="Cursor CLI store",
    version=1,
    detect=detect,
    events=events,
    folders=folders,
    find=find,
    native=native,
    limits=("no times and no usage; the project's folder is kept as a hash only",),
)
