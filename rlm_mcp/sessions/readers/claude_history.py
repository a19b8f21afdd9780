"""Read ~/.claude/history.jsonl: every prompt that was typed into Claude Code, of all sessions.

It outlives the transcripts, which are deleted after a month: a session whose transcript is gone is
listed from here, with its prompts alone. Older records name no session; those of a project are
one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp import files
from rlm_mcp.sessions import jsonl
from rlm_mcp.sessions.readers import claude_code, editor_folders
from rlm_mcp.sessions.readers.reader import TranscriptReader, json_lines
from rlm_mcp.sessions.schema import (
    MessagePiece,
    Origin,
    SessionInfo,
    SkippedRecord,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
)

AGENT = "claude-history"
_COMMAND = re.compile(r"/[a-z][\w:-]*(?:\s|\Z)|[!#]")
"""What is told to the program, not to the model: commands, a shell's lines, memories."""
_PASTED = re.compile(r"\[Pasted text #(\d+)[^\]]*\]")


def session_folders() -> list[Path]:
    """Return the files themselves: nothing else in their folders is to be opened."""
    return [home.parent / "history.jsonl" for home in claude_code.session_folders()]


def detect_format(path: Path, head: bytes) -> bool:
    first = head.split(b"\n", 1)[0]
    return path.name == "history.jsonl" and b'"display"' in first and b'"timestamp"' in first


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    for home in claude_code.session_folders():
        path = home.parent / "history.jsonl"
        kept = {file.stem for file in home.glob("*/*.jsonl")}
        for key, records in _session_records(path).items():
            if key in kept:
                continue
            texts = [_prompt_text(record) for record in records]
            yield SessionInfo(
                AGENT, key, str(path), key, str(records[0].get("project") or ""),
                next((text for text in texts if not _COMMAND.match(text)), texts[0])[:200],
                editor_folders.iso_time(records[0].get("timestamp")), _epoch_seconds(records[-1]),
                sum(map(len, texts)),
            )  # fmt: skip


def session_keys(path: Path) -> Sequence[str]:
    return list(_session_records(path))


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    return json_lines(source, start, lambda record: _record_events(record, source.key))


def _record_events(record: dict[str, Any], key: str) -> Iterable[TranscriptEvent]:
    if not isinstance(record.get("display"), str):
        return (SkippedRecord("unknown", "no prompt"),)
    if _session_key(record) != key:
        return ()
    text = _prompt_text(record)
    origin: Origin = "harness" if _COMMAND.match(text) else "human"
    piece = MessagePiece(
        "user",
        origin,
        [TurnBlock("text", text)],
        ts=editor_folders.iso_time(record.get("timestamp")),
    )
    piece.cwd = str(record.get("project") or "")
    return (piece,)


def _session_records(path: Path) -> Mapping[str, list[dict[str, Any]]]:
    """Return the records of each session, the session that was used last at the end."""
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        with files.open_regular(path) as file:
            for _, _, record, _ in jsonl.read_records(file, 0):
                if record is not None and isinstance(record.get("display"), str):
                    key = _session_key(record)
                    records = found.pop(key, [])
                    records.append(record)
                    found[key] = records
    except OSError:
        return {}
    return found


def _session_key(record: Mapping[str, Any]) -> str:
    session = record.get("sessionId")
    if isinstance(session, str) and session:
        return session
    return claude_code.folder_slug(str(record.get("project") or "")) or "unknown"


def _prompt_text(record: Mapping[str, Any]) -> str:
    """Return a prompt with what was pasted in the place of its mark."""
    pasted = record.get("pastedContents")
    display = str(record["display"])
    if not isinstance(pasted, dict):
        return display

    def pasted_text(match: re.Match[str]) -> str:
        entry = pasted.get(match[1])
        content = entry.get("content") if isinstance(entry, dict) else None
        return content if isinstance(content, str) else match[0]

    return _PASTED.sub(pasted_text, display)


def _epoch_seconds(record: Mapping[str, Any]) -> float:
    value = record.get("timestamp")
    return value / 1000 if isinstance(value, (int, float)) and 0 < value < 1e14 else 0.0


READER = TranscriptReader(
    agent=AGENT,
    layout="Claude Code prompt history",
    version=1,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    session_keys=session_keys,
    limits=("only what was typed is recorded, no replies and no calls",),
)
