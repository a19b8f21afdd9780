"""Refs and quotes of an answer are opened and compared byte for byte."""

from __future__ import annotations

import pytest

from rlm_mcp.engine.evidence import (
    Evidence,
    check_evidence,
    cite_quote,
    explain_false_evidence,
)
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import LineSpan, Ref, parse_ref

LINES = [f"line {n}" for n in range(1, 101)]
LINES[41] = "rate = 0.19  # `the` tax"
LINES[42] = 'say("hello", "all")  # he said "hi"'
LINES[43] = "Python's ``math`` and `re`: see `repo`"
NAMES = frozenset({"repo", "r7"})


def text_of(ref: Ref) -> str:
    if ref.path not in ("a.py", ""):
        raise BadRequest("unknown")
    if isinstance(ref.span, LineSpan):
        return "\n".join(LINES[ref.span.start - 1 : ref.span.end])
    return "\n".join(LINES)


def evidence(answer: str) -> list[tuple[str, str, bool | None]]:
    return [(e.ref, e.quote, e.verified) for e in check_evidence(answer, NAMES, text_of)]


def test_a_quote_that_stands_there_is_verified_and_narrowed_to_its_lines() -> None:
    assert evidence("See repo:a.py#L40-L50 `line 45`.") == [("repo:a.py#L45", "line 45", True)]


def test_a_quote_that_does_not_stand_there_is_not_verified() -> None:
    assert evidence("See repo:a.py#L40-L50 `line 51`.") == [("repo:a.py#L40-L50", "line 51", False)]
    assert evidence("See repo:a.py#L40 `Line 40`.")[0][2] is False


def test_a_ref_that_does_not_open_is_kept_as_not_verified() -> None:
    assert evidence("See repo:b.py#L1 `x`.") == [("repo:b.py#L1", "x", False)]


def test_a_ref_to_lines_that_have_changed_is_verified_by_its_quote_alone() -> None:
    answer = "See repo:a.py#L40 and repo:a.py#L45 `line 45`."
    found = check_evidence(
        answer, NAMES, text_of, lambda ref: "a.py changed after this ref was given."
    )
    assert [(e.ref, e.verified) for e in found] == [
        ("repo:a.py#L40", False),
        ("repo:a.py#L45", True),
    ]


def test_a_ref_without_a_quote_opens_and_proves_nothing() -> None:
    assert evidence("Not looked at: (repo:a.py#L3-L4).") == [("repo:a.py#L3-L4", "", None)]


@pytest.mark.parametrize("line", [42, 43, 44])
@pytest.mark.parametrize("marks", ["``", '"', "```", "` `` `"])
def test_a_quote_that_holds_its_own_marks_is_compared_whole(line: int, marks: str) -> None:
    quote = LINES[line - 1]
    given = f'"{quote}"' if marks == '"' else f"{marks[:3]} {quote} {marks[:3]}"
    if marks == "``" and line == 44:
        given = f"`{quote}`"
    if marks == "` `` `":
        given = f"`{quote}`"
    assert evidence(f"See repo:a.py#L40-L50 {given}, and more.") == [
        (f"repo:a.py#L{line}", quote, True)
    ]


@pytest.mark.parametrize(
    "said",
    [
        "`Python's `math` is slow and `re` is worse`",
        "`A project's ``math`` goes first`",
        '"say("hello", "nobody")"',
        "`` rate = `the` price ``",
        "“rate = 0.20”",
    ],
)
def test_a_false_quote_is_never_cut_into_pieces_that_stand_there(said: str) -> None:
    assert [verified for _, _, verified in evidence(f"See repo:a.py#L40-L50 {said}.")] == [False]


def test_quotes_side_by_side_are_several() -> None:
    got = evidence("repo:a.py#L1-L9 has `line 1`, `line 2` and the `line`s after `line 3`.")
    assert [quote for _, quote, verified in got if verified] == [
        "line 1",
        "line 2",
        "line",
        "line 3",
    ]


def test_a_ref_in_backticks_keeps_its_quote() -> None:
    assert evidence("`repo:a.py#L1-L3`: `line 2`") == [("repo:a.py#L2", "line 2", True)]


