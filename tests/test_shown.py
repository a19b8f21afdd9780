"""What tools and cells show of their values."""

from __future__ import annotations

from rlm_mcp.sdk.values import Hit, Hits


def hits(*found: Hit) -> Hits:
    made = Hits(found)
    made.total, made.documents, made.per_folder = len(made), 1, {}
    return made


def test_lines_around_a_hit_carry_their_numbers() -> None:
    hit = Hit("repo:a.py#L9", "a.py", 9, "nine", ("seven", "eight"), ("ten",))
    shown = hits(hit).shown.split("\n")
    assert shown == [
        "1 matching line in 1 document; 1 shown.",
        "     7 seven",
        "     8 eight",
        "repo:a.py#L9: nine",
        "    10 ten",
    ]


def test_lines_behind_a_match_of_several_are_counted_from_its_last() -> None:
    hit = Hit("repo:a.py#L2", "a.py", 2, "two\nthree", ("one",), ("four",))
    assert hits(hit).shown.split("\n")[1:] == [
        "    1 one",
        "repo:a.py#L2: two",
        "three",
        "    4 four",
    ]


def test_lines_around_a_hit_that_is_no_line_have_no_numbers() -> None:
    block = Hit("session:x#12.3", "x", 1, "text", ("before",))
    assert "    before" in hits(block).shown.split("\n")
    cut = Hit("repo:a.py#L2", "a.py", 2, "two\nthr", (), ("later",), cut=True)
    assert "    later" in hits(cut).shown.split("\n")
