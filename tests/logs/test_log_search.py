"""Searching logs: what is found, what is refused, and what an answer says of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.corpus.search import Query, large_file
from rlm_mcp.errors import BadRequest
from tests.project import OpenProject

Make = Callable[..., OpenProject]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "logs"
    made.mkdir()
    return made


def opened(folder: Path, catalog_of: Make, text: str | bytes) -> OpenProject:
    """Open a log of that text as `app`."""
    (folder / "app.log").write_bytes(text.encode() if isinstance(text, str) else text)
    catalog = catalog_of(folder)
    catalog.open_context("app.log", "app")
    return catalog


def test_a_literal_is_no_expression(folder: Path, catalog_of: Make) -> None:
    catalog = opened(folder, catalog_of, "a.b\naxb\n(\n")
    found = catalog.grep(Query("a.b", literal=True), "app")
    assert [hit.text for hit in found.hits] == ["a.b"]
    assert catalog.grep(Query("(", literal=True), "app").total == 1


@pytest.mark.parametrize("pattern", [r"a\nb", r"\Aa", r"b\z"])
def test_what_no_line_can_decide_is_refused(folder: Path, catalog_of: Make, pattern: str) -> None:
    catalog = opened(folder, catalog_of, "a\nb\n")
    with pytest.raises(BadRequest, match="line by line"):
        catalog.grep(Query(pattern), "app")


def test_a_line_that_was_looked_at_in_parts_is_said(
    folder: Path, catalog_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_file, "PIECE_BYTES", 1 << 10)
    catalog = opened(folder, catalog_of, "a" * 5_000 + "b\nb\n")
    found = catalog.grep(Query("ab"), "app")
    assert (found.total, found.exact, found.note) == (1, True, "")
    monkeypatch.setattr(large_file, "MAX_WHOLE_LINE", 2 << 10)
    found = catalog.grep(Query("b"), "app")
    assert (found.total, found.exact) == (2, False)
    assert "looked at in parts" in found.note


def test_a_byte_order_mark_is_no_part_of_the_first_line(folder: Path, catalog_of: Make) -> None:
    catalog = opened(folder, catalog_of, b"\xef\xbb\xbfone\ntwo\n")
    found = catalog.grep(Query("^o"), "app")
    assert [(hit.line, hit.text) for hit in found.hits] == [(1, "one")]
    assert catalog.grep(Query(r"^\W"), "app").total == 0


def test_a_list_of_hits_says_what_it_leaves_out(folder: Path, catalog_of: Make) -> None:
    catalog = opened(folder, catalog_of, "hit\n" * 5)
    cut = catalog.call_method("app", "grep", ["hit"], {"limit": 2})
    assert [hit.line for hit in cut] == [1, 2]
    assert (cut.total, cut.exact) == (5, True)
    assert catalog.call_method("app", "grep", ["hit"], {}).total == 5
    assert catalog.call_method("app", "search", ["hit"], {"k": 1})[0].text == "hit"


TRACE = """2026-03-14 09:00:00 INFO start
2026-03-14 09:00:01 ERROR it failed
Traceback (most recent call last):
  File "a.py", line 1, in <module>
KeyError: 'x'
2026-03-14 09:00:02 INFO on
"""


def test_a_record_is_shown_with_all_its_lines(folder: Path, catalog_of: Make) -> None:
    catalog = opened(folder, catalog_of, TRACE)
    wanted = "\n".join(TRACE.split("\n")[1:5])
    first = catalog.call_method("app", "first_error", [], {})["record"]
    chosen = catalog.call_method("app", "select", [], {"level": "error"})["records"]
    assert first == chosen[0]
    assert (first["ref"], first["text"], first["cut"]) == ("app:app.log#L2-L5", wanted, False)
    assert catalog.peek(first["ref"]).text == wanted


def test_an_answer_says_why_there_is_nothing(folder: Path, catalog_of: Make) -> None:
    catalog = opened(folder, catalog_of, "just words\n" * 9)
    for method, named in (("select", {"level": "error"}), ("first_error", {}), ("histogram", {})):
        said = catalog.call_method("app", method, [], dict(named))
        assert said["total"] == 0
        wanted = "No time" if method == "histogram" else "No record has a level"
        assert wanted in said["note"], method
    said = catalog.call_method("app", "select", [], {"since": "2026-01-01"})
    assert said["total"] == 0 and "app.log: left out" in said["note"]
    assert catalog.call_method("app", "select", [], {})["note"] == ""
