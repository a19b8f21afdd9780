"""Say whether an import statement means a document, by the habits of each language.

Nothing is executed and no search path is known, so this goes by names: a match means that the
text of the import fits the path, in the layout that projects of that language commonly have.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Container, Sequence

_ECMA = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".d.ts", ".vue", ".json")


def telling(path: str) -> str:
    """Return the word that every import of this document contains."""
    folder, _, name = path.rpartition("/")
    stem = name.partition(".")[0]
    if stem in ("__init__", "index", "mod", "lib", "main") and folder:
        return folder.rsplit("/", 1)[-1]
    return folder.rsplit("/", 1)[-1] if name.endswith(".go") and folder else stem


def means(
    language: str,
    importer: str,
    text: str,
    target: str,
    paths: Container[str],
    modules: Sequence[str] = (),
) -> bool:
    """Say whether `text`, imported in `importer`, means the document `target`.

    `paths` are all documents; `modules` the namespaces that the target declares.
    """
    if importer == target:
        return False
    if language == "csharp":
        # A `using static` names a class, an alias perhaps one too.
        above, _, last = text.rpartition(".")
        stem = posixpath.basename(target).partition(".")[0]
        return text in modules or (above in modules and last == stem)
    rule = _RULES.get(language)
    return rule is not None and rule(importer, text, target, paths)


def _python(importer: str, text: str, target: str, paths: Container[str]) -> bool:
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
    return f"{above}/__init__.py" not in paths  # a source folder such as src, not a package


def _ecma(importer: str, text: str, target: str, paths: Container[str]) -> bool:
    stem = target
    for suffix in _ECMA:
        stem = stem.removesuffix(suffix)
    stems = {target, stem, stem.removesuffix("/index")}
    if text.startswith("."):
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(importer), text))
        for suffix in _ECMA:
            wanted = wanted.removesuffix(suffix)
        return wanted in stems
    plain = text.removeprefix("@/").removeprefix("~/").removeprefix("#")
    return "/" in plain and any(known == plain or known.endswith("/" + plain) for known in stems)


def _go(importer: str, text: str, target: str, paths: Container[str]) -> bool:
    folder = posixpath.dirname(target)
    return target.endswith(".go") and bool(folder) and (text + "/").endswith(f"/{folder}/")


def _include(importer: str, text: str, target: str, paths: Container[str]) -> bool:
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(importer), text))
    if beside == target:
        return True
    return beside not in paths and (target == text or target.endswith("/" + text))


def _java(importer: str, text: str, target: str, paths: Container[str]) -> bool:
    wanted = text.replace(".", "/")
    stem = target.rpartition(".")[0]
    folder = posixpath.dirname(target)
    if f"/{stem}".endswith(f"/{wanted}") or f"/{folder}".endswith(f"/{wanted}"):
        return True
    inside = wanted.rpartition("/")[0]  # a static import, or a class inside of the class
    return "/" in inside and f"/{stem}".endswith(f"/{inside}")


def _rust(importer: str, text: str, target: str, paths: Container[str]) -> bool:
    folder = posixpath.dirname(importer)
    if "::" not in text and text not in ("crate", "self", "super"):
        inside = posixpath.join(folder, posixpath.basename(importer).removesuffix(".rs"))
        return target in {
            f"{base}/{text}{end}".lstrip("/")
            for base in (folder, inside)
            for end in (".rs", "/mod.rs")
        }
    parts = [part.strip() for part in text.split("::") if part.strip()]
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


def _ruby(importer: str, text: str, target: str, paths: Container[str]) -> bool:
    stem = target.removesuffix(".rb")
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(importer), text))
    return stem in (beside, text) or stem.endswith("/" + text)


def _php(importer: str, text: str, target: str, paths: Container[str]) -> bool:
    if "\\" not in text and text.endswith((".php", ".inc", ".phtml")):
        return _include(importer, text.lstrip("/"), target, paths)
    parts = text.strip("\\").split("\\")
    own = target.rpartition(".")[0].split("/")
    length = min(2, len(parts), len(own))
    return [part.lower() for part in own[-length:]] == [part.lower() for part in parts[-length:]]


def _beside(importer: str, text: str, target: str, paths: Container[str]) -> bool:
    name = text.rsplit("/", 1)[-1]
    return posixpath.basename(target) == name


_RULES: dict[str, Callable[[str, str, str, Container[str]], bool]] = {
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
