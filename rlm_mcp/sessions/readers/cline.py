"""Read Cline, Roo Code and Kilo Code: tasks/<id>/api_conversation_history.json, and Cline's own
~/.cline/data/sessions/<id>/<id>.messages.json.

Messages are those of the Anthropic API; what a person typed stands in <task> and <feedback> tags
beside what the extension adds. Compactions and usage are told only in ui_messages.json.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers import anthropic_messages, editor_folders
from rlm_mcp.sessions.readers.reader import TranscriptReader, json_list
from rlm_mcp.sessions.schema import (
    MessagePiece,
    SessionInfo,
    SessionMetadata,
    SkippedRecord,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
    TurnUsage,
)

_TOOLS = (
    "execute_command", "read_file", "write_to_file", "replace_in_file", "apply_diff",
    "insert_content", "search_and_replace", "search_files", "list_files",
    "list_code_definition_names", "browser_action", "use_mcp_tool", "access_mcp_resource",
    "ask_followup_question", "attempt_completion", "new_task", "plan_mode_respond",
    "update_todo_list", "switch_mode", "codebase_search", "web_fetch", "load_mcp_documentation",
    "new_rule", "condense", "fetch_instructions",
)  # fmt: skip
_CALL = re.compile(rf"^[ \t]*<({'|'.join(_TOOLS)})>(.*?)</\1>[ \t]*$", re.MULTILINE | re.DOTALL)
_VALUE = re.compile(r"<([a-z_]+)>(.*?)</\1>", re.DOTALL)
_LONG = ("content", "diff")
_THOUGHT = re.compile(r"\A\s*<thinking>(.*?)</thinking>", re.DOTALL)


def reply_blocks(text: str, pointer: str) -> Iterator[TurnBlock]:
    """Yield the thoughts, texts and calls of a reply, in order."""
    if thought := _THOUGHT.match(text):
        yield TurnBlock("thinking", thought[1].strip("\n"))
        text = text[thought.end() :]
    last = 0
    for number, match in enumerate(_CALL.finditer(text)):
        if before := text[last : match.start()].strip("\n"):
            yield TurnBlock("text", before)
        yield tool_calls.call_block(match[1], _tag_values(match[2]), f"{pointer}.{number}")
        last = match.end()
    if (rest := text[last:].strip("\n")) or (not last and not thought):
        yield TurnBlock("text", rest)


def _tag_values(inner: str) -> dict[str, str]:
    """Return a call's arguments. A long one ends at its last closing tag: it may hold tags."""
    for name in _LONG:
        begin, end = inner.find(f"<{name}>"), inner.rfind(f"</{name}>")
        if 0 <= begin < end:
            value = inner[begin + len(name) + 2 : end]
            rest = inner[:begin] + inner[end + len(name) + 3 :]
            return {**_tag_values(rest), name: value.removeprefix("\n").removesuffix("\n")}
    return {match[1]: match[2].strip("\n") for match in _VALUE.finditer(inner)}


_EXTENSIONS = ("saoudrizwan.claude-dev", "rooveterinaryinc.roo-cline", "kilocode.kilo-code")
_EDITORS = ("Code", "Code - Insiders", "Cursor", "VSCodium", "Windsurf", "code-server")
_TYPED = re.compile(
    r"\s*<(task|feedback|user_message|answer|user_feedback|user_input)(?: mode=\"\w+\")?>"
    r"\n?(.*?)\n?</\1>\s*"
    r"(<(?:file|folder|url)_content\b.*|<(?:workspace_diagnostics|terminal_output|git_\w+)\b.*)?\Z",
    re.DOTALL,
)
"""What a person typed, and behind it what the extension read of the things it names with @."""
_CWD = re.compile(r"# Current (?:Working|Workspace) Directory \((.+?)\) Files")
_RESULT = re.compile(r"\[(\w+)(?: for '(.*?)')?\] Result:\n?", re.DOTALL)
_FEEDBACK = re.compile(
    r"<(feedback|answer|user_message|user_feedback)>\s*(.*?)\s*</\1>\s*\Z", re.DOTALL
)
_COMMANDS = "run_commands"
_ASKING = frozenset(["attempt_completion", "ask_followup_question", "plan_mode_respond"])
"""Tools whose result is what the person says to it."""


