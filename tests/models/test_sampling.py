"""A model lent by the client."""

from __future__ import annotations

import asyncio

import pytest

from rlm_mcp.errors import ModelError
from rlm_mcp.models import sampling
from rlm_mcp.models.model import Message, Request
from rlm_mcp.models.sampling import Sampled, Sampling, lend

REQUEST = Request([Message("user", "hello")], timeout_s=0.2)


def complete() -> object:
    return asyncio.run(Sampling().complete(REQUEST))


async def ask(request: Request) -> Sampled:
    return Sampled(f"said {request.messages[0].text}", "theirs")


def test_a_lent_model_answers_without_a_known_cost() -> None:
    with lend(ask):
        reply = asyncio.run(Sampling().complete(REQUEST))
    assert (reply.text, reply.model, reply.cost_usd) == ("said hello", "theirs", None)
    assert reply.usage.input > 0


def test_without_a_client_that_lends_there_is_one_sentence() -> None:
    with lend(ask):
        assert sampling.offered()
    assert not sampling.offered()
    with pytest.raises(ModelError) as caught:
        complete()
    assert (caught.value.kind, caught.value.attempts) == ("auth", 0)


def test_a_client_that_refuses_is_typed() -> None:
    async def refuse(request: Request) -> Sampled:
        raise RuntimeError("the user said no")

    with lend(refuse), pytest.raises(ModelError, match="the user said no") as caught:
        complete()
    assert caught.value.kind == "refused"


def test_a_silent_client_meets_the_time_limit() -> None:
    async def silent(request: Request) -> Sampled:
        await asyncio.sleep(60)
        raise AssertionError

    with lend(silent), pytest.raises(ModelError) as caught:
        complete()
    assert caught.value.kind == "timeout"
