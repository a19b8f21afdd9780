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
from rlm_mcp.cli import exit_codes, options
from rlm_mcp.cli.exit_codes import escape_controls, stdout_is_terminal
from rlm_mcp.cli.options import consent_options, roots_option
from rlm_mcp.errors import BadRequest
from rlm_mcp.marks import mark_label
from rlm_mcp.plurals import count_noun

if TYPE_CHECKING:
    from rlm_mcp.engine import Replay, RunArchive, RunNode, RunSummary

# The engine's modules cost 40 ms and more, which the help need not pay: commands import them.


@click.group()
def runs() -> None:
    """List, show, replay, export and import past runs."""


@runs.command("list")
@click.option("--limit", default=20, show_default=True, help="Number of runs, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
def list_runs(limit: int, as_json: bool) -> None:
    """List the latest runs."""
    found = _open_archive().list_summaries(limit)
    for summary in found:
        click.echo(
            json.dumps(asdict(summary))
            if as_json
            else escape_controls(mark_label(_summary_line(summary)))
        )
    if not found and not as_json:
        click.echo("No runs yet; `rlm-mcp ask` makes one.")


@runs.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print the events, one JSON object per line.")
@click.option("--code", is_flag=True, help="Print cells in full.")
@click.option("--html", "as_page", is_flag=True, help="Write one HTML page (and open it).")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False), help="Write the page to this file."
)
def show(run: str, as_json: bool, code: bool, as_page: bool, output: str | None) -> None:
    """Show what RUN did: its tree with cells, calls, cost and cache hits, and its answer.

    RUN is an id, the start of one, or the path of a log of the official library.
    """
    archive = _open_archive()
    if as_json:
        for event in archive.read_events(run):
            click.echo(event.to_json_line())
        return
    node = archive.load_tree(run)
    if as_page:
        _write_page(node, output)
        return
    if stdout_is_terminal():
        _draw_tree(node, code)
    else:
        _print_tree(node, code, "")
    answer = node.end.get("answer")
    if answer:
        click.echo(f"\n{escape_controls(str(answer).rstrip())}")


@runs.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@roots_option
@consent_options
def replay(run: str, as_json: bool, root: tuple[str, ...], **flags: Any) -> int:
    """Run the cells of RUN again with its recorded replies; no model is called.

    Exit codes: 0 same answer, 3 different answer, 4 the replay failed.
    """
    settings = options.settings_from_flags(root, **flags)
    outcome = asyncio.run(_replay_run(run, settings))
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
    elif outcome.same:
        click.echo(f"The same answer and status ({outcome.status}) as recorded.")
    else:
        click.echo(
            escape_controls(
                f"Not the same: recorded {outcome.recorded_status}, now {outcome.status}.\n\n"
                f"recorded:\n{outcome.recorded_answer}\n\nnow:\n{outcome.answer}"
            )
        )
    return exit_codes.COMPLETE if outcome.same else exit_codes.PARTIAL


@runs.command()
@click.argument("run", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All runs.")
@click.option("--unfinished", is_flag=True, help="Include failed and stopped runs.")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False), help="Write to this file. Default: stdout."
)
def export(run: tuple[str, ...], every: bool, unfinished: bool, output: str | None) -> None:
    """Export finished runs as training trajectories: chat messages, one line of JSON per run."""
    archive = _open_archive()
    names = archive.run_ids() if every else list(run)
    if not names:
        raise BadRequest("Name a run or pass --all.")
    lines: list[str] = []
    for name in names:
        try:
            lines += archive.export_lines(name, unfinished=unfinished)
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
def import_logs(log: tuple[str, ...]) -> None:
    """Import each LOG of the official library (rlms, JSON lines) as a run, for viewing.

    Prints the new ids for list, show and export. `show` also reads a log without an import.
    """
    archive = _open_archive()
    for path in map(Path, log):
        click.echo(archive.import_log(path))


