"""Real repositories and folders, and a machine of their own for every test."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.config import Settings
from rlm_mcp.contexts import inline_text
from rlm_mcp.contexts.catalog import Catalog
from rlm_mcp.engine.ref_reader import RefReader
from rlm_mcp.variable.protocol import ContextChunk, ContextHit, ContextPassage, Outline

ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_TERMINAL_PROMPT": "0",
}


@dataclass
class Work:
    """A git working tree under test."""

    path: Path
    clock: int = 1_700_000_000

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        return self.raw(*arguments, stdin=stdin).decode("utf-8", "replace").strip()

    def raw(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Return what git prints, as it is."""
        stamp = f"{self.clock} +0000"
        env = {**os.environ, **ENV, "GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp}
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=env, input=stdin, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done.stdout

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def commit(self, message: str, **files: str | bytes) -> str:
        """Commit files (a__b stands for a/b, _dot_ for a dot) and return the commit's id."""
        for name, text in files.items():
            self.write(name.replace("__", "/").replace("_dot_", "."), text)
        self.clock += 3600
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


def within_a_second(check: Callable[[], bool]) -> bool:
    """Say whether something comes true within the second in which a change may go unnoticed."""
    deadline = time.monotonic() + 1.0
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "machine").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "machine"))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """An empty repository in a folder of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    made = Work(folder)
    made.git("init", "-q", "-b", "main")
    return made


class OpenProject(RefReader):
    """What an agent has open: the engine's reader with the limits of the tools, and the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(catalog, [], {}, inline_text.open_texts)
        self.catalog, self.settings = catalog, catalog.settings
        self.open_context = catalog.open_context
        self.close_context = catalog.close_context
        self.describe = catalog.describe
        self.handle_hook = catalog.handle_hook

    def peek(self, text: str, limit: int = 80) -> ContextPassage:
        return super().peek(text, limit)

    def search(self, question: str, text: str, limit: int = 10) -> Sequence[ContextHit]:
        return super().search(question, text, limit)

    def outline(self, text: str, limit: int = 60) -> Outline:
        return super().outline(text, limit)

    def chunk(self, text: str, by: str = "auto", tokens: int = 4_000) -> Sequence[ContextChunk]:
        return super().chunk(text, by, tokens)

    def call_method(
        self, name: str, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """Return the values themselves, before they are made JSON for a cell."""
        return self.method_result(name, method, args, kwargs)

    def close(self) -> None:
        super().close()
        self.catalog.close()


@pytest.fixture
def catalog_of() -> Iterator[Callable[..., OpenProject]]:
    """Open projects over roots; they are closed at the end."""
    made: list[OpenProject] = []

    def make(*roots: Path, **settings: Any) -> OpenProject:
        made.append(OpenProject(Catalog(Settings(roots=roots, **settings))))
        return made[-1]

    yield make
    for catalog in made:
        catalog.close()
