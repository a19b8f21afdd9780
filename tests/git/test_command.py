"""Git is run alike on everyone's repositories, and says why it fails."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.corpus.store import open_corpus
from rlm_mcp.errors import Unavailable
from rlm_mcp.git import command
from tests.corpus.conftest import Tree

Make = Callable[..., Tree]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)
def test_the_repository_of_another_user_is_read(make_tree: Make, cache: Path) -> None:
    tree = make_tree({"a.py": "x = 1\n"})
    for path in (tree.folder, *tree.folder.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    corpus = open_corpus.open_tree(tree.folder, cache=cache)
    assert corpus.document_paths() == ["a.py"]


def test_what_the_user_ignores_everywhere_is_not_loaded(
    make_tree: Make, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "settings" / "git"
    own.mkdir(parents=True)
    (own / "ignore").write_text("*.swp\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own.parent))
    tree = make_tree({"a.py": "x = 1\n"})
    tree.write({".a.py.swp": "scratch\n", "b.py": "y = 2\n"})
    assert open_corpus.open_tree(tree.folder, cache=cache).document_paths() == ["a.py", "b.py"]


def test_more_output_than_allowed_is_refused_with_the_limit(make_tree: Make) -> None:
    tree = make_tree({"a.txt": "x" * 5000})
    blob = ["cat-file", "blob", "HEAD:a.txt"]
    assert command.run_git(blob, tree.folder, limit_bytes=5000) == b"x" * 5000
    with pytest.raises(Unavailable, match="more than 4,999 bytes"):
        command.run_git(blob, tree.folder, limit_bytes=4999)


def test_the_reason_is_gits_own_first_complaint(make_tree: Make, tmp_path: Path) -> None:
    tree = make_tree({"a.txt": "x\n"})
    with pytest.raises(Unavailable, match=r"^git cat-file failed: path .none. does not exist.*\.$"):
        command.run_git(["cat-file", "blob", "HEAD:none"], tree.folder)
    with pytest.raises(Unavailable, match="does not exist any more"):
        command.run_git(["status"], tmp_path / "gone")
    with pytest.raises(Unavailable, match=r"a\.txt is not a folder"):
        command.run_git(["status"], tree.folder / "a.txt")
