"""Search with exact totals."""

from rlm_mcp.sdk import Hits, scan


def grep(
    pattern: str,
    ref: str = "",
    limit: int = 30,
    ignore_case: bool = False,
    before: int = 0,
    after: int = 0,
    cursor: str = "",
) -> Hits:
    """Search a variable, folder or file by regular expression (RE2 syntax, linear time).

    ref (default: repo) narrows: repo:src/, repo:src/*.py, history, session, logs. Gives the exact
    total of matching lines, then the first ones with refs; cursor continues.
    """
    return scan(pattern, ref, limit, ignore_case, before, after, cursor)
