"""References are read in this process, as git lists them, and GitPython can start nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.confine import Confine
from rlm_mcp.errors import Unavailable
from rlm_mcp.git import GitRepository, find_repository
from rlm_mcp.git.references import read_references
from tests.project import Work

WATCHED = """\
import sys
from pathlib import Path

started = []
events = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn")
sys.addaudithook(lambda event, about: started.append(about) if event in events else None)
from rlm_mcp.git.references import read_references
folder = Path(sys.argv[1])
assert read_references(folder / ".git", folder / ".git")
import git, git.cmd
print([about[0] for about in started])
started.clear()
repo = git.Repo(folder)
tried = [
    lambda: git.Git(folder).status(),
    lambda: git.Git(folder).execute(["git", "status"]),
    lambda: git.refresh(sys.executable),
    lambda: repo.head.commit.message,
    lambda: repo.is_dirty(),
    lambda: repo.git.cat_file("-e", "HEAD"),
    lambda: git.Git(folder).get_object_header("HEAD"),
    lambda: repo.index.commit("x"),
    lambda: repo.create_remote("x", "ext::touch x").fetch(),
]
for number, act in enumerate(tried):
    try:
        act()
    except Exception:
        continue
    print("went through:", number)
print(started)
"""


def repository(folder: Path) -> GitRepository:
    found = find_repository(folder, Confine([folder]))
    assert found is not None
    return found


def test_gitpython_starts_nothing_when_imported_and_nothing_later(work: Work) -> None:
    work.commit("one", a_dot_txt="one\n")
    told = subprocess.run(
        [sys.executable, "-c", WATCHED, work.path],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    # What it tries on import is a file that cannot be executed.
    assert told.stdout.splitlines() == [str([os.devnull]), "[]"]


def branches_and_tags(work: Work) -> None:
    work.git("tag", "light")
    work.git("tag", "-m", "heavy", "heavy")
    work.git("tag", "-m", "tag of a tag", "nested", "heavy")
    work.git("tag", "blob", work.git("rev-parse", "HEAD:a.txt"))
    work.git("branch", "topic/deep")
    work.git("update-ref", "refs/remotes/origin/main", "HEAD")
    work.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")


def packed(work: Work) -> None:
    branches_and_tags(work)
    work.git("gc", "-q")
    work.git("tag", "later")


def one_name_twice(work: Work) -> None:
    work.git("branch", "v1", "HEAD~1")
    work.git("tag", "v1")


@pytest.mark.parametrize("lay", [branches_and_tags, packed, one_name_twice])
def test_references_are_those_that_git_lists(lay: Callable[[Work], None], work: Work) -> None:
    work.commit("one", a_dot_txt="one\n")
    work.commit("two", a_dot_txt="two\n")
    lay(work)
    found = read_references(work.path / ".git", work.path / ".git")
    theirs = {}
    for name in work.git("for-each-ref", "--format=%(refname)").splitlines():
        if work.git("cat-file", "-t", f"{name}^{{}}") == "commit":
            theirs[name] = work.git("rev-parse", f"{name}^{{commit}}")
    assert found == theirs
    shown = repository(work.path).refs_by_name()
    assert sorted(shown.values()) == sorted(theirs.values())
    if lay is one_name_twice:
        assert shown["heads/v1"] != shown["tags/v1"]


def missing(work: Work) -> None:
    (work.path / ".git/refs/heads/evil").write_text("1234567890" * 4 + "\n")


def garbage(work: Work) -> None:
    (work.path / ".git/refs/heads/evil").write_bytes(b"\xff\xfe no id\n")


def nothing(work: Work) -> None:
    (work.path / ".git/refs/heads/evil").write_text("")


def zeros(work: Work) -> None:
    (work.path / ".git/refs/heads/evil").write_text("0" * 40 + "\n")


def a_loop(work: Work) -> None:
    (work.path / ".git/refs/heads/evil").write_text("ref: refs/heads/evil\n")


def dangling(work: Work) -> None:
    (work.path / ".git/refs/heads/evil").write_text("ref: refs/heads/nowhere\n")


def an_odd_name(work: Work) -> None:
    (work.path / ".git/refs/heads/evil..lock").write_text(work.git("rev-parse", "HEAD") + "\n")


def outside(work: Work) -> None:
    (work.path.parent / "secret").write_text("1234567890" * 4 + "\n")
    (work.path / ".git/refs/heads/evil").symlink_to(work.path.parent / "secret")


def large(work: Work) -> None:
    (work.path / ".git/refs/heads/evil").write_text("x" * 100_000)


def many_packed(work: Work) -> None:
    head = work.git("rev-parse", "HEAD")
    lines = (f"{head} refs/tags/{n}\n" for n in range(2_000))
    (work.path / ".git/packed-refs").write_text("".join(lines))


def odd_settings(work: Work) -> None:
    with open(work.path / ".git/config", "a") as file:
        file.write("[core]\n\tbare = perhaps not\n[include]\n\tpath = /dev/zero\n")


def another_format(work: Work) -> None:
    (work.path / ".git/reftable").mkdir()


@pytest.mark.parametrize(
    "break_it",
    [
        missing, garbage, nothing, zeros, a_loop, dangling, an_odd_name, outside, large,
        many_packed, another_format,
    ],
)  # fmt: skip
def test_a_broken_reference_spoils_no_other(break_it: Callable[[Work], None], work: Work) -> None:
    head = work.commit("one", a_dot_txt="one\n")
    work.git("tag", "-m", "one", "v1")
    break_it(work)
    shown = repository(work.path).refs_by_name()
    assert (shown["main"], shown["v1"]) == (head, head)
    assert not [name for name in shown if "evil" in name]


def test_settings_that_gitpython_cannot_read_are_not_read_by_it(work: Work) -> None:
    head = work.commit("one", a_dot_txt="one\n")
    found = repository(work.path)
    odd_settings(work)
    assert found.refs_by_name() == {"main": head}


def test_a_repository_of_the_longer_ids_is_listed_by_git(tmp_path: Path) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    work = Work(folder)
    work.git("init", "-q", "-b", "main", "--object-format=sha256")
    head = work.commit("one", a_dot_txt="one\n")
    assert len(head) == 64
    with pytest.raises(Unavailable):
        read_references(folder / ".git", folder / ".git")
    assert repository(folder).refs_by_name() == {"main": head}


def test_a_linked_worktree_has_the_references_of_its_repository(work: Work) -> None:
    head = work.commit("one", a_dot_txt="one\n")
    work.git("worktree", "add", "-q", "linked", "-b", "side")
    assert repository(work.path / "linked").refs_by_name() == {"main": head, "side": head}


def test_a_broken_repository_is_one_sentence(work: Work) -> None:
    work.commit("one", a_dot_txt="one\n")
    found = repository(work.path)
    (work.path / ".git/packed-refs").write_bytes(b"# pack-refs with: odd\n\xff\xff\n")
    (work.path / ".git/HEAD").unlink()
    with pytest.raises(Unavailable, match=r"^git .*\.$"):
        found.refs_by_name()
