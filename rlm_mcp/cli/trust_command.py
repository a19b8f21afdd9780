"""rlm-mcp trust: allow a project's own tools and prompts, by content."""

from __future__ import annotations

from pathlib import Path

import click

from rlm_mcp import trust as pins
from rlm_mcp.cli.exit_codes import escape_controls
from rlm_mcp.errors import BadRequest
from rlm_mcp.marks import mark_label
from rlm_mcp.plurals import count_noun


@click.command()
@click.argument("folder", default=".")
@click.option("--yes", is_flag=True, help="Allow without confirmation.")
@click.option(
    "--list", "only_list", is_flag=True, help="List what the project offers and what is in use."
)
@click.option("--remove", is_flag=True, help="Stop trusting this project.")
@click.option("--show", is_flag=True, help="Print the files before asking.")
def trust(folder: str, yes: bool, only_list: bool, remove: bool, show: bool) -> None:
    """Allow the tools and prompts of a project.

    Files in a project's .rlm/ are off by default: a docstring can carry an injection.

    You allow the content: a file that changes is off again.
    """
    project = Path(folder).absolute()
    if not project.is_dir():
        raise BadRequest(f"{folder} is not a folder.")
    if remove:
        had = pins.revoke_trust(project)
        click.echo("No longer trusted." if had else "Was not trusted; nothing changed.")
        return
    entries = pins.review_project(project)
    if not entries:
        click.echo(f"{project} brings no tools or prompts (.rlm/tools/*.py, .rlm/prompts/*.md).")
        return
    for entry in entries:
        click.echo(
            f"{entry.state:<8} {escape_controls(mark_label(entry.file))}  {entry.sha256[:12]}"
        )
        if show:
            click.echo(
                "".join(f"    {line}\n" for line in escape_controls(entry.text).splitlines())
            )
    if only_list or all(entry.state == "trusted" for entry in entries):
        return
    if not yes:
        click.confirm("Allow these contents for agents in this project?", abort=True, err=True)
    pins.trust_files(project, entries)
    click.echo(
        f"Allowed {count_noun(len(entries), 'file')}. "
        "A running server reads them when it starts again."
    )
