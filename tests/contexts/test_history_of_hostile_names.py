"""What a history says of lines, files and commits, beside what git itself says of each commit."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]
Rows = dict[str, list[int]]

FORGED = "\x1e" + "a" * 40
BRANCH = 'side;$(touch${IFS}x)`id`&"\u00fc'


@pytest.fixture
def odd(work: Work) -> Work:
    """Renames, a merge, binary files, and names and messages that look like git's output."""
    work.write("a.txt", "1\n2\n3\n")
    work.write('a dir/\u00fc "q" file.txt', "x\ny\n")
    work.write("a dir/tab\tname", "t\n")
    work.write("new\nline.txt", "n\n")
    work.write("bin.dat", b"\0\1\2" * 100)
    work.commit("first")
    work.write("a.txt", "1\n2\nthree\n")
    work.write("bin.dat", b"\0\1\3" * 100)
    work.write(FORGED, "forged\n")
    work.write(os.fsdecode(b"latin-\xe9.txt"), "l\n")
    work.commit(f"second {FORGED}\n\nbody \x1f\x1e\n\ncommit {'c' * 40}")
    work.git("mv", "a.txt", "moved.txt")
    work.commit("rename")
    work.git("checkout", "-q", "-b", BRANCH, "HEAD~1")
    work.commit("side", side_dot_txt="s\n")
    work.git("checkout", "-q", "main")
    work.commit("main", moved_dot_txt="1\n2\nthree\nfour\n")
    work.git("merge", "-q", "--no-ff", "-m", "merge", BRANCH)
    work.write("--option", "o\n")
    work.write(":(top)magic", "m\n")
    work.write("a dir/crlf.txt", "a\r\nb\r\n")
    work.write("empty.txt", "")
    work.write("noend.txt", "a\nb")
    work.commit("odd names")
    (work.path / "side.txt").unlink()
    work.commit("delete")
    work.commit("empty")
    return work


def _commits(work: Work) -> list[str]:
    return work.git("log", "--format=%H").split()


RENAMED = {"a.txt": "moved.txt"}


def _numstat(work: Work, below: str = "", renames: bool = False) -> dict[str, Rows]:
    """Ask git for each commit by itself, and read the answer by its NULs alone.

    With `renames`, the lines of a file are those of its present name.
    """
    found: dict[str, Rows] = {}
    for commit in _commits(work):
        rows = found.setdefault(commit, {})
        if len(work.git("rev-list", "--parents", "-n1", commit).split()) > 2:
            continue
        how = "-M" if renames else "--no-renames"
        flags = ["--root", "-r", how, "--numstat", "-z", "--no-commit-id"]
        records = iter(work.raw("diff-tree", *flags, commit).split(b"\0"))
        for record in records:
            added, _, rest = record.partition(b"\t")
            removed, _, raw = rest.partition(b"\t")
            if renames and record and not raw:
                raw = (next(records), next(records))[1]
            path = os.fsdecode(raw)
            path = RENAMED.get(path, path) if renames else path
            if raw and path.startswith(below):
                counts = [int(count) if count != b"-" else 0 for count in (added, removed)]
                rows[path.removeprefix(below)] = [1, *counts]
    return found


def _sum(found: dict[str, Rows]) -> Rows:
    totals: Rows = {}
    for rows in found.values():
        for path, counts in rows.items():
            before = totals.get(path, [0, 0, 0])
            totals[path] = [one + two for one, two in zip(before, counts, strict=True)]
    return totals


def _churn(catalog: OpenProject) -> tuple[Rows, dict[str, object]]:
    said = catalog.call_method("history", "churn", [], {"limit": 10_000})
    return {
        row["path"]: [row["commits"], row["added"], row["removed"]] for row in said["files"]
    }, said


def test_lines_by_file_are_those_of_git(odd: Work, catalog_of: Make) -> None:
    ours, said = _churn(catalog_of(odd.path))
    assert ours == _sum(_numstat(odd, renames=True))
    assert (said["commits"], said["note"]) == (len(_commits(odd)), "")


