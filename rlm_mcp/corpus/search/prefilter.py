"""Tell at a glance which of many patterns may match a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rlm_mcp.corpus.search import regex_parser, regex_tree

_NON_ASCII = re.compile(r"\\u[0-9a-fA-F]{4}|[^\x00-\x7f]")
_NEVER = "\x7f"
"""Stands in a pattern for what no printable ASCII text holds."""


def compile_prefilter(groups: Sequence[Sequence[str]]) -> Callable[[bytes], Sequence[int]]:
    """Return what names the groups that may match, case ignored, in a printable ASCII text.

    Raises `regex_tree.UnsupportedSyntax` for a pattern that cannot be made looser.
    """
    import re2  # 20 ms, and not needed before a session is read

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.max_mem = 64 << 20
    every = re2.Set.SearchSet(options)
    for group in groups:
        every.Add(b"|".join(b"(?:" + _loosen_pattern(one) + b")" for one in group))
    every.Compile()
    match: Callable[[bytes], Sequence[int] | None] = every.Match
    return lambda text: match(text) or ()


def _loosen_pattern(text: str) -> bytes:
    ascii_only = _NON_ASCII.sub(_NEVER, text)
    return regex_tree.regex_source(
        regex_parser.parse_regex(ascii_only, ignore_case=True, lines=False).node
    )
