"""Search in packed text: linear-time patterns, exact totals, a page of hits at a time.

RE2 says what a pattern is and confirms the lines that are returned; Hyperscan scans what RE2
accepts. No pattern from outside ever reaches Python's `re`.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.corpus.search.query import Query
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "Query": "query",
        },
    )

__all__ = [
    "Query",
]
