"""A ref whose lines have changed since it was given says so, and where they are now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest
from tests.project import OpenProject, Work

Make = Callable[..., OpenProject]
CODE = "import os\n\n\ndef pay(x):\n    return x\n\n\ndef get(x):\n    return pay(x)\n"


@pytest.fixture
def catalog(work: Work, catalog_of: Make) -> OpenProject:
    work.commit("one", a_dot_py=CODE)
    return catalog_of(work.path)


def note(catalog: OpenProject, ref: str) -> str:
    return catalog.peek(ref).note


def by_grep(catalog: OpenProject) -> str:
    return catalog.grep(Query("def get"), "repo").hits[0].ref


def by_rank(catalog: OpenProject) -> str:
    return catalog.search("get", "repo:a.py")[0].ref


def by_outline(catalog: OpenProject) -> str:
    return next(item.ref for item in catalog.outline("repo:a.py").items if item.name == "get")


def by_symbols(catalog: OpenProject) -> str:
    ref: str = catalog.call_method("repo", "symbols", ["get"], {})[0].ref
    return ref


def by_peek(catalog: OpenProject) -> str:
    return catalog.peek("repo:a.py#L8-L9").ref


def by_chunk(catalog: OpenProject) -> str:
    return catalog.chunk("repo:a.py", "lines", 5)[-1].ref


@pytest.mark.parametrize("give", [by_grep, by_rank, by_outline, by_symbols, by_peek, by_chunk])
def test_lines_that_moved_are_found_again(
    catalog: OpenProject, work: Work, give: Callable[[OpenProject], str]
) -> None:
    ref = give(catalog)
    text = catalog.full_text(ref)
    assert "changed" not in note(catalog, ref)
    work.write("a.py", "# a new line\n" + CODE)
    said = note(catalog, ref)
    assert said.startswith("a.py changed after this ref was given; what stood there is now repo:")
    moved = said.split(" now ")[1].split(" ")[0].rstrip(".")
    assert catalog.full_text(moved) == text
    assert note(catalog, ref) == "", "it has been given anew"


def test_an_edit_elsewhere_in_the_file_is_no_news(catalog: OpenProject, work: Work) -> None:
    ref = by_grep(catalog)
    work.write("a.py", CODE + "more = 1\n")
    assert note(catalog, ref) == ""


def test_lines_that_are_gone_are_said_to_be(catalog: OpenProject, work: Work) -> None:
    first, last = by_grep(catalog), by_peek(catalog)
    work.write("a.py", CODE.replace("get", "fetch"))
    assert note(catalog, first) == (
        "a.py changed after this ref was given; what stood there is gone."
    )
    work.write("a.py", "x = 1\n")
    with pytest.raises(BadRequest, match=r"has 1 line.* changed after this ref was given"):
        catalog.peek(last)
    (work.path / "a.py").unlink()
    with pytest.raises(BadRequest, match=r"no document 'a\.py'.* changed after this ref"):
        catalog.peek(last)


def test_of_the_same_line_twice_the_nearest_is_meant(work: Work, catalog_of: Make) -> None:
    work.commit("one", a_dot_txt="same\n" * 3 + "other\n" + "same\n")
    catalog = catalog_of(work.path)
    ref = catalog.peek("repo:a.txt#L5").ref
    work.write("a.txt", "same\n" * 3 + "new\nother\nsame\n")
    assert "now repo:a.txt#L6" in note(catalog, ref)


def test_a_revision_does_not_change(catalog: OpenProject, work: Work) -> None:
    ref = catalog.grep(Query("def get"), "repo@HEAD").hits[0].ref
    work.write("a.py", "x = 1\n")
    work.commit("two")
    assert catalog.peek(ref).text == "def get(x):" and note(catalog, ref) == ""


def test_a_log_that_was_rotated_says_so(tmp_path: Path, catalog_of: Make) -> None:
    log = tmp_path / "app.log"
    log.write_text("".join(f"2026-01-01T00:00:{n:02} INFO line {n}\n" for n in range(60)))
    catalog = catalog_of(tmp_path)
    catalog.open_context("app.log", "app")
    ref = catalog.grep(Query("line 7$"), "app").hits[0].ref
    with log.open("a") as file:
        file.write("2026-01-01T00:01:00 INFO line 60\n")
    assert note(catalog, ref) == ""
    log.write_text("2026-01-02T00:00:00 INFO another\n" * 70)
    assert note(catalog, ref).startswith("app.log changed after this ref was given")
