"""Read aider's history: <repo>/.aider.chat.history.md, many chats in one Markdown file.

Lines that start with `#### ` and end in two blanks are a person's (a model writes headings of
that level too), those with `> ` the tool's, the rest the model's. There are no ids and a time
only where a chat starts. A file edit counts where aider says that it applied one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rlm_mcp import files
from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers.reader import HEAD_BYTES, TranscriptReader
from rlm_mcp.sessions.schema import (
    CONVERSATION_BEGINS,
    FileOp,
    MessagePiece,
    Origin,
    SessionInfo,
    SessionMetadata,
    TranscriptEvent,
    TranscriptSource,
    TurnBlock,
    TurnUsage,
)

_START = re.compile(r"# aider chat started at (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)\s*\Z")
_RUN = re.compile(r"Running (.+)\Z")
_TYPED_RUN = re.compile(r"(?:/(?:run|test)\s+|!\s*)(\S.*)\Z", re.DOTALL)
"""A command that the person had run; its output goes to the model, not into the history."""
_APPLIED = re.compile(r"Applied edit to (.+)\Z")
_COMMIT = re.compile(r"Commit [0-9a-f]{7,40} ")
_TOKENS = re.compile(r"Tokens: ([\d.,]+)(k?) sent,.*?([\d.,]+)(k?) received")
_MODEL = re.compile(r"(?:Main model|Model|Models?): (\S+)")
_ADD = re.compile(r"Add .* tokens of command output to the chat\?")
_EDIT = re.compile(
    r"^(?P<path>[^\n`<>]+)\n```[^\n]*\n<<<<<<< SEARCH\n(?P<old>.*?)\n?=======\n(?P<new>.*?)\n?"
    r">>>>>>> REPLACE",
    re.MULTILINE | re.DOTALL,
)
_COMMAND = re.compile(r"/(?!ask\b|code\b|architect\b|context\b)[a-z][a-z-]*(?:\s|\Z)|!")
_REFLECTED = (
    "# Fix any errors below", "Fix any errors below", "I ran this command:\n",
    "Here is the content of http", "Here's the content of http",
)  # fmt: skip
"""How begins what aider says in a person's place."""
_TYPED = re.compile(rb"^#### .*  \r?$", re.MULTILINE)


def session_folders() -> list[Path]:
    """Return nothing: aider keeps its history in each project, under the roots."""
    return []


def detect_format(path: Path, head: bytes) -> bool:
    if path.suffix not in (".md", ""):
        return False
    return re.search(rb"^# aider chat started at \d{4}-", head, re.MULTILINE) is not None


def find_sessions(roots: Sequence[Path]) -> Iterator[SessionInfo]:
    chosen = os.environ.get("AIDER_CHAT_HISTORY_FILE")
    for folder in roots:
        path = Path(chosen) if chosen else folder / ".aider.chat.history.md"
        if path.is_file():
            yield SessionInfo("aider", "aider", str(path), "", str(folder))


def read_events(source: TranscriptSource, start: int) -> Iterator[TranscriptEvent]:
    """Yield a piece for each run of lines of one kind."""
    chat = _ChatParser()
    folder = str(Path(source.path).parent)
    with files.open_regular(source.path) as file:
        strict = _TYPED.search(file.read(HEAD_BYTES)) is not None
        file.seek(start)
        kind, begin, offset = "", start, start
        held: list[str] = []
        for raw in file:
            line = raw.decode("utf-8", "replace").lstrip("\ufeff").rstrip("\r\n")
            now = _line_kind(line, kind, strict)
            again = now == kind == "user" and held and not held[-1] and line
            if (now != kind or again) and held:
                yield from _place_events(chat.chat_events(kind, held), begin, offset, folder)
                held = []
            if not held:
                kind, begin = now, offset
            held.append(line)
            offset += len(raw)
        if held:
            yield from _place_events(chat.chat_events(kind, held), begin, offset, folder)


def _place_events(
    found: Iterator[TranscriptEvent], begin: int, end: int, folder: str
) -> Iterator[TranscriptEvent]:
    for number, event in enumerate(found):
        if isinstance(event, MessagePiece):
            event.start, event.end, event.cwd = begin, end, folder
            event.pointer = str(number) if number else ""
        yield event


def _line_kind(line: str, before: str, strict: bool) -> str:
    typed = line.endswith("  ") or line.startswith("#### /") or not strict
    if (line.startswith("#### ") or line == "####") and (typed or before == "user"):
        return "user"
    if line.startswith("> ") or line == ">":
        return "tool"
    if _START.match(line):
        return "start"
    if not line.strip() and before in ("user", "start"):
        return before
    return "model"


