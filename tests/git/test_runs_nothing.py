"""No repository makes us run anything, whatever its configuration names and whoever asks."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp import promptbook, toolbox
from rlm_mcp.config import Settings
from rlm_mcp.corpus.search import Query
from rlm_mcp.engine import Workspace
from rlm_mcp.errors import RlmError
from rlm_mcp.git import command
from rlm_mcp.refs import Ref
from tests.git.traps import COMMANDS, KEY, NESTS, Nest, make_nest, run_carelessly
from tests.project import OpenProject

Make = Callable[..., OpenProject]
GIVEN: dict[str, Any] = {
    "path": "a.py", "name": "two", "symbol": "two", "pattern": "return", "question": "two",
    "commit": "HEAD", "rev": "HEAD~1", "revs": "v1.0..HEAD", "a": "v1.0", "b": "HEAD",
    "staged": True, "author": "Ada", "since": "2001", "until": "2099", "limit": 5, "start": 1,
    "end": 2,
}  # fmt: skip
QUESTIONS = (
    "What changed since version 1.0?", "What are the latest releases?", "Who wrote a.py?",
    "What is not committed?", "Which release added `two`?",
)  # fmt: skip


@pytest.fixture(params=list(NESTS))
def nest(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Nest:
    made = make_nest(tmp_path / "nest")
    NESTS[request.param](made)
    made.clear()
    # Not every git knows this one, so nothing may rest on it.
    monkeypatch.delitem(command._ENVIRONMENT, "GIT_NO_LAZY_FETCH")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("SSH_AUTH_SOCK", KEY)
    monkeypatch.setenv("PATH", f"{made.programs}{os.pathsep}{os.environ['PATH']}")
    return made


def asked_everything(catalog: OpenProject) -> Iterator[Callable[[], object]]:
    """Give every question that a variable over git answers, methods as they are registered."""
    for source in (
        "repo@HEAD",
        "repo@v1.0",
        "repo@index",
        "v1.0..HEAD",
        f"file://{_root(catalog)}",
    ):
        yield partial(catalog.open_context, source)
    for name in list(dict.fromkeys([*catalog.open_names(), "repo", "history"])):
        try:
            variable = catalog.get_variable(name)
        except RlmError:
            continue
        whole = Ref(name)
        yield variable.describe
        yield partial(variable.documents, whole)
        yield partial(variable.outline, whole)
        yield partial(variable.peek, whole)
        yield partial(variable.full_text, whole)
        yield partial(variable.grep, Query("return"), whole)
        yield partial(variable.search, "two", whole)
        yield partial(variable.chunk, whole)
        for method, function in variable.methods.items():
            parameters = inspect.signature(function).parameters.values()
            needed = {p.name: GIVEN.get(p.name, "a.py") for p in parameters if p.default is p.empty}
            known = {p.name: GIVEN[p.name] for p in parameters if p.name in GIVEN}
            for given in (needed, {**needed, **known}):
                yield partial(catalog.call_method, name, method, [], given)
    for ref in ("repo:a.py@v1.0", "repo:a.py@HEAD", "repo@v1.0", "history:HEAD", "history:v1.0"):
        yield partial(catalog.full_text, ref)


def _root(catalog: OpenProject) -> Path:
    return catalog.settings.roots[0]


def test_no_question_runs_a_program_of_the_repository(nest: Nest, catalog_of: Make) -> None:
    catalog = catalog_of(nest.path)
    asked = 0
    for ask in asked_everything(catalog):
        with contextlib.suppress(RlmError):  # a sentence is an answer, anything else a defect
            ask()
        asked += 1
        assert nest.fired() == []
    assert asked > 60
    assert set(catalog.call_method("history", "refs", [], {})) >= {"main", "v1.0"}
    assert "evil" not in catalog.call_method("history", "refs", [], {})
    if (nest.path / ".git/hooks/post-checkout").is_symlink():
        catalog.open_context(f"file://{nest.path}", "copy")
        assert catalog.full_text("copy:a.py").startswith("def one")
    assert nest.fired() == []


@pytest.mark.parametrize("nest", ["settings", "ext"], indirect=True)
def test_no_question_to_the_embedded_model_runs_one(nest: Nest) -> None:
    prompts = [prompt.text for prompt in promptbook.read_prompts() if prompt.is_offered]
    assert prompts

    async def ask_all() -> None:
        settings = Settings(roots=(nest.path,), model="extractive:")
        tools = {tool.name: tool.source for tool in toolbox.read_tools()}
        workspace = Workspace(settings, tools, promptbook.read_prompts().texts_by_name)
        try:
            for question in (*QUESTIONS, *prompts):
                result = await workspace.run_query(question, refs=["history"])
                assert "Error" not in result.answer.replace("HostError: git ", "")
                assert nest.fired() == [], question
        finally:
            await workspace.close()

    asyncio.run(ask_all())


def test_no_child_sees_what_the_server_was_started_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog_of: Make
) -> None:
    nest = make_nest(tmp_path / "nest")
    real, wrapper = shutil.which("git"), nest.programs / "git"
    wrapper.write_text(
        f"#!/bin/sh\n[ \"$1\" = --exec-path ] && echo '{nest.programs}' && exit\n"
        f"export -p >'{nest.ran}/'$$\nexec '{real}' \"$@\"\n"
    )
    wrapper.chmod(0o755)
    secrets = ("ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK",
               "SSH_ASKPASS", "GIT_ASKPASS", "GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "GIT_DIR",
               "GIT_PROXY_COMMAND", "GIT_TRACE", "HTTPS_PROXY")  # fmt: skip
    for name in secrets:
        monkeypatch.setenv(name, KEY)
    monkeypatch.setenv("PATH", f"{nest.programs}{os.pathsep}{os.environ['PATH']}")
    catalog = catalog_of(nest.path)
    for ask in asked_everything(catalog):
        with contextlib.suppress(RlmError):
            ask()
    seen = [(nest.ran / name).read_text() for name in nest.fired()]
    assert len(seen) > 20
    assert [text for text in seen if KEY in text] == []


def test_only_what_fetches_as_asked_has_an_agent_and_a_search_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", KEY)
    monkeypatch.setenv("HOME", KEY)
    monkeypatch.setenv("PATH", os.pathsep.join([".", "", "relative", "/usr/bin"]))
    reads, ignores = command.git_environment(), command.git_environment(alone=False)
    https, ssh = command.git_environment("https"), command.git_environment("ssh")
    assert KEY not in str(reads)
    assert "SSH_AUTH_SOCK" not in {**reads, **ignores, **https}
    assert (ignores["HOME"], https["HOME"], ssh["SSH_AUTH_SOCK"]) == (KEY, KEY, KEY)
    assert (https["PATH"], ssh["PATH"]) == ("/usr/bin", "/usr/bin")
    allowed = [found["GIT_ALLOW_PROTOCOL"] for found in (reads, ignores, https, ssh)]
    assert allowed == ["none", "none", "https", "ssh"]


def test_a_git_in_the_repository_is_not_the_git_that_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nest = make_nest(tmp_path / "nest")
    shutil.move(nest.program("git in the repository"), nest.path / "git")
    monkeypatch.chdir(nest.path)
    monkeypatch.setenv("PATH", os.pathsep.join([".", "", os.environ["PATH"]]))
    subprocess.run(["git", "status"], cwd=nest.path, check=True)
    assert nest.fired(), "the trap is not set"
    nest.clear()
    assert command.run_git(["rev-parse", "HEAD"], nest.path).decode().strip()
    assert nest.fired() == []


def test_the_traps_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    fired: dict[str, list[str]] = {}
    for name, lay in NESTS.items():
        made = make_nest(tmp_path / name)
        lay(made)
        run_carelessly(made)
        fired[name] = made.fired()
        assert all(KEY in (made.ran / one).read_text() for one in fired[name])
    assert [name for name, ran in fired.items() if not ran] == []
    assert len(fired["settings"]) >= 30
    assert len(COMMANDS) >= 40
