"""Read Codex CLI's rollouts: ~/.codex/sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl.

Messages are response items; the event messages that repeat them are passed over. A rollback says
how many prompts to take back. Reasoning and compactions may be encrypted: their size is all that
there is. A thread may stand in several files (see codex_threads).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.readers import codex_items, codex_threads, places
from rlm_mcp.contexts.session.readers.codex_threads import HARNESS, text, thread_name
from rlm_mcp.contexts.session.readers.messages import count
from rlm_mcp.contexts.session.readers.reader import Read, Reader, json_lines, json_list
from rlm_mcp.contexts.session.turns import (
    Block,
    Event,
    Meta,
    Odd,
    Piece,
    Rewind,
    Source,
    Status,
    Usage,
)

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


def detect(path: Path, head: bytes) -> bool:
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


def events(source: Source, start: int) -> Iterator[Event]:
    state = source.state

    def read(record: dict[str, Any]) -> Iterator[Event]:
        for event in _record(record, state):
            if isinstance(event, Piece):
                event.ts = str(record.get("timestamp") or "")
                event.cwd = str(state.get("cwd") or "")
                if state.get("subagent") and event.origin == "human":
                    event.origin = "subagent"
            yield event

    if source.path.endswith(".json"):
        value = places.load(Path(source.path))
        whole = value if isinstance(value, dict) else {}
        yield from read({"type": "session_meta", "payload": whole.get("session")})
        yield from json_list(whole.get("items"), "/items", read)
        return
    if start == 0:
        yield from _inherited(Path(source.path), state, read, _DEEP)
    yield from json_lines(source, start, read)


def _inherited(path: Path, state: dict[str, Any], read: Read, deep: int) -> Iterator[Event]:
    """Yield what a fork or a rewound thread goes on from, and of the latter what it dropped."""
    base = codex_threads.base(path)
    if base is None:
        return
    if base.path is None or not deep:
        yield Odd("missing", "the rollout that this one goes on from")
        return
    dropped = 0

    def within(record: dict[str, Any]) -> Iterator[Event]:
        nonlocal dropped
        ordinal = record.get("ordinal")
        after = isinstance(ordinal, int) and ordinal >= base.ordinal
        if after and not base.same:
            return
        for event in read(record):
            dropped += after and isinstance(event, Piece) and event.origin == "human"
            yield event

    yield from _inherited(base.path, state, read, deep - 1)
    for event in json_lines(Source(str(base.path)), 0, within):
        if isinstance(event, Piece):
            event.pointer = f"{base.path.name}@{event.start}"
            event.start = event.end = 0
        yield event
    state["open"] = ""
    state.pop("id", None)
    if dropped:
        yield Rewind(prompts=dropped)


def _record(record: dict[str, Any], state: dict[str, Any]) -> Iterator[Event]:
    kind, payload = record.get("type"), record.get("payload")
    if not isinstance(payload, dict):
        yield from _bare(record, state)
    elif kind == "session_meta":
        yield from _meta(payload, state)
    elif kind == "turn_context":
        state["cwd"] = payload.get("cwd") or state.get("cwd")
        state["model"] = payload.get("model") or state.get("model")
    elif kind == "response_item":
        yield from _item(payload, state)
    elif kind == "event_msg":
        yield from _event(payload, state)
    elif kind == "compacted":
        state["open"] = ""
        summary = str(payload.get("message") or "")
        note = "" if summary else "the summary is encrypted"
        block = Block("compaction", summary, note=note)
        yield Piece("user", "compaction", [block], boundary=True)
    else:
        yield Odd("noise" if kind in _NOISE else "unknown", str(kind))


def _bare(record: dict[str, Any], state: dict[str, Any]) -> Iterator[Event]:
    """Read a record of early 2025, when the items stood in the file without an envelope."""
    if "instructions" in record and "id" in record:
        yield from _meta(record, state)
    elif record.get("record_type") == "state":
        yield Odd("noise", "state")
    elif "payload" not in record and isinstance(record.get("type"), str):
        yield from _item(record, state)
    else:
        yield Odd("unknown", str(record.get("type")))


def _meta(payload: Mapping[str, Any], state: dict[str, Any]) -> Iterator[Event]:
    if payload.get("id") != state.setdefault("id", payload.get("id")):
        yield Odd("noise", "session_meta of the session that this one came from")
        return
    state["cwd"] = payload.get("cwd") or state.get("cwd")
    for name, key in (("cli_version", "version"), ("originator", "originator")):
        if value := payload.get(name):
            yield Meta(key, str(value))
    git = payload.get("git")
    if isinstance(git, dict):
        yield Meta("gitBranch", str(git.get("branch") or ""))
        yield Meta("gitCommit", str(git.get("commit_hash") or ""))
    parent, how = codex_threads.parent(payload)
    state["subagent"] = how == "subagent"
    if parent:
        yield Meta("parent", f"{parent} {how}")


def _item(payload: Mapping[str, Any], state: dict[str, Any]) -> Iterator[Event]:
    kind = payload.get("type") or ("message" if "role" in payload else "")
    if kind == "message" and payload.get("role") != "assistant":
        state["open"] = ""
        yield _prompt(payload)
    elif isinstance(kind, str) and kind.endswith("_output"):
        state["open"] = ""
        yield Piece("user", "agent", [_output(payload)])
    elif (block := _reply_block(str(kind), payload)) is not None:
        if not state.get("open"):
            state["replies"] = state.get("replies", 0) + 1
            state["open"] = f"@{state['replies']}"
        piece = Piece("assistant", "agent", [block], group=state["open"])
        piece.model = str(state.get("model") or "")
        if block.call:
            state["calls"] = [*state.get("calls", ())[1 - _CALLS :], block.call]
        yield piece
    elif kind in ("compaction", "additional_tools"):
        yield Odd("noise", str(kind))
    else:
        yield Odd("unknown", f"response_item {kind}")


def _prompt(payload: Mapping[str, Any]) -> Piece:
    """Return a message that is not the agent's; each of its parts may be the harness's."""
    blocks = []
    content = payload.get("content")
    for part in content if isinstance(content, list) else [{"text": content}]:
        if isinstance(part, dict) and part.get("type") == "input_image":
            blocks.append(Block("image", "[image]", note="image"))
        elif isinstance(part, dict):
            blocks += _typed(str(part.get("text") or ""))
    typed = [block for block in blocks if block.type != "notice"]
    if payload.get("role") == "user" and typed and _by_person(payload):
        return Piece("user", "human", blocks)
    for block in blocks:
        block.type = "image" if block.type == "image" else "text"
    return Piece("system", "harness", blocks)


def _by_person(payload: Mapping[str, Any]) -> bool:
    """Say whether a message is a person's, as newer versions note of each of its parts."""
    about = payload.get("internal_chat_message_metadata_passthrough")
    kinds = about.get("content_item_kinds") if isinstance(about, dict) else None
    return not isinstance(kinds, list) or any(str(kind).startswith("user.") for kind in kinds)


