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

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.readers import database, places
from rlm_mcp.contexts.session.readers.messages import count
from rlm_mcp.contexts.session.readers.reader import Reader
from rlm_mcp.contexts.session.turns import (
    Block,
    Event,
    Found,
    Meta,
    Odd,
    Piece,
    Rewind,
    Source,
    Usage,
)

_NOISE = frozenset(["step-start", "step-finish", "snapshot", "retry"])
_FAILED = {"error": True, "completed": False}

_ROOT = "parent_id IS NULL OR parent_id NOT IN (SELECT id FROM session)"

Message = tuple[str, dict[str, Any], list[dict[str, Any]]]
"""(id, data, parts)."""


def folders() -> list[Path]:
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return [home / "opencode"]


def detect(path: Path, head: bytes) -> bool:
    if path.suffix == ".json":
        return path.parent.parent.name == "session" and b'"projectID"' in head
    if not database.is_database(head):
        return False
    try:
        with database.opened(path) as db:
            return {"session", "message", "part"} <= database.tables(db)
    except (OSError, sqlite3.Error):
        return False


def keys(path: Path) -> Sequence[str]:
    """Return the sessions of a database that are nobody's subagents."""
    if path.suffix == ".json":
        return ("",)
    with database.opened(path) as db:
        rows = db.execute(f"SELECT id FROM session WHERE {_ROOT} ORDER BY time_updated, id")
        return [row["id"] for row in rows]


def find(roots: Sequence[Path]) -> Iterator[Found]:
    for folder in folders():
        seen = set()
        for path in sorted(folder.glob("opencode*.db")):
            try:
                with database.opened(path) as db:
                    for row in db.execute(f"SELECT * FROM session WHERE {_ROOT}"):
                        seen.add(row["id"])
                        yield _found(path, row)
            except (OSError, sqlite3.Error):
                continue
        for path in sorted(folder.glob("storage/session/*/*.json")):
            value = places.load(path)
            if not isinstance(value, dict) or path.stem in seen or value.get("parentID"):
                continue
            yield Found(
                "opencode", path.stem, str(path), "", str(value.get("directory") or ""),
                str(value.get("title") or ""),
            )  # fmt: skip


def _found(path: Path, row: sqlite3.Row) -> Found:
    changed = row["time_updated"]
    return Found(
        "opencode", row["id"], str(path), row["id"], row["directory"] or "", row["title"] or "",
        places.moment(row["time_created"]), changed / 1000 if isinstance(changed, int) else 0.0,
    )  # fmt: skip


def events(source: Source, start: int) -> Iterator[Event]:
    path = Path(source.path)
    if path.suffix == ".json":
        yield from _legacy(path)
        return
    try:
        with database.opened(path) as db:
            if database.behind(path):
                yield Odd("behind")
            yield from _thread(db, source.key, "")
            for child in _descendants(db, source.key):
                yield from _thread(db, child, f"agent-{child}")
    except sqlite3.Error:
        yield Odd("broken", "database")


def _descendants(db: sqlite3.Connection, key: str) -> list[str]:
    """Return the ids of a session's subagents, and of theirs."""
    rows = db.execute("SELECT id, parent_id FROM session ORDER BY time_created, id").fetchall()
    found = [key]
    for parent in found:
        found += [
            row["id"] for row in rows if row["parent_id"] == parent and row["id"] not in found
        ]
    return found[1:]


def _thread(db: sqlite3.Connection, key: str, thread: str) -> Iterator[Event]:
    row = db.execute("SELECT * FROM session WHERE id=?", (key,)).fetchone()
    if row is not None and not thread:
        yield Meta("title", row["title"] or "")
        yield Meta("version", row["version"] or "")
    where = row["directory"] if row is not None else ""
    for event in _events(_messages(db, key), where or ""):
        if isinstance(event, Piece):
            event.thread = thread
            if thread and event.origin == "human":
                event.origin = "subagent"
        yield event
    if row is not None and not thread and "revert" in row.keys():  # noqa: SIM118
        undone = _object(row["revert"]).get("messageID")
        if isinstance(undone, str):
            yield Rewind(native=undone, inclusive=True)


def _messages(db: sqlite3.Connection, key: str) -> Iterator[Message]:
    rows = db.execute(
        "SELECT id, data FROM message WHERE session_id=? ORDER BY time_created, id", (key,)
    ).fetchall()
    for row in rows:
        parts = db.execute("SELECT data FROM part WHERE message_id=? ORDER BY id", (row["id"],))
        yield row["id"], _object(row["data"]), [_object(part["data"]) for part in parts]


def _legacy(path: Path) -> Iterator[Event]:
    value = places.load(path)
    where = str(value.get("directory") or "") if isinstance(value, dict) else ""
    if isinstance(value, dict):
        yield Meta("title", str(value.get("title") or ""))
        yield Meta("version", str(value.get("version") or ""))
    yield from _events(_stored(path), where)
    for child in sorted(path.parent.glob("*.json")):
        head = places.load(child, 1 << 20)
        if child != path and isinstance(head, dict) and head.get("parentID") == path.stem:
            for event in _events(_stored(child), where):
                if isinstance(event, Piece):
                    event.thread = f"agent-{child.stem}"
                    event.origin = "subagent" if event.origin == "human" else event.origin
                yield event


