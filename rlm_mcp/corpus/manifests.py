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

MAX_BYTES = 1 << 20
"""Bytes of a manifest above which it is not read."""
_CONFIGS = ("tsconfig.json", "jsconfig.json")
_MAINS = ("source", "types", "typings", "module", "main", "browser")
_EXTENDS = 5


@dataclass(frozen=True, slots=True)
class Package:
    """A package of npm: the folder it lies in, and the paths that its exports name."""

    folder: str
    name: str
    exports: Mapping[str, tuple[str, ...]]
    """Subpath (`.`, `./button`, `./icons/*`) to files below the folder."""
    imports: Mapping[str, tuple[str, ...]]
    needs: frozenset[str]
    """What it depends on."""


@dataclass(frozen=True, slots=True)
class Aliases:
    """The `paths` of a tsconfig, from the folder that they are relative to."""

    base: str | None
    paths: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Module:
    """A module of Go; `replaced` are modules that lie in folders beside it."""

    folder: str
    name: str
    replaced: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Crate:
    """A crate of Rust, by the name that code calls it, and the folder of its root file."""

    folder: str
    name: str
    root: str


@dataclass(frozen=True, slots=True)
class Manifests:
    """All manifests of a corpus, by the folder that each lies in."""

    packages: Mapping[str, Package]
    aliases: Mapping[str, Aliases]
    modules: Mapping[str, Module]
    crates: Mapping[str, Crate]


def read(paths: Iterable[str], data: Callable[[str], bytes]) -> Manifests:
    """Read the manifests among some paths."""
    packages: dict[str, Package] = {}
    aliases: dict[str, Aliases] = {}
    modules: dict[str, Module] = {}
    crates: dict[str, Crate] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name == "package.json":
            if isinstance(parsed := _json(data(path)), dict):
                packages[folder] = _package(folder, parsed)
        elif name in _CONFIGS:
            aliases.setdefault(folder, _aliases(path, data, _EXTENDS))
        elif name == "go.mod":
            modules[folder] = _module(folder, data(path)[:MAX_BYTES].decode("utf-8", "replace"))
        elif name == "Cargo.toml" and (crate := _crate(folder, data(path))):
            crates[folder] = crate
    return Manifests(packages, aliases, modules, crates)


def above(path: str) -> Iterator[str]:
    """Give the folders that a document lies in, the nearest first; the top is an empty string."""
    folder = posixpath.dirname(path)
    while folder:
        yield folder
        folder = posixpath.dirname(folder)
    yield ""


def join(folder: str, path: str) -> str:
    """Return a path below a folder in its plain form."""
    joined = posixpath.normpath(posixpath.join(folder, path.lstrip("/")))
    return "" if joined == "." else joined


_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"?|//[^\n]*|/\*(?:.*?\*/|.*)|,(?=\s*[}\]])', re.S)
"""Texts, comments, commas too many. What is not closed goes to the end, so time stays linear."""


def _json(raw: bytes) -> Any:
    """Read JSON that may have comments and commas too many; None for what is none."""
    text = raw[:MAX_BYTES].decode("utf-8-sig", "replace")
    plain = _TOKENS.sub(lambda match: match[0] if match[0][0] == '"' else "", text)
    plain = _TOKENS.sub(lambda match: match[0] if match[0][0] == '"' else "", plain)
    try:
        return json.loads(plain)
    except (ValueError, RecursionError):
        return None


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Give the texts in a value, whatever conditions they stand under."""
    if isinstance(value, str):
        yield value
    elif depth < 10:
        inner = value.values() if isinstance(value, dict) else value
        for item in inner if isinstance(value, (dict, list)) else ():
            yield from _texts(item, depth + 1)


def _package(folder: str, parsed: dict[str, Any]) -> Package:
    given = parsed.get("exports")
    exports = {".": tuple(_texts(given))}
    if isinstance(given, dict) and any(str(key).startswith(".") for key in given):
        exports = {str(key): tuple(_texts(value)) for key, value in given.items()}
    mains = tuple(parsed[key] for key in _MAINS if isinstance(parsed.get(key), str))
    exports["."] = (*exports.get(".", ()), *mains)
    own = parsed.get("imports")
    imports = {str(k): tuple(_texts(v)) for k, v in own.items()} if isinstance(own, dict) else {}
    needs = [parsed.get(f"{kind}ependencies") for kind in ("d", "devD", "peerD", "optionalD")]
    names = frozenset(str(name) for some in needs if isinstance(some, dict) for name in some)
    name = parsed.get("name")
    return Package(folder, name if isinstance(name, str) else "", exports, imports, names)


def _aliases(path: str, data: Callable[[str], bytes], steps: int) -> Aliases:
    folder = posixpath.dirname(path)
    try:
        parsed = _json(data(path))
    except (KeyError, OSError, ValueError):
        parsed = None
    parsed = parsed if isinstance(parsed, dict) else {}
    options = parsed.get("compilerOptions")
    options = options if isinstance(options, dict) else {}
    base = options.get("baseUrl")
    base = join(folder, base) if isinstance(base, str) else None
    given = options.get("paths")
    if isinstance(given, dict):
        start = folder if base is None else base
        paths = {
            str(key): tuple(join(start, text) for text in _texts(value))
            for key, value in given.items()
        }
        return Aliases(base, paths)
    extended = parsed.get("extends")
    for text in _texts(extended) if steps else ():
        if text.startswith("."):
            other = join(folder, text if text.endswith(".json") else f"{text}.json")
            found = _aliases(other, data, steps - 1)
            return Aliases(found.base if base is None else base, found.paths)
    return Aliases(base, {})


_GO_MODULE = re.compile(r"^[ \t]*module[ \t]+\"?([^\s\"]+)", re.M)
_GO_REPLACE = re.compile(
    r"^[ \t]*(?:replace[ \t]+)?(\S+)(?:[ \t]+v\S+)?[ \t]+=>[ \t]+(\.{1,2}(?:/\S*)?)", re.M
)


def _module(folder: str, text: str) -> Module:
    named = _GO_MODULE.search(text)
    replaced = {match[1]: join(folder, match[2]) for match in _GO_REPLACE.finditer(text)}
    return Module(folder, named[1] if named else "", replaced)


def _crate(folder: str, raw: bytes) -> Crate | None:
    try:
        parsed = tomllib.loads(raw[:MAX_BYTES].decode("utf-8", "replace"))
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
    return Crate(folder, name.replace("-", "_"), posixpath.dirname(join(folder, root)))
