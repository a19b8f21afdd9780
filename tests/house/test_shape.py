"""Promises about the shape of the code: public names, sizes, and what a start imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rlm_mcp

ROOT = Path(__file__).parents[2]

LARGEST_FILE = 400
FORBIDDEN = {"utils", "helpers", "manager", "common", "misc", "base"}


def test_the_public_names_are_what_all_says() -> None:
    assert set(rlm_mcp.__all__) <= set(dir(rlm_mcp))


@pytest.mark.parametrize("folder", ["rlm_mcp", "tools"])
def test_no_file_outgrows_its_concept(folder: str) -> None:
    large = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / folder).rglob("*.py")
        if (lines := path.read_text("utf-8").count("\n")) > LARGEST_FILE
    }
    assert not large, f"split these: {large}"


def test_files_are_named_by_a_concept() -> None:
    for path in (ROOT / "rlm_mcp").rglob("*.py"):
        assert path.stem not in FORBIDDEN, path


def test_every_module_says_what_it_is() -> None:
    for folder in ("rlm_mcp", "tools", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def test_the_command_line_starts_without_heavy_imports() -> None:
    heavy = (
        "mcp",
        "anthropic",
        "numpy",
        "git",
        "tree_sitter",
        "hyperscan",
        "re2",
        "rich",
        "openai",
    )
    code = f"import sys, rlm_mcp.cli; print([n for n in {heavy!r} if n in sys.modules])"
    got = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert got.stdout.strip() == "[]"


def test_the_server_starts_with_nothing_heavy_but_the_protocol() -> None:
    heavy = ("anthropic", "git", "tree_sitter", "hyperscan", "RestrictedPython", "numpy")
    code = f"import sys, rlm_mcp.server.app; print([n for n in {heavy!r} if n in sys.modules])"
    got = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert got.stdout.strip() == "[]"


def test_nothing_committed_names_a_machine() -> None:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    for name in filter(None, names):
        path = ROOT / name
        if path.is_file() and path.suffix in {".py", ".md", ".toml", ".json", ".ts", ".yml"}:
            text = path.read_text("utf-8", "replace")
            assert "/".join(["", "work", ""]) not in text, name
            assert "/".join(["", "root", ""]) not in text, name
