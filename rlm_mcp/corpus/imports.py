"""Say whether an import statement means a document, by the habits of each language.

Nothing is executed. Where a manifest tells how names lead to files (manifests.py), that decides;
else a match means that the text of the import fits the path, in the layout that projects of that
language commonly have.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Sequence

from rlm_mcp.corpus import manifests
from rlm_mcp.corpus.language import language
from rlm_mcp.corpus.manifests import Crate, above, join

_ECMA = (".d.ts", ".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".vue", ".json")
_INDEXES = ("__init__", "index", "mod", "lib", "main")
_BUILDS = ("dist/", "lib/", "build/", "out/")
"""Folders that a package is built into; the source of what is there lies in src."""


class Imports:
    """The documents of a corpus and its manifests, as one state of it has them."""

    def __init__(self, paths: Collection[str], data: Callable[[str], bytes]) -> None:
        self.paths = frozenset(paths)
        self.known = manifests.read(paths, data)
        self._packages = {one.name: one for one in self.known.packages.values() if one.name}
        self._crates = {one.name: one for one in self.known.crates.values()}
        self._modules = {one.name: one.folder for one in self.known.modules.values() if one.name}

    def words(self, path: str) -> list[str]:
        """Return words, one of which every import of this document contains."""
        folder, _, name = path.rpartition("/")
        stem = name.partition(".")[0]
        last = folder.rsplit("/", 1)[-1]
        if stem in _INDEXES and folder:
            stem = last
        kind = language(path)
        if kind == "go":
            names = [name.rsplit("/", 1)[-1] for name, at in self._modules.items() if at == folder]
            replaced = [
                name.rsplit("/", 1)[-1]
                for one in self.known.modules.values()
                for name, at in one.replaced.items()
                if at == folder
            ]
            return [*names, *replaced, *([last] if last else [])] or [stem]
        if kind == "rust":
            return [stem, *(one.name for one in self._crates.values() if one.root == folder)]
        if kind in ("javascript", "typescript", "tsx"):
            return [stem, *self._ecma_words(path)]
        return [stem]

    def means(self, importer: str, text: str, target: str, modules: Sequence[str] = ()) -> bool:
        """Say whether `text`, imported in `importer`, means the document `target`.

        `modules` are the namespaces that the target declares.
        """
        if importer == target:
            return False
        kind = language(importer)
        if kind == "csharp":
            # A `using static` names a class, an alias perhaps one too.
            outer, _, last = text.rpartition(".")
            stem = posixpath.basename(target).partition(".")[0]
            return text in modules or (outer in modules and last == stem)
        rule = _RULES.get(kind)
        return rule is not None and rule(importer, text, target, self)

    def ecma(self, importer: str, text: str) -> list[str] | None:
        """Return what the manifests make of a text; None where they say nothing of it."""
        for folder in above(importer):
            aliases = self.known.aliases.get(folder)
            if aliases is not None:
                found = [path for pattern, paths in aliases.paths.items()
                         for path in _filled(pattern, paths, text)]  # fmt: skip
                if found:
                    return found
                if aliases.base is not None and self._leads(join(aliases.base, text)):
                    return [join(aliases.base, text)]
                break
        if text.startswith("#"):
            packages = self.known.packages
            own = next((packages[one] for one in above(importer) if one in packages), None)
            if own is None:
                return None
            return [join(own.folder, path) for pattern, paths in own.imports.items()
                    for path in _filled(pattern, paths, text)]  # fmt: skip
        parts = text.split("/")
        name = "/".join(parts[: 2 if text.startswith("@") else 1])
        package = self._packages.get(name)
        if package is None:
            return [] if self._is_outside(importer, name) else None
        rest = "/".join([".", *parts[1 + name.count("/") :]])
        found = [path for pattern, paths in package.exports.items()
                 for path in _filled(pattern, paths, rest)]  # fmt: skip
        found += [rest] if rest != "." else ["index", "src/index"]
        for path in list(found):
            plain = path.removeprefix("./")
            found += [
                f"src/{plain.removeprefix(built)}" for built in _BUILDS if plain.startswith(built)
            ]
            found += [f"src/{plain}"] if path == rest else []
        return [join(package.folder, path) for path in found]

    def _is_outside(self, importer: str, name: str) -> bool:
        """Say whether a package that the corpus does not hold is depended on, or has a scope."""
        if name.startswith("@") and len(name) > 1 and name[1] != "/":
            return True
        return any(
            name in self.known.packages[folder].needs
            for folder in above(importer)
            if folder in self.known.packages
        )

    def _leads(self, stem: str) -> bool:
        return any(
            f"{stem}{middle}{end}" in self.paths for middle in ("", "/index") for end in _ECMA
        )

    def _ecma_words(self, path: str) -> list[str]:
        """Return the last words of the names that manifests give a document."""
        found = []
        stem = _stem(path)
        for folder in above(path):
            package = self.known.packages.get(folder)
            if package is not None and package.name:
                found.append(package.name.rsplit("/", 1)[-1])
                for pattern, paths in [*package.exports.items(), *package.imports.items()]:
                    if any(_stem(join(folder, one)) == stem for one in paths):
                        found.append(pattern.rsplit("/", 1)[-1].lstrip("#."))
                break
        for aliases in self.known.aliases.values():
            found += [
                pattern.rsplit("/", 1)[-1]
                for pattern, paths in aliases.paths.items()
                if "*" not in pattern and any(_stem(one) == stem for one in paths)
            ]
        return list(dict.fromkeys(filter(None, found)))

    def go(self, importer: str, text: str) -> str | None:
        """Return the folder of a package of Go; None where no go.mod tells."""
        own = next(
            (self.known.modules[f] for f in above(importer) if f in self.known.modules), None
        )
        names = {**self._modules, **(own.replaced if own else {})}
        parts = text.split("/")
        for count in range(len(parts), 0, -1):
            folder = names.get("/".join(parts[:count]))
            if folder is not None:
                return join(folder, "/".join(parts[count:]))
        return None if own is None else join(own.folder, f"vendor/{text}")

    def crate(self, path: str) -> manifests.Crate | None:
        """Return the crate that a document is of."""
        some = (self.known.crates.get(folder) for folder in above(path))
        return next((one for one in some if one is not None), None)

    def crate_named(self, name: str) -> manifests.Crate | None:
        """Return the crate that code calls by this name."""
        return self._crates.get(name)


def _filled(pattern: str, paths: Sequence[str], text: str) -> list[str]:
    """Return the paths of a pattern that fits a text, with what its star stands for."""
    head, star, tail = pattern.partition("*")
    if not star:
        return list(paths) if text == pattern else []
    if len(text) < len(head) + len(tail) or not (text.startswith(head) and text.endswith(tail)):
        return []
    middle = text[len(head) : len(text) - len(tail)]
    return [path.replace("*", middle) for path in paths]


def _stem(path: str) -> str:
    """Return a path without the suffix of a source or a declaration."""
    for suffix in _ECMA:
        if path.endswith(suffix):
            return path.removesuffix(suffix)
    return path


def _python(importer: str, text: str, target: str, imports: Imports) -> bool:
    stem, dot, suffix = target.rpartition(".")
    if not dot or suffix not in ("py", "pyi", "pyx"):
        return False
    module = stem.removesuffix("/__init__").replace("/", ".")
    dots = len(text) - len(text.lstrip("."))
    if dots:
        parts = posixpath.dirname(importer).split("/")
        kept = parts[: len(parts) - dots + 1] if dots > 1 else parts
        full = ".".join([*filter(None, kept), *filter(None, [text.lstrip(".")])])
        return module == full
    if module == text:
        return True
    if not module.endswith("." + text):
        return False
    above = module[: -len(text) - 1].replace(".", "/")
    return f"{above}/__init__.py" not in imports.paths  # a source folder such as src, not a package


def _ecma(importer: str, text: str, target: str, imports: Imports) -> bool:
    stem = _stem(target)
    stems = {target, stem, stem.removesuffix("/index")}
    if text.startswith("."):
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(importer), text))
        return _stem(wanted) in stems
    told = imports.ecma(importer, text)
    if told is not None:
        return any(path in stems or _stem(path) in stems for path in told)
    plain = text.removeprefix("@/").removeprefix("~/").removeprefix("#")
    return "/" in plain and any(known == plain or known.endswith("/" + plain) for known in stems)


def _go(importer: str, text: str, target: str, imports: Imports) -> bool:
    if not target.endswith(".go") or target.endswith("_test.go"):
        return False
    folder = posixpath.dirname(target)
    told = imports.go(importer, text)
    if told is not None:
        return folder == told
    below = (text + "/").endswith(f"/{folder}/") or f"/{folder}".endswith(f"/{text}")
    return bool(folder) and below


def _include(importer: str, text: str, target: str, imports: Imports) -> bool:
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(importer), text))
    if beside == target:
        return True
    return beside not in imports.paths and (target == text or target.endswith("/" + text))


def _java(importer: str, text: str, target: str, imports: Imports) -> bool:
    wanted = text.replace(".", "/")
    stem = target.rpartition(".")[0]
    folder = posixpath.dirname(target)
    if f"/{stem}".endswith(f"/{wanted}") or f"/{folder}".endswith(f"/{wanted}"):
        return True
    inside = wanted.rpartition("/")[0]  # a static import, or a class inside of the class
    return "/" in inside and f"/{stem}".endswith(f"/{inside}")


def _rust(importer: str, text: str, target: str, imports: Imports) -> bool:
    folder = posixpath.dirname(importer)
    outside = imports.crate_named(text)
    if "::" not in text and text not in ("crate", "self", "super") and outside is None:
        inside = posixpath.join(folder, posixpath.basename(importer).removesuffix(".rs"))
        return target in {
            f"{base}/{text}{end}".lstrip("/")
            for base in (folder, inside)
            for end in (".rs", "/mod.rs")
        }
    parts = [part.strip() for part in text.split("::") if part.strip()]
    crate = imports.crate(importer)
    if crate is not None:
        return _in_crates(importer, parts, target, imports, crate)
    own = [part for part in _module(target).split("/") if part != "src"]
    if parts[:1] == ["crate"]:
        return _leads(own, parts[1:])
    if parts[:1] in (["self"], ["super"]):
        here = _module(importer).split("/")
        while parts and parts[0] in ("self", "super"):
            here = here[:-1] if parts.pop(0) == "super" else here
        # What is imported may be a module, or something inside of one.
        wanted = ["/".join([*here, *parts]), "/".join([*here, *parts[:-1]])]
        return bool(parts) and _module(target) in wanted
    return _leads(own, parts)


def _in_crates(
    importer: str, parts: list[str], target: str, imports: Imports, crate: Crate
) -> bool:
    """Say the same where Cargo.toml tells where the modules of each crate lie."""
    here = _place(importer, crate)
    if parts and parts[0] in ("self", "super"):
        while parts and parts[0] in ("self", "super"):
            here = here[:-1] if parts.pop(0) == "super" else here
        starts = [(crate, here)]
    elif parts[:1] == ["crate"]:
        parts, starts = parts[1:], [(crate, [])]
    else:
        other = imports.crate_named(parts[0]) if parts else None
        starts = [(crate, here)]
        if other is not None:
            parts, starts = parts[1:], [(other, [])]
    for within, start in starts:
        if imports.crate(target) is within and target.startswith(f"{within.root}/".lstrip("/")):
            place = _place(target, within)
            wanted = [[*start, *parts], [*start, *parts[:-1]]]
            root = within is not crate and target.endswith("/main.rs")
            # What is imported may be a module, or something inside of one.
            if place in wanted[: 1 if not parts else 2] and not root:
                return place == wanted[0] or not _is_module(within, wanted[0], imports)
    return False


def _place(path: str, crate: Crate) -> list[str]:
    """Return the modules that lead to a file of a crate, from its root."""
    inside = path.removeprefix(f"{crate.root}/").removesuffix(".rs")
    parts = inside.split("/")
    return parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts


def _is_module(crate: Crate, parts: Sequence[str], imports: Imports) -> bool:
    base = "/".join([crate.root, *parts]).lstrip("/")
    return f"{base}.rs" in imports.paths or f"{base}/mod.rs" in imports.paths


def _module(path: str) -> str:
    """Return a Rust file's place among the modules."""
    stem = path.removesuffix(".rs")
    for ending in ("/mod", "/lib", "/main"):
        stem = stem.removesuffix(ending)
    return stem


