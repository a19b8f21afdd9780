"""Runs over the real SDK and real HTTP, against the simulated server."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from tests.engine.conftest import Desks, run
from tests.sim.cache import blocks_of
from tests.sim.call import Call, Say
from tests.sim.faults import Fault, FaultKind
from tests.sim.server import SimServer

MODEL = "anthropic:claude-haiku-5-5"
LOOK = "print(grep('line', limit=8).shown)"
SLACK_S = 20.0


def mind(*cells: str) -> Any:
    def answer(call: Call) -> Say | str:
        if len(call.system) < 2_000:
            return "yes"
        return f"```repl\n{cells[min(call.replies, len(cells) - 1)]}\n```"

    return answer


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated-key-4711")
    return "simulated-key-4711"


def serve(monkeypatch: pytest.MonkeyPatch, sim: SimServer) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", sim.url)


def bare(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what a request says, without its marks."""
    return [(place, block["text"]) for place, block in blocks_of(body)]


def test_a_long_run_is_billed_a_fraction_of_its_input(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    async def go() -> None:
        async with desk(model=MODEL) as d:
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert result.status == "complete"
            assert result.cost_usd is not None and 0 < result.cost_usd < 0.02

    with SimServer(mind(*[LOOK] * 24, "FINAL('x')")) as sim:
        serve(monkeypatch, sim)
        run(go())
        bodies = [log.body for log in sim.calls]
        usage = [log.usage for log in sim.calls]
    assert len(bodies) == 25
    for earlier, later in itertools.pairwise(bodies):
        assert later["system"] == earlier["system"]
        assert bare(later)[: len(bare(earlier))] == bare(earlier)
    assert all(body["system"][0]["cache_control"] for body in bodies)
    assert all(body["messages"][-1]["content"][-1]["cache_control"] for body in bodies)
    fresh = sum(u["input_tokens"] for u in usage)
    read = sum(u["cache_read_input_tokens"] for u in usage)
    written = sum(u["cache_creation_input_tokens"] for u in usage)
    assert fresh + 0.1 * read + 1.25 * written <= 0.25 * (fresh + read + written)


def test_a_provider_that_asks_for_patience_gets_it(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    async def go() -> None:
        async with desk(model=MODEL) as d:
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer) == ("complete", "12")

    cells = (
        "a = llm_query_batched([str(n) for n in range(12)])\nprint(len(repo))",
        "FINAL(str(a.done))",
    )
    # A call is sent four times at most: three refusals can be borne by any one of them.
    faults = [Fault("rate", range(2, 5), retry_after_s=0.1)]
    with SimServer(mind(*cells), faults=faults) as sim:
        serve(monkeypatch, sim)
        run(go())
        assert len(sim.calls) == 14 + 3


@pytest.mark.parametrize("kind", ["overloaded", "rate"])
def test_a_limit_that_never_ends_is_waited_for_as_long_as_the_run_has_time(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, key: str, kind: Any
) -> None:
    async def go() -> None:
        async with desk(model=MODEL, concurrency=64, max_seconds=6.0) as d:
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer) == ("failed", "")
            assert "provider's rate limit" in result.reason, result.reason
            assert result.seconds < 6.0 + SLACK_S

    cells = (*["print(len(repo))"] * 3, "a = llm_query_batched([str(n) for n in range(64)])")
    faults = [Fault(kind, range(5, 9_999), retry_after_s=0.5)]
    with SimServer(mind(*cells), faults=faults) as sim:
        serve(monkeypatch, sim)
        run(go())
        assert len(sim.calls) - 4 <= 20, "one call at a time asks whether the limit is over"


@pytest.mark.parametrize("kind", ["error", "drop", "malformed", "auth"])
def test_sub_calls_that_all_fail_end_the_run_within_ten_sends(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, key: str, kind: Any
) -> None:
    async def go() -> None:
        async with desk(model=MODEL, concurrency=64) as d:
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer) == ("failed", "")

    cells = (*["print(len(repo))"] * 3, "a = llm_query_batched([str(n) for n in range(64)])")
    faults = [Fault(kind, range(5, 9_999), retry_after_s=0.05)]
    with SimServer(mind(*cells), faults=faults) as sim:
        serve(monkeypatch, sim)
        run(go())
        assert len(sim.calls) - 4 <= 10


