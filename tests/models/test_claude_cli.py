"""The `claude` command as a model: a stand-in for its manners, the real one for its protocol."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp import config
from rlm_mcp.errors import ModelError
from rlm_mcp.models.claude_cli import (
    MAX_PROCESSES,
    ClaudeCli,
    child_environment,
    conversation_prompt,
    login_state,
)
from rlm_mcp.models.model import ChatMessage, ModelReply, ModelRequest
from tests.client import install
from tests.models.conftest import point, sentence
from tests.sim.call import Call, Say
from tests.sim.faults import Fault
from tests.sim.server import SimServer

# A first line may not hold the spaces of a folder's name, so the shell starts Python.
STAND_IN = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import json, os, subprocess, sys, time
folder = os.path.dirname(__file__)
prompt = sys.stdin.read()
system = open(sys.argv[sys.argv.index("--system-prompt-file") + 1]).read()
record = dict(argv=sys.argv[1:], env=dict(os.environ), prompt=prompt, system=system,
              cwd=os.getcwd(), pid=os.getpid(), began=time.time())
{body}
record["ended"] = time.time()
with open(f"{{folder}}/call-{{os.getpid()}}.json", "w") as file:
    json.dump(record, file)
said = dict(type="result", is_error=False, result="echo " + prompt, stop_reason="end_turn",
            total_cost_usd=0.5, usage=dict(input_tokens=3, output_tokens=4,
            cache_read_input_tokens=5, cache_creation_input_tokens=6),
            modelUsage={{"claude-haiku-5-5": dict()}})
{after}
print(json.dumps(said))
"""

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that puts a stand-in for `claude` on the PATH."""

    def made(body: str = "", after: str = "") -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        path = folder / "claude"
        path.write_text(STAND_IN.format(python=sys.executable, body=body, after=after))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return folder

    return made


def ask(text: str = "hi", model: str = "haiku", **changes: object) -> ModelReply:
    request = ModelRequest([ChatMessage("user", text)], **changes)  # type: ignore[arg-type]
    return asyncio.run(ClaudeCli(model).complete(request))


def failure(**changes: object) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(**changes)  # type: ignore[arg-type]
    return sentence(caught.value)


def calls(folder: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("call-*.json"))]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_reply_carries_text_usage_cost_and_model(make: Make) -> None:
    make()
    reply = ask("hello", system="rules")
    assert reply.text == "echo hello"
    used = reply.usage
    assert (used.input, used.output, used.cache_read, used.cache_write) == (3, 4, 5, 6)
    assert (reply.cost_usd, reply.model, reply.stop) == (0.5, "claude-haiku-5-5", "end")


def test_the_call_is_lean_and_no_prompt_stands_on_the_command_line(make: Make) -> None:
    folder = make()
    ask("the prompt", system="the system text", max_tokens=123)
    (call,) = calls(folder)
    argv = call["argv"]
    assert isinstance(argv, list)
    for flag in ("-p", "--safe-mode", "--strict-mcp-config", "--no-session-persistence"):
        assert flag in argv
    assert argv[argv.index("--tools") + 1] == ""
    assert "the prompt" not in argv and "the system text" not in argv
    assert (call["prompt"], call["system"]) == ("the prompt", "the system text")


def test_the_child_gets_a_short_environment_with_a_depth_of_its_own(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make()
    monkeypatch.setenv("CLAUDECODE", "1")
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", "abc")
    monkeypatch.setenv("GITHUB_TOKEN", "x")
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", "/somewhere")
    ask(max_tokens=123)
    env = calls(folder)[0]["env"]
    assert isinstance(env, dict)
    assert env["RLM_MCP_DEPTH"] == "1"
    assert env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "123"
    assert env["CLAUDE_CONFIG_DIR"] == "/somewhere"
    assert not {"CLAUDECODE", "CLAUDE_CODE_SESSION_ID", "GITHUB_TOKEN"} & set(env)
    assert calls(folder)[0]["cwd"] != os.getcwd()


def test_below_a_sub_call_no_further_command_is_started(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make()
    monkeypatch.setenv("RLM_MCP_DEPTH", "1")
    assert failure().attempts == 0
    assert not calls(folder)


def test_at_most_four_run_at_once_over_all_models(make: Make) -> None:
    folder = make("time.sleep(0.3)")

    async def many() -> None:
        models = [ClaudeCli("haiku"), ClaudeCli("sonnet")]
        request = ModelRequest([ChatMessage("user", "hi")])
        await asyncio.gather(*(models[n % 2].complete(request) for n in range(6)))

    asyncio.run(many())
    edges = sorted(
        edge for call in calls(folder) for edge in ((call["began"], 1), (call["ended"], -1))
    )
    now = peak = 0
    for _, step in edges:
        now += step
        peak = max(peak, now)
    assert len(calls(folder)) == 6
    assert 1 < peak <= MAX_PROCESSES


GRANDCHILD = (
    "child = subprocess.Popen(['sleep', '60'])\n"
    "open(f'{folder}/pids', 'w').write(f'{os.getpid()} {child.pid}')\n"
    "time.sleep(60)"
)


def pids(folder: Path) -> list[int]:
    for _ in range(1_000):
        if (folder / "pids").exists() and (text := (folder / "pids").read_text()):
            return [int(pid) for pid in text.split()]
        time.sleep(0.01)
    raise AssertionError("the stand-in did not start")


def wait_until_gone(found: list[int]) -> None:
    for _ in range(500):
        if not any(map(alive, found)):
            return
        time.sleep(0.01)
    raise AssertionError(f"still alive: {[pid for pid in found if alive(pid)]}")


def test_cancellation_ends_the_whole_process_group(make: Make) -> None:
    folder = make(GRANDCHILD)

    async def cancelled() -> list[int]:
        task = asyncio.create_task(
            ClaudeCli("haiku").complete(ModelRequest([ChatMessage("user", "hi")]))
        )
        found = await asyncio.to_thread(pids, folder)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return found

    wait_until_gone(asyncio.run(cancelled()))


def test_a_time_limit_ends_the_whole_process_group(make: Make) -> None:
    folder = make(GRANDCHILD)
    error = failure(timeout_s=1.5)
    assert (error.kind, error.retryable, error.spent_usd) == ("timeout", True, None)
    wait_until_gone(pids(folder))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the child on Linux only")
def test_the_command_dies_with_a_server_that_is_killed(make: Make) -> None:
    folder = make("open(f'{folder}/pids', 'w').write(str(os.getpid()))\ntime.sleep(60)")
    script = (
        "import asyncio\n"
        "from rlm_mcp.models.claude_cli import ClaudeCli\n"
        "from rlm_mcp.models.model import ChatMessage, ModelRequest\n"
        "asyncio.run(ClaudeCli('haiku').complete(ModelRequest([ChatMessage('user', 'hi')])))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as server:
        found = pids(folder)
        server.send_signal(signal.SIGKILL)
    wait_until_gone(found)


def test_nothing_is_written_outside_the_cache_folder_and_nothing_is_left(make: Make) -> None:
    folder = make()
    cache = config.cache_dir()
    left, fresh = cache / "claude-left", cache / "claude-fresh"
    left.mkdir()
    fresh.mkdir()
    os.utime(left, (1, 1))
    ask()
    assert Path(str(calls(folder)[0]["cwd"])).parent == cache
    assert [path.name for path in cache.iterdir()] == ["claude-fresh"], "another call's stays"


@pytest.mark.parametrize(
    ("after", "kind", "retryable"),
    [
        ("said.update(is_error=True, api_error_status=401)", "auth", False),
        ("said.update(is_error=True, api_error_status=429)", "rate", True),
        ("said.update(is_error=True, api_error_status=529)", "overloaded", True),
        ("said.update(is_error=True, api_error_status=503)", "server", True),
        ("said.update(is_error=True, result='Not logged in - Please run /login')", "auth", False),
        ("said.update(is_error=True, result='prompt is too long')", "too_long", False),
        ("said.update(is_error=True, api_error='max_output_tokens')", "truncated", False),
        ("said.update(is_error=True, subtype='error_max_budget_usd')", "truncated", False),
        ("said.update(is_error=True, result='API Error: cannot connect')", "network", True),
        ("said.pop('usage')", "malformed", False),
        ("said.update(result=None)", "malformed", False),
        ("print('Oops'); sys.exit(3)", "malformed", False),
        ("sys.exit(1)", "malformed", False),
    ],
)
def test_a_failure_is_typed_even_where_the_subtype_says_success(
    make: Make, after: str, kind: str, retryable: bool
) -> None:
    make(after="said['subtype'] = 'success'\n" + after)
    error = failure()
    assert (error.kind, error.retryable) == (kind, retryable)


def test_a_failed_call_says_what_it_cost(make: Make) -> None:
    make(after="said.update(is_error=True, total_cost_usd=0.25)")
    assert failure().spent_usd == 0.25


def test_stop_sequences_cut_the_finished_text(make: Make) -> None:
    make()
    reply = ask("one STOP two", stop=("STOP",))
    assert (reply.text, reply.stop) == ("echo one ", "stop")


def test_a_conversation_goes_in_as_one_prompt() -> None:
    turns = [ChatMessage("user", "a"), ChatMessage("assistant", "b"), ChatMessage("user", "c")]
    prompt = conversation_prompt(ModelRequest(turns))
    assert [prompt.index(f"\n{text}\n") for text in "abc"] == sorted(
        prompt.index(f"\n{text}\n") for text in "abc"
    )


def test_a_missing_command_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    error = failure()
    assert (error.kind, error.attempts) == ("auth", 0)
    assert login_state() == (False, "There is no `claude` command on the PATH.")


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the real command on the PATH, with a scratch home."""
    try:
        program = install.claude()
    except install.CannotInstall as reason:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"the real Claude Code CLI was not tested: {reason}")
        pytest.skip(str(reason))
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "claude").symlink_to(program)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def test_the_real_command_answers_from_the_simulated_server(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mind(call: Call) -> Say:
        return Say(f"{call.turns[0].text} / {call.system.splitlines()[-1]} / {len(call.tools)}")

    with SimServer(mind) as server:
        point(monkeypatch, server)
        reply = ask("the question", system="the rules", max_tokens=500)
    assert reply.text == "the question / the rules / 0"
    assert reply.cost_usd is not None and 0 < reply.cost_usd < 0.01
    assert [call.body["max_tokens"] for call in server.calls] == [500]


def test_the_real_command_reports_a_refused_key(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SimServer(faults=[Fault("auth", share=1.0)]) as server:
        point(monkeypatch, server)
        error = failure()
    assert (error.kind, error.status) == ("auth", 401)


def test_the_real_command_does_not_continue_a_cut_reply_beyond_its_budget(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mind(call: Call) -> Say:
        return Say("x" * 4 * 1_000)

    with SimServer(mind) as server:
        point(monkeypatch, server)
        error = failure(max_tokens=200)
        assert len(server.calls) <= 2
    assert error.kind == "truncated"
    assert error.spent_usd is not None and error.spent_usd > 0


def test_the_real_command_says_whether_it_is_logged_in(
    real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert login_state()[0]
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    works, why = login_state()
    assert not works and "not logged in" in why


def test_the_environment_names_nothing_of_ours() -> None:
    ours = {name for name in child_environment(1) if name.startswith("RLM_MCP_")}
    assert ours == {"RLM_MCP_DEPTH"}
