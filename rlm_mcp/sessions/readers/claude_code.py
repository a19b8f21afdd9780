"""Read Claude Code's transcripts: ~/.claude/projects/<folder>/<session>.jsonl and what lies beside.

One reply is several records with one message id and the same usage; parallel calls hang their
results off different records; a compaction starts a new root. Records outside the list of known
types are counted, and only carry the chain of parents on.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp import files
from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers import anthropic_messages, editor_folders
from rlm_mcp.sessions.readers.reader import TranscriptReader, first_records, json_lines, json_list
from rlm_mcp.sessions.schema import (
    ChildTranscript,
    MemoryNote,
    MessagePiece,
    Origin,
    SessionInfo,
    SessionMetadata,
    SkippedRecord,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
    Workflow,
)

NOTE_LIMIT_BYTES = 1 << 20
"""Bytes of a note that are read."""


def read_memory(path: Path) -> Iterator[MemoryNote]:
    """Yield the notes of the transcript's project, their list first."""
    folder = path.parent / "memory"
    found = [file for file in folder.glob("**/*.md") if files.is_regular_file(file)]
    for file in sorted(found, key=lambda one: (one.name != "MEMORY.md", str(one))):
        try:
            with files.open_regular(file) as stream:
                data = stream.read(NOTE_LIMIT_BYTES + 1)
            changed = os.stat(file).st_mtime
        except OSError:
            continue
        text = data[:NOTE_LIMIT_BYTES].decode("utf-8", "replace")
        note = "cut at 1 MB" if len(data) > NOTE_LIMIT_BYTES else ""
        yield MemoryNote(str(file), file.relative_to(folder).as_posix(), text, changed, note)


def read_workflows(path: Path) -> Iterator[Workflow]:
    """Yield the runs of workflows that the transcript's session started, oldest first."""
    found = []
    for file in (path.with_suffix("") / "workflows").glob("wf_*.json"):
        record = editor_folders.load_json(file) if files.is_regular_file(file) else None
        if isinstance(record, dict):
            found.append(_parse_workflow(file.stem, record))
        else:
            found.append(Workflow(file.stem, status="broken"))
    yield from sorted(found, key=lambda run: (run.started, run.name))


def _parse_workflow(name: str, record: dict[str, Any]) -> Workflow:
    steps = record.get("workflowProgress")
    agents = [
        step for step in (steps if isinstance(steps, list) else [])
        if isinstance(step, dict) and step.get("type") == "workflow_agent"
    ]  # fmt: skip
    return Workflow(
        name,
        title=_first_text(record, "title", "workflowName", "summary"),
        status=_first_text(record, "status") or ("failed" if record.get("error") else "completed"),
        started=editor_folders.iso_time(record.get("startTime") or record.get("timestamp")),
        script=_first_text(record, "script"),
        result=_first_text(record, "result"),
        error=_first_text(record, "error"),
        agents=len(agents) or _whole_number(record, "agentCount"),
        tokens=_whole_number(record, "totalTokens"),
        calls=_whole_number(record, "totalToolCalls"),
    )


def _first_text(record: dict[str, Any], *names: str) -> str:
    value = next((record[name] for name in names if record.get(name)), "")
    return tool_calls.show_arguments(value)


