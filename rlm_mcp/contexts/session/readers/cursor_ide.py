"""Read the Cursor editor's chats out of globalStorage/state.vscdb, a database of gigabytes.

A conversation is a `composerData:<id>` record that lists its bubbles, each a record of its own:
they are read in small batches by key, and never more than one conversation.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.readers import database, places
from rlm_mcp.contexts.session.readers.messages import count
from rlm_mcp.contexts.session.readers.reader import Reader, guarded
from rlm_mcp.contexts.session.turns import (
    Block,
    Event,
    Found,
    Meta,
    Odd,
    Piece,
    Source,
    Status,
    Usage,
)

BATCH = 200
_LAST_KEY = "composerData;"
"""The first key behind all `composerData:` ones: ranges use the index, LIKE does not."""

_SUMMARY, _TOOL, _THOUGHT = 22, 15, 30
_STATES: Mapping[str, Status] = {
    "completed": "ok", "error": "error", "cancelled": "cancelled", "rejected": "denied",
}  # fmt: skip


def folders() -> list[Path]:
    return [user / "globalStorage" for user in places.editors("Cursor")]


def detect(path: Path, head: bytes) -> bool:
    if not database.is_database(head) or path.suffix != ".vscdb":
        return False
    try:
        with database.opened(path) as db:
            return "cursorDiskKV" in database.tables(db)
    except (OSError, sqlite3.Error):
        return False


def keys(path: Path) -> Sequence[str]:
    return [item.key for item in _composers(path)]


def find(roots: Sequence[Path]) -> Iterator[Found]:
    for folder in folders():
        path = folder / "state.vscdb"
        if path.is_file():
            yield from _composers(path)


def _composers(path: Path) -> list[Found]:
    """List the conversations, oldest first. Only a few fields of each are taken out, in SQLite."""
    projects = _projects(path.parent.parent / "workspaceStorage")
    try:
        with database.opened(path) as db:
            rows = db.execute(
                "SELECT substr(key, 14) AS id, json_extract(value, '$.name') AS name, "
                "json_extract(value, '$.createdAt') AS created, "
                "json_extract(value, '$.lastUpdatedAt') AS updated, "
                "json_extract(value, '$.workspaceIdentifier.uri.fsPath') AS folder "
                "FROM cursorDiskKV WHERE key >= 'composerData:' AND key < ? "
                "AND value IS NOT NULL AND json_valid(CAST(value AS TEXT))",
                (_LAST_KEY,),
            ).fetchall()
    except (OSError, sqlite3.Error):
        return []
    found = [
        Found(
            "cursor-ide", row["id"], str(path), row["id"],
            row["folder"] or projects.get(row["id"], ""), row["name"] or "",
            places.moment(row["created"]),
            row["updated"] / 1000 if isinstance(row["updated"], (int, float)) else 0.0,
        )
        for row in rows
    ]  # fmt: skip
    return sorted(found, key=lambda item: (item.changed, item.key))


def _projects(storage: Path) -> dict[str, str]:
    """Return the folder of each conversation that a workspace's own database names."""
    found = {}
    for path in sorted(storage.glob("*/state.vscdb")):
        folder = places.project(path.parent)
        try:
            with database.opened(path) as db:
                row = db.execute(
                    "SELECT value FROM ItemTable WHERE key='composer.composerData'"
                ).fetchone()
        except (OSError, sqlite3.Error):
            continue
        value = _object(row["value"]) if row else {}
        listed = value.get("allComposers")
        for item in listed if isinstance(listed, list) else []:
            if isinstance(item, dict) and folder:
                found[str(item.get("composerId"))] = folder
    return found


def events(source: Source, start: int) -> Iterator[Event]:
    path = Path(source.path)
    try:
        with database.opened(path) as db:
            row = db.execute(
                "SELECT value FROM cursorDiskKV WHERE key=?", (f"composerData:{source.key}",)
            ).fetchone()
            head = _object(row["value"]) if row else {}
            if not head:
                yield Odd("broken", "composerData")
                return
            if database.behind(path):
                yield Odd("behind")
            if head.get("name"):
                yield Meta("title", str(head["name"]))
            where = _folder(head) or _projects(path.parent.parent / "workspaceStorage").get(
                source.key, ""
            )
            for name, bubble in _bubbles(db, source.key, head):
                for event in guarded(_bubble(name, bubble)):
                    if isinstance(event, Piece):
                        event.cwd = where
                    yield event
    except sqlite3.Error:
        yield Odd("broken", "database")


