"""Runs that outlasted the call that started them."""

from rlm_mcp.sdk import Text, wait_for


def wait(run: str, seconds: float = 60.0, cancel: bool = False) -> Text:
    """Wait for a run of rlm_query: its result, or its progress after some seconds.

    cancel=true stops it and returns what is known so far.
    """
    return wait_for(run, seconds, cancel)
