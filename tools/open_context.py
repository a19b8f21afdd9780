"""Make a large input addressable without pasting it."""

from rlm_mcp.sdk import Text, open_source


def open_context(source: str, name: str = "") -> Text:
    """Open a large source as a context variable, outside your window.

    source: a file, folder, glob, git URL, revision or range (repo@v1.2, repo@index, v1..v2),
    session:current, session:latest, a transcript, or logs (rotated and compressed too; logs:PATH
    says that they are). Returns its description.
    """
    return open_source(source, name)
