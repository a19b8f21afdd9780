"""Lines that are found by comparing whole arrays are those that Python's re finds."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlm_mcp.corpus.search import dense_match, regex_parser, regex_tree
from rlm_mcp.corpus.search.dense_match import MARGIN_BYTES, RowNeeds, fixed_rows

PIECES = (
    "a", "b", "X", ".", r"\w", r"\d", r"\W", r"\b", "^", "$", "[ab]", "[^a]", "ab", "0",
    r"[^\s]", "[aeiou0-3X]", "[^ -~]", "(a|bc)", "b?", "a{2}", "(?:ab|0){1,2}",
)  # fmt: skip


def rows(text: str, fold: bool = False) -> tuple[RowNeeds, ...]:
    return fixed_rows(regex_tree.trim_node(regex_parser.parse_regex(text, ignore_case=fold).node))


def lines(choice: tuple[RowNeeds, ...], data: bytes) -> list[int]:
    """Return which lines match, in all ways that there are."""
    edge = b"=ab\n" * (MARGIN_BYTES // 4)
    array = np.frombuffer(edge + data + edge, np.uint8)
    ends = np.flatnonzero(array[MARGIN_BYTES:-MARGIN_BYTES] == 10)
    ways: list[dense_match.ByteMasks | dense_match.BytePairs] = [
        dense_match.ByteMasks(choice, np.bincount(array, minlength=256))
    ]
    sample = np.frombuffer(edge + data + edge, "<u2", len(array) // 2)
    for counts in np.bincount(sample, minlength=1 << 16), np.ones(1 << 16, np.int64):
        with contextlib.suppress(ValueError):
            ways.append(dense_match.BytePairs(choice, counts))
    for way in ways:
        found: list[int] = way.match_lines(array, ends.astype(np.uint32) + np.uint32(7), 7).tolist()
        assert way.count_matches(array) == len(found)
        assert found == ways[0].match_lines(array, ends, 0).tolist()
    return found


@given(
    text=st.lists(st.binary(max_size=6) | st.text("ab01 X_", max_size=9).map(str.encode)),
    parts=st.lists(st.sampled_from(PIECES), min_size=1, max_size=4),
    other=st.lists(st.sampled_from(PIECES), max_size=3),
    fold=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_lines_are_those_that_pythons_re_finds(
    text: list[bytes], parts: list[str], other: list[str], fold: bool
) -> None:
    # A line has no newline; and our \s does not hold the vertical tab.
    data = b"".join(line.translate(None, b"\n\v") + b"\n" for line in [b"", *text])
    written = "".join(parts) + ("|" + "".join(other) if other else "")
    choice = rows(written, fold)
    assume(choice)
    regex = re.compile(written.encode("latin-1"), re.IGNORECASE if fold else 0)
    wanted = [n for n, line in enumerate(data.split(b"\n")[:-1]) if regex.search(line)]
    assert lines(choice, data) == wanted


@pytest.mark.parametrize(
    "text", ["ca+b", "ca*b", "x.*y", "[ab]{25}", "(a|b|c|d)(a|b|c|d)(a|b|c|d)", "(a?b?){9}"]
)
def test_what_has_no_fixed_length_or_too_many_rows_is_left_to_the_engines(text: str) -> None:
    assert rows(text) == ()


def test_an_edge_that_cannot_hold_matches_nothing() -> None:
    assert rows(r"a\bb") == ()
    assert lines(rows(r"a\bb|c"), b"ab\na b\nc\n") == [2]


def test_a_long_row_is_compared_in_part_and_then_looked_at() -> None:
    data = b"the quick brown fox\nthe quick brown fax\n" * 500 + b"a brown fox\n"
    assert len(lines(rows("quick brown fox"), data)) == 500
    assert len(lines(rows("brown fox"), data)) == 501


def test_lines_are_told_by_how_they_begin() -> None:
    data = b"class A\nx class B\ndef a\n\ndefault\nclass"
    assert lines(rows(r"^(class|def) \w"), data + b" C\n" * 2) == [0, 2, 5]
    assert lines(rows(r"^..a?$"), b"ab\nabc\naba\n\n") == [0, 2]


def test_no_border_of_a_word_is_found_in_an_empty_line_too() -> None:
    assert lines(rows(r"\B"), b"\na\nab\n-\na-\n") == [0, 2, 3, 4]


@pytest.mark.parametrize("seed", range(4))
def test_lines_are_counted_however_long_they_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for size in [1, 63, 64, 65, 127, 128, 4096, *rng.integers(1, 9_000, 60).tolist()]:
        newlines = rng.random(size) < rng.choice([0.5, 0.02, 0.001])
        newlines[-1] = True
        hits = rng.random(size) < rng.choice([0.0, 1.0, 0.3, 0.01, 0.0005])
        starts = np.concatenate(([0], np.flatnonzero(newlines)[:-1] + 1))
        wanted = int(np.count_nonzero(np.logical_or.reduceat(hits, starts)))
        assert dense_match.count_flagged_lines(hits, newlines) == wanted
