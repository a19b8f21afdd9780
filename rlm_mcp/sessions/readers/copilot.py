"""Read VS Code Copilot's chats: workspaceStorage/<hash>/chatSessions/<id>.json or .jsonl.

The JSON-lines form is a log of operations on one object: 0 states it, 1 sets the value at a path,
2 appends to the list at a path (after cutting it at `i`), 3 deletes. Requests that were cut away
and asked anew stay here as a superseded branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp import files
from rlm_mcp.sessions import jsonl, tool_calls
from rlm_mcp.sessions.readers import editor_folders
from rlm_mcp.sessions.readers.reader import TranscriptReader, guard_shapes
from rlm_mcp.sessions.schema import (
    MessagePiece,
    Rewind,
    SessionInfo,
    SessionMetadata,
    SkippedRecord,
    Status,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
)

_SHOWN = frozenset(["", "markdownContent", "markdownVuln", "warning"])
_NOISE = frozenset(
    [
        "textEditGroup", "undoStop", "codeblockUri", "inlineReference", "progressMessage",
        "prepareToolInvocation", "mcpServersStarting", "progressTaskSerialized", "command",
        "elicitation", "elicitationSerialized", "confirmation", "references", "notebookEditGroup",
        "treeData", "extensions", "pullRequest", "multiDiffData", "reference", "workspaceEdit",
    ]
)  # fmt: skip


def session_folders() -> list[Path]:
    found = []
    for user in editor_folders.user_data_folders(
        "Code", "Code - Insiders", "VSCodium", "code-server"
    ):
        found += [user / "workspaceStorage", user / "globalStorage" / "emptyWindowChatSessions"]
    return found


def detect_format(path: Path, head: bytes) -> bool:
    if path.suffix == ".json":
        return b'"requests"' in head and b'"responderUsername"' in head
    first = head.split(b"\n", 1)[0].replace(b" ", b"")
    return path.suffix == ".jsonl" and first.startswith(b'{"kind":0,"v":{')


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    for folder in session_folders():
        for path in sorted([*folder.glob("*/chatSessions/*.json*"), *folder.glob("*.json*")]):
            where = (
                editor_folders.workspace_project(path.parent.parent)
                if path.parent != folder
                else ""
            )
            yield SessionInfo("copilot", path.stem, str(path), "", where)


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    if source.path.endswith(".json"):
        value = editor_folders.load_json(Path(source.path))
        if not isinstance(value, dict):
            yield SkippedRecord("broken")
            return
        yield from _session_events(value, source)
        yield from _request_events(value, 0, source)
        return
    yield from _log_events(source)


def _log_events(source: TranscriptSource) -> Iterator[TranscriptEvent]:
    """Apply the operations; what is about to be cut off is told first, as superseded."""
    value: dict[str, Any] = {}
    told = 0
    with files.open_regular(source.path) as file:
        for begin, end, record, _ in jsonl.read_records(file, 0):
            if end == begin:
                yield SkippedRecord("unfinished")
                break
            if record is None:
                yield SkippedRecord("broken")
                continue
            cut = _cut_point(value, record)
            if cut is not None:
                yield from _request_events(value, told, source)
                asked = value["requests"]
                name = _request_id(asked[cut - 1], cut - 1) if cut else ""
                yield Rewind(native=f"{name}.reply" if name else "", superseded=True)
                told = cut
            if record.get("kind") not in (0, 1, 2, 3):
                yield SkippedRecord("unknown", f"operation {record.get('kind')}")
                continue
            try:
                value = _apply_operation(value, record)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError):
                yield SkippedRecord("broken", "operation")
    yield from guard_shapes(_session_events(value, source))
    yield from _request_events(value, told, source)


def _cut_point(value: Mapping[str, Any], record: Mapping[str, Any]) -> int | None:
    """Return where an operation cuts the list of requests, if it does."""
    asked = value.get("requests")
    if record.get("k") != ["requests"] or not isinstance(asked, list):
        return None
    if record.get("kind") == 2 and isinstance(record.get("i"), int):
        return record["i"] if 0 <= record["i"] < len(asked) else None
    if record.get("kind") == 1 and isinstance(record.get("v"), list):
        return 0 if asked else None
    return None


def _apply_operation(value: dict[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    kind, keys = record.get("kind"), record.get("k") or []
    if kind == 0:
        fresh = record["v"]
        return fresh if isinstance(fresh, dict) else value
    at: Any = value
    for key in keys[:-1]:
        at = at[key]
    last = keys[-1]
    if kind == 1:
        if isinstance(at, list) and last == len(at):
            at.append(record["v"])
        else:
            at[last] = record["v"]
    elif kind == 2:
        items = at.setdefault(last, []) if isinstance(at, dict) else at[last]
        if isinstance(record.get("i"), int) and record["i"] >= 0:
            del items[record["i"] :]
        items.extend(record.get("v") or [])
    elif kind == 3:
        del at[last]
    return value


def _session_events(
    value: Mapping[str, Any], source: TranscriptSource
) -> Iterator[TranscriptEvent]:
    if title := value.get("customTitle"):
        yield SessionMetadata("title", str(title))
    where = editor_folders.workspace_project(Path(source.path).parent.parent)
    source.state["cwd"] = where
    if value.get("version") not in (1, 2, 3, None):
        yield SkippedRecord("unknown", f"version {value.get('version')}")


def _request_id(request: Any, number: int) -> str:
    name = request.get("requestId") if isinstance(request, dict) else None
    return str(name or f"request-{number}")


def _request_events(
    value: Mapping[str, Any], first: int, source: TranscriptSource
) -> Iterator[TranscriptEvent]:
    asked = value.get("requests")
    where = source.state.get("cwd") or editor_folders.workspace_project(
        Path(source.path).parent.parent
    )
    for number, request in enumerate(asked if isinstance(asked, list) else []):
        if number < first or not isinstance(request, dict):
            continue
        for event in guard_shapes(_request_pieces(request, _request_id(request, number))):
            if isinstance(event, MessagePiece):
                event.cwd = where
            yield event


def _request_pieces(request: Mapping[str, Any], name: str) -> Iterator[TranscriptEvent]:
    message = request.get("message")
    text = message.get("text") if isinstance(message, dict) else message
    at = editor_folders.iso_time(request.get("timestamp"))
    prompt = [TurnBlock("text", str(text or ""))]
    variables = request.get("variableData")
    for item in (variables.get("variables") or []) if isinstance(variables, dict) else []:
        if isinstance(item, dict):
            prompt.append(TurnBlock("notice", f"[attached: {item.get('name')}]", name="attachment"))
    pointer = f"/requests/{name}"
    yield MessagePiece("user", "human", prompt, native=name, ts=at, pointer=f"{pointer}/message")
    blocks = list(_response_blocks(request))
    piece = MessagePiece("assistant", "agent", blocks, native=f"{name}.reply", ts=at)
    piece.group, piece.pointer = f"{name}.reply", f"{pointer}/response"
    piece.model = str(request.get("modelId") or "")
    if request.get("isCanceled"):
        piece.blocks.append(TurnBlock("notice", "cancelled by the user", status="cancelled"))
    if piece.blocks:
        yield piece


def _response_blocks(request: Mapping[str, Any]) -> Iterator[TurnBlock]:
    result = request.get("result")
    meta = result.get("metadata") if isinstance(result, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    if summary := meta.get("summary"):
        text = summary.get("text") if isinstance(summary, dict) else str(summary)
        yield TurnBlock("compaction", str(text or ""))
    known = _recorded_calls(meta)
    results = meta.get("toolCallResults")
    results = results if isinstance(results, dict) else {}
    told: set[str] = set()
    for part in request.get("response") or []:
        if not isinstance(part, dict):
            continue
        kind = str(part.get("kind") or "")
        if kind in ("toolInvocationSerialized", "toolInvocation"):
            told.add(str(part.get("toolCallId")))
            yield from _call_blocks(part, known, results)
        elif kind == "thinking":
            yield TurnBlock("thinking", _plain_text(part.get("value")))
        elif kind in _SHOWN and (text := _plain_text(part.get("value", part.get("content")))):
            yield TurnBlock("text", text)
        elif kind not in _NOISE and kind not in _SHOWN:
            words = _plain_text(part.get("value", part.get("content")))
            yield TurnBlock("notice", f"[{kind}] {words}".strip(), note="not understood")
    for call_id, call in known.items():
        if call_id not in told:
            yield tool_calls.call_block(str(call.get("name")), call.get("arguments"), call_id)
            yield from _result_block(call_id, results, "")
    error = result.get("errorDetails") if isinstance(result, dict) else None
    if isinstance(error, dict):
        yield TurnBlock("notice", str(error.get("message") or "error"), status="error")


def _recorded_calls(meta: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the calls that the rounds record, by id: the only place with whole arguments."""
    found: dict[str, Mapping[str, Any]] = {}
    for turn in meta.get("toolCallRounds") or []:
        for call in (turn.get("toolCalls") or []) if isinstance(turn, dict) else []:
            if isinstance(call, dict):
                found[str(call.get("id"))] = call
    return found


