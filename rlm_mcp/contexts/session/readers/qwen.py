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

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.readers import parts
from rlm_mcp.contexts.session.readers.messages import count
from rlm_mcp.contexts.session.readers.reader import Reader, first_records, json_lines
from rlm_mcp.contexts.session.turns import (
    Block,
    Event,
    Found,
    Meta,
    Odd,
    Origin,
    Piece,
    Source,
    Usage,
)

_STATES = {"success": False, "error": True}
_NOISE = frozenset(["ui_telemetry", "attribution_snapshot", "at_command", "rewind"])


def folders() -> list[Path]:
    home = Path(os.environ.get("QWEN_HOME") or Path.home() / ".qwen")
    return [home / "projects"]


def detect(path: Path, head: bytes) -> bool:
    if path.suffix != ".jsonl" or b'"parentUuid"' not in head:
        return False
    return (
        re.search(rb'"message"\s*:\s*\{\s*"role"\s*:\s*"\w+"\s*,\s*"parts"\s*:', head) is not None
    )


def find(roots: Sequence[Path]) -> Iterator[Found]:
    for folder in folders():
        for path in sorted(folder.glob("*/chats/*.jsonl")):
            facts: dict[str, Any] = {}
            for record in first_records(path):
                facts.setdefault("project", str(record.get("cwd") or ""))
                facts.setdefault("started", str(record.get("timestamp") or ""))
                message = record.get("message")
                if record.get("type") == "user" and isinstance(message, dict):
                    facts["title"] = parts.said(message.get("parts"))[:200]
                    break
            yield Found("qwen", path.stem, str(path), **facts)


def events(source: Source, start: int) -> Iterator[Event]:
    yield from json_lines(source, start, _record)


def _record(record: dict[str, Any]) -> Iterator[Event]:
    if version := record.get("version"):
        yield Meta("version", str(version))
    if branch := record.get("gitBranch"):
        yield Meta("gitBranch", str(branch))
    for event in _events(record):
        if isinstance(event, Piece):
            event.native = str(record.get("uuid") or "")
            event.parent = record.get("parentUuid")
            event.ts, event.cwd = str(record.get("timestamp") or ""), str(record.get("cwd") or "")
        yield event


def _events(record: Mapping[str, Any]) -> Iterator[Event]:
    kind, message = record.get("type"), record.get("message")
    content = message.get("parts") if isinstance(message, dict) else None
    if kind == "user":
        apart: Origin = "harness" if record.get("subtype") else "human"
        yield Piece("user", apart, parts.prompt(content))
    elif kind == "assistant":
        piece = Piece("assistant", "agent", list(_reply(content)))
        piece.model, piece.usage = str(record.get("model") or ""), _usage(record)
        yield piece
    elif kind == "tool_result":
        yield Piece("user", "agent", list(_results(content, record.get("toolCallResult"))))
    elif kind == "system":
        yield from _system(record)
    else:
        yield Odd("unknown", str(kind))


def _system(record: Mapping[str, Any]) -> Iterator[Event]:
    kind, payload = str(record.get("subtype")), record.get("systemPayload")
    payload = payload if isinstance(payload, dict) else {}
    if kind == "chat_compression":
        kept = payload.get("compressedHistory")
        first = kept[0] if isinstance(kept, list) and kept else {}
        text = parts.said(first.get("parts")) if isinstance(first, dict) else ""
        yield Piece("user", "compaction", [Block("compaction", text)], boundary=True)
        return
    if kind == "custom_title":
        yield Meta("title", str(payload.get("customTitle") or payload.get("title") or ""))
    elif kind not in _NOISE:
        text = str(payload.get("rawCommand") or kind)
        yield Piece("system", "harness", [Block("notice", text, name=kind)])
        return
    yield Piece("system", "harness", [])  # it carries the chain on


def _reply(content: Any) -> Iterator[Block]:
    for part in content if isinstance(content, list) else []:
        if not isinstance(part, dict):
            continue
        call, text = part.get("functionCall"), str(part.get("text") or "")
        if isinstance(call, dict):
            yield calls.call(
                str(call.get("name") or ""), call.get("args") or {}, str(call.get("id") or "")
            )
        elif text:
            yield Block("thinking" if part.get("thought") is True else "text", text)


def _results(content: Any, known: Any) -> Iterator[Block]:
    state = known.get("status") if isinstance(known, dict) else None
    for part in content if isinstance(content, list) else []:
        answer = part.get("functionResponse") if isinstance(part, dict) else None
        if not isinstance(answer, dict):
            continue
        text = parts.response(part)
        status, code = calls.outcome(text, _STATES.get(str(state)))
        if state == "cancelled":
            status = "cancelled"
        yield Block("result", text, call=str(answer.get("id") or ""), status=status, exit_code=code)


def _usage(record: Mapping[str, Any]) -> Usage | None:
    used = record.get("usageMetadata")
    if not isinstance(used, dict):
        return None
    cached = count(used, "cachedContentTokenCount")
    output = count(used, "candidatesTokenCount")
    return Usage(max(0, count(used, "promptTokenCount") - cached), cached, 0, output)


READER = Reader(
    agent="qwen",
    layout="Qwen Code chat",
    version=1,
    detect=detect,
    events=events,
    folders=folders,
    find=find,
)
