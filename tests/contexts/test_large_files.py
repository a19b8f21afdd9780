"""Files of a folder that are too large to be loaded with it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from rlm_mcp.contexts import large_files
from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest
from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]
CODE = "".join(f"def step_{n}(x):\n    return x + {n}\n\n\n" for n in range(150_000))


@pytest.fixture
def catalog(work: Work, catalog_of: Make) -> OpenProject:
    work.commit("one", small_dot_py="x = 1\n", big_dot_py=CODE)
    catalog = catalog_of(work.path)
    assert catalog.describe("repo").skipped == {"too large": 1}
    return catalog


def test_a_large_file_is_read_searched_chunked_and_outlined_by_its_path(
    catalog: OpenProject,
) -> None:
    assert catalog.peek("repo:big.py#L9-L10").text == "def step_2(x):\n    return x + 2"
    assert catalog.grep(Query("step_1499.*"), "repo:./big.py").total == 111
    parts = catalog.chunk("repo:big.py", "auto", 20_000)
    assert parts[0].ref.startswith("repo:big.py#L1-L")
    assert "".join(catalog.full_text(part.ref) + "\n" for part in parts).split() == CODE.split()
    outline = catalog.outline("repo:big.py", 3)
    assert (outline.total, outline.items[0].name) == (150_000, "step_0")
    best = catalog.search("step_77777", "repo:big.py", 1)
    assert best[0].path == "big.py"
    assert catalog.grep(Query("step_1499.*"), "repo").total == 0


def test_a_large_file_is_read_as_it_is_now(catalog: OpenProject, work: Work) -> None:
    assert catalog.grep(Query("freshly"), "repo:big.py").total == 0
    work.write("big.py", CODE + "freshly = 1\n")
    assert catalog.grep(Query("freshly"), "repo:big.py").total == 1


def test_many_large_files_keep_few_open(work: Work, catalog_of: Make) -> None:
    for number in range(large_files.MAX_OPEN + 3):
        work.write(f"f{number}.txt", f"only {number}\n" * 600_000)
    work.commit("all")
    catalog = catalog_of(work.path)
    catalog.describe("repo")
    open_files = []
    for number in range(large_files.MAX_OPEN + 3):
        assert catalog.grep(Query(f"only {number}"), f"repo:f{number}.txt").total == 600_000
        open_files.append(len(os.listdir("/proc/self/fd")))
    assert open_files[large_files.MAX_OPEN :] == [open_files[large_files.MAX_OPEN - 1]] * 3


def test_a_file_that_is_too_large_to_open_is_told(
    catalog: OpenProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_files, "MAX_BYTES", 1000)
    with pytest.raises(BadRequest, match="more than 1,000; open it by itself"):
        catalog.chunk("repo:big.py")


@pytest.mark.parametrize(("start", "end"), [(5, 2), (0, 3), (-1, 0)])
def test_lines_that_are_no_span_are_refused(catalog: OpenProject, start: int, end: int) -> None:
    with pytest.raises(BadRequest, match="is no span"):
        catalog.call_method("repo", "read", ["small.py", start, end], {})
