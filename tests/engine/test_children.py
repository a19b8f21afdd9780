"""Child runs: depth, shared budgets, schemas, texts of their own, cancellation."""

from __future__ import annotations

import asyncio
import time

import pytest

from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelRequest
from tests.engine.conftest import Desks, cell, run, scripted


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_child_runs_nest_as_deep_as_allowed_and_no_deeper(desk: Desks, depth: int) -> None:
    async def go() -> None:
        async with desk(max_depth=depth, max_seconds=50) as d:
            code = (
                "from rlm_mcp.sdk import rlm_query\n"
                "a = rlm_query(['go on', 'also ' + str(len(context))], mode='recursive')\n"
                "FINAL('(' + str(a[0]) + ')')"
            )
            d.use(scripted([cell(code)]))
            result = await d.workspace.run_query("How deep?", mode="recursive")
            assert result.answer.count("(") == depth + 1
            assert "max_depth" in result.answer
            ids = {event.run for event in d.events}
            assert max(id.count(".") for id in ids) == depth

    run(go())


def test_parallel_children_of_children_draw_on_one_budget(desk: Desks) -> None:
    """A tree of depth 5, two children a level, over one cap of calls: never more, all told."""

    async def go() -> None:
        async with desk(max_depth=5, max_calls=40, max_seconds=50) as d:
            code = (
                "from rlm_mcp.sdk import rlm_query\n"
                "a = rlm_query(['left', 'right'], mode='recursive')\n"
                "FINAL(str([str(x) for x in a]) + str(len(context)))"
            )
            model = scripted([cell(code)])
            d.use(model)
            result = await d.workspace.run_query("How deep?", mode="recursive", fresh=True)
            assert 30 <= len(model.requests) == result.calls <= 40
            assert max(event.run.count(".") for event in d.events) == 5
            assert all(start["budget"]["calls"] <= 40 for start in d.of("run.start"))
            assert "What is left of the budget" in result.answer

    run(go())


