"""The command line as a person and as a script meet it: output, sentences, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlm_mcp.cli.main import COMMANDS, run_command
from rlm_mcp.config import config_dir, state_dir

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a repository of its own, without a key and without a project folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "sub").mkdir()
    (folder / "greet.py").write_text('class Greeter:\n    """Says hello."""\n')
    (folder / "app.log").write_text("2026-11-01 10:00:00 ERROR disk full\n" * 20)
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    identity = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    for arguments in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "Say hello"]):
        subprocess.run(["git", *arguments], cwd=folder, env=env, check=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RLM_MCP_MODEL", "extractive:")
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    return folder


def command(*arguments: str, own_session: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rlm_mcp.cli", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_session,
    )


def test_json_is_one_exact_object(capsys: Capture) -> None:
    assert run_command(["ask", "Where is class Greeter defined?", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    got = json.loads(out)
    assert {
        "answer", "status", "coverage", "evidence", "cost_usd", "calls", "tokens", "seconds", "run",
    } <= set(got)  # fmt: skip
    assert set(got["coverage"]) >= {"done", "total"}
    assert set(got["tokens"]) == {"input", "output", "cache_read"}
    assert got["status"] == "complete"
    assert got["cost_usd"] == 0
    assert got["evidence"]
    assert all(set(item) == {"ref", "quote", "verified"} for item in got["evidence"])
    assert all(item["verified"] for item in got["evidence"])


def test_a_person_gets_the_answer_on_stdout_and_plain_progress_on_stderr(capsys: Capture) -> None:
    assert run_command(["ask", "Where is class Greeter defined?"]) == 0
    out, err = capsys.readouterr()
    assert "repo:greet.py#L1" in out
    assert "verified" in out
    assert "$0.0000" in out
    assert "turn 1" in err
    assert "\x1b" not in out + err


def test_quiet_says_nothing_but_the_answer(capsys: Capture) -> None:
    assert run_command(["ask", "Where is class Greeter defined?", "-q"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "ref"),
    [
        (["--repo"], "repo:greet.py"),
        (["--history"], "history:"),
        (["--open", "greet.py"], "greet"),
        (["--logs", "app.log"], "app"),
        (["--logs", "."], "app"),
    ],
)
def test_what_is_asked_can_be_chosen(options: list[str], ref: str, capsys: Capture) -> None:
    question = "Which commit says hello?" if "--history" in options else "Greeter disk full"
    assert run_command(["ask", question, "--json", *options]) == 0
    got = json.loads(capsys.readouterr().out)
    assert any(ref in item["ref"] for item in got["evidence"]), got


def test_a_named_source_outside_the_folder_is_consent(tmp_path: Path, capsys: Capture) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "note.txt").write_text("the vault of Zanzibar opens with MAGENTA\n")
    assert (
        run_command(["ask", "What opens the vault of Zanzibar?", "--open", str(other), "--json"])
        == 0
    )
    assert "MAGENTA" in capsys.readouterr().out


def test_a_source_beside_the_folder_may_be_named_by_dots(
    tmp_path: Path, project: Path, capsys: Capture
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("The keeper of the owl is Ada.\n")
    assert run_command(["ask", "Who is the keeper of the owl?", "--open", "../notes", "-q"]) == 0
    assert "notes:a.md#L1" in capsys.readouterr().out


def test_a_path_is_of_the_current_folder_else_of_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "sub").mkdir(parents=True)
    (elsewhere / "sub" / "note.txt").write_text("class Greeter was moved to the attic\n")
    monkeypatch.chdir(elsewhere)
    for source, ref in (
        ("sub/note.txt", "note"), ("sub/*.txt", "note"), ("greet.py", "greet"),
    ):  # fmt: skip
        question = "Where is class Greeter?"
        assert run_command(["ask", question, "--root", "../project", "--open", source, "-q"]) == 0
        assert ref in capsys.readouterr().out


def test_a_source_to_describe_may_lie_anywhere(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("The keeper of the owl is Ada.\n")
    assert run_command(["contexts", str(tmp_path / "notes")]) == 0
    assert "notes:a.md#L1" in capsys.readouterr().out


def test_a_setting_of_a_file_is_called_as_the_file_calls_it(capsys: Capture) -> None:
    Path(".rlm").mkdir()
    Path(".rlm/config.toml").write_text('max_usd = "abc"\n')
    assert run_command(["ask", "Where is class Greeter?", "-q"]) == 2
    said = "".join(capsys.readouterr())
    assert "Setting 'max_usd' in " in said and "--max-usd" not in said


def test_a_history_that_is_not_there_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "plain").mkdir()
    monkeypatch.chdir(tmp_path / "plain")
    assert run_command(["ask", "Who?", "--history", "-q"]) == 2
    assert "is in no git repository" in capsys.readouterr().err


def test_a_dry_run_says_what_it_may_cost_and_calls_nothing(capsys: Capture) -> None:
    assert run_command(["ask", "Where is class Greeter?", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["at_most_usd"] > 0
    assert not list((state_dir() / "runs").glob("*.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "Usage"),
        (["aks"], 2, "Did you mean ask"),
        (["ask"], 2, "QUESTION"),
        (["ask", "  "], 2, "empty"),
        (["ask", "x", "--bogus"], 2, "--bogus"),
        (["ask", "x", "--mode", "fast"], 2, "fast"),
        (["ask", "x", "--model", "nope:y"], 2, "nope:y"),
        (["ask", "x", "--open", "missing.txt"], 2, "missing.txt"),
        (
            ["ask", "x", "--max-usd", "-1"],
            2,
            "--max-usd' in the command line wants a number, 0",
        ),
        (["ask", "x", "--logs", "--root", "sub"], 2, "--open SOURCE names more"),
        (["runs", "import", "greet.py"], 2, "greet.py is not a log"),
        (["ask", "x", "--max-usd", "lots"], 2, "lots"),
        (["ask", "x", "--root", "/nowhere"], 2, "/nowhere"),
        (["ask", "x", "--session", "nope"], 2, "nope"),
        (["contexts", "missing"], 2, "missing"),
        (["contexts", "/nowhere/at/all"], 2, "There is no file or folder '/nowhere/at/all'."),
        (["ask", "x", "--open", "/nowhere/at/all"], 2, "There is no file or folder"),
        (["ask", "x", "--logs", "~/nowhere.log"], 2, "There is no file or folder '~/nowhere.log'"),
        (["runs", "show", "nope"], 2, "nope"),
        (["runs", "export"], 2, "--all"),
        (["install", "cursr"], 2, "Did you mean cursor"),
        (["trust", "/nowhere"], 2, "/nowhere"),
        (["serve", "--http", "0.0.0.0:80"], 2, "loopback"),
        (["serve", "--http", "nonsense"], 2, "HOST:PORT"),
    ],
)
def test_bad_use_is_one_sentence_and_a_code(
    arguments: list[str], code: int, says: str, capsys: Capture
) -> None:
    assert run_command(arguments) == code
    out, err = capsys.readouterr()
    assert says in out + err
    assert "Traceback" not in err
    if arguments:
        assert err.startswith("rlm-mcp: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize("limit", ["calls", "seconds"])
def test_a_limit_of_nothing_is_bad_use(limit: str, capsys: Capture) -> None:
    assert run_command(["ask", "Where is class Greeter?", f"--max-{limit}", "0", "-q"]) == 2
    assert (
        f"--max-{limit} is 0, so this run may not even begin; raise it." in capsys.readouterr().err
    )


def test_a_missing_key_is_bad_use_with_the_remedy(capsys: Capture) -> None:
    code = run_command(["ask", "Where is class Greeter?", "--model", "anthropic:claude-x", "-q"])
    assert code == 2
    out, err = capsys.readouterr()
    assert "key" in (out + err).lower()


def test_a_state_folder_that_cannot_be_used_is_a_sentence(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RLM_MCP_STATE_DIR", str(tmp_path / "file" / "state"))
    assert run_command(["ask", "Where is class Greeter?", "-q"]) == 4
    assert capsys.readouterr().err.count("\n") == 1


def test_a_broken_settings_file_is_a_sentence(capsys: Capture) -> None:
    (config_dir() / "config.toml").write_text("max_usd = = 1")
    assert run_command(["contexts"]) == 2
    assert "config.toml" in capsys.readouterr().err


def test_a_project_cannot_widen_the_limits(project: Path, capsys: Capture) -> None:
    (project / ".rlm").mkdir()
    (project / ".rlm" / "config.toml").write_text('model = "anthropic:claude-x"\n')
    assert run_command(["ask", "x"]) == 2
    assert "project cannot set 'model'" in capsys.readouterr().err


def test_a_source_cannot_write_escape_codes_to_the_terminal(project: Path, capsys: Capture) -> None:
    (project / "evil.py").write_text("class Evil:\n    x = '\x1b]0;owned\x07\x1b[2J'\n")
    assert run_command(["ask", "Where is class Evil defined?"]) == 0
    out, err = capsys.readouterr()
    assert "Evil" in out
    assert "\x1b" not in out + err
    assert "\x07" not in out + err


def test_contexts_lists_and_describes(capsys: Capture) -> None:
    assert run_command(["contexts"]) == 0
    listed = capsys.readouterr().out
    assert "repo" in listed and "history" in listed and "logs" in listed
    assert run_command(["contexts", "repo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "repo"


def test_runs_are_listed_shown_exported_and_replayed(capsys: Capture) -> None:
    assert run_command(["runs", "list"]) == 0
    assert "No runs yet" in capsys.readouterr().out
    assert run_command(["ask", "Where is class Greeter defined?", "--json"]) == 0
    name = json.loads(capsys.readouterr().out)["run"]
    assert run_command(["runs", "list"]) == 0
    assert name in capsys.readouterr().out
    assert run_command(["runs", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == name
    assert run_command(["runs", "show", name[:-2]]) == 0
    shown = capsys.readouterr().out
    assert "turn 1" in shown and "complete" in shown
    assert run_command(["runs", "show", name, "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["type"] == "run.end"
    assert run_command(["runs", "show", name, "--html"]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert "<script" in page.read_text()
    assert "http://" not in page.read_text().split('id="run"')[0]
    assert page.stat().st_mode & 0o077 == 0
    assert run_command(["runs", "export", name]) == 0
    assert json.loads(capsys.readouterr().out)["messages"][-1]["role"] == "assistant"
    assert run_command(["runs", "export", "--all", "-o", "out.jsonl"]) == 0
    assert Path("out.jsonl").read_text().count("\n") == 1
    capsys.readouterr()
    Path("out.jsonl").unlink()
    assert run_command(["runs", "replay", name]) == 0
    assert "same answer" in capsys.readouterr().out


def test_a_log_of_the_official_library_is_kept_and_shown(tmp_path: Path, capsys: Capture) -> None:
    block = {"code": "print(len(context))", "result": {"stdout": "12", "rlm_calls": []}}
    turn = {
        "type": "iteration",
        "timestamp": "2026-01-01T00:00:01",
        "prompt": [{"role": "user", "content": "How long is it?"}],
        "response": "I look.",
        "code_blocks": [block],
        "final_answer": "twelve",
    }
    start = {"type": "metadata", "timestamp": "2026-01-01T00:00:00", "root_model": "m"}
    path = tmp_path / "log.jsonl"
    path.write_text(f"{json.dumps(start)}\n{json.dumps(turn)}\n")
    assert run_command(["runs", "import", str(path)]) == 0
    name = capsys.readouterr().out.strip()
    assert run_command(["runs", "import", str(path)]) == 0
    assert capsys.readouterr().out.strip() == name
    assert [file.stem for file in (state_dir() / "runs").iterdir()] == [name]
    assert run_command(["runs", "list"]) == 0
    listed = capsys.readouterr().out
    assert name in listed and "How long is it?" in listed and "complete" in listed
    assert run_command(["runs", "show", name, "--html", "-o", "page.html"]) == 0
    assert "print(len(context))" in Path("page.html").read_text()
    capsys.readouterr()
    for given in (name, str(path)):
        assert run_command(["runs", "show", given]) == 0
        out = capsys.readouterr().out
        assert "print(len(context))" in out
        assert "twelve" in out


def test_a_replay_of_what_has_changed_says_so(project: Path, capsys: Capture) -> None:
    assert run_command(["ask", "Where is class Greeter defined?", "--json"]) == 0
    name = json.loads(capsys.readouterr().out)["run"]
    (project / "greet.py").write_text("# moved\n\n\nclass Greeter:\n    pass\n")
    assert run_command(["runs", "replay", name]) == 3
    assert "Not the same" in capsys.readouterr().out


def test_trust_shows_asks_allows_and_takes_back(
    project: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project / ".rlm" / "tools"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text('def mine() -> str:\n    """Mine."""\n    return "m"\n')
    assert run_command(["trust", "--list"]) == 0
    assert re.search(r"new +tools/mine\.py", capsys.readouterr().out)
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    assert run_command(["trust"]) == 130
    assert run_command(["trust", "--list"]) == 0
    assert "new" in capsys.readouterr().out
    assert run_command(["trust", "--yes"]) == 0
    assert run_command(["trust", "--list"]) == 0
    assert re.search(r"trusted +tools/mine\.py", capsys.readouterr().out)
    assert run_command(["trust", "--remove"]) == 0
    assert run_command(["trust", "--list"]) == 0
    assert "new" in capsys.readouterr().out
    sys.stdin.close()


def test_install_and_uninstall_leave_the_file_as_it_was(project: Path, capsys: Capture) -> None:
    path = project / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_text('{\n  // mine\n  "mcpServers": {}\n}\n')
    before = path.read_text()
    assert run_command(["install", "cursor", "--dry-run"]) == 0
    assert "+" in capsys.readouterr().out
    assert path.read_text() == before
    assert run_command(["install", "cursor"]) == 0
    assert "rlm" in path.read_text() and "// mine" in path.read_text()
    assert run_command(["install", "cursor"]) == 0
    assert "nothing changed" in capsys.readouterr().out
    assert run_command(["uninstall", "cursor"]) == 0
    assert path.read_text() == before


def test_doctor_tries_the_sandbox_and_names_its_layers(capsys: Capture) -> None:
    code = run_command(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    findings = {(found["group"], found["name"]): found for found in report["findings"]}
    assert findings["sandbox", "worker"]["state"] == "ok"
    assert findings["sandbox", "escapes"]["state"] == "ok"
    assert findings["models", "extractive:"]["state"] == "ok"
    assert findings["content", "tools"]["detail"] == "10"
    assert report["ok"] == (code == 0)
    if sys.platform.startswith("linux"):
        layers = {name for group, name in findings if group == "sandbox"}
        assert "seccomp" in layers


def test_every_command_has_help_that_fits_a_terminal(capsys: Capture) -> None:
    for name in COMMANDS:
        assert run_command([name, "--help"]) == 0
        assert all(len(line) <= 100 for line in capsys.readouterr().out.splitlines())


def test_the_installed_command_and_the_module_are_the_same() -> None:
    done = command("--version").communicate(timeout=60)
    assert done[0].startswith("rlm-mcp, version ")


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("group", [False, True], ids=["process", "terminal"])
def test_an_interrupt_ends_the_run_and_says_what_was_kept(group: bool, tmp_path: Path) -> None:
    script = tmp_path / "slow.json"
    cell = "```repl\nwhile True:\n    pass\n```"
    script.write_text(json.dumps({"replies": [cell, cell]}))
    process = command(
        "ask", "What is slow?", "--model", f"fake:{script}", "--mode", "environment",
        own_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not list((state_dir() / "runs").glob("*.jsonl")):
        time.sleep(0.05)
    time.sleep(1)
    if group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Stopped." in err
    assert re.search(r"runs show \d{4}-\d{6}-\w+", err)
    assert "Traceback" not in err
