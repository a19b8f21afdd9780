"""The one schema that every agent's transcript is read into, and the events that a reader yields.

A session is a tree of turns; a turn is one message (a prompt, one reply of the model, a notice)
made of blocks; the result of a tool call is a block of the turn that made the call. A reader
yields events in file order and knows nothing of turns' numbers, of the index or of refs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Role = Literal["user", "assistant", "system"]
Origin = Literal["human", "agent", "harness", "compaction", "hook", "subagent"]
BlockType = Literal["text", "thinking", "call", "result", "image", "compaction", "notice"]
ToolKind = Literal[
    "", "read", "write", "edit", "shell", "search", "web", "task", "plan", "mcp", "other"
]
Status = Literal["", "ok", "error", "denied", "cancelled"]

LIVE, ABANDONED, SUPERSEDED = 1, 0, 2
BRANCHES = {LIVE: "live", ABANDONED: "abandoned", SUPERSEDED: "superseded"}
"""How a turn stands: on the path to the newest turn, rewound, or replaced by the agent."""

HEAD_MARK = "\u258c"
"""Starts the line above each block in the packed text; a line of a transcript never does."""
CONVERSATION_BEGINS = "conversation begins"
"""Name of the notice where another conversation begins in the same file."""


class FileOp(NamedTuple):
    """What a call did to a file. `old` and `new` hold the replaced text where it was recorded."""

    path: str
    op: Literal["read", "create", "edit", "delete", "rename"]
    old: str = ""
    new: str = ""
    patch: str = ""
    everywhere: bool = False
    """Whether each occurrence of `old` was replaced."""


@dataclass(frozen=True, slots=True)
class PlanItem:
    """A line of an agent's task list; `status` is open, active, done or dropped."""

    text: str
    status: Literal["open", "active", "done", "dropped"]
    key: str = ""


@dataclass(slots=True)
class TurnBlock:
    """A part of a turn. `text` is what a reader sees, before redaction."""

    type: BlockType
    text: str
    name: str = ""
    """The tool's own name, for calls and results."""
    kind: ToolKind = ""
    call: str = ""
    """The id that joins a call and its result."""
    status: Status = ""
    exit_code: int | None = None
    arg: str = ""
    """The command, path, pattern or errand of a call, in a line."""
    ops: tuple[FileOp, ...] = ()
    plan: tuple[PlanItem, ...] | None = None
    note: str = ""
    """What is missing: cut by the agent, encrypted, an image's type and size."""
    spill: str = ""
    """The file beside the transcript that holds the whole text."""


class TurnUsage(NamedTuple):
    """Tokens of one reply; `input` leaves out cached ones."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0


@dataclass(slots=True)
class MessagePiece:
    """One message, or one part of it, in file order.

    Pieces with the same `group` are one turn. `parent` is the native id of the message before,
    None for a stated root, "" where the format keeps a plain list. A piece without blocks only
    carries the chain on.
    """

    role: Role
    origin: Origin
    blocks: list[TurnBlock]
    start: int = 0
    end: int = 0
    native: str = ""
    group: str = ""
    parent: str | None = ""
    ts: str = ""
    model: str = ""
    cwd: str = ""
    usage: TurnUsage | None = None
    usage_key: str = ""
    boundary: bool = False
    """Whether a compaction happened here: what follows is a new segment."""
    keeps: tuple[str, ...] = ()
    """Native ids of the messages that a compaction left in the window."""
    thread: str = ""
    """Name of an inline subagent's thread that the piece belongs to; "" is the main one."""
    pointer: str = ""
    """Address inside a source that is not read by bytes: a JSON pointer, table and key."""


@dataclass(frozen=True, slots=True)
class Rewind:
    """The conversation went back. Everything after `native` (or the last `prompts`) is off it."""

    native: str = ""
    prompts: int = 0
    inclusive: bool = False
    """Whether the named message itself is dropped too."""
    superseded: bool = False
    """Whether the agent replaced what it dropped (a checkpoint) instead of leaving it."""


@dataclass(frozen=True, slots=True)
class SessionMetadata:
    """Something about the whole session: title, cwd, branch, commit, version, model, parent, …"""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class SkippedRecord:
    """What was met and not read: an unknown record type, a broken line, a repeated record."""

    kind: Literal[
        "unknown", "broken", "repeated", "unfinished", "noise", "large", "behind", "missing"
    ]
    name: str = ""


TranscriptEvent = MessagePiece | Rewind | SessionMetadata | SkippedRecord


@dataclass(slots=True)
class TranscriptSource:
    """A transcript as a reader is given it."""

    path: str
    """Real path of the file."""
    key: str = ""
    """Which session inside, where one file holds many."""
    state: dict[str, Any] = field(default_factory=dict)
    """What the reader wants to find again when it goes on after an append; plain JSON."""
    offset: int = 0
    """Bytes read so far, by readers that go on after an append."""
    pause: bool = False
    """Set to end the events of a file of lines behind the record that is being read."""


@dataclass(frozen=True, slots=True)
class ChildTranscript:
    """A transcript that belongs to another one: a subagent's own file."""

    path: str
    name: str
    call: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemoryNote:
    """A file that the agent keeps for itself beside its transcripts."""

    path: str
    name: str
    text: str
    changed: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Workflow:
    """A script that ran agents, and what became of it; its agents are children."""

    name: str
    title: str = ""
    status: str = ""
    started: str = ""
    script: str = ""
    result: str = ""
    error: str = ""
    agents: int = 0
    tokens: int = 0
    calls: int = 0


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session that a reader found in its agent's folder, without reading it whole."""

    agent: str
    native: str
    path: str
    key: str = ""
    project: str = ""
    title: str = ""
    started: str = ""
    changed: float = 0.0
    size: int = 0
    parent: str = ""
    shared: bool = False
    """Whether the agent lists it in the asking project, too, though it began elsewhere."""
