"""The sieve never misses what Python's re finds in a printable ASCII text."""

from __future__ import annotations

import re

import pytest

from rlm_mcp.corpus.search.prefilter import compile_prefilter
from rlm_mcp.corpus.search.regex_tree import UnsupportedSyntax

GROUPS = [
    [r"\bnever\b(?! mind)", r"^(?:so )*+always\s+\w"],
    [r"(?<!not )\bdone\b", r"est\u00e1 mal", "d\u00e9j\u00e0|already"],
    [r"^[$%\u2717] ", r"[^|]{3}\Z"],
]
TEXTS = [
    "never mind", "NEVER again", "nevermore", "so so always x", "always", "done", "not done",
    "esta mal", "already seen", "deja", "$ ls", "", "ab", "abc", "a|c",
]  # fmt: skip


def test_what_may_match_is_reported_whatever_stands_around_it() -> None:
    find = compile_prefilter(GROUPS)
    for text in TEXTS:
        found = set(find(text.encode()))
        matched = {
            number
            for number, group in enumerate(GROUPS)
            if any(re.search(one, text, re.IGNORECASE) for one in group)
        }
        assert matched <= found, text


def test_what_cannot_match_is_mostly_left_out() -> None:
    find = compile_prefilter(GROUPS)
    assert list(find(b"it rains")) == [2]
    assert list(find(b"a|")) == []


def test_a_pattern_that_cannot_be_made_looser_is_refused() -> None:
    with pytest.raises(UnsupportedSyntax):
        compile_prefilter([[r"(?P<a>x)(?(a)y|z)"]])
