"""rlm-mcp runs: what was asked before, what it did and what it cost."""

from __future__ import annotations

import asyncio
import json
import time
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlm_mcp import config
from rlm_mcp.cli import exits, options
from rlm_mcp.cli.exits import printable, stdout_is_terminal
from rlm_mcp.cli.options import consent_options, roots_option
from rlm_mcp.counts import counted
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.engine.replay import Replay
    from rlm_mcp.engine.tree import Node, Summary

# The engine's modules cost 40 ms and more, which the help need not pay: commands import them.


@click.group()
def runs() -> None:
    """List, show, replay, export and import past runs."""


@runs.command("list")
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
def list_(limit: int, as_json: bool) -> None:
    """List the latest runs."""
    from rlm_mcp.engine import tree

    found = tree.summaries(_folder(), limit) if limit > 0 else []
    for summary in found:
        click.echo(json.dumps(asdict(summary)) if as_json else printable(_summary(summary)))
    if not found and not as_json:
        click.echo("No runs yet; `rlm-mcp ask` makes one.")


@runs.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print the events, an object a line.")
@click.option("--code", is_flag=True, help="Print whole cells.")
@click.option("--html", "as_page", is_flag=True, help="Write one HTML page (and open it).")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="Where the page goes.")
def show(run: str, as_json: bool, code: bool, as_page: bool, output: str | None) -> None:
    """Show what RUN did: its tree with cells, calls, cost and cache hits, and its answer.

    RUN is an id, the start of one, or the path of a log of the official library.
    """
    from rlm_mcp.engine import trajectory

    if as_json:
        for event in _imported(run) or trajectory.read(trajectory.find(_folder(), run)):
            click.echo(event.line())
        return
    node = _load(run)
    if as_page:
        _page(node, output)
        return
    if stdout_is_terminal():
        _draw(node, code)
    else:
        _print(node, code, "")
    answer = node.end.get("answer")
    if answer:
        click.echo(f"\n{printable(str(answer).rstrip())}")


@runs.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@roots_option
@consent_options
def replay(run: str, as_json: bool, root: tuple[str, ...], **flags: Any) -> int:
    """Run the cells of RUN again with its recorded replies; no model is called.

    Exit codes: 0 the same answer, 3 another one, 4 it could not be carried out.
    """
    settings = options.settings(root, **flags)
    outcome = asyncio.run(_replay(run, settings))
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
    elif outcome.same:
        click.echo(f"The same answer and status ({outcome.status}) as recorded.")
    else:
        click.echo(
            printable(
                f"Not the same: recorded {outcome.recorded_status}, now {outcome.status}.\n\n"
                f"recorded:\n{outcome.recorded_answer}\n\nnow:\n{outcome.answer}"
            )
        )
    return exits.COMPLETE if outcome.same else exits.PARTIAL


@runs.command()
@click.argument("run", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All runs.")
@click.option("--unfinished", is_flag=True, help="Also failed and stopped ones.")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="A file; default: stdout.")
def export(run: tuple[str, ...], every: bool, unfinished: bool, output: str | None) -> None:
    """Export finished runs as training trajectories: chat messages, a line of JSON a run."""
    from rlm_mcp.engine import export as exporting
    from rlm_mcp.engine import tree

    names = list(run)
    if every:
        names = [path.stem for path in sorted(_folder().glob("*.jsonl"))]
    if not names:
        raise BadRequest("Name a run, or say --all.")
    lines: list[str] = []
    for name in names:
        try:
            lines += exporting.lines(tree.load(_folder(), name), unfinished=unfinished)
        except BadRequest:
            if not every:
                raise
    text = "".join(f"{line}\n" for line in lines)
    if output is None:
        click.echo(text, nl=False)
    else:
        Path(output).write_text(text, "utf-8")
        click.echo(f"{len(lines)} trajectories in {output}", err=True)


