"""Parts on natural borders, behind a handle."""

from rlm_mcp import sdk


def chunk(ref: str, by: str = "auto", tokens: int = 4000) -> sdk.Chunks:
    """Split a ref on natural borders behind a handle for llm_query.

    by: auto, symbols, turns, records, headings, lines, time, minute, hour, day.
    """
    return sdk.chunk(ref, by, tokens)
