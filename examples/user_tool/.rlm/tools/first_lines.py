"""A tool of this project. It runs in the sandbox and may import rlm_mcp.sdk alone."""

from rlm_mcp.sdk import Text, peek


def first_lines(ref: str, lines: int = 3) -> Text:
    """Show the first lines of a ref, for a quick look at what a file is."""
    return peek(ref, lines)
