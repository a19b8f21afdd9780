"""Runs as an agent starts, awaits and cancels them by tools."""

from __future__ import annotations

import asyncio
import threading

import pytest

from rlm_mcp.engine.run import Run
from rlm_mcp.errors import RlmError
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelRequest
from rlm_mcp.variable import Variable
from tests.engine.conftest import Desks, cell, run, scripted


def test_a_whole_run_by_tool_gives_answer_status_and_cost(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([cell("h = grep('line 7 of file 3')\nFINAL('at ' + h[0].ref)")]))
            shown = await d.workspace.call_tool(
                "rlm_query", {"prompt": "Where?", "mode": "recursive"}
            )
            assert "at repo:f3.txt#L8" in shown and "status: complete" in shown
            assert "0 of 1 refs verified (1 without a quote)" in shown
            assert "1 model call," in shown

    run(go())


def test_a_long_run_gives_its_id_and_wait_its_result(
    desk: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlm_mcp.engine.workspace.LONGEST_WAIT_S", 0.05)

    async def go() -> None:
        async with desk() as d:
            release = asyncio.Event()

            async def reply(request: ModelRequest) -> str:
                await release.wait()
                return cell("print(len(repo))\nFINAL('done at last')")

            d.use(Fake(replies=reply))
            shown = await d.workspace.call_tool(
                "rlm_query", {"prompt": "Where?", "mode": "recursive"}
            )
            assert "still going" in shown
            id = d.workspace.runs.list_runs()[0].id
            assert id in shown
            assert "still going" in await d.workspace.call_tool(
                "wait", {"run": id, "seconds": 0.01}
            )
            release.set()
            assert "done at last" in await d.workspace.call_tool("wait", {"run": id})

    run(go())


def test_a_failed_run_is_an_error_that_says_why_and_what_it_cost(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_iterations=1) as d:
            d.use(scripted([cell("print(len(repo))")]))
            with pytest.raises(RlmError) as caught:
                await d.workspace.call_tool("rlm_query", {"prompt": "Where?", "mode": "recursive"})
            said = str(caught.value)
            assert "status: failed" in said and "max_iterations" in said
            assert "2 model calls" in said and "tools/rlm_query.py" not in said

    run(go())


def test_many_runs_of_one_cell_share_one_budget(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_calls=5) as d:
            model = scripted([cell("print(len(repo))")])
            d.use(model)
            code = (
                "from rlm_mcp.sdk import rlm_query\n"
                "a = rlm_query(['q%d' % n for n in range({})], mode='recursive')\nprint(a.done)"
            )
            assert await d.execute(code.format(4)) == "0"
            assert len(model.requests) <= 5
            assert "raise max_calls" in await d.execute(code.format(1_000))

    run(go())


@pytest.mark.parametrize("how", ["cancelled", "overtime"])
def test_a_run_that_ends_while_its_variables_are_opened_is_on_record(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    opening, go_on = threading.Event(), threading.Event()

    def slow(conduct: Run) -> dict[str, Variable]:
        opening.set()
        go_on.wait(20)
        return {}

    monkeypatch.setattr(Run, "_open_variables", slow)

    async def go() -> None:
        async with desk(max_seconds=0.5 if how == "overtime" else 60.0) as d:
            d.use(Fake(replies=["x"]))
            task = asyncio.create_task(d.workspace.run_query("Where?"))
            await asyncio.to_thread(opening.wait, 20)
            if how == "cancelled":
                task.cancel()
            await asyncio.wait([task])
            go_on.set()
            assert [event.type for event in d.events] == ["run.start", "run.end"]
            assert d.of("run.start")[0]["question"] == "Where?"
            assert d.of("run.end")[0]["status"] == "failed"

    run(go())


def test_a_run_is_cancelled_by_wait(desk: Desks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlm_mcp.engine.workspace.LONGEST_WAIT_S", 0.05)

    async def go() -> None:
        async with desk() as d:
            model = Fake(replies=["x"], latency_s=60)
            d.use(model)
            await d.workspace.call_tool("rlm_query", {"prompt": "Where?", "mode": "recursive"})
            while not model._active:
                await asyncio.sleep(0.01)
            live = d.workspace.runs.list_runs()[0]
            while not model.requests:
                await asyncio.sleep(0.01)
            assert "cancelled" in await d.workspace.call_tool(
                "wait", {"run": live.id, "cancel": True}
            )
            assert not live.is_running and model._active == 0
            assert d.of("run.end")[0]["reason"] == "cancelled"

    run(go())


def test_progress_is_told_while_parts_are_answered(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([]))
            told: list[tuple[float, float | None]] = []

            async def progress(done: float, total: float | None, said: str) -> None:
                told.append((done, total))

            refs = " ".join(f"repo:f{n}.txt" for n in range(4))
            await d.workspace.call_tool(
                "llm_query", {"prompt": "ok?", "refs": refs}, progress=progress
            )
            await asyncio.sleep(0)
            assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]

    run(go())
