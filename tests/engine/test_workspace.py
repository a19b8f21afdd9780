"""The engine as the server uses it: tools in workers, lasting environments, runs, state files."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

import pytest

from rlm_mcp.config import state_dir
from rlm_mcp.engine.statefiles import Files
from rlm_mcp.errors import BadRequest, Denied, ModelError, RlmError
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import Request
from tests.engine.conftest import Desk, Desks, cell, run, scripted


async def execute(d: Desk, code: str, **more: Any) -> str:
    return await d.workspace.call("execute", {"code": code, **more})


def test_tools_answer_with_what_an_agent_is_shown(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            assert "repo" in await d.workspace.call("contexts", {})
            assert "repo:f3.txt#L8: line 7 of file 3" in await d.workspace.call(
                "grep", {"pattern": "line 7 of file 3"}
            )
            shown = await d.workspace.call("peek", {"ref": "repo:f0.txt#L2-L3"})
            assert "line 1 of file 0" in shown and "line 2 of file 0" in shown

    run(go())


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("peek", {"ref": "rep:f0.txt"}, "Did you mean repo"),
        ("peek", {"ref": "repo:f9.txt"}, "f9.txt"),
        ("peek", {"ref": "repo:f0.txt#L900"}, "50 lines"),
        ("peek", {"ref": "r99"}, "no context"),
        ("peek", {"ref": "repo:f0.txt", "limit": 0}, "limit is from 1"),
        ("grep", {"pattern": "("}, "pattern"),
        ("grep", {"pattern": "x", "limit": True}, "whole number"),
        ("open_context", {"source": "/etc/passwd"}, "root"),
        ("llm_query", {"prompt": "x", "schema": "{"}, "not JSON"),
        ("llm_query", {"prompt": "x", "model": "openai:m@http://evil"}, "configuration"),
        ("rlm_query", {"prompt": " "}, "empty"),
        ("rlm_query", {"prompt": "x", "mode": "fast"}, "Unknown mode"),
        ("wait", {"run": "nope"}, "no run"),
        ("nope", {}, "no tool"),
    ],
)
def test_bad_input_gets_one_clear_sentence(
    desk: Desks, tool: str, arguments: dict[str, Any], said: str
) -> None:
    async def go() -> None:
        async with desk() as d:
            with pytest.raises(RlmError) as caught:
                await d.workspace.call(tool, arguments)
            text = str(caught.value)
            assert said in text
            assert "Traceback" not in text and "\n" not in text.strip()

    run(go())


def test_a_lasting_environment_keeps_its_variables_apart_from_others(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            await execute(d, "x = 41")
            assert await execute(d, "x + 1") == "=> 42"
            assert "NameError" in await execute(d, "x", repl="other")

    run(go())


def test_a_cell_sees_a_file_that_changed_before_it(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            assert await execute(d, "'new words' in repo") == "=> False"
            (d.folder / "f0.txt").write_text("new words\n")
            assert await execute(d, "'new words' in repo") == "=> True"
            await execute(d, "def look():\n    return 'newer' in repo")
            (d.folder / "f0.txt").write_text("newer words\n")
            assert await execute(d, "look()") == "=> True"

    run(go())


def test_a_cell_cannot_run_a_cell(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            said = await execute(
                d, "from rlm_mcp.sdk import run_cell\nrun_cell('1 + 1', 'main', 5.0)"
            )
            assert "cannot run another cell" in said

    run(go())


def test_environments_are_bounded(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            for number in range(8):
                await execute(d, "1", repl=f"r{number}")
            with pytest.raises(BadRequest, match="8 environments"):
                await execute(d, "1", repl="one more")

    run(go())


def test_tool_calls_work_side_by_side(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            begun = time.monotonic()
            calls = [execute(d, "import time\ntime.sleep(0.5)", repl=f"r{n}") for n in range(4)]
            await asyncio.gather(*calls)
            assert time.monotonic() - begun < 10
            many = [d.workspace.call("grep", {"pattern": f"line {n} "}) for n in range(40)]
            assert all("matching lines" in text for text in await asyncio.gather(*many))

    run(go())


def test_cancelling_a_tool_call_stops_its_cell_and_keeps_the_environment(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            await execute(d, "kept = 7")
            task = asyncio.create_task(execute(d, "while True: pass"))
            await asyncio.sleep(0.3)
            begun = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - begun < 5
            assert await execute(d, "kept") == "=> 7"

    run(go())


def test_sub_calls_over_refs_give_coverage_previews_and_a_handle(desk: Desks) -> None:
    def sub(text: str) -> str | ModelError:
        return ModelError("no", kind="refused") if "file 2" in text else "fine"

    async def go() -> None:
        async with desk() as d:
            d.use(scripted([], sub))
            refs = " ".join(f"repo:f{n}.txt" for n in range(4))
            shown = await d.workspace.call("llm_query", {"prompt": "ok?", "refs": refs})
            assert "3 of 4 answered" in shown and "model calls" in shown
            assert "not answered: repo:f2.txt" in shown
            handle = shown.rsplit("whole: ", 1)[1].split()[0]
            whole = await d.workspace.call("peek", {"ref": handle})
            assert "<NO ANSWER: no>" in whole and "[4] repo:f3.txt" in whole

    run(go())


def test_a_chunk_handle_names_all_its_parts(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted([], lambda text: "seen")
            d.use(model)
            shown = await d.workspace.call("chunk", {"ref": "repo", "tokens": 100})
            handle = shown.partition(":")[0]
            parts = shown.count("repo:")
            asked = await d.workspace.call("llm_query", {"prompt": "ok?", "refs": handle})
            assert f"{parts} of {parts} answered" in asked
            joined = "".join(r.messages[0].text for r in model.requests)
            for number in range(4):
                assert joined.count(f"line 49 of file {number}\n") == 1

    run(go())


def test_a_run_can_be_about_the_parts_behind_a_handle(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted([cell("FINAL(str(len(repo)))")])
            d.use(model)
            shown = await d.workspace.call("chunk", {"ref": "repo:f1.txt", "tokens": 100})
            handle = shown.partition(":")[0]
            arguments = {"prompt": "What?", "refs": handle, "mode": "recursive"}
            await d.workspace.call("rlm_query", arguments)
            first = model.requests[0].messages[0].text
            assert "The question is about: repo:f1.txt#L1-" in first
            assert "- repo (text)" in first

    run(go())


def test_handles_can_be_searched_and_chunked(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            handle = d.workspace.handles.keep("alpha\nbeta\ngamma\n" * 50)
            found = await d.workspace.call("grep", {"pattern": "beta", "ref": handle, "limit": 1})
            assert found.startswith("50 matching lines")
            ref = found.rsplit("\n", 2)[-2].partition(": ")[0]
            assert "beta" in await d.workspace.call("peek", {"ref": ref, "limit": 1})

    run(go())


def test_a_whole_run_by_tool_gives_answer_status_and_cost(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([cell("h = grep('line 7 of file 3')\nFINAL('at ' + h[0].ref)")]))
            shown = await d.workspace.call("rlm_query", {"prompt": "Where?", "mode": "recursive"})
            assert "at repo:f3.txt#L8" in shown and "status: complete" in shown
            assert "1 of 1 refs verified" in shown and "1 model call," in shown

    run(go())


def test_a_long_run_gives_its_id_and_wait_its_result(
    desk: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlm_mcp.engine.workspace.LONGEST_WAIT_S", 0.05)

    async def go() -> None:
        async with desk() as d:
            release = asyncio.Event()

            async def reply(request: Request) -> str:
                await release.wait()
                return cell("print(len(repo))\nFINAL('done at last')")

            d.use(Fake(replies=reply))
            shown = await d.workspace.call("rlm_query", {"prompt": "Where?", "mode": "recursive"})
            assert "still going" in shown
            id = d.workspace.runs.list()[0].id
            assert id in shown
            assert "still going" in await d.workspace.call("wait", {"run": id, "seconds": 0.01})
            release.set()
            assert "done at last" in await d.workspace.call("wait", {"run": id})

    run(go())


def test_a_failed_run_is_an_error_that_says_why_and_what_it_cost(desk: Desks) -> None:
    async def go() -> None:
        async with desk(max_iterations=1) as d:
            d.use(scripted([cell("print(len(repo))")]))
            with pytest.raises(RlmError) as caught:
                await d.workspace.call("rlm_query", {"prompt": "Where?", "mode": "recursive"})
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
                "from rlm_mcp.sdk import run\n"
                "a = run(['q%d' % n for n in range({})], mode='recursive')\nprint(a.done)"
            )
            assert await execute(d, code.format(4)) == "0"
            assert len(model.requests) <= 5
            assert "raise max_calls" in await execute(d, code.format(1_000))

    run(go())


def test_a_run_is_cancelled_by_wait(desk: Desks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlm_mcp.engine.workspace.LONGEST_WAIT_S", 0.05)

    async def go() -> None:
        async with desk() as d:
            model = Fake(replies=["x"], latency_s=60)
            d.use(model)
            await d.workspace.call("rlm_query", {"prompt": "Where?", "mode": "recursive"})
            while not model._active:
                await asyncio.sleep(0.01)
            live = d.workspace.runs.list()[0]
            while not model.requests:
                await asyncio.sleep(0.01)
            assert "cancelled" in await d.workspace.call("wait", {"run": live.id, "cancel": True})
            assert not live.going and model._active == 0
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
            await d.workspace.call("llm_query", {"prompt": "ok?", "refs": refs}, progress=progress)
            await asyncio.sleep(0)
            assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]

    run(go())


def test_a_run_opens_no_sources_and_chooses_no_models(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            (d.folder.parent / "outside.txt").write_text("secret")
            model = scripted(
                [
                    cell("from rlm_mcp.sdk import open_source\nopen_source('/etc/passwd')"),
                    cell("llm_query('x', model='openai:m@http://127.0.0.1:9')"),
                    cell("peek('repo:../outside.txt')"),
                    cell("print(len(repo))\nFINAL('x')"),
                ]
            )
            d.use(model)
            await d.workspace.ask("Try", mode="recursive")
            shown = [request.messages[-1].text for request in model.requests[1:]]
            assert "opens no sources" in shown[0]
            assert "leave model empty" in shown[1]
            assert "secret" not in shown[2]

    run(go())


@pytest.mark.parametrize("name", ["read", "scan", "split", "ask", "run", "variable", "wait"])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"ref": 5, "pattern": [], "prompts": "x", "name": None, "run": {}},
        {"ref": "repo", "pattern": "x", "limit": -1, "tokens": 0, "prompts": [1], "name": "repo"},
        {"ref": "repo", "limit": 10**9, "pattern": "x", "prompts": [], "refs": {}, "args": "x"},
        {"prompts": ["x"], "contexts": [5], "max_usd": float("inf"), "run": "x", "seconds": "y"},
    ],
)
def test_host_functions_refuse_arguments_of_wrong_types(
    desk: Desks, name: str, values: dict[str, Any]
) -> None:
    """Hostile code reaches these with any JSON: each answer is a value or an RlmError."""

    async def go() -> None:
        async with desk() as d:
            d.use(scripted([]))
            _, host = d.workspace._worker()
            function = host.functions[name]
            try:
                await asyncio.to_thread(function, **values)
            except RlmError as error:
                assert str(error)

    run(go())


def test_agents_sub_calls_are_recorded_once_there_are_any(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            await d.workspace.call("grep", {"pattern": "x"})
            assert d.events == []
            d.use(scripted([]))
            await d.workspace.call("llm_query", {"prompt": "ok?"})
            assert [event.type for event in d.events] == ["run.start", "call"]
            assert d.events[0].data["mode"] == "agent"

    run(go())


def test_state_files_name_what_is_open_and_go_with_the_server(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            await d.workspace.call("open_context", {"source": "f0.txt", "name": "first"})
            own = state_dir() / "servers" / f"{os.getpid()}.json"
            for _ in range(200):
                contexts = json.loads((state_dir() / "contexts.json").read_text())["contexts"]
                if contexts:
                    break
                await asyncio.sleep(0.01)
            assert [item["name"] for item in contexts] == ["first"]
            assert contexts[0]["pid"] == os.getpid()
            assert json.loads(own.read_text())["roots"] == [str(d.folder)]
            assert own.stat().st_mode & 0o077 == 0
        assert not own.exists()
        assert json.loads((state_dir() / "contexts.json").read_text())["contexts"] == []

    run(go())


def test_state_files_of_dead_servers_are_swept(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            servers = state_dir() / "servers"
            (servers / "999999999.json").write_text("{}")
            (state_dir() / "contexts.json").write_text('{"contexts": [{"pid": 999999999}, 5]}')
            Files(state_dir(), d.workspace.settings).write([], [])
            assert not (servers / "999999999.json").exists()
            assert json.loads((state_dir() / "contexts.json").read_text())["contexts"] == []

    run(go())


def test_an_estimate_calls_no_model(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted([])
            d.use(model)
            got = await d.workspace.estimate("Summarise everything", mode="recursive")
            assert got["mode"] == "recursive" and got["likely_usd"] is None
            assert got["at_most_usd"] == 1.0 and got["likely_sub_calls"] >= 1
            assert model.requests == []

    run(go())


def test_a_denied_ref_is_denied_in_a_cell_too(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            with pytest.raises(Denied):
                await d.workspace.call("open_context", {"source": str(d.folder.parent)})
            said = await execute(d, f"open_context({str(d.folder.parent)!r})")
            assert "root" in said

    run(go())
