"""A file that was named is opened whatever its size; nothing to read is said, never answered."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlm_mcp.cli.main import run_command
from rlm_mcp.config import Settings
from rlm_mcp.contexts.catalog import Catalog
from rlm_mcp.corpus.search import Query
from rlm_mcp.methods import to_wire
from tests.project import OpenProject

NEEDLE = "# The spare key of the observatory hangs behind the barometer.\n"
LINE = "value = compute(value, step)  # an ordinary line of an ordinary program\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    half = LINE * (5 * 2**20 // len(LINE) // 2)
    (tmp_path / "big.txt").write_text(half + NEEDLE + half)
    (tmp_path / "small.txt").write_text("nothing of interest\n")
    return tmp_path


@pytest.fixture
def catalog(folder: Path) -> Iterator[OpenProject]:
    catalog = OpenProject(Catalog(Settings(roots=(folder,))))
    yield catalog
    catalog.close()


def test_a_large_file_that_was_named_is_searched_and_ranked(
    catalog: OpenProject, folder: Path
) -> None:
    name = catalog.open_context(str(folder / "big.txt")).name
    found = catalog.grep(Query("observatory"), name)
    assert (found.total, found.exact) == (1, True)
    best = catalog.search("Where does the spare key of the observatory hang?", name, 3)
    assert any("observatory" in hit.text for hit in best)


def test_in_a_folder_it_is_counted_as_left_out_and_opens_by_its_path(
    catalog: OpenProject, folder: Path
) -> None:
    variable = catalog.open_context(str(folder), "whole")
    assert to_wire(variable.describe())["skipped"] == {"too large": 1}
    assert catalog.peek("whole:big.txt#L1-L2", 2).text.startswith("value = compute")


def test_a_compressed_text_of_any_name_is_read(catalog: OpenProject, folder: Path) -> None:
    (folder / "notes.txt.gz").write_bytes(gzip.compress(NEEDLE.encode()))
    name = catalog.open_context(str(folder / "notes.txt.gz")).name
    assert catalog.grep(Query("barometer"), name).total == 1


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 40])
def test_a_question_about_nothing_is_refused(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty"
    path.write_bytes(content)
    arguments = ["ask", "What is in it?", "--open", str(path), "--model", "extractive:"]
    assert run_command([*arguments, "--root", str(tmp_path)]) == 2
    assert "There is no text in empty" in capsys.readouterr().err


def test_a_deleted_current_folder_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.delenv("CLAUDE_PROJECT_DIR", raising=False)
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run_command(["contexts"]) == 2
    assert "The current folder was deleted" in capsys.readouterr().err


def test_the_largest_documents_are_told_of_how_many(tmp_path: Path) -> None:
    for name, lines in (("a.py", 3), ("b.py", 9), ("c.md", 6)):
        (tmp_path / name).write_text("x = 1\n" * lines)
    catalog = OpenProject(Catalog(Settings(roots=(tmp_path,))))
    largest = catalog.get_variable("repo").methods["largest"]
    rows = largest(limit=2)
    assert [(row.ref, row.bytes, row.lines) for row in rows] == [
        ("repo:b.py", 54, 9),
        ("repo:c.md", 36, 6),
    ]
    assert rows.total == 3
    assert [row.path for row in largest(glob="*.py")] == ["b.py", "a.py"]
    catalog.close()
