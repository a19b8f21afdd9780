"""rlm-mcp contexts: what could be asked here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rlm_mcp.cli import options, source_arguments
from rlm_mcp.cli.exit_codes import escape_controls
from rlm_mcp.cli.options import consent_options, roots_option
from rlm_mcp.marks import mark_label


@click.command()
@click.argument("source", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@roots_option
@consent_options
def contexts(source: str | None, as_json: bool, root: tuple[str, ...], **flags: Any) -> None:
    """List what can be opened here, or open SOURCE and describe it."""
    sources = [source] if source else []
    source_arguments.check_paths(sources)
    settings = options.settings_from_flags(root, source_arguments.named_folders(sources), **flags)
    if source and settings.roots[0] != Path.cwd():
        source = source_arguments.absolute_source(source)
    from dataclasses import asdict

    from rlm_mcp.contexts import Catalog

    catalog = Catalog(settings)
    try:
        if source is None:
            openable = catalog.openable_defaults()
            if as_json:
                click.echo(json.dumps([{"name": name, "what": what} for name, what in openable]))
            for name, what in [] if as_json else openable:
                click.echo(escape_controls(mark_label(f"{name:<10} {what}")))
            return
        names = {name for name, _ in catalog.openable_defaults()}
        variable = catalog.get_variable(source) if source in names else catalog.open_context(source)
        description = asdict(variable.describe())
        if as_json:
            click.echo(json.dumps(description, default=dict))
            return
        for name, value in description.items():
            if value not in (None, (), {}, ""):
                click.echo(escape_controls(mark_label(f"{name:<12} {_format_value(value)}")))
    finally:
        catalog.close()


def _format_value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return "\n             ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