def test_a_child_can_be_held_to_a_schema(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            wanted = '{"type": "object", "properties": {"failure": {"type": "string"}}}'
            root = cell(
                "from rlm_mcp.sdk import rlm_query\n"
                f"a = rlm_query(['child'], mode='recursive', schema={wanted!r})\n"
                "FINAL(a[0]['failure'] + str(a.done) + str(len(repo) * 0))"
            )
            children = [
                cell("print(len(repo))\nFINAL('no JSON')"),
                cell("import json\nFINAL(json.dumps({'failure': 'timeout', 'kind': 'x'}))"),
            ]

            def reply(request: ModelRequest) -> str:
                turn = sum(message.role == "assistant" for message in request.messages)
                child = "<question>\nchild" in request.messages[0].text
                return children[turn] if child else root

            model = Fake(replies=reply)
            d.use(model)
            result = await d.workspace.run_query("Start", mode="recursive")
            assert result.answer == "timeout10"
            assert "does not fit the schema" in model.requests[2].messages[-1].text

    run(go())


def test_a_child_sees_its_own_text_and_nothing_else(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            root = cell(
                "from rlm_mcp.sdk import rlm_query\n"
                "a = rlm_query(['count', 'count'], mode='recursive', "
                "contexts=['alpha beta', 'gamma'])\n"
                "FINAL(' | '.join(str(x) for x in a) + str(len(repo) * 0))"
            )
            child = cell(
                "try:\n    r = str(len(repo))\nexcept Exception as error:\n"
                "    r = type(error).__name__\nFINAL(str(context) + ' ' + r)"
            )

            def reply(request: ModelRequest) -> str:
                return child if "count" in request.messages[0].text else root

            d.use(Fake(replies=reply))
            result = await d.workspace.run_query("Start", mode="recursive")
            assert result.answer == "alpha beta NameError | gamma NameError0"

    run(go())


def test_cancelling_stops_cell_calls_and_children_within_a_second(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:

            async def reply(request: ModelRequest) -> str:
                if request.purpose == "root" and "child" not in request.messages[0].text:
                    return cell(
                        "from rlm_mcp.sdk import rlm_query\n"
                        "rlm_query(['child one', 'child two'], mode='recursive')"
                    )
                if request.purpose == "root":
                    return cell("llm_query_batched(['slow', 'slower'])")
                await asyncio.sleep(60)
                return "never"

            model = Fake(replies=reply)
            d.use(model)
            task = asyncio.create_task(d.workspace.run_query("Start", mode="recursive"))
            while sum(request.purpose == "sub" for request in model.requests) < 2:
                await asyncio.sleep(0.01)
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - began < 5
            assert model._active == 0

    run(go())


def test_as_many_refs_as_prompts_are_paired_and_each_child_is_told_that_it_is_one(
    desk: Desks,
) -> None:
    async def go() -> None:
        async with desk() as d:
            code = (
                "a = rlm_query_batched(['first', 'second'], refs=['repo:f1.txt', 'repo:f2.txt'])\n"
                "print(a.statuses)\nFINAL(a[0] + ' ' + a[1] + str(len(repo) * 0))"
            )

            def reply(request: ModelRequest) -> str:
                text = request.messages[0].text
                if "Compare the files." in text and "child run" not in text:
                    return cell(code)
                return f"saw {sum(f'of file {n}' in text and n for n in range(4))}"

            model = Fake(replies=reply)
            d.use(model)
            result = await d.workspace.run_query("Compare the files.", mode="recursive")
            assert (result.answer, result.status) == ("saw 1 saw 20", "complete")
            parts = [request.messages[0].text for request in model.requests[1:]]
            assert sorted("f1.txt" in text for text in parts) == [False, True]
            assert (d.of("run.end")[0]["status"],) * 2 == ("complete", "complete")

    run(go())


def test_a_child_with_turns_of_its_own_is_told_what_for_and_by_whom_it_is_read(
    desk: Desks,
) -> None:
    async def go() -> None:
        async with desk() as d:
            parent = cell("a = rlm_query(['part of it'], mode='environment')\nFINAL(a[0])")

            def reply(request: ModelRequest) -> str:
                child = "You are a child run" in request.messages[0].text
                return cell("FINAL('inner' + str(len(repo) * 0))") if child else parent

            model = Fake(replies=reply)
            d.use(model)
            result = await d.workspace.run_query("Why " + "so " * 500 + "?", mode="recursive")
            assert result.answer == "inner0"
            told = next(
                r.messages[0].text for r in model.requests if "a child run" in r.messages[0].text
            )
            assert told.startswith("<question>\npart of it\n</question>\n\nYou are a child run")
            background = told.partition("<background>\n")[2].partition("\n</background>")[0]
            assert background.startswith("Why so so") and len(background) < 620

    run(go())


def test_a_forced_child_is_not_counted_as_done(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_iterations=2) as d:
            code = "a = rlm_query(['part'], mode='environment')\nFINAL(str(a.statuses) + a[0])"

            def reply(request: ModelRequest) -> str:
                if "You are a child run" not in request.messages[0].text:
                    return cell(code)
                return cell("answer['content'] = 'half'\nprint(len(repo))")

            d.use(Fake(replies=reply))
            result = await d.workspace.run_query("Why?", mode="recursive")
            assert "('forced',)half" in result.answer
            assert (result.status, result.done, result.total) == ("partial", 0, 1)

    run(go())


def test_a_long_prompt_of_a_child_becomes_its_context(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            code = (
                "a = rlm_query(f'Count these: {context}' + 'z' * 20_000, mode='environment')\n"
                "FINAL(a)"
            )

            def reply(request: ModelRequest) -> str:
                if "You are a child run" not in request.messages[0].text:
                    return cell(code)
                assert len(request.messages[0].text) < 6_000
                return cell("FINAL(str(context.count('z')) + context[:11])")

            d.use(Fake(replies=reply))
            result = await d.workspace.run_query("Why?", mode="recursive")
            assert result.answer == "20000Count these"

    run(go())
