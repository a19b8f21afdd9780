"""The Anthropic provider, through the real SDK and real HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from rlm_mcp.errors import ModelError
from rlm_mcp.models import retry
from rlm_mcp.models.anthropic import STREAM_OVER_TOKENS, Anthropic
from rlm_mcp.models.model import ChatMessage, ModelReply, ModelRequest, TokenUsage
from tests.models.conftest import point, sentence
from tests.sim.call import Call, Refused, Say
from tests.sim.faults import Fault, FaultKind
from tests.sim.server import SimServer

T = TypeVar("T")
LONG = "All of this is context that several calls share. " * 120


def with_model(work: Callable[[Anthropic], Awaitable[T]], name: str = "haiku") -> T:
    """Run `work` on a fresh model in a loop of its own, and close its connections."""

    async def run() -> T:
        model = Anthropic(name)
        try:
            return await work(model)
        finally:
            await model.close()

    return asyncio.run(run())


def ask(text: str = "hello", **changes: object) -> ModelReply:
    """Make one call with a fresh model."""
    request = ModelRequest([ChatMessage("user", text)], **changes)  # type: ignore[arg-type]
    return with_model(lambda model: model.complete(request))


def failure(text: str = "hello", **changes: object) -> ModelError:
    """Make one call that is to fail, and return how it did."""
    with pytest.raises(ModelError) as caught:
        ask(text, **changes)
    return sentence(caught.value)


def test_a_reply_carries_text_usage_model_and_list_price(sim: SimServer) -> None:
    reply = ask("hello there")
    assert reply.text == "I was sent: hello there"
    assert (reply.usage.input, reply.usage.output) == (3, 6)
    assert reply.model == "claude-haiku-5-5"
    assert reply.cost_usd == pytest.approx((3 * 0.10 + 6 * 0.50) / 1e6)
    assert (reply.stop, reply.attempts) == ("end", 1)


def test_a_model_without_a_known_price_has_no_cost(sim: SimServer) -> None:
    request = ModelRequest([ChatMessage("user", "hello")])
    reply = with_model(lambda model: model.complete(request), "sim-leaf:echo")
    assert reply.cost_usd is None


def test_the_system_text_and_marked_messages_are_marked_for_caching(sim: SimServer) -> None:
    messages = [
        ChatMessage("user", "one", cache=True),
        ChatMessage("assistant", "two"),
        ChatMessage("user", "three", cache=True),
    ]
    with_model(lambda model: model.complete(ModelRequest(messages, system="rules")))
    body = sim.calls[0].body
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    marked = ["cache_control" in message["content"][0] for message in body["messages"]]
    assert marked == [True, False, True]


def test_no_more_marks_are_sent_than_the_service_takes(sim: SimServer) -> None:
    messages = [
        ChatMessage("user" if n % 2 == 0 else "assistant", f"turn {n}", cache=True)
        for n in range(9)
    ]
    with_model(lambda model: model.complete(ModelRequest(messages, system="rules")))
    marked = ["cache_control" in message["content"][0] for message in sim.calls[0].body["messages"]]
    assert marked == [False] * 6 + [True] * 3


def test_a_shared_prefix_is_read_from_the_cache_and_costs_less(sim: SimServer) -> None:
    def request(question: str) -> ModelRequest:
        return ModelRequest([ChatMessage("user", LONG, cache=True), ChatMessage("user", question)])

    async def work(model: Anthropic) -> tuple[ModelReply, ModelReply]:
        return await model.complete(request("first?")), await model.complete(request("second?"))

    first, second = with_model(work)
    assert first.usage.cache_write > 1_024 and first.usage.cache_read == 0
    assert second.usage.cache_read == first.usage.cache_write
    assert second.cost_usd is not None and first.cost_usd is not None
    assert second.cost_usd < first.cost_usd / 3


def test_a_temperature_is_sent_only_to_models_that_take_one(sim: SimServer) -> None:
    request = ModelRequest([ChatMessage("user", "hello")], temperature=0.0)
    with_model(lambda model: model.complete(request), "claude-haiku-5-5")
    with_model(lambda model: model.complete(request), "claude-haiku-4-5")
    assert "temperature" not in sim.calls[0].body
    assert sim.calls[1].body["temperature"] == 0.0


def test_a_large_reply_is_streamed_and_a_small_one_is_not(sim: SimServer) -> None:
    assert ask(max_tokens=STREAM_OVER_TOKENS).text == ask(max_tokens=STREAM_OVER_TOKENS + 1).text
    assert [bool(call.body.get("stream")) for call in sim.calls] == [False, True]


@pytest.mark.parametrize("max_tokens", [2, STREAM_OVER_TOKENS + 1])
def test_a_cut_reply_says_so(monkeypatch: pytest.MonkeyPatch, max_tokens: int) -> None:
    def mind(call: Call) -> Say:
        return Say("x" * 4 * (call.max_tokens + 5))

    with SimServer(mind) as server:
        point(monkeypatch, server)
        reply = ask(max_tokens=max_tokens)
    assert reply.stop == "max_tokens"
    assert reply.usage.output == max_tokens


def test_a_refusal_is_no_ordinary_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimServer([Say("I will not.", stop="refusal")]) as server:
        point(monkeypatch, server)
        assert ask().stop == "refused"


def test_thinking_is_left_out_of_the_text_and_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimServer([Say("42", thinking="a long thought " * 10)] * 2) as server:
        point(monkeypatch, server)
        for reply in (ask(), ask(max_tokens=STREAM_OVER_TOKENS + 1)):
            assert reply.text == "42"
            assert reply.usage.output > 30


def test_rate_limits_are_retried_after_the_time_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with SimServer(faults=[Fault("rate", at=[1], retry_after_s=0.3)]) as server:
        point(monkeypatch, server)
        reply = ask()
    first, second = server.calls
    assert reply.attempts == 2
    assert second.began_s - first.began_s >= 0.3


def test_one_rate_limit_holds_back_the_other_calls_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(model: Anthropic) -> None:
        first = asyncio.create_task(model.complete(ModelRequest([ChatMessage("user", "first")])))
        while not server.calls or server.calls[0].status != 429:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        await asyncio.gather(first, model.complete(ModelRequest([ChatMessage("user", "second")])))

    with SimServer(faults=[Fault("rate", at=[1], retry_after_s=0.5)]) as server:
        point(monkeypatch, server)
        with_model(work)
    assert all(call.began_s - server.calls[0].began_s >= 0.5 for call in server.calls[1:])


@pytest.mark.parametrize("kind", ["overloaded", "error"])
def test_failures_before_a_reply_are_retried_and_counted(
    monkeypatch: pytest.MonkeyPatch, kind: FaultKind
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    with SimServer(faults=[Fault(kind, at=[1, 2])]) as server:
        point(monkeypatch, server)
        assert ask().attempts == 3


@pytest.mark.parametrize(
    ("fault", "kind", "retryable", "status", "sent"),
    [
        ("auth", "auth", False, 401, 1),
        ("error", "server", True, 500, retry.MAX_ATTEMPTS),
        ("drop", "network", True, None, 1),
        ("malformed", "malformed", True, None, 1),
        ("misshapen", "malformed", True, None, 1),
        ("drop_stream", "network", True, None, 1),
    ],
)
def test_a_failure_says_its_kind_and_how_often_it_was_sent(
    monkeypatch: pytest.MonkeyPatch,
    fault: FaultKind,
    kind: str,
    retryable: bool,
    status: int | None,
    sent: int,
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    with SimServer(faults=[Fault(fault, share=1.0, retry_after_s=0.01)]) as server:
        point(monkeypatch, server)
        error = failure()
    assert (error.kind, error.retryable, error.status) == (kind, retryable, status)
    assert error.attempts == len(server.calls) == sent


@pytest.mark.parametrize("fault", ["drop_stream", "error_stream", "stall_stream"])
def test_a_stream_that_breaks_off_is_not_sent_again_and_may_have_cost(
    monkeypatch: pytest.MonkeyPatch, fault: FaultKind
) -> None:
    with SimServer(faults=[Fault(fault, share=1.0)]) as server:
        point(monkeypatch, server)
        error = failure(max_tokens=STREAM_OVER_TOKENS + 1, timeout_s=1.0)
    assert error.kind == ("timeout" if fault == "stall_stream" else "network")
    assert error.retryable and error.spent_usd is None
    assert len(server.calls) == 1


def test_a_refused_connection_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    error = failure()
    assert (error.kind, error.attempts, error.spent_usd) == ("network", 0, 0.0)


def test_an_unknown_model_is_said_by_name(sim: SimServer) -> None:
    request = ModelRequest([ChatMessage("user", "hello")])
    with pytest.raises(ModelError) as caught:
        with_model(lambda model: model.complete(request), "sim-leaf:nobody")
    assert caught.value.kind == "unknown_model"
    assert "sim-leaf:nobody" in str(caught.value)


def test_a_prompt_over_the_window_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimServer(window=100) as server:
        point(monkeypatch, server)
        assert failure("word " * 200).kind == "too_long"


def test_a_missing_key_is_one_sentence(monkeypatch: pytest.MonkeyPatch, sim: SimServer) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    error = failure()
    assert error.kind == "auth"
    assert "ANTHROPIC_API_KEY" in str(error)
    assert not sim.calls


@pytest.mark.parametrize("max_tokens", [100, STREAM_OVER_TOKENS + 1])
def test_no_error_text_carries_the_key(monkeypatch: pytest.MonkeyPatch, max_tokens: int) -> None:
    key = "sk-ant-api03-Vx7Qm2Lr9Tz4Kp8Wn3Bd6Hs1"
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)

    def mind(call: Call) -> Say:
        raise Refused(f"invalid x-api-key: {key}", 401, "authentication_error")

    with SimServer(mind) as server:
        point(monkeypatch, server)
        said = str(failure(max_tokens=max_tokens))
    assert key in server.calls[0].headers["authorization"]
    assert key not in said and "[secret:anthropic-key:" in said


def test_a_silent_provider_meets_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimServer(faults=[Fault("stall", share=1.0)]) as server:
        point(monkeypatch, server)
        with_model(Anthropic.check_ready)  # the first import of the SDK takes its own time
        began = time.monotonic()
        error = failure(timeout_s=0.5)
        assert time.monotonic() - began < 10
    assert error.kind == "timeout" and error.retryable and error.spent_usd is None
    assert [call.outcome for call in server.calls] == ["cancelled"]


@pytest.mark.parametrize("max_tokens", [100, STREAM_OVER_TOKENS + 1])
def test_cancellation_closes_the_request(monkeypatch: pytest.MonkeyPatch, max_tokens: int) -> None:
    def mind(call: Call) -> Say:
        return Say("late", delay_s=30.0)

    async def work(model: Anthropic) -> None:
        request = ModelRequest([ChatMessage("user", "hello")], max_tokens=max_tokens)
        task = asyncio.create_task(model.complete(request))
        while not server.calls:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(500):
            if server.calls[0].outcome == "cancelled":
                return
            await asyncio.sleep(0.01)

    with SimServer(mind) as server:
        point(monkeypatch, server)
        with_model(work)
    assert server.calls[0].outcome == "cancelled"


def test_a_dead_provider_is_not_asked_many_times_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)

    async def work(model: Anthropic) -> None:
        for _ in range(10):
            with pytest.raises(ModelError):
                await model.complete(ModelRequest([ChatMessage("user", "hello")]))

    with SimServer(faults=[Fault("error", share=1.0)]) as server:
        point(monkeypatch, server)
        with_model(work)
    assert len(server.calls) <= 10 + retry.MAX_ATTEMPTS


def test_calls_run_side_by_side_on_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(model: Anthropic) -> list[ModelReply]:
        requests = [ModelRequest([ChatMessage("user", f"number {n}")]) for n in range(16)]
        return await asyncio.gather(*(model.complete(request) for request in requests))

    with SimServer(latency_s=1.0) as server:
        point(monkeypatch, server)
        replies = with_model(work)
    assert [reply.text for reply in replies] == [f"I was sent: number {n}" for n in range(16)]
    assert server.peak >= 8


def test_a_small_prompt_is_estimated_upwards_without_a_request(sim: SimServer) -> None:
    request = ModelRequest([ChatMessage("user", LONG)])
    guess = with_model(lambda model: model.count_tokens(request))
    assert guess >= len(LONG) / 4
    assert not sim.requests


def test_a_large_prompt_is_counted_by_the_provider_once(sim: SimServer) -> None:
    text = "word " * 40_000

    async def work(model: Anthropic) -> tuple[int, int]:
        request = ModelRequest([ChatMessage("user", text)])
        return await model.count_tokens(request), await model.count_tokens(request)

    assert with_model(work) == (50_000, 50_000)
    assert [logged.path for logged in sim.requests] == ["/v1/messages/count_tokens"]


def test_counting_falls_back_to_an_estimate_when_the_provider_fails() -> None:
    text = "word " * 40_000
    guess = with_model(lambda model: model.count_tokens(ModelRequest([ChatMessage("user", text)])))
    assert guess >= 50_000


def test_a_growing_conversation_is_counted_from_its_last_usage(sim: SimServer) -> None:
    async def work(model: Anthropic) -> tuple[TokenUsage, int]:
        reply = await model.complete(ModelRequest([ChatMessage("user", LONG)], system="rules"))
        longer = [
            ChatMessage("user", LONG),
            ChatMessage("assistant", "yes"),
            ChatMessage("user", "go on"),
        ]
        return reply.usage, await model.count_tokens(ModelRequest(longer, system="rules"))

    usage, counted = with_model(work)
    assert usage.input < counted < usage.input + 50


def test_a_prompt_with_lone_surrogates_is_sent_readable(sim: SimServer) -> None:
    assert ask("bad \udcff byte").text == "I was sent: bad \ufffd byte"


def test_the_sdk_is_imported_off_the_event_loop(sim: SimServer) -> None:
    script = (
        "import asyncio, sys, time\n"
        "from rlm_mcp.models.anthropic import Anthropic\n"
        "from rlm_mcp.models.model import ChatMessage, ModelRequest\n"
        "assert 'anthropic' not in sys.modules\n"
        "async def main():\n"
        "    request = ModelRequest([ChatMessage('user', 'x')])\n"
        "    call = asyncio.create_task(Anthropic('haiku').complete(request))\n"
        "    ticks = 0\n"
        "    while not call.done():\n"
        "        await asyncio.sleep(0.005)\n"
        "        ticks += 1\n"
        "    print(ticks, (await call).text)\n"
        "asyncio.run(main())\n"
    )
    ran = run_python(script)
    ticks, text = ran.split(" ", 1)
    assert text.strip() == "I was sent: x"
    assert int(ticks) > 5


def run_python(script: str) -> str:
    """Run a script in a fresh interpreter with this environment; return what it printed."""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return ran.stdout