def _whole_number(record: dict[str, Any], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


_NOISE_NAMES = (
    "file-history-snapshot attachment queue-operation last-prompt progress mode cost-state "
    "tools-used api-request api-request-blob api-request-shape permission-mode agent-name "
    "agent-color agent-setting pr-link tag content-replacement worktree-state speculation-accept "
    "attribution-snapshot marble-origami-commit atis-latch"
)
_NOISE = frozenset(_NOISE_NAMES.split())
_TITLES = {"summary": "summary", "custom-title": "customTitle", "ai-title": "aiTitle"}
_CONTINUED = "This session is being continued from a previous conversation"
_AGENT = re.compile(r"agent-[A-Za-z0-9_-]+\.jsonl\Z")


def session_folders() -> list[Path]:
    """Return the folders in which Claude Code keeps its projects on this machine."""
    chosen = os.environ.get("CLAUDE_CONFIG_DIR", "")
    homes = [Path(part).expanduser() for part in chosen.split(",") if part.strip()]
    if not homes:
        homes = [Path.home() / ".claude", Path.home() / ".config" / "claude"]
    return [*(home / "projects" for home in homes), *desktop_folders()]


def desktop_folders() -> list[Path]:
    """Return where the desktop application keeps the projects of its local agent.

    Each of its sessions has a home of its own; only those that really lie there count.
    """
    base = editor_folders.config_folder() / "Claude" / "local-agent-mode-sessions"
    real = os.path.realpath(base)
    found = [at for deep in ("*/*", "*/*/agent") for at in base.glob(f"{deep}/local_*/.claude")]
    inside = (at for at in sorted(found) if Path(os.path.realpath(at)).is_relative_to(real))
    return [at / "projects" for at in inside]


def folder_slug(folder: str) -> str:
    """Return the name that Claude Code gives a project's folder."""
    return re.sub(r"[^A-Za-z0-9-]", "-", folder)


def detect_format(path: Path, head: bytes) -> bool:
    if path.suffix == ".json":
        return re.match(rb'\s*\{\s*"loglines"\s*:', head) is not None
    if path.suffix != ".jsonl":
        return False
    for raw in head.splitlines()[:20]:
        if b'"type"' not in raw:
            continue
        if re.search(rb'"type"\s*:\s*"(session_meta|response_item|session\.start)"', raw):
            return False
        if re.search(
            rb'"(parentUuid|sessionId|leafUuid|isSidechain|messageId)"\s*:', raw
        ) or re.search(rb'"type"\s*:\s*"(user|assistant)".*"message"\s*:\s*\{', raw):
            return b'"projectHash"' not in raw
    return False


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    for folder in session_folders():
        shared = {path for root in roots for path in aliased_folders(folder, root)}
        for path in sorted(folder.glob("*/*.jsonl")):
            if not _AGENT.match(path.name):
                also = path.parent in shared
                facts = transcript_facts(path) | _desktop_facts(folder.parents[1])
                yield SessionInfo("claude", path.stem, str(path), **facts, shared=also)


def aliased_folders(home: Path, project: Path) -> Iterator[Path]:
    """Yield the folders of `home` whose sessions have moved into a project, a path a line.

    Claude Code appends to this file when a session changes its folder (seen in 2.1.329).
    """
    try:
        with files.open_regular(home / folder_slug(str(project)) / ".session-aliases") as file:
            listed = file.read(1 << 16).split(b"\n")
    except OSError:
        return
    for line in filter(None, listed):
        folder = Path(os.fsdecode(line))
        if folder.name and folder.parent.name == home.name:
            yield home / folder.name


def transcript_facts(path: Path) -> dict[str, Any]:
    """Return what a transcript's first records say of project, title and time."""
    facts: dict[str, Any] = {}
    for record in first_records(path):
        if "project" not in facts and record.get("cwd"):
            facts["project"] = str(record["cwd"])
            facts["started"] = str(record.get("timestamp") or "")
        piece = _user_piece(record, record["message"]) if _is_prompt(record) else None
        if piece is not None and piece.origin == "human" and piece.blocks:
            facts["title"] = piece.blocks[0].text[:200]
            break
    return facts


def _desktop_facts(home: Path) -> dict[str, Any]:
    """Return what the desktop application says of a session: the user's folder, and a title."""
    if not home.name.startswith("local_"):
        return {}
    values = editor_folders.load_json(home.with_name(f"{home.name}.json"), 1 << 20)
    facts = values if isinstance(values, dict) else {}
    picked = facts.get("userSelectedFolders")
    folder = picked[0] if isinstance(picked, list) and picked else facts.get("originCwd")
    said = {"project": folder, "title": facts.get("title")}
    return {name: text for name, text in said.items() if isinstance(text, str) and text}


def _is_prompt(record: Mapping[str, Any]) -> bool:
    return record.get("type") == "user" and isinstance(record.get("message"), dict)


def find_children(path: Path) -> Sequence[ChildTranscript]:
    found = []
    folder = path.with_suffix("") / "subagents"
    for file in sorted(folder.glob("**/agent-*.jsonl")):
        facts = _child_facts(file.with_name(file.stem + ".meta.json"))
        found.append(ChildTranscript(str(file), file.stem, facts.get("toolUseId", ""), facts))
    return found


def _child_facts(path: Path) -> dict[str, str]:
    try:
        with files.open_regular(path) as file:
            values = json.loads(file.read(1 << 16))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in values.items()} if isinstance(values, dict) else {}


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    if source.path.endswith(".json"):
        yield from _web_events(source)
        return
    subagent = _AGENT.search(source.path) is not None
    threads: dict[str, str] = source.state.setdefault("threads", {})
    said: dict[str, str] = {}
    yield from json_lines(
        source, start, lambda record: _record_events(record, threads, subagent, said)
    )


