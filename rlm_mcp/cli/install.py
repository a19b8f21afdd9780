"""rlm-mcp install and uninstall: our lines in the configuration of coding agents."""

from __future__ import annotations

import difflib
import shlex
from pathlib import Path

import click

from rlm_mcp.clients import (
    CLIENTS,
    Client,
    ConfigChange,
    InstallScope,
    add_for_user,
    launch_command,
    remove_for_user,
    write_change,
)
from rlm_mcp.errors import BadRequest, did_you_mean

_client_argument = click.argument("client", metavar="|".join(CLIENTS))
_scope_option = click.option(
    "--scope",
    type=click.Choice(["project", "user"]),
    help="For this project, or for all your projects. Default: project (codex: user).",
)
_project_option = click.option(
    "--project", default=".", metavar="DIR", help="The project's folder."
)
_dry_run_option = click.option("--dry-run", is_flag=True, help="Show the change; write nothing.")


@click.command()
@_client_argument
@_scope_option
@_project_option
@click.option(
    "--command", "run", metavar="PATH", help="The rlm-mcp executable that the client starts."
)
@_dry_run_option
def install(
    client: str, scope: InstallScope | None, project: str, run: str | None, dry_run: bool
) -> None:
    """Add rlm-mcp to a client's configuration.

    Nothing else in the file changes, comments included.
    """
    chosen, scope, folder = _chosen_client(client, scope, project)
    launch = launch_command(run or "")
    if scope not in chosen.scopes:
        if dry_run:
            click.echo(f"would run: claude mcp add --scope user rlm -- {shlex.join(launch)} serve")
        else:
            click.echo(add_for_user(launch))
        return
    change = chosen.plan_install(scope, folder, launch)
    if not change.has_changes:
        click.echo(f"{change.path} has it already; nothing changed.")
        return
    _apply_change(change, dry_run)
    if not dry_run:
        click.echo(f"{chosen.title} now starts rlm-mcp ({change.path}).\n{chosen.next_step}")


@click.command()
@_client_argument
@_scope_option
@_project_option
@_dry_run_option
def uninstall(client: str, scope: InstallScope | None, project: str, dry_run: bool) -> None:
    """Remove rlm-mcp from a client's configuration."""
    chosen, scope, folder = _chosen_client(client, scope, project)
    if scope not in chosen.scopes:
        if dry_run:
            click.echo("would run: claude mcp remove --scope user rlm")
        else:
            click.echo(remove_for_user())
        return
    change = chosen.plan_uninstall(scope, folder)
    if not change.has_changes:
        click.echo(f"{change.path} does not have it; nothing changed.")
        return
    _apply_change(change, dry_run)
    if not dry_run:
        click.echo(f"{chosen.title} no longer starts rlm-mcp ({change.path}).")


def _chosen_client(
    client: str, scope: InstallScope | None, project: str
) -> tuple[Client, InstallScope, Path]:
    if client not in CLIENTS:
        hint = did_you_mean(client, CLIENTS) or f" There are: {', '.join(CLIENTS)}."
        raise BadRequest(f"Unknown client {client!r}.{hint}")
    folder = Path(project).absolute()
    if not folder.is_dir():
        raise BadRequest(f"{project} is not a folder.")
    return CLIENTS[client], scope or CLIENTS[client].scopes[0], folder


def _apply_change(change: ConfigChange, dry_run: bool) -> None:
    if not dry_run:
        write_change(change)
        return
    before, after = change.before or "", change.after or ""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(change.path), str(change.path), lineterm=""
    )
    click.echo("\n".join(lines))
