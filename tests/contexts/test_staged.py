"""What is staged and what is not committed: the index as a context, and the patches of both."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest, Denied
from rlm_mcp.refs import parse_ref
from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]


@pytest.fixture
def staged(work: Work) -> Work:
    """A tree whose a.py differs in the commit, the index and on disk."""
    work.commit("one", a_dot_py="x = 1\n", part__b_dot_py="b = 1\n", _dot_env="KEY=1\n")
    work.write("a.py", "x = 2\n")
    work.write("part/new.py", "def fresh():\n    return 3\n")
    work.write(".env", "KEY=2\n")
    work.git("add", "-A", "-f")
    work.write("a.py", "x = 3\n")
    work.write("unknown.py", "u = 1\n")
    return work


def test_the_index_holds_what_is_staged(staged: Work, catalog_of: Make) -> None:
    catalog = catalog_of(staged.path)
    variable = catalog.open_context("repo@index", "staging")
    assert list(variable.documents(parse_ref("staging"))) == ["a.py", "part/b.py", "part/new.py"]
    assert catalog.full_text("staging:a.py") == "x = 2\n"
    assert catalog.grep(Query("fresh"), "staging").total == 1
    assert variable.describe().freshness == "fixed: as staged when it was opened"
    assert variable.describe().skipped == {"denied": 1}
    staged.git("add", "a.py")
    assert catalog.full_text("staging:a.py") == "x = 2\n"
    catalog.open_context("repo@index", "later")
    assert catalog.full_text("later:a.py") == "x = 3\n"


def test_a_folder_or_a_file_of_the_index_opens_alone(staged: Work, catalog_of: Make) -> None:
    catalog = catalog_of(staged.path)
    folder = catalog.open_context("part@index", "folder")
    assert list(folder.documents(parse_ref("folder"))) == ["b.py", "new.py"]
    catalog.open_context("a.py@index", "one")
    assert catalog.full_text("one:a.py") == "x = 2\n"
    with pytest.raises(BadRequest, match="not in the index"):
        catalog.open_context("unknown.py@index", "x")
    with pytest.raises(Denied):
        catalog.open_context(".env@index", "secret")


def test_a_root_below_the_top_sees_its_part_of_the_index(staged: Work, catalog_of: Make) -> None:
    catalog = catalog_of(staged.path / "part")
    variable = catalog.open_context("repo@index", "staging")
    assert list(variable.documents(parse_ref("staging"))) == ["b.py", "new.py"]


def test_of_an_unmerged_path_ours_is_taken(work: Work, catalog_of: Make) -> None:
    work.commit("base", a_dot_py="base\n")
    work.git("checkout", "-q", "-b", "side")
    work.commit("side", a_dot_py="theirs\n")
    work.git("checkout", "-q", "main")
    work.commit("main", a_dot_py="ours\n")
    with pytest.raises(AssertionError):
        work.git("merge", "-q", "side")
    catalog = catalog_of(work.path)
    catalog.open_context("repo@index", "staging")
    assert catalog.full_text("staging:a.py") == "ours\n"


def test_a_branch_called_index_comes_first(staged: Work, catalog_of: Make) -> None:
    staged.git("branch", "index")
    catalog = catalog_of(staged.path)
    catalog.open_context("repo@index", "branch")
    assert catalog.full_text("branch:a.py") == "x = 1\n"


def test_the_patch_of_what_is_not_committed(staged: Work, catalog_of: Make) -> None:
    catalog = catalog_of(staged.path)
    both = catalog.call_method("repo", "diff", [], {})
    assert "-x = 1\n+x = 3\n" in both and "+def fresh():" in both and "unknown" not in both
    assert "KEY" not in both and both.startswith("[1 file that holds secrets by name left out]")
    next_one = catalog.call_method("repo", "diff", ["a.py"], {"staged": True})
    assert "-x = 1\n+x = 2\n" in next_one and "fresh" not in next_one
    with pytest.raises(Denied):
        catalog.call_method("repo", "diff", [".env"], {})
    catalog.open_context("repo@HEAD", "old")
    with pytest.raises(BadRequest, match="nothing uncommitted"):
        catalog.call_method("old", "diff", [], {})


def test_before_the_first_commit_all_is_new(work: Work, catalog_of: Make) -> None:
    work.write("a.py", "x = 1\n")
    work.git("add", "a.py")
    catalog = catalog_of(work.path)
    assert "+x = 1" in catalog.call_method("repo", "diff", [], {})
    assert catalog.open_context("repo@index", "staging").describe().documents == 1
