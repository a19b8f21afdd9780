"""Whole trees of runs: what they spend together, what a child gets, how they are stopped."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from rlm_mcp.engine.budget import NANO
from rlm_mcp.errors import ModelError
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelReply, ModelRequest, Price, TokenUsage
from tests.engine.conftest import Desks, cell, run
from tests.sim.call import Call
from tests.sim.server import SimServer

PRICE = Price(1.0, 5.0, 0.1, 1.25, "2026-11-01")


class Bank:
    """A model that takes its time, fails now and then, and keeps its own account of each run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.nano = Counter[str]()
        self.calls = Counter[str]()

    async def __call__(self, request: ModelRequest) -> ModelReply:
        text = "\n".join(message.text for message in request.messages)
        name = next(word for word in text.split() if word.startswith("tree-"))
        await asyncio.sleep(self.chance.uniform(0, 0.01))
        if request.purpose == "sub" and self.chance.random() < 0.1:
            raise ModelError("overloaded", kind="overloaded", retryable=True)
        prompt = sum(len(m.text) for m in request.messages) // 8
        usage = TokenUsage(input=prompt, output=self.chance.randrange(1, request.max_tokens // 2))
        self.nano[name] += round(PRICE.cost_usd(usage) * NANO)
        self.calls[name] += 1
        said = self.cell(name) if request.purpose == "root" else "ok"
        return ModelReply(said, usage, "fake:", PRICE.cost_usd(usage))

    def cell(self, name: str) -> str:
        """Return a cell that asks some calls, or starts some children over limits of their own."""
        number = self.chance.randrange(10_000)
        if self.chance.random() < 0.2:
            return cell("FINAL('done ' + str(len(repo)))")
        if self.chance.random() < 0.5:
            many = self.chance.randrange(1, 12)
            return cell(f"a = llm_query_batched([f'{number} {{n}} {name}' for n in range({many})])")
        usd, calls = self.chance.uniform(0.001, 0.1), self.chance.randrange(1, 12)
        return cell(
            "from rlm_mcp.sdk import rlm_query\n"
            f"a = rlm_query(['one {number} {name}', 'two {number} {name}'], mode='recursive', "
            f"max_usd={usd}, max_calls={calls})"
        )


@pytest.mark.parametrize("seed", range(5))
def test_no_schedule_of_real_runs_passes_a_limit_of_run_child_or_day(
    desk: Desks, seed: int
) -> None:
    chance = random.Random(seed)
    usd, calls, day = chance.uniform(0.05, 0.3), chance.randrange(10, 60), chance.uniform(0.1, 0.5)
    trees = [f"tree-{seed}-{number}" for number in range(3)]

    async def go() -> None:
        async with desk(max_usd=usd, max_calls=calls, max_usd_day=day, max_depth=3) as d:
            bank = Bank(seed)
            d.use(Fake(replies=bank, price=PRICE))
            results = await asyncio.gather(
                *(d.workspace.run_query(f"What of {name} ?", mode="recursive") for name in trees)
            )
            assert sum(bank.nano.values()) <= day * NANO
            for name, result in zip(trees, results, strict=True):
                assert bank.nano[name] <= usd * NANO and bank.calls[name] <= calls, result.reason
                assert round((result.cost_usd or 0) * NANO) >= bank.nano[name], "none left out"
            allowed = {e.run: e.data["budget"] for e in d.events if e.type == "run.start"}
            ended = {e.run: e.data for e in d.events if e.type == "run.end"}
            assert ended.keys() == allowed.keys() and len(ended) >= 3
            for id, end in ended.items():
                assert (
                    end["cost_usd"] <= allowed[id]["usd"] and end["calls"] <= allowed[id]["calls"]
                )
            for live in d.workspace.runs.list_runs():
                held = live.budget.held
                assert held.usd_nano == held.calls == held.input_tokens == held.output_tokens == 0
            assert await d.workspace.services.calls.spent_today() <= day

    run(go())


def test_a_child_takes_the_model_the_schema_and_the_refs_that_it_is_given(
    desk: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the real client: the child's calls go to its own model, about what it was given."""
    wanted = json.dumps(
        {
            "type": "object",
            "properties": {"lines": {"type": "integer"}},
            "required": ["lines"],
            "additionalProperties": False,
        }
    )
    code = (
        "from rlm_mcp.sdk import rlm_query\n"
        "a = rlm_query(['Count the lines'], 'anthropic:claude-sonnet-5-5', refs='repo:f1.txt', "
        f"mode='recursive', schema={wanted!r})\n"
        "FINAL(str(a[0]['lines'] + 1) + ' of ' + str(len(repo) > 0))"
    )
    child = (
        "text = peek('repo:f1.txt', 100)\nprint(text)\nFINAL('about fifty')",
        "import json\nFINAL(json.dumps({'lines': 'many'}))",
        "import json\nFINAL(json.dumps({'lines': 50}))",
    )

    def mind(call: Call) -> str:
        if call.model == "claude-sonnet-5-5":
            return cell(child[min(call.replies, 2)])
        return cell(code)

    async def go() -> None:
        with SimServer(mind) as sim:
            monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
            monkeypatch.setenv("ANTHROPIC_BASE_URL", sim.url)
            async with desk(
                model="anthropic:claude-haiku-5-5", sub_model="anthropic:claude-sonnet-5-5"
            ) as d:
                result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer) == ("complete", "51 of True"), result.reason
            assert [log.model for log in sim.calls] == [
                "claude-haiku-5-5",
                *["claude-sonnet-5-5"] * 3,
            ]
            first = json.dumps(sim.calls[1].body)
            assert "repo:f1.txt" in first and "Count the lines" in first and "lines" in first
            last = json.dumps(sim.calls[3].body["messages"][-1])
            assert "does not fit the schema" in last
            starts = d.of("run.start")
            assert starts[1]["refs"] == ["repo:f1.txt"]
            assert starts[1]["model"] == "anthropic:claude-sonnet-5-5"
            assert result.cost_usd == pytest.approx(sum(end["cost_usd"] for end in d.of("call")))

    run(go())


def descendants() -> set[int]:
    """Return the processes that stand below this one."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(folder.name)] = int(fields[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are read from /proc")
def test_a_cancelled_tree_of_five_levels_leaves_nothing_behind(desk: Desks) -> None:
    """Every child has ended, no worker lives, no call is sent, and the books are balanced."""

    async def go() -> None:
        async with desk(max_depth=5, max_usd=50.0, max_usd_day=50.0) as d:
            waiting = asyncio.Event()

            async def reply(request: ModelRequest) -> str:
                if request.purpose == "sub":
                    waiting.set()
                    await asyncio.sleep(60)
                code = (
                    "from rlm_mcp.sdk import rlm_query\n"
                    "try:\n"
                    "    rlm_query(['left', 'right'], mode='recursive', max_depth=5)\n"
                    "except RuntimeError:\n"
                    "    pass\n"
                    "llm_query_batched(['slow', 'slower'])"
                )
                return cell(code)

            model = Fake(replies=reply, price=PRICE)
            d.use(model)
            await d.workspace.call_tool(
                "execute", {"code": "1"}
            )  # what a server keeps alive anyway
            before = descendants()
            task = asyncio.create_task(d.workspace.run_query("Start", mode="recursive", fresh=True))
            await waiting.wait()
            budget = d.workspace.runs.list_runs()[-1].budget
            assert max(event.run.count(".") for event in d.events) == 5
            assert len(descendants()) > len(before)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            sent = len(model.requests)
            assert model._active == 0
            started = {event.run for event in d.events if event.type == "run.start"}
            ended = {event.run: event.data for event in d.events if event.type == "run.end"}
            assert ended.keys() == started
            assert {end["reason"] for end in ended.values()} == {"cancelled"}
            await asyncio.gather(*d.workspace.services.closing)
            assert budget.held.calls == budget.held.usd_nano == 0
            assert budget.spent.calls == sent, "what was in flight counts as spent"
            spent = await d.workspace.services.calls.spent_today()
            assert spent == pytest.approx(budget.spent.usd_nano / NANO)
            while len(descendants()) > len(before):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            assert len(model.requests) == sent

    run(go())
