"""The simulated server: both dialects through the official SDKs, faults where they were put."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.sim.agent import Agent
from tests.sim.call import Call, Refused, Say
from tests.sim.faults import Fault, Faults
from tests.sim.server import SimServer


def client(sim: SimServer, **changes: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="k", base_url=sim.url, max_retries=0, **changes)


def ask(sim: SimServer, text: str = "hello", model: str = "m", **changes: Any) -> Any:
    messages: list[Any] = [{"role": "user", "content": text}]
    with client(sim) as sdk:
        return sdk.messages.create(model=model, max_tokens=100, messages=messages, **changes)


def test_replies_come_in_the_order_of_the_script_and_then_end() -> None:
    with SimServer(["one", "two"]) as sim:
        assert [ask(sim).content[0].text for _ in range(2)] == ["one", "two"]
        with pytest.raises(anthropic.BadRequestError, match="no reply for call 3"):
            ask(sim)


def test_a_stream_carries_every_block_of_a_reply() -> None:
    said = Say("text " * 100, (("grep", {"pattern": "é" * 50}),), thinking="hm")
    with SimServer([said]) as sim, client(sim) as sdk:
        tools: list[Any] = [{"name": "grep", "input_schema": {"type": "object"}}]
        messages: list[Any] = [{"role": "user", "content": "q"}]
        with sdk.messages.stream(
            model="m", max_tokens=9_000, messages=messages, tools=tools
        ) as stream:
            kinds = {event.type for event in stream}
            message = stream.get_final_message()
    assert {"message_start", "content_block_start", "content_block_delta", "message_stop"} <= kinds
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert message.content[1].text == "text " * 100  # type: ignore[union-attr]
    assert message.content[2].input == {"pattern": "é" * 50}  # type: ignore[union-attr]
    assert message.stop_reason == "tool_use"


def test_tool_results_reach_the_mind_under_the_name_of_their_tool() -> None:
    seen: list[Call] = []

    def mind(call: Call) -> str:
        seen.append(call)
        return "ok"

    messages: list[Any] = [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "t1", "name": "grep", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "is_error": True,
                    "content": [{"type": "text", "text": "no such ref"}],
                }
            ],
        },
    ]
    with SimServer(mind) as sim, client(sim) as sdk:
        sdk.messages.create(model="m", max_tokens=9, messages=messages)
    (result,) = seen[0].results
    assert (result.tool, result.text, result.is_error) == ("grep", "no such ref", True)


def test_tokens_are_counted_as_usage_counts_them() -> None:
    with SimServer() as sim, client(sim) as sdk:
        messages: list[Any] = [{"role": "user", "content": "four" * 10}]
        counted = sdk.messages.count_tokens(model="m", messages=messages).input_tokens
        assert counted == ask(sim, "four" * 10).usage.input_tokens == 10


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"messages": []}, "first message"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-empty"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
        (
            {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5},
            "maximum of 4",
        ),
        ({"extra_body": {"temperature": 0.5}, "model": "claude-opus-5-5"}, "temperature"),
    ],
)
def test_what_the_real_service_refuses_is_refused(changes: dict[str, Any], said: str) -> None:
    fields: dict[str, Any] = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "q"}],
    }
    with (
        SimServer() as sim,
        client(sim) as sdk,
        pytest.raises(anthropic.BadRequestError, match=said),
    ):
        sdk.messages.create(**{**fields, **changes})


def test_a_mind_may_refuse() -> None:
    def mind(call: Call) -> str:
        raise Refused("not today", 403, "permission_error")

    with SimServer(mind) as sim, pytest.raises(anthropic.PermissionDeniedError, match="not today"):
        ask(sim)


def test_faults_hit_the_calls_that_they_were_put_into() -> None:
    with SimServer(faults=[Fault("rate", at=[2], retry_after_s=7)]) as sim:
        ask(sim)
        with pytest.raises(anthropic.RateLimitError) as caught:
            ask(sim)
        ask(sim)
    assert caught.value.response.headers["retry-after"] == "7"
    assert [call.outcome for call in sim.calls] == ["answered", "rate", "answered"]


def test_a_share_of_faults_is_the_same_for_the_same_seed() -> None:
    def hits(seed: int) -> list[int]:
        faults = Faults([Fault("error", share=0.2)], seed)
        return [number for number in range(500) if faults.of(number)]

    assert hits(1) == hits(1) != hits(2)
    assert 60 < len(hits(1)) < 140


def test_many_clients_at_once_are_all_served() -> None:
    with SimServer(latency_s=0.2) as sim:
        with ThreadPoolExecutor(64) as pool:
            replies = list(pool.map(lambda n: _raw(sim, f"call {n}"), range(64)))
        assert sim.peak > 16
    assert replies == [f"I was sent: call {n}" for n in range(64)]


def _raw(sim: SimServer, text: str) -> str:
    body = {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(
        f"{sim.url}/v1/messages",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        text = json.load(reply)["content"][0]["text"]
    return str(text)


def test_a_client_that_goes_away_is_logged() -> None:
    with (
        SimServer(faults=[Fault("stall", share=1.0)]) as sim,
        pytest.raises(anthropic.APITimeoutError),
    ):
        ask(sim, timeout=0.3)
    assert sim.calls[0].outcome in ("cancelled", "stall")


def test_models_are_listed_and_unknown_paths_are_not_found() -> None:
    with SimServer() as sim, client(sim) as sdk:
        assert "sim-leaf" in {model.id for model in sdk.models.list().data}
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{sim.url}/v1/nothing")
    with caught.value as error:
        assert error.code == 404


@pytest.mark.parametrize("stream", [False, True])
def test_the_second_dialect_speaks_to_its_sdk(stream: bool) -> None:
    with (
        SimServer() as sim,
        openai.OpenAI(api_key="k", base_url=f"{sim.url}/v1", max_retries=0) as sdk,
    ):
        messages: list[Any] = [
            {"role": "system", "content": "rules"},
            {"role": "user", "content": "hello " * 20},
        ]
        fields: Any = {"model": "m", "messages": messages, "max_tokens": 500}
        if stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
            chunks = list(sdk.chat.completions.create(**fields))
            text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
            usage = chunks[-1].usage
        else:
            reply = sdk.chat.completions.create(**fields)
            text, usage = reply.choices[0].message.content, reply.usage
    assert text == "I was sent: " + ("hello " * 20).strip()
    assert usage is not None and usage.prompt_tokens == 32


def test_an_unknown_policy_is_an_unknown_model() -> None:
    with SimServer() as sim, pytest.raises(anthropic.NotFoundError):
        ask(sim, model="sim-root:nobody")


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    """Run the server as a program."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.sim", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as running:
        yield running
        running.kill()


