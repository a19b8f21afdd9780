"""Runs with an environment of their own."""

from rlm_mcp.sdk import Failure, Reply, only, run


def rlm_query(
    prompt: str,
    model: str = "",
    refs: str | list[str] = "",
    mode: str = "auto",
    max_usd: float | None = None,
    max_calls: int | None = None,
    max_seconds: float | None = None,
    max_depth: int | None = None,
) -> Reply | Failure:
    """Answer a hard question about inputs larger than a window: a model explores them by code and
    asks sub-models (spends money within the budget).

    refs: what to look at (default: all that is open). mode: auto, direct, environment, recursive.
    Returns answer, status, coverage, verified evidence and cost; a run id for wait after 100 s.
    """
    answers = run(
        prompt,
        model,
        refs,
        mode,
        max_usd=max_usd,
        max_calls=max_calls,
        max_seconds=max_seconds,
        max_depth=max_depth,
    )
    if answers and isinstance(answers[0], Failure) and answers[0].kind == "running":
        return answers[0]
    return only(answers)