def _call_blocks(
    part: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    results: Mapping[str, Any],
) -> Iterator[TurnBlock]:
    call_id = str(part.get("toolCallId"))
    record = known.get(call_id)
    data = part.get("toolSpecificData")
    if record is not None:
        yield tool_calls.call_block(str(record.get("name")), record.get("arguments"), call_id)
    else:
        arguments: dict[str, Any] = {}
        if isinstance(data, dict) and data.get("kind") == "terminal":
            line = data.get("commandLine")
            text = line.get("original") if isinstance(line, dict) else data.get("command")
            arguments["command"] = str(text or "")
        else:
            arguments["message"] = _plain_text(part.get("invocationMessage"))
        yield tool_calls.call_block(str(part.get("toolId") or ""), arguments, call_id)
    confirmed = part.get("isConfirmed")
    denied = confirmed is False or (isinstance(confirmed, dict) and confirmed.get("type") == 0)
    yield from _result_block(call_id, results, "denied" if denied else "")


def _result_block(call_id: str, results: Mapping[str, Any], status: Status) -> Iterator[TurnBlock]:
    record = results.get(call_id)
    if not isinstance(record, dict):
        if status:
            yield TurnBlock("result", "", call=call_id, status=status)
        return
    parts = [part.get("value") for part in record.get("content") or [] if isinstance(part, dict)]
    text = "\n".join(part for part in parts if isinstance(part, str))
    shown, code = tool_calls.result_outcome(text, None)
    yield TurnBlock("result", text, call=call_id, status=status or shown, exit_code=code)


def _plain_text(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, list):
        return "".join(_plain_text(item) for item in value)
    return value if isinstance(value, str) else ""


READER = TranscriptReader(
    agent="copilot",
    layout="VS Code Copilot chat",
    version=2,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    limits=("arguments and results of a cancelled request's calls are not recorded",),
)
