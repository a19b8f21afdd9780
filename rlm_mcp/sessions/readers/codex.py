"""Read Codex CLI's rollouts: ~/.codex/sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl.

Messages are response items; the event messages that repeat them are passed over. A rollback says
how many prompts to take back. Reasoning and compactions may be encrypted: their size is all that
there is. A thread may stand in several files (see codex_threads).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlm_mcp import files
from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers import editor_folders
from rlm_mcp.sessions.readers.anthropic_messages import count_tokens
from rlm_mcp.sessions.readers.reader import (
    HEAD_BYTES,
    RecordReader,
    TranscriptReader,
    first_records,
    json_lines,
    json_list,
)
from rlm_mcp.sessions.schema import (
    ChildTranscript,
    FileOp,
    MessagePiece,
    Rewind,
    SessionInfo,
    SessionMetadata,
    SkippedRecord,
    Status,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
    TurnUsage,
)

_STATES: Mapping[str, Status] = {
    "completed": "ok", "failed": "error", "declined": "denied", "interrupted": "cancelled",
}  # fmt: skip


def script_call(payload: Mapping[str, Any], call_id: str) -> TurnBlock:
    """Return the call of a script; what it says is no shell command, whatever it holds."""
    source = str(payload.get("input") or "")
    first = source.partition("\n")[0][:200]
    return TurnBlock("call", source, name="exec", kind="other", call=call_id, arg=first)


def done_blocks(item: Mapping[str, Any]) -> list[TurnBlock]:
    """Return the call and the result of a command or a change of files, nothing for others."""
    if item.get("type") == "CommandExecution":
        return _command_blocks(item)
    if item.get("type") == "FileChange":
        return _change_blocks(item)
    return []


def _command_blocks(item: Mapping[str, Any]) -> list[TurnBlock]:
    name = str(item.get("id") or "")
    where = str(item.get("cwd") or "").removeprefix("file://")
    line = tool_calls.command_line({"command": item.get("command")})
    call = tool_calls.call_block("exec_command", {"cmd": line, "workdir": where}, name)
    result = TurnBlock("result", str(item.get("aggregated_output") or ""), call=name)
    code = item.get("exit_code")
    result.exit_code = code if isinstance(code, int) and not isinstance(code, bool) else None
    result.status = "error" if result.exit_code else _STATES.get(str(item.get("status")), "")
    return [call, result]


def _change_blocks(item: Mapping[str, Any]) -> list[TurnBlock]:
    name, changes = str(item.get("id") or ""), item.get("changes")
    ops: list[FileOp] = []
    texts = []
    for path, change in changes.items() if isinstance(changes, dict) else ():
        if isinstance(change, dict):
            ops += _change_ops(str(path), change)
            body = change.get("unified_diff") or change.get("content") or ""
            texts.append(f"{change.get('type')} {path}\n{body}")
    call = TurnBlock("call", "\n".join(texts), name="apply_patch", kind="edit", call=name)
    call.ops, call.arg = tuple(ops), " ".join(op.path for op in ops)
    said = "\n".join(str(item[key]) for key in ("stdout", "stderr") if item.get(key))
    status = _STATES.get(str(item.get("status")), "")
    return [call, TurnBlock("result", said, call=name, status=status)]


def _change_ops(path: str, change: Mapping[str, Any]) -> Iterator[FileOp]:
    kind = change.get("type")
    if kind == "add":
        yield FileOp(path, "create", new=str(change.get("content") or ""))
    elif kind == "delete":
        yield FileOp(path, "delete")
    else:
        yield FileOp(path, "edit", patch=str(change.get("unified_diff") or ""))
        if move := change.get("move_path"):
            yield FileOp(str(move), "rename", old=path)


_NAME = re.compile(r"rollout-.*?-?([0-9a-f]{8}-[0-9a-f-]{27})(?:_[0-9a-f-]{36})?\Z")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}\Z")
_ORDINAL = re.compile(rb'"ordinal"\s*:\s*(\d+)')
HARNESS_STARTS = (
    "<environment_context>", "<user_instructions>", "<permissions instructions>",
    "# AGENTS.md instructions", "<INSTRUCTIONS>", "<turn_aborted>", "<user_shell_command>",
    "<collaboration_mode>", "<skill>", "<skills_instructions>", "<subagent_notification>",
    "<personality_spec>", "<app-context>", "Warning: apply_patch was requested via ",
    "Warning: The maximum number of ",
)  # fmt: skip
"""How begins what the agent's program writes in a person's place."""


def session_folders() -> list[Path]:
    home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    return [home / "sessions", home / "archived_sessions"]


def session_id(path: Path) -> str:
    match = _NAME.match(path.stem)
    return match[1] if match else path.stem


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    """List the threads; one that went on in another file is listed by its newest."""
    for folder in session_folders():
        threads: dict[str, SessionInfo] = {}
        for path in sorted(folder.glob("**/rollout-*.json*")):
            facts = _thread_facts(path, HEAD_BYTES)
            if not facts.get("title"):  # what the model is told before may be long
                facts = _thread_facts(path, 8 * HEAD_BYTES)
            found = SessionInfo("codex", session_id(path), str(path), **facts)
            first = threads.get(found.native, found)
            threads[found.native] = replace(
                found, title=first.title or found.title, started=first.started or found.started
            )
        yield from threads.values()


def _thread_facts(path: Path, most: int) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for record in first_records(path, most):
        payload = record.get("payload")
        if not isinstance(payload, dict):
            continue
        if record.get("type") == "session_meta":
            facts["project"] = str(payload.get("cwd") or "")
            facts["started"] = str(record.get("timestamp") or "")
            facts["parent"] = parent_thread(payload)[0]
        elif payload.get("role") == "user":
            typed = parts_text(payload.get("content"))
            if not typed.lstrip().startswith(HARNESS_STARTS):
                facts["title"] = typed[:200]
                break
    return facts


def find_children(path: Path) -> Sequence[ChildTranscript]:
    """Return the subagents' rollouts of this day and the next that name this one as parent."""
    own, found = session_id(path), []
    days = sorted(path.parents[2].glob("*/*")) if path.parent.name.isdigit() else []
    at = days.index(path.parent) if path.parent in days else 0
    near = days[at : at + 2] or [path.parent]
    for other in sorted(other for day in near for other in day.glob("rollout-*.jsonl")):
        if other == path:
            continue
        payload = _head_payload(other)
        if parent_thread(payload) == (own, "subagent"):
            spawn = payload["source"]["subagent"]["thread_spawn"]
            facts = {key: str(value) for key, value in spawn.items()}
            found.append(ChildTranscript(str(other), thread_name(session_id(other)), "", facts))
    return found


