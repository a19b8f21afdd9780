"""Runs that outlasted the call that started them."""

from rlm_mcp import sdk


def wait(run: str, seconds: float = 60.0, cancel: bool = False) -> sdk.Text:
    """Wait for a run: its result or progress; cancel stops it."""
    return sdk.wait(run, seconds, cancel)
