"""Questions about what is not committed, asked as a user asks them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.models.asking import ask

ENV = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "PATH": "/usr/bin:/bin",
}


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, env=ENV, check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "pay.py").write_text("def pay(amount):\n    rate = 3\n    return amount * rate\n")
    (folder / "old.py").write_text("gone = True\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    return folder


@pytest.mark.parametrize(
    "question",
    ["What did I change?", "Which files are modified?", "Review my local changes.", "git diff",
     "What is not committed yet?", "Is the working tree clean?"],
)  # fmt: skip
def test_what_is_not_committed_is_told_with_its_lines(tree: Path, question: str) -> None:
    (tree / "pay.py").write_text("def pay(amount):\n    rate = 4\n    return amount * rate\n")
    (tree / "old.py").unlink()
    (tree / "new%.py").write_text("n = 1\n")
    (tree / "link").symlink_to("pay.py")
    told = ask(tree, question)
    assert "4 files of repo differ from the last commit" in told
    assert "repo:new%25.py is new" in told and "link is new" in told
    assert "repo:pay.py is changed: 1 line added, 1 removed" in told
    assert "repo:old.py@HEAD is removed: 0 lines added, 1 removed" in told
    assert "Was: repo:pay.py@HEAD#L2\n>     rate = 3" in told
    assert "Is: repo:pay.py#L2\n>     rate = 4" in told


def test_what_is_staged_is_told_apart(tree: Path) -> None:
    (tree / "pay.py").write_text("def pay(amount):\n    return amount\n")
    git(tree, "add", "pay.py")
    git(tree, "mv", "old.py", "moved.py")
    (tree / "pay.py").write_text("later = 1\n")
    told = ask(tree, "What is staged?")
    assert "2 files of repo are staged" in told
    assert "added in pay.py: ``return amount``" in told and "later" not in told
    assert "repo:moved.py is changed, but in no line of text" in told


def test_a_clean_tree_says_so(tree: Path) -> None:
    assert "Nothing of repo differs from the last commit" in ask(tree, "What did I change?")
    assert "Nothing of repo is staged" in ask(tree, "Show my staged changes.")


def test_changes_of_the_past_are_still_commits(tree: Path) -> None:
    (tree / "pay.py").write_text("later = 1\n")
    assert "differ" not in ask(tree, "What changed in the last commit?")
    assert "one" in ask(tree, "What was changed by the latest commit?")