def _typed(prompt: str) -> list[Block]:
    """Set apart what the harness or an editor's extension wrote into a prompt."""
    if prompt.lstrip().startswith(HARNESS):
        return [Block("notice", prompt)]
    if prompt.lstrip().startswith(_EDITOR) and (match := _REQUEST.search(prompt)):
        rest = prompt[match.end() :].strip()
        return [Block("notice", prompt[: match.start()].strip()), Block("text", rest)]
    return [Block("text", prompt)]


def _reply_block(kind: str, payload: Mapping[str, Any]) -> Block | None:
    call_id = str(payload.get("call_id") or payload.get("id") or "")
    name = str(payload.get("name") or "")
    if kind == "message":
        return Block("text", text(payload.get("content")))
    if kind == "reasoning":
        thought = text(payload.get("summary")) or text(payload.get("content"))
        size = len(str(payload.get("encrypted_content") or ""))
        return Block("thinking", thought, note="" if thought else f"encrypted, {size:,} characters")
    if kind == "function_call":
        return calls.call(name, payload.get("arguments") or {}, call_id)
    if kind == "custom_tool_call" and name == "exec":
        return codex_items.script(payload, call_id)
    if kind == "custom_tool_call":
        return calls.call(name, payload.get("input") or "", call_id)
    if kind in ("local_shell_call", "web_search_call", "tool_search_call"):
        return calls.call(kind, payload.get("action") or {}, call_id)
    return None


def _output(payload: Mapping[str, Any]) -> Block:
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
        said = text(output)
    if failed is None and code is None and _REFUSED.match(said):
        failed = True
    status, shown = calls.outcome(said, failed if code is None else code != 0)
    block = Block("result", said, call=str(payload.get("call_id") or ""), status=status)
    block.exit_code = shown if code is None else code
    block.arg = thread_name(agent) if agent else ""
    return block


def _event(payload: Mapping[str, Any], state: dict[str, Any]) -> Iterator[Event]:
    kind = str(payload.get("type"))
    if kind == "token_count":
        yield from _tokens(payload, state)
    elif kind == "item_completed":
        yield from _done(payload.get("item"), state)
    elif kind == "thread_rolled_back":
        state["open"] = ""
        number = payload.get("num_turns")
        yield Rewind(prompts=number if isinstance(number, int) and number > 0 else 1)
    elif kind in ("error", "stream_error", "warning", "turn_aborted"):
        message = str(payload.get("message") or f"turn aborted: {payload.get('reason')}")
        status: Status = "cancelled" if kind == "turn_aborted" else "error"
        block = Block("notice", message, name=kind, status=status)
        yield Piece("system", "harness", [block])
    else:
        yield Odd("noise" if kind in _REPEATED else "unknown", f"event_msg {kind}")


def _done(item: Any, state: dict[str, Any]) -> Iterator[Event]:
    """Yield a call that a script made; all other notes repeat what stands elsewhere."""
    known = not isinstance(item, dict) or item.get("id") in state.get("calls", ())
    blocks = [] if known else codex_items.done(item)
    if not blocks:
        yield Odd("noise", "event_msg item_completed")
        return
    piece = Piece("assistant", "agent", blocks, group=str(state.get("open") or ""))
    piece.model = str(state.get("model") or "")
    yield piece


def _tokens(payload: Mapping[str, Any], state: dict[str, Any]) -> Iterator[Event]:
    """Yield a reply's usage; nearly half of these events repeat the one before."""
    info = payload.get("info")
    if not isinstance(info, dict) or info.get("total_token_usage") == state.get("total"):
        return
    state["total"] = info.get("total_token_usage")
    last = info.get("last_token_usage")
    if isinstance(last, dict):
        cached = count(last, "cached_input_tokens")
        usage = Usage(
            max(0, count(last, "input_tokens") - cached), cached, 0, count(last, "output_tokens")
        )
        yield Piece("assistant", "agent", [], usage=usage)


READER = Reader(
    agent="codex",
    layout="Codex CLI rollout",
    version=3,
    detect=detect,
    events=events,
    folders=codex_threads.folders,
    find=codex_threads.find,
    children=codex_threads.children,
    native=codex_threads.native,
    limits=("encrypted reasoning and summaries are shown by their size only",),
)
