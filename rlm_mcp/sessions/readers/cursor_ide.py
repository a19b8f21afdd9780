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

from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers import editor_folders, sqlite_file
from rlm_mcp.sessions.readers.anthropic_messages import count_tokens
from rlm_mcp.sessions.readers.reader import TranscriptReader, guard_shapes
from rlm_mcp.sessions.schema import (
    MessagePiece,
    SessionInfo,
    SessionMetadata,
    SkippedRecord,
    Status,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
    TurnUsage,
)

BATCH_BUBBLES = 200
_LAST_KEY = "composerData;"
"""The first key behind all `composerData:` ones: ranges use the index, LIKE does not."""

_SUMMARY, _TOOL, _THOUGHT = 22, 15, 30
_STATES: Mapping[str, Status] = {
    "completed": "ok", "error": "error", "cancelled": "cancelled", "rejected": "denied",
}  # fmt: skip


def session_folders() -> list[Path]:
    return [user / "globalStorage" for user in editor_folders.user_data_folders("Cursor")]


def detect_format(path: Path, head: bytes) -> bool:
    if not sqlite_file.is_database(head) or path.suffix != ".vscdb":
        return False
    try:
        with sqlite_file.open_readonly(path) as db:
            return "cursorDiskKV" in sqlite_file.table_names(db)
    except (OSError, sqlite3.Error):
        return False


def session_keys(path: Path) -> Sequence[str]:
    return [item.key for item in _list_composers(path)]


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    for folder in session_folders():
        path = folder / "state.vscdb"
        if path.is_file():
            yield from _list_composers(path)


def _list_composers(path: Path) -> list[SessionInfo]:
    """List the conversations, oldest first. Only a few fields of each are taken out, in SQLite."""
    projects = _composer_projects(path.parent.parent / "workspaceStorage")
    try:
        with sqlite_file.open_readonly(path) as db:
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
        SessionInfo(
            "cursor-ide", row["id"], str(path), row["id"],
            row["folder"] or projects.get(row["id"], ""), row["name"] or "",
            editor_folders.iso_time(row["created"]),
            row["updated"] / 1000 if isinstance(row["updated"], (int, float)) else 0.0,
        )
        for row in rows
    ]  # fmt: skip
    return sorted(found, key=lambda item: (item.changed, item.key))


def _composer_projects(storage: Path) -> dict[str, str]:
    """Return the folder of each conversation that a workspace's own database names."""
    found = {}
    for path in sorted(storage.glob("*/state.vscdb")):
        folder = editor_folders.workspace_project(path.parent)
        try:
            with sqlite_file.open_readonly(path) as db:
                row = db.execute(
                    "SELECT value FROM ItemTable WHERE key='composer.composerData'"
                ).fetchone()
        except (OSError, sqlite3.Error):
            continue
        value = _parse_object(row["value"]) if row else {}
        listed = value.get("allComposers")
        for item in listed if isinstance(listed, list) else []:
            if isinstance(item, dict) and folder:
                found[str(item.get("composerId"))] = folder
    return found


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    path = Path(source.path)
    try:
        with sqlite_file.open_readonly(path) as db:
            row = db.execute(
                "SELECT value FROM cursorDiskKV WHERE key=?", (f"composerData:{source.key}",)
            ).fetchone()
            head = _parse_object(row["value"]) if row else {}
            if not head:
                yield SkippedRecord("broken", "composerData")
                return
            if sqlite_file.is_log_skipped(path):
                yield SkippedRecord("behind")
            if head.get("name"):
                yield SessionMetadata("title", str(head["name"]))
            where = _workspace_folder(head) or _composer_projects(
                path.parent.parent / "workspaceStorage"
            ).get(source.key, "")
            for name, bubble in _load_bubbles(db, source.key, head):
                for event in guard_shapes(_bubble_events(name, bubble)):
                    if isinstance(event, MessagePiece):
                        event.cwd = where
                    yield event
    except sqlite3.Error:
        yield SkippedRecord("broken", "database")


