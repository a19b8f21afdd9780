"""Parts on natural borders, behind a handle."""

from rlm_mcp.sdk import Chunks, split


def chunk(ref: str, by: str = "auto", tokens: int = 4000) -> Chunks:
    """Split a ref on natural borders and return a handle and a table, not the text.

    by: auto, symbols, turns, records, headings, lines; of logs also time, minute, hour or day.
    Give the handle to llm_query as refs.
    """
    return split(ref, by, tokens)
