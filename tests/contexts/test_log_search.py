"""Searching logs: what is found, what is refused, and what an answer says of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.contexts.catalog import Catalog
from rlm_mcp.contexts.variable import Query
from rlm_mcp.corpus import sift
from rlm_mcp.errors import BadRequest

Make = Callable[..., Catalog]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "logs"
    made.mkdir()
    return made


def opened(folder: Path, catalog_of: Make, text: str | bytes) -> Catalog:
    """Open a log of that text as `app`."""
    (folder / "app.log").write_bytes(text.encode() if isinstance(text, str) else text)
    catalog = catalog_of(folder)
    catalog.open("app.log", "app")
    return catalog


def test_a_literal_is_no_expression(folder: Path, catalog_of: Make) -> None:
    catalog = opened(folder, catalog_of, "a.b\naxb\n(\n")
    found = catalog.search(Query("a.b", literal=True), "app")
    assert [hit.text for hit in found.hits] == ["a.b"]
    assert catalog.search(Query("(", literal=True), "app").total == 1


@pytest.mark.parametrize("pattern", [r"a\nb", r"\Aa", r"b\z"])
def test_what_no_line_can_decide_is_refused(folder: Path, catalog_of: Make, pattern: str) -> None:
    catalog = opened(folder, catalog_of, "a\nb\n")
    with pytest.raises(BadRequest, match="line by line"):
        catalog.search(Query(pattern), "app")


def test_a_line_that_was_looked_at_in_parts_is_said(
    folder: Path, catalog_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sift, "PIECE", 1 << 10)
    catalog = opened(folder, catalog_of, "a" * 5_000 + "b\nb\n")
    found = catalog.search(Query("ab"), "app")
    assert (found.total, found.exact, found.note) == (1, True, "")
    monkeypatch.setattr(sift, "MAX_WHOLE", 2 << 10)
    found = catalog.search(Query("b"), "app")
    assert (found.total, found.exact) == (2, False)
    assert "looked at in parts" in found.note
