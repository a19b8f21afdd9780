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

from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers import cursor, editor_folders, sqlite_file
from rlm_mcp.sessions.readers.reader import TranscriptReader, guard_shapes
from rlm_mcp.sessions.schema import (
    MessagePiece,
    SessionInfo,
    SessionMetadata,
    SkippedRecord,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
)

_ID = 32
"""Bytes of an id."""
_MOST = 200_000
"""Blobs that one chat may reach."""


def session_folders() -> list[Path]:
    return [Path.home() / ".cursor" / "chats"]


def detect_format(path: Path, head: bytes) -> bool:
    if path.name != "store.db" or not sqlite_file.is_database(head):
        return False
    try:
        with sqlite_file.open_readonly(path) as db:
            return {"blobs", "meta"} <= sqlite_file.table_names(db)
    except (OSError, sqlite3.Error):
        return False


def session_id(path: Path) -> str:
    return path.parent.name


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    hashes = {
        hashlib.md5(str(root).encode(), usedforsecurity=False).hexdigest(): str(root)
        for root in roots
    }
    for folder in session_folders():
        for path in sorted(folder.glob("*/*/store.db")):
            try:
                with sqlite_file.open_readonly(path) as db:
                    meta = _chat_meta(db)
            except (OSError, sqlite3.Error):
                continue
            title, started = (
                str(meta.get("name") or ""),
                editor_folders.iso_time(meta.get("createdAt")),
            )
            where = hashes.get(path.parents[1].name, "")
            yield SessionInfo("cursor-cli", session_id(path), str(path), "", where, title, started)


def _chat_meta(db: sqlite3.Connection) -> dict[str, Any]:
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


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    try:
        with sqlite_file.open_readonly(source.path) as db:
            meta = _chat_meta(db)
            if sqlite_file.is_log_skipped(source.path):
                yield SkippedRecord("behind")
            if title := meta.get("name"):
                yield SessionMetadata("title", str(title))
            model = str(meta.get("lastUsedModel") or "")
            reached = 0
            for name, message in _reached_messages(db, str(meta.get("latestRootBlobId") or "")):
                reached += 1
                yield from guard_shapes(_message_events(message, name, model))
            row = db.execute("SELECT count(*) FROM blobs WHERE substr(data, 1, 1)=x'7b'").fetchone()
            for _ in range(min(max(0, row[0] - reached), _MOST)):
                yield SkippedRecord("noise", "a message that the newest root does not reach")
            if not meta:
                yield SkippedRecord("broken", "meta")
    except (OSError, sqlite3.Error):
        yield SkippedRecord("broken", "database")


def _reached_messages(db: sqlite3.Connection, root: str) -> Iterator[tuple[str, dict[str, Any]]]:
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
        waiting += [field.hex() for field in reversed(_protobuf_fields(data)) if len(field) == _ID]


def _protobuf_fields(data: bytes) -> list[bytes]:
    """Return the length-delimited fields of a protobuf record; what is no such record has none."""
    found, at = [], 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == 2:
            size, at = _read_varint(data, at)
            if at + size > len(data):
                break
            found.append(data[at : at + size])
            at += size
        elif kind == 0:
            _, at = _read_varint(data, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            break
    return found


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return value, at


def _message_events(message: Mapping[str, Any], name: str, model: str) -> Iterator[TranscriptEvent]:
    role, content = message.get("role"), message.get("content")
    if role == "system":
        yield SkippedRecord("noise", "system")
        return
    if role not in ("user", "assistant", "tool"):
        yield SkippedRecord("unknown" if message else "broken", f"role {role}")
        return
    piece = MessagePiece("assistant", "agent", [], pointer=name, model=model)
    if role == "user":
        piece = MessagePiece("user", "human", [], pointer=name)
    for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        if isinstance(part, dict):
            piece.blocks += _part_blocks(part, role)
    if role == "user" and not any(block.type == "text" for block in piece.blocks):
        piece.origin = "harness"
    yield piece


def _part_blocks(part: Mapping[str, Any], role: str) -> Iterator[TurnBlock]:
    kind, call = part.get("type"), str(part.get("toolCallId") or "")
    text = str(part.get("text") or "")
    if kind == "text" and role == "user":
        asked, around = cursor.split_query(text)
        if asked == text and text.lstrip().startswith("<user_info>"):
            asked, around = "", text
        if asked:
            yield TurnBlock("text", asked)
        if around:
            yield TurnBlock("notice", around)
    elif kind in ("text", "reasoning"):
        yield TurnBlock("text" if kind == "text" else "thinking", text)
    elif kind == "tool-call":
        yield tool_calls.call_block(str(part.get("toolName") or ""), part.get("args") or {}, call)
    elif kind == "tool-result":
        value = part.get("result", part.get("output"))
        shown = value if isinstance(value, str) else tool_calls.show_arguments(value)
        status, code = tool_calls.result_outcome(shown, None)
        yield TurnBlock("result", shown, call=call, status=status, exit_code=code)
    elif kind != "redacted-reasoning":
        yield TurnBlock("notice", f"[{kind}]", note="not understood")


READER = TranscriptReader(
    agent="cursor-cli",
    layout="Cursor CLI store",
    version=1,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    session_id=session_id,
    limits=("no times and no usage; the project's folder is kept as a hash only",),
)
