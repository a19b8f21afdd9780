"""What is open, and what could be."""

from rlm_mcp.sdk import Text, describe


def contexts() -> Text:
    """List the context variables that are open and those that could be opened.

    Call it first. Each comes with kind, size, tokens, freshness and how its refs look.
    """
    return describe()
