"""rlm-mcp runs: what was asked before, what it did and what it cost."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlm_mcp import config
from rlm_mcp.cli.exits import printable
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.engine import Event


@click.group()
def runs() -> None:
    """List, show, replay and export past runs."""


@dataclass
class Summary:
    """A run, or one child of it, in figures."""

    run: str
    question: str = ""
    status: str = "unfinished"
    model: str = ""
    mode: str = ""
    started: float = 0.0
    seconds: float = 0.0
    turns: int = 0
    calls: int = 0
    cached: int = 0
    cost_usd: float | None = 0.0
    answer: str = ""
    steps: list[str] = field(default_factory=list)


@runs.command("list")
@click.option("--limit", default=20, show_default=True, help="How many, newest last.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
def list_(limit: int, as_json: bool) -> None:
    """List the latest runs."""
    paths = sorted(_folder().glob("*.jsonl"))
    for path in paths[-limit:] if limit > 0 else []:
        try:
            summary = next(iter(summarise(path).values()))
        except (BadRequest, StopIteration):
            click.echo(f"{path.stem:<20} cannot be read", err=True)
            continue
        if as_json:
            values = asdict(summary)
            del values["steps"]
            click.echo(json.dumps(values))
        else:
            click.echo(printable(_line(summary)))
    if not paths and not as_json:
        click.echo("No runs yet; `rlm-mcp ask` makes one.")


@runs.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print the events, an object a line.")
def show(run: str, as_json: bool) -> None:
    """Show what RUN did: its tree, cells, calls, cost and answer."""
    from rlm_mcp.engine import trajectory  # 20 ms that the help need not pay

    path = trajectory.find(_folder(), run)
    if as_json:
        for event in trajectory.read(path):
            click.echo(event.line())
        return
    summaries = summarise(path)
    for name, summary in summaries.items():
        indent = "  " * name.count(".")
        click.echo(printable(f"{indent}{_line(summary)}"))
        for step in summary.steps:
            click.echo(printable(f"{indent}    {step}"))
    top = next(iter(summaries.values()))
    if top.answer:
        click.echo(f"\n{printable(top.answer.rstrip())}")


def summarise(path: Path) -> dict[str, Summary]:
    """Return figures of a run and its children, by id, the run itself first."""
    from rlm_mcp.engine import trajectory  # 20 ms that the help need not pay

    found: dict[str, Summary] = {}
    for event in trajectory.read(path):
        summary = found.setdefault(event.run, Summary(event.run, started=event.t))
        summary.seconds = event.t - summary.started
        _count(summary, event)
    return found


def _count(summary: Summary, event: Event) -> None:
    data: Any = event.data
    match event.type:
        case "run.start":
            summary.question = str(data.get("question", ""))
            summary.model = str(data.get("model", ""))
            summary.mode = str(data.get("mode", ""))
        case "turn":
            summary.turns += 1
            summary.steps.append(f"turn {summary.turns}: {_short(data.get('code'))}")
        case "call":
            _call(summary, data)
        case "run.end":
            summary.status = str(data.get("status", "unfinished"))
            summary.answer = str(data.get("answer", ""))


def _call(summary: Summary, data: Any) -> None:
    summary.calls += 1
    summary.cached += bool(data.get("cached"))
    cost = data.get("cost_usd")
    if isinstance(cost, (int, float)):
        summary.cost_usd = None if summary.cost_usd is None else summary.cost_usd + cost
    elif not data.get("cached"):
        summary.cost_usd = None
    if data.get("purpose") != "root":
        what = data.get("part") or _short((data.get("prompt") or {}).get("preview"))
        outcome = "failed" if "error" in data else _short(data.get("reply"), 60)
        summary.steps.append(f"call {what}: {outcome}")


def _line(summary: Summary) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.started))
    cost = "cost unknown" if summary.cost_usd is None else f"${summary.cost_usd:.4f}"
    calls = f"{summary.calls} calls" + (f" ({summary.cached} cached)" if summary.cached else "")
    facts = f"{summary.status:<10} {summary.seconds:6.1f} s  {calls}  {cost}"
    return f"{summary.run}  {when}  {facts}  {_short(summary.question or summary.mode, 70)}"


def _short(value: object, most: int = 100) -> str:
    text = " ".join(str(value or "").split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _folder() -> Path:
    return config.state_dir() / "runs"
