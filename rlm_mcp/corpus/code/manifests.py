"""Read what the manifests of a corpus say of names: packages, modules, crates, path aliases.

package.json (name, main, exports, imports, dependencies), tsconfig.json and jsconfig.json (baseUrl,
paths, extends), go.mod (module, replace), Cargo.toml (package, lib). A manifest that cannot be
read says nothing. Nothing is executed, nothing outside the corpus is looked at.
"""

from __future__ import annotations

import json
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_MANIFEST_BYTES = 1 << 20
"""Bytes of a manifest above which it is not read."""
_ALIAS_CONFIGS = ("tsconfig.json", "jsconfig.json")
_MAIN_KEYS = ("source", "types", "typings", "module", "main", "browser")
_MAX_EXTENDS = 5


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A package of npm: the folder it lies in, and the paths that its exports name."""

    folder: str
    name: str
    exports: Mapping[str, tuple[str, ...]]
    """Subpath (`.`, `./button`, `./icons/*`) to files below the folder."""
    imports: Mapping[str, tuple[str, ...]]
    dependencies: frozenset[str]
    """What it depends on."""


@dataclass(frozen=True, slots=True)
class PathAliases:
    """The `paths` of a tsconfig, from the folder that they are relative to."""

    base: str | None
    paths: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class GoModule:
    """A module of Go; `replaced` are modules that lie in folders beside it."""

    folder: str
    name: str
    replaced: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RustCrate:
    """A crate of Rust, by the name that code calls it, and the folder of its root file."""

    folder: str
    name: str
    root: str


@dataclass(frozen=True, slots=True)
class Manifests:
    """All manifests of a corpus, by the folder that each lies in."""

    packages: Mapping[str, NpmPackage]
    aliases: Mapping[str, PathAliases]
    modules: Mapping[str, GoModule]
    crates: Mapping[str, RustCrate]


def read_manifests(paths: Iterable[str], data: Callable[[str], bytes]) -> Manifests:
    """Read the manifests among some paths."""
    packages: dict[str, NpmPackage] = {}
    aliases: dict[str, PathAliases] = {}
    modules: dict[str, GoModule] = {}
    crates: dict[str, RustCrate] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name == "package.json":
            if isinstance(parsed := _parse_json(data(path)), dict):
                packages[folder] = _npm_package(folder, parsed)
        elif name in _ALIAS_CONFIGS:
            aliases.setdefault(folder, _path_aliases(path, data, _MAX_EXTENDS))
        elif name == "go.mod":
            modules[folder] = _go_module(
                folder, data(path)[:MAX_MANIFEST_BYTES].decode("utf-8", "replace")
            )
        elif name == "Cargo.toml" and (crate := _rust_crate(folder, data(path))):
            crates[folder] = crate
    return Manifests(packages, aliases, modules, crates)


def ancestor_folders(path: str) -> Iterator[str]:
    """Give the folders that a document lies in, the nearest first; the top is an empty string."""
    folder = posixpath.dirname(path)
    while folder:
        yield folder
        folder = posixpath.dirname(folder)
    yield ""


def join_path(folder: str, path: str) -> str:
    """Return a path below a folder in its plain form."""
    joined = posixpath.normpath(posixpath.join(folder, path.lstrip("/")))
    return "" if joined == "." else joined


_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"?|//[^\n]*|/\*(?:.*?\*/|.*)|,(?=\s*[}\]])', re.S)
"""Texts, comments, commas too many. What is not closed goes to the end, so time stays linear."""


def _parse_json(raw: bytes) -> Any:
    """Read JSON that may have comments and commas too many; None for what is none."""
    text = raw[:MAX_MANIFEST_BYTES].decode("utf-8-sig", "replace")
    plain = _TOKENS.sub(lambda match: match[0] if match[0][0] == '"' else "", text)
    plain = _TOKENS.sub(lambda match: match[0] if match[0][0] == '"' else "", plain)
    try:
        return json.loads(plain)
    except (ValueError, RecursionError):
        return None


def _nested_strings(value: Any, depth: int = 0) -> Iterator[str]:
    """Give the texts in a value, whatever conditions they stand under."""
    if isinstance(value, str):
        yield value
    elif depth < 10:
        inner = value.values() if isinstance(value, dict) else value
        for item in inner if isinstance(value, (dict, list)) else ():
            yield from _nested_strings(item, depth + 1)


def _npm_package(folder: str, parsed: dict[str, Any]) -> NpmPackage:
    given = parsed.get("exports")
    exports = {".": tuple(_nested_strings(given))}
    if isinstance(given, dict) and any(str(key).startswith(".") for key in given):
        exports = {str(key): tuple(_nested_strings(value)) for key, value in given.items()}
    mains = tuple(parsed[key] for key in _MAIN_KEYS if isinstance(parsed.get(key), str))
    exports["."] = (*exports.get(".", ()), *mains)
    own = parsed.get("imports")
    imports = (
        {str(k): tuple(_nested_strings(v)) for k, v in own.items()} if isinstance(own, dict) else {}
    )
    needs = [parsed.get(f"{kind}ependencies") for kind in ("d", "devD", "peerD", "optionalD")]
    names = frozenset(str(name) for some in needs if isinstance(some, dict) for name in some)
    name = parsed.get("name")
    return NpmPackage(folder, name if isinstance(name, str) else "", exports, imports, names)


def _path_aliases(path: str, data: Callable[[str], bytes], steps: int) -> PathAliases:
    folder = posixpath.dirname(path)
    try:
        parsed = _parse_json(data(path))
    except (KeyError, OSError, ValueError):
        parsed = None
    parsed = parsed if isinstance(parsed, dict) else {}
    options = parsed.get("compilerOptions")
    options = options if isinstance(options, dict) else {}
    base = options.get("baseUrl")
    base = join_path(folder, base) if isinstance(base, str) else None
    given = options.get("paths")
    if isinstance(given, dict):
        start = folder if base is None else base
        paths = {
            str(key): tuple(join_path(start, text) for text in _nested_strings(value))
            for key, value in given.items()
        }
        return PathAliases(base, paths)
    extended = parsed.get("extends")
    for text in _nested_strings(extended) if steps else ():
        if text.startswith("."):
            other = join_path(folder, text if text.endswith(".json") else f"{text}.json")
            found = _path_aliases(other, data, steps - 1)
            return PathAliases(found.base if base is None else base, found.paths)
    return PathAliases(base, {})


_GO_MODULE = re.compile(r"^[ \t]*module[ \t]+\"?([^\s\"]+)", re.M)
_GO_REPLACE = re.compile(
    r"^[ \t]*(?:replace[ \t]+)?(\S+)(?:[ \t]+v\S+)?[ \t]+=>[ \t]+(\.{1,2}(?:/\S*)?)", re.M
)


def _go_module(folder: str, text: str) -> GoModule:
    named = _GO_MODULE.search(text)
    replaced = {match[1]: join_path(folder, match[2]) for match in _GO_REPLACE.finditer(text)}
    return GoModule(folder, named[1] if named else "", replaced)


def _rust_crate(folder: str, raw: bytes) -> RustCrate | None:
    try:
        parsed = tomllib.loads(raw[:MAX_MANIFEST_BYTES].decode("utf-8", "replace"))
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    package, library = parsed.get("package"), parsed.get("lib")
    library = library if isinstance(library, dict) else {}
    if not isinstance(package, dict):
        return None
    name = library.get("name", package.get("name"))
    root = library.get("path", "src/lib.rs")
    if not isinstance(name, str) or not isinstance(root, str):
        return None
    return RustCrate(folder, name.replace("-", "_"), posixpath.dirname(join_path(folder, root)))
