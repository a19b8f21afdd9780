"""The loop of a run, with real environments and a scripted model."""

from __future__ import annotations

import asyncio
import itertools
import json
import time

import pytest

from rlm_mcp.engine.loop import NO_CELL, TOO_SOON
from rlm_mcp.errors import BadRequest, ModelError
from rlm_mcp.models.fake import Fake
from tests.engine.conftest import Desks, cell, run, scripted

LOOK = "h = grep('line 7 of file 3')\nprint(h.shown)"


def test_a_run_looks_asks_and_answers_with_verified_evidence(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(
                scripted(
                    [
                        cell(LOOK),
                        cell("a = llm_query_batched(['one', 'two'])\nprint(a.done, a[0])"),
                        cell("FINAL('It is at ' + h[0].ref + ' `' + h[0].text + '`.')"),
                    ]
                )
            )
            result = await d.workspace.run_query("Where is line 7?", mode="recursive")
            assert result.status == "complete"
            assert (result.done, result.total) == (2, 2)
            assert [e.ref for e in result.evidence if e.verified] == ["repo:f3.txt#L8"]
            assert result.calls == 5

    run(go())


def test_prose_without_a_cell_gets_a_nudge_and_ends_as_forced(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted(["I think it is 7."])
            d.use(model)
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert result.status == "forced"
            assert result.answer == "I think it is 7."
            assert len(model.requests) == 3
            assert NO_CELL in model.requests[1].messages[-1].text

    run(go())


def test_an_answer_without_a_look_is_questioned_once(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted([cell("FINAL('42')")])
            d.use(model)
            result = await d.workspace.run_query("What is it?", mode="recursive")
            assert (result.status, result.answer) == ("complete", "42")
            assert len(model.requests) == 2
            assert TOO_SOON in model.requests[1].messages[-1].text

    run(go())


def test_a_printed_answer_is_no_answer(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_iterations=3) as d:
            d.use(scripted([cell("print('The answer is 7.')")]))
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert result.status == "failed"
            assert result.answer == ""

    run(go())


def test_only_the_first_cell_of_a_reply_is_run(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            two = cell("x = len(repo)") + "\n" + cell("x = 0")
            model = scripted([two, cell("FINAL(str(x))")])
            d.use(model)
            result = await d.workspace.run_query("How long?", mode="recursive")
            assert int(result.answer) > 1000
            assert "1 more in the same reply" in model.requests[1].messages[-1].text

    run(go())


def test_a_run_out_of_turns_is_asked_once_more_and_says_forced(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_iterations=2) as d:
            d.use(scripted([cell(LOOK), cell(LOOK), cell(LOOK), cell("FINAL('about 7')")]))
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert result.status == "forced"
            assert result.answer == "about 7"
            assert "max_iterations" in result.reason

    run(go())


def test_a_code_block_in_the_last_reply_is_never_the_answer(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_iterations=1) as d:
            d.use(scripted([cell(LOOK), cell("print('still looking')")]))
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer) == ("failed", "")

    run(go())


def test_an_error_keeps_output_variables_and_line(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted(
                [cell("kept = 5\nprint('before')\n1 / 0"), cell("FINAL(str(kept + len(repo) * 0))")]
            )
            d.use(model)
            result = await d.workspace.run_query("How many?", mode="recursive")
            shown = model.requests[1].messages[-1].text
            assert result.answer == "5"
            assert "before" in shown and "ZeroDivisionError" in shown and "line 3" in shown

    run(go())


def test_cells_that_fail_in_a_row_end_the_run(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_errors=3) as d:
            model = scripted([cell("1 / 0")])
            d.use(model)
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert result.status == "failed"
            assert len(model.requests) == 4

    run(go())


def test_the_answer_may_be_far_larger_than_any_reply(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([cell("big = 'x' * 3_000_000 + str(len(repo))[:1]\nFINAL_VAR('big')")]))
            result = await d.workspace.run_query("All of it?", mode="recursive")
            assert result.status == "complete"
            assert len(result.answer) == 3_000_001

    run(go())


def test_plain_text_final_of_older_models_is_understood(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([cell("x = str(len(repo) > 9)"), "Done.\nFINAL_VAR(x)"]))
            result = await d.workspace.run_query("Is it?", mode="recursive")
            assert (result.status, result.answer) == ("complete", "True")

    run(go())


def test_the_prompt_only_grows_at_its_end(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted([*[cell(LOOK)] * 8, cell("FINAL('x')")])
            d.use(model)
            await d.workspace.run_query("How many?", mode="recursive")
            texts = [[m.text for m in request.messages] for request in model.requests]
            assert len(texts) == 9
            for earlier, later in itertools.pairwise(texts):
                assert later[: len(earlier)] == earlier
            assert len({request.system for request in model.requests}) == 1

    run(go())


def test_sub_calls_carry_the_question_of_the_run(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            seen: list[str] = []

            def sub(text: str) -> str:
                seen.append(text)
                return "yes"

            d.use(scripted([cell("llm_query('is it?')"), cell("FINAL('x')")], sub))
            await d.workspace.run_query("Which file holds the tax rule?", mode="recursive")
            assert "Which file holds the tax rule?" in seen[0]

    run(go())


def test_mode_environment_has_no_sub_calls(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted(
                [
                    cell("print('llm_query' in dir(), 'llm_query_batched' in dir())"),
                    cell("from rlm_mcp.sdk import llm_query\nllm_query('x')"),
                    cell("print(len(repo))\nFINAL('x')"),
                ]
            )
            d.use(model)
            result = await d.workspace.run_query("How many?", mode="environment")
            assert result.mode == "environment"
            assert "False False" in model.requests[1].messages[-1].text
            assert "no sub-calls" in model.requests[2].messages[-1].text
            assert result.calls == 3

    run(go())


def test_a_small_scope_is_answered_by_one_direct_call(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted([], lambda text: "repo:f0.txt#L1 `line 0 of file 0`")
            d.use(model)
            result = await d.workspace.run_query("What is on line 1?")
            assert (result.mode, result.calls, result.status) == ("direct", 1, "complete")
            assert "line 49 of file 3" in model.requests[0].messages[0].text
            assert result.evidence[0].verified

    run(go())


def test_a_direct_call_that_finds_too_little_escalates(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(
                scripted([cell(LOOK), cell("FINAL('at ' + h[0].ref)")], lambda text: "INSUFFICIENT")
            )
            result = await d.workspace.run_query("What is on line 1?")
            assert (result.mode, result.status) == ("recursive", "complete")
            assert "then direct gave" in result.reason

    run(go())


def test_a_dead_provider_fails_the_run_after_few_calls(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_errors=5) as d:
            sub = Fake(replies=lambda request: ModelError("down", kind="server", retryable=True))
            d.use(scripted([cell("a = llm_query_batched([str(i) for i in range(64)])")]))
            d.workspace.services.loaded_models["sub"] = sub
            result = await d.workspace.run_query("How many?", mode="recursive", sub_model="sub")
            assert result.status == "failed"
            assert "in a row failed" in result.reason
            assert len(sub.requests) <= 10
            assert result.answer == ""

    run(go())


def test_failed_parts_make_the_answer_partial_and_are_named(desk: Desks) -> None:
    def sub(text: str) -> str | ModelError:
        return ModelError("no", kind="refused") if "bad" in text.split("\n")[0] else "fine"

    async def go() -> None:
        async with desk() as d:
            code = (
                "a = llm_query_batched(['good', 'bad one', 'better'])\n"
                "print([bool(x) for x in a], a.failed, a[1].kind)"
            )
            model = scripted([cell(code), cell("FINAL(str(a[1]))")], sub)
            d.use(model)
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert "[True, False, True] ['2'] refused" in model.requests[-1].messages[-1].text
            assert result.status == "partial"
            assert (result.done, result.total) == (2, 3)
            assert result.missing and "bad one" in result.missing[0]

    run(go())


def test_a_busy_cell_does_not_outlive_its_cancelled_run(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([cell("while True: pass")]))
            task = asyncio.create_task(d.workspace.run_query("Start", mode="recursive"))
            while not d.of("cell"):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.2)
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - began < 5

    run(go())


def test_the_time_of_a_run_is_a_hard_limit(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_seconds=1.0) as d:
            d.use(scripted([cell("answer['content'] = 'so far'"), cell("while True: pass")]))
            began = time.monotonic()
            result = await d.workspace.run_query("Start", mode="recursive")
            assert time.monotonic() - began < 4.0
            assert (result.status, result.answer) == ("forced", "so far")
            assert "seconds" in result.reason

    run(go())


def test_an_empty_question_and_an_unknown_mode_are_refused(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            with pytest.raises(BadRequest, match="empty"):
                await d.workspace.run_query("  ")
            with pytest.raises(BadRequest, match="Did you mean direct"):
                await d.workspace.run_query("x", mode="dirct")

    run(go())


def test_an_answer_holds_no_half_of_a_character(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            answer = "answer = {'ready': True, 'content': ['a\\ud800b']}"
            d.use(scripted([cell(LOOK), cell(answer)]))
            result = await d.workspace.run_query("What is it?", mode="recursive")
            assert json.loads(result.answer) == ["a\ufffdb"]

    run(go())
