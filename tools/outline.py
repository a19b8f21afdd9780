"""The structure of a scope."""

from rlm_mcp.sdk import Items, outline_of


def outline(ref: str = "", limit: int = 60) -> Items:
    """Show structure with refs: folders and symbols of code, headings of text, a session's brief
    (rules, decisions, open tasks), templates and histogram of logs. ref: default repo.
    """
    return outline_of(ref, limit)
