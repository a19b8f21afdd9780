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
