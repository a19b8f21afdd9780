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

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.readers import messages, places, tags
from rlm_mcp.contexts.session.readers.reader import Reader, json_list
from rlm_mcp.contexts.session.turns import Block, Event, Found, Meta, Odd, Piece, Source, Usage

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


def folders() -> list[Path]:
    found = [
        user / "globalStorage" / name for user in places.editors(*_EDITORS) for name in _EXTENSIONS
    ]
    chosen = os.environ.get("CLINE_SESSION_DATA_DIR")
    data = os.environ.get("CLINE_DATA_DIR")
    home = Path(os.environ.get("CLINE_DIR") or Path.home() / ".cline")
    sessions = Path(chosen) if chosen else (Path(data) if data else home / "data") / "sessions"
    return [*found, sessions]


def detect(path: Path, head: bytes) -> bool:
    if path.name == "api_conversation_history.json":
        return True
    return path.name.endswith(".messages.json") and b'"messages"' in head


def native(path: Path) -> str:
    return path.parent.name


def find(roots: Sequence[Path]) -> Iterator[Found]:
    for folder in folders():
        tasks = folder.glob("tasks/*/api_conversation_history.json")
        for path in sorted([*tasks, *folder.glob("*/*.messages.json")]):
            facts = _facts(path)
            started = places.moment(facts.get("started_at") or facts.get("ts"))
            yield Found(
                "cline", native(path), str(path), "", _project(facts), _title(facts)[:200], started
            )


def _facts(path: Path) -> Mapping[str, Any]:
    """Return what the index files beside a task say of it."""
    own = places.load(path.with_name("history_item.json"))
    if not isinstance(own, dict):
        own = places.load(path.with_name(path.name.replace(".messages.json", ".json")))
    if isinstance(own, dict) and "messages" not in own:
        return own
    listed = places.load(path.parents[2] / "state" / "taskHistory.json")
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and str(item.get("id")) == path.parent.name:
            return item
    return {}


def _title(facts: Mapping[str, Any]) -> str:
    about = facts.get("metadata")
    named = about.get("title") if isinstance(about, dict) else ""
    return str(facts.get("task") or named or facts.get("prompt") or "")


def _project(facts: Mapping[str, Any]) -> str:
    names = ("cwdOnTaskInitialization", "workspace", "workspace_root", "cwd")
    return next((str(facts[name]) for name in names if facts.get(name)), "")


def events(source: Source, start: int) -> Iterator[Event]:
    path = Path(source.path)
    value = places.load(path)
    prefix = ""
    if isinstance(value, dict):
        prefix, value = "/messages", value.get("messages")
    if not isinstance(value, list):
        yield Odd("broken")
        return
    facts = _facts(path)
    if title := _title(facts):
        yield Meta("title", title[:300])
    shown = places.load(path.with_name("ui_messages.json"))
    state = source.state
    state["cwd"], state["typed"] = _project(facts), _said(shown)
    told = list(_condensed(shown))

    def read(message: dict[str, Any]) -> Iterator[Event]:
        at = message.get("ts")
        while told and isinstance(at, (int, float)) and told[0][0] <= at:
            yield told.pop(0)[1]
        yield from _message(message, state)

    yield from json_list(value, prefix, read)
    for _, piece in told:
        yield piece
    state["typed"] = []


def _said(shown: Any) -> list[str]:
    """Return what the extension's log of its window says that the person typed."""
    return [
        str(item["text"]).strip()
        for item in (shown if isinstance(shown, list) else [])
        if isinstance(item, dict)
        and item.get("say") in ("user_feedback", "user_feedback_diff")
        and item.get("text")
    ]


def _condensed(shown: Any) -> Iterator[tuple[float, Piece]]:
    """Yield the compactions, which only the extension's own log of its window holds."""
    for number, item in enumerate(shown if isinstance(shown, list) else []):
        if not isinstance(item, dict):
            continue
        kind = item.get("say") or item.get("ask")
        if kind not in ("condense", "condense_context", "summarize_task"):
            continue
        context = item.get("contextCondense")
        text = context.get("summary") if isinstance(context, dict) else item.get("text")
        block = Block("compaction", str(text or ""))
        piece = Piece("user", "compaction", [block], boundary=True)
        piece.ts, piece.pointer = places.moment(item.get("ts")), f"/ui/{number}"
        yield _time(item), piece


def _time(item: Mapping[str, Any]) -> float:
    value = item.get("ts")
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e300 else 0.0


def _message(message: Mapping[str, Any], state: dict[str, Any]) -> Iterator[Event]:
    role = message.get("role")
    if role not in ("user", "assistant"):
        yield Odd("unknown", f"role {role}")
        return
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    whole = [part for part in parts if isinstance(part, dict)]
    state["messages"] = state.get("messages", 0) + 1
    piece = Piece(role, "agent", [])
    if role == "assistant":
        _replied(whole, piece, state)
    else:
        _answered(whole, piece, state)
    piece.native = str(message.get("id") or "")
    piece.ts = places.moment(message.get("ts"))
    piece.cwd = str(state.get("cwd") or "")
    model = message.get("modelInfo")
    if isinstance(model, dict):
        piece.model = str(model.get("modelId") or model.get("id") or "")
    _metrics(message, piece, state["messages"])
    yield piece


def _replied(parts: Sequence[Mapping[str, Any]], piece: Piece, state: dict[str, Any]) -> None:
    for number, part in enumerate(parts):
        if part.get("type") == "text":
            text = str(part.get("text") or "")
            piece.blocks += tags.reply(text, f"@{state['messages']}.{number}")
        else:
            piece.blocks += _called(part)
    found = [block for block in piece.blocks if block.type == "call"]
    state["waiting"] = [[block.call, block.name] for block in found if block.call[:1] == "@"]
    state["asking"] = [block.call for block in found if block.name in _ASKING]


