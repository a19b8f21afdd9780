"""Read opencode's sessions: opencode*.db (SQLite), and the storage/ folders of older versions.

A subagent is a session with a parent; its turns are read with its parent's, as a thread.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers import editor_folders, sqlite_file
from rlm_mcp.sessions.readers.anthropic_messages import count_tokens
from rlm_mcp.sessions.readers.reader import TranscriptReader
from rlm_mcp.sessions.schema import (
    MessagePiece,
    Rewind,
    SessionInfo,
    SessionMetadata,
    SkippedRecord,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
    TurnUsage,
)

_NOISE = frozenset(["step-start", "step-finish", "snapshot", "retry"])
_FAILED = {"error": True, "completed": False}

_ROOT = "parent_id IS NULL OR parent_id NOT IN (SELECT id FROM session)"

StoredMessage = tuple[str, dict[str, Any], list[dict[str, Any]]]
"""(id, data, parts)."""


def session_folders() -> list[Path]:
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return [home / "opencode"]


def detect_format(path: Path, head: bytes) -> bool:
    if path.suffix == ".json":
        return path.parent.parent.name == "session" and b'"projectID"' in head
    if not sqlite_file.is_database(head):
        return False
    try:
        with sqlite_file.open_readonly(path) as db:
            return {"session", "message", "part"} <= sqlite_file.table_names(db)
    except (OSError, sqlite3.Error):
        return False


def session_keys(path: Path) -> Sequence[str]:
    """Return the sessions of a database that are nobody's subagents."""
    if path.suffix == ".json":
        return ("",)
    with sqlite_file.open_readonly(path) as db:
        rows = db.execute(f"SELECT id FROM session WHERE {_ROOT} ORDER BY time_updated, id")
        return [row["id"] for row in rows]


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    for folder in session_folders():
        seen = set()
        for path in sorted(folder.glob("opencode*.db")):
            try:
                with sqlite_file.open_readonly(path) as db:
                    for row in db.execute(f"SELECT * FROM session WHERE {_ROOT}"):
                        seen.add(row["id"])
                        yield _session_info(path, row)
            except (OSError, sqlite3.Error):
                continue
        for path in sorted(folder.glob("storage/session/*/*.json")):
            value = editor_folders.load_json(path)
            if not isinstance(value, dict) or path.stem in seen or value.get("parentID"):
                continue
            yield SessionInfo(
                "opencode", path.stem, str(path), "", str(value.get("directory") or ""),
                str(value.get("title") or ""),
            )  # fmt: skip


def _session_info(path: Path, row: sqlite3.Row) -> SessionInfo:
    changed = row["time_updated"]
    return SessionInfo(
        "opencode",
        row["id"],
        str(path),
        row["id"],
        row["directory"] or "",
        row["title"] or "",
        editor_folders.iso_time(row["time_created"]),
        changed / 1000 if isinstance(changed, int) else 0.0,
    )


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    path = Path(source.path)
    if path.suffix == ".json":
        yield from _legacy_events(path)
        return
    try:
        with sqlite_file.open_readonly(path) as db:
            if sqlite_file.is_log_skipped(path):
                yield SkippedRecord("behind")
            yield from _thread_events(db, source.key, "")
            for child in _descendant_ids(db, source.key):
                yield from _thread_events(db, child, f"agent-{child}")
    except sqlite3.Error:
        yield SkippedRecord("broken", "database")


def _descendant_ids(db: sqlite3.Connection, key: str) -> list[str]:
    """Return the ids of a session's subagents, and of theirs."""
    rows = db.execute("SELECT id, parent_id FROM session ORDER BY time_created, id").fetchall()
    found = [key]
    for parent in found:
        found += [
            row["id"] for row in rows if row["parent_id"] == parent and row["id"] not in found
        ]
    return found[1:]


def _thread_events(db: sqlite3.Connection, key: str, thread: str) -> Iterator[TranscriptEvent]:
    row = db.execute("SELECT * FROM session WHERE id=?", (key,)).fetchone()
    if row is not None and not thread:
        yield SessionMetadata("title", row["title"] or "")
        yield SessionMetadata("version", row["version"] or "")
    where = row["directory"] if row is not None else ""
    for event in _message_events(_load_messages(db, key), where or ""):
        if isinstance(event, MessagePiece):
            event.thread = thread
            if thread and event.origin == "human":
                event.origin = "subagent"
        yield event
    if row is not None and not thread and "revert" in row.keys():  # noqa: SIM118
        undone = _parse_object(row["revert"]).get("messageID")
        if isinstance(undone, str):
            yield Rewind(native=undone, inclusive=True)


def _load_messages(db: sqlite3.Connection, key: str) -> Iterator[StoredMessage]:
    rows = db.execute(
        "SELECT id, data FROM message WHERE session_id=? ORDER BY time_created, id", (key,)
    ).fetchall()
    for row in rows:
        parts = db.execute("SELECT data FROM part WHERE message_id=? ORDER BY id", (row["id"],))
        yield row["id"], _parse_object(row["data"]), [_parse_object(part["data"]) for part in parts]


def _legacy_events(path: Path) -> Iterator[TranscriptEvent]:
    value = editor_folders.load_json(path)
    where = str(value.get("directory") or "") if isinstance(value, dict) else ""
    if isinstance(value, dict):
        yield SessionMetadata("title", str(value.get("title") or ""))
        yield SessionMetadata("version", str(value.get("version") or ""))
    yield from _message_events(_stored_messages(path), where)
    for child in sorted(path.parent.glob("*.json")):
        head = editor_folders.load_json(child, 1 << 20)
        if child != path and isinstance(head, dict) and head.get("parentID") == path.stem:
            for event in _message_events(_stored_messages(child), where):
                if isinstance(event, MessagePiece):
                    event.thread = f"agent-{child.stem}"
                    event.origin = "subagent" if event.origin == "human" else event.origin
                yield event


