"""Fan-outs: order, duplicates, width, failures, warming, the breaker and the cache."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp import redact
from rlm_mcp.engine import json_schema, sub_calls
from rlm_mcp.engine.budget import Allowance, Budget, DailySpend
from rlm_mcp.engine.cache import ReplyCache
from rlm_mcp.engine.calls import Account, Answer, FailedCall, ModelCalls
from rlm_mcp.engine.concurrency import Breaker
from rlm_mcp.errors import BudgetSpent, ModelError
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelReply, ModelRequest, Price, TokenUsage
from rlm_mcp.models.retry import Retry
from tests.engine.conftest import run

PRICE = Price(1.0, 5.0, 0.1, 1.25, "2026-11-01")


@asynccontextmanager
async def calls(folder: Path, width: int = 16, day_usd: float = 20.0) -> AsyncIterator[ModelCalls]:
    made = ModelCalls(
        ReplyCache(folder / "a.sqlite"),
        DailySpend(folder / "s.sqlite", day_usd),
        width,
    )
    try:
        yield made
    finally:
        await made.close()


def account(events: list[dict[str, Any]] | None = None, k: int = 5, **limits: Any) -> Account:
    def record(type: str, **data: Any) -> None:
        if events is not None:
            events.append({"type": type, **data})

    return Account(Budget(Allowance(**limits)), Breaker(k), record)


def echo(request: ModelRequest) -> str:
    return request.messages[-1].text.partition("\n")[0].upper()


def plain(*prompts: str, **more: Any) -> list[Any]:
    return sub_calls.prompt_calls(prompts, "sub", "", more.get("schema"))


def texts(got: list[Answer | FailedCall]) -> list[Any]:
    return [item.value if isinstance(item, Answer) else item.kind for item in got]


def test_answers_keep_the_order_and_duplicates_are_asked_once(tmp_path: Path) -> None:
    async def go() -> None:
        async def reply(request: ModelRequest) -> str:
            await asyncio.sleep(0.02 if "a" in request.messages[-1].text else 0)
            return echo(request)

        model = Fake(replies=reply)
        async with calls(tmp_path) as c:
            got = await c.answer_all(model, plain("a", "b", "a", "c"), account())
            assert texts(got) == ["A", "B", "A", "C"]
            assert len(model.requests) == 3

    run(go())


@pytest.mark.parametrize("width", [1, 3, 16])
def test_no_more_calls_are_in_flight_than_the_width(tmp_path: Path, width: int) -> None:
    async def go() -> None:
        model = Fake(replies=echo, latency_s=0.01)
        async with calls(tmp_path, width) as c:
            await c.answer_all(model, plain(*map(str, range(40))), account())
            assert model.peak <= width
            await c.answer_all(model, plain(*map(str, range(100, 140))), account())
            assert model.peak <= width

    run(go())


def test_a_model_that_has_answered_gets_the_whole_width(tmp_path: Path) -> None:
    async def go() -> None:
        model = Fake(replies=echo, latency_s=0.5)
        async with calls(tmp_path, 64) as c:
            who = account()
            await c.answer_all(model, plain("first"), who)
            await c.answer_all(model, plain(*map(str, range(64))), who)
            assert model.peak == 64

    run(go())


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("answered_before", [False, True])
def test_a_dead_provider_is_sent_at_most_2k_calls(
    tmp_path: Path, k: int, answered_before: bool
) -> None:
    async def go() -> None:
        dead = False

        def reply(request: ModelRequest) -> str | ModelError:
            return ModelError("down", kind="server", retryable=True) if dead else "ok"

        model = Fake(replies=reply)
        async with calls(tmp_path, 64) as c:
            who = account(k=k)
            if answered_before:
                await c.answer_all(model, plain("hello"), who)
            dead, sent = True, len(model.requests)
            got = await c.answer_all(model, plain(*map(str, range(64))), who)
            assert all(isinstance(item, FailedCall) for item in got)
            assert len(model.requests) - sent <= 2 * k
            assert who.breaker.reason
            with pytest.raises(ModelError, match="in a row failed"):
                await c.get_reply(model, plain("more")[0].request, who)

    run(go())


@pytest.mark.parametrize("kind", ["server", "network", "auth"])
@pytest.mark.parametrize("k", [2, 5, 8])
@pytest.mark.parametrize("when", range(12))
def test_a_slow_provider_that_dies_in_a_fan_out_is_sent_at_most_2k_calls(
    tmp_path: Path, kind: str, k: int, when: int
) -> None:
    async def go() -> None:
        chance = random.Random(f"{kind} {k} {when}")
        left, dead = when * 3, 0

        async def send() -> ModelReply:
            nonlocal left, dead
            await asyncio.sleep(chance.uniform(0.2, 0.3) / 10)
            left -= 1
            if left >= -1:
                return ModelReply("ok", TokenUsage(1, 1), "m", 0.0)
            dead += 1
            raise ModelError("down", kind=kind, retryable=True, spent_usd=0.0)

        tries = Retry()

        async def reply(request: ModelRequest) -> str:
            return (await tries.send_with_retry(send, 60.0)).text

        model = Fake(replies=reply)
        async with calls(tmp_path, 2 * k) as c:
            who = account(k=k)
            await c.answer_all(model, plain("hello"), who)
            await c.answer_all(model, plain(*map(str, range(64))), who)
            assert who.breaker.reason
            assert k <= dead <= 2 * k

    run(go())


def test_a_wave_that_is_told_to_wait_is_sent_again_one_by_one_and_opens_nothing(
    tmp_path: Path,
) -> None:
    async def go() -> None:
        told, flying, again = 0, 0, 0

        async def send() -> ModelReply:
            nonlocal told, flying, again
            flying += 1
            await asyncio.sleep(0.2 if told < 17 else 0.02)
            flying -= 1
            told += 1
            if told in range(2, 18):
                raise ModelError("wait", kind="rate", retryable=True, retry_after_s=0.05)
            again = max(again, flying) if told == 18 else again
            return ModelReply("ok", TokenUsage(1, 1), "m", 0.0)

        tries = Retry()

        async def reply(request: ModelRequest) -> str:
            return (await tries.send_with_retry(send, 60.0)).text

        model = Fake(replies=reply)
        async with calls(tmp_path) as c:
            who = account(k=8)
            await c.answer_all(model, plain("hello"), who)
            got = await c.answer_all(model, plain(*map(str, range(16))), who)
            assert texts(got) == ["ok"] * 16
            assert again == 0
            assert told == 33

    run(go())


def test_refusals_and_cut_replies_do_not_open_the_breaker(tmp_path: Path) -> None:
    async def go() -> None:
        model = Fake(replies=lambda r: ModelReply("cut", TokenUsage(1, 1), "m", 0.0, "max_tokens"))
        async with calls(tmp_path) as c:
            who = account(k=2)
            got = await c.answer_all(model, plain(*"abcdef"), who)
            assert texts(got) == ["truncated"] * 6
            assert not who.breaker.reason

    run(go())


def test_too_many_narrows_the_lane(tmp_path: Path) -> None:
    async def go() -> None:
        async def reply(request: ModelRequest) -> str | ModelError:
            await asyncio.sleep(0.005)
            if model._active > 4:
                return ModelError("slow down", kind="rate", retryable=True)
            return "ok"

        model = Fake(replies=reply)
        async with calls(tmp_path, 16) as c:
            who = account(k=1000)
            await c.answer_all(model, plain("hello"), who)
            await c.answer_all(model, plain(*map(str, range(32))), who)
            model.peak = 0
            await c.answer_all(model, plain(*map(str, range(50, 66))), who)
            assert model.peak <= 9

    run(go())


def test_a_stored_reply_is_used_and_costs_nothing(tmp_path: Path) -> None:
    async def go() -> None:
        model = Fake(replies=echo, price=PRICE)
        events: list[dict[str, Any]] = []
        async with calls(tmp_path) as c:
            await c.answer_all(model, plain("a"), account())
            who = account(events)
            await c.answer_all(model, plain("a"), who)
            assert len(model.requests) == 1
            assert (who.cached, who.cost_usd, events[0]["cached"]) == (1, 0.0, True)

    run(go())


def test_prompts_that_share_a_beginning_are_warmed_by_one_call(tmp_path: Path) -> None:
    async def go() -> None:
        begun: list[int] = []

        async def reply(request: ModelRequest) -> str:
            begun.append(model._active)
            await asyncio.sleep(0.01)
            return "ok"

        model = Fake(replies=reply)
        shared = "\n".join(f"line {n} of a long text" for n in range(400)) + "\n"
        async with calls(tmp_path) as c:
            await c.answer_all(
                model, plain(*(f"{shared}question {n}" for n in range(5))), account()
            )
        assert begun[0] == 1 and begun[1] == 1, "the first went alone"
        heads = {request.messages[0].text for request in model.requests}
        assert len(heads) == 1 and all(r.messages[0].cache for r in model.requests)

    run(go())


def test_several_prompts_about_one_part_put_the_part_first(tmp_path: Path) -> None:
    part = sub_calls.PromptPart("repo:a.py", "code\n" * 2_000)
    asks = sub_calls.part_calls(["q1", "q2"], [part], "sub", "the whole question", None)
    assert [ask.part for ask in asks] == ["repo:a.py (1)", "repo:a.py (2)"]
    first, second = (ask.request.messages for ask in asks)
    assert first[0] == second[0] and first[0].cache and 'ref="repo:a.py"' in first[0].text
    assert "q1" in first[1].text
    system = asks[0].request.system
    assert system == "sub\n\n<background>\nthe whole question\n</background>"
    long = sub_calls.prompt_calls(["q"], "sub", "x" * 5_000, None)[0].request.system
    assert len(long) < 700 and long.endswith("x [...]\n</background>")


def test_a_reply_that_does_not_fit_its_schema_is_sent_back_once(tmp_path: Path) -> None:
    wanted = json_schema.parse_schema('{"type": "array", "items": {"type": "integer"}}')

    async def go(replies: list[str]) -> tuple[list[Any], Fake]:
        model = Fake(replies=replies)
        async with calls(tmp_path) as c:
            got = await c.answer_all(model, plain("count", schema=wanted), account())
            return texts(got), model

    got, model = run(go(["one, two", "[1, 2]"]))
    assert got == [[1, 2]]
    assert "not JSON" in model.requests[1].messages[-1].text


def test_a_reply_that_never_fits_is_a_typed_failure(tmp_path: Path) -> None:
    wanted = json_schema.parse_schema('{"type": "integer"}')

    async def go() -> None:
        async with calls(tmp_path) as c:
            got = await c.answer_all(Fake(replies=["x", "y"]), plain("n", schema=wanted), account())
            assert isinstance(got[0], FailedCall) and got[0].kind == "malformed"
            assert "twice" in got[0].reason

    run(go())


def test_what_the_budget_refuses_is_a_typed_failure_and_is_never_sent(tmp_path: Path) -> None:
    async def go() -> None:
        model = Fake(replies=echo)
        async with calls(tmp_path) as c:
            who = account(calls=3)
            got = await c.answer_all(model, plain(*"abcde"), who)
            assert texts(got).count("budget") == 2
            assert len(model.requests) == 3 == who.budget.spent.calls

    run(go())


def test_spending_never_passes_the_cap_though_worst_cases_do(tmp_path: Path) -> None:
    async def go() -> None:
        usage = TokenUsage(100, 100)
        model = Fake(replies=echo, price=PRICE, usage=usage, latency_s=0.002)
        async with calls(tmp_path, 64) as c:
            who = account(usd=0.08)
            got = await c.answer_all(model, plain(*map(str, range(60))), who)
            assert all(isinstance(item, Answer) for item in got), "it waited instead of refusing"
            assert who.cost_usd is not None and who.cost_usd <= 0.08
            assert model.peak <= 3

    run(go())


def test_the_day_is_a_limit_over_all_runs(tmp_path: Path) -> None:
    async def go() -> None:
        model = Fake(replies=echo, price=PRICE, usage=TokenUsage(0, 4_000))
        async with calls(tmp_path, day_usd=0.05) as c:
            await c.answer_all(model, plain("a"), account())
            await c.answer_all(model, plain("b"), account())
            with pytest.raises(BudgetSpent, match="max_usd_day"):
                await c.get_reply(model, plain("c")[0].request, account())
            assert await c.spent_today() == pytest.approx(0.04)

    run(go())


@pytest.mark.parametrize(
    ("failure", "charged"),
    [
        (lambda: ModelError("x", kind="rate"), False),
        (lambda: ModelError("x", kind="timeout", spent_usd=None), True),
        (lambda: ModelError("x", kind="malformed", spent_usd=0.01), True),
        (lambda: ModelError("x", kind="network", attempts=0), False),
    ],
)
def test_a_failure_is_charged_where_it_may_be_billed(
    tmp_path: Path, failure: Callable[[], ModelError], charged: bool
) -> None:
    class Failing(Fake):
        async def complete(self, request: ModelRequest) -> ModelReply:
            raise failure()

    async def go() -> None:
        async with calls(tmp_path) as c:
            who = account()
            await c.answer_all(Failing(price=PRICE), plain("a"), who)
            assert (who.budget.spent.usd_nano > 0) == charged
            assert who.budget.held.calls == 0

    run(go())


def test_a_cancelled_call_is_charged_and_nothing_stays_held(tmp_path: Path) -> None:
    async def go() -> None:
        model = Fake(replies=echo, price=PRICE, latency_s=30)
        async with calls(tmp_path) as c:
            who = account()
            task = asyncio.create_task(c.answer_all(model, plain("a", "b"), who))
            while model._active < 2:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert who.budget.held.usd_nano == 0
            assert who.budget.spent.usd_nano > 0

    run(go())


def test_secrets_reach_neither_model_nor_cache_nor_record(tmp_path: Path) -> None:
    key = "AKIA" + "Q3EGFXZ4L7TNVW2B"
    assert redact.redact(f"key {key}") != f"key {key}", "a form that is known"

    async def go() -> None:
        events: list[dict[str, Any]] = []
        model = Fake(replies=lambda request: f"it is {key}")
        async with calls(tmp_path) as c:
            got = await c.answer_all(model, plain(f"what is {key}?"), account(events))
            assert key not in texts(got)[0]
        assert key not in str(model.requests) and key not in str(events)
        for path in tmp_path.iterdir():
            assert key.encode() not in path.read_bytes()

    run(go())
