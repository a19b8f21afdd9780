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

from rlm_mcp.contexts.session import lines
from rlm_mcp.contexts.session.readers import claude_code, places, plain
from rlm_mcp.contexts.session.readers.reader import Reader, json_lines
from rlm_mcp.contexts.session.turns import Block, Event, Found, Odd, Origin, Piece, Source

AGENT = "claude-history"
_COMMAND = re.compile(r"/[a-z][\w:-]*(?:\s|\Z)|[!#]")
"""What is told to the program, not to the model: commands, a shell's lines, memories."""
_PASTED = re.compile(r"\[Pasted text #(\d+)[^\]]*\]")


def folders() -> list[Path]:
    """Return the files themselves: nothing else in their folders is to be opened."""
    return [home.parent / "history.jsonl" for home in claude_code.folders()]


def detect(path: Path, head: bytes) -> bool:
    first = head.split(b"\n", 1)[0]
    return path.name == "history.jsonl" and b'"display"' in first and b'"timestamp"' in first


def find(roots: Sequence[Path]) -> Iterator[Found]:
    for home in claude_code.folders():
        path = home.parent / "history.jsonl"
        kept = {file.stem for file in home.glob("*/*.jsonl")}
        for key, records in _sessions(path).items():
            if key in kept:
                continue
            texts = [_text(record) for record in records]
            yield Found(
                AGENT, key, str(path), key, str(records[0].get("project") or ""),
                next((text for text in texts if not _COMMAND.match(text)), texts[0])[:200],
                places.moment(records[0].get("timestamp")), _seconds(records[-1]),
                sum(map(len, texts)),
            )  # fmt: skip


def keys(path: Path) -> Sequence[str]:
    return list(_sessions(path))


def events(source: Source, start: int) -> Iterator[Event]:
    return json_lines(source, start, lambda record: _record(record, source.key))


def _record(record: dict[str, Any], key: str) -> Iterable[Event]:
    if not isinstance(record.get("display"), str):
        return (Odd("unknown", "no prompt"),)
    if _key(record) != key:
        return ()
    text = _text(record)
    origin: Origin = "harness" if _COMMAND.match(text) else "human"
    piece = Piece("user", origin, [Block("text", text)], ts=places.moment(record.get("timestamp")))
    piece.cwd = str(record.get("project") or "")
    return (piece,)


def _sessions(path: Path) -> Mapping[str, list[dict[str, Any]]]:
    """Return the records of each session, the session that was used last at the end."""
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        with plain.opened(path) as file:
            for _, _, record, _ in lines.records(file, 0):
                if record is not None and isinstance(record.get("display"), str):
                    key = _key(record)
                    records = found.pop(key, [])
                    records.append(record)
                    found[key] = records
    except OSError:
        return {}
    return found


def _key(record: Mapping[str, Any]) -> str:
    session = record.get("sessionId")
    if isinstance(session, str) and session:
        return session
    return claude_code.slug(str(record.get("project") or "")) or "unknown"


def _text(record: Mapping[str, Any]) -> str:
    """Return a prompt with what was pasted in the place of its mark."""
    pasted = record.get("pastedContents")
    display = str(record["display"])
    if not isinstance(pasted, dict):
        return display

    def whole(match: re.Match[str]) -> str:
        entry = pasted.get(match[1])
        content = entry.get("content") if isinstance(entry, dict) else None
        return content if isinstance(content, str) else match[0]

    return _PASTED.sub(whole, display)


def _seconds(record: Mapping[str, Any]) -> float:
    value = record.get("timestamp")
    return value / 1000 if isinstance(value, (int, float)) and 0 < value < 1e14 else 0.0


READER = Reader(
    agent=AGENT,
    layout="Claude Code prompt history",
    version=1,
    detect=detect,
    events=events,
    folders=folders,
    find=find,
    keys=keys,
    limits=("only what was typed is recorded, no replies and no calls",),
)
