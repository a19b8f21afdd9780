"""Runs with an environment of their own."""

from rlm_mcp import sdk


def rlm_query(
    prompt: str,
    model: str = "",
    refs: str | list[str] = "",
    mode: str = "auto",
    max_usd: float | None = None,
    max_calls: int | None = None,
    max_seconds: float | None = None,
    max_depth: int | None = None,
) -> sdk.Reply | sdk.Answers | sdk.Failure:
    """Answer a hard question over large inputs: a model explores by code. Costs money.

    refs: default all. mode: auto, direct, environment, recursive. After 100 s: a run id for wait.
    """
    return sdk.rlm_query(
        prompt,
        model,
        refs,
        mode,
        max_usd=max_usd,
        max_calls=max_calls,
        max_seconds=max_seconds,
        max_depth=max_depth,
    )