@pytest.mark.parametrize("part_first", [True, False])
def test_a_part_of_a_repository_has_counts_of_its_own(
    odd: Work, catalog_of: Make, part_first: bool
) -> None:
    whole, part = odd.path, odd.path / "a dir"
    for folder in (part, whole) if part_first else (whole, part):
        below = "a dir/" if folder == part else ""
        assert _churn(catalog_of(folder))[0] == _sum(_numstat(odd, below, renames=True))


def test_the_end_of_a_shallow_clone_is_neither_counted_nor_kept(
    odd: Work, catalog_of: Make, tmp_path: Path
) -> None:
    odd.git("clone", "-q", "--depth", "2", f"file://{odd.path}", str(tmp_path / "shallow"))
    ours, said = _churn(catalog_of(tmp_path / "shallow"))
    assert (ours, said["commits"]) == ({}, 1)
    assert said["note"] == "Left out where the shallow clone ends: 1 of 2 commits."
    assert _churn(catalog_of(odd.path))[0] == _sum(_numstat(odd, renames=True))


def test_a_replaced_commit_is_told_as_what_its_id_stands_for(odd: Work, catalog_of: Make) -> None:
    before = _numstat(odd, renames=True)
    odd.git("replace", _commits(odd)[2], _commits(odd)[-1])
    assert _churn(catalog_of(odd.path))[0] == _sum(before)


def test_files_that_change_together_are_those_of_git(odd: Work, catalog_of: Make) -> None:
    catalog, changes = catalog_of(odd.path), _numstat(odd)
    for path in _sum(changes):
        following = ["--literal-pathspecs", "log", "--follow", "--format=%H", "--"]
        commits = odd.git(*following, path).split()
        names = {path} | {old for old, new in RENAMED.items() if new == path}
        theirs = Counter(other for commit in commits for other in changes[commit].keys() - names)
        found = catalog.call_method("history", "together", [path], {"limit": 10_000})
        assert {row["path"]: row["commits"] for row in found} == theirs
        log = catalog.call_method("history", "log", [], {"path": path, "limit": 10_000})
        assert [row["commit"] for row in log] == commits


def test_files_that_change_together_in_a_part_are_named_below_it(
    odd: Work, catalog_of: Make
) -> None:
    found = catalog_of(odd.path / "a dir").call_method("history", "together", ["tab\tname"], {})
    assert [(row["path"], row["commits"]) for row in found] == [('\u00fc "q" file.txt', 1)]


@pytest.mark.parametrize("detached", [False, True])
def test_blame_and_text_of_every_file_are_those_of_git(
    odd: Work, catalog_of: Make, detached: bool
) -> None:
    if detached:
        odd.git("checkout", "-q", "--detach", "HEAD~1")
    catalog = catalog_of(odd.path)
    for raw in filter(None, odd.raw("ls-files", "-z").split(b"\0")):
        path = os.fsdecode(raw)
        said = odd.raw("blame", "--line-porcelain", "HEAD", "--", path)
        lines = re.findall(rb"^([0-9a-f]{40}) \d+ (\d+)", said, re.M)
        text = odd.raw("cat-file", "blob", f"HEAD:{path}").decode("utf-8", "replace")
        found = catalog.call_method("history", "blame", [path], {})
        assert [(b"%d" % one.line, one.commit.encode()) for one in found] == [
            (number, commit) for commit, number in lines
        ]
        assert "\n".join(one.text for one in found) == text.removesuffix("\n")
        assert catalog.call_method("history", "file", [path], {}) == text


def test_every_commit_ends_with_its_patch(odd: Work, catalog_of: Make) -> None:
    catalog = catalog_of(odd.path)
    for commit in _commits(odd):
        flags = ["-c", "core.quotePath=false", "show", "--format=%x00", "--full-index"]
        said = odd.raw(*flags, commit).decode("utf-8", "replace")
        patch = said.partition("\0")[2].strip("\n")
        assert catalog.full_text(f"history:{commit}").rstrip("\n").endswith(patch)


def test_a_branch_of_any_name_is_one_word(odd: Work, catalog_of: Make) -> None:
    catalog = catalog_of(odd.path)
    assert catalog.call_method("history", "refs", [], {})[BRANCH] == odd.git("rev-parse", BRANCH)
    assert not (odd.path / "x").exists()
