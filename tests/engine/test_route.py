"""How a question is answered: the choice by size and words, and what follows a wrong guess."""

from __future__ import annotations

import pytest

from rlm_mcp.engine import route
from rlm_mcp.errors import BadRequest
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelRequest, Price
from tests.engine.conftest import Desk, Desks, cell, run

NEEDLE = "Where is the value of the needle defined?"
LARGE = 60_000
PRICE = Price(1.0, 5.0, 0.1, 1.25, "2026-11-01")


@pytest.mark.parametrize(
    ("question", "tokens", "sub_calls", "mode"),
    [
        (NEEDLE, 5_000, True, "direct"),
        (NEEDLE, LARGE, True, "environment"),
        ("Summarise what each file says", LARGE, True, "recursive"),
        ("Where do all the files say it?", LARGE, True, "recursive"),
        ("Summarise what each file says", LARGE, False, "environment"),
        (NEEDLE, 0, True, "environment"),
    ],
)
def test_a_route_is_chosen_by_size_and_words(
    question: str, tokens: int, sub_calls: bool, mode: str
) -> None:
    chosen = route.choose_route("auto", question, tokens, 200_000, sub_calls)
    assert chosen.mode == mode and chosen.reason


def test_what_was_asked_for_is_done_and_what_cannot_be_is_refused() -> None:
    for mode in ("direct", "environment", "recursive"):
        assert route.choose_route(mode, NEEDLE, 100, 200_000, True) == (mode, "as asked")
    with pytest.raises(BadRequest, match="do not fit a window"):
        route.choose_route("direct", NEEDLE, 150_000, 200_000, True)


def test_only_a_dearer_route_follows() -> None:
    chosen = route.Route("direct", "small")
    second = route.escalate_route(chosen, "nothing")
    assert second is not None and second.mode == "recursive"
    assert second.reason == "small; then direct gave nothing"
    assert route.escalate_route(second, "nothing") is None


def enlarge(desk: Desk) -> None:
    """Make the folder too large for one direct call."""
    for number in range(4):
        (desk.folder / f"f{number}.txt").write_text("words of an ordinary line\n" * 3_000)


class Guesser:
    """A root that writes prose without sub-calls, and knows the answer with them."""

    def __init__(self, with_sub_calls: str) -> None:
        self.with_sub_calls = with_sub_calls

    def __call__(self, request: ModelRequest) -> str:
        if request.purpose == "sub":
            return "line 7"
        return self.with_sub_calls if "llm_query" in request.system else "I would rather read it."


def test_a_wrong_guess_for_the_environment_escalates_within_the_same_budget(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_usd=0.5, max_calls=20) as d:
            enlarge(d)
            code = "a = llm_query_batched(['x', 'y'])\nFINAL(a[0] + ' of ' + str(len(repo) > 0))"
            model = Fake(replies=Guesser(cell(code)), price=PRICE)
            d.use(model)
            result = await d.workspace.run_query(NEEDLE)
            assert (result.status, result.answer) == ("complete", "line 7 of True")
            assert result.mode == "recursive"
            assert "search, not reading; then environment gave" in result.reason
            assert [event["mode"] for event in d.of("route")] == ["recursive"]
            assert result.calls == len(model.requests) == (3 + 1) + 1 + 2, "one budget for both"
            assert result.cost_usd == pytest.approx(sum(call["cost_usd"] for call in d.of("call")))
            assert len(d.of("run.start")) == len(d.of("run.end")) == 1

    run(go())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_iterations": 3}, "3 replies in a row had no cell"),
        ({"max_calls": 4}, "budget pays for one more reply"),
    ],
)
def test_a_wrong_guess_that_used_the_budget_up_is_the_end(
    desk: Desks, settings: dict[str, int], said: str
) -> None:
    async def go() -> None:
        async with desk(**settings) as d:
            enlarge(d)
            model = Fake(replies=Guesser(cell("FINAL('x')")), price=PRICE)
            d.use(model)
            result = await d.workspace.run_query(NEEDLE)
            assert len(model.requests) == 4, "three replies, and the last that was announced"
            assert (result.status, result.mode) == ("forced", "environment")
            assert said in result.reason, result.reason

    run(go())


def test_a_mode_that_was_asked_for_is_never_left(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            enlarge(d)
            model = Fake(replies=Guesser(cell("FINAL('x')")))
            d.use(model)
            result = await d.workspace.run_query(NEEDLE, mode="environment")
            assert result.mode == "environment" and len(model.requests) == 3 + 1
            assert result.status == "forced", "its last words, which are no answer"

    run(go())


def test_what_must_be_counted_goes_to_code_at_any_size_but_the_smallest() -> None:
    for question in (
        "Which label is least common, how many of them are there?",
        "List all pairs of users who share a label.",
        "Wie viele Zeilen hat die Eingabe?",
    ):
        assert route.choose_route("auto", question, 12_000, 200_000, True).mode == "recursive"
        assert route.choose_route("auto", question, 12_000, 200_000, False).mode == "environment"
        assert route.choose_route("auto", question, 1_000, 200_000, True).mode == "direct"
    assert (
        route.choose_route("auto", "What is the timeout?", 12_000, 200_000, True).mode == "direct"
    )
