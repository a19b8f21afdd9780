"""rlm-mcp install and uninstall: our lines in the configuration of coding agents."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path

import click

from rlm_mcp.clients import CLIENTS, Client, Scope, claude_code, launch_command, patch
from rlm_mcp.errors import BadRequest, did_you_mean

_client = click.argument("client", metavar="|".join(CLIENTS))
_scope = click.option(
    "--scope",
    type=click.Choice(["project", "user"]),
    help="For this project or for all of yours. Default: project (codex: user).",
)
_project = click.option("--project", default=".", metavar="DIR", help="The project's folder.")
_dry = click.option("--dry-run", is_flag=True, help="Show the change; write nothing.")


@click.command()
@_client
@_scope
@_project
@click.option("--command", "run", metavar="PATH", help="The rlm-mcp that the client starts.")
@_dry
def install(client: str, scope: Scope | None, project: str, run: str | None, dry_run: bool) -> None:
    """Enter the server into a client's configuration.

    Nothing else in the file changes, comments included.
    """
    chosen, scope, folder = _chosen(client, scope, project)
    launch = launch_command(run or "")
    if scope not in chosen.scopes:
        if dry_run:
            click.echo(f"would run: claude mcp add --scope user rlm -- {shlex.join(launch)} serve")
        else:
            click.echo(claude_code.add_for_user(launch))
        return
    change = chosen.plan(scope, folder, launch)
    if not change.changes:
        click.echo(f"{change.path} has it already; nothing changed.")
        return
    _carry_out(change, dry_run)
    if not dry_run:
        click.echo(f"{chosen.title} now starts rlm-mcp ({change.path}).\n{chosen.after}")


@click.command()
@_client
@_scope
@_project
@_dry
def uninstall(client: str, scope: Scope | None, project: str, dry_run: bool) -> None:
    """Take the server out of a client again."""
    chosen, scope, folder = _chosen(client, scope, project)
    if scope not in chosen.scopes:
        if dry_run:
            click.echo("would run: claude mcp remove --scope user rlm")
        else:
            click.echo(claude_code.remove_for_user())
        return
    change = chosen.plan_undo(scope, folder)
    if not change.changes:
        click.echo(f"{change.path} does not have it; nothing changed.")
        return
    _carry_out(change, dry_run)
    if not dry_run:
        click.echo(f"{chosen.title} no longer starts rlm-mcp ({change.path}).")


def _chosen(client: str, scope: Scope | None, project: str) -> tuple[Client, Scope, Path]:
    if client not in CLIENTS:
        hint = did_you_mean(client, CLIENTS) or f" There are: {', '.join(CLIENTS)}."
        raise BadRequest(f"{client!r} is no client that is known here.{hint}")
    folder = Path(project).absolute()
    if not folder.is_dir():
        raise BadRequest(f"{project} is not a folder.")
    return CLIENTS[client], scope or CLIENTS[client].scopes[0], folder


def _carry_out(change: patch.Change, dry_run: bool) -> None:
    if not dry_run:
        patch.carry_out(change)
        return
    before, after = change.before or "", change.after or ""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(change.path), str(change.path), lineterm=""
    )
    click.echo("\n".join(lines))
