"""When a call is sent again, and when not."""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise

import pytest

from rlm_mcp.errors import ModelError
from rlm_mcp.models import retry
from rlm_mcp.models.http_errors import parse_retry_after
from rlm_mcp.models.model import ModelReply, TokenUsage
from rlm_mcp.models.retry import Retry

FINE = ModelReply("fine", TokenUsage(1, 1), "m", 0.0)


def failing(kind: str, **changes: object) -> ModelError:
    retryable = bool(changes.pop("retryable", True))
    return ModelError(kind, kind=kind, retryable=retryable, **changes)  # type: ignore[arg-type]


def sender(
    steps: Sequence[ModelError | ModelReply],
) -> tuple[Callable[[], Awaitable[ModelReply]], list[float]]:
    left, sent = list(steps), []

    async def send() -> ModelReply:
        sent.append(time.monotonic())
        step = left.pop(0)
        if isinstance(step, ModelError):
            raise step
        return step

    return send, sent


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)


def run(
    tries: Retry, steps: Sequence[ModelError | ModelReply]
) -> tuple[ModelReply | ModelError, int]:
    send, sent = sender(steps)
    try:
        return asyncio.run(tries.send_with_retry(send, 10.0)), len(sent)
    except ModelError as error:
        return error, len(sent)


@pytest.mark.parametrize("kind", ["rate", "overloaded", "server"])
def test_what_failed_before_a_reply_is_sent_again(kind: str) -> None:
    reply, sent = run(Retry(), [failing(kind), failing(kind), FINE])
    assert isinstance(reply, ModelReply)
    assert (reply.attempts, sent) == (3, 3)


@pytest.mark.parametrize("kind", ["network", "timeout", "malformed", "auth", "refused", "too_long"])
def test_what_may_have_been_paid_or_cannot_help_is_sent_once(kind: str) -> None:
    error, sent = run(Retry(), [failing(kind), FINE])
    assert isinstance(error, ModelError)
    assert (error.attempts, sent) == (1, 1)


def test_a_connection_that_could_not_be_made_is_tried_again_and_not_counted() -> None:
    reply, tried = run(Retry(), [failing("network", attempts=0), FINE])
    assert isinstance(reply, ModelReply)
    assert (reply.attempts, tried) == (1, 2)


def test_what_was_not_sent_and_cannot_help_is_not_tried_again() -> None:
    error, tried = run(Retry(), [failing("auth", attempts=0, retryable=False), FINE])
    assert isinstance(error, ModelError)
    assert (error.attempts, tried) == (0, 1)


def test_tries_are_bounded() -> None:
    error, sent = run(Retry(), [failing("server", retry_after_s=0.0)] * 50)
    assert isinstance(error, ModelError)
    assert error.attempts == sent == retry.MAX_ATTEMPTS


def test_a_limit_that_lasts_longer_than_the_call_may_is_told_and_nothing_more_is_sent() -> None:
    tries = Retry()
    error, sent = run(tries, [failing("rate", retry_after_s=3_600.0), FINE])
    assert isinstance(error, ModelError)
    assert (error.kind, error.attempts, sent) == ("rate", 1, 1)
    error, sent = run(tries, [FINE])
    assert isinstance(error, ModelError)
    assert (error.kind, error.attempts, sent) == ("rate", 0, 0)


class Hours:
    """A clock that only waiting moves on; who wakes first goes first."""

    def __init__(self) -> None:
        self.now = 0.0
        self._asleep: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    async def sleep(self, seconds: float) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._asleep, (self.now + seconds, self._count, done))
        await done

    async def turn_over(self) -> None:
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            if self._asleep:
                self.now, _, done = heapq.heappop(self._asleep)
                done.set_result(None)


@pytest.mark.parametrize("told", [45.0, None])
@pytest.mark.parametrize("room", [20, 40, 63])
def test_a_window_of_a_minute_is_waited_out_and_all_are_answered(
    room: int, told: float | None
) -> None:
    async def go() -> None:
        hours = Hours()
        tries = Retry(clock=lambda: hours.now, sleep=hours.sleep, jitter=random.Random(1))
        window, used, wasted, answered = 0, 0, 0, 0
        lane = asyncio.Semaphore(8)
        said: list[str] = []
        retry.TELL_WAIT.set(said.append)

        async def send() -> ModelReply:
            nonlocal window, used, wasted
            if int(hours.now // 60) != window:
                window, used = int(hours.now // 60), 0
            if used >= room:
                wasted += 1
                raise failing("rate", retry_after_s=told)
            used += 1
            await hours.sleep(1.0)
            return FINE

        async def one() -> None:
            nonlocal answered
            async with lane:
                await tries.send_with_retry(send, 10.0, 900.0)
                answered += 1

        clock = asyncio.create_task(hours.turn_over())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(64):
                tasks.create_task(one())
        clock.cancel()
        assert answered == 64
        assert wasted <= (10 if told else 64)
        assert any(text.startswith("waiting for the provider's limit, ") for text in said)

    asyncio.run(go())


def test_after_failures_in_a_row_each_call_is_sent_once_until_one_succeeds() -> None:
    tries = Retry()
    run(tries, [failing("server")] * 50)
    assert run(tries, [failing("server"), FINE])[1] == 1
    assert run(tries, [FINE])[1] == 1
    assert run(tries, [failing("server"), FINE])[1] == 2


def test_waits_grow_and_carry_jitter() -> None:
    waits = []
    for seed in (1, 2):
        send, sent = sender([failing("server")] * 3 + [FINE])
        asyncio.run(Retry(jitter=random.Random(seed)).send_with_retry(send, 10.0))
        waits.append([later - sooner for sooner, later in pairwise(sent)])
    assert all(wait >= 0.005 * 2**n for each in waits for n, wait in enumerate(each))
    assert waits[0] != waits[1]


def test_the_time_limit_holds_over_all_tries() -> None:
    send, _ = sender([failing("rate", retry_after_s=20.0), FINE])
    with pytest.raises(ModelError) as caught:
        asyncio.run(Retry().send_with_retry(send, 0.2))
    assert (caught.value.kind, caught.value.attempts) == ("rate", 1)


def test_a_wish_may_be_a_date_and_nonsense_is_none() -> None:
    assert parse_retry_after("Wed, 21 Oct 2099 07:28:00 GMT") > 1e9  # type: ignore[operator]
    assert [parse_retry_after(text) for text in ("2", "-5", "Wed, 21 Oct 2015 07:28:00 GMT")] == [
        2,
        0,
        0,
    ]
    assert [parse_retry_after(text) for text in (None, "soon", "nan", "")] == [None] * 4