def _stored_messages(path: Path) -> Iterator[StoredMessage]:
    """Yield the messages of a session whose parts are files; an empty one is broken."""
    storage = path.parents[2]
    files = []
    for file in (storage / "message" / path.stem).glob("*.json"):
        data = editor_folders.load_json(file)
        data = data if isinstance(data, dict) else {}
        files.append((_created_at(data), file.stem, data))
    for _, name, data in sorted(files, key=lambda item: item[:2]):
        parts = [
            editor_folders.load_json(part)
            for part in sorted((storage / "part" / name).glob("*.json"))
        ]
        yield name, data, [part for part in parts if isinstance(part, dict)]


def _created_at(data: Mapping[str, Any]) -> float:
    time = data.get("time")
    value = time.get("created") if isinstance(time, dict) else 0
    return float(value) if isinstance(value, (int, float)) else 0.0


def _parse_object(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, TypeError):
        return {}
    return value if isinstance(value, dict) else {}


def _message_events(
    messages: Sequence[StoredMessage] | Iterator[StoredMessage], where: str
) -> Iterator[TranscriptEvent]:
    for name, data, parts in messages:
        role = data.get("role")
        if role not in ("user", "assistant"):
            yield SkippedRecord("broken" if not data else "unknown", str(role))
            continue
        blocks: list[TurnBlock] = []
        odd: list[str] = []
        boundary = False
        for part in parts:
            boundary = boundary or part.get("type") == "compaction"
            _add_part(part, blocks, odd)
        piece = MessagePiece(role, "human" if role == "user" else "agent", blocks, native=name)
        piece.group, piece.pointer = name, name
        piece.ts, piece.cwd = editor_folders.iso_time(_created_at(data)), where
        _fill_reply(data, piece)
        if boundary or data.get("summary") is True:
            piece.origin, piece.role, piece.boundary = "compaction", "user", boundary
            for block in piece.blocks:
                block.type = "compaction"
            if not piece.blocks:
                piece.blocks.append(TurnBlock("compaction", "", name="boundary"))
        elif role == "user" and parts and all(part.get("synthetic") for part in parts):
            piece.origin = "harness"
        for kind in odd:
            yield SkippedRecord("unknown", f"part {kind}")
        yield piece


def _fill_reply(data: Mapping[str, Any], piece: MessagePiece) -> None:
    if piece.role != "assistant":
        return
    piece.model = str(data.get("modelID") or "")
    tokens = data.get("tokens")
    if isinstance(tokens, dict):
        cache = tokens.get("cache")
        piece.usage_key = piece.native
        piece.usage = TurnUsage(
            count_tokens(tokens, "input"),
            count_tokens(cache, "read"),
            count_tokens(cache, "write"),
            count_tokens(tokens, "output") + count_tokens(tokens, "reasoning"),
        )
    error = data.get("error")
    if isinstance(error, dict):
        values = error.get("data")
        text = str((values if isinstance(values, dict) else error).get("message") or error)
        piece.blocks.append(TurnBlock("notice", text, name=str(error.get("name")), status="error"))


def _add_part(part: Mapping[str, Any], blocks: list[TurnBlock], odd: list[str]) -> None:
    kind = str(part.get("type"))
    if kind == "text":
        text = str(part.get("text") or "")
        blocks.append(TurnBlock("notice" if part.get("synthetic") else "text", text))
    elif kind == "reasoning":
        blocks.append(TurnBlock("thinking", str(part.get("text") or "")))
    elif kind == "tool":
        blocks.extend(_tool_blocks(part))
    elif kind == "file":
        note = f"{part.get('mime')}, {part.get('filename') or ''}"
        image = str(part.get("mime")).startswith("image/")
        blocks.append(TurnBlock("image" if image else "notice", f"[file: {note}]", note=note))
    elif kind == "patch":
        files = part.get("files")
        names = ", ".join(map(str, files)) if isinstance(files, list) else ""
        blocks.append(TurnBlock("notice", f"[patch {part.get('hash')}: {names}]", name="patch"))
    elif kind in ("agent", "subtask"):
        text = str(part.get("prompt") or part.get("name") or "")
        blocks.append(TurnBlock("notice", text, name=kind))
    elif kind == "compaction" or kind in _NOISE:
        return
    else:
        odd.append(kind)


def _tool_blocks(part: Mapping[str, Any]) -> Iterator[TurnBlock]:
    state = part.get("state")
    state = state if isinstance(state, dict) else {}
    call_id, name = str(part.get("callID") or ""), str(part.get("tool") or "")
    call = tool_calls.call_block(name, state.get("input") or {}, call_id)
    meta = state.get("metadata")
    if isinstance(meta, dict) and meta.get("sessionId"):
        call.note = f"agent-{meta['sessionId']}"
    yield call
    if state.get("status") not in ("completed", "error"):
        return
    text = str(state.get("output") or state.get("error") or "")
    status, code = tool_calls.result_outcome(text, _FAILED.get(str(state.get("status"))))
    exit_code = meta.get("exit") if isinstance(meta, dict) else None
    yield TurnBlock(
        "result", text, call=call_id, status="error" if exit_code else status,
        exit_code=exit_code if isinstance(exit_code, int) else code,
    )  # fmt: skip


def session_id(path: Path) -> str:
    return re.sub(r"\W", "-", path.stem)


READER = TranscriptReader(
    agent="opencode",
    layout="opencode database or storage",
    version=2,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    session_keys=session_keys,
    session_id=session_id,
)