def thread_name(thread: str) -> str:
    """Return how refs call a subagent."""
    return f"agent-{thread[-8:]}"


def parent_thread(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Return the id of the session that this one came from, and how."""
    source = payload.get("source")
    spawn = source.get("subagent") if isinstance(source, dict) else None
    spawn = spawn.get("thread_spawn") if isinstance(spawn, dict) else None
    if isinstance(spawn, dict) and spawn.get("parent_thread_id"):
        return str(spawn["parent_thread_id"]), "subagent"
    if fork := payload.get("forked_from_id"):
        return str(fork), "fork"
    return "", ""


@dataclass(frozen=True, slots=True)
class ThreadBase:
    """What a thread goes on from: records below `ordinal` of a file, None where it is gone."""

    path: Path | None
    ordinal: int
    same: bool
    """Whether it is the same thread, rewound, and no fork."""


def thread_base(path: Path) -> ThreadBase | None:
    """Return what a rollout goes on from, None where it stands alone."""
    payload = _head_payload(path)
    stated = payload.get("history_base")
    if not isinstance(stated, dict):
        return None
    thread, ordinal = stated.get("thread_id"), stated.get("end_ordinal_exclusive")
    if not isinstance(thread, str) or not _ID.match(thread) or not isinstance(ordinal, int):
        return ThreadBase(None, 0, same=False)
    stop = stated.get("end_byte_offset")
    earlier = [other for other in _thread_files(path, thread) if other.name < path.name]
    fits = (
        other for other in reversed(earlier)
        if _begins_record(other, stop if isinstance(stop, int) else -1, ordinal)
    )  # fmt: skip
    return ThreadBase(next(fits, None), ordinal, same=thread == payload.get("id"))


def _thread_files(path: Path, thread: str) -> list[Path]:
    """Return the rollouts of a thread near another one, in the order of their times."""
    found = {*path.parent.glob(f"rollout-*{thread}*.jsonl")}
    names = [folder.name for folder in path.parents[:4]]
    home = None
    if names[3:] == ["sessions"] and all(name.isdigit() for name in names[:3]):
        home = path.parents[4]
    elif names[:1] == ["archived_sessions"]:
        home = path.parents[1]
    if home:
        found |= {*home.glob(f"sessions/*/*/*/rollout-*{thread}*.jsonl")}
        found |= {*home.glob(f"archived_sessions/rollout-*{thread}*.jsonl")}
    own = [other for other in found if session_id(other) == thread and files.is_regular_file(other)]
    return sorted((other for other in own if other != path), key=lambda other: other.name)


def _begins_record(path: Path, stop: int, ordinal: int) -> bool:
    """Say whether the record that begins at a byte of a file has this number, or none begins."""
    try:
        with files.open_regular(path) as file:
            if stop < 1 or file.seek(0, os.SEEK_END) < stop:
                return False
            file.seek(stop - 1)
            head = file.read(257)
    except OSError:
        return False
    number = _ORDINAL.search(head)
    return head[:1] == b"\n" and (len(head) == 1 or bool(number and int(number[1]) == ordinal))


def _head_payload(path: Path) -> dict[str, Any]:
    payload = next(first_records(path), {}).get("payload")
    return payload if isinstance(payload, dict) else {}


def parts_text(content: Any) -> str:
    """Return the text of a message's parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(p.get("text") or "") for p in content if isinstance(p, dict))


_TYPES = ("session_meta", "turn_context", "response_item", "event_msg", "compacted")
_NOISE = frozenset(["world_state", "token_usage_record"])
_REFUSED = re.compile(
    r"unsupported (?:custom tool )?call: |apply_patch verification failed|Script failed\n|"
    r"failed to parse function arguments|exec_command failed|unable to (?:parse|run) "
)
"""How the output of a call begins that came to nothing, where no exit code says so."""
_CALLS = 200
"""Newest calls that are remembered, to tell notes that repeat them."""
_DEEP = 50
"""Files of one history that are followed."""
_EDITOR = "# Context from my IDE setup:"
_REQUEST = re.compile(r"^## My request for Codex:\s*$", re.MULTILINE)
_OLD = re.compile(rb'\s*\{\s*"session"\s*:\s*\{[^{}]*"(?:id|timestamp)"')
_BARE = re.compile(rb'\{(?=[^{}]{0,200}"id")(?=[^{}]{0,200}"timestamp")[^{}]*"instructions"\s*:')
"""The first line of a rollout of early 2025."""
_REPEATED = frozenset(
    [
        "user_message", "agent_message", "agent_reasoning", "agent_reasoning_raw_content",
        "patch_apply_begin", "patch_apply_end", "exec_command_begin", "exec_command_end",
        "exec_command_output_delta", "context_compacted", "task_started", "task_complete",
        "turn_started", "turn_complete", "mcp_tool_call_begin", "mcp_tool_call_end",
        "web_search_begin", "web_search_end", "entered_review_mode", "exited_review_mode",
        "turn_diff", "plan_update", "background_event", "item_started", "item_completed",
        "thread_name_updated", "token_count", "thread_settings_applied",
    ]
)  # fmt: skip


def detect_format(path: Path, head: bytes) -> bool:
    if path.suffix == ".json":
        return _OLD.match(head) is not None and b'"items"' in head
    if path.suffix != ".jsonl":
        return False
    for raw in head.splitlines()[:5]:
        if _BARE.match(raw):
            return True
        if re.search(rb'"payload"\s*:', raw) and re.search(
            rb'"type"\s*:\s*"(' + b"|".join(name.encode() for name in _TYPES) + rb')"', raw
        ):
            return True
    return False


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    state = source.state

    def read_record(record: dict[str, Any]) -> Iterator[TranscriptEvent]:
        for event in _record_events(record, state):
            if isinstance(event, MessagePiece):
                event.ts = str(record.get("timestamp") or "")
                event.cwd = str(state.get("cwd") or "")
                if state.get("subagent") and event.origin == "human":
                    event.origin = "subagent"
            yield event

    if source.path.endswith(".json"):
        value = editor_folders.load_json(Path(source.path))
        whole = value if isinstance(value, dict) else {}
        yield from read_record({"type": "session_meta", "payload": whole.get("session")})
        yield from json_list(whole.get("items"), "/items", read_record)
        return
    if start == 0:
        yield from _inherited_events(Path(source.path), state, read_record, _DEEP)
    yield from json_lines(source, start, read_record)


def _inherited_events(
    path: Path, state: dict[str, Any], read: RecordReader, deep: int
) -> Iterator[TranscriptEvent]:
    """Yield what a fork or a rewound thread goes on from, and of the latter what it dropped."""
    base = thread_base(path)
    if base is None:
        return
    if base.path is None or not deep:
        yield SkippedRecord("missing", "the rollout that this one goes on from")
        return
    dropped = 0

    def base_events(record: dict[str, Any]) -> Iterator[TranscriptEvent]:
        nonlocal dropped
        ordinal = record.get("ordinal")
        after = isinstance(ordinal, int) and ordinal >= base.ordinal
        if after and not base.same:
            return
        for event in read(record):
            dropped += after and isinstance(event, MessagePiece) and event.origin == "human"
            yield event

    yield from _inherited_events(base.path, state, read, deep - 1)
    for event in json_lines(TranscriptSource(str(base.path)), 0, base_events):
        if isinstance(event, MessagePiece):
            event.pointer = f"{base.path.name}@{event.start}"
            event.start = event.end = 0
        yield event
    state["open"] = ""
    state.pop("id", None)
    if dropped:
        yield Rewind(prompts=dropped)


def _record_events(record: dict[str, Any], state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    kind, payload = record.get("type"), record.get("payload")
    if not isinstance(payload, dict):
        yield from _bare_events(record, state)
    elif kind == "session_meta":
        yield from _meta_events(payload, state)
    elif kind == "turn_context":
        state["cwd"] = payload.get("cwd") or state.get("cwd")
        state["model"] = payload.get("model") or state.get("model")
    elif kind == "response_item":
        yield from _item_events(payload, state)
    elif kind == "event_msg":
        yield from _event_msg(payload, state)
    elif kind == "compacted":
        state["open"] = ""
        summary = str(payload.get("message") or "")
        note = "" if summary else "the summary is encrypted"
        block = TurnBlock("compaction", summary, note=note)
        yield MessagePiece("user", "compaction", [block], boundary=True)
    else:
        yield SkippedRecord("noise" if kind in _NOISE else "unknown", str(kind))


def _bare_events(record: dict[str, Any], state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    """Read a record of early 2025, when the items stood in the file without an envelope."""
    if "instructions" in record and "id" in record:
        yield from _meta_events(record, state)
    elif record.get("record_type") == "state":
        yield SkippedRecord("noise", "state")
    elif "payload" not in record and isinstance(record.get("type"), str):
        yield from _item_events(record, state)
    else:
        yield SkippedRecord("unknown", str(record.get("type")))


def _meta_events(payload: Mapping[str, Any], state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    if payload.get("id") != state.setdefault("id", payload.get("id")):
        yield SkippedRecord("noise", "session_meta of the session that this one came from")
        return
    state["cwd"] = payload.get("cwd") or state.get("cwd")
    for name, key in (("cli_version", "version"), ("originator", "originator")):
        if value := payload.get(name):
            yield SessionMetadata(key, str(value))
    git = payload.get("git")
    if isinstance(git, dict):
        yield SessionMetadata("gitBranch", str(git.get("branch") or ""))
        yield SessionMetadata("gitCommit", str(git.get("commit_hash") or ""))
    parent, how = parent_thread(payload)
    state["subagent"] = how == "subagent"
    if parent:
        yield SessionMetadata("parent", f"{parent} {how}")


def _item_events(payload: Mapping[str, Any], state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    kind = payload.get("type") or ("message" if "role" in payload else "")
    if kind == "message" and payload.get("role") != "assistant":
        state["open"] = ""
        yield _prompt_piece(payload)
    elif isinstance(kind, str) and kind.endswith("_output"):
        state["open"] = ""
        yield MessagePiece("user", "agent", [_output_block(payload)])
    elif (block := _reply_block(str(kind), payload)) is not None:
        if not state.get("open"):
            state["replies"] = state.get("replies", 0) + 1
            state["open"] = f"@{state['replies']}"
        piece = MessagePiece("assistant", "agent", [block], group=state["open"])
        piece.model = str(state.get("model") or "")
        if block.call:
            state["calls"] = [*state.get("calls", ())[1 - _CALLS :], block.call]
        yield piece
    elif kind in ("compaction", "additional_tools"):
        yield SkippedRecord("noise", str(kind))
    else:
        yield SkippedRecord("unknown", f"response_item {kind}")


def _prompt_piece(payload: Mapping[str, Any]) -> MessagePiece:
    """Return a message that is not the agent's; each of its parts may be the harness's."""
    blocks = []
    content = payload.get("content")
    for part in content if isinstance(content, list) else [{"text": content}]:
        if isinstance(part, dict) and part.get("type") == "input_image":
            blocks.append(TurnBlock("image", "[image]", note="image"))
        elif isinstance(part, dict):
            blocks += _split_prompt(str(part.get("text") or ""))
    typed = [block for block in blocks if block.type != "notice"]
    if payload.get("role") == "user" and typed and _by_person(payload):
        return MessagePiece("user", "human", blocks)
    for block in blocks:
        block.type = "image" if block.type == "image" else "text"
    return MessagePiece("system", "harness", blocks)


def _by_person(payload: Mapping[str, Any]) -> bool:
    """Say whether a message is a person's, as newer versions note of each of its parts."""
    about = payload.get("internal_chat_message_metadata_passthrough")
    kinds = about.get("content_item_kinds") if isinstance(about, dict) else None
    return not isinstance(kinds, list) or any(str(kind).startswith("user.") for kind in kinds)


def _split_prompt(prompt: str) -> list[TurnBlock]:
    """Set apart what the harness or an editor's extension wrote into a prompt."""
    if prompt.lstrip().startswith(HARNESS_STARTS):
        return [TurnBlock("notice", prompt)]
    if prompt.lstrip().startswith(_EDITOR) and (match := _REQUEST.search(prompt)):
        rest = prompt[match.end() :].strip()
        return [TurnBlock("notice", prompt[: match.start()].strip()), TurnBlock("text", rest)]
    return [TurnBlock("text", prompt)]


def _reply_block(kind: str, payload: Mapping[str, Any]) -> TurnBlock | None:
    call_id = str(payload.get("call_id") or payload.get("id") or "")
    name = str(payload.get("name") or "")
    if kind == "message":
        return TurnBlock("text", parts_text(payload.get("content")))
    if kind == "reasoning":
        thought = parts_text(payload.get("summary")) or parts_text(payload.get("content"))
        size = len(str(payload.get("encrypted_content") or ""))
        return TurnBlock(
            "thinking", thought, note="" if thought else f"encrypted, {size:,} characters"
        )
    if kind == "function_call":
        return tool_calls.call_block(name, payload.get("arguments") or {}, call_id)
    if kind == "custom_tool_call" and name == "exec":
        return script_call(payload, call_id)
    if kind == "custom_tool_call":
        return tool_calls.call_block(name, payload.get("input") or "", call_id)
    if kind in ("local_shell_call", "web_search_call", "tool_search_call"):
        return tool_calls.call_block(kind, payload.get("action") or {}, call_id)
    return None


def _output_block(payload: Mapping[str, Any]) -> TurnBlock:
    output = payload.get("output")
    said, code, failed = output if isinstance(output, str) else "", None, None
    if said.startswith(('{"output"', '{"agent_id"')):
        try:
            output = json.loads(said)
        except ValueError:
            output = said
    agent = ""
    if isinstance(output, dict):
        agent = str(output.get("agent_id") or "")
        said = str(output.get("output") or output.get("content") or said)
        failed = not output["success"] if isinstance(output.get("success"), bool) else None
        meta = output.get("metadata")
        found = meta.get("exit_code") if isinstance(meta, dict) else None
        code = found if isinstance(found, int) else None
    elif isinstance(output, list):
        said = parts_text(output)
    if failed is None and code is None and _REFUSED.match(said):
        failed = True
    status, shown = tool_calls.result_outcome(said, failed if code is None else code != 0)
    block = TurnBlock("result", said, call=str(payload.get("call_id") or ""), status=status)
    block.exit_code = shown if code is None else code
    block.arg = thread_name(agent) if agent else ""
    return block


def _event_msg(payload: Mapping[str, Any], state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    kind = str(payload.get("type"))
    if kind == "token_count":
        yield from _usage_events(payload, state)
    elif kind == "item_completed":
        yield from _done_events(payload.get("item"), state)
    elif kind == "thread_rolled_back":
        state["open"] = ""
        number = payload.get("num_turns")
        yield Rewind(prompts=number if isinstance(number, int) and number > 0 else 1)
    elif kind in ("error", "stream_error", "warning", "turn_aborted"):
        message = str(payload.get("message") or f"turn aborted: {payload.get('reason')}")
        status: Status = "cancelled" if kind == "turn_aborted" else "error"
        block = TurnBlock("notice", message, name=kind, status=status)
        yield MessagePiece("system", "harness", [block])
    else:
        yield SkippedRecord("noise" if kind in _REPEATED else "unknown", f"event_msg {kind}")


def _done_events(item: Any, state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    """Yield a call that a script made; all other notes repeat what stands elsewhere."""
    known = not isinstance(item, dict) or item.get("id") in state.get("calls", ())
    blocks = [] if known else done_blocks(item)
    if not blocks:
        yield SkippedRecord("noise", "event_msg item_completed")
        return
    piece = MessagePiece("assistant", "agent", blocks, group=str(state.get("open") or ""))
    piece.model = str(state.get("model") or "")
    yield piece


def _usage_events(payload: Mapping[str, Any], state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    """Yield a reply's usage; nearly half of these events repeat the one before."""
    info = payload.get("info")
    if not isinstance(info, dict) or info.get("total_token_usage") == state.get("total"):
        return
    state["total"] = info.get("total_token_usage")
    last = info.get("last_token_usage")
    if isinstance(last, dict):
        cached = count_tokens(last, "cached_input_tokens")
        usage = TurnUsage(
            max(0, count_tokens(last, "input_tokens") - cached),
            cached,
            0,
            count_tokens(last, "output_tokens"),
        )
        yield MessagePiece("assistant", "agent", [], usage=usage)


READER = TranscriptReader(
    agent="codex",
    layout="Codex CLI rollout",
    version=3,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    find_children=find_children,
    session_id=session_id,
    limits=("encrypted reasoning and summaries are shown by their size only",),
)
