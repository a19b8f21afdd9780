"""Read Gemini CLI's chats: ~/.gemini/tmp/<project>/chats/session-*.json (one object) or .jsonl.

In the JSON-lines form a record with a known id updates that message, `$rewindTo` drops a message
and what followed, and `$set` with messages replaces all of them. Where these say something new it
was a compression: the agent forgets what came before, this reader does not. A chat that starts or
goes on lists what is known.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers import editor_folders, gemini_parts
from rlm_mcp.sessions.readers.reader import TranscriptReader, first_records, json_lines, json_list
from rlm_mcp.sessions.schema import (
    MessagePiece,
    Origin,
    Rewind,
    SessionInfo,
    SessionMetadata,
    SkippedRecord,
    Status,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
)

_STATES = {"success": False, "error": True}
_REMEMBERED = 500
_LISTED = 5_000
"""Messages that are remembered, to tell a compression from a list of what is known."""
_SETTING = "<session_context>"
"""How begins what the program says of itself in a person's place."""
_COMPRESSED = re.compile(r"compress|summari[sz]ed", re.IGNORECASE)


def session_folders() -> list[Path]:
    home = Path(os.environ.get("GEMINI_CLI_HOME") or Path.home())
    return [home / ".gemini" / "tmp"]


def detect_format(path: Path, head: bytes) -> bool:
    marks = (b'"projectHash"', b'"sessionId"')
    return path.suffix in (".json", ".jsonl") and all(mark in head for mark in marks)


def session_id(path: Path) -> str:
    for record in first_records(path) if path.suffix == ".jsonl" else ():
        return str(record.get("sessionId") or path.stem)
    value = editor_folders.load_json(path) if path.suffix == ".json" else None
    return str(value.get("sessionId") or path.stem) if isinstance(value, dict) else path.stem


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    for folder in session_folders():
        projects = _project_folders(folder.parent)
        for path in sorted(folder.glob("*/chats/session-*.json*")):
            where = projects.get(path.parent.parent.name, "")
            yield SessionInfo("gemini", session_id(path), str(path), "", where, **_chat_facts(path))


def _chat_facts(path: Path) -> dict[str, Any]:
    """Return when a chat began, and its first prompt."""
    if path.suffix == ".jsonl":
        records = list(first_records(path))
    else:
        value = editor_folders.load_json(path)
        whole = value if isinstance(value, dict) else {}
        listed = whole.get("messages")
        records = [whole, *(listed if isinstance(listed, list) else [])]
    facts = {"started": str(records[0].get("startTime") or "") if records else ""}
    for record in records:
        blocks = gemini_parts.prompt_blocks(record.get("content")) if _is_prompt(record) else []
        if blocks and not blocks[0].text.lstrip().startswith(_SETTING):
            return {**facts, "title": blocks[0].text[:200]}
    return facts


def _is_prompt(record: Any) -> bool:
    return isinstance(record, dict) and record.get("type") == "user"


def _project_folders(home: Path) -> dict[str, str]:
    """Return the folder of each project, by its short name and by the hash of its path."""
    values = editor_folders.load_json(home / "projects.json")
    listed = values.get("projects") if isinstance(values, dict) else None
    found = {}
    for folder, name in listed.items() if isinstance(listed, dict) else ():
        found[str(name)] = folder
        found[hashlib.sha256(folder.encode()).hexdigest()] = folder
    return found


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    path = Path(source.path)
    if start == 0:
        where = (
            _project_folders(path.parents[3]).get(path.parents[1].name, "")
            if _in_chats(path)
            else ""
        )
        source.state["cwd"] = where
    state = source.state

    def read_record(record: dict[str, Any]) -> Iterator[TranscriptEvent]:
        for event in _record_events(record, state):
            if isinstance(event, MessagePiece):
                event.cwd = str(state.get("cwd") or "")
            yield event

    if path.suffix == ".json":
        value = editor_folders.load_json(path)
        messages = value.get("messages") if isinstance(value, dict) else None
        if not isinstance(messages, list):
            yield SkippedRecord("broken")
            return
        yield from json_list(messages, "/messages", read_record)
    else:
        yield from json_lines(source, start, read_record)


def _in_chats(path: Path) -> bool:
    return len(path.parents) > 3 and path.parent.name == "chats"


