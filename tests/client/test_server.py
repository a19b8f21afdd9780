"""Our server under the real Claude Code CLI, with a scripted model on loopback."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from tests.client.claude_code import Agent, Claude, use
from tests.sim.call import Call, Say
from tests.sim.server import SimServer

KEPT_IN_A_FILE = ("<persisted-output>", "has been saved to")
"""How the CLI says that a result was too large to be shown to the model."""


def test_the_model_works_with_the_tools_and_reads_their_results_as_text(
    program: Path, project: Path, tmp_path: Path
) -> None:
    agent = Agent(
        [
            use("mcp__rlm__contexts"),
            use("mcp__rlm__grep", pattern="MAX_RETRIES_GAMMA ="),
            use("mcp__rlm__execute", code="print(len(repo) > 50, 6 * 7)"),
            use(
                "mcp__rlm__rlm_query",
                prompt="Where is MAX_RETRIES_GAMMA set, and to what?",
                mode="recursive",
            ),
            "It is 7381.",
        ]
    )
    with SimServer(agent) as sim:
        claude = Claude(program, tmp_path, sim.url)
        ended = claude.ask("What is the limit?", "--mcp-config", claude.config())

    assert ended.code == 0, ended.stderr
    assert ended.values["result"] == "It is 7381."
    contexts, grep, execute, query = agent.results
    assert [result.is_error for result in agent.results] == [False] * 4, agent.results
    assert "repo" in contexts.text and "history" in contexts.text
    assert grep.text.startswith("1 matching line")
    assert "repo:src/limits.py#L3: MAX_RETRIES_GAMMA = 7381" in grep.text
    assert "True 42" in execute.text
    assert "repo:src/limits.py#L3: MAX_RETRIES_GAMMA = 7381" in query.text
    assert "complete" in query.text
    for result in agent.results:
        assert not any(mark in result.text for mark in KEPT_IN_A_FILE)
        assert not result.text.startswith("{"), "text, not JSON"
    assert "sim-root:grep_read" in {call.model for call in agent.others}, "same model server"
    assert ended.left == []


def test_the_client_loads_the_core_tools_at_once_and_shows_the_instructions(
    program: Path, project: Path, tmp_path: Path
) -> None:
    agent = Agent(["Hello."])
    with SimServer(agent) as sim:
        claude = Claude(program, tmp_path, sim.url)
        claude.ask("Hello", "--mcp-config", claude.config())

    loaded = {name.removeprefix("mcp__rlm__") for name in agent.turns[0].tools}
    assert {"contexts", "grep", "execute", "rlm_query"} <= loaded
    shown = "\n".join(turn.text for turn in agent.turns[0].turns)
    assert "## rlm" in shown
    assert "[truncated]" not in shown


def test_errors_reach_the_model_as_sentences(program: Path, project: Path, tmp_path: Path) -> None:
    agent = Agent(
        [
            use("mcp__rlm__grep", pattern="a(b"),
            use("mcp__rlm__peek", ref="repo:src/limit.py"),
            use("mcp__rlm__peek", ref="rpeo:src/limits.py"),
            use("mcp__rlm__open_context", source="/etc/passwd"),
            use("mcp__rlm__execute", code="open('/etc/passwd').read()"),
            use("mcp__rlm__grep"),
        ]
    )
    with SimServer(agent) as sim:
        claude = Claude(program, tmp_path, sim.url)
        ended = claude.ask("Fail", "--mcp-config", claude.config())

    assert ended.code == 0, ended.stderr
    pattern, document, variable, denied, cell, missing = agent.results
    assert pattern.is_error and "a(b" in pattern.text
    assert document.is_error and "src/limits.py" in document.text
    assert variable.is_error and "repo" in variable.text
    assert denied.is_error and "root" in denied.text
    assert "root:" not in denied.text + cell.text, "nothing of the file came through"
    assert missing.is_error and "pattern" in missing.text
    for result in agent.results:
        assert 20 < len(result.text) < 3_000
        assert "Error executing tool" not in result.text
        assert 'File "/' not in result.text, "a traceback names files of the server"
    assert ended.left == []


def test_no_result_is_so_large_that_the_client_keeps_it_in_a_file(
    program: Path, project: Path, tmp_path: Path
) -> None:
    lines = "".join(f"line {number} of a long file, which has many\n" for number in range(40_000))
    (project / "long.txt").write_text(lines)
    agent = Agent(
        [
            use("mcp__rlm__execute", code="print('x' * 3_000_000)"),
            use("mcp__rlm__grep", pattern="line", limit=100_000),
            use("mcp__rlm__peek", ref="repo:long.txt", limit=100_000),
            use("mcp__rlm__execute", code="str(repo)"),
        ]
    )
    with SimServer(agent) as sim:
        claude = Claude(program, tmp_path, sim.url)
        ended = claude.ask("Much", "--mcp-config", claude.config())

    assert ended.code == 0, ended.stderr
    assert len(agent.results) == 4
    for result in agent.results:
        assert len(result.text) <= 20_000
        assert not any(mark in result.text for mark in KEPT_IN_A_FILE)


def test_a_stopped_client_leaves_no_child_and_no_call_behind(
    program: Path, project: Path, tmp_path: Path
) -> None:
    reached = threading.Event()

    def mind(call: Call) -> Say | str:
        if call.tools:
            return agent(call)
        reached.set()
        return Say("too late", delay_s=60)

    agent = Agent([use("mcp__rlm__rlm_query", prompt="Where is MAX_RETRIES_GAMMA set?")])
    with SimServer(mind) as sim:
        claude = Claude(program, tmp_path, sim.url)
        flags = ("--allowedTools", "mcp__rlm", "--mcp-config", claude.config())
        with claude.running("-p", "Where?", *flags) as process:
            assert reached.wait(60), "the run never asked its model"
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            ended = claude.end(process)
        calls = [request.outcome for request in sim.calls if request.model.startswith("sim-")]

    assert ended.left == []
    assert calls and set(calls) == {"cancelled"}
    assert not list((claude.state / "servers").glob("*.json")), "the server took its sign down"
    assert os.listdir(claude.state / "runs"), "what was done until then is on record"


def test_a_client_that_is_killed_leaves_no_running_cell_behind(
    program: Path, project: Path, tmp_path: Path
) -> None:
    reached = threading.Event()

    def mind(call: Call) -> Say | str:
        if call.tools:
            return agent(call)
        reached.set()
        return "go"

    code = "llm_query('Ready?')\nwhile True: pass"
    agent = Agent([use("mcp__rlm__execute", code=code, timeout_s=60)])
    with SimServer(mind) as sim:
        claude = Claude(program, tmp_path, sim.url)
        claude.allow_spending()
        flags = ("--allowedTools", "mcp__rlm", "--mcp-config", claude.config())
        with claude.running("-p", "Loop", *flags) as process:
            assert reached.wait(60), "the cell never ran"
            time.sleep(0.3)
            process.send_signal(signal.SIGUSR1)
            ended = claude.end(process)

    assert ended.code == -signal.SIGKILL
    assert ended.left == []
