"""The rooms of docs/design/README.md: imports go one way, and each dependency lives in one room."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bench import shape

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rlm_mcp"

OPEN_TO_ALL = {
    "config",
    "confine",
    "encodings",
    "errors",
    "files",
    "lazy_door",
    "marks",
    "methods",
    "plurals",
    "process_limits",
    "programs",
    "refs",
    "tokens",
    "tool_table",
}
ROOMS: dict[str, set[str]] = {
    "cli": {
        "server",
        "engine",
        "clients",
        "toolbox",
        "promptbook",
        "trust",
        "contexts",
        "models",
        "sandbox",
        "variable",
    },
    "server": {"toolbox", "promptbook", "trust", "engine", "reply", "redact", "models", "variable"},
    "clients": {
        "models",
        "sandbox",
        "contexts",
        "corpus.store",
        "git",
        "toolbox",
        "promptbook",
        "trust",
    },
    "toolbox": {"trust"},
    "promptbook": {"trust"},
    "trust": set(),
    "reply": {"redact"},
    "engine": {
        "models",
        "sandbox",
        "contexts",
        "documents",
        "variable",
        "corpus.code",
        "corpus.search",
        "redact",
        "sdk",
        "viewer",
        "toolbox",
        "promptbook",
    },
    "viewer": set(),
    "models": {"redact", "sdk"},
    "sandbox": {"sdk"},
    "sdk": set(),
    "contexts": {
        "documents",
        "sessions",
        "logs",
        "variable",
        "corpus.store",
        "corpus.search",
        "corpus.code",
        "git",
        "redact",
    },
    "sessions": {
        "documents",
        "variable",
        "corpus.store",
        "corpus.search",
        "corpus.code",
        "git",
        "redact",
    },
    "logs": {"documents", "variable", "corpus.store", "corpus.search", "corpus.code", "redact"},
    "documents": {"variable", "corpus.store", "redact"},
    "variable": {"corpus.search"},
    "corpus": set(),
    "corpus.code": {"corpus.store", "corpus.search"},
    "corpus.search": {"corpus.store"},
    "corpus.store": {"git"},
    "git": set(),
    "confine": {"errors"},
    "redact": {"corpus.search"},
    "errors": set(),
    "lazy_door": set(),
    "plurals": set(),
    "marks": set(),
    "programs": set(),
    "tool_table": set(),
    "methods": {"errors"},
    "tokens": set(),
    "encodings": set(),
    "files": {"errors"},
    "process_limits": set(),
    "config": {"errors"},
    "refs": {"errors"},
}
"""What each room may import, besides the rooms that are open to all."""

DEPENDENCIES = {
    "click": "cli",
    "rich": "cli",
    "mcp": "server",
    "mcp_types": "server",
    "starlette": "server",
    "uvicorn": "server",
    "anyio": "server",
    "pydantic": "server",
    "anthropic": "models",
    "openai": "models",
    "httpx2": "models",
    "RestrictedPython": "sandbox",
    "git": "git",
    "jsonschema": "engine",
    "re2": "corpus",
    "hyperscan": "corpus",
    "numpy": "corpus",
    "watchfiles": "corpus",
    "pathspec": "corpus",
    "platformdirs": "config",
    "opentelemetry": "engine",
    "zstandard": "logs",
    "jiter": "sessions",
}
"""Which room each third-party package lives in."""


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def imports(path: Path, module: str) -> Iterator[tuple[str, bool]]:
    """Yield every module that a file imports anywhere, and whether only for type checking."""
    tree = ast.parse(path.read_text("utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in typing_only
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write imports in full"
            source = node.module or ""
            yield source, id(node) in typing_only
            for alias in node.names:
                if (ROOT / source.replace(".", "/") / f"{alias.name}.py").exists() or (
                    ROOT / source.replace(".", "/") / alias.name / "__init__.py"
                ).exists():
                    yield f"{source}.{alias.name}", id(node) in typing_only


def room(module: str) -> str:
    parts = module.split(".")[1:]
    return ".".join(parts[:2]) if parts[:1] == ["corpus"] else "".join(parts[:1])


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: str(value)[-40:])
def test_a_room_imports_only_what_is_below_it(module: str, path: Path) -> None:
    if module == "rlm_mcp":
        return
    own = room(module)
    assert own in ROOMS, f"{own} is no room: give it a place in the picture"
    allowed = ROOMS[own] | OPEN_TO_ALL | {own, ""}
    for target, _ in imports(path, module):
        if target.split(".")[0] == "rlm_mcp":
            assert room(target) in allowed, f"{module} must not import {target}"


def test_the_picture_of_the_rooms_has_no_cycle() -> None:
    done: set[str] = set()
    while len(done) < len(ROOMS):
        ready = {name for name, below in ROOMS.items() if name not in done and below <= done}
        assert ready, f"cycle among {sorted(set(ROOMS) - done)}"
        done |= ready


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: str(value)[-40:])
def test_each_dependency_is_imported_in_one_room(module: str, path: Path) -> None:
    for target, _ in imports(path, module):
        top = target.split(".")[0]
        if top == "rlm_mcp" or top in sys.stdlib_module_names:
            continue
        home = "corpus" if top.startswith("tree_sitter") else DEPENDENCIES.get(top)
        assert home is not None, f"{module} imports {top}, which has no room"
        assert room(module).split(".")[0] == home, f"{module} imports {top}; it lives in {home}"


def test_no_module_is_in_an_import_cycle() -> None:
    assert shape.longest_chain(shape.read_modules(), lazy=True)


def test_product_code_never_imports_the_content_folders() -> None:
    for module, path in modules():
        for target, _ in imports(path, module):
            assert target.split(".")[0] not in {"tools", "prompts", "tests", "bench"}, module


DOORS = tuple(
    sorted({room(module) for module, path in modules() if path.parent != PACKAGE} - {"corpus"})
)
"""Rooms that are folders: nothing but the names of the door is imported from outside."""
LARGEST_DOOR = 12
PUBLISHED = {"sdk"}
"""What tools and cells are written against: a published interface, whose size is its own matter.