class _ChatParser:
    """What has to be remembered from one run of lines to the next."""

    def __init__(self) -> None:
        self._ts = ""
        self._model = ""
        self._edits: dict[str, tuple[str, str]] = {}
        self._calls = 0

    def chat_events(self, kind: str, held: list[str]) -> Iterator[TranscriptEvent]:
        if kind == "start":
            yield from self._start_chat(held[0])
        elif kind == "user":
            yield from self._user_pieces(held)
        elif kind == "tool":
            yield from self._tool_events([line[2:].removesuffix("  ") for line in held])
        else:
            text = "\n".join(held).strip("\n")
            if text.strip():
                found = _EDIT.finditer(text)
                self._edits = {m["path"].strip(): (m["old"], m["new"]) for m in found}
                yield self._agent_piece(TurnBlock("text", text))

    def _agent_piece(self, *blocks: TurnBlock) -> MessagePiece:
        return MessagePiece("assistant", "agent", list(blocks), ts=self._ts, model=self._model)

    def _start_chat(self, line: str) -> Iterator[TranscriptEvent]:
        match = _START.match(line)
        assert match
        self._ts = f"{match[1]}T{match[2]}"
        self._edits.clear()
        block = TurnBlock(
            "notice", f"aider chat started at {match[1]} {match[2]}", name=CONVERSATION_BEGINS
        )
        yield MessagePiece("system", "harness", [block], ts=self._ts)

    def _user_pieces(self, held: list[str]) -> Iterator[MessagePiece]:
        lines = [line[5:].removesuffix("  ") for line in held if line.startswith("####")]
        text = "\n".join(lines).rstrip()
        said = text not in ("", "<blank>") and not text.startswith(_REFLECTED)
        origin: Origin = "human" if said and not _COMMAND.match(text) else "harness"
        yield MessagePiece("user", origin, [TurnBlock("text", text)], ts=self._ts)
        if match := _TYPED_RUN.match(text):
            yield self._agent_piece(self._shell_call(match[1]))

    def _tool_events(self, rows: list[str]) -> Iterator[TranscriptEvent]:
        """Cut the tool's lines into commands with their output, applied edits, and notices."""
        notices: list[str] = []
        at = 0
        while at < len(rows):
            row = rows[at]
            at += 1
            if match := _RUN.match(row):
                output = []
                while at < len(rows) and not _ADD.match(rows[at]) and not _RUN.match(rows[at]):
                    if _APPLIED.match(rows[at]) or _COMMIT.match(rows[at]):
                        break
                    output.append(rows[at])
                    at += 1
                yield self._run_piece(match[1], "\n".join(output))
            elif match := _APPLIED.match(row):
                yield self._edit_piece(match[1].strip())
            elif match := _TOKENS.search(row):
                sent, received = _parse_count(match[1], match[2]), _parse_count(match[3], match[4])
                yield MessagePiece(
                    "assistant", "agent", [], usage=TurnUsage(input=sent, output=received)
                )
            else:
                if match := _MODEL.search(row):
                    self._model = match[1]
                if row.startswith("Aider v"):
                    yield SessionMetadata("version", row[7:].strip())
                notices.append(row)
        if text := "\n".join(notices).strip():
            yield MessagePiece("system", "harness", [TurnBlock("notice", text)], ts=self._ts)

    def _run_piece(self, command: str, output: str) -> MessagePiece:
        call = self._shell_call(command)
        status, code = tool_calls.result_outcome(output, None)
        result = TurnBlock("result", output, call=call.call, status=status, exit_code=code)
        return self._agent_piece(call, result)

    def _shell_call(self, command: str) -> TurnBlock:
        call = tool_calls.call_block("run", {"command": command}, self._next_id())
        call.kind, call.arg = "shell", command
        return call

    def _edit_piece(self, path: str) -> MessagePiece:
        old, new = self._edits.get(path, ("", ""))
        block = TurnBlock("call", f"Applied edit to {path}", name="edit", kind="edit", arg=path)
        block.call, block.status = self._next_id(), "ok"
        block.ops = (FileOp(path, "edit" if old else "create" if new else "edit", old, new),)
        return self._agent_piece(block)

    def _next_id(self) -> str:
        self._calls += 1
        return f"{self._ts}.{self._calls}"


def _parse_count(number: str, kilo: str) -> int:
    return round(float(number.replace(",", "")) * (1000 if kilo else 1))


READER = TranscriptReader(
    agent="aider",
    layout="aider chat history",
    version=3,
    detect_format=detect_format,
    read_events=read_events,
    session_folders=session_folders,
    find_sessions=find_sessions,
    session_id=lambda path: "aider",
    limits=("a time stands only where a chat starts; reads and searches are not recorded",),
)
