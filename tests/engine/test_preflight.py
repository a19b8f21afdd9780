"""What can do nothing does not begin: limits of 0 and models without a key, all alike."""

from __future__ import annotations

import pytest

from rlm_mcp.engine.preflight import NEEDED_LIMITS
from rlm_mcp.errors import BadRequest, BudgetSpent
from rlm_mcp.models.anthropic import Anthropic
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import Price
from tests.engine.conftest import Desks, cell, run, scripted

PRICED = Price(1.0, 5.0, 0.1, 1.25, "today")


@pytest.mark.parametrize("limit", [*NEEDED_LIMITS, "iterations"])
def test_a_limit_of_nothing_is_refused_before_the_run_begins(limit: str, desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted([cell("FINAL('x')")])
            d.use(model)
            with pytest.raises(BudgetSpent, match=f"max_{limit} is 0"):
                await d.workspace.run_query("What is it?", budget={limit: 0})
            assert not model.requests
            assert not list((d.workspace.state_folder / "runs").glob("*.jsonl"))

    run(go())


@pytest.mark.parametrize(
    ("price", "begins"), [(PRICED, False), (None, False), (Price(0, 0, 0, 0, ""), True)]
)
def test_a_budget_of_no_dollars_lets_only_a_free_model_begin(
    price: Price | None, begins: bool, desk: Desks
) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted([cell("print(repo)"), cell("FINAL('x')")], price=price)
            d.use(model)
            if begins:
                result = await d.workspace.run_query(
                    "What is it?", mode="environment", budget={"usd": 0}
                )
                assert result.status == "complete"
                return
            with pytest.raises(BudgetSpent, match="max_usd is 0"):
                await d.workspace.run_query("What is it?", mode="environment", budget={"usd": 0})
            assert not model.requests

    run(go())


@pytest.mark.parametrize("place", ["model", "sub_model"])
def test_a_model_without_a_key_is_named_before_anything_is_sent(
    place: str, desk: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    async def go() -> None:
        async with desk() as d:
            other = Fake(replies=["x"])
            d.workspace.services.loaded_models["keyless"] = Anthropic("haiku")
            d.workspace.services.loaded_models["other"] = other
            names = {"model": "other", "sub_model": "other", place: "keyless"}
            with pytest.raises(BadRequest, match=f"The {place} anthropic:.*ANTHROPIC_API_KEY"):
                await d.workspace.run_query("What is it?", **names)  # type: ignore[arg-type]
            assert not other.requests

    run(go())


def test_a_child_run_with_a_limit_of_nothing_is_a_failure_that_code_can_see(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            code = (
                "try:\n    rlm_query('q', max_calls=0)\nexcept Exception as e:\n    FINAL(str(e))"
            )
            d.use(scripted([cell("print(repo)"), cell(code)]))
            result = await d.workspace.run_query("What is it?", mode="recursive")
            assert "max_calls is 0" in result.answer

    run(go())


def test_no_errors_allowed_means_that_the_first_failed_cell_ends_it(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([cell("print(repo)"), cell("1 / 0"), cell("answer['content'] = 'x'")]))
            result = await d.workspace.run_query("What?", mode="environment", budget={"errors": 0})
            assert (result.status, result.answer) == ("forced", "x")
            assert "1 cell in a row failed" in result.reason

    run(go())