def test_a_ref_in_the_quote_of_another_is_part_of_it() -> None:
    assert evidence("repo:a.py#L5 `see repo:a.py#L9 there`") == [
        ("repo:a.py#L5", "see repo:a.py#L9 there", False)
    ]


@pytest.mark.parametrize("number", [1, 42, 43, 44])
def test_what_cite_returns_is_read_back_as_verified(number: int) -> None:
    cited = cite_quote(parse_ref("repo:a.py#L1-L99"), LINES[number - 1], text_of)
    assert evidence(f"The first is {cited}, as said.") == [
        (f"repo:a.py#L{number}", LINES[number - 1], True)
    ]
    whole = "\n".join(LINES[40:44])
    cited = cite_quote(parse_ref("repo:a.py"), whole, text_of)
    assert evidence(f"These: {cited}and more") == [("repo:a.py#L41-L44", whole, True)]


def test_cite_refuses_what_does_not_stand_there_and_says_what_does() -> None:
    with pytest.raises(BadRequest, match=r"does not hold `line 51`; it stands at repo:a.py#L51"):
        cite_quote(parse_ref("repo:a.py#L40-L50"), "line 51", text_of)
    with pytest.raises(BadRequest, match=r"there: `` rate = 0.19  # `the` tax ``"):
        cite_quote(parse_ref("repo:a.py"), "rate = 0.20  # `the` tax", text_of)
    with pytest.raises(BadRequest, match="is empty"):
        cite_quote(parse_ref("repo:a.py"), " ", text_of)


def test_each_false_ref_and_quote_is_explained_once() -> None:
    found = check_evidence(
        "repo:b.py#L1 `x`, repo:a.py#L40 `line 45`, repo:a.py#L1 `line 1`, repo:a.py#L2",
        NAMES,
        text_of,
    )
    assert explain_false_evidence(found, text_of).split("\n") == [
        "2 of 4 refs or quotes are false:",
        "- repo:b.py#L1 does not open: unknown",
        "- repo:a.py#L40 does not hold `line 45`; it stands at repo:a.py#L45",
    ]
    assert explain_false_evidence(found[2:], text_of) == ""


@pytest.mark.parametrize(
    "answer",
    [
        "repo:a.py#L41-L43\n> line 41\n> rate = 0.19  # `the` tax",
        "repo:a.py#L41-L43\n```\nline 41\nrate = 0.19  # `the` tax\n```",
        "Defined: **repo:a.py#L41-L43**\n> line 41\n> rate = 0.19  # `the` tax\n\nmore",
    ],
)
def test_quotes_below_a_ref_are_compared_whole(answer: str) -> None:
    quote = "line 41\nrate = 0.19  # `the` tax"
    assert evidence(answer) == [("repo:a.py#L41-L42", quote, True)]


def test_each_of_several_refs_on_a_line_has_its_own_quote() -> None:
    got = evidence('repo:a.py#L1 says "line 1", repo:a.py#L2 says "line 3".')
    assert got == [("repo:a.py#L1", "line 1", True), ("repo:a.py#L2", "line 3", False)]


@pytest.mark.parametrize(
    "answer", ["https://repo:a.py#L1", "other:a.py#L1", "repo", "the repo: fine", "repo:#", "x:y"]
)
def test_what_is_no_ref_is_left_alone(answer: str) -> None:
    assert evidence(answer) == []


def test_a_ref_at_the_end_of_a_sentence_is_read_without_its_full_stop() -> None:
    assert evidence("It is in repo:a.py#L9.")[0][0] == "repo:a.py#L9"
    assert evidence("It is in repo:a.py#L9-L10, and")[0][0] == "repo:a.py#L9-L10"


def test_handles_are_evidence_too() -> None:
    assert evidence("r7#L5 `line 5`") == [("r7#L5", "line 5", True)]


def test_the_same_evidence_is_named_once() -> None:
    assert len(evidence("repo:a.py#L1 `line 1` and repo:a.py#L1 `line 1`")) == 1


def test_an_answer_of_nothing_but_refs_is_bounded() -> None:
    many = " ".join(f"repo:a.py#L{n}" for n in range(1, 5_000))
    assert len(check_evidence(many, NAMES, text_of)) == 64


def test_evidence_is_a_plain_value() -> None:
    assert Evidence("a", "b", True) == Evidence("a", "b", True)
