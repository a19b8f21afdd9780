"""Real repositories in tmp folders, with a git that knows nobody's configuration."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from rlm_mcp.corpus.search import compile_pattern, grep
from rlm_mcp.corpus.search.grep import GrepPage
from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.corpus.store.corpus import Corpus


class Tree:
    """A working tree and the git commands to change it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def git(self, *arguments: str, at: str = ".") -> str:
        """Run git and return its output."""
        names = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
        done = subprocess.run(
            ["git", *names, *arguments],
            cwd=self.folder / at,
            check=True,
            capture_output=True,
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
        )
        return done.stdout.decode().strip()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files below the tree."""
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, message: str = "change") -> str:
        """Commit everything and return the id."""
        self.git("add", "--all", ".")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Tree]:
    """Return a function that makes a repository with some files committed."""

    def make(files: Mapping[str, str | bytes], name: str = "work") -> Tree:
        folder = tmp_path / name
        folder.mkdir()
        tree = Tree(folder)
        tree.git("init", "--quiet", "--initial-branch=main", ".")
        tree.write(files)
        tree.commit()
        return tree

    return make


ENGINES = ["hyperscan", "re2 alone"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run with both engines, and with RE2 alone as where Hyperscan has no wheel."""
    if request.param == "re2 alone":
        monkeypatch.setattr(compile_pattern, "load_hyperscan", lambda: None)
    elif compile_pattern.load_hyperscan() is None:
        pytest.skip("Hyperscan is not installed")
    compile_pattern.compile_pattern.cache_clear()
    grep._recent_hits.clear()
    yield request.param
    compile_pattern.compile_pattern.cache_clear()


def packed(cache: Path, **texts: str | bytes) -> Corpus:
    """Return a corpus of some texts, by their paths."""
    items = [
        (name, text.encode() if isinstance(text, str) else text) for name, text in texts.items()
    ]
    return open_corpus.pack_texts(items, cache=cache, name="t")


def lines_of(found: GrepPage) -> list[tuple[str, int]]:
    """Return (path, line) of each hit."""
    return [(hit.path, hit.line) for hit in found.hits]
