"""Search with exact totals, and plain questions."""

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
    """Search by regex (RE2): exact total, lines with refs. Or ask a plain question.

    ref (default repo): repo:src/*.py, history, session, logs. cursor continues.
    """
    return sdk.grep(pattern, ref, limit, ignore_case, before, after, cursor)
