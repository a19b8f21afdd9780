"""Verbatim windows: the only way that text itself leaves a variable."""

from rlm_mcp.sdk import Passage, read


def peek(ref: str, limit: int = 80) -> Passage:
    """Show a verbatim window of a ref, at most limit lines.

    ref: repo:a.py, repo:a.py#L10-L42, repo:a.py@v1.2, history:1f3c9ab, session:5f0c#12.3,
    logs:app.log#L7, or a handle (r7, r7#L81).
    """
    return read(ref, limit)
