"""Tell at a glance which of many groups of Python's patterns may match a text.

For patterns of ours that are too many to try one by one. RE2 looks for all of them at once, each
made looser where it cannot follow (lookaround): what it does not report cannot match, what it
reports is for Python's `re` to decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rlm_mcp.corpus import pattern, syntax

_FOREIGN = re.compile(r"\\u[0-9a-fA-F]{4}|[^\x00-\x7f]")
_NEVER = "\x7f"
"""Stands in a pattern for what no printable ASCII text holds."""


def sieve(groups: Sequence[Sequence[str]]) -> Callable[[bytes], Sequence[int]]:
    """Return what names the groups that may match, case ignored, in a printable ASCII text.

    Raises `pattern.Unknown` for a pattern that cannot be made looser.
    """
    import re2  # 20 ms, and not needed before a session is read

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.max_mem = 64 << 20
    every = re2.Set.SearchSet(options)
    for group in groups:
        every.Add(b"|".join(b"(?:" + _loosened(one) + b")" for one in group))
    every.Compile()
    match: Callable[[bytes], Sequence[int] | None] = every.Match
    return lambda text: match(text) or ()


def _loosened(text: str) -> bytes:
    ascii_only = _FOREIGN.sub(_NEVER, text)
    return pattern.source(syntax.parse(ascii_only, ignore_case=True, lines=False).node)
