"""Read Qwen Code's chats: ~/.qwen/projects/<folder>/chats/<id>.jsonl.

A fork of Gemini CLI: messages are made of the Gemini API's parts, in records that name their
parent, as Claude Code's do. A rewind is a record whose parent is an earlier one; a compression
keeps the messages that go on, the first of which is the summary.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers import gemini_parts
from rlm_mcp.sessions.readers.anthropic_messages import count_tokens
from rlm_mcp.sessions.readers.reader import TranscriptReader, first_records, json_lines
from rlm_mcp.sessions.schema import (
    MessagePiece,
    Origin,
    SessionInfo,
    SessionMetadata,
    SkippedRecord,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
    TurnUsage,
)

_STATES = {"success": False, "error": True}
_NOISE = frozenset(["ui_telemetry", "attribution_snapshot", "at_command", "rewind"])


def session_folders() -> list[Path]:
    home = Path(os.environ.get("QWEN_HOME") or Path.home() / ".qwen")
    return [home / "projects"]


def detect_format(path: Path, head: bytes) -> bool:
    if path.suffix != ".jsonl" or b'"parentUuid"' not in head:
        return False
    return (
        re.search(rb'"message"\s*:\s*\{\s*"role"\s*:\s*"\w+"\s*,\s*"parts"\s*:', head) is not None
    )


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    for folder in session_folders():
        for path in sorted(folder.glob("*/chats/*.jsonl")):
            facts: dict[str, Any] = {}
            for record in first_records(path):
                facts.setdefault("project", str(record.get("cwd") or ""))
                facts.setdefault("started", str(record.get("timestamp") or ""))
                message = record.get("message")
                if record.get("type") == "user" and isinstance(message, dict):
                    facts["title"] = gemini_parts.message_text(message.get("parts"))[:200]
                    break
            yield SessionInfo("qwen", path.stem, str(path), **facts)


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    yield from json_lines(source, start, _record_events)


def _record_events(record: dict[str, Any]) -> Iterator[TranscriptEvent]:
    if version := record.get("version"):
        yield SessionMetadata("version", str(version))
    if branch := record.get("gitBranch"):
        yield SessionMetadata("gitBranch", str(branch))
    for event in _piece_events(record):
        if isinstance(event, MessagePiece):
            event.native = str(record.get("uuid") or "")
            event.parent = record.get("parentUuid")
            event.ts, event.cwd = str(record.get("timestamp") or ""), str(record.get("cwd") or "")
        yield event


def _piece_events(record: Mapping[str, Any]) -> Iterator[TranscriptEvent]:
    kind, message = record.get("type"), record.get("message")
    content = message.get("parts") if isinstance(message, dict) else None
    if kind == "user":
        apart: Origin = "harness" if record.get("subtype") else "human"
        yield MessagePiece("user", apart, gemini_parts.prompt_blocks(content))
    elif kind == "assistant":
        piece = MessagePiece("assistant", "agent", list(_reply_blocks(content)))
        piece.model, piece.usage = str(record.get("model") or ""), _reply_usage(record)
        yield piece
    elif kind == "tool_result":
        yield MessagePiece(
            "user", "agent", list(_result_blocks(content, record.get("toolCallResult")))
        )
    elif kind == "system":
        yield from _system_events(record)
    else:
        yield SkippedRecord("unknown", str(kind))


def _system_events(record: Mapping[str, Any]) -> Iterator[TranscriptEvent]:
    kind, payload = str(record.get("subtype")), record.get("systemPayload")
    payload = payload if isinstance(payload, dict) else {}
    if kind == "chat_compression":
        kept = payload.get("compressedHistory")
        first = kept[0] if isinstance(kept, list) and kept else {}
        text = gemini_parts.message_text(first.get("parts")) if isinstance(first, dict) else ""
        yield MessagePiece("user", "compaction", [TurnBlock("compaction", text)], boundary=True)
        return
    if kind == "custom_title":
        yield SessionMetadata(
            "title", str(payload.get("customTitle") or payload.get("title") or "")
        )
    elif kind not in _NOISE:
        text = str(payload.get("rawCommand") or kind)
        yield MessagePiece("system", "harness", [TurnBlock("notice", text, name=kind)])
        return
    yield MessagePiece("system", "harness", [])  # it carries the chain on


def _reply_blocks(content: Any) -> Iterator[TurnBlock]:
    for part in content if isinstance(content, list) else []:
        if not isinstance(part, dict):
            continue
        call, text = part.get("functionCall"), str(part.get("text") or "")
        if isinstance(call, dict):
            yield tool_calls.call_block(
                str(call.get("name") or ""), call.get("args") or {}, str(call.get("id") or "")
            )
        elif text:
            yield TurnBlock("thinking" if part.get("thought") is True else "text", text)


def _result_blocks(content: Any, known: Any) -> Iterator[TurnBlock]:
    state = known.get("status") if isinstance(known, dict) else None
    for part in content if isinstance(content, list) else []:
        answer = part.get("functionResponse") if isinstance(part, dict) else None
        if not isinstance(answer, dict):
            continue
        text = gemini_parts.response_text(part)
        status, code = tool_calls.result_outcome(text, _STATES.get(str(state)))
        if state == "cancelled":
            status = "cancelled"
        yield TurnBlock(
            "result", text, call=str(answer.get("id") or ""), status=status, exit_code=code
        )


def _reply_usage(record: Mapping[str, Any]) -> TurnUsage | None:
    used = record.get("usageMetadata")
    if not isinstance(used, dict):
        return None
    cached = count_tokens(used, "cachedContentTokenCount")
    output = count_tokens(used, "candidatesTokenCount")
    return TurnUsage(max(0, count_tokens(used, "promptTokenCount") - cached), cached, 0, output)


READER = TranscriptReader(
    agent="qwen",
    layout="Qwen Code chat",
    version=1,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
)