def test_the_key_is_in_no_prompt_record_or_cell(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    async def go() -> list[Any]:
        async with desk(model=MODEL) as d:
            (d.folder / "note.txt").write_text(f"ANTHROPIC_API_KEY={key}\n")
            await d.workspace.run_query("How many?", mode="recursive")
            return [event.to_json_line() for event in d.events]

    code = "import os\nprint(getattr(os, 'environ', {}), 'simulated' in str(dir()))"
    with SimServer(mind(code, "FINAL(str(len(repo)))")) as sim:
        serve(monkeypatch, sim)
        events = run(go())
        assert key not in json.dumps([log.body for log in sim.calls])
    assert key not in str(events)


TEXT = {"type": "text", "text": "fine"}
USED = {"input_tokens": 5, "output_tokens": 2}


def body(**changes: Any) -> Fault:
    """Return the fault that a sub-call gets this message in place of an answer."""
    whole: dict[str, Any] = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "x",
        "content": [TEXT],
    }
    whole |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": USED}
    return Fault("body", said="BAD", body={**whole, **changes})


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("drop_stream", said="BAD"), "network"),
        (Fault("malformed", said="BAD"), "malformed"),
        (Fault("body", said="BAD", body=b"<html></html>", content_type="text/html"), "malformed"),
        (body(stop_reason="max_tokens"), "truncated"),
        (body(content=[]), "malformed"),
        (body(content=[None]), "malformed"),
        (body(usage=None), "malformed"),
        (body(usage={"input_tokens": -5, "output_tokens": 2}), "malformed"),
        (body(usage={"input_tokens": 10**30, "output_tokens": 2}), "malformed"),
        (body(content=[{"type": "hologram", "data": [1]}, TEXT]), "fine"),
    ],
)
def test_one_bad_reply_is_typed_and_the_others_are_whole(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, key: str, fault: Fault, said: str
) -> None:
    async def go() -> None:
        async with desk(model=MODEL) as d:
            result = await d.workspace.run_query("How many?", mode="recursive")
            told = [turn["shown"].split("\n")[0] for turn in d.of("turn")]
            assert told[0] == f"['yes', '{said}', 'yes']"
            assert told[1] == ("fine" if said == "fine" else "no text")
            assert result.status == ("complete" if said == "fine" else "partial")
            assert result.cost_usd is not None and 0 <= result.cost_usd < 0.1

    # The word is put together in the cell: no request of the root may hold it.
    many = "a = llm_query_batched(['one', 'B' + 'AD', 'two'])\nprint(len(repo) and '', end='')"
    one = "try:\n    print(llm_query('B' + 'AD'))\nexcept Exception:\n    print('no text')"
    cells = (f"{many}\nprint([str(x) if x else x.kind for x in a])", one, "FINAL('done')")
    with SimServer(mind(*cells), faults=[fault]) as sim:
        serve(monkeypatch, sim)
        run(go())


@pytest.mark.parametrize(
    "told",
    [
        {"retry_after_s": 3_600.0},
        {"retry_after": "Wed, 21 Oct 2099 07:28:00 GMT"},
        {"retry_after": "-5"},
        {"retry_after": "soon"},
    ],
)
def test_a_limit_beyond_the_runs_time_costs_no_answer_that_was_paid(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, key: str, told: dict[str, Any]
) -> None:
    async def go() -> None:
        async with desk(model=MODEL, max_seconds=15.0) as d:
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert result.status in ("partial", "forced") and "yes" in result.answer
            assert "rate limit" in f"{result.answer} {result.reason}"
            assert result.seconds < 15.0 + SLACK_S

    many = "a = llm_query_batched(['one', 'B' + 'AD', 'two'])\nprint(len(repo))"
    with SimServer(mind(many, "FINAL(str(a))"), faults=[Fault("rate", said="BAD", **told)]) as sim:
        serve(monkeypatch, sim)
        run(go())


@pytest.mark.parametrize(
    ("say", "status", "reason"),
    [
        (Say("", stop="end_turn"), "failed", "no answer"),
        (Say("I will not.", stop="refusal"), "failed", "refused"),
        (Say("It is", stop="max_tokens"), "forced", "cut at its limit"),
    ],
)
def test_a_root_that_only_breaks_off_gives_no_whole_answer(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, key: str, say: Say, status: str, reason: str
) -> None:
    async def go() -> None:
        async with desk(model=MODEL) as d:
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, reason in result.reason) == (status, True), result.reason

    with SimServer([say] * 9) as sim:
        serve(monkeypatch, sim)
        run(go())


@pytest.mark.parametrize("kind", ["stall", "stall_stream", "drip_stream"])
def test_calls_that_never_end_cost_a_run_its_time_and_not_its_other_answers(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, key: str, kind: FaultKind
) -> None:
    async def go() -> None:
        async with desk(model=MODEL, max_seconds=6.0) as d:
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer) == ("forced", "['yes', 'yes']")
            assert (result.done, result.total, len(result.missing)) == (2, 3, 1)
            assert "time of this run" in result.reason and "max_seconds" in result.reason
            assert result.seconds < 6.0 + SLACK_S

    many = "a = llm_query_batched(['one', 'B' + 'AD', 'two'])\nprint(len(repo))"
    cells = (many, "FINAL(str([str(x) for x in a if x]))")
    with SimServer(mind(*cells), faults=[Fault(kind, said="BAD")]) as sim:
        serve(monkeypatch, sim)
        run(go())
        assert [log.outcome for log in sim.calls].count("cancelled") == 1


@pytest.mark.parametrize("kind", ["stall", "stall_stream", "drip_stream"])
def test_a_root_that_never_ends_its_reply_fails_the_run_in_time(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, key: str, kind: FaultKind
) -> None:
    async def go() -> None:
        async with desk(model=MODEL, max_seconds=4.0) as d:
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert result.status == "partial" and result.answer.count("yes") == 2
            assert (result.done, result.total) == (2, 2)
            assert "seconds of this run are over" in result.reason, result.reason
            assert result.seconds < 4.0 + SLACK_S
            held = d.workspace.runs.list_runs()[-1].budget.held
            assert held.calls == held.usd_nano == 0

    cells = ("a = llm_query_batched(['one', 'two'])\nprint(len(repo))", "FINAL(a[0])")
    with SimServer(mind(*cells), faults=[Fault(kind, range(4, 99))]) as sim:
        serve(monkeypatch, sim)
        run(go())
