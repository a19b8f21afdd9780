"""A small repository to ask, and a server on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlm_mcp.config import Settings
from tests.server.talk import Talk, in_memory

PYTHON = '''"""Greetings."""


class Greeter:
    """Says hello."""

    def greet(self, name: str) -> str:
        return f"hello {name}"


def main() -> None:
    print(Greeter().greet("world"))
'''


def git(folder: Path, *arguments: str) -> str:
    """Run git as a person without a configuration."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@b.c",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@b.c",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=env, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a git repository with code, a long file and a secret."""
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "greet.py").write_text(PYTHON)
    (folder / "many.txt").write_text("".join(f"row {n} of the table\n" for n in range(1, 5_001)))
    (folder / "wide.js").write_text("var x=1;" * 20_000)
    (folder / "README.md").write_text("# Project\n\n## Use\n\nRun it.\n")
    (folder / "config.py").write_text(f'AWS = "AKIA{"QYLPMN5HFIQR7XYA"}"\n')
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Greet the world")
    return folder


@pytest.fixture
def settings(repository: Path) -> Settings:
    """Return settings that need no key and no network."""
    return Settings(roots=(repository,), model="extractive:")


@pytest.fixture
def talk(settings: Settings) -> Iterator[Talk]:
    """Return a client of a server in this process."""
    with in_memory(settings) as open_talk:
        yield open_talk
