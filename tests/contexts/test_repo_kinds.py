"""Every kind of repository and folder opens as what it is, and nothing of it is run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest, Denied
from rlm_mcp.refs import parse_ref
from tests.project import ENV, OpenProject, Work, within_a_second

Make = Callable[..., OpenProject]


def test_an_empty_repository_opens(work: Work, catalog_of: Make) -> None:
    catalog = catalog_of(work.path)
    assert catalog.describe("repo").documents == 0
    assert catalog.describe("repo").notes
    work.write("a.py", "x\n")
    assert within_a_second(lambda: catalog.grep(Query("x"), "repo").total == 1)


def test_a_bare_repository_shows_its_head(work: Work, tmp_path: Path, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="x\n")
    work.git("clone", "-q", "--bare", str(work.path), str(tmp_path / "bare.git"))
    catalog = catalog_of(tmp_path / "bare.git")
    assert catalog.peek("repo:a.py").text == "x"
    assert any("bare" in note for note in catalog.describe("repo").notes)


def test_a_folder_that_is_no_repository_opens(tmp_path: Path, catalog_of: Make) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "a.py").write_text("x\n")
    catalog = catalog_of(folder)
    assert catalog.peek("repo:a.py").text == "x"
    assert "history" not in dict(catalog.openable_defaults())
    with pytest.raises(BadRequest, match="is in no git repository"):
        catalog.get_variable("history")


def test_a_linked_worktree_shows_its_own_branch(
    work: Work, tmp_path: Path, catalog_of: Make
) -> None:
    work.commit("one", a_dot_py="main\n")
    work.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "a.py").write_text("side\n")
    catalog = catalog_of(tmp_path / "side")
    assert catalog.peek("repo:a.py").text == "side"
    assert catalog.describe("repo").facts["branch"] == "side"
    assert catalog.describe("history").documents == 1


def test_a_git_file_that_points_at_a_strangers_repository_is_refused(
    work: Work, tmp_path: Path, catalog_of: Make
) -> None:
    work.commit("private", a_dot_py="private\n")
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / ".git").write_text(f"gitdir: {work.path}/.git\n")
    with pytest.raises(Denied):
        catalog_of(evil).get_variable("history")
    (evil / ".git").unlink()
    (evil / ".git").symlink_to(work.path / ".git")
    with pytest.raises(Denied):
        catalog_of(evil).get_variable("history")


def test_a_git_folder_that_borrows_a_strangers_objects_is_refused(
    work: Work, tmp_path: Path, catalog_of: Make
) -> None:
    secret = work.commit("private", a_dot_py="private\n")
    evil = Work(tmp_path / "evil")
    evil.path.mkdir()
    evil.git("init", "-q")
    (evil.path / ".git/objects/info/alternates").write_text(f"{work.path}/.git/objects\n")
    (evil.path / ".git/refs/heads/main").write_text(secret + "\n")
    with pytest.raises(Denied):
        catalog_of(evil.path).get_variable("history")


def test_a_root_below_the_top_shows_only_its_part(work: Work, catalog_of: Make) -> None:
    first = work.commit("one", part__a_dot_py="in\n", other__b_dot_py="secret plan\n")
    work.commit("two", other__b_dot_py="secret plan two\n")
    work.commit("three", part__a_dot_py="in two\n")
    catalog = catalog_of(work.path / "part")
    assert list(catalog.get_variable("repo").documents(parse_ref("repo"))) == ["a.py"]
    assert catalog.peek(f"repo:a.py@{first}").text == "in"
    assert catalog.grep(Query("secret"), f"repo@{first}").total == 0
    assert catalog.grep(Query("secret"), "history").total == 0
    assert catalog.describe("history").documents == 2


def test_a_submodule_is_named_and_not_mixed_in(
    work: Work, tmp_path: Path, catalog_of: Make
) -> None:
    other = Work(tmp_path / "other")
    other.path.mkdir()
    other.git("init", "-q")
    other.commit("one", lib_dot_py="lib\n")
    work.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other.path), "sub")
    commit = work.commit("add it")
    catalog = catalog_of(work.path)
    assert catalog.describe("repo").documents >= 1
    with pytest.raises(BadRequest, match="submodule"):
        catalog.peek(f"repo:sub@{commit}")


def test_a_rebase_in_progress_is_said(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_py="1\n")
    work.git("checkout", "-q", "-b", "side")
    work.commit("side", a_dot_py="side\n")
    work.git("checkout", "-q", "main")
    work.commit("main", a_dot_py="main\n")
    work.git("checkout", "-q", "side")
    env = {**os.environ, **ENV}
    subprocess.run(["git", "rebase", "-q", "main"], cwd=work.path, env=env, capture_output=True)
    notes = catalog_of(work.path).describe("repo").notes
    assert any("rebase" in note for note in notes)


def test_nothing_that_a_repository_configures_is_run(
    work: Work, tmp_path: Path, catalog_of: Make
) -> None:
    first = work.commit("one", a_dot_py="x\n", b_dot_py="y\n", _dot_mailmap="A <a@b>\n")
    work.write(".gitattributes", "*.py filter=evil diff=evil\n")
    second = work.commit("two", a_dot_py="changed\n")
    trap = tmp_path / "trap.sh"
    mark = tmp_path / "ran"
    trap.write_text(f"#!/bin/sh\necho $0 >> {mark}\ncat\n")
    trap.chmod(0o755)
    for key in (
        "core.fsmonitor", "core.pager", "core.sshCommand", "diff.external", "filter.evil.clean",
        "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv", "diff.evil.command",
        "gpg.program", "core.editor", "pager.log", "pager.diff", "core.hooksPath",
    ):  # fmt: skip
        work.git("config", key, str(trap))
    work.git("config", "log.showSignature", "true")
    for hook in ("post-checkout", "post-index-change", "pre-commit", "reference-transaction"):
        (work.path / ".git/hooks").mkdir(exist_ok=True)
        (work.path / ".git/hooks" / hook).symlink_to(trap)
    (work.path / "a.py").write_text("edited\n")
    catalog = catalog_of(work.path)
    catalog.describe("repo")
    catalog.peek(f"repo:a.py@{first}")
    catalog.grep(Query("x"), f"repo@{first}")
    catalog.call_method("repo", "changed", [], {})
    catalog.call_method("repo", "blame", ["a.py"], {})
    catalog.call_method("repo", "log", ["a.py"], {})
    catalog.grep(Query("x"), "history")
    catalog.peek(f"history:{second}")
    catalog.call_method("history", "diff", [first, second], {})
    catalog.call_method("history", "together", ["a.py"], {})
    catalog.outline(f"history:{second}")
    catalog.open_context(f"{first}..{second}")
    assert not mark.exists(), mark.read_text()
