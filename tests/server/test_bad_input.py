"""Bad input gets one clear sentence and changes nothing, in memory and over a real pipe."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.config import Settings
from tests.server.conftest import git
from tests.server.talk import Talk, in_memory, over_stdio

Arguments = dict[str, Any]

CASES: dict[str, tuple[str, Arguments, str]] = {
    "unknown tool": ("grepp", {}, "Did you mean grep"),
    "unknown variable": ("peek", {"ref": "rpeo:a.py"}, "Did you mean repo"),
    "unknown document": ("peek", {"ref": "repo:src/gret.py"}, "src/greet.py"),
    "unknown revision": ("peek", {"ref": "repo:src/greet.py@v9.9"}, "v9.9"),
    "unknown commit": ("peek", {"ref": "history:deadbeef"}, "deadbeef"),
    "unknown handle": ("peek", {"ref": "r99"}, "r99"),
    "line past the end": ("peek", {"ref": "repo:src/greet.py#L900-L910"}, "lines"),
    "broken ref": ("peek", {"ref": "repo:src/greet.py#Lx"}, "#"),
    "empty ref": ("peek", {"ref": ""}, "empty"),
    "ref that climbs out": ("peek", {"ref": "repo:../secret.txt"}, "secret.txt"),
    "ref through a link that leaves": ("peek", {"ref": "repo:leaves.txt"}, "leaves.txt"),
    "source outside the roots": ("open_context", {"source": "/etc/passwd"}, "outside the roots"),
    "source through a link that leaves": ("open_context", {"source": "leaves.txt"}, "outside"),
    "source through a folder link": ("open_context", {"source": "away/passwd"}, "outside"),
    "denied name": ("open_context", {"source": ".env"}, "secret"),
    "denied name as ref": ("peek", {"ref": "repo:.env"}, ".env"),
    "device": ("open_context", {"source": "/dev/zero"}, "/dev/zero"),
    "pipe": ("open_context", {"source": "pipe"}, "pipe"),
    "socket": ("open_context", {"source": "socket"}, "socket"),
    "missing source": ("open_context", {"source": "nowhere.txt"}, "nowhere.txt"),
    "empty source": ("open_context", {"source": " "}, "empty"),
    "bad name": ("open_context", {"source": "src", "name": "not a name"}, "name"),
    "taken name": ("open_context", {"source": "src", "name": "repo"}, "repo"),
    "invalid pattern": ("grep", {"pattern": "a(b"}, "("),
    "empty pattern": ("grep", {"pattern": ""}, "pattern"),
    "pattern too large": ("grep", {"pattern": "(a{1000}){1000}"}, "pattern"),
    "bad cursor": ("grep", {"pattern": "row", "cursor": "nonsense"}, "cursor"),
    "negative limit": ("grep", {"pattern": "row", "limit": -1}, "limit"),
    "limit of nothing": ("peek", {"ref": "repo:README.md", "limit": 0}, "limit"),
    "wrong type": ("grep", {"pattern": 7}, "'pattern' wants a string"),
    "wrong number": ("peek", {"ref": "repo", "limit": "many"}, "'limit' wants an integer"),
    "missing argument": ("grep", {}, "needs the argument 'pattern'"),
    "unknown argument": ("grep", {"pattern": "a", "reff": "repo"}, "Did you mean ref"),
    "chunks of nothing": ("chunk", {"ref": "repo", "tokens": 0}, "tokens"),
    "unknown border": ("chunk", {"ref": "repo", "by": "moons"}, "moons"),
    "empty question": ("rlm_query", {"prompt": "  "}, "empty"),
    "empty prompt": ("llm_query", {"prompt": ""}, "empty"),
    "unknown model": ("llm_query", {"prompt": "a", "model": "nope:x"}, "nope:x"),
    "missing key": ("llm_query", {"prompt": "a", "model": "anthropic:claude-opus-5"}, "key"),
    "unknown mode": ("rlm_query", {"prompt": "a", "mode": "recursiv"}, "recursive"),
    "negative budget": ("rlm_query", {"prompt": "a", "max_usd": -1}, "usd"),
    "refs of nothing": ("llm_query", {"prompt": "a", "refs": "nope:x"}, "nope"),
    "broken schema": ("llm_query", {"prompt": "a", "schema": "{"}, "schema"),
    "unknown run": ("wait", {"run": "nope"}, "nope"),
    "negative time": ("execute", {"code": "1", "timeout_s": -1}, "timeout_s"),
}


@pytest.fixture(params=["memory", "stdio"], scope="module")
def hostile(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Talk]:
    """Return a server on a folder full of traps."""
    base = tmp_path_factory.mktemp("hostile")
    folder = base / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "greet.py").write_text("def greet() -> str:\n    return 'hello'\n")
    (folder / "README.md").write_text("# Project\n")
    (folder / "rows.txt").write_text("".join(f"row {n}\n" for n in range(100)))
    (folder / ".env").write_text("KEY=1\n")
    (base / "secret.txt").write_text("top secret\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "First")
    (folder / "leaves.txt").symlink_to(base / "secret.txt")
    (folder / "away").symlink_to("/etc")
    os.mkfifo(folder / "pipe")
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        before = Path.cwd()
        os.chdir(folder)  # a path of a socket may have 107 bytes
        listening.bind("socket")
        os.chdir(before)
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        for name in ("STATE", "CACHE", "CONFIG"):
            environment.setenv(f"RLM_MCP_{name}_DIR", str(base / name.lower()))
        environment.delenv("ANTHROPIC_API_KEY", raising=False)
        environment.setenv("RLM_MCP_MODEL", "extractive:")
        if request.param == "memory":
            made = in_memory(Settings(roots=(folder,), model="extractive:"))
        else:
            made = over_stdio(folder, dict(os.environ))
        talk = stack.enter_context(made)
        for ref in ("repo:README.md", "history"):
            assert not talk.call("peek", ref=ref).error
        yield talk


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_sentence_and_changes_nothing(name: str, hostile: Talk) -> None:
    tool, arguments, says = CASES[name]
    before = hostile.call("contexts").text
    said = hostile.call(tool, arguments)
    assert said.error, said.text
    assert says.lower() in said.text.lower()
    assert len(said.text) <= 700
    assert "Traceback" not in said.text
    assert "top secret" not in said.text
    assert "site-packages" not in said.text
    assert hostile.call("contexts").text == before


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("open('/etc/passwd').read()", "not available"),
        ("peek('rpeo:x')", "Did you mean repo"),
    ],
)
def test_what_a_cell_got_wrong_is_its_result(code: str, says: str, hostile: Talk) -> None:
    said = hostile.call("execute", code=f"before = 1\n{code}")
    assert says in said.text
    assert "line 2" in said.text
    assert "Traceback" not in said.text


def test_none_of_it_broke_the_server(hostile: Talk) -> None:
    assert hostile.call("grep", pattern="row").text.startswith("100 matching")


def test_a_deleted_file_is_gone_with_the_next_call(talk: Talk, repository: Path) -> None:
    assert not talk.call("peek", ref="repo:README.md").error
    (repository / "README.md").unlink()
    said = talk.call("peek", ref="repo:README.md")
    assert said.error
    assert "README.md" in said.text


def test_a_folder_without_permission_costs_a_sentence_and_not_the_rest(
    talk: Talk, repository: Path
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (repository / "src").chmod(0)
    try:
        assert not talk.call("grep", pattern="row").error
        assert talk.call("open_context", source="src").error
    finally:
        (repository / "src").chmod(0o755)


def test_a_repository_in_the_middle_of_a_rebase_is_said(talk: Talk, repository: Path) -> None:
    git(repository, "checkout", "-q", "-b", "other")
    (repository / "README.md").write_text("# Mine\n")
    git(repository, "commit", "-q", "-am", "Mine")
    git(repository, "checkout", "-q", "main")
    (repository / "README.md").write_text("# Yours\n")
    git(repository, "commit", "-q", "-am", "Yours")
    with pytest.raises(Exception, match="rebase"):
        git(repository, "rebase", "other")
    assert not talk.call("grep", pattern="row").error
    assert "rebase" in talk.call("open_context", source="repo").text


def test_a_transcript_with_broken_lines_is_read_and_they_are_counted(
    talk: Talk, repository: Path
) -> None:
    line = (
        '{"type":"user","uuid":"u%d","parentUuid":null,"sessionId":"s","isSidechain":false,'
        '"timestamp":"2026-11-01T10:00:0%dZ","cwd":"/x","version":"2.1.0",'
        '"message":{"role":"user","content":"please greet %d"}}'
    )
    lines = [line % (1, 1, 1), "{broken", line % (2, 2, 2), "null", line % (3, 3, 3)]
    (repository / "chat.jsonl").write_text("\n".join(lines) + "\n")
    said = talk.call("open_context", source="chat.jsonl")
    assert not said.error, said.text
    assert "session" in said.text
    assert "broken" in said.text or "could not be read" in said.text
