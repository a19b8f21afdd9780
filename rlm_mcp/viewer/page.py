"""Draw a run as one HTML file: tree, timeline, costs, code and outputs. No network, no library.

The data stands in the page as JSON and reaches the screen as text nodes only; a content security
policy allows the page's one script by its digest, and nothing else. What a trajectory says can
therefore not run, load or send anything; characters that would steer what is shown are marks.
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import json
from typing import Any

from rlm_mcp.marks import mark_controls


def draw_page(run: dict[str, Any]) -> str:
    """Return the page for a run tree (see `engine.export.as_json`)."""
    files = importlib.resources.files("rlm_mcp.viewer")
    script = files.joinpath("page.js").read_text("utf-8")
    style = files.joinpath("page.css").read_text("utf-8")
    data = json.dumps(_mark_texts(run), ensure_ascii=True, separators=(",", ":")).replace(
        "<", "\\u003c"
    )
    policy = (
        f"default-src 'none'; script-src '{_csp_digest(script)}'; style-src "
        f"'{_csp_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    title = html.escape(f"run {run.get('id', '')}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        "<noscript>This page draws its data with a script of its own.</noscript>\n"
        f'<script type="application/json" id="run">{data}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _mark_texts(value: Any) -> Any:
    if isinstance(value, str):
        return mark_controls(value)
    if isinstance(value, dict):
        return {key: _mark_texts(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mark_texts(inner) for inner in value]
    return value


def _csp_digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
