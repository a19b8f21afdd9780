"""The engine as the server uses it: tools in workers, lasting environments, runs, state files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from typing import Any

import pytest

from rlm_mcp.config import state_dir
from rlm_mcp.engine.host import Host
from rlm_mcp.engine.state_files import StateFiles
from rlm_mcp.errors import BadRequest, Denied, ModelError, RlmError
from rlm_mcp.models.fake import Fake
from rlm_mcp.models.model import ModelRequest, Price
from rlm_mcp.sandbox import pool
from rlm_mcp.tool_table import HOST_CALLS
from tests.engine.conftest import Desks, cell, run, scripted


def test_tools_answer_with_what_an_agent_is_shown(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            assert "repo" in await d.workspace.call_tool("contexts", {})
            assert "repo:f3.txt#L8: line 7 of file 3" in await d.workspace.call_tool(
                "grep", {"pattern": "line 7 of file 3"}
            )
            shown = await d.workspace.call_tool("peek", {"ref": "repo:f0.txt#L2-L3"})
            assert "line 1 of file 0" in shown and "line 2 of file 0" in shown

    run(go())


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("peek", {"ref": "rep:f0.txt"}, "Did you mean repo"),
        ("peek", {"ref": "repo:f9.txt"}, "f9.txt"),
        ("peek", {"ref": "repo:f0.txt#L900"}, "50 lines"),
        ("peek", {"ref": "r99"}, "no handle"),
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
                await d.workspace.call_tool(tool, arguments)
            text = str(caught.value)
            assert said in text
            assert "Traceback" not in text and "\n" not in text.strip()

    run(go())


def test_a_lasting_environment_keeps_its_variables_apart_from_others(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            await d.execute("x = 41")
            assert await d.execute("x + 1") == "=> 42"
            assert "NameError" in await d.execute("x", repl="other")

    run(go())


def test_a_cell_sees_a_file_that_changed_before_it(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            assert await d.execute("'new words' in repo") == "=> False"
            (d.folder / "f0.txt").write_text("new words\n")
            assert await d.execute("'new words' in repo") == "=> True"
            await d.execute("def look():\n    return 'newer' in repo")
            (d.folder / "f0.txt").write_text("newer words\n")
            assert await d.execute("look()") == "=> True"

    run(go())


def test_a_cell_cannot_run_a_cell(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            said = await d.execute("from rlm_mcp.sdk import execute\nexecute('1 + 1', 'main', 5.0)")
            assert "cannot run another cell" in said

    run(go())


def test_environments_are_bounded(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            for number in range(8):
                await d.execute("1", repl=f"r{number}")
            with pytest.raises(BadRequest, match="8 environments"):
                await d.execute("1", repl="one more")

    run(go())


def test_tool_calls_work_side_by_side(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            begun = time.monotonic()
            calls = [d.execute("import time\ntime.sleep(0.5)", repl=f"r{n}") for n in range(4)]
            await asyncio.gather(*calls)
            assert time.monotonic() - begun < 10
            many = [d.workspace.call_tool("grep", {"pattern": f"line {n} "}) for n in range(40)]
            assert all("matching lines" in text for text in await asyncio.gather(*many))

    run(go())


def test_busy_cells_and_waiting_calls_hold_up_no_other_call(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            call_tool = d.workspace.call_tool
            never = asyncio.Event()

            async def reply(request: ModelRequest) -> str:
                await never.wait()
                return "late"

            d.use(Fake(replies=reply))
            held = [
                asyncio.create_task(d.execute("while True: pass", repl=f"r{n}", timeout_s=600))
                for n in range(8)
            ]
            asked = {"prompt": "ok?", "mode": "direct", "refs": "repo:f0.txt"}
            held.append(asyncio.create_task(call_tool("rlm_query", asked)))
            held.append(asyncio.create_task(call_tool("llm_query", {"prompt": "ok?"})))
            while not d.workspace.runs.list_runs() or len(d.workspace._repls) < 8:
                await asyncio.sleep(0.01)
            id = d.workspace.runs.list_runs()[0].id
            held += [
                asyncio.create_task(call_tool("wait", {"run": id, "seconds": 100}))
                for _ in range(20)
            ]
            for tool, arguments in (
                ("grep", {"pattern": "line 7 of file 3"}),
                ("peek", {"ref": "repo:f0.txt"}),
                ("open_context", {"source": "f0.txt", "name": "first"}),
            ):
                await call_tool(tool, arguments)
                assert [task for task in held if task.done()] == []
            for task in held:
                task.cancel()
            await asyncio.gather(*held, return_exceptions=True)

    run(go())


def test_only_cells_and_users_tools_wake_a_worker(
    desk: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    take_worker = pool.take_worker

    def count_worker(*given: Any, **named: Any) -> Any:
        woken.append("worker")
        return take_worker(*given, **named)

    monkeypatch.setattr(pool, "take_worker", count_worker)

    async def go() -> None:
        async with desk() as d:
            d.use(scripted([]))
            d.workspace.services.tools = {**d.workspace.services.tools, "mine": MINE}
            for tool, arguments in (
                ("contexts", {}),
                ("open_context", {"source": "f0.txt", "name": "first"}),
                ("peek", {"ref": "first"}),
                ("grep", {"pattern": "line 7"}),
                ("outline", {}),
                ("chunk", {"ref": "repo"}),
                ("llm_query", {"prompt": "ok?"}),
                ("rlm_query", {"prompt": "ok?", "mode": "direct", "refs": "repo:f0.txt"}),
                ("wait", {"run": "none"}),
            ):
                with contextlib.suppress(RlmError):
                    await d.workspace.call_tool(tool, arguments)
                assert woken == [], tool
            assert await d.execute("1 + 1") == "=> 2"
            assert len(woken) == 1
            assert await d.workspace.call_tool("mine", {}) == "4"
            assert len(woken) == 2

    run(go())


MINE = '''
from rlm_mcp.sdk import grep

def mine() -> str:
    """Count."""
    return str(grep("line 7 of").total)
'''


@pytest.mark.parametrize(
    "body", ["import socket", "open('/etc/passwd')", "().__class__.__subclasses__()"]
)
def test_a_users_tool_has_no_more_rights_than_a_cell(desk: Desks, body: str) -> None:
    async def go() -> None:
        async with desk() as d:
            source = f'def mine() -> str:\n    """Do."""\n    {body}\n    return "done"\n'
            d.workspace.services.tools = {**d.workspace.services.tools, "mine": source}
            with pytest.raises(RlmError) as caught:
                await d.workspace.call_tool("mine", {})
            assert "root:" not in str(caught.value)

    run(go())


def test_a_source_that_is_given_under_our_name_does_not_run_for_it(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            evil = 'def contexts() -> str:\n    """Do."""\n    return "theirs"\n'
            d.workspace.services.tools = {**d.workspace.services.tools, "contexts": evil}
            assert "repo" in await d.workspace.call_tool("contexts", {})

    run(go())


@pytest.mark.parametrize(
    "code",
    [
        "llm_query('ok?')",
        "llm_query_batched(['a', 'b'])",
        "rlm_query('ok?')",
        "rlm_query_batched(['ok?'])",
        "from rlm_mcp.sdk import llm_query\nllm_query('ok?')",
        "try:\n    llm_query('ok?')\nexcept Exception:\n    llm_query('ok?')",
    ],
)
def test_a_cell_spends_only_after_the_user_let_a_call_be_made(desk: Desks, code: str) -> None:
    async def go() -> None:
        async with desk(spend="ask") as d:
            model = scripted([])
            d.use(model)
            assert 'set spend = "allow" in config.toml' in await d.execute(code)
            assert model.requests == []
            await d.workspace.call_tool("llm_query", {"prompt": "may I?"})
            assert "spend" not in await d.execute("llm_query('ok?')")
            assert len(model.requests) == 2

    run(go())


def test_a_cell_may_ask_a_model_that_costs_nothing(desk: Desks) -> None:
    async def go() -> None:
        async with desk(spend="ask") as d:
            d.use(scripted([], price=Price(0.0, 0.0, 0.0, 0.0, "no charge")))
            assert await d.execute("print(llm_query('ok?'))") == "ok"

    run(go())


def test_calls_at_once_have_a_host_each(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            d.use(scripted([]))
            told: list[list[float | None]] = [[], [], []]

            async def ask(place: int) -> None:
                async def progress(done: float, total: float | None, said: str) -> None:
                    told[place].append(total)

                refs = [f"repo:f{n}.txt" for n in range(place + 2)]
                given = {"prompt": f"ok {place}?", "refs": refs}
                await d.workspace.call_tool("llm_query", given, progress=progress)

            await asyncio.gather(*map(ask, range(3)))
            await asyncio.sleep(0)
            assert told == [[2] * 2, [3] * 3, [4] * 4]

    run(go())


def test_cancelling_a_tool_call_stops_its_cell_and_keeps_the_environment(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            await d.execute("kept = 7")
            task = asyncio.create_task(d.execute("while True: pass"))
            await asyncio.sleep(0.3)
            begun = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - begun < 5
            assert await d.execute("kept") == "=> 7"

    run(go())


def test_sub_calls_over_refs_give_coverage_previews_and_a_handle(desk: Desks) -> None:
    def sub(text: str) -> str | ModelError:
        return ModelError("no", kind="refused") if "file 2" in text else "fine"

    async def go() -> None:
        async with desk() as d:
            d.use(scripted([], sub))
            refs = " ".join(f"repo:f{n}.txt" for n in range(4))
            shown = await d.workspace.call_tool("llm_query", {"prompt": "ok?", "refs": refs})
            assert "3 of 4 answered" in shown and "model calls" in shown
            assert "not answered: repo:f2.txt" in shown
            handle = shown.rsplit("whole: ", 1)[1].split()[0]
            whole = await d.workspace.call_tool("peek", {"ref": handle})
            assert "<NO ANSWER: no>" in whole and "[4] repo:f3.txt" in whole

    run(go())


def test_a_chunk_handle_names_all_its_parts(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted([], lambda text: "seen")
            d.use(model)
            shown = await d.workspace.call_tool("chunk", {"ref": "repo", "tokens": 100})
            handle = shown.partition(":")[0]
            parts = shown.count("repo:")
            asked = await d.workspace.call_tool("llm_query", {"prompt": "ok?", "refs": handle})
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
            shown = await d.workspace.call_tool("chunk", {"ref": "repo:f1.txt", "tokens": 100})
            handle = shown.partition(":")[0]
            arguments = {"prompt": "What?", "refs": handle, "mode": "recursive"}
            await d.workspace.call_tool("rlm_query", arguments)
            first = model.requests[0].messages[0].text
            assert "The question is about: repo:f1.txt#L1-" in first
            assert "- repo (text)" in first

    run(go())


def test_handles_can_be_searched_and_chunked(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            handle = d.workspace.handles.store_text("alpha\nbeta\ngamma\n" * 50)
            found = await d.workspace.call_tool(
                "grep", {"pattern": "beta", "ref": handle, "limit": 1}
            )
            assert found.startswith("50 matching lines")
            ref = found.rsplit("\n", 2)[-2].partition(": ")[0]
            assert "beta" in await d.workspace.call_tool("peek", {"ref": ref, "limit": 1})

    run(go())


def test_a_run_opens_no_sources_and_chooses_no_models(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            (d.folder.parent / "outside.txt").write_text("secret")
            model = scripted(
                [
                    cell("from rlm_mcp.sdk import open_context\nopen_context('/etc/passwd')"),
                    cell("llm_query('x', model='openai:m@http://127.0.0.1:9')"),
                    cell("peek('repo:../outside.txt')"),
                    cell("print(len(repo))\nFINAL('x')"),
                ]
            )
            d.use(model)
            await d.workspace.run_query("Try", mode="recursive")
            shown = [request.messages[-1].text for request in model.requests[1:]]
            assert "opens no sources" in shown[0]
            assert "leave model empty" in shown[1]
            assert "secret" not in shown[2]

    run(go())


@pytest.mark.parametrize("name", sorted({*HOST_CALLS} - {"execute", "open_context"}))
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
            host = Host(d.workspace.services, d.workspace._tool_scope(None))
            function = host.functions[name]
            try:
                await asyncio.to_thread(function, **values)
            except RlmError as error:
                assert str(error)

    run(go())


def test_agents_sub_calls_are_recorded_once_there_are_any(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            await d.workspace.call_tool("grep", {"pattern": "x"})
            assert d.events == []
            d.use(scripted([]))
            await d.workspace.call_tool("llm_query", {"prompt": "ok?"})
            assert [event.type for event in d.events] == ["run.start", "call"]
            assert d.events[0].data["mode"] == "agent"

    run(go())


def test_state_files_name_what_is_open_and_go_with_the_server(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            await d.workspace.call_tool("open_context", {"source": "f0.txt", "name": "first"})
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
            StateFiles(state_dir(), d.workspace.settings).write_all([], [])
            assert not (servers / "999999999.json").exists()
            assert json.loads((state_dir() / "contexts.json").read_text())["contexts"] == []

    run(go())


def test_an_estimate_calls_no_model(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted([])
            d.use(model)
            got = await d.workspace.forecast_run("Summarise everything", mode="recursive")
            assert got["mode"] == "recursive" and got["likely_usd"] is None
            assert got["at_most_usd"] == 1.0 and got["likely_sub_calls"] >= 1
            assert model.requests == []

    run(go())


def test_a_denied_ref_is_denied_in_a_cell_too(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            with pytest.raises(Denied):
                await d.workspace.call_tool("open_context", {"source": str(d.folder.parent)})
            said = await d.execute(f"open_context({str(d.folder.parent)!r})")
            assert "root" in said

    run(go())
