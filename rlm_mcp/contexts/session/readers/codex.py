"""Read Codex CLI's rollouts: ~/.codex/sessions/YYYY/MM/DD/rollout-<time>-<id>.jsonl.

Messages are response items; the event messages that repeat them are passed over. A rollback says
how many prompts to take back. Reasoning and compactions may be encrypted: their size is all that
there is. A subagent or a fork is a file of its own, which names its parent in its first line.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.readers import places
from rlm_mcp.contexts.session.readers.messages import count
from rlm_mcp.contexts.session.readers.reader import (
    Reader,
    first_records,
    json_lines,
    json_list,
)
from rlm_mcp.contexts.session.turns import (
    Block,
    Child,
    Event,
    Found,
    Meta,
    Odd,
    Piece,
    Rewind,
    Source,
    Status,
    Usage,
)

_NAME = re.compile(r"rollout-.*?-?([0-9a-f]{8}-[0-9a-f-]{27})\Z")
_TYPES = ("session_meta", "turn_context", "response_item", "event_msg", "compacted")
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
        "thread_name_updated", "token_count",
    ]
)  # fmt: skip
_HARNESS = (
    "<environment_context>", "<user_instructions>", "<permissions instructions>",
    "# AGENTS.md instructions", "<INSTRUCTIONS>", "<turn_aborted>", "<user_shell_command>",
    "<collaboration_mode>", "<skill>", "<skills_instructions>", "<subagent_notification>",
    "<personality_spec>", "<app-context>",
)  # fmt: skip


def folders() -> list[Path]:
    home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    return [home / "sessions", home / "archived_sessions"]


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


def native(path: Path) -> str:
    match = _NAME.match(path.stem)
    return match[1] if match else path.stem


def find(roots: Sequence[Path]) -> Iterator[Found]:
    for folder in folders():
        for path in sorted(folder.glob("**/rollout-*.json*")):
            facts: dict[str, Any] = {}
            for record in first_records(path):
                payload = record.get("payload")
                if not isinstance(payload, dict):
                    continue
                if record.get("type") == "session_meta":
                    facts["project"] = str(payload.get("cwd") or "")
                    facts["started"] = str(record.get("timestamp") or "")
                    facts["parent"] = _parent(payload)[0]
                elif payload.get("role") == "user":
                    text = _text(payload.get("content"))
                    if not text.lstrip().startswith(_HARNESS):
                        facts["title"] = text[:200]
                        break
            yield Found("codex", native(path), str(path), **facts)


def children(path: Path) -> Sequence[Child]:
    """Return the subagents' rollouts of this day and the next that name this one as parent."""
    own, found = native(path), []
    days = sorted(path.parents[2].glob("*/*")) if path.parent.name.isdigit() else []
    at = days.index(path.parent) if path.parent in days else 0
    near = days[at : at + 2] or [path.parent]
    for other in sorted(other for day in near for other in day.glob("rollout-*.jsonl")):
        if other == path:
            continue
        record = next(first_records(other), {})
        payload = record.get("payload")
        if isinstance(payload, dict) and _parent(payload) == (own, "subagent"):
            spawn = payload["source"]["subagent"]["thread_spawn"]
            facts = {key: str(value) for key, value in spawn.items()}
            found.append(Child(str(other), f"agent-{native(other)[-8:]}", "", facts))
    return found


