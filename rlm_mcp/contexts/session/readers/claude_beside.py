"""What Claude Code keeps beside a transcript: the project's memory, and the runs of workflows.

The memory is notes that the agent wrote for itself: MEMORY.md is their list. A run's record holds
the script, its state and its result; the transcripts of its agents are read as subagents.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.readers import places, plain
from rlm_mcp.contexts.session.turns import Note, Workflow

LARGEST = 1 << 20
"""Bytes of a note that are read."""


def memory(path: Path) -> Iterator[Note]:
    """Yield the notes of the transcript's project, their list first."""
    folder = path.parent / "memory"
    found = [file for file in folder.glob("**/*.md") if plain.is_own(file)]
    for file in sorted(found, key=lambda one: (one.name != "MEMORY.md", str(one))):
        try:
            with plain.opened(file) as stream:
                data = stream.read(LARGEST + 1)
            changed = os.stat(file).st_mtime
        except OSError:
            continue
        text = data[:LARGEST].decode("utf-8", "replace")
        note = "cut at 1 MB" if len(data) > LARGEST else ""
        yield Note(str(file), file.relative_to(folder).as_posix(), text, changed, note)


def workflows(path: Path) -> Iterator[Workflow]:
    """Yield the runs of workflows that the transcript's session started, oldest first."""
    found = []
    for file in (path.with_suffix("") / "workflows").glob("wf_*.json"):
        record = places.load(file) if plain.is_own(file) else None
        if isinstance(record, dict):
            found.append(_workflow(file.stem, record))
        else:
            found.append(Workflow(file.stem, status="broken"))
    yield from sorted(found, key=lambda run: (run.started, run.name))


def _workflow(name: str, record: dict[str, Any]) -> Workflow:
    steps = record.get("workflowProgress")
    agents = [
        step for step in (steps if isinstance(steps, list) else [])
        if isinstance(step, dict) and step.get("type") == "workflow_agent"
    ]  # fmt: skip
    return Workflow(
        name,
        title=_text(record, "title", "workflowName", "summary"),
        status=_text(record, "status") or ("failed" if record.get("error") else "completed"),
        started=places.moment(record.get("startTime") or record.get("timestamp")),
        script=_text(record, "script"),
        result=_text(record, "result"),
        error=_text(record, "error"),
        agents=len(agents) or _number(record, "agentCount"),
        tokens=_number(record, "totalTokens"),
        calls=_number(record, "totalToolCalls"),
    )


def _text(record: dict[str, Any], *names: str) -> str:
    value = next((record[name] for name in names if record.get(name)), "")
    return calls.show(value)


def _number(record: dict[str, Any], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
