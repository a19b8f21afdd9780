"""Print the shape of the package: sizes, import depth, and names that stand more than once.

`python bench/shape.py` (or `make shape`) reads the sources as text and imports nothing of them.
tests/house/test_shape.py holds the figures that are promises.
"""

from __future__ import annotations

import ast
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
SPLINTER_LINES = 60
"""A module with fewer lines and a single importer belongs into that importer."""
KINDS = ("readers", "extractive", "facades", "jail", "models", "cli", "clients", "redact")
"""Folders of files that are alike (a reader, a provider, a platform): each may be small."""


@dataclass(frozen=True, slots=True)
class Module:
    """One file of the package, parsed."""

    name: str
    lines: int
    tree: ast.Module
    imports: frozenset[str] = field(default=frozenset())
    top_imports: frozenset[str] = field(default=frozenset())

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[2]


def read_modules(
    package: Path = ROOT / "rlm_mcp", *, through_doors: bool = True
) -> dict[str, Module]:
    """Return every module of a package by its dotted name, with what it imports of it.

    Who imports a name from a door that loads it lazily imports the module behind it, or, where
    doors are not looked through, the door alone.
    """
    files = {}
    for path in sorted(package.rglob("*.py")):
        dotted = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        text = path.read_text("utf-8")
        files[dotted.removesuffix(".__init__")] = (ast.parse(text), text.count("\n"))
    known = {name: name for name in files}
    for name, (tree, _) in files.items():
        known.update(door_homes(tree, name) if through_doors else {})
    return {
        name: Module(
            name,
            lines,
            tree,
            frozenset(imported_modules(tree, name, known, lazy=True)),
            frozenset(imported_modules(tree, name, known, lazy=False)),
        )
        for name, (tree, lines) in files.items()
    }


def door_homes(tree: ast.Module, room: str) -> dict[str, str]:
    """Return the modules that a door takes its names from when they are first used, by full name.

    Such a door imports nothing itself, so whoever uses a name of it imports its module.
    """
    return {
        f"{room}.{alias.name}": node.module
        for block in tree.body
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{room}.")
        for alias in node.names
        if node.module
    }


def imported_modules(
    tree: ast.Module, own: str, known: Mapping[str, str], *, lazy: bool
) -> Iterator[str]:
    """Yield the modules that a module imports; never those for type checking alone.

    `known` maps every module to itself, and the names of doors to their modules.
    """
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not lazy:
            continue
        waiting += ast.iter_child_nodes(node)
        for target in _imported_names(node, known):
            home = known.get(target, own)
            if home != own and not own.startswith(f"{home}."):
                yield home


def _imported_names(node: ast.AST, known: Mapping[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            yield full if full in known else node.module


def longest_chain(modules: Mapping[str, Module], *, lazy: bool) -> list[str]:
    """Return the longest chain of imports; raises ValueError where imports go round."""
    chains: dict[str, list[str]] = {}

    def chain_of(name: str, trail: tuple[str, ...]) -> list[str]:
        if name in trail:
            raise ValueError(" -> ".join([*trail, name]))
        if name not in chains:
            module = modules[name]
            targets = sorted(module.imports if lazy else module.top_imports)
            below = [chain_of(target, (*trail, name)) for target in targets]
            chains[name] = [name, *max(below, key=len, default=[])]
        return chains[name]

    return max((chain_of(name, ()) for name in sorted(modules)), key=len)


def class_names(modules: Mapping[str, Module]) -> Counter[str]:
    """Count the public class names."""
    return Counter(
        node.name
        for module in modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )


def function_names(modules: Mapping[str, Module]) -> Counter[str]:
    """Count the names of functions and methods, special ones left out, underscores cut."""
    return Counter(
        node.name.strip("_")
        for module in modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("__")
    )


def importers(modules: Mapping[str, Module]) -> dict[str, set[str]]:
    """Return who imports each module."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, module in modules.items():
        for target in module.imports:
            found[target].add(name)
    return found


def splinters(modules: Mapping[str, Module]) -> list[str]:
    """Return small modules that serve a single other one of their own folder."""
    users = importers(modules)
    return [
        name
        for name, module in modules.items()
        if module.lines < SPLINTER_LINES
        and len(users[name]) == 1
        and name.rpartition(".")[0] == next(iter(users[name])).rpartition(".")[0]
        and not any(part in KINDS for part in name.split(".")[1:])
        and not any(other.startswith(f"{name}.") for other in modules)
    ]


def module_stems(modules: Mapping[str, Module]) -> Counter[str]:
    """Count the file names; packages are left out, since a room may hold a file of its name."""
    return Counter(
        module.stem
        for name, module in modules.items()
        if not any(other.startswith(f"{name}.") for other in modules)
    )


def room_sizes(modules: Mapping[str, Module]) -> Counter[str]:
    """Count the lines of each room; the three rooms of the corpus are counted apart."""
    sizes: Counter[str] = Counter()
    for name, module in modules.items():
        parts = name.split(".")[1:]
        deep = len(parts) > 2 and parts[0] == "corpus"
        sizes[".".join(parts[:2]) if deep else (parts[0] if parts else "")] += module.lines
    return sizes


def one_word_share(names: Counter[str]) -> float:
    """Return the share of function definitions whose name is one word."""
    return sum(count for name, count in names.items() if "_" not in name) / names.total()


def main() -> None:
    """Print the figures."""
    modules = read_modules()
    total = sum(module.lines for module in modules.values())
    functions, classes = function_names(modules), class_names(modules)
    lines = sorted(module.lines for module in modules.values())
    rows = {
        "files": len(modules),
        "lines": f"{total:,}",
        "file, median / largest": f"{statistics.median(lines):.0f} / {lines[-1]}",
        "functions": functions.total(),
        "one-word function names": f"{one_word_share(functions):.0%}",
        "most frequent": ", ".join(f"{name} {n}" for name, n in functions.most_common(6)),
        "public class names that stand twice": sum(n > 1 for n in classes.values()),
        "module names that stand twice": sum(n > 1 for n in module_stems(modules).values()),
        "modules with a single importer": sum(len(who) == 1 for who in importers(modules).values()),
        "small modules with a single importer": len(splinters(modules)),
        "import depth, lazy imports counted": len(
            longest_chain(read_modules(through_doors=False), lazy=True)
        ),
        "import depth, doors looked through": len(longest_chain(modules, lazy=True)),
        "import depth, at the top of files": len(longest_chain(modules, lazy=False)),
        "largest rooms": ", ".join(
            f"{name} {size / total:.0%}" for name, size in room_sizes(modules).most_common(4)
        ),
    }
    for name, value in rows.items():
        print(f"{name:<40} {value}")
    print("longest chain:", " -> ".join(longest_chain(modules, lazy=True)))


if __name__ == "__main__":
    main()
