"""rlm-mcp ask: one question, answered by a run, with its progress on stderr."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rlm_mcp.cli import exit_codes, options, source_arguments
from rlm_mcp.cli.exit_codes import cli_wording, escape_controls, print_error
from rlm_mcp.cli.options import consent_options, model_options, roots_option
from rlm_mcp.errors import BadRequest
from rlm_mcp.marks import mark_label, mark_quoted

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.engine import Event, Result, Workspace

MODES = ("auto", "direct", "environment", "recursive")


@click.command()
@click.argument("question")
@click.option("--repo", is_flag=True, help="Ask the repository at the root (the default).")
@click.option("--history", is_flag=True, help="Ask its git history.")
@click.option(
    "--logs",
    is_flag=False,
    flag_value="",
    metavar="[PATH]",
    help="Ask log files: a path, folder or glob. Default: the logs under the root.",
)
@click.option(
    "--session",
    is_flag=False,
    flag_value="session:latest",
    metavar="[WHICH]",
    help="Ask an agent session: latest, current, an id, or a transcript's path.",
)
@click.option(
    "--open",
    "open_",
    multiple=True,
    metavar="SOURCE",
    help="Ask a file, folder, glob, git URL, revision or range (repeatable). A path is of the "
    "current folder, else of a root.",
)
@click.option("--mode", type=click.Choice(MODES), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, nothing else.")
@click.option("--dry-run", is_flag=True, help="Print the expected cost; call no model.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@roots_option
@model_options
@consent_options
def ask(
    question: str,
    repo: bool,
    history: bool,
    logs: str | None,
    session: str | None,
    open_: tuple[str, ...],
    mode: str,
    as_json: bool,
    dry_run: bool,
    quiet: bool,
    root: tuple[str, ...],
    **flags: Any,
) -> int:
    """Answer QUESTION about inputs of any size, with verified refs.

    Exit codes: 0 complete, 2 bad use, 3 partial or forced, 4 failed, 130 interrupted.
    """
    if not question.strip():
        raise BadRequest("The question is empty.")
    sources = _source_list(repo, history, logs, session, open_)
    source_arguments.check_paths(sources)
    settings = options.settings_from_flags(root, source_arguments.named_folders(sources), **flags)
    if settings.roots[0] != Path.cwd():
        sources = [source_arguments.absolute_source(source) for source in sources]
    try:
        return asyncio.run(
            _answer_question(question, sources, mode, settings, as_json, dry_run, quiet)
        )
    except Exception as error:
        if as_json and exit_codes.exit_code_of(error) == exit_codes.FAILED:
            click.echo(json.dumps(_unbegun_result(str(error))))
        raise


def _unbegun_result(reason: str) -> dict[str, Any]:
    """Return what `--json` prints where no run could begin."""
    from rlm_mcp.engine import Result  # imports every room below: 300 ms and more

    return Result.of_unbegun(reason).as_json()


def _source_list(
    repo: bool, history: bool, logs: str | None, session: str | None, opened: Sequence[str]
) -> list[str]:
    sources = ["repo"] * repo + ["history"] * history
    if logs is not None:
        sources.append(f"logs:{logs}" if logs else "logs")
    if session is not None:
        known = session.startswith("session:") or source_arguments.path_exists(session)
        sources.append(session if known else f"session:{session}")
    return [*sources, *opened] or ["repo"]


async def _answer_question(
    question: str,
    sources: Sequence[str],
    mode: str,
    settings: Settings,
    as_json: bool,
    dry_run: bool,
    quiet: bool,
) -> int:
    from rlm_mcp.cli.live import show_progress

    with show_progress(quiet or as_json) as view:
        workspace = make_workspace(settings, view.on_event)
        try:
            refs = await _open_sources(workspace, sources)
            if dry_run:
                estimate = await workspace.forecast_run(question, refs=refs, mode=mode)
                click.echo(json.dumps(estimate) if as_json else _format_estimate(estimate))
                return exit_codes.COMPLETE
            run = asyncio.create_task(workspace.run_query(question, refs=refs, mode=mode))
            _stop_on_signal(run)
            try:
                result = await run
            except asyncio.CancelledError:
                print_error(f"Stopped. {view.stopped_note()}")
                return exit_codes.INTERRUPTED
        finally:
            await workspace.close()
    click.echo(json.dumps(result.as_json()) if as_json else format_result(result))
    return exit_codes.EXIT_CODES[result.status]


def make_workspace(settings: Settings, on_event: Callable[[Event], None] | None) -> Workspace:
    """Return a workspace with the tools and prompts in force; for a running event loop."""
    from rlm_mcp import promptbook, toolbox, trust
    from rlm_mcp.engine import Workspace  # imports every room below: 300 ms and more

    project = settings.roots[0]
    tools = toolbox.read_tools(trust.content_folders("tools", project))
    prompts = promptbook.read_prompts(trust.content_folders("prompts", project))
    sources = {tool.name: tool.source for tool in tools}
    return Workspace(settings, sources, prompts.texts_by_name, on_event=on_event)


async def _open_sources(workspace: Workspace, sources: Sequence[str]) -> list[str]:
    names = []
    for source in sources:
        if source in source_arguments.CONTEXT_NAMES:
            variable = await asyncio.to_thread(workspace.catalog.get_variable, source)
        else:
            variable = await asyncio.to_thread(workspace.catalog.open_context, source)
        names.append(variable.name)
    return names


def _stop_on_signal(run: asyncio.Task[Any]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, run.cancel)
        except NotImplementedError:  # Windows: KeyboardInterrupt does it
            return


def format_result(result: Result) -> str:
    """Return a result as a person reads it."""
    parts = [escape_controls(mark_quoted(result.answer.rstrip())), ""]
    for item in result.evidence:
        parts.append(f"  {item.mark:<12}  {escape_controls(mark_label(item.ref))}")
    if result.evidence:
        parts.append("")
    cost = "cost unknown" if result.cost_usd is None else f"${result.cost_usd:.4f}"
    facts = [
        result.status,
        *([f"{result.done} of {result.total} parts answered"] if result.total else []),
        f"{result.seconds:.1f} s",
        f"{result.calls} model call{'s' * (result.calls != 1)}"
        + (f" ({result.cached} cached)" if result.cached else ""),
        cost,
        f"model {result.model}",
        f"run {result.run}",
    ]
    parts.append(" · ".join(facts))
    if result.reason and result.status != "complete":
        parts.append(escape_controls(cli_wording(result.reason)))
    return "\n".join(parts)


def _format_estimate(estimate: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in estimate.items())