def _called(part: Mapping[str, Any]) -> list[Block]:
    """Return a call; one of several commands is a call for each of them."""
    values, name = part.get("input"), str(part.get("name") or "")
    commands = values.get("commands") if isinstance(values, dict) else None
    if name != _COMMANDS or not isinstance(commands, list) or len(commands) < 2:
        return [messages.reply_block(part)]
    return [
        calls.call(name, {"commands": [command]}, f"{part.get('id')}/{number}")
        for number, command in enumerate(commands)
    ]


def _brought(part: Mapping[str, Any]) -> list[Block]:
    """Return the results of a call, of which newer versions say each by itself how it ended."""
    block, content = messages.result_block(part, None), part.get("content")
    if isinstance(content, str) and content.startswith('{"query"'):
        content = calls.parse(content)
    items = content if isinstance(content, list) else [content]
    if not items or not all(isinstance(i, dict) and type(i.get("success")) is bool for i in items):
        return [block]
    found = []
    for number, item in enumerate(items):
        text = str(item.get("result") or item.get("error") or "")
        status, code = calls.outcome(text, not item["success"])
        call = f"{block.call}/{number}" if len(items) > 1 else block.call
        found.append(Block("result", text, call=call, status=status, exit_code=code))
    if part.get("name") == _COMMANDS or len(found) == 1:
        return found
    block.text = "\n".join(one.text for one in found)
    block.status = "error" if all(one.status == "error" for one in found) else "ok"
    return [block]


def _answered(parts: Sequence[Mapping[str, Any]], piece: Piece, state: dict[str, Any]) -> None:
    """Take a message of the user's side: mostly results and what the extension adds."""
    result: Block | None = None
    for part in parts:
        if part.get("type") == "tool_result":
            for block in _brought(part):
                piece.blocks.append(block)
                _say(block.text, block.call in state.get("asking", ()), piece, state)
        elif part.get("type") == "text":
            result = _typed(str(part.get("text") or ""), piece, state, result)
        else:
            piece.blocks.append(messages.other_block(part))
    if piece.origin != "human":
        typed = any(block.type in ("text", "image") for block in piece.blocks)
        piece.origin = "harness" if typed or not piece.blocks else "agent"


def _typed(text: str, piece: Piece, state: dict[str, Any], result: Block | None) -> Block | None:
    """Tell what a person typed from what the extension wrote into the same message.

    Behind the head of a result all text is that result's, whatever tags it has.
    """
    if text.lstrip().startswith("<environment_details>"):
        if (found := _CWD.search(text)) and not state.get("cwd"):
            state["cwd"] = found[1]
        piece.blocks.append(Block("notice", text, name="environment"))
        return None
    if match := _RESULT.match(text):
        result = _result(match, state)
        piece.blocks.append(result)
        text = text[match.end() :]
        if not text:
            return result
    if result is not None:
        result.text = f"{result.text}\n{text}".lstrip("\n")
        result.status, result.exit_code = calls.outcome(result.text, None)
        _say(text, result.name in _ASKING, piece, state)
    elif match := _TYPED.match(text):
        piece.origin = "human"
        piece.blocks.append(Block("text", match[2]))
        if match[3]:
            piece.blocks.append(Block("notice", match[3], name="files"))
    elif text.strip() in state.get("typed", ()):
        piece.origin = "human"
        piece.blocks.append(Block("text", text))
    elif text.startswith(("[ERROR]", "[TASK RESUMPTION]", "[SYSTEM", "The user")):
        piece.blocks.append(Block("notice", text))
        _say(text, False, piece, state)
    else:
        piece.blocks.append(Block("text", text))
    return result


def _result(match: re.Match[str], state: dict[str, Any]) -> Block:
    """Return the result that a head announces, for the call of that name that waits for it."""
    block = Block("result", "", name=match[1], kind=calls.kind(match[1]), arg=match[2] or "")
    waiting = state.get("waiting") or []
    for entry in waiting:
        if entry[1] == match[1]:
            block.call = entry[0]
            waiting.remove(entry)
            break
    return block


def _say(text: str, asked: bool, piece: Piece, state: dict[str, Any]) -> None:
    """Add what a person said inside a result: where they were asked, or the window's log has it.

    Anything may stand in the output of a tool, also a <feedback> tag.
    """
    match = _FEEDBACK.search(text)
    if match and (asked or match[2].strip() in state.get("typed", ())):
        piece.origin = "human"
        piece.blocks.append(Block("text", match[2]))


def _metrics(message: Mapping[str, Any], piece: Piece, number: int) -> None:
    metrics = message.get("metrics")
    tokens = metrics.get("tokens") if isinstance(metrics, dict) else None
    values = tokens if isinstance(tokens, dict) else metrics
    if not isinstance(values, dict):
        return
    piece.usage_key = piece.native or f"@{number}"
    piece.usage = Usage(
        messages.count(values, "inputTokens", "prompt", "input"),
        messages.count(values, "cacheReadTokens", "cached", "cacheReads"),
        messages.count(values, "cacheWriteTokens", "cacheWrites"),
        messages.count(values, "outputTokens", "completion", "output"),
    )


READER = Reader(
    agent="cline",
    layout="Cline or Roo Code task",
    version=4,
    detect=detect,
    events=events,
    folders=folders,
    find=find,
    native=native,
)
