"""A model lent by the client."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from rlm_mcp.errors import ModelError
from rlm_mcp.models import sampling
from rlm_mcp.models.model import ChatMessage, ModelRequest
from rlm_mcp.models.sampling import SampledReply, Sampling, lend_client

REQUEST = ModelRequest([ChatMessage("user", "hello")], timeout_s=0.2)


def complete() -> object:
    return asyncio.run(Sampling().complete(REQUEST))


async def ask(request: ModelRequest) -> SampledReply:
    return SampledReply(f"said {request.messages[0].text}", "theirs")


def test_a_lent_model_answers_without_a_known_cost() -> None:
    with lend_client(ask):
        reply = asyncio.run(Sampling().complete(REQUEST))
    assert (reply.text, reply.model, reply.cost_usd) == ("said hello", "theirs", None)
    assert reply.usage.input > 0


def test_without_a_client_that_lends_there_is_one_sentence() -> None:
    with lend_client(ask):
        assert sampling.is_offered()
    assert not sampling.is_offered()
    with pytest.raises(ModelError) as caught:
        complete()
    assert (caught.value.kind, caught.value.attempts) == ("auth", 0)


def test_a_client_that_refuses_is_typed() -> None:
    async def refuse(request: ModelRequest) -> SampledReply:
        raise RuntimeError("the user said no")

    with lend_client(refuse), pytest.raises(ModelError, match="the user said no") as caught:
        complete()
    assert caught.value.kind == "refused"


def test_a_silent_client_meets_the_time_limit() -> None:
    async def silent(request: ModelRequest) -> SampledReply:
        await asyncio.sleep(60)
        raise AssertionError

    with lend_client(silent), pytest.raises(ModelError) as caught:
        complete()
    assert caught.value.kind == "timeout"


def test_a_call_goes_to_the_client_that_it_came_from_and_to_no_other() -> None:
    async def serve(name: str, both: asyncio.Barrier) -> str:
        async def own(request: ModelRequest) -> SampledReply:
            return SampledReply(name, name)

        with lend_client(own):
            await both.wait()
            reply = await asyncio.create_task(Sampling().complete(REQUEST))
            await both.wait()
            return reply.text

    async def two() -> list[str]:
        both = asyncio.Barrier(2)
        return list(await asyncio.gather(serve("a", both), serve("b", both)))

    assert asyncio.run(two()) == ["a", "b"]


def test_a_call_without_a_client_of_its_own_is_not_given_to_one_of_several() -> None:
    fresh = contextvars.Context()
    with lend_client(ask):
        assert fresh.run(complete) is not None, "the only client that lends"
        with lend_client(ask), pytest.raises(ModelError, match="Several clients"):
            fresh.run(complete)


def test_a_run_that_outlives_its_client_is_told_so() -> None:
    async def late() -> None:
        with lend_client(ask):
            task = asyncio.create_task(later())
        await task

    async def later() -> None:
        await asyncio.sleep(0.01)
        await Sampling().complete(REQUEST)

    async def other(request: ModelRequest) -> SampledReply:
        return SampledReply("theirs", "other")

    with lend_client(other), pytest.raises(ModelError, match="lends no model"):
        asyncio.run(late())