def _record_events(record: dict[str, Any], state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    if "$rewindTo" in record:
        yield Rewind(native=str(record["$rewindTo"]), inclusive=True)
    elif "$set" in record:
        change = record["$set"]
        messages = change.get("messages") if isinstance(change, dict) else None
        if isinstance(messages, list):
            yield from _list_events(messages, state)
        else:
            yield SkippedRecord("noise", "$set")
    elif "type" in record:
        yield from _message_events(record, state)
    elif "sessionId" in record:
        yield SessionMetadata("kind", str(record.get("kind") or ""))
    else:
        yield SkippedRecord("unknown", ",".join(sorted(record))[:60])


def _list_events(messages: list[Any], state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    """Yield the first messages of a chat, or the boundary of a compression with its summary."""
    listed = [item for item in messages if isinstance(item, dict)]
    if not state.get("known"):
        yield from json_list(listed, "/$set/messages", lambda item: _message_events(item, state))
        return
    new = [
        item
        for item in listed
        if gemini_parts.message_text(item.get("content")) and not _is_known(item, state)
    ]
    _remember_ids(listed, state)
    yield from json_list(messages, "/$set/messages", lambda item: _summary_pieces(item, new))
    if not new:
        yield SkippedRecord("noise", "$set messages")


def _summary_pieces(
    item: Mapping[str, Any], new: Sequence[Mapping[str, Any]]
) -> Iterator[MessagePiece]:
    """Yield a new message of a compression, with the address that it has as a message, too."""
    if any(item is one for one in new):
        block = TurnBlock("text", gemini_parts.message_text(item.get("content")))
        group = f"$set {new[0].get('id')}"
        piece = MessagePiece("user", "compaction", [block], group=group)
        piece.ts = str(item.get("timestamp") or "")
        if item.get("type") == "gemini":
            piece.pointer = f"{item.get('id')} {_block_mark(block)}"
        block.type = "compaction"
        yield piece


def _is_known(item: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    """Say whether a message was there before; in a list it may have another id."""
    name = str(item.get("id") or "").removesuffix("_response")
    return (
        name in state["known"]
        or _text_digest(gemini_parts.message_text(item.get("content"))) in state["known"]
    )


def _remember_ids(items: Sequence[Mapping[str, Any]], state: dict[str, Any]) -> None:
    known: dict[str, None] = dict.fromkeys(state.get("known") or ())
    for item in items:
        said = gemini_parts.message_text(item.get("content"))
        known |= dict.fromkeys(
            filter(None, (str(item.get("id") or ""), said and _text_digest(said)))
        )
    state["known"] = list(known)[-_LISTED:]


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode("utf-8", "replace")).hexdigest()[:12]


def _message_events(record: Mapping[str, Any], state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    kind, name = str(record.get("type")), str(record.get("id") or "")
    ts = str(record.get("timestamp") or "")
    _remember_ids([record], state)
    if kind == "user":
        state["last"] = ""
        blocks = gemini_parts.prompt_blocks(record.get("content"))
        if not blocks and record.get("content"):
            yield SkippedRecord("noise", "functionResponse")  # the call's own record has it
            return
        setting = blocks and blocks[0].text.lstrip().startswith(_SETTING)
        origin: Origin = "harness" if setting else "human"
        piece = MessagePiece("user", origin, blocks, native=name)
    elif kind == "gemini":
        yield from _reply_pieces(record, name, ts, state)
        return
    elif kind in ("info", "error", "warning"):
        text = gemini_parts.message_text(record.get("content"))
        status: Status = "error" if kind == "error" else ""
        block = TurnBlock("notice", text, name=kind, status=status)
        piece = MessagePiece("system", "harness", [block], native=name)
        if kind == "info" and _COMPRESSED.search(text[:80]):
            piece.origin, piece.boundary = "compaction", True
            block.type, block.name = "compaction", "boundary"
    else:
        yield SkippedRecord("unknown", kind)
        return
    piece.ts = ts
    yield piece


def _reply_pieces(
    record: Mapping[str, Any], name: str, ts: str, state: dict[str, Any]
) -> Iterator[TranscriptEvent]:
    """Yield the blocks that no earlier record of the same id had, each found again by its mark."""
    seen: dict[str, list[str]] = state.setdefault("seen", {})
    known = seen.pop(name, [])
    seen[name] = known
    if len(seen) > _REMEMBERED:
        del seen[next(iter(seen))]
    for block in _reply_blocks(record):
        mark = _block_mark(block)
        if mark in known:
            continue
        piece = MessagePiece(
            "assistant", "agent", [block], group=name, ts=ts, pointer=f"{name} {mark}"
        )
        piece.native = f"{name}~{len(known)}" if known else name
        piece.model = str(record.get("model") or "")
        known.append(mark)
        state["last"] = name
        yield piece
    if state.get("last") == name and (used := gemini_parts.reply_usage(record.get("tokens"))):
        yield MessagePiece("assistant", "agent", [], group=name, usage=used, usage_key=name)


def _block_mark(block: TurnBlock) -> str:
    what = block.call if block.type in ("call", "result") else block.text
    return f"{block.type} {_text_digest(what)}"


def _reply_blocks(record: Mapping[str, Any]) -> Iterator[TurnBlock]:
    for thought in record.get("thoughts") or []:
        if isinstance(thought, dict):
            yield TurnBlock("thinking", str(thought.get("description") or ""))
    if text := gemini_parts.message_text(record.get("content")):
        yield TurnBlock("text", text)
    results = []
    for number, call in enumerate(record.get("toolCalls") or []):
        if not isinstance(call, dict):
            continue
        call_id = str(call.get("id") or f"{record.get('id')}.{number}")
        yield tool_calls.call_block(str(call.get("name") or ""), call.get("args") or {}, call_id)
        if call.get("result") is not None or call.get("status") in ("error", "cancelled"):
            results.append(_result_block(call, call_id))
    yield from results


def _result_block(call: Mapping[str, Any], call_id: str) -> TurnBlock:
    text = gemini_parts.response_text(call.get("result"))
    if not text and isinstance(call.get("resultDisplay"), str):
        text = call["resultDisplay"]
    state = call.get("status")
    status, code = tool_calls.result_outcome(text, _STATES.get(str(state)))
    if state == "cancelled":
        status = "cancelled"
    return TurnBlock("result", text, call=call_id, status=status, exit_code=code)


READER = TranscriptReader(
    agent="gemini",
    layout="Gemini CLI chat",
    version=3,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    session_id=session_id,
    limits=("the agent keeps at most 50 KB of a tool's output",),
)
