"""What the embedded model reads out of a question."""

from __future__ import annotations

from datetime import date

import pytest

from rlm_mcp.models.extractive.question import parse
from rlm_mcp.models.extractive.times import period, versions_in

TODAY = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("question", "span"),
    [
        ("What did Ann change in 2023?", ("2023", "2023")),
        ("commits between 2024-01-02 and 2024-02", ("2024-01-02", "2024-02")),
        ("What changed since March 2021?", ("2021-03", "")),
        ("What changed in March?", ("2026-03", "2026-03")),
        ("What changed in December?", ("2025-12", "2025-12")),
        ("What did she do before 2020?", ("", "2019")),
        ("What was added before 2020-03-01?", ("", "2020-02-29")),
        ("the commits of the last two weeks", ("2026-11-12", "")),
        ("who committed yesterday", ("2026-11-25", "2026-11-25")),
        ("what changed this month?", ("2026-11", "")),
        ("What may change in the parser?", ("", "")),
        ("Where are 2000 rows read?", ("", "")),
        ("What changed since 3 days ago?", ("2026-11-23", "")),
        ("commits on Jan 5, 2022", ("2022-01-05", "2022-01-05")),
    ],
)
def test_a_time_is_read_as_people_write_it(question: str, span: tuple[str, str]) -> None:
    assert period(question, TODAY) == span


def test_versions_are_told_from_times_and_addresses() -> None:
    assert versions_in("from v1.9 to 2.0.1-rc1 at 10.30 on 127.0.0.1:80?") == [
        "v1.9", "2.0.1-rc1", "10.30",
    ]  # fmt: skip
    assert versions_in("Where is http/1.1 read?") == []


@pytest.mark.parametrize(
    ("question", "relations"),
    [
        ("What does Context.invoke call?", [("callee", "Context.invoke")]),
        ("Which functions does `send` call?", [("callee", "send")]),
        ("Which functions are called by send?", [("callee", "send")]),
        ("Where is send called from?", [("call", "send")]),
        ("Which classes inherit from Field?", [("extend", "Field")]),
        ("Which types implement the Render interface?", [("extend", "Render")]),
        ("How is caching implemented?", []),
        ("How does click.CliRunner.invoke keep files apart?", []),
        ("Which tests cover CliRunner?", [("test", "CliRunner")]),
        ("What methods does Context have?", [("member", "Context")]),
        ("Where is ParseError raised?", [("throw", "ParseError")]),
        ("Which exceptions can Log.write throw?", [("thrown", "Log.write")]),
    ],
)
def test_a_relation_has_a_direction(question: str, relations: list[tuple[str, str]]) -> None:
    assert parse(question, TODAY).relations == relations


@pytest.mark.parametrize(
    ("question", "about"),
    [
        ("How do I run the tests?", ["running"]),
        ("Which files change together with a.py?", ["together", "past"]),
        ("Who are the top contributors?", ["authors", "past"]),
        ("Which files change most often?", ["churn", "past"]),
        ("What are the latest commits?", ["latest", "past"]),
        ("What does core.py import?", ["imports"]),
        ("Who imports core.py?", ["importers"]),
        ("Where is a handler added to the bus?", []),
        ("How does the user change a password?", []),
        ("What broke in 2.10?", ["past"]),
        ("How does the build find files?", []),
        ("When was the last release?", ["releases", "past"]),
        ("Which Python versions are supported?", ["version"]),
    ],
)
def test_what_a_question_is_about(question: str, about: list[str]) -> None:
    assert parse(question, TODAY).about == about


@pytest.mark.parametrize(
    "question",
    [
        "How does the server decide which protocol version to speak?",
        "Which part of the code calls the model?",
        "What happens to open requests when a license check is introduced?",
        "Why is the entry point of a plugin imported twice?",
        "How are command line options split into short flags?",
        "What decides which environment variables a child process gets?",
        "How does it notice that a dependency changed since the start?",
        "Who calls the parser?",
    ],
)
def test_how_something_works_is_asked_of_passages_alone(question: str) -> None:
    asked = parse(question, TODAY)
    assert (asked.about, asked.relations, asked.names) == ([], [], [])


def test_what_is_quoted_is_a_phrase_unless_it_is_a_name() -> None:
    asked = parse("Where does \"Missing argument\" come from, and 'send'? It's Ann's.", TODAY)
    assert asked.phrases == ["Missing argument"]
    assert asked.names == ["send"]
