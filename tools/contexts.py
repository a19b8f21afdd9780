"""What is open, and what could be."""

from rlm_mcp import sdk


def contexts() -> sdk.Text:
    """List what is open and what could be, with sizes. Call it first."""
    return sdk.contexts()