The sandbox loads it into the worker whole."""


def door_names(name: str) -> tuple[ast.Module, list[str]]:
    door = ast.parse((PACKAGE / name.replace(".", "/") / "__init__.py").read_text("utf-8"))
    public = [
        item
        for node in ast.walk(door)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for item in ast.literal_eval(node.value)
    ]
    return door, public


@pytest.mark.parametrize("name", DOORS)
def test_a_door_says_what_its_room_is_and_names_few_things(name: str) -> None:
    door, public = door_names(name)
    said = ast.get_docstring(door) or ""
    assert len(said.split()) >= 15, f"the docstring of {name} says too little"
    assert len(public) > 0
    assert len(public) <= LARGEST_DOOR or name in PUBLISHED
    inside = {path.stem for module, path in modules() if module.startswith(f"rlm_mcp.{name}.")}
    assert not [
        one for one in public if not hasattr(importlib.import_module(f"rlm_mcp.{name}"), one)
    ]
    assert not [
        one
        for one in public
        if one in inside
        and isinstance(getattr(importlib.import_module(f"rlm_mcp.{name}"), one), ModuleType)
    ]


@pytest.mark.parametrize("name", DOORS)
def test_a_door_that_loads_lazily_tells_the_type_checker_the_same(name: str) -> None:
    door, public = door_names(name)
    typed = shape.door_homes(door, f"rlm_mcp.{name}")
    loaded = {
        f"rlm_mcp.{name}.{key}": f"rlm_mcp.{name}.{home}"
        for node in ast.walk(door)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "load_lazily"
        for key, home in ast.literal_eval(node.args[1]).items()
    }
    if loaded:
        assert loaded == typed
        assert {one.rpartition(".")[2] for one in loaded} <= set(public)


@pytest.mark.parametrize("name", sorted(set(DOORS) - PUBLISHED))
def test_a_room_is_entered_by_its_door(name: str) -> None:
    _, public = door_names(name)
    own = f"rlm_mcp.{name}"
    for module, path in modules():
        if room(module) == name:
            continue
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not [one for one in node.names if f"{one.name}.".startswith(f"{own}.")]
            if not isinstance(node, ast.ImportFrom):
                continue
            assert not f"{node.module}".startswith(f"{own}."), f"{module}: {node.module}"
            if node.module == own:
                assert {alias.name for alias in node.names} <= set(public), module
            for alias in node.names:
                if f"{node.module}.{alias.name}" == own:
                    used = attributes_of(tree, alias.asname or alias.name)
                    assert used <= set(public), f"{module}: {used - set(public)}"


def attributes_of(tree: ast.Module, name: str) -> set[str]:
    """Return what a file uses of a module that it knows by a name."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
    }


STARTERS = {"Popen", "run", "call", "check_call", "check_output", "getoutput",
            "create_subprocess_exec", "create_subprocess_shell", "system", "popen",
            "posix_spawn", "fork", "execv", "execve", "execvp", "spawnv", "forkpty"}  # fmt: skip


def starts_a_process(node: ast.AST) -> bool:
    """Say whether a call starts a process: `subprocess.run` does, a method `run` of ours not."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id in STARTERS - {"run", "call", "system"}
    return (
        isinstance(node.func, ast.Attribute)
        and node.func.attr in STARTERS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"subprocess", "os", "asyncio", "pty"}
    )


def test_git_is_started_in_one_room_by_one_function() -> None:
    starting = []
    for module, path in modules():
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and room(module) == "git":
                starting += [node.name for inner in ast.walk(node) if starts_a_process(inner)]
            if room(module) == "git":
                continue
            if isinstance(node, (ast.List, ast.Tuple)) and node.elts:
                first = node.elts[0]
                literal = isinstance(first, ast.Constant) and first.value == "git"
                assert not (literal and len(node.elts) > 1), f"{module}:{node.lineno} runs git"
            if isinstance(node, ast.Call):
                words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                finds = "which" in ast.unparse(node.func) and "git" in words
                assert not finds, f"{module}:{node.lineno} looks for git"
            if starts_a_process(node):
                assert isinstance(node, ast.Call)
                texts = [c.value for c in ast.walk(node) if isinstance(c, ast.Constant)]
                named = [text for text in texts if isinstance(text, str) and "git" in text.split()]
                assert not named, f"{module}:{node.lineno} runs git"
    assert starting == ["_spawn_process"]


def test_no_other_name_of_the_package_starts_processes_in_the_room_of_git() -> None:
    for module, path in modules():
        if room(module) == "git" and module != "rlm_mcp.git.command":
            assert "subprocess" not in {target for target, _ in imports(path, module)}, module
