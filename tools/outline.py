"""The structure of a scope."""

from rlm_mcp import sdk


def outline(ref: str = "", limit: int = 60) -> sdk.Items:
    """Show structure with refs: symbols, headings, a session's brief, templates of logs."""
    return sdk.outline(ref, limit)
