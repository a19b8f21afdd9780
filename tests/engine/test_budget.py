"""Budgets: nothing is ever overspent, whatever runs at once."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlm_mcp.engine.budget import (
    NANO,
    Allowance,
    Budget,
    BudgetHold,
    DailySpend,
    WorstCase,
    to_nano,
    worst_case,
)
from rlm_mcp.errors import BudgetSpent
from rlm_mcp.models.model import Price, TokenUsage
from tests.engine.conftest import run

PRICE = Price(3.0, 15.0, 0.3, 3.75, "2026-11-01")


def test_a_hold_reserves_the_dearest_case() -> None:
    need = worst_case(PRICE, 1_000_000, 1_000)
    assert need.usd_nano == to_nano(3.75 + 0.015)


def test_an_unknown_price_reserves_no_money_and_is_counted() -> None:
    budget = Budget(Allowance(usd=0.0))
    hold = budget.try_hold(worst_case(None, 100, 100))
    assert hold is not None
    hold.settle_call(TokenUsage(10, 10), None)
    assert budget.unpriced == 1
    assert "1 call without a known price" in budget.left_text()


@pytest.mark.parametrize(
    ("allowance", "limit"),
    [
        (Allowance(usd=0.001), "usd"),
        (Allowance(calls=0), "calls"),
        (Allowance(input_tokens=99), "input_tokens"),
        (Allowance(output_tokens=99), "output_tokens"),
        (Allowance(seconds=0), "seconds"),
    ],
)
def test_each_limit_refuses_before_anything_is_spent(allowance: Allowance, limit: str) -> None:
    budget = Budget(allowance)
    with pytest.raises(BudgetSpent) as caught:
        budget.try_hold(worst_case(PRICE, 1_000, 100))
    assert caught.value.limit == limit
    assert f"max_{limit}" in str(caught.value)
    assert budget.spent.calls == budget.held.calls == 0


def test_a_child_draws_from_all_above_it() -> None:
    top = Budget(Allowance(calls=3))
    child = top.child_budget(calls=100).child_budget(calls=100)
    for _ in range(3):
        hold = child.try_hold(WorstCase(0, 0, 0))
        assert hold is not None
        hold.settle_call(TokenUsage(), 0.0)
    with pytest.raises(BudgetSpent, match="calls"):
        child.try_hold(WorstCase(0, 0, 0))
    assert top.spent.calls == 3


def test_depth_is_refused_below_its_limit() -> None:
    budget = Budget(Allowance(depth=2))
    with pytest.raises(BudgetSpent) as caught:
        budget.child_budget().child_budget().child_budget()
    assert caught.value.limit == "depth"


def test_limits_only_ever_fall() -> None:
    assert Allowance(calls=5).with_limits(calls=100, usd=0.5) == Allowance(calls=5, usd=0.5)
    assert Budget(Allowance(usd=1)).child_budget(usd=50.0).allowance.usd == 1


def test_turns_are_counted_and_end() -> None:
    budget = Budget(Allowance(iterations=2))
    budget.take_turn()
    budget.take_turn()
    with pytest.raises(BudgetSpent) as caught:
        budget.take_turn()
    assert caught.value.limit == "iterations"


def test_a_hold_that_fits_later_waits_for_the_calls_in_flight() -> None:
    async def go() -> None:
        budget = Budget(Allowance(usd=1.0))
        first = budget.try_hold(WorstCase(NANO, 1, 1))
        assert first is not None
        waiting = asyncio.create_task(budget.wait_hold(WorstCase(NANO // 2, 1, 1)))
        await asyncio.sleep(0)
        assert not waiting.done()
        first.settle_call(TokenUsage(1, 1), 0.1)
        assert (await waiting).open

    run(go())


def test_the_clock_counts_for_children_as_well() -> None:
    now = [0.0]
    child = Budget(Allowance(seconds=10), clock=lambda: now[0]).child_budget(seconds=100.0)
    assert (child.seconds_left(), child.seconds_to_work()) == (10, 9)
    now[0] = 11
    with pytest.raises(BudgetSpent, match="max_seconds"):
        child.try_hold(WorstCase(0, 0, 0))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    usd=st.floats(0, 0.5),
    calls=st.integers(0, 40),
    width=st.integers(1, 12),
    children=st.integers(0, 4),
)
def test_no_schedule_overspends(
    seed: int, usd: float, calls: int, width: int, children: int
) -> None:
    """Whatever order calls begin and end in, sums stay within every limit above them."""
    chance = random.Random(seed)
    allowance = Allowance(usd=usd, calls=calls, input_tokens=20_000, output_tokens=9_000)
    top = Budget(allowance)
    budgets = [top]
    for _ in range(children):
        parent = chance.choice([b for b in budgets if b.allowance.depth > 0] or [None])
        if parent is not None:
            budgets.append(
                parent.child_budget(usd=chance.uniform(0, 0.5), calls=chance.randrange(30))
            )

    def check() -> None:
        for budget in budgets:
            a, s, h = budget.allowance, budget.spent, budget.held
            assert s.usd_nano + h.usd_nano <= a.usd * NANO
            assert s.calls + h.calls <= a.calls
            assert s.input_tokens + h.input_tokens <= a.input_tokens
            assert s.output_tokens + h.output_tokens <= a.output_tokens
            assert min(h.usd_nano, h.calls, h.input_tokens, h.output_tokens) >= 0

    async def call(budget: Budget) -> None:
        need = worst_case(PRICE, chance.randrange(2_000), chance.randrange(1, 1_000))
        try:
            hold = await budget.wait_hold(need)
        except BudgetSpent:
            return
        check()
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        end(hold, need)
        check()

    def end(hold: BudgetHold, need: WorstCase) -> None:
        way = chance.randrange(4)
        if way == 0:
            hold.release_hold()
        elif way == 1:
            hold.forfeit_hold()
        else:
            usage = TokenUsage(
                chance.randint(0, need.input_tokens), chance.randint(0, need.output_tokens)
            )
            hold.settle_call(usage, PRICE.cost_usd(usage))

    async def worker() -> None:
        for _ in range(12):
            await call(chance.choice(budgets))

    async def go() -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(width):
                tasks.create_task(worker())

    run(go())
    check()
    assert all(budget.held.calls == 0 for budget in budgets)


def test_the_day_is_shared_by_all_who_open_its_file(tmp_path: Path) -> None:
    one, other = (
        DailySpend(tmp_path / "spend.sqlite", 1.0),
        DailySpend(tmp_path / "spend.sqlite", 1.0),
    )
    with one.db:
        day = one.hold_nano(NANO * 6 // 10)
    with pytest.raises(BudgetSpent, match="max_usd_day"), other.db:
        other.hold_nano(NANO * 6 // 10)
    with one.db:
        one.settle_nano(day, NANO * 6 // 10, NANO // 10)
    with other.db:
        other.hold_nano(NANO * 6 // 10)
    assert one.spent_usd() == pytest.approx(0.7)
    one.db.close()
    other.db.close()
