"""Ordinary model-written cells give in the sandbox what they give in CPython."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox.cells_corpus import Cell, Result, by_sandbox, cells

CORPUS = cells()
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def expected() -> dict[str, Result]:
    """Return what CPython gives for every cell, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.sandbox.cells_corpus"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return {name: Result(**found) for name, found in json.loads(done.stdout).items()}


def test_the_corpus_has_at_least_150_cells_with_names_of_their_own() -> None:
    assert len(CORPUS) >= 150
    assert len({cell.id for cell in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("cell", CORPUS, ids=lambda cell: cell.id)
def test_a_cell_gives_what_cpython_gives(cell: Cell, expected: dict[str, Result]) -> None:
    assert by_sandbox(cell) == expected[cell.id]
