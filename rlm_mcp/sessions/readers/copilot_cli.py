"""Read Copilot CLI's sessions: ~/.copilot/session-state/<id>/events.jsonl (or <id>.jsonl)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers.anthropic_messages import count_tokens
from rlm_mcp.sessions.readers.reader import TranscriptReader, first_records, json_lines
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

_NOISE = frozenset(
    [
        "session.resume", "session.info", "session.model_change", "session.idle",
        "session.shutdown", "assistant.turn_start", "assistant.turn_end",
        "tool.execution_start", "assistant.intent", "tool.execution_partial_result",
        "tool.execution_progress", "session.compaction_start", "session.truncation",
        "session.usage_info", "hook.start", "hook.end", "session.import_legacy",
        "assistant.message_delta", "assistant.reasoning_delta", "session.title_changed",
        "system.message", "subagent.configured", "subagent.selected", "subagent.completed",
        "subagent.failed",
    ]
)  # fmt: skip


def session_folders() -> list[Path]:
    home = Path(os.environ.get("COPILOT_HOME") or Path.home() / ".copilot")
    return [home / "session-state"]


def detect_format(path: Path, head: bytes) -> bool:
    first = head.split(b"\n", 1)[0]
    return (
        path.suffix == ".jsonl"
        and re.search(rb'"type"\s*:\s*"session\.(start|resume)"', first) is not None
    )


def session_id(path: Path) -> str:
    return path.parent.name if path.stem == "events" else path.stem


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    for folder in session_folders():
        for path in sorted([*folder.glob("*/events.jsonl"), *folder.glob("*.jsonl")]):
            facts: dict[str, Any] = {}
            for record in first_records(path):
                data = record.get("data")
                if not isinstance(data, dict):
                    continue
                context = data.get("context")
                if isinstance(context, dict):
                    facts["project"] = str(context.get("cwd") or "")
                    facts["started"] = str(record.get("timestamp") or "")
                elif record.get("type") == "user.message":
                    facts["title"] = str(data.get("content") or "")[:200]
                    break
            yield SessionInfo("copilot-cli", session_id(path), str(path), **facts)


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    state = source.state

    def read_record(record: dict[str, Any]) -> Iterator[TranscriptEvent]:
        for event in _record_events(record, state):
            if isinstance(event, MessagePiece):
                event.native = str(record.get("id") or "")
                parent = record.get("parentId", "")
                event.parent = None if parent is None else str(parent)
                event.ts = str(record.get("timestamp") or "")
                event.cwd = str(state.get("cwd") or "")
                if agent := record.get("agentId"):
                    event.thread = _thread_name(agent)
                    event.origin = "subagent" if event.origin == "human" else event.origin
            yield event

    return json_lines(source, start, read_record)


def _record_events(record: dict[str, Any], state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    kind, data = str(record.get("type")), record.get("data")
    data = data if isinstance(data, dict) else {}
    if kind == "session.start":
        yield SessionMetadata("version", str(data.get("copilotVersion") or ""))
        context = data.get("context")
        if isinstance(context, dict):
            state["cwd"] = context.get("cwd")
            yield SessionMetadata("gitBranch", str(context.get("branch") or ""))
        yield MessagePiece("system", "harness", [])
    elif kind == "user.message":
        yield MessagePiece("user", "human", [TurnBlock("text", str(data.get("content") or ""))])
    elif kind == "assistant.message":
        used = state.get("used", {}).pop(str(record.get("agentId") or ""), None)
        yield _reply_piece(data, used)
    elif kind == "session.usage_record":
        # Of the message that follows, in the same thread.
        state.setdefault("used", {})[str(record.get("agentId") or "")] = data.get("usage")
        yield MessagePiece("system", "harness", [])
    elif kind == "assistant.reasoning":
        text = str(data.get("content") or "")
        yield MessagePiece("assistant", "agent", [TurnBlock("thinking", text)])
    elif kind == "tool.execution_complete":
        block = _result_block(data)
        block.arg = state.get("agents", {}).pop(block.call, "")
        yield MessagePiece("user", "agent", [block])
    elif kind == "subagent.started":
        agents = state.setdefault("agents", {})
        agents[str(data.get("toolCallId") or "")] = _thread_name(record.get("agentId"))
        yield MessagePiece("system", "harness", [])
    elif kind == "session.compaction_complete":
        block = TurnBlock("compaction", str(data.get("summaryContent") or ""))
        yield MessagePiece("user", "compaction", [block], boundary=True)
    elif kind in ("session.error", "session.warning", "abort"):
        text = str(data.get("message") or data.get("reason") or kind)
        status: Status = "cancelled" if kind == "abort" else "error"
        yield MessagePiece(
            "system", "harness", [TurnBlock("notice", text, name=kind, status=status)]
        )
    else:
        yield SkippedRecord("noise" if kind in _NOISE else "unknown", kind)
        yield MessagePiece("system", "harness", [])


def _thread_name(agent: Any) -> str:
    return f"agent-{str(agent)[:8]}"


def _reply_piece(data: dict[str, Any], used: Any) -> MessagePiece:
    piece = MessagePiece("assistant", "agent", [], group=str(data.get("messageId") or ""))
    if text := data.get("reasoningText"):
        piece.blocks.append(TurnBlock("thinking", str(text)))
    if text := data.get("content"):
        piece.blocks.append(TurnBlock("text", str(text)))
    for call in data.get("toolRequests") or []:
        if isinstance(call, dict):
            name, call_id = str(call.get("name") or ""), str(call.get("toolCallId") or "")
            piece.blocks.append(tool_calls.call_block(name, call.get("arguments") or {}, call_id))
    named = used.get("model") if isinstance(used, dict) else ""
    piece.model = str(data.get("model") or named or "")
    if isinstance(used, dict):
        cached = count_tokens(used, "cacheReadTokens")
        fresh = max(0, count_tokens(used, "inputTokens") - cached)
        written = count_tokens(used, "cacheWriteTokens")
        piece.usage = TurnUsage(fresh, cached, written, count_tokens(used, "outputTokens"))
    elif isinstance(tokens := data.get("outputTokens"), int):
        piece.usage = TurnUsage(output=tokens)
    piece.usage_key = piece.group
    return piece


def _result_block(data: dict[str, Any]) -> TurnBlock:
    result = data.get("result")
    error = data.get("error")
    if isinstance(result, dict):
        text = str(result.get("content") or result.get("detailedContent") or "")
    else:
        text = str(error.get("message") or "") if isinstance(error, dict) else str(result or "")
    success = data.get("success")
    status, code = tool_calls.result_outcome(
        text, not success if isinstance(success, bool) else None
    )
    ran = data.get("shellExecution")
    found = ran.get("exitCode") if isinstance(ran, dict) else None
    if isinstance(found, int) and not isinstance(found, bool):
        # A command that failed is a call that succeeded.
        status, code = ("error" if found else status), found
    return TurnBlock(
        "result", text, call=str(data.get("toolCallId") or ""), status=status, exit_code=code
    )


READER = TranscriptReader(
    agent="copilot-cli",
    layout="Copilot CLI events",
    version=2,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    session_id=session_id,
)