def _web_events(source: TranscriptSource) -> Iterator[TranscriptEvent]:
    value = editor_folders.load_json(Path(source.path))
    loglines = value.get("loglines") if isinstance(value, dict) else None
    if not isinstance(loglines, list):
        yield SkippedRecord("broken")
        return
    said: dict[str, str] = {}
    yield from json_list(
        loglines, "/loglines", lambda record: _record_events(record, {}, False, said)
    )


def _record_events(
    record: dict[str, Any], threads: dict[str, str], subagent: bool, said: dict[str, str]
) -> Iterable[TranscriptEvent]:
    kind = record.get("type")
    found: list[TranscriptEvent] = []
    if kind in ("user", "assistant"):
        message = record.get("message")
        if not isinstance(message, dict):
            return (SkippedRecord("unknown", f"{kind} without a message"),)
        piece = (_user_piece if kind == "user" else _assistant_piece)(record, message)
    elif kind == "system":
        piece = _system_piece(record)
    elif isinstance(kind, str) and kind in _TITLES:
        return (SessionMetadata("title", str(record.get(_TITLES[kind], ""))),)
    else:
        named = str(kind or "record without a type")
        found.append(SkippedRecord("noise" if kind in _NOISE else "unknown", named))
        queued = _queued_prompt(record)
        if not record.get("uuid"):
            return found
        piece = MessagePiece("user", "human" if queued else "harness", queued)
    _fill_piece(piece, record)
    if record.get("isSidechain") and not subagent:
        _assign_thread(piece, record, threads)
    if (subagent or piece.thread) and piece.origin == "human":
        piece.origin = "subagent"
    for key in ("version", "gitBranch"):
        value = record.get(key)
        if value and said.get(key) != value and isinstance(value, str):
            said[key] = value
            found.append(SessionMetadata(key, value))
    fork = record.get("forkedFrom")
    if isinstance(fork, dict):
        found.append(SessionMetadata("parent", f"{fork.get('sessionId', '')} fork"))
    found.append(piece)
    return found


def _fill_piece(piece: MessagePiece, record: Mapping[str, Any]) -> None:
    """Take from the record what all its kinds share."""
    get = record.get
    piece.native = str(get("uuid") or "")
    parent = get("parentUuid", "")
    if get("subtype") == "compact_boundary":
        parent = get("logicalParentUuid", "")
    piece.parent = None if parent is None else str(parent)
    piece.ts = str(get("timestamp") or "")
    piece.cwd = str(get("cwd") or "")


def _assign_thread(piece: MessagePiece, record: Mapping[str, Any], threads: dict[str, str]) -> None:
    """Give an inline subagent's record to its own thread (Claude Code before 2.1.233)."""
    name = record.get("agentId")
    known = threads.get(piece.parent or "")
    piece.thread = f"agent-{name}" if name else known or f"side-{piece.native[:8]}"
    threads[piece.native] = piece.thread
    if len(threads) > 5_000:
        del threads[next(iter(threads))]


