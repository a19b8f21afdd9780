"""Say whether an import statement means a document, by the habits of each language.

Nothing is executed. Where a manifest tells how names lead to files (manifests.py), that decides;
else a match means that the text of the import fits the path, in the layout that projects of that
language commonly have.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Sequence

from rlm_mcp.corpus.code import manifests
from rlm_mcp.corpus.code.language import language_of
from rlm_mcp.corpus.code.manifests import RustCrate, ancestor_folders, join_path

_ECMA_SUFFIXES = (
    ".d.ts",
    ".js",
    ".jsx",
    ".mjs",
    ".cjs",
    ".ts",
    ".tsx",
    ".mts",
    ".cts",
    ".vue",
    ".json",
)
_INDEX_STEMS = ("__init__", "index", "mod", "lib", "main")
_BUILD_FOLDERS = ("dist/", "lib/", "build/", "out/")
"""Folders that a package is built into; the source of what is there lies in src."""


class ImportResolver:
    """The documents of a corpus and its manifests, as one state of it has them."""

    def __init__(self, paths: Collection[str], data: Callable[[str], bytes]) -> None:
        self.paths = frozenset(paths)
        self.known = manifests.read_manifests(paths, data)
        self._packages = {one.name: one for one in self.known.packages.values() if one.name}
        self._crates = {one.name: one for one in self.known.crates.values()}
        self._modules = {one.name: one.folder for one in self.known.modules.values() if one.name}

    def import_words(self, path: str) -> list[str]:
        """Return words, one of which every import of this document contains."""
        folder, _, name = path.rpartition("/")
        stem = name.partition(".")[0]
        last = folder.rsplit("/", 1)[-1]
        if stem in _INDEX_STEMS and folder:
            stem = last
        kind = language_of(path)
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

    def resolves_to(
        self, importer: str, text: str, target: str, modules: Sequence[str] = ()
    ) -> bool:
        """Say whether `text`, imported in `importer`, means the document `target`.

        `modules` are the namespaces that the target declares.
        """
        if importer == target:
            return False
        kind = language_of(importer)
        if kind == "csharp":
            # A `using static` names a class, an alias perhaps one too.
            outer, _, last = text.rpartition(".")
            stem = posixpath.basename(target).partition(".")[0]
            return text in modules or (outer in modules and last == stem)
        rule = _MATCHERS.get(kind)
        return rule is not None and rule(importer, text, target, self)

    def ecma_targets(self, importer: str, text: str) -> list[str] | None:
        """Return what the manifests make of a text; None where they say nothing of it."""
        for folder in ancestor_folders(importer):
            aliases = self.known.aliases.get(folder)
            if aliases is not None:
                found = [path for pattern, paths in aliases.paths.items()
                         for path in _fill_star(pattern, paths, text)]  # fmt: skip
                if found:
                    return found
                if aliases.base is not None and self._has_source(join_path(aliases.base, text)):
                    return [join_path(aliases.base, text)]
                break
        if text.startswith("#"):
            packages = self.known.packages
            own = next(
                (packages[one] for one in ancestor_folders(importer) if one in packages), None
            )
            if own is None:
                return None
            return [join_path(own.folder, path) for pattern, paths in own.imports.items()
                    for path in _fill_star(pattern, paths, text)]  # fmt: skip
        parts = text.split("/")
        name = "/".join(parts[: 2 if text.startswith("@") else 1])
        package = self._packages.get(name)
        if package is None:
            return [] if self._is_external(importer, name) else None
        rest = "/".join([".", *parts[1 + name.count("/") :]])
        found = [path for pattern, paths in package.exports.items()
                 for path in _fill_star(pattern, paths, rest)]  # fmt: skip
        found += [rest] if rest != "." else ["index", "src/index"]
        for path in list(found):
            plain = path.removeprefix("./")
            found += [
                f"src/{plain.removeprefix(built)}"
                for built in _BUILD_FOLDERS
                if plain.startswith(built)
            ]
            found += [f"src/{plain}"] if path == rest else []
        return [join_path(package.folder, path) for path in found]

    def _is_external(self, importer: str, name: str) -> bool:
        """Say whether a package that the corpus does not hold is depended on, or has a scope."""
        if name.startswith("@") and len(name) > 1 and name[1] != "/":
            return True
        return any(
            name in self.known.packages[folder].dependencies
            for folder in ancestor_folders(importer)
            if folder in self.known.packages
        )

    def _has_source(self, stem: str) -> bool:
        return any(
            f"{stem}{middle}{end}" in self.paths
            for middle in ("", "/index")
            for end in _ECMA_SUFFIXES
        )

    def _ecma_words(self, path: str) -> list[str]:
        """Return the last words of the names that manifests give a document."""
        found = []
        stem = _strip_suffix(path)
        for folder in ancestor_folders(path):
            package = self.known.packages.get(folder)
            if package is not None and package.name:
                found.append(package.name.rsplit("/", 1)[-1])
                for pattern, paths in [*package.exports.items(), *package.imports.items()]:
                    if any(_strip_suffix(join_path(folder, one)) == stem for one in paths):
                        found.append(pattern.rsplit("/", 1)[-1].lstrip("#."))
                break
        for aliases in self.known.aliases.values():
            found += [
                pattern.rsplit("/", 1)[-1]
                for pattern, paths in aliases.paths.items()
                if "*" not in pattern and any(_strip_suffix(one) == stem for one in paths)
            ]
        return list(dict.fromkeys(filter(None, found)))

    def go_folder(self, importer: str, text: str) -> str | None:
        """Return the folder of a package of Go; None where no go.mod tells."""
        own = next(
            (self.known.modules[f] for f in ancestor_folders(importer) if f in self.known.modules),
            None,
        )
        names = {**self._modules, **(own.replaced if own else {})}
        parts = text.split("/")
        for count in range(len(parts), 0, -1):
            folder = names.get("/".join(parts[:count]))
            if folder is not None:
                return join_path(folder, "/".join(parts[count:]))
        return None if own is None else join_path(own.folder, f"vendor/{text}")

    def crate_of(self, path: str) -> manifests.RustCrate | None:
        """Return the crate that a document is of."""
        some = (self.known.crates.get(folder) for folder in ancestor_folders(path))
        return next((one for one in some if one is not None), None)

    def crate_named(self, name: str) -> manifests.RustCrate | None:
        """Return the crate that code calls by this name."""
        return self._crates.get(name)


def _fill_star(pattern: str, paths: Sequence[str], text: str) -> list[str]:
    """Return the paths of a pattern that fits a text, with what its star stands for."""
    head, star, tail = pattern.partition("*")
    if not star:
        return list(paths) if text == pattern else []
    if len(text) < len(head) + len(tail) or not (text.startswith(head) and text.endswith(tail)):
        return []
    middle = text[len(head) : len(text) - len(tail)]
    return [path.replace("*", middle) for path in paths]


def _strip_suffix(path: str) -> str:
    """Return a path without the suffix of a source or a declaration."""
    for suffix in _ECMA_SUFFIXES:
        if path.endswith(suffix):
            return path.removesuffix(suffix)
    return path


def _matches_python(importer: str, text: str, target: str, imports: ImportResolver) -> bool:
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


def _matches_ecma(importer: str, text: str, target: str, imports: ImportResolver) -> bool:
    stem = _strip_suffix(target)
    stems = {target, stem, stem.removesuffix("/index")}
    if text.startswith("."):
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(importer), text))
        return _strip_suffix(wanted) in stems
    told = imports.ecma_targets(importer, text)
    if told is not None:
        return any(path in stems or _strip_suffix(path) in stems for path in told)
    plain = text.removeprefix("@/").removeprefix("~/").removeprefix("#")
    return "/" in plain and any(known == plain or known.endswith("/" + plain) for known in stems)


def _matches_go(importer: str, text: str, target: str, imports: ImportResolver) -> bool:
    if not target.endswith(".go") or target.endswith("_test.go"):
        return False
    folder = posixpath.dirname(target)
    told = imports.go_folder(importer, text)
    if told is not None:
        return folder == told
    below = (text + "/").endswith(f"/{folder}/") or f"/{folder}".endswith(f"/{text}")
    return bool(folder) and below


def _matches_include(importer: str, text: str, target: str, imports: ImportResolver) -> bool:
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(importer), text))
    if beside == target:
        return True
    return beside not in imports.paths and (target == text or target.endswith("/" + text))


def _matches_java(importer: str, text: str, target: str, imports: ImportResolver) -> bool:
    wanted = text.replace(".", "/")
    stem = target.rpartition(".")[0]
    folder = posixpath.dirname(target)
    if f"/{stem}".endswith(f"/{wanted}") or f"/{folder}".endswith(f"/{wanted}"):
        return True
    inside = wanted.rpartition("/")[0]  # a static import, or a class inside of the class
    return "/" in inside and f"/{stem}".endswith(f"/{inside}")


def _matches_rust(importer: str, text: str, target: str, imports: ImportResolver) -> bool:
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
    crate = imports.crate_of(importer)
    if crate is not None:
        return _matches_crate(importer, parts, target, imports, crate)
    own = [part for part in _rust_module(target).split("/") if part != "src"]
    if parts[:1] == ["crate"]:
        return _overlaps_tail(own, parts[1:])
    if parts[:1] in (["self"], ["super"]):
        here = _rust_module(importer).split("/")
        while parts and parts[0] in ("self", "super"):
            here = here[:-1] if parts.pop(0) == "super" else here
        # What is imported may be a module, or something inside of one.
        wanted = ["/".join([*here, *parts]), "/".join([*here, *parts[:-1]])]
        return bool(parts) and _rust_module(target) in wanted
    return _overlaps_tail(own, parts)


def _matches_crate(
    importer: str, parts: list[str], target: str, imports: ImportResolver, crate: RustCrate
) -> bool:
    """Say the same where Cargo.toml tells where the modules of each crate lie."""
    here = _module_path(importer, crate)
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
        if imports.crate_of(target) is within and target.startswith(f"{within.root}/".lstrip("/")):
            place = _module_path(target, within)
            wanted = [[*start, *parts], [*start, *parts[:-1]]]
            root = within is not crate and target.endswith("/main.rs")
            # What is imported may be a module, or something inside of one.
            if place in wanted[: 1 if not parts else 2] and not root:
                return place == wanted[0] or not _is_module(within, wanted[0], imports)
    return False


def _module_path(path: str, crate: RustCrate) -> list[str]:
    """Return the modules that lead to a file of a crate, from its root."""
    inside = path.removeprefix(f"{crate.root}/").removesuffix(".rs")
    parts = inside.split("/")
    return parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts


def _is_module(crate: RustCrate, parts: Sequence[str], imports: ImportResolver) -> bool:
    base = "/".join([crate.root, *parts]).lstrip("/")
    return f"{base}.rs" in imports.paths or f"{base}/mod.rs" in imports.paths


def _rust_module(path: str) -> str:
    """Return a Rust file's place among the modules."""
    stem = path.removesuffix(".rs")
    for ending in ("/mod", "/lib", "/main"):
        stem = stem.removesuffix(ending)
    return stem


