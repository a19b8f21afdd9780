"""Refs and quotes of an answer are opened and compared byte for byte."""

from __future__ import annotations

import pytest

from rlm_mcp.engine.evidence import Evidence, check_evidence
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import LineSpan, Ref

LINES = [f"line {n}" for n in range(1, 101)]
LINES[41] = "rate = 0.19  # `the` tax"
NAMES = frozenset({"repo", "r7"})


def text_of(ref: Ref) -> str:
    if ref.path not in ("a.py", ""):
        raise BadRequest("unknown")
    if isinstance(ref.span, LineSpan):
        return "\n".join(LINES[ref.span.start - 1 : ref.span.end])
    return "\n".join(LINES)


def evidence(answer: str) -> list[tuple[str, str, bool]]:
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


def test_a_ref_without_a_quote_is_opened_and_shown() -> None:
    assert evidence("See (repo:a.py#L3-L4).") == [("repo:a.py#L3-L4", "line 3\nline 4", True)]


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