def session_folders() -> list[Path]:
    found = [
        user / "globalStorage" / name
        for user in editor_folders.user_data_folders(*_EDITORS)
        for name in _EXTENSIONS
    ]
    chosen = os.environ.get("CLINE_SESSION_DATA_DIR")
    data = os.environ.get("CLINE_DATA_DIR")
    home = Path(os.environ.get("CLINE_DIR") or Path.home() / ".cline")
    sessions = Path(chosen) if chosen else (Path(data) if data else home / "data") / "sessions"
    return [*found, sessions]


def detect_format(path: Path, head: bytes) -> bool:
    if path.name == "api_conversation_history.json":
        return True
    return path.name.endswith(".messages.json") and b'"messages"' in head


def session_id(path: Path) -> str:
    return path.parent.name


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    for folder in session_folders():
        tasks = folder.glob("tasks/*/api_conversation_history.json")
        for path in sorted([*tasks, *folder.glob("*/*.messages.json")]):
            facts = _task_facts(path)
            started = editor_folders.iso_time(facts.get("started_at") or facts.get("ts"))
            yield SessionInfo(
                "cline",
                session_id(path),
                str(path),
                "",
                _task_project(facts),
                _task_title(facts)[:200],
                started,
            )


def _task_facts(path: Path) -> Mapping[str, Any]:
    """Return what the index files beside a task say of it."""
    own = editor_folders.load_json(path.with_name("history_item.json"))
    if not isinstance(own, dict):
        own = editor_folders.load_json(path.with_name(path.name.replace(".messages.json", ".json")))
    if isinstance(own, dict) and "messages" not in own:
        return own
    listed = editor_folders.load_json(path.parents[2] / "state" / "taskHistory.json")
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and str(item.get("id")) == path.parent.name:
            return item
    return {}


def _task_title(facts: Mapping[str, Any]) -> str:
    about = facts.get("metadata")
    named = about.get("title") if isinstance(about, dict) else ""
    return str(facts.get("task") or named or facts.get("prompt") or "")


def _task_project(facts: Mapping[str, Any]) -> str:
    names = ("cwdOnTaskInitialization", "workspace", "workspace_root", "cwd")
    return next((str(facts[name]) for name in names if facts.get(name)), "")


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    path = Path(source.path)
    value = editor_folders.load_json(path)
    prefix = ""
    if isinstance(value, dict):
        prefix, value = "/messages", value.get("messages")
    if not isinstance(value, list):
        yield SkippedRecord("broken")
        return
    facts = _task_facts(path)
    if title := _task_title(facts):
        yield SessionMetadata("title", title[:300])
    shown = editor_folders.load_json(path.with_name("ui_messages.json"))
    state = source.state
    state["cwd"], state["typed"] = _task_project(facts), _typed_feedback(shown)
    told = list(_condensed_pieces(shown))

    def read_message(message: dict[str, Any]) -> Iterator[TranscriptEvent]:
        at = message.get("ts")
        while told and isinstance(at, (int, float)) and told[0][0] <= at:
            yield told.pop(0)[1]
        yield from _message_events(message, state)

    yield from json_list(value, prefix, read_message)
    for _, piece in told:
        yield piece
    state["typed"] = []


def _typed_feedback(shown: Any) -> list[str]:
    """Return what the extension's log of its window says that the person typed."""
    return [
        str(item["text"]).strip()
        for item in (shown if isinstance(shown, list) else [])
        if isinstance(item, dict)
        and item.get("say") in ("user_feedback", "user_feedback_diff")
        and item.get("text")
    ]


