"""rlm-mcp doctor: what works here, and what does not."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from rlm_mcp.cli import exit_codes, options
from rlm_mcp.cli.exit_codes import escape_controls
from rlm_mcp.cli.options import consent_options, roots_option
from rlm_mcp.marks import mark_label
from rlm_mcp.plurals import count_noun

STATE_MARKS = {"ok": "ok", "off": "--", "bad": "!!"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@roots_option
@consent_options
def doctor(as_json: bool, root: tuple[str, ...], **flags: Any) -> int:
    """Check what works on this machine.

    Exit code 4 if there is a problem.
    """
    from rlm_mcp.clients import check_machine

    found = check_machine(options.settings_from_flags(root, **flags))
    bad = [finding for finding in found if finding.state == "bad"]
    if as_json:
        findings = [asdict(finding) for finding in found]
        click.echo(json.dumps({"ok": not bad, "findings": findings}))
        return exit_codes.FAILED if bad else exit_codes.COMPLETE
    group = ""
    for finding in found:
        if finding.group != group:
            group = finding.group
            click.echo(f"\n{group}" if finding is not found[0] else group)
        line = f"  {STATE_MARKS[finding.state]}  {finding.name:<17} {finding.detail}"
        click.echo(escape_controls(mark_label(line)))
    click.echo(f"\n{count_noun(len(bad), 'problem')}" if bad else "\nall checks passed")
    return exit_codes.FAILED if bad else exit_codes.COMPLETE
