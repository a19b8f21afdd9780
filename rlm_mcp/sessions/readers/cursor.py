"""Read Cursor's agent transcripts: ~/.cursor/projects/<folder>/agent-transcripts/<id>.*

There is a .jsonl and a .txt form. The text form writes `user:` and `assistant:` sections with
`[Tool call]` parts; the JSON-lines form has one message a line, no results and no times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlm_mcp import files
from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers.reader import TranscriptReader, first_records, json_lines
from rlm_mcp.sessions.schema import (
    MessagePiece,
    SessionInfo,
    SkippedRecord,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
)

_QUERY = re.compile(r"<user_query>\s*(.*?)\s*</user_query>", re.DOTALL)
_ROLE = re.compile(rb"(user|assistant):\s*\n\Z")
_PART = re.compile(r"^\[(Thinking|Tool call|Tool result)\](.*)$")


def session_folders() -> list[Path]:
    return [Path.home() / ".cursor" / "projects"]


def detect_format(path: Path, head: bytes) -> bool:
    if path.suffix == ".txt":
        return head.startswith((b"user:\n", b"assistant:\n")) and b"\nassistant:\n" in head
    if path.suffix != ".jsonl":
        return False
    first = next((raw for raw in head.splitlines() if raw.strip()), b"")
    return re.match(rb'\{\s*"role"\s*:\s*"(user|assistant)"\s*,\s*"message"\s*:', first) is not None


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    for folder in session_folders():
        for path in sorted(folder.glob("*/agent-transcripts/**/*.*")):
            if path.suffix in (".jsonl", ".txt"):
                project = path.relative_to(folder).parts[0]
                yield SessionInfo(
                    "cursor", path.stem, str(path), "", _slug_folder(project), _first_prompt(path)
                )


def _slug_folder(slug: str) -> str:
    """Return the folder that a slug stands for, where one exists; the slug is lossy."""
    at = Path("/")
    rest = slug
    while rest:
        names = sorted(
            (p for p in _subfolder_slugs(at) if rest == p or rest.startswith(f"{p}-")), key=len
        )
        if not names:
            return slug
        at, rest = at / _folder_named(at, names[-1]), rest[len(names[-1]) + 1 :]
    return str(at)


def _subfolder_slugs(at: Path) -> list[str]:
    try:
        return [re.sub(r"[^A-Za-z0-9]", "-", p.name) for p in at.iterdir() if p.is_dir()]
    except OSError:
        return []


def _folder_named(at: Path, slug: str) -> str:
    return next(p.name for p in at.iterdir() if re.sub(r"[^A-Za-z0-9]", "-", p.name) == slug)


def _first_prompt(path: Path) -> str:
    for record in first_records(path):
        message = record.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        if record.get("role") == "user" and isinstance(content, list) and content:
            return split_query(str(content[0].get("text") or ""))[0][:200]
    return ""


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    if source.path.endswith(".txt"):
        return _text_events(source, start)
    return json_lines(source, start, _message_events)


def _message_events(record: dict[str, Any]) -> Iterator[TranscriptEvent]:
    message = record.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    role = record.get("role")
    if role not in ("user", "assistant") or content is None:
        yield SkippedRecord("unknown", str(role or record.get("type")))
        return
    blocks: list[TurnBlock] = []
    for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        if not isinstance(part, dict):
            continue
        kind = part.get("type")
        if kind == "text" and role == "user":
            text, around = split_query(str(part.get("text") or ""))
            blocks.append(TurnBlock("text", text))
            blocks += [TurnBlock("notice", around)] if around else []
        elif kind == "text":
            blocks.append(TurnBlock("text", str(part.get("text") or "")))
        elif kind == "tool_use":
            blocks.append(
                tool_calls.call_block(str(part.get("name") or ""), part.get("input") or {})
            )
        elif kind == "tool_result":
            text = tool_calls.show_arguments(part.get("content"))
            blocks.append(TurnBlock("result", text, call=str(part.get("tool_use_id") or "")))
        else:
            blocks.append(TurnBlock("notice", f"[{kind}]", note=str(kind)))
    yield MessagePiece(role, "human" if role == "user" else "agent", blocks)


def split_query(text: str) -> tuple[str, str]:
    """Return what a person typed, and what Cursor put around it."""
    found = _QUERY.search(text)
    if not found:
        return text, ""
    return found[1], (text[: found.start()] + text[found.end() :]).strip()


def _text_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    """Read the text form; the last section may still grow, so reading begins anew each time."""
    role, begin, body = "", start, b""
    with files.open_regular(source.path) as file:
        file.seek(start)
        offset = start
        for raw in file:
            match = _ROLE.match(raw)
            if match and (not body or body.endswith(b"\n\n")):
                if role:
                    yield from _section_events(role, body.decode("utf-8", "replace"), begin, offset)
                role, begin, body = match[1].decode(), offset, b""
            else:
                body += raw
            offset += len(raw)
        if role:
            yield from _section_events(role, body.decode("utf-8", "replace"), begin, offset)


def _section_events(role: str, body: str, begin: int, end: int) -> Iterator[TranscriptEvent]:
    blocks: list[TurnBlock] = []
    if role == "user":
        text, around = split_query(body.strip("\n"))
        blocks.append(TurnBlock("text", text))
        blocks += [TurnBlock("notice", around)] if around else []
    else:
        _parse_reply(body.strip("\n").split("\n"), blocks, begin)
    piece = MessagePiece("assistant", "agent", blocks)
    if role == "user":
        piece.role, piece.origin = "user", "human"
    piece.start, piece.end = begin, end
    yield piece


def _parse_reply(rows: list[str], blocks: list[TurnBlock], begin: int) -> None:
    """Cut a reply into its parts; the lines of thoughts, calls and results are indented by two."""
    kind, name = "text", ""
    held: list[str] = []

    def close_part() -> None:
        text = "\n".join(held).strip("\n") if kind == "text" else "\n".join(held)
        if kind == "Tool call":
            pairs = [row.partition("=") for row in held]
            arguments: dict[str, str] = {}
            last = ""
            for key, sign, value in pairs:
                if sign and re.fullmatch(r"\w+", key):
                    arguments[key], last = value, key
                elif last:
                    arguments[last] += f"\n{key}{sign}{value}"
            blocks.append(tool_calls.call_block(name, arguments, f"@{begin}.{len(blocks)}"))
        elif kind == "Tool result":
            call = next((b for b in reversed(blocks) if b.type == "call"), None)
            status, code = tool_calls.result_outcome(text, None)
            result = TurnBlock("result", text, call=call.call if call else "", status=status)
            result.exit_code = code
            blocks.append(result)
        elif text:
            blocks.append(TurnBlock("thinking" if kind == "Thinking" else "text", text))

    for row in rows:
        match = _PART.match(row)
        if match:
            close_part()
            kind, name, held = match[1], match[2].strip(), []
        elif kind != "text" and not row.startswith("  ") and row:
            close_part()
            kind, held = "text", [row]
        else:
            held.append(row[2:] if kind != "text" else row)
    close_part()


READER = TranscriptReader(
    agent="cursor",
    layout="Cursor agent transcript",
    version=1,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    limits=("no times, models or usage; the JSON-lines form keeps no results",),
)
