"""Options that several commands share, and the settings that they make."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rlm_mcp import config
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.config import Settings

Command = TypeVar("Command", bound=Callable[..., Any])


def roots_option(command: Command) -> Command:
    """Add --root."""
    return click.option(
        "--root",
        "root",
        multiple=True,
        metavar="DIR",
        help="Folder that sources are confined to (repeatable). Default: CLAUDE_PROJECT_DIR, "
        "else the current folder.",
    )(command)


def model_options(command: Command) -> Command:
    """Add the options that choose models and limit a run."""
    for option in reversed(
        (
            click.option("--model", metavar="SPEC", help="Root model, such as anthropic:NAME."),
            click.option("--sub-model", metavar="SPEC", help="Sub-model; default: the root model."),
            click.option("--max-usd", type=float, help="Spending limit of a run, in US dollars."),
            click.option("--max-calls", type=int, help="Limit of model calls in a run."),
            click.option("--max-seconds", type=float, help="Time limit of a run, in seconds."),
            click.option("--max-depth", type=int, help="Limit of recursion levels below the root."),
        )
    ):
        command = option(command)
    return command


def consent_options(command: Command) -> Command:
    """Add the two options that only a flag or the user's own file can set."""
    for option in (
        click.option(
            "--reduced-sandbox",
            is_flag=True,
            default=None,
            help="Allow a weaker sandbox if this machine has no kernel layer.",
        ),
        click.option(
            "--secrets",
            is_flag=True,
            default=None,
            help="Also open files that are denied by default (.env, keys).",
        ),
    ):
        command = option(command)
    return command


def settings_from_flags(
    root: Sequence[str] = (), named: Sequence[Path] = (), **flags: Any
) -> Settings:
    """Return the settings in force for what the command line said (None: not said).

    `named` are folders that a person named as sources: they join the roots, since naming one is
    consent. Raises BadRequest for a root that is no folder.
    """
    given = {name: value for name, value in flags.items() if value not in (None, "")}
    if root:
        given["roots"] = root_folders(root)
    elif "RLM_MCP_ROOTS" not in os.environ and (project := _project_folder()) is not None:
        given["roots"] = (project,)
    chosen = config.load_settings(given)
    chosen = config.load_settings(given, chosen.roots[0])
    further = tuple(folder for folder in named if not _is_within(folder, chosen.roots))
    return replace(chosen, roots=(*chosen.roots, *further))


def root_folders(given: Sequence[str]) -> tuple[Path, ...]:
    """Return the folders that --root names."""
    folders = tuple(Path(root).expanduser().absolute() for root in given)
    for folder in folders:
        if not folder.is_dir():
            raise BadRequest(f"--root {folder} is not a folder.")
    return folders


def _project_folder() -> Path | None:
    """Return the folder that Claude Code was started in, where it started us."""
    folder = os.environ.get("CLAUDE_PROJECT_DIR", "")
    return Path(folder).absolute() if folder and Path(folder).is_dir() else None


def _is_within(folder: Path, folders: Sequence[Path]) -> bool:
    return any(folder.is_relative_to(root) for root in folders)