def test_the_program_prints_its_url_serves_and_ends_on_a_signal(
    program: subprocess.Popen[str],
) -> None:
    assert program.stdout is not None
    url = program.stdout.readline().strip()
    with urllib.request.urlopen(url, timeout=10) as reply:
        assert reply.status == 200
    program.send_signal(signal.SIGTERM)
    assert program.wait(10) == 0


def agent_turn(mind: Agent, sim: SimServer, messages: list[Any]) -> Any:
    tools: list[Any] = [{"name": "grep", "input_schema": {"type": "object"}}]
    with client(sim) as sdk:
        return sdk.messages.create(model="m", max_tokens=99, messages=messages, tools=tools)


def test_an_agent_takes_its_steps_by_what_it_was_answered() -> None:
    steps = [
        {"tool": "grep", "input": {"pattern": "x"}},
        {"tool": "wait", "input": {"seconds": 1}, "from": {"run": "run ([a-z0-9]+)"}},
    ]
    mind = Agent(steps)
    with SimServer(mind) as sim:
        messages: list[Any] = [{"role": "user", "content": "go"}]
        for answer in ("it is run r7 now", "done"):
            reply = agent_turn(mind, sim, messages)
            again = agent_turn(mind, sim, messages)
            assert again.content[0].input == reply.content[0].input, "a retry gets the same"
            use = reply.content[0]
            messages += [
                {"role": "assistant", "content": [use.to_dict()]},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": use.id, "content": answer}],
                },
            ]
        assert agent_turn(mind, sim, messages).content[0].text == "All steps are done."
    assert use.input == {"seconds": 1, "run": "r7"}
    assert [result.text for result in mind.results] == ["it is run r7 now", "done"]
    assert [json.loads(line)["tool"] for line in mind.report().splitlines()] == ["grep", "wait"]


def test_requests_without_tools_do_not_take_an_agents_steps() -> None:
    with SimServer(Agent([{"tool": "grep"}])) as sim:
        assert ask(sim, "a title, please").content[0].text.startswith("I was sent")
