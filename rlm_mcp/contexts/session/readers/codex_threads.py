"""Codex CLI's files: which rollouts make a thread, which are its subagents, where it began.

A thread that was forked or rewound goes on in a file of its own, whose first line names the
thread, the record and the byte up to which the earlier file belongs to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlm_mcp.contexts.session.readers import plain
from rlm_mcp.contexts.session.readers.reader import HEAD, first_records
from rlm_mcp.contexts.session.turns import Child, Found

_NAME = re.compile(r"rollout-.*?-?([0-9a-f]{8}-[0-9a-f-]{27})(?:_[0-9a-f-]{36})?\Z")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}\Z")
_ORDINAL = re.compile(rb'"ordinal"\s*:\s*(\d+)')
HARNESS = (
    "<environment_context>", "<user_instructions>", "<permissions instructions>",
    "# AGENTS.md instructions", "<INSTRUCTIONS>", "<turn_aborted>", "<user_shell_command>",
    "<collaboration_mode>", "<skill>", "<skills_instructions>", "<subagent_notification>",
    "<personality_spec>", "<app-context>", "Warning: apply_patch was requested via ",
    "Warning: The maximum number of ",
)  # fmt: skip
"""How begins what the agent's program writes in a person's place."""


def folders() -> list[Path]:
    home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
    return [home / "sessions", home / "archived_sessions"]


def native(path: Path) -> str:
    match = _NAME.match(path.stem)
    return match[1] if match else path.stem


def find(roots: Sequence[Path]) -> Iterator[Found]:
    """List the threads; one that went on in another file is listed by its newest."""
    for folder in folders():
        threads: dict[str, Found] = {}
        for path in sorted(folder.glob("**/rollout-*.json*")):
            facts = _facts(path, HEAD)
            if not facts.get("title"):  # what the model is told before may be long
                facts = _facts(path, 8 * HEAD)
            found = Found("codex", native(path), str(path), **facts)
            first = threads.get(found.native, found)
            threads[found.native] = replace(
                found, title=first.title or found.title, started=first.started or found.started
            )
        yield from threads.values()


def _facts(path: Path, most: int) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for record in first_records(path, most):
        payload = record.get("payload")
        if not isinstance(payload, dict):
            continue
        if record.get("type") == "session_meta":
            facts["project"] = str(payload.get("cwd") or "")
            facts["started"] = str(record.get("timestamp") or "")
            facts["parent"] = parent(payload)[0]
        elif payload.get("role") == "user":
            typed = text(payload.get("content"))
            if not typed.lstrip().startswith(HARNESS):
                facts["title"] = typed[:200]
                break
    return facts


def children(path: Path) -> Sequence[Child]:
    """Return the subagents' rollouts of this day and the next that name this one as parent."""
    own, found = native(path), []
    days = sorted(path.parents[2].glob("*/*")) if path.parent.name.isdigit() else []
    at = days.index(path.parent) if path.parent in days else 0
    near = days[at : at + 2] or [path.parent]
    for other in sorted(other for day in near for other in day.glob("rollout-*.jsonl")):
        if other == path:
            continue
        payload = _head(other)
        if parent(payload) == (own, "subagent"):
            spawn = payload["source"]["subagent"]["thread_spawn"]
            facts = {key: str(value) for key, value in spawn.items()}
            found.append(Child(str(other), thread_name(native(other)), "", facts))
    return found


def thread_name(thread: str) -> str:
    """Return how refs call a subagent."""
    return f"agent-{thread[-8:]}"


def parent(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Return the id of the session that this one came from, and how."""
    source = payload.get("source")
    spawn = source.get("subagent") if isinstance(source, dict) else None
    spawn = spawn.get("thread_spawn") if isinstance(spawn, dict) else None
    if isinstance(spawn, dict) and spawn.get("parent_thread_id"):
        return str(spawn["parent_thread_id"]), "subagent"
    if fork := payload.get("forked_from_id"):
        return str(fork), "fork"
    return "", ""


@dataclass(frozen=True, slots=True)
class Base:
    """What a thread goes on from: records below `ordinal` of a file, None where it is gone."""

    path: Path | None
    ordinal: int
    same: bool
    """Whether it is the same thread, rewound, and no fork."""


def base(path: Path) -> Base | None:
    """Return what a rollout goes on from, None where it stands alone."""
    payload = _head(path)
    stated = payload.get("history_base")
    if not isinstance(stated, dict):
        return None
    thread, ordinal = stated.get("thread_id"), stated.get("end_ordinal_exclusive")
    if not isinstance(thread, str) or not _ID.match(thread) or not isinstance(ordinal, int):
        return Base(None, 0, same=False)
    stop = stated.get("end_byte_offset")
    earlier = [other for other in _files(path, thread) if other.name < path.name]
    fits = (
        other for other in reversed(earlier)
        if _ends(other, stop if isinstance(stop, int) else -1, ordinal)
    )  # fmt: skip
    return Base(next(fits, None), ordinal, same=thread == payload.get("id"))


def _files(path: Path, thread: str) -> list[Path]:
    """Return the rollouts of a thread near another one, in the order of their times."""
    found = {*path.parent.glob(f"rollout-*{thread}*.jsonl")}
    names = [folder.name for folder in path.parents[:4]]
    home = None
    if names[3:] == ["sessions"] and all(name.isdigit() for name in names[:3]):
        home = path.parents[4]
    elif names[:1] == ["archived_sessions"]:
        home = path.parents[1]
    if home:
        found |= {*home.glob(f"sessions/*/*/*/rollout-*{thread}*.jsonl")}
        found |= {*home.glob(f"archived_sessions/rollout-*{thread}*.jsonl")}
    own = [other for other in found if native(other) == thread and plain.is_own(other)]
    return sorted((other for other in own if other != path), key=lambda other: other.name)


def _ends(path: Path, stop: int, ordinal: int) -> bool:
    """Say whether the record that begins at a byte of a file has this number, or none begins."""
    try:
        with plain.opened(path) as file:
            if stop < 1 or file.seek(0, os.SEEK_END) < stop:
                return False
            file.seek(stop - 1)
            head = file.read(257)
    except OSError:
        return False
    number = _ORDINAL.search(head)
    return head[:1] == b"\n" and (len(head) == 1 or bool(number and int(number[1]) == ordinal))


def _head(path: Path) -> dict[str, Any]:
    payload = next(first_records(path), {}).get("payload")
    return payload if isinstance(payload, dict) else {}


def text(content: Any) -> str:
    """Return the text of a message's parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(str(p.get("text") or "") for p in content if isinstance(p, dict))
