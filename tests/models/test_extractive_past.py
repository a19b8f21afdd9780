"""The embedded model on a repository's past and on what a project says about itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rlm_mcp.models.extractive.cell import report
from tests.models.asking import ask

LOG = """\
class Log:
    level = 1

    def write(self):
        raise OSError
"""


def commit(folder: Path, message: str, author: str, day: str, **files: str) -> str:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    first, when = author.split()[0].lower(), f"{day}T12:00:00Z"
    who = {
        "GIT_AUTHOR_NAME": author, "GIT_AUTHOR_EMAIL": f"{first}@x.org", "GIT_AUTHOR_DATE": when,
        "GIT_COMMITTER_NAME": "c", "GIT_COMMITTER_EMAIL": "c@x.org", "GIT_COMMITTER_DATE": when,
    }  # fmt: skip
    for arguments in (["add", "-A"], ["commit", "-q", "-m", message]):
        subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **who}, check=True)
    told = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
    )
    return told.stdout.strip()[:12]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    subprocess.run(["git", "init", "-q", "-b", "main", "."], cwd=folder, check=True)
    commit(folder, "start", "Ann Lee", "2022-05-01", lib__net_dot_py="def send():\n    pass\n")
    subprocess.run(["git", "tag", "v1.0.0"], cwd=folder, check=True)
    commit(
        folder, "retry when a send fails", "Bo Rask", "2023-02-03",
        lib__net_dot_py="def send():\n    return retry(3)\n\n\ndef retry(n):\n    return n\n",
        lib__log_dot_py=LOG,
    )  # fmt: skip
    subprocess.run(["git", "tag", "v1.1.0"], cwd=folder, check=True)
    commit(
        folder, "name the port", "Ann Lee", "2024-07-08",
        lib__net_dot_py="PORT = 1\n\n\ndef send():\n    return retry(3)\n\n\ndef retry(n):\n"
        '    raise OSError(f"no answer after {n} tries")\n',
        Makefile="test:\n\tpytest -q\n\nlint:\n\truff check .\n",
        pyproject_dot_toml='[project]\nname = "x"\nversion = "1.2.0"\n'
        'dependencies = [\n  "httpx>=0.27",\n]\n\n[project.scripts]\nx = "lib.net:send"\n',
        LICENSE="The MIT License (MIT)\n",
        tests__test_net_dot_py="from lib.net import send\n\n\ndef test_send():\n    send()\n",
    )  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("question", "told", "untold"),
    [
        ("What did Bo change?", ["1 commit of history by Bo Rask", "retry when"], ["the port"]),
        ("What changed in 2022?", ["1 commit of history", "``start``"], ["retry"]),
        ("What changed in v1.1.0?", ["in v1.0.0..v1.1.0", "retry when"], ["the port"]),
        ("What changed since v1.1.0?", ["in v1.1.0..HEAD", "the port"], ["``start``"]),
        ("Who wrote lib/net.py?", ["2 authors of 3 commits to lib/net.py", "Ann Lee: 2"], []),
        ("Who last changed `retry`?", ["was last changed in its 2 lines", "Ann Lee: 1", "Bo"], []),
        ("Who are the contributors?", ["2 authors of 3 commits", "Bo Rask: 1 commit,"], []),
        ("Which files change together with lib/net.py?", ["lib/log.py: in 1 commit,"], []),
        ("Which files change most often?", ["lib/net.py: 3 commits"], []),
        ("What was the first commit?", ["3 commits in history", "2022-05-01, Ann Lee"], []),
        ("What are the latest commits?", ["2024-07-08, Ann Lee"], []),
        ("Which release added `retry`?", ["the first tag with it is v1.1.0"], []),
        (
            "What calls `retry`, and who wrote lib/net.py?",
            ["2 authors of 3 commits to lib/net.py", "1 line of 1 document calls retry"],
            ["was last changed"],
        ),
        ("When was the last release?", ["2 tags of history", "v1.1.0: 2023-02-03 history:"], []),
    ],
)
def test_the_past_is_told_by_who_when_and_where(
    project: Path, question: str, told: list[str], untold: list[str]
) -> None:
    answer = ask(project, question)
    for words in told:
        assert words in answer
    for words in untold:
        assert words not in answer


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("How do I run the tests?", ["From Makefile: repo:Makefile#L1", "> \tpytest -q"]),
        ("What are the dependencies?", ['>   "httpx>=0.27",']),
        ("What is the entry point?", ['> x = "lib.net:send"']),
        ("What license is it under?", ["> The MIT License (MIT)"]),
        ("Which version is this?", ['> version = "1.2.0"']),
        ("How many classes are there?", ["1 class in 1 document of", "class Log"]),
        ("How many functions are in lib/?", ["2 functions in 1 document of"]),
        ("How many tests are there?", ["1 test in"]),
        ("How many lines are in lib/net.py?", ["9 lines in 1 document"]),
        ("List the files in lib/", ["2 documents in repo:lib/", "repo:lib/log.py"]),
        ("What does send call?", ["send holds 1 call,", "retry: repo:lib/net.py#L5"]),
        ("What members does Log have?", ["1 of kind field, 1 of kind method"]),
        ("Which tests cover send?", ["of tests of 1 document use"]),
        ("Where is OSError raised?", ["2 lines of 2 documents throw OSError"]),
        ("Which exceptions can Log.write throw?", ["1 line of Log.write throws", "raise OSError"]),
        ("Which module has the most classes?", ["1 class in 1 document of"]),
        ('Where does "no answer after" come from?', ["In function retry: repo:lib/net.py#L8-L9"]),
        ("Which languages is it written in?", ["3 .py"]),
        ("What does tests/test_net.py import?", ["``from lib.net import send``"]),
    ],
)
def test_a_project_answers_for_itself(project: Path, question: str, told: list[str]) -> None:
    answer = ask(project, question)
    for words in told:
        assert words in answer


def test_what_failed_on_the_way_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "failures", [])

    def broken() -> list[str]:
        raise OSError("it is gone")

    assert report.attempt(broken) == [] and report.stage(broken) is None
    assert report.Report().text() == "1 part of the search failed: OSError: it is gone"


def test_a_folder_without_a_past_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f():\n    return 1\n")
    assert "There is no history here" in ask(tmp_path, "What changed last week?")
    assert "f is defined at repo:a.py#L1" in ask(tmp_path, "Where is f defined?")


def test_one_thing_is_spoken_of_in_the_singular() -> None:
    assert report.some(1, "class", "classes") == "1 class"
    assert report.some(2_000, "line") == "2,000 lines"
    assert (report.does(1, "call"), report.does(2, "call")) == ("calls", "call")
    told = report.Report()
    told.more(1, "line", "with it")
    told.more(0, "line")
    assert told.text() == "- 1 more line with it"


def test_a_document_is_found_in_a_history_by_its_name_alone(project: Path) -> None:
    answer = ask(project, "When was net.py last changed, and by whom?", "history")
    assert "3 commits of history to lib/net.py" in answer
    gone = ask(project, "When was nowhere.py added?", "history")
    assert "0 commits of history to nowhere.py" in gone


def test_how_many_commits_there_are_is_no_word_of_them(project: Path) -> None:
    assert "share" not in ask(project, "How many commits are there?", "history")


def test_a_name_that_no_commit_has_is_said(project: Path) -> None:
    answer = ask(project, "When was the class Zorglub added?")
    assert "No commit of history changes a line with Zorglub" in answer