def _write_page(node: RunNode, output: str | None) -> None:
    """Write the page of a run; a person at a terminal sees it at once."""
    path = Path(output) if output else config.state_dir() / "pages" / f"{node.id}.html"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(_open_archive().render_page(node), "utf-8")
    click.echo(str(path))
    if output is None and stdout_is_terminal():
        webbrowser.open(path.absolute().as_uri())


async def _replay_run(run: str, settings: config.Settings) -> Replay:
    from rlm_mcp.cli.ask import make_workspace

    workspace = make_workspace(settings, None)
    try:
        return await workspace.replay_run(run)
    finally:
        await workspace.close()


def _print_tree(node: RunNode, code: bool, indent: str) -> None:
    click.echo(escape_controls(mark_label(indent + _run_line(node))))
    for line, children in _step_lines(node, code):
        click.echo(escape_controls(mark_label(f"{indent}  {line}")))
        for child in children:
            _print_tree(child, code, indent + "    ")


def _draw_tree(node: RunNode, code: bool) -> None:
    from rich.console import Console  # 60 ms, and only a person sees it
    from rich.text import Text
    from rich.tree import Tree

    def grow_tree(node: RunNode) -> Tree:
        tree = Tree(Text(escape_controls(mark_label(_run_line(node))), style="bold"))
        for line, children in _step_lines(node, code):
            branch = tree.add(Text(escape_controls(mark_label(line))))
            for child in children:
                branch.add(grow_tree(child))
        return tree

    Console(highlight=False, markup=False).print(grow_tree(node))


def _step_lines(node: RunNode, code: bool) -> list[tuple[str, list[RunNode]]]:
    """Return a line a step of a run, with the child runs that the step began."""
    steps: list[tuple[str, list[RunNode]]] = [(_call_line(call), []) for call in node.calls]
    below = {id(child) for turn in node.turns for child in turn.children}
    for turn in node.turns:
        cell = turn.code.rstrip() if code else _cut_line(turn.code or turn.reply, 90)
        calls = f"  [{_call_counts(turn.calls)}]" if turn.calls else ""
        steps.append((f"turn {turn.number}: {cell}{calls}", turn.children))
    steps += [("child runs", [child]) for child in node.children if id(child) not in below]
    return steps


def _call_line(call: dict[str, Any]) -> str:
    what = call.get("part") or (call.get("prompt") or {}).get("preview") or call.get("purpose")
    if "failure" in call:
        said = f"no answer: {call['failure'].get('reason', '')}"
    else:
        said = str(call.get("reply", ""))
    cached = " (cached)" if call.get("cached") else ""
    return f"call{cached} {_cut_line(what, 50)}: {_cut_line(said, 60)}"


def _call_counts(calls: list[dict[str, Any]]) -> str:
    cached = sum(bool(call.get("cached")) for call in calls)
    failed = sum("failure" in call for call in calls)
    parts = [count_noun(len(calls), "call")]
    parts += [f"{cached} cached"] if cached else []
    parts += [f"{failed} failed"] if failed else []
    return ", ".join(parts)


def _run_line(node: RunNode) -> str:
    seconds = node.latest - node.began
    question = _cut_line(node.start.get("question") or node.start.get("mode"), 70)
    facts = (
        f"{node.status} · {seconds:.1f} s · {_call_counts(node.all_calls())} · "
        f"{_format_usd(node.cost_usd())}"
    )
    return f"{node.id}  {facts}  {question}"


def _summary_line(summary: RunSummary) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(summary.began))
    facts = f"{summary.status:<9} {summary.seconds:7.1f} s {count_noun(summary.calls, 'call'):>10}"
    asked = _cut_line(summary.question or f"({summary.mode})", 70)
    return f"{summary.run}  {when}  {facts}  {_format_usd(summary.cost_usd)}  {asked}"


def _format_usd(cost: float | None) -> str:
    return "cost unknown" if cost is None else f"${cost:.4f}"


def _cut_line(value: object, most: int) -> str:
    text = " ".join(str(value or "").split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _open_archive() -> RunArchive:
    from rlm_mcp.engine import RunArchive

    return RunArchive(config.state_dir() / "runs")
