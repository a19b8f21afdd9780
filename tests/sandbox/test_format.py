"""The safe `str.format` gives what the built-in gives, and never reads a hidden attribute."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlm_mcp.sandbox.format import format_text

PIECES = st.sampled_from(
    ["{}", "{0}", "{1}", "{a}", "{a.b}", "{a.c[0]}", "{d[k]}", "{d[0]}", "{!r}", "{0!s:>5}",
     "{:>{w}}",
     "{:{}}", "{{", "}}", "text", "{x}", "{9}", "{a.zz}", "{", "}", "{:d}", "{a!q}", "{0[}", "{a.}",
     "{:,.2f}", "{d[k]!a:^9}", "{.b}"]
)  # fmt: skip
VALUES = (3, "s", 2.5)
NAMED: dict[str, Any] = {"a": SimpleNamespace(b=1, c=[5]), "d": {"k": "v", 0: "z"}, "w": 4}


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=5).map("".join))
def test_it_gives_the_text_or_the_kind_of_error_of_the_built_in(text: str) -> None:
    try:
        expected = text.format(*VALUES, **NAMED)
    except (ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        with pytest.raises((ValueError, IndexError, KeyError, AttributeError, TypeError)):
            format_text(text, VALUES, NAMED)
        assert error is not None
    else:
        assert format_text(text, VALUES, NAMED) == expected


@pytest.mark.parametrize(
    "field", ["0.__class__", "0.__class__.__mro__", "f.__globals__", "f.__code__", "g.gi_frame"]
)
def test_hidden_attributes_are_not_reached(field: str) -> None:
    named = {"f": lambda: 0, "g": (i for i in [1])}
    if field == "0.__class__":
        assert format_text("{0.__class__}", (1,), named) == "<class 'int'>"
        return
    with pytest.raises(AttributeError):
        format_text("{" + field + "}", (1,), named)