def _folder(head: Mapping[str, Any]) -> str:
    workspace = head.get("workspaceIdentifier")
    uri = workspace.get("uri") if isinstance(workspace, dict) else None
    return str(uri.get("fsPath") or "") if isinstance(uri, dict) else ""


def _bubbles(
    db: sqlite3.Connection, key: str, head: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    inline = head.get("conversation")
    if isinstance(inline, list):
        for number, bubble in enumerate(inline):
            if isinstance(bubble, dict):
                yield str(bubble.get("bubbleId") or number), bubble
    headers = head.get("fullConversationHeadersOnly")
    listed = headers if isinstance(headers, list) else []
    names = [str(item.get("bubbleId")) for item in listed if isinstance(item, dict)]
    for at in range(0, len(names), BATCH):
        part = names[at : at + BATCH]
        wanted = [f"bubbleId:{key}:{name}" for name in part]
        rows = db.execute(
            f"SELECT key, value FROM cursorDiskKV WHERE key IN ({','.join('?' * len(part))})",
            wanted,
        ).fetchall()
        values = {row["key"]: row["value"] for row in rows}
        for name, full in zip(part, wanted, strict=True):
            yield name, _object(values[full]) if full in values else None


def _bubble(name: str, bubble: dict[str, Any] | None) -> Iterator[Event]:
    if not bubble:
        yield Odd("broken", "a bubble is missing")
        return
    kind, capability = bubble.get("type"), bubble.get("capabilityType")
    piece = Piece("assistant", "agent", [], native=name, pointer=f"bubbleId:{name}")
    piece.ts = places.moment(bubble.get("createdAt"))
    text = str(bubble.get("text") or "")
    if kind == 1:
        piece.role, piece.origin = "user", "human"
        piece.blocks.append(Block("text", text))
        images = bubble.get("images")
        for image in images if isinstance(images, list) else []:
            piece.blocks.append(Block("image", "[image]", note=str(type(image).__name__)))
    elif capability == _SUMMARY:
        summary = bubble.get("summarizedComposer")
        words = summary.get("summary") if isinstance(summary, dict) else text
        piece.role, piece.origin, piece.boundary = "user", "compaction", True
        piece.blocks.append(Block("compaction", str(words or text)))
    elif kind == 2:
        thinking = bubble.get("thinking")
        if isinstance(thinking, dict) and thinking.get("text"):
            piece.blocks.append(Block("thinking", str(thinking["text"])))
        if text:
            piece.blocks.append(Block("text", text))
        tool = bubble.get("toolFormerData")
        if isinstance(tool, dict) and tool.get("name"):
            piece.blocks.extend(_tool(tool, name))
    else:
        yield Odd("unknown", f"bubble type {kind}")
        return
    model = bubble.get("modelInfo")
    piece.model = str(model.get("modelName") or "") if isinstance(model, dict) else ""
    tokens = bubble.get("tokenCount")
    sent, received = count(tokens, "inputTokens"), count(tokens, "outputTokens")
    if sent or received:
        piece.usage_key, piece.usage = name, Usage(sent, 0, 0, received)
    yield piece


def _tool(tool: Mapping[str, Any], bubble: str) -> Iterator[Block]:
    call_id = str(tool.get("toolCallId") or bubble)
    arguments = tool.get("rawArgs") or tool.get("params") or {}
    yield calls.call(str(tool["name"]), arguments, call_id)
    result = tool.get("result")
    status = _STATES.get(str(tool.get("status")), "")
    if tool.get("userDecision") == "rejected":
        status = "denied"
    if result is None and not status:
        return
    value = calls.parse(result)
    code = None
    if isinstance(value, dict):
        text = value.get("output") or value.get("contents") or value.get("rejected")
        found = value.get("exitCode", value.get("exitCodeV2"))
        code = found if isinstance(found, int) and not isinstance(found, bool) else None
        shown = text if isinstance(text, str) else calls.show(value)
    else:
        shown = str(result or "")
    guess, exit_code = calls.outcome(shown, None)
    code = exit_code if code is None else code
    if status == "ok" and (code or guess == "error"):
        status = "error"
    yield Block("result", shown, call=call_id, status=status, exit_code=code)


def _object(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


READER = Reader(
    agent="cursor-ide",
    layout="Cursor editor database",
    version=2,
    detect=detect,
    events=events,
    folders=folders,
    find=find,
    keys=keys,
    limits=("no usage is recorded in this version of the database",),
)