def _workspace_folder(head: Mapping[str, Any]) -> str:
    workspace = head.get("workspaceIdentifier")
    uri = workspace.get("uri") if isinstance(workspace, dict) else None
    return str(uri.get("fsPath") or "") if isinstance(uri, dict) else ""


def _load_bubbles(
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
    for at in range(0, len(names), BATCH_BUBBLES):
        part = names[at : at + BATCH_BUBBLES]
        wanted = [f"bubbleId:{key}:{name}" for name in part]
        rows = db.execute(
            f"SELECT key, value FROM cursorDiskKV WHERE key IN ({','.join('?' * len(part))})",
            wanted,
        ).fetchall()
        values = {row["key"]: row["value"] for row in rows}
        for name, full in zip(part, wanted, strict=True):
            yield name, _parse_object(values[full]) if full in values else None


def _bubble_events(name: str, bubble: dict[str, Any] | None) -> Iterator[TranscriptEvent]:
    if not bubble:
        yield SkippedRecord("broken", "a bubble is missing")
        return
    kind, capability = bubble.get("type"), bubble.get("capabilityType")
    piece = MessagePiece("assistant", "agent", [], native=name, pointer=f"bubbleId:{name}")
    piece.ts = editor_folders.iso_time(bubble.get("createdAt"))
    text = str(bubble.get("text") or "")
    if kind == 1:
        piece.role, piece.origin = "user", "human"
        piece.blocks.append(TurnBlock("text", text))
        images = bubble.get("images")
        for image in images if isinstance(images, list) else []:
            piece.blocks.append(TurnBlock("image", "[image]", note=str(type(image).__name__)))
    elif capability == _SUMMARY:
        summary = bubble.get("summarizedComposer")
        words = summary.get("summary") if isinstance(summary, dict) else text
        piece.role, piece.origin, piece.boundary = "user", "compaction", True
        piece.blocks.append(TurnBlock("compaction", str(words or text)))
    elif kind == 2:
        thinking = bubble.get("thinking")
        if isinstance(thinking, dict) and thinking.get("text"):
            piece.blocks.append(TurnBlock("thinking", str(thinking["text"])))
        if text:
            piece.blocks.append(TurnBlock("text", text))
        tool = bubble.get("toolFormerData")
        if isinstance(tool, dict) and tool.get("name"):
            piece.blocks.extend(_tool_blocks(tool, name))
    else:
        yield SkippedRecord("unknown", f"bubble type {kind}")
        return
    model = bubble.get("modelInfo")
    piece.model = str(model.get("modelName") or "") if isinstance(model, dict) else ""
    tokens = bubble.get("tokenCount")
    sent, received = count_tokens(tokens, "inputTokens"), count_tokens(tokens, "outputTokens")
    if sent or received:
        piece.usage_key, piece.usage = name, TurnUsage(sent, 0, 0, received)
    yield piece


def _tool_blocks(tool: Mapping[str, Any], bubble: str) -> Iterator[TurnBlock]:
    call_id = str(tool.get("toolCallId") or bubble)
    arguments = tool.get("rawArgs") or tool.get("params") or {}
    yield tool_calls.call_block(str(tool["name"]), arguments, call_id)
    result = tool.get("result")
    status = _STATES.get(str(tool.get("status")), "")
    if tool.get("userDecision") == "rejected":
        status = "denied"
    if result is None and not status:
        return
    value = tool_calls.parse_arguments(result)
    code = None
    if isinstance(value, dict):
        text = value.get("output") or value.get("contents") or value.get("rejected")
        found = value.get("exitCode", value.get("exitCodeV2"))
        code = found if isinstance(found, int) and not isinstance(found, bool) else None
        shown = text if isinstance(text, str) else tool_calls.show_arguments(value)
    else:
        shown = str(result or "")
    guess, exit_code = tool_calls.result_outcome(shown, None)
    code = exit_code if code is None else code
    if status == "ok" and (code or guess == "error"):
        status = "error"
    yield TurnBlock("result", shown, call=call_id, status=status, exit_code=code)


def _parse_object(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


READER = TranscriptReader(
    agent="cursor-ide",
    layout="Cursor editor database",
    version=2,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    session_keys=session_keys,
    limits=("no usage is recorded in this version of the database",),
)
