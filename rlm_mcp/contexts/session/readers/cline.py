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
from rlm_mcp.contexts.session.readers import messages, places
from rlm_mcp.contexts.session.readers.reader import Reader, guarded
from rlm_mcp.contexts.session.turns import Block, Event, Found, Meta, Odd, Piece, Source, Usage

_EXTENSIONS = ("saoudrizwan.claude-dev", "rooveterinaryinc.roo-cline", "kilocode.kilo-code")
_EDITORS = ("Code", "Code - Insiders", "Cursor", "VSCodium", "Windsurf")
_TYPED = re.compile(
    r"\s*<(task|feedback|user_message|answer|user_feedback)>\n?(.*?)\n?</\1>\s*\Z", re.DOTALL
)
_CWD = re.compile(r"# Current (?:Working|Workspace) Directory \((.+?)\) Files")
_XML_RESULT = re.compile(r"\[(\w+)(?: for '(.*?)')?\] Result:\n?", re.DOTALL)


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
            title = str(facts.get("task") or "")
            yield Found("cline", native(path), str(path), "", _project(facts), title[:200])


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
    if title := facts.get("task") or (facts.get("metadata") or {}).get("title"):
        yield Meta("title", str(title)[:300])
    source.state["cwd"] = _project(facts)
    told = list(_condensed(path))
    for number, message in enumerate(value):
        if not isinstance(message, dict):
            yield Odd("broken", "message")
            continue
        at = message.get("ts")
        while told and isinstance(at, (int, float)) and told[0][0] <= at:
            yield told.pop(0)[1]
        yield from guarded(_message(message, f"{prefix}/{number}", source.state))
    for _, piece in told:
        yield piece


def _condensed(path: Path) -> Iterator[tuple[float, Piece]]:
    """Yield the compactions, which only the extension's own log of its window holds."""
    shown = places.load(path.with_name("ui_messages.json"))
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
        yield float(item.get("ts") or 0), piece


def _message(message: Mapping[str, Any], pointer: str, state: dict[str, Any]) -> Iterator[Event]:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    role = message.get("role")
    piece = Piece("assistant", "agent", []) if role == "assistant" else Piece("user", "agent", [])
    for part in parts:
        if not isinstance(part, dict):
            continue
        if role == "assistant":
            piece.blocks.append(messages.reply_block(part))
        elif part.get("type") == "tool_result":
            piece.blocks.append(messages.result_block(part, None))
        elif part.get("type") == "text":
            _typed(str(part.get("text") or ""), piece, state)
        else:
            piece.blocks.append(messages.other_block(part))
    if role != "assistant" and piece.origin != "human":
        typed = any(block.type in ("text", "image") for block in piece.blocks)
        piece.origin = "harness" if typed or not piece.blocks else "agent"
    piece.native = str(message.get("id") or "")
    piece.pointer, piece.ts = pointer, places.moment(message.get("ts"))
    piece.cwd = str(state.get("cwd") or "")
    model = message.get("modelInfo")
    if isinstance(model, dict):
        piece.model = str(model.get("modelId") or model.get("id") or "")
    _metrics(message, piece)
    yield piece


def _typed(text: str, piece: Piece, state: dict[str, Any]) -> None:
    """Tell what a person typed from what the extension wrote into the same message."""
    if match := _TYPED.match(text):
        piece.origin = "human"
        piece.blocks.append(Block("text", match[2]))
    elif text.lstrip().startswith("<environment_details>"):
        if (found := _CWD.search(text)) and not state.get("cwd"):
            state["cwd"] = found[1]
        piece.blocks.append(Block("notice", text, name="environment"))
    elif match := _XML_RESULT.match(text):
        name, arg = match[1], match[2] or ""
        block = Block("result", text[match.end() :], name=name, kind=calls.kind(name), arg=arg)
        piece.blocks.append(block)
    elif text.startswith(("[ERROR]", "[TASK RESUMPTION]", "[SYSTEM", "The user")):
        piece.blocks.append(Block("notice", text))
    else:
        piece.blocks.append(Block("text", text))


def _metrics(message: Mapping[str, Any], piece: Piece) -> None:
    metrics = message.get("metrics")
    tokens = metrics.get("tokens") if isinstance(metrics, dict) else None
    values = tokens if isinstance(tokens, dict) else metrics
    if not isinstance(values, dict):
        return

    def count(*names: str) -> int:
        return next((int(v) for n in names if isinstance(v := values.get(n), (int, float))), 0)

    piece.usage_key = piece.native or piece.pointer
    piece.usage = Usage(
        count("inputTokens", "prompt", "input"),
        count("cacheReadTokens", "cached", "cacheReads"),
        count("cacheWriteTokens", "cacheWrites"),
        count("outputTokens", "completion", "output"),
    )


READER = Reader(
    agent="cline",
    layout="Cline or Roo Code task",
    version=1,
    detect=detect,
    events=events,
    folders=folders,
    find=find,
    native=native,
)
