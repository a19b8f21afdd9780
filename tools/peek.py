"""Verbatim windows: the only way that text itself leaves a variable."""

from rlm_mcp import sdk


def peek(ref: str, limit: int = 80) -> sdk.Passage:
    """Show lines verbatim.

    ref: repo:a.py#L10-L42, repo:a.py@v1.2, history:1f3c9ab, session:5f0c#12.3, logs:app.log#L7,
    or a handle (r7).
    """
    return sdk.peek(ref, limit)
