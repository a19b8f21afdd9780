"""Make a large input addressable without pasting it."""

from rlm_mcp import sdk


def open_context(source: str, name: str = "") -> sdk.Text:
    """Open a large source outside your window.

    source: path, glob, git URL, revision (repo@v1.2, repo@index), range (v1..v2), session:current,
    session:latest, logs:PATH.
    """
    return sdk.open_context(source, name)