def _leads(own: list[str], parts: list[str]) -> bool:
    """Say whether a path begins with the last parts of a module's own."""
    longest = min(len(own), len(parts))
    return any(own[-size:] == parts[:size] for size in range(1, longest + 1))


def _ruby(importer: str, text: str, target: str, imports: Imports) -> bool:
    stem = target.removesuffix(".rb")
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(importer), text))
    return stem in (beside, text) or stem.endswith("/" + text)


def _php(importer: str, text: str, target: str, imports: Imports) -> bool:
    if "\\" not in text and text.endswith((".php", ".inc", ".phtml")):
        return _include(importer, text.lstrip("/"), target, imports)
    parts = text.strip("\\").split("\\")
    own = target.rpartition(".")[0].split("/")
    length = min(2, len(parts), len(own))
    return [part.lower() for part in own[-length:]] == [part.lower() for part in parts[-length:]]


def _beside(importer: str, text: str, target: str, imports: Imports) -> bool:
    name = text.rsplit("/", 1)[-1]
    return posixpath.basename(target) == name


_RULES: dict[str, Callable[[str, str, str, Imports], bool]] = {
    "python": _python,
    "javascript": _ecma,
    "typescript": _ecma,
    "tsx": _ecma,
    "go": _go,
    "c": _include,
    "cpp": _include,
    "java": _java,
    "rust": _rust,
    "ruby": _ruby,
    "php": _php,
    "bash": _beside,
}