@runs.command("import")
@click.argument("log", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def import_(log: tuple[str, ...]) -> None:
    """Keep each LOG of the official library (rlms, JSON lines) among the runs, for viewing.

    It prints their ids, which list, show and export know. `show` also reads a log as it lies.
    """
    from rlm_mcp.engine import official

    for path in map(Path, log):
        if not official.is_official(path):
            raise BadRequest(f"{path} is no log of the official library (rlms, JSON lines).")
        click.echo(official.store(path, _folder()))


def _page(node: Node, output: str | None) -> None:
    """Write the page of a run; a person at a terminal sees it at once."""
    from rlm_mcp.engine import export as exporting

    path = Path(output) if output else config.state_dir() / "pages" / f"{node.id}.html"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(exporting.html(node), "utf-8")
    click.echo(str(path))
    if output is None and stdout_is_terminal():
        webbrowser.open(path.absolute().as_uri())


async def _replay(run: str, settings: config.Settings) -> Replay:
    from rlm_mcp.cli.ask import workspace_of

    workspace = workspace_of(settings, None)
    try:
        return await workspace.replay(run)
    finally:
        await workspace.close()


def _load(run: str) -> Node:
    from rlm_mcp.engine import tree

    imported = _imported(run)
    return tree.load(_folder(), run) if imported is None else tree.build(imported)


def _imported(run: str) -> list[Any] | None:
    """Return the events of a log of the official library, or None where `run` names none."""
    from rlm_mcp.engine import official

    path = Path(run)
    return official.read(path) if path.is_file() and official.is_official(path) else None


def _print(node: Node, code: bool, indent: str) -> None:
    click.echo(printable(indent + _node(node)))
    for line, children in _steps(node, code):
        click.echo(printable(f"{indent}  {line}"))
        for child in children:
            _print(child, code, indent + "    ")


def _draw(node: Node, code: bool) -> None:
    from rich.console import Console  # 60 ms, and only a person sees it
    from rich.text import Text
    from rich.tree import Tree

    def grow(node: Node) -> Tree:
        tree = Tree(Text(printable(_node(node)), style="bold"))
        for line, children in _steps(node, code):
            branch = tree.add(Text(printable(line)))
            for child in children:
                branch.add(grow(child))
        return tree

    Console(highlight=False, markup=False).print(grow(node))


def _steps(node: Node, code: bool) -> list[tuple[str, list[Node]]]:
    """Return a line a step of a run, with the child runs that the step began."""
    steps: list[tuple[str, list[Node]]] = [(_call(call), []) for call in node.calls]
    below = {id(child) for turn in node.turns for child in turn.children}
    for turn in node.turns:
        cell = turn.code.rstrip() if code else _short(turn.code or turn.reply, 90)
        calls = f"  [{_calls(turn.calls)}]" if turn.calls else ""
        steps.append((f"turn {turn.number}: {cell}{calls}", turn.children))
    steps += [("child runs", [child]) for child in node.children if id(child) not in below]
    return steps


def _call(call: dict[str, Any]) -> str:
    what = call.get("part") or (call.get("prompt") or {}).get("preview") or call.get("purpose")
    if "failure" in call:
        said = f"no answer: {call['failure'].get('reason', '')}"
    else:
        said = str(call.get("reply", ""))
    cached = " (cached)" if call.get("cached") else ""
    return f"call{cached} {_short(what, 50)}: {_short(said, 60)}"


def _calls(calls: list[dict[str, Any]]) -> str:
    cached = sum(bool(call.get("cached")) for call in calls)
    failed = sum("failure" in call for call in calls)
    parts = [counted(len(calls), "call")]
    parts += [f"{cached} cached"] if cached else []
    parts += [f"{failed} failed"] if failed else []
    return ", ".join(parts)


def _node(node: Node) -> str:
    seconds = node.latest - node.began
    question = _short(node.start.get("question") or node.start.get("mode"), 70)
    facts = (
        f"{node.status} · {seconds:.1f} s · {_calls(node.all_calls())} · {_usd(node.cost_usd())}"
    )
    return f"{node.id}  {facts}  {question}"


def _summary(summary: Summary) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.began))
    facts = f"{summary.status:<9} {summary.seconds:7.1f} s {counted(summary.calls, 'call'):>10}"
    asked = _short(summary.question or f"({summary.mode})", 70)
    return f"{summary.run}  {when}  {facts}  {_usd(summary.cost_usd)}  {asked}"


def _usd(cost: float | None) -> str:
    return "cost unknown" if cost is None else f"${cost:.4f}"


def _short(value: object, most: int) -> str:
    text = " ".join(str(value or "").split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _folder() -> Path:
    return config.state_dir() / "runs"
