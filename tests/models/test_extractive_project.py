"""The embedded model on what a project says of itself, in a folder that is no repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.asking import ask

PYPROJECT = """\
[project]
name = "orchard"
version = "2.1.0"
requires-python = ">=3.10"
dependencies = ["httpx>=0.28"]

[project.scripts]
orchard = "orchard.main:run"

[tool.pytest.ini_options]
testpaths = ["tests"]

[tool.tox.env_run_base]
commands = [["pytest", "-q"]]
"""
CARGO = """\
[package]
name = "pear"
version = "0.4.1"
rust-version = "1.80"

[dependencies.clap]
version = "4"
"""
MAIN = """\
import os


def run():
    os.environ["ORCHARD_CHILD"] = "1"
    return os.environ.get("ORCHARD_HOME")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "orchard").mkdir()
    (tmp_path / "orchard" / "main.py").write_text(MAIN)
    return tmp_path


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("How do I run the tests?", "> testpaths = "),
        ("How do I run the tests?", '> commands = [["pytest", "-q"]]'),
        ("What are the entry points?", '> orchard = "orchard.main:run"'),
        ("What are the dependencies?", "> dependencies = "),
        ("Which version is this?", '> version = "2.1.0"'),
        ("Which Python versions are supported?", '> requires-python = ">=3.10"'),
        ("Which environment variables are read?", 'os.environ.get("ORCHARD_HOME")'),
    ],
)
def test_a_folder_without_git_tells_what_its_manifests_say(
    folder: Path, question: str, said: str
) -> None:
    assert said in ask(folder, question)


def test_a_variable_that_is_only_set_is_not_read(folder: Path) -> None:
    assert "ORCHARD_CHILD" not in ask(folder, "Which environment variables are read?")
    assert "ORCHARD_CHILD" in ask(folder, "What are the environment variables?")


def test_the_versions_of_what_a_project_needs_are_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "Cargo.toml").write_text(CARGO)
    own = ask(tmp_path, "Which version is this?")
    assert '> version = "0.4.1"' in own and '"4"' not in own and "rust-version" not in own
    needed = ask(tmp_path, "Which Rust version does it need?")
    assert '> rust-version = "1.80"' in needed and "0.4.1" not in needed


ERRORS = """\
class TooLong(Exception):
    pass


def fetch(limit):
    raise TooLong(f"Exceeded {limit} redirects.")


def alone():
    return 1
"""


@pytest.mark.parametrize(
    ("question", "told", "untold"),
    [
        ("Where is FooBarBaz defined?", ["No line of repo holds FooBarBaz"], ["Fits:"]),
        ("Where is the class Long defined?", ["Long is not defined in repo", "2 lines hold"], []),
        (
            "Who calls alone?",
            ["No line that calls alone was found", "no proof that there is none"],
            [],
        ),
        ("Who calls _displayError?", ["No line of repo holds _displayError"], ["Fits:"]),
        ("How many TODOs are there?", ["No line of repo holds TODO"], ["Fits:"]),
        ("What breaks if I change fetch_all?", ["of 1 document uses fetch_all"], []),
        (
            "Where does 'Exceeded 30 redirects.' come from?",
            ["as they are", "1 line of repo is like it", "> def fetch(limit):"],
            [],
        ),
        (
            'Where is "was not: Exceeded all" said?',
            ["No line of repo holds the words ``was not: Exceeded all`` as they are"],
            ["is like it", "holds a part"],
        ),
        ("How many lines of Python are there?", ["15 lines in 2 documents of python"], []),
    ],
)
def test_what_is_not_there_is_said(
    tmp_path: Path, question: str, told: list[str], untold: list[str]
) -> None:
    (tmp_path / "errors.py").write_text(ERRORS)
    (tmp_path / "b.py").write_text("def fetch_all():\n    pass\n\n\nfetch_all()\n")
    (tmp_path / "notes.md").write_text("# Notes\n\nnothing\n")
    answer = ask(tmp_path, question)
    for words in told:
        assert words in answer
    for words in untold:
        assert words not in answer


def test_files_that_import_a_module_are_told_once_each(tmp_path: Path) -> None:
    for number in range(5):
        lines = [f"from orchard.trees import t{n}\n" for n in range(6)]
        (tmp_path / f"m{number}.py").write_text("".join(lines))
    answer = ask(tmp_path, "Which files import orchard.trees?")
    assert "30 lines of 5 documents import orchard.trees" in answer
    assert [f"repo:m{n}.py#L1 " in answer for n in range(5)] == [True] * 5
    assert "#L2" not in answer


def test_a_question_that_is_limited_to_a_folder_is_answered_from_it(tmp_path: Path) -> None:
    for folder in ("api", "web"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "send.py").write_text(f"def send():\n    return '{folder}'\n")
    (tmp_path / "web" / "page.py").write_text("class Page:\n    pass\n\n\nsend()\n")
    both = ask(tmp_path, "Where is `send` defined?")
    assert "repo:api/send.py#L1" in both and "repo:web/send.py#L1" in both
    one = ask(tmp_path, "Where is `send` defined?", refs=["repo:web/"])
    assert "repo:web/send.py#L1" in one and "repo:api/" not in one
    away = ask(tmp_path, "Where is the class Page defined?", refs=["repo:api/"])
    assert "Page is not defined in repo:api/; elsewhere: repo:web/page.py" in away
    assert "No line of repo:api/ holds Zorglub" in ask(
        tmp_path, "Where is the class Zorglub defined?", refs=["repo:api/"]
    )
    assert "1 document in repo:api/" in ask(tmp_path, "How many files?", refs=["repo:api/"])


def test_a_module_that_is_required_by_its_path_is_found(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "errors.js").write_text("module.exports = {}\n")
    (tmp_path / "lib" / "_base.js").write_text("module.exports = require('./errors')\n")
    (tmp_path / "main.js").write_text("const e = require('./lib/errors')\nrequire('./lib/_base')\n")
    for question in ("Which files require ./errors?", "Which files import lib/errors.js?"):
        answer = ask(tmp_path, question)
        assert "2 lines import repo:lib/errors.js" in answer
        assert "repo:lib/_base.js#L1" in answer and "repo:main.js#L1" in answer
    assert "repo:main.js#L2 ``require('./lib/_base')``" in ask(tmp_path, "What requires _base?")


CODE = """\
import argparse

from flask import Flask

app = Flask(__name__)
parser = argparse.ArgumentParser()
parser.add_argument("--border", help="how to frame it")


@app.route("/orders/<int:number>", methods=["GET"])
def order(number):
    return str(number)
"""


@pytest.mark.parametrize(
    ("question", "told", "untold"),
    [
        ("List all HTTP routes", ['@app.route("/orders/<int:number>"', "app.get('/pears'"], []),
        ("List all routes in web/", ["app.get('/pears'"], ["orders"]),
        ("Which command line options are there?", ['parser.add_argument("--border"'], ["pears"]),
        ("What are the largest files?", ["code.py: 251 bytes, 12 lines (repo:code.py)"], []),
    ],
)
def test_what_a_program_offers_is_listed(
    tmp_path: Path, question: str, told: list[str], untold: list[str]
) -> None:
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "app.js").write_text("app.get('/pears', (req, res) => res.send('x'))\n")
    answer = ask(tmp_path, question)
    for words in told:
        assert words in answer
    for words in untold:
        assert words not in answer
