"""Compatible servers, through the official SDK and real HTTP in the second dialect."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rlm_mcp.errors import ModelError
from rlm_mcp.models import retry
from rlm_mcp.models.model import ChatMessage, ModelReply, ModelRequest
from rlm_mcp.models.openai import STREAM_OVER_TOKENS, OpenAI
from tests.models.conftest import point, sentence
from tests.sim.call import Call, Refused, Say
from tests.sim.faults import Fault, FaultKind
from tests.sim.server import SimServer

SIZES = [100, STREAM_OVER_TOKENS + 1]


def ask(
    url: str = "", model: str = "gpt-6-luna", text: str = "hello", **changes: object
) -> ModelReply:
    async def run() -> ModelReply:
        chosen = OpenAI(model, url)
        try:
            request = ModelRequest([ChatMessage("user", text)], **changes)  # type: ignore[arg-type]
            return await chosen.complete(request)
        finally:
            await chosen.close()

    return asyncio.run(run())


def failure(**changes: object) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(**changes)  # type: ignore[arg-type]
    return sentence(caught.value)


@pytest.mark.parametrize("max_tokens", SIZES)
def test_a_reply_carries_text_usage_and_price(sim: SimServer, max_tokens: int) -> None:
    reply = ask(system="rules", max_tokens=max_tokens)
    assert reply.text == "I was sent: hello"
    assert (reply.usage.input, reply.usage.output) == (4, 5)
    assert reply.cost_usd == pytest.approx((4 * 0.10 + 5 * 0.50) / 1e6)
    assert bool(sim.calls[0].body.get("stream")) == (max_tokens > STREAM_OVER_TOKENS)


def test_a_local_model_has_no_known_cost(sim: SimServer) -> None:
    assert ask(f"{sim.url}/v1", "qwen:7b").cost_usd is None


@pytest.mark.parametrize("max_tokens", SIZES)
def test_cached_input_is_told_apart(monkeypatch: pytest.MonkeyPatch, max_tokens: int) -> None:
    with SimServer(["fine"], cached_share=0.5) as server:
        point(monkeypatch, server)
        usage = ask(text="word " * 80, max_tokens=max_tokens).usage
    assert (usage.input, usage.cache_read) == (50, 50)


@pytest.mark.parametrize("max_tokens", SIZES)
def test_a_server_without_usage_gets_an_estimate_and_no_cost(
    monkeypatch: pytest.MonkeyPatch, max_tokens: int
) -> None:
    with SimServer(["fine"], no_usage=True) as server:
        point(monkeypatch, server)
        reply = ask(max_tokens=max_tokens)
    assert reply.cost_usd is None
    assert reply.usage.input > 0 and reply.usage.output > 0


@pytest.mark.parametrize("max_tokens", [3, STREAM_OVER_TOKENS + 1])
def test_a_cut_reply_says_so(monkeypatch: pytest.MonkeyPatch, max_tokens: int) -> None:
    def mind(call: Call) -> Say:
        return Say("x" * 4 * (call.max_tokens + 5))

    with SimServer(mind) as server:
        point(monkeypatch, server)
        assert ask(max_tokens=max_tokens).stop == "max_tokens"


def test_the_key_goes_to_its_own_host_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with SimServer() as own, SimServer() as other:
        point(monkeypatch, own)
        ask()
        ask(f"{own.url}/v1")
        ask(f"{other.url}/v1")
    assert [call.headers["authorization"] for call in own.calls] == ["Bearer sk-very-secret"] * 2
    assert "very-secret" not in str(other.calls[0].headers)


@pytest.mark.parametrize(
    ("fault", "kind", "sent"),
    [
        ("auth", "auth", 1),
        ("error", "server", retry.MAX_ATTEMPTS),
        ("drop", "network", 1),
        ("malformed", "malformed", 1),
        ("misshapen", "malformed", 1),
    ],
)
def test_a_failure_says_its_kind(
    monkeypatch: pytest.MonkeyPatch, fault: FaultKind, kind: str, sent: int
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    with SimServer(faults=[Fault(fault, share=1.0, retry_after_s=0.01)]) as server:
        point(monkeypatch, server)
        error = failure()
    assert (error.kind, error.attempts, len(server.calls)) == (kind, sent, sent)


@pytest.mark.parametrize("fault", ["drop_stream", "error_stream"])
def test_a_stream_that_breaks_off_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch, fault: FaultKind
) -> None:
    with SimServer(["x" * 500] * 5, faults=[Fault(fault, share=1.0)]) as server:
        point(monkeypatch, server)
        error = failure(max_tokens=STREAM_OVER_TOKENS + 1)
    assert (error.kind, error.spent_usd, len(server.calls)) == ("network", None, 1)


def test_rate_limits_are_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimServer(faults=[Fault("rate", at=[1], retry_after_s=0.2)]) as server:
        point(monkeypatch, server)
        assert ask().attempts == 2
    assert server.calls[1].began_s - server.calls[0].began_s >= 0.2


def test_a_server_that_is_not_running_is_said_by_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    error = failure(url="http://127.0.0.1:9/v1")
    assert (error.kind, error.attempts) == ("network", 0)
    assert "127.0.0.1:9" in str(error)


def test_a_prompt_over_the_window_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimServer(window=50) as server:
        point(monkeypatch, server)
        assert failure(text="word " * 100).kind == "too_long"


def test_a_silent_server_meets_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with SimServer(faults=[Fault("stall", share=1.0)]) as server:
        point(monkeypatch, server)
        assert failure(timeout_s=0.5).kind == "timeout"
        assert server.calls[0].outcome in ("stall", "cancelled")


def test_a_server_that_says_400_for_an_unknown_model_is_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mind(call: Call) -> Say:
        raise Refused(f"Invalid model name passed in model={call.model}")

    with SimServer(mind) as server:
        point(monkeypatch, server)
        error = failure(model="nobody")
    assert error.kind == "unknown_model"
    assert "model=nobody" in str(error) and "{" not in str(error)


@pytest.mark.parametrize(
    ("message", "used", "kind"),
    [
        ({"content": 5}, {}, "malformed"),
        ({"content": "x"}, {"prompt_tokens": -5}, "malformed"),
        ({"content": "x"}, {"completion_tokens": 10**30}, "malformed"),
        ({"content": "x"}, {"prompt_tokens_details": {"cached_tokens": 9}}, "malformed"),
        ({"content": None, "refusal": "I cannot."}, {}, "refused"),
    ],
)
def test_an_odd_reply_is_no_answer_and_takes_nothing_off_the_bill(
    monkeypatch: pytest.MonkeyPatch, message: dict[str, Any], used: dict[str, Any], kind: str
) -> None:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, **used}
    reply = {"id": "c", "object": "chat.completion", "created": 1, "model": "x"}
    whole = {**reply, "choices": [choice], "usage": usage}
    with SimServer(faults=[Fault("body", share=1.0, body=whole)]) as server:
        point(monkeypatch, server)
        if kind == "refused":
            assert ask().stop == "refused"
        else:
            error = failure()
            assert (error.kind, error.spent_usd) == (kind, None)


@pytest.mark.parametrize("content", ["42", [{"type": "text", "text": "42"}]])
@pytest.mark.parametrize("reason", ["stop", "eos", "end_turn", "tool_calls", "STOP", None])
def test_a_whole_reply_is_used_whatever_it_is_said_to_end_for(
    monkeypatch: pytest.MonkeyPatch, content: object, reason: str | None
) -> None:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    reply = {"id": "c", "object": "chat.completion", "created": 1, "model": "x"}
    whole = {**reply, "choices": [choice], "usage": usage}
    with SimServer(faults=[Fault("body", share=1.0, body=whole)]) as server:
        point(monkeypatch, server)
        got = ask()
    assert (got.text, got.stop) == ("42", "end")
