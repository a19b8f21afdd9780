"""Search in packed text: linear-time patterns, exact totals, a page of hits at a time.

RE2 says what a pattern is and confirms the lines that are returned; Hyperscan scans what RE2
accepts. No pattern from outside ever reaches Python's `re`.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.corpus.search.compile_pattern import compile_text_pattern
    from rlm_mcp.corpus.search.globs import select_paths
    from rlm_mcp.corpus.search.grep import grep_corpus
    from rlm_mcp.corpus.search.large_file import MAX_WHOLE_LINE, compile_line_pattern, scan_file
    from rlm_mcp.corpus.search.multi_pattern import compile_finder
    from rlm_mcp.corpus.search.prefilter import compile_prefilter
    from rlm_mcp.corpus.search.query import GrepHit, GrepPage, Query
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "GrepHit": "query",
            "GrepPage": "query",
            "MAX_WHOLE_LINE": "large_file",
            "Query": "query",
            "compile_finder": "multi_pattern",
            "compile_line_pattern": "large_file",
            "compile_prefilter": "prefilter",
            "compile_text_pattern": "compile_pattern",
            "grep_corpus": "grep",
            "scan_file": "large_file",
            "select_paths": "globs",
        },
    )

__all__ = [
    "MAX_WHOLE_LINE",
    "GrepHit",
    "GrepPage",
    "Query",
    "compile_finder",
    "compile_line_pattern",
    "compile_prefilter",
    "compile_text_pattern",
    "grep_corpus",
    "scan_file",
    "select_paths",
]
