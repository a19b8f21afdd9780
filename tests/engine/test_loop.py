"""The loop of a run, with real environments and a scripted model."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlm_mcp.engine.loop import NO_CELL, TOO_SOON
from rlm_mcp.errors import BadRequest, ModelError
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelReply, Price, TokenUsage
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
            assert len(model.requests) == 4
            assert "This is your last reply" in model.requests[3].messages[-1].text
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


FALSE_QUOTE = "FINAL('At repo:f3.txt#L8 `line 9 of file 3`, repo:f3.txt#L1 `line 0 of file 3`')"
MENDED = """FINAL('At ' + cite('repo:f3.txt', 'line 7 of file 3'))"""


def test_false_evidence_is_told_once_before_the_answer_is_taken(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted([cell(LOOK), cell(FALSE_QUOTE), cell(MENDED)])
            d.use(model)
            result = await d.workspace.run_query("Where is line 7?", mode="recursive")
            told = model.requests[2].messages[-1].text
            assert "1 of 2 refs or quotes are false" in told
            assert "does not hold `line 9 of file 3`; it stands at repo:f3.txt#L10" in told
            assert result.answer == "At repo:f3.txt#L8 `line 7 of file 3`"
            assert [(e.ref, e.verified) for e in result.evidence] == [("repo:f3.txt#L8", True)]
            assert (result.status, result.calls) == ("complete", 3)

    run(go())


@pytest.mark.parametrize(
    ("later", "limits", "calls"),
    [
        (cell(FALSE_QUOTE), {}, 3),
        ("I am sure.", {}, 6),
        (ModelError("The model refused.", kind="refused"), {}, 3),
        (cell(MENDED), {"max_iterations": 2}, 2),
        (cell(MENDED), {"max_calls": 3}, 2),
    ],
)
def test_an_answer_that_is_not_mended_is_taken_with_its_evidence_marked_as_false(
    desk: Desks, later: str | ModelError, limits: dict[str, int], calls: int
) -> None:
    async def go() -> None:
        async with desk(**limits) as d:
            d.use(scripted([cell(LOOK), cell(FALSE_QUOTE), later]))
            result = await d.workspace.run_query("Where is line 7?", mode="recursive")
            assert "line 9 of file 3" in result.answer
            assert [e.verified for e in result.evidence] == [False, True]
            assert (result.status, result.calls) == ("complete", calls)

    run(go())


def test_cite_in_a_cell_gives_the_real_line_where_the_quote_is_wrong(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            wrong = await d.execute("cite('repo:f3.txt#L8', 'line 7 of file 4')")
            assert "there: `line 7 of file 3`" in wrong
            hit = await d.execute("h = grep('line 7 of file 3')[0]\nprint(cite(h, h.text))")
            assert "repo:f3.txt#L8 `line 7 of file 3`" in hit

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

            model = scripted([cell("llm_query('is it?')"), cell("FINAL('x')")], sub)
            d.use(model)
            await d.workspace.run_query("Which file holds the tax rule?", mode="recursive")
            assert seen == ["is it?"]
            told = next(r.system for r in model.requests if r.purpose != "root")
            assert "<background>\nWhich file holds the tax rule?\n</background>" in told

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


def test_a_direct_call_names_each_document_numbers_its_lines_and_its_refs_are_evidence(
    desk: Desks,
) -> None:
    async def go() -> None:
        async with desk() as d:
            model = Fake(replies=["It is in repo:f3.txt#L1-L51 `line 7 of file 3`."])
            d.use(model)
            result = await d.workspace.run_query("Which file defines line 7 of file 3?")
            text = model.requests[0].messages[0].text
            for number in range(4):
                assert f'<part ref="repo:f{number}.txt' in text
                assert f"\n 8| line 7 of file {number}\n" in text
            assert [(e.ref, e.verified) for e in result.evidence] == [("repo:f3.txt#L8", True)]

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


def test_a_fan_out_that_would_touch_the_answer_is_refused_with_what_is_left(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_calls=6) as d:
            many = cell("r = llm_query_batched([str(i) for i in range(5)])")
            model = scripted([many, many, cell("print(len(repo))\nFINAL('what I have')")])
            d.use(model)
            result = await d.workspace.run_query("How many?", mode="recursive")
            told = model.requests[1].messages[-1].text
            assert "5 calls and 4 of 6 are left; one is kept for your answer" in told
            assert (result.status, result.answer, result.calls) == ("complete", "what I have", 3)

    run(go())


def test_the_last_affordable_turn_is_announced_as_the_last(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_calls=5) as d:
            ask = cell("a = llm_query_batched(['x', 'y', 'z'])\nprint(a[0])")
            model = scripted([ask, cell("FINAL(a[0])")])
            d.use(model)
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert "This is your last reply" in model.requests[-1].messages[-1].text
            assert (result.status, result.answer) == ("forced", "ok")

    run(go())


def test_what_was_paid_comes_back_where_the_root_writes_no_answer(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_calls=4) as d:
            ask = cell("a = llm_query_batched(['x', 'y'])")
            d.use(scripted([ask, cell("print('no answer')")], lambda text: "seven"))
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert result.status == "partial"
            assert result.answer.count("seven") == 2

    run(go())


@given(
    usd=st.sampled_from([0.02, 0.05, 0.1, 0.15, 0.3, 1.0]),
    calls=st.integers(2, 9),
    output_tokens=st.sampled_from([600, 2_000, 9_000, 100_000]),
    rates=st.sampled_from([(0.0, 0.0), (1.0, 5.0), (3.0, 15.0), (15.0, 75.0)]),
    plan=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    final=st.sampled_from(["FINAL('done')", "print('no')", "1 / 0"]),
)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_run_with_a_paid_answer_ends_empty(
    desk: Desks,
    usd: float,
    calls: int,
    output_tokens: int,
    rates: tuple[float, float],
    plan: list[int],
    final: str,
) -> None:
    """Whatever the budget, the price and the order of fan-outs."""

    async def go() -> None:
        limits = {"max_usd": usd, "max_calls": calls, "max_output_tokens": output_tokens}
        async with desk(max_iterations=6, max_errors=3, **limits) as d:
            price = Price(*rates, rates[0] / 10, rates[0] * 1.25, "2026-11-01")
            cells = [
                cell(f"a = llm_query_batched(['{turn}-%d' % i for i in range({width})])")
                for turn, width in enumerate(plan)
            ]
            model = scripted([*cells, cell(final)], lambda text: "said so", price=price)
            d.use(model)
            question = f"How many? {usd} {calls} {output_tokens} {rates} {plan} {final}"
            result = await d.workspace.run_query(question, mode="recursive")
            paid = [e for e in d.of("call") if e["purpose"] == "sub" and "reply" in e]
            assert result.answer.strip() or not paid
            assert result.cost_usd is not None and result.cost_usd <= usd
            assert result.calls <= calls

    run(go())


F = "```"
SETS = "answer['content'] = 'right %d' % (len(context) > 5)\nanswer['ready'] = True"


@pytest.mark.parametrize(
    "reply",
    [
        f"{F}tool_code\n{SETS}\n{F}",
        f"{F}ipython\n{SETS}\n{F}",
        f"{F}\n{SETS}\n{F}",
        SETS,
        "1. Then:\n   " + f"{F}repl\n{SETS}\n{F}".replace("\n", "\n   "),
        f"<think>\n{F}repl\nFINAL('wrong')\n{F}\n</think>\n{F}repl\n{SETS}\n{F}",
        f"maybe\n</think>\n{F}repl\n{SETS}\n{F}",
        f"{F}repl\nx = 'right %d' % (len(context) > 5)\n{F}\nFINAL_VAR(x)",
        f"{F}repl\nx = 'right %d' % (len(context) > 5)\n{F}\nFINAL(x)",
    ],
)
def test_what_is_plainly_a_cell_is_run(desk: Desks, reply: str) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([reply, "FINAL('wrong')"]))
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer, result.calls) == ("complete", "right 1", 1)

    run(go())


def test_a_fence_inside_a_string_does_not_end_the_cell(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            text = f"Use this:\n{F}python\nx = 1\n{F}\nDone"
            code = f"len(context)\nanswer['content'] = '''{text}'''\nanswer['ready'] = True"
            d.use(scripted([cell(code)]))
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer, result.calls) == ("complete", text, 1)

    run(go())


def test_final_of_a_variable_in_prose_is_its_value(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([cell("result = str(6 * 7)\nprint(context[:20])"), "FINAL(result)"]))
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer) == ("complete", "42")

    run(go())


@pytest.mark.parametrize("value", ["'600 lines'", "[1, 2]", "{'text': 1}", "grep"])
def test_answer_bound_to_something_else_is_put_back_and_said(desk: Desks, value: str) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted(
                [
                    cell("answer['content'] = 'kept ' + str(len(context) > 5)"),
                    cell(f"answer = {value}"),
                    cell("print(answer_)\nanswer['ready'] = True"),
                ]
            )
            d.use(model)
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert "your value is in `answer_`" in model.requests[2].messages[-1].text
            assert (result.status, result.answer) == ("complete", "kept True")

    run(go())


def test_a_refused_answer_keeps_its_content(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(
                scripted(
                    [
                        cell(
                            "len(context)\nanswer['content'] = 'long'\nanswer['ready'] = True\n1/0"
                        ),
                        cell("answer['ready'] = True"),
                    ]
                )
            )
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer) == ("complete", "long")

    run(go())


@pytest.mark.parametrize("reply", [f"{F}repl\nprint(len(context))\n{F}", "print(len(context))"])
def test_code_is_no_answer_in_direct_mode(desk: Desks, reply: str) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([], lambda text: reply))
            result = await d.workspace.run_query("How many?", mode="direct")
            assert (result.status, result.answer) == ("failed", "")

    run(go())


def test_thinking_aloud_is_no_part_of_a_direct_answer(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([], lambda text: "<think>\nmaybe 41\n</think>\n\nThe number is 42."))
            result = await d.workspace.run_query("How many?", mode="direct")
            assert result.answer == "The number is 42."

    run(go())


@pytest.mark.parametrize("stop", ["end", "max_tokens", "refused"])
def test_a_reply_that_is_no_answer_is_not_stored(desk: Desks, stop: str) -> None:
    async def go() -> None:
        async with desk() as d:
            bad = "" if stop == "end" else "cut"
            reply = ModelReply(bad, TokenUsage(1, 1), "m", 0.0, stop)  # type: ignore[arg-type]
            d.use(Fake(replies=[reply, "good 42"]))
            first = await d.workspace.run_query("Which number?", mode="direct")
            second = await d.workspace.run_query("Which number?", mode="direct")
            assert first.status == "failed"
            assert (second.status, second.answer, second.cached) == ("complete", "good 42", 0)

    run(go())


def test_the_root_replies_of_a_run_that_was_forced_answer_no_other(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_iterations=2) as d:
            d.use(scripted([cell("print(len(context))")]))
            assert (await d.workspace.run_query("How many?", mode="recursive")).status == "failed"
            model = scripted([cell("print(len(context))\nFINAL('7')")])
            d.use(model)
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer, len(model.requests)) == ("complete", "7", 1)

    run(go())


def test_a_list_of_prompts_gives_all_answers(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            code = "a = llm_query(['one', 'two', 'three'])\nFINAL(str([str(x) for x in a]))"
            d.use(scripted([cell(f"len(context)\n{code}")], lambda text: text[:3]))
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert result.answer == "['one', 'two', 'thr']"

    run(go())


def test_a_long_output_is_cut_between_lines_and_the_call_it_names_opens_the_rest(
    desk: Desks,
) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted(
                [
                    cell("print('\\n'.join(f'{n} ' + 'x' * 40 for n in range(1, 1001)))"),
                    cell("print('y' * 40_000)"),
                    cell("FINAL(str(len(repo)))"),
                ]
            )
            d.use(model)
            await d.workspace.run_query("What is it?", mode="recursive")
            shown = model.requests[1].messages[-1].text
            found = re.search(
                r"\n(\d+) x+\n\[\.\.\. lines (\d+)-(\d+) of 1000 left out: "
                r'print\(peek\("(h\d+#L\d+-L\d+)", limit=(\d+)\)\) \.\.\.\]\n(\d+) x+\n',
                shown,
            )
            assert found is not None, shown
            before, first, last, ref, limit, after = found.groups()
            assert (int(before) + 1, int(last) + 1) == (int(first), int(after))
            assert ref.endswith(f"#L{first}-L{last}")
            assert int(limit) == int(last) - int(first) + 1
            assert 10_000 < len(shown) < 17_000
            assert re.search(r'left out: print\(peek\("h\d+#C\d+-C\d+"\)\)', str(model.requests[2]))

    run(go())