def _overlaps_tail(own: list[str], parts: list[str]) -> bool:
    """Say whether a path begins with the last parts of a module's own."""
    longest = min(len(own), len(parts))
    return any(own[-size:] == parts[:size] for size in range(1, longest + 1))


def _matches_ruby(importer: str, text: str, target: str, imports: ImportResolver) -> bool:
    stem = target.removesuffix(".rb")
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(importer), text))
    return stem in (beside, text) or stem.endswith("/" + text)


def _matches_php(importer: str, text: str, target: str, imports: ImportResolver) -> bool:
    if "\\" not in text and text.endswith((".php", ".inc", ".phtml")):
        return _matches_include(importer, text.lstrip("/"), target, imports)
    parts = text.strip("\\").split("\\")
    own = target.rpartition(".")[0].split("/")
    length = min(2, len(parts), len(own))
    return [part.lower() for part in own[-length:]] == [part.lower() for part in parts[-length:]]


def _matches_basename(importer: str, text: str, target: str, imports: ImportResolver) -> bool:
    name = text.rsplit("/", 1)[-1]
    return posixpath.basename(target) == name


_MATCHERS: dict[str, Callable[[str, str, str, ImportResolver], bool]] = {
    "python": _matches_python,
    "javascript": _matches_ecma,
    "typescript": _matches_ecma,
    "tsx": _matches_ecma,
    "go": _matches_go,
    "c": _matches_include,
    "cpp": _matches_include,
    "java": _matches_java,
    "rust": _matches_rust,
    "ruby": _matches_ruby,
    "php": _matches_php,
    "bash": _matches_basename,
}