def _parent(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Return the id of the session that this one came from, and how."""
    if fork := payload.get("forked_from_id"):
        return str(fork), "fork"
    source = payload.get("source")
    spawn = source.get("subagent") if isinstance(source, dict) else None
    spawn = spawn.get("thread_spawn") if isinstance(spawn, dict) else None
    if isinstance(spawn, dict) and spawn.get("parent_thread_id"):
        return str(spawn["parent_thread_id"]), "subagent"
    return "", ""


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
    yield from json_lines(source, start, read)


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
        text = str(payload.get("message") or "")
        note = "" if text else "the summary is encrypted"
        block = Block("compaction", text, note=note)
        yield Piece("user", "compaction", [block], boundary=True)
    else:
        yield Odd("noise" if kind == "world_state" else "unknown", str(kind))


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
    parent, how = _parent(payload)
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
        yield piece
    elif kind == "compaction":
        yield Odd("noise", "compaction")
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
    if payload.get("role") == "user" and typed:
        return Piece("user", "human", blocks)
    for block in blocks:
        block.type = "image" if block.type == "image" else "text"
    return Piece("system", "harness", blocks)


def _typed(text: str) -> list[Block]:
    """Set apart what the harness or an editor's extension wrote into a prompt."""
    if text.lstrip().startswith(_HARNESS):
        return [Block("notice", text)]
    if text.lstrip().startswith(_EDITOR) and (match := _REQUEST.search(text)):
        rest = text[match.end() :].strip()
        return [Block("notice", text[: match.start()].strip()), Block("text", rest)]
    return [Block("text", text)]


def _reply_block(kind: str, payload: Mapping[str, Any]) -> Block | None:
    call_id = str(payload.get("call_id") or payload.get("id") or "")
    if kind == "message":
        return Block("text", _text(payload.get("content")))
    if kind == "reasoning":
        text = _text(payload.get("summary")) or _text(payload.get("content"))
        size = len(str(payload.get("encrypted_content") or ""))
        return Block("thinking", text, note="" if text else f"encrypted, {size:,} characters")
    if kind == "function_call":
        return calls.call(str(payload.get("name") or ""), payload.get("arguments") or {}, call_id)
    if kind == "custom_tool_call":
        return calls.call(str(payload.get("name") or ""), payload.get("input") or "", call_id)
    if kind in ("local_shell_call", "web_search_call", "tool_search_call"):
        return calls.call(kind, payload.get("action") or {}, call_id)
    return None


def _output(payload: Mapping[str, Any]) -> Block:
    output = payload.get("output")
    text, code, failed = output if isinstance(output, str) else "", None, None
    if text.startswith('{"output"'):
        try:
            output = json.loads(text)
        except ValueError:
            output = text
    if isinstance(output, dict):
        text = str(output.get("output") or output.get("content") or "")
        failed = not output["success"] if isinstance(output.get("success"), bool) else None
        meta = output.get("metadata")
        found = meta.get("exit_code") if isinstance(meta, dict) else None
        code = found if isinstance(found, int) else None
    elif isinstance(output, list):
        text = _text(output)
    status, shown = calls.outcome(text, failed if code is None else code != 0)
    block = Block("result", text, call=str(payload.get("call_id") or ""), status=status)
    block.exit_code = shown if code is None else code
    return block


def _event(payload: Mapping[str, Any], state: dict[str, Any]) -> Iterator[Event]:
    kind = str(payload.get("type"))
    if kind == "token_count":
        yield from _tokens(payload, state)
    elif kind == "thread_rolled_back":
        state["open"] = ""
        number = payload.get("num_turns")
        yield Rewind(prompts=number if isinstance(number, int) and number > 0 else 1)
    elif kind in ("error", "stream_error", "warning", "turn_aborted"):
        text = str(payload.get("message") or f"turn aborted: {payload.get('reason')}")
        status: Status = "cancelled" if kind == "turn_aborted" else "error"
        block = Block("notice", text, name=kind, status=status)
        yield Piece("system", "harness", [block])
    else:
        yield Odd("noise" if kind in _REPEATED else "unknown", f"event_msg {kind}")


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


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(p.get("text") or "") for p in content if isinstance(p, dict))


READER = Reader(
    agent="codex",
    layout="Codex CLI rollout",
    version=2,
    detect=detect,
    events=events,
    folders=folders,
    find=find,
    children=children,
    native=native,
    limits=("encrypted reasoning and summaries are shown by their size only",),
)