def _user_piece(record: Mapping[str, Any], message: Mapping[str, Any]) -> MessagePiece:
    content = message.get("content")
    piece = MessagePiece("user", "human", [])
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    for part in parts:
        if not isinstance(part, dict):
            continue
        if part.get("type") == "tool_result":
            piece.blocks.append(anthropic_messages.result_block(part, record.get("toolUseResult")))
        elif part.get("type") == "text":
            piece.blocks.extend(anthropic_messages.split_reminders(str(part.get("text") or "")))
        else:
            piece.blocks.append(anthropic_messages.other_block(part))
    piece.origin = _prompt_origin(record, piece.blocks)
    if piece.origin == "compaction":
        for block in piece.blocks:
            block.type = "compaction"
    return piece


def _prompt_origin(record: Mapping[str, Any], blocks: list[TurnBlock]) -> Origin:
    if record.get("isCompactSummary"):
        return "compaction"
    texts = [block.text for block in blocks if block.type == "text"]
    first = texts[0].lstrip() if texts else ""
    if first.startswith(_CONTINUED):
        return "compaction"
    if record.get("isMeta") or first.startswith(anthropic_messages.HARNESS_STARTS):
        return "harness"
    if texts:
        return "human"
    if any(block.type == "result" for block in blocks):
        return "agent"
    return "human" if any(block.type == "image" for block in blocks) else "harness"


def _assistant_piece(record: Mapping[str, Any], message: Mapping[str, Any]) -> MessagePiece:
    piece = MessagePiece("assistant", "agent", [])
    piece.group = str(message.get("id") or "")
    piece.model = str(message.get("model") or "")
    content = message.get("content")
    for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        if isinstance(part, dict):
            piece.blocks.append(anthropic_messages.reply_block(part))
    usage = message.get("usage")
    if isinstance(usage, dict):
        piece.usage = anthropic_messages.read_usage(usage)
        piece.usage_key = piece.group
    if record.get("isApiErrorMessage") or piece.model == "<synthetic>":
        piece.role, piece.origin, piece.usage = "system", "harness", None
        for block in piece.blocks:
            block.type, block.status = "notice", "error"
    return piece


def _system_piece(record: Mapping[str, Any]) -> MessagePiece:
    subtype = str(record.get("subtype") or "")
    content = record.get("content")
    text = content if isinstance(content, str) else ""
    if subtype == "compact_boundary":
        meta = record.get("compactMetadata")
        meta = meta if isinstance(meta, dict) else {}
        block = TurnBlock(
            "compaction", f"{text}\n{tool_calls.show_arguments(meta)}".strip(), name="boundary"
        )
        return MessagePiece("system", "compaction", [block], boundary=True, keeps=_kept_ids(meta))
    piece = MessagePiece("system", "harness", [])
    if text and subtype not in ("turn_duration", "stop_hook_summary", "away_summary"):
        failed = subtype == "api_error" or record.get("level") == "error"
        piece.blocks.append(
            TurnBlock("notice", text, name=subtype, status="error" if failed else "")
        )
    return piece


def _kept_ids(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the messages that stayed in the window."""
    kept: list[Any] = []
    segment, messages = meta.get("preservedSegment"), meta.get("preservedMessages")
    if isinstance(segment, dict):
        kept += [segment.get("headUuid"), segment.get("tailUuid")]
    if isinstance(messages, dict) and isinstance(messages.get("uuids"), list):
        kept += messages["uuids"]
    return tuple(item for item in kept if isinstance(item, str))


def _queued_prompt(record: Mapping[str, Any]) -> list[TurnBlock]:
    """Return the prompt that a person typed while the agent worked, kept as an attachment."""
    attachment = record.get("attachment")
    if not isinstance(attachment, dict) or attachment.get("type") != "queued_command":
        return []
    if attachment.get("commandMode", "prompt") != "prompt":
        return []
    prompt = attachment.get("prompt")
    if isinstance(prompt, list):
        prompt = "\n".join(str(p.get("text", "")) for p in prompt if isinstance(p, dict))
    if not isinstance(prompt, str) or prompt.lstrip().startswith(anthropic_messages.HARNESS_STARTS):
        return []
    return anthropic_messages.split_reminders(prompt)


READER = TranscriptReader(
    agent="claude",
    layout="Claude Code JSON lines",
    version=1,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    find_children=find_children,
    read_memory=read_memory,
    read_workflows=read_workflows,
    limits=("a reply's usage is the last one recorded for its message id",),
)
