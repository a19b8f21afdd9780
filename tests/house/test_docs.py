"""The documents name what exists, and the picture of the rooms is the imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.test_rooms import OPEN_TO_ALL, ROOT, imports, modules, room

PICTURE = ROOT / "docs/design/README.md"
MAINTAINING = ROOT / "docs/maintaining.md"
DOCUMENTS = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("plugin/**/*.md"),
        *ROOT.glob("vscode-extension/*.md"),
        *ROOT.glob("examples/*.md"),
    ]
    if path.name != "CHANGELOG.md"
)
PATH = re.compile(r"`((?:rlm_mcp|tools|prompts|docs|tests|bench|examples|plugin)/[\w./*-]*)`")
PYTHON_PATH = re.compile(r"`((?:[\w-]+/)+[\w-]+\.py)`")
OF_OTHERS = {"click.py", "sitecustomize.py"}
"""Files that docstrings speak of because a stranger's folder may hold them."""
FILE_NAME = re.compile(r"(?<![\w./<*-])([a-z]\w*\.py)\b")
MODULE = re.compile(r"\brlm_mcp(?:\.\w+)+")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)")
ARROW = re.compile(r"^    ([\w.]+) --> (.+)$", re.MULTILINE)


def missing_names(text: str, folder: Path) -> list[str]:
    """Return the paths, modules and links in a document that lead nowhere."""
    missing = []
    for path in dict.fromkeys(PATH.findall(text) + PYTHON_PATH.findall(text)):
        if not (any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()):
            missing.append(path)
    missing += [name for name in MODULE.findall(text) if not names_something(name)]
    missing += [link for link in LINK.findall(text) if not (folder / link).exists()]
    return missing


def names_something(dotted: str) -> bool:
    """Say whether a dotted name is a module, or a name in one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:end])
        if base.is_dir() and end == len(parts):
            return True
        source = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        if source.exists():
            rest = parts[end:]
            return not rest or re.search(rf"\b{rest[0]}\b", source.read_text("utf-8")) is not None
    return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_module_and_link_in_a_document_exists(document: Path) -> None:
    assert missing_names(document.read_text("utf-8"), document.parent) == []


def test_every_module_named_in_the_package_exists() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for _, path in modules()
        for name in MODULE.findall(path.read_text("utf-8"))
        if not names_something(name)
    ]
    assert wrong == []


def test_every_python_file_named_in_a_docstring_or_design_page_exists() -> None:
    known = {
        path.name
        for folder in ("rlm_mcp", "tests", "docs")
        for path in ROOT.glob(f"{folder}/**/*.py")
    }
    texts = [(path, path.read_text("utf-8")) for path in ROOT.glob("docs/design/*.md")]
    for _, path in modules():
        tree = ast.parse(path.read_text("utf-8"))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = [node for node in ast.walk(tree) if isinstance(node, documented)]
        texts += [(path, ast.get_docstring(node) or "") for node in nodes]
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in texts
        for name in FILE_NAME.findall(text)
        if name not in known | OF_OTHERS
    ]
    assert wrong == []


def test_a_stale_name_in_a_document_is_found() -> None:
    text = "`rlm_mcp/gone.py` rlm_mcp.engine.gone rlm_mcp.engine.run [x](gone.md) `rlm_mcp/refs.py`"
    assert missing_names(text, ROOT) == ["rlm_mcp/gone.py", "rlm_mcp.engine.gone", "gone.md"]


def drawn_arrows() -> Iterator[tuple[str, str]]:
    for source, targets in ARROW.findall(PICTURE.read_text("utf-8")):
        for target in targets.split(" & "):
            yield source, target.strip()


def imported_rooms() -> set[tuple[str, str]]:
    found = {
        (room(module), room(target))
        for module, path in modules()
        for target, _ in imports(path, module)
        if target.startswith("rlm_mcp.")
    }
    return {
        (own, other)
        for own, other in found
        if own != other and {own, other}.isdisjoint(OPEN_TO_ALL | {"", "__version__", "RLM"})
    }


def test_the_picture_of_the_rooms_is_what_they_import() -> None:
    arrows, imported = set(drawn_arrows()), imported_rooms()
    assert arrows - imported == set(), "an arrow without an import"
    reachable = set(arrows)
    while more := {(a, d) for a, b in reachable for c, d in arrows if b == c} - reachable:
        reachable |= more
    assert imported - reachable == set(), "an import without an arrow, or a chain of arrows"


def test_the_map_says_where_to_change_thirty_things() -> None:
    rows = [
        line
        for line in MAINTAINING.read_text("utf-8").splitlines()
        if line.startswith("| ") and PATH.search(line)
    ]
    assert len(rows) >= 30


def test_recipes_for_extending_are_shorter_than_ten_lines() -> None:
    recipes = MAINTAINING.read_text("utf-8").split("\n### Add ")[1:]
    assert len(recipes) >= 8
    for recipe in recipes:
        body = recipe.split("\n## ")[0].strip().splitlines()[1:]
        assert 0 < len([line for line in body if line]) < 10, recipe.splitlines()[0]