def _condensed_pieces(shown: Any) -> Iterator[tuple[float, MessagePiece]]:
    """Yield the compactions, which only the extension's own log of its window holds."""
    for number, item in enumerate(shown if isinstance(shown, list) else []):
        if not isinstance(item, dict):
            continue
        kind = item.get("say") or item.get("ask")
        if kind not in ("condense", "condense_context", "summarize_task"):
            continue
        context = item.get("contextCondense")
        text = context.get("summary") if isinstance(context, dict) else item.get("text")
        block = TurnBlock("compaction", str(text or ""))
        piece = MessagePiece("user", "compaction", [block], boundary=True)
        piece.ts, piece.pointer = editor_folders.iso_time(item.get("ts")), f"/ui/{number}"
        yield _item_time(item), piece


def _item_time(item: Mapping[str, Any]) -> float:
    value = item.get("ts")
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e300 else 0.0


def _message_events(message: Mapping[str, Any], state: dict[str, Any]) -> Iterator[TranscriptEvent]:
    role = message.get("role")
    if role not in ("user", "assistant"):
        yield SkippedRecord("unknown", f"role {role}")
        return
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    whole = [part for part in parts if isinstance(part, dict)]
    state["messages"] = state.get("messages", 0) + 1
    piece = MessagePiece(role, "agent", [])
    if role == "assistant":
        _add_reply(whole, piece, state)
    else:
        _add_answer(whole, piece, state)
    piece.native = str(message.get("id") or "")
    piece.ts = editor_folders.iso_time(message.get("ts"))
    piece.cwd = str(state.get("cwd") or "")
    model = message.get("modelInfo")
    if isinstance(model, dict):
        piece.model = str(model.get("modelId") or model.get("id") or "")
    _set_usage(message, piece, state["messages"])
    yield piece


def _add_reply(
    parts: Sequence[Mapping[str, Any]], piece: MessagePiece, state: dict[str, Any]
) -> None:
    for number, part in enumerate(parts):
        if part.get("type") == "text":
            text = str(part.get("text") or "")
            piece.blocks += reply_blocks(text, f"@{state['messages']}.{number}")
        else:
            piece.blocks += _call_blocks(part)
    found = [block for block in piece.blocks if block.type == "call"]
    state["waiting"] = [[block.call, block.name] for block in found if block.call[:1] == "@"]
    state["asking"] = [block.call for block in found if block.name in _ASKING]


def _call_blocks(part: Mapping[str, Any]) -> list[TurnBlock]:
    """Return a call; one of several commands is a call for each of them."""
    values, name = part.get("input"), str(part.get("name") or "")
    commands = values.get("commands") if isinstance(values, dict) else None
    if name != _COMMANDS or not isinstance(commands, list) or len(commands) < 2:
        return [anthropic_messages.reply_block(part)]
    return [
        tool_calls.call_block(name, {"commands": [command]}, f"{part.get('id')}/{number}")
        for number, command in enumerate(commands)
    ]


def _result_blocks(part: Mapping[str, Any]) -> list[TurnBlock]:
    """Return the results of a call, of which newer versions say each by itself how it ended."""
    block, content = anthropic_messages.result_block(part, None), part.get("content")
    if isinstance(content, str) and content.startswith('{"query"'):
        content = tool_calls.parse_arguments(content)
    items = content if isinstance(content, list) else [content]
    if not items or not all(isinstance(i, dict) and type(i.get("success")) is bool for i in items):
        return [block]
    found = []
    for number, item in enumerate(items):
        text = str(item.get("result") or item.get("error") or "")
        status, code = tool_calls.result_outcome(text, not item["success"])
        call = f"{block.call}/{number}" if len(items) > 1 else block.call
        found.append(TurnBlock("result", text, call=call, status=status, exit_code=code))
    if part.get("name") == _COMMANDS or len(found) == 1:
        return found
    block.text = "\n".join(one.text for one in found)
    block.status = "error" if all(one.status == "error" for one in found) else "ok"
    return [block]


