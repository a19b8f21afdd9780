"""Search with exact totals."""

from rlm_mcp import sdk


def grep(
    pattern: str,
    ref: str = "",
    limit: int = 30,
    ignore_case: bool = False,
    before: int = 0,
    after: int = 0,
    cursor: str = "",
) -> sdk.Hits:
    """Search by regular expression (RE2): exact total, then lines with refs.

    ref (default repo): repo:src/, repo:src/*.py, history, session, logs. cursor continues.
    """
    return sdk.grep(pattern, ref, limit, ignore_case, before, after, cursor)