def _stored(path: Path) -> Iterator[Message]:
    """Yield the messages of a session whose parts are files; an empty one is broken."""
    storage = path.parents[2]
    files = []
    for file in (storage / "message" / path.stem).glob("*.json"):
        data = places.load(file)
        data = data if isinstance(data, dict) else {}
        files.append((_created(data), file.stem, data))
    for _, name, data in sorted(files, key=lambda item: item[:2]):
        parts = [places.load(part) for part in sorted((storage / "part" / name).glob("*.json"))]
        yield name, data, [part for part in parts if isinstance(part, dict)]


def _created(data: Mapping[str, Any]) -> float:
    time = data.get("time")
    value = time.get("created") if isinstance(time, dict) else 0
    return float(value) if isinstance(value, (int, float)) else 0.0


def _object(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, TypeError):
        return {}
    return value if isinstance(value, dict) else {}


def _events(messages: Sequence[Message] | Iterator[Message], where: str) -> Iterator[Event]:
    for name, data, parts in messages:
        role = data.get("role")
        if role not in ("user", "assistant"):
            yield Odd("broken" if not data else "unknown", str(role))
            continue
        blocks: list[Block] = []
        odd: list[str] = []
        boundary = False
        for part in parts:
            boundary = boundary or part.get("type") == "compaction"
            _part(part, blocks, odd)
        piece = Piece(role, "human" if role == "user" else "agent", blocks, native=name)
        piece.group, piece.pointer = name, name
        piece.ts, piece.cwd = places.moment(_created(data)), where
        _assistant(data, piece)
        if boundary or data.get("summary") is True:
            piece.origin, piece.role, piece.boundary = "compaction", "user", boundary
            for block in piece.blocks:
                block.type = "compaction"
            if not piece.blocks:
                piece.blocks.append(Block("compaction", "", name="boundary"))
        elif role == "user" and parts and all(part.get("synthetic") for part in parts):
            piece.origin = "harness"
        for kind in odd:
            yield Odd("unknown", f"part {kind}")
        yield piece


def _assistant(data: Mapping[str, Any], piece: Piece) -> None:
    if piece.role != "assistant":
        return
    piece.model = str(data.get("modelID") or "")
    tokens = data.get("tokens")
    if isinstance(tokens, dict):
        cache = tokens.get("cache")
        piece.usage_key = piece.native
        piece.usage = Usage(
            count(tokens, "input"),
            count(cache, "read"),
            count(cache, "write"),
            count(tokens, "output") + count(tokens, "reasoning"),
        )
    error = data.get("error")
    if isinstance(error, dict):
        values = error.get("data")
        text = str((values if isinstance(values, dict) else error).get("message") or error)
        piece.blocks.append(Block("notice", text, name=str(error.get("name")), status="error"))


def _part(part: Mapping[str, Any], blocks: list[Block], odd: list[str]) -> None:
    kind = str(part.get("type"))
    if kind == "text":
        text = str(part.get("text") or "")
        blocks.append(Block("notice" if part.get("synthetic") else "text", text))
    elif kind == "reasoning":
        blocks.append(Block("thinking", str(part.get("text") or "")))
    elif kind == "tool":
        blocks.extend(_tool(part))
    elif kind == "file":
        note = f"{part.get('mime')}, {part.get('filename') or ''}"
        image = str(part.get("mime")).startswith("image/")
        blocks.append(Block("image" if image else "notice", f"[file: {note}]", note=note))
    elif kind == "patch":
        files = part.get("files")
        names = ", ".join(map(str, files)) if isinstance(files, list) else ""
        blocks.append(Block("notice", f"[patch {part.get('hash')}: {names}]", name="patch"))
    elif kind in ("agent", "subtask"):
        text = str(part.get("prompt") or part.get("name") or "")
        blocks.append(Block("notice", text, name=kind))
    elif kind == "compaction" or kind in _NOISE:
        return
    else:
        odd.append(kind)


def _tool(part: Mapping[str, Any]) -> Iterator[Block]:
    state = part.get("state")
    state = state if isinstance(state, dict) else {}
    call_id, name = str(part.get("callID") or ""), str(part.get("tool") or "")
    call = calls.call(name, state.get("input") or {}, call_id)
    meta = state.get("metadata")
    if isinstance(meta, dict) and meta.get("sessionId"):
        call.note = f"agent-{meta['sessionId']}"
    yield call
    if state.get("status") not in ("completed", "error"):
        return
    text = str(state.get("output") or state.get("error") or "")
    status, code = calls.outcome(text, _FAILED.get(str(state.get("status"))))
    exit_code = meta.get("exit") if isinstance(meta, dict) else None
    yield Block(
        "result", text, call=call_id, status="error" if exit_code else status,
        exit_code=exit_code if isinstance(exit_code, int) else code,
    )  # fmt: skip


def native(path: Path) -> str:
    return re.sub(r"\W", "-", path.stem)


READER = Reader(
    agent="opencode",
    layout="opencode database or storage",
    version=2,
    detect=detect,
    events=events,
    folders=folders,
    find=find,
    keys=keys,
    native=native,
)
