"""Promises about the shape of the code: public names, sizes, and what a start imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import rlm_mcp
from bench import shape

ROOT = Path(__file__).parents[2]

DEEPEST_CHAIN = 16
DEEPEST_TOP_CHAIN = 12
DEEPEST_CHAIN_THROUGH_DOORS = 19
"""Counted to the module behind a name that a door loads when it is first used."""
MOST_ONE_WORD_NAMES = 0.35
LARGEST_ROOM = 0.25
FORBIDDEN = {"utils", "helpers", "manager", "common", "misc", "base"}


def test_the_public_names_are_what_all_says() -> None:
    public = {name for name in vars(rlm_mcp) if not name.startswith("_")}
    modules = {name for name in public if isinstance(vars(rlm_mcp)[name], ModuleType)}
    assert set(rlm_mcp.__all__) == {"RLM", "__version__"}
    assert all(hasattr(rlm_mcp, name) for name in rlm_mcp.__all__)
    assert public - modules <= {*rlm_mcp.__all__, "annotations", "Any", "TYPE_CHECKING"}


@pytest.fixture(scope="module")
def modules() -> dict[str, shape.Module]:
    return shape.read_modules()


def test_no_chain_of_imports_is_deep(modules: dict[str, shape.Module]) -> None:
    to_doors = shape.read_modules(through_doors=False)
    assert len(shape.longest_chain(to_doors, lazy=True)) <= DEEPEST_CHAIN
    assert len(shape.longest_chain(modules, lazy=True)) <= DEEPEST_CHAIN_THROUGH_DOORS
    assert len(shape.longest_chain(modules, lazy=False)) <= DEEPEST_TOP_CHAIN


def test_no_small_file_serves_a_single_other_one(modules: dict[str, shape.Module]) -> None:
    assert not shape.splinters(modules)


def test_a_public_class_has_a_name_of_its_own(modules: dict[str, shape.Module]) -> None:
    assert [name for name, count in shape.class_names(modules).items() if count > 1] == []


def test_a_module_has_a_name_of_its_own(modules: dict[str, shape.Module]) -> None:
    twice = {name for name, count in shape.module_stems(modules).items() if count > 1}
    # A client and a reader are both named by the agent; a provider by its own name.
    assert twice <= {"claude_code", "sampling"}


def test_functions_are_named_so_that_grep_finds_them(modules: dict[str, shape.Module]) -> None:
    names = shape.function_names(modules)
    assert shape.one_word_share(names) <= MOST_ONE_WORD_NAMES


def test_no_room_is_a_quarter_of_the_house(modules: dict[str, shape.Module]) -> None:
    sizes = shape.room_sizes(modules)
    assert max(sizes.values()) <= LARGEST_ROOM * sizes.total()


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
