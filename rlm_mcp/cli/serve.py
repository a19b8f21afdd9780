"""rlm-mcp serve: the MCP server, over stdio or HTTP."""

from __future__ import annotations

from typing import Any

import click

from rlm_mcp.cli.options import consent_options, model_options, roots_option, settings_from_flags


@click.command()
@click.option("--http", metavar="HOST:PORT", help="Serve over HTTP on loopback instead of stdio.")
@roots_option
@model_options
@consent_options
def serve(http: str | None, root: tuple[str, ...], **flags: Any) -> None:
    """Serve the tools over MCP.

    Over stdio, as coding agents start it, unless --http is given.
    """
    chosen = settings_from_flags(root, **flags)
    if http is None:
        # mcp costs about a second to import; nothing above needs it.
        from rlm_mcp.server import serve_stdio

        serve_stdio(chosen)
    else:
        from rlm_mcp.server import serve_http

        serve_http(chosen, http)
