"""A trajectory as a tree: for `runs list`, `runs show`, the HTML page and the exports.

It holds what the events say and nothing computed anew; an unfinished run (killed, or still
going) is a tree too, with the status "running" or "stopped".
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm_mcp.engine import trajectory
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.engine.trajectory import Event

SILENT_S = 900.0
"""After so long without an event an unfinished run is taken for dead."""
TAIL_BYTES = 256 << 10


@dataclass
class RunTurn:
    """One turn of a root: its reply, its cell, what it was shown, and the sub-calls between."""

    number: int
    t: float
    reply: str = ""
    code: str = ""
    shown: str = ""
    left: str = ""
    root: dict[str, Any] = field(default_factory=dict)
    """The root call's event."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    children: list[RunNode] = field(default_factory=list)


@dataclass
class RunNode:
    """A run or a child run."""

    id: str
    start: dict[str, Any] = field(default_factory=dict)
    prompt: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)
    turns: list[RunTurn] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    """Calls outside of any turn: direct ones, and those of an agent."""
    children: list[RunNode] = field(default_factory=list)
    began: float = 0.0
    latest: float = 0.0
    depth: int = 0

    @property
    def status(self) -> str:
        """Return the status that was written, else running or stopped."""
        if self.end:
            return str(self.end.get("status", "failed"))
        return "running" if time.time() - self.latest < SILENT_S else "stopped"

    def all_calls(self) -> list[dict[str, Any]]:
        """Return the calls of this run and its children."""
        own = [*self.calls]
        for turn in self.turns:
            own += [turn.root] if turn.root else []
            own += turn.calls
        for child in self.children:
            own += child.all_calls()
        return own

    def cost_usd(self) -> float | None:
        """Return the sum of what its calls cost so far; None where a price is not known."""
        total = 0.0
        for call in self.all_calls():
            if "failure" in call:
                continue
            if call.get("cost_usd") is None:
                return None
            total += call["cost_usd"]
        return total


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of `runs list`."""

    run: str
    question: str
    status: str
    mode: str
    model: str
    began: float
    seconds: float
    cost_usd: float | None
    calls: int
    answer: str


def build_tree(events: Iterable[Event]) -> RunNode:
    """Return the tree of a file's events. Raises BadRequest where there are none."""
    nodes: dict[str, RunNode] = {}
    root: RunNode | None = None
    for event in events:
        node = nodes.get(event.run)
        if node is None:
            node = nodes[event.run] = RunNode(event.run, began=event.t)
            parent = nodes.get(event.run.rpartition(".")[0])
            if parent is not None:
                node.depth = parent.depth + 1
                parent.children.append(node)
                if parent.turns:
                    parent.turns[-1].children.append(node)
            root = root or node
        for above in _run_ancestors(nodes, event.run):
            above.latest = max(above.latest, event.t)
        _add_event(node, event)
    if root is None:
        raise BadRequest("The trajectory is empty.")
    return root


def load_tree(folder: Path, run: str) -> RunNode:
    """Return the tree of a run, or of one of its child runs. Raises BadRequest."""
    path = trajectory.find_trajectory(folder, run)
    root = build_tree(trajectory.read_events(path))
    wanted = path.stem + run.strip()[len(run.strip().partition(".")[0]) :]
    for node in walk_runs(root):
        if node.id == wanted:
            return node
    raise BadRequest(f"The run {path.stem} has no child {run!r}.")


def walk_runs(node: RunNode) -> Iterable[RunNode]:
    """Yield a run and all its children, in order."""
    yield node
    for child in node.children:
        yield from walk_runs(child)


def list_summaries(folder: Path, limit: int = 50) -> list[RunSummary]:
    """Return the newest runs, newest first; reads the two ends of each file alone."""
    paths = sorted(folder.glob("*.jsonl"), key=_modified_at, reverse=True)
    found = []
    for path in paths:
        with contextlib.suppress(BadRequest, OSError):
            found.append(_read_summary(path))
        if len(found) >= limit:
            break
    return found


def _run_ancestors(nodes: dict[str, RunNode], run: str) -> Iterable[RunNode]:
    while run:
        if run in nodes:
            yield nodes[run]
        run = run.rpartition(".")[0]


def _add_event(node: RunNode, event: Event) -> None:
    data = dict(event.data)
    match event.type:
        case "run.start":
            node.start = data
        case "prompt":
            node.prompt = data
        case "run.end":
            node.end = data
        case "call" if data.get("purpose") == "root" and "reply" in data:
            turn = RunTurn(len(node.turns) + 1, event.t, reply=data["reply"], root=data)
            node.turns.append(turn)
        case "call":
            data["t"] = event.t
            (node.turns[-1].calls if node.turns else node.calls).append(data)
        case "cell" if node.turns:
            node.turns[-1].code = data.get("code", "")
        case "turn" if node.turns:
            node.turns[-1].shown = data.get("shown", "")
            node.turns[-1].left = data.get("left", "")


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _read_summary(path: Path) -> RunSummary:
    with path.open("rb") as file:
        first = _parse_event(file.readline())
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        last = _last_event(file.read().split(b"\n"), path.stem)
    end = last if last.get("type") == "run.end" else {}
    latest = float(last.get("t", first["t"]))
    status = end.get("status") or ("running" if time.time() - latest < SILENT_S else "stopped")
    return RunSummary(
        run=path.stem,
        question=str(first.get("question", "")),
        status=str(status),
        mode=str(end.get("mode") or first.get("mode", "")),
        model=str(first.get("model", "")),
        began=float(first["t"]),
        seconds=latest - float(first["t"]),
        cost_usd=end.get("cost_usd"),
        calls=int(end.get("calls", 0)),
        answer=str(end.get("answer", "")),
    )


def _parse_event(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or values["v"] != trajectory.TRAJECTORY_VERSION:
            raise KeyError("v")
        float(values["t"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest("not a trajectory of a version known here") from error
    return values


def _last_event(lines: Sequence[bytes], run: str) -> dict[str, Any]:
    """Return the last whole event of the run itself."""
    for line in reversed(lines):
        with contextlib.suppress(BadRequest):
            values = _parse_event(line)
            if values.get("run") == run:
                return values
    return {}