def _add_answer(
    parts: Sequence[Mapping[str, Any]], piece: MessagePiece, state: dict[str, Any]
) -> None:
    """Take a message of the user's side: mostly results and what the extension adds."""
    result: TurnBlock | None = None
    for part in parts:
        if part.get("type") == "tool_result":
            for block in _result_blocks(part):
                piece.blocks.append(block)
                _add_feedback(block.text, block.call in state.get("asking", ()), piece, state)
        elif part.get("type") == "text":
            result = _add_typed(str(part.get("text") or ""), piece, state, result)
        else:
            piece.blocks.append(anthropic_messages.other_block(part))
    if piece.origin != "human":
        typed = any(block.type in ("text", "image") for block in piece.blocks)
        piece.origin = "harness" if typed or not piece.blocks else "agent"


def _add_typed(
    text: str, piece: MessagePiece, state: dict[str, Any], result: TurnBlock | None
) -> TurnBlock | None:
    """Tell what a person typed from what the extension wrote into the same message.

    Behind the head of a result all text is that result's, whatever tags it has.
    """
    if text.lstrip().startswith("<environment_details>"):
        if (found := _CWD.search(text)) and not state.get("cwd"):
            state["cwd"] = found[1]
        piece.blocks.append(TurnBlock("notice", text, name="environment"))
        return None
    if match := _RESULT.match(text):
        result = _announced_result(match, state)
        piece.blocks.append(result)
        text = text[match.end() :]
        if not text:
            return result
    if result is not None:
        result.text = f"{result.text}\n{text}".lstrip("\n")
        result.status, result.exit_code = tool_calls.result_outcome(result.text, None)
        _add_feedback(text, result.name in _ASKING, piece, state)
    elif match := _TYPED.match(text):
        piece.origin = "human"
        piece.blocks.append(TurnBlock("text", match[2]))
        if match[3]:
            piece.blocks.append(TurnBlock("notice", match[3], name="files"))
    elif text.strip() in state.get("typed", ()):
        piece.origin = "human"
        piece.blocks.append(TurnBlock("text", text))
    elif text.startswith(("[ERROR]", "[TASK RESUMPTION]", "[SYSTEM", "The user")):
        piece.blocks.append(TurnBlock("notice", text))
        _add_feedback(text, False, piece, state)
    else:
        piece.blocks.append(TurnBlock("text", text))
    return result


def _announced_result(match: re.Match[str], state: dict[str, Any]) -> TurnBlock:
    """Return the result that a head announces, for the call of that name that waits for it."""
    block = TurnBlock(
        "result", "", name=match[1], kind=tool_calls.tool_kind(match[1]), arg=match[2] or ""
    )
    waiting = state.get("waiting") or []
    for entry in waiting:
        if entry[1] == match[1]:
            block.call = entry[0]
            waiting.remove(entry)
            break
    return block


def _add_feedback(text: str, asked: bool, piece: MessagePiece, state: dict[str, Any]) -> None:
    """Add what a person said inside a result: where they were asked, or the window's log has it.

    Anything may stand in the output of a tool, also a <feedback> tag.
    """
    match = _FEEDBACK.search(text)
    if match and (asked or match[2].strip() in state.get("typed", ())):
        piece.origin = "human"
        piece.blocks.append(TurnBlock("text", match[2]))


def _set_usage(message: Mapping[str, Any], piece: MessagePiece, number: int) -> None:
    metrics = message.get("metrics")
    tokens = metrics.get("tokens") if isinstance(metrics, dict) else None
    values = tokens if isinstance(tokens, dict) else metrics
    if not isinstance(values, dict):
        return
    piece.usage_key = piece.native or f"@{number}"
    piece.usage = TurnUsage(
        anthropic_messages.count_tokens(values, "inputTokens", "prompt", "input"),
        anthropic_messages.count_tokens(values, "cacheReadTokens", "cached", "cacheReads"),
        anthropic_messages.count_tokens(values, "cacheWriteTokens", "cacheWrites"),
        anthropic_messages.count_tokens(values, "outputTokens", "completion", "output"),
    )


READER = TranscriptReader(
    agent="cline",
    layout="Cline or Roo Code task",
    version=4,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    session_id=session_id,
)
