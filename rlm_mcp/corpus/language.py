"""Tell the language of a document by its name, or by its first line."""

from __future__ import annotations

import re

_BY_SUFFIX = {
    "python": "py pyi pyw pyx pxd bzl sage",
    "javascript": "js jsx mjs cjs es6",
    "typescript": "ts mts cts",
    "tsx": "tsx",
    "go": "go",
    "rust": "rs",
    "java": "java",
    "kotlin": "kt kts",
    "scala": "scala sc",
    "swift": "swift",
    "c": "c h",
    "cpp": "cc cpp cxx c++ hpp hh hxx h++ ipp inl cu cuh",
    "csharp": "cs csx",
    "ruby": "rb rake gemspec ru",
    "php": "php phtml php5 inc",
    "bash": "sh bash zsh ksh bats",
    "perl": "pl pm",
    "lua": "lua",
    "elixir": "ex exs",
    "sql": "sql",
    "proto": "proto",
    "markdown": "md markdown mdx mkd",
    "rst": "rst",
    "asciidoc": "adoc asciidoc",
    "text": "txt text log",
    "html": "html htm xhtml vue svelte",
    "css": "css scss sass less",
    "json": "json jsonl ndjson json5 geojson ipynb",
    "yaml": "yaml yml",
    "toml": "toml",
    "ini": "ini cfg conf properties editorconfig",
    "xml": "xml svg xsd xsl plist",
    "make": "mk mak",
    "po": "po pot",
}
_SUFFIXES = {suffix: name for name, words in _BY_SUFFIX.items() for suffix in words.split()}
_NAMES = {
    "makefile": "make",
    "gnumakefile": "make",
    "dockerfile": "docker",
    "rakefile": "ruby",
    "gemfile": "ruby",
    "sconstruct": "python",
    "readme": "text",
    "cmakelists.txt": "cmake",
}
_INTERPRETER = re.compile(rb"#!\s*\S*?(?:/env\s+(?:-S\s+)?)?([a-z]+)[0-9.]*(?:\s|$)")
_INTERPRETERS = {
    b"python": "python", b"sh": "bash", b"bash": "bash", b"zsh": "bash", b"dash": "bash",
    b"node": "javascript", b"ruby": "ruby", b"php": "php", b"perl": "perl",
}  # fmt: skip

CODE = frozenset(
    {
        "python", "javascript", "typescript", "tsx", "go", "rust", "java", "kotlin", "scala",
        "swift", "c", "cpp", "csharp", "ruby", "php", "bash", "perl", "lua", "elixir", "sql",
        "proto",
    }
)  # fmt: skip
"""Languages that define symbols."""


def language(path: str, head: bytes = b"") -> str:
    """Return the language's name, or an empty string; `head` is the start of the text."""
    name = path.rsplit("/", 1)[-1].lower()
    if known := _NAMES.get(name):
        return known
    stem, dot, suffix = name.rpartition(".")
    if dot and stem and (known := _SUFFIXES.get(suffix)):
        return known
    if name.startswith("dockerfile"):
        return "docker"
    if not dot and head.startswith(b"#!") and (match := _INTERPRETER.match(head[:120])):
        return _INTERPRETERS.get(match[1].rsplit(b"/")[-1], "")
    return ""


def is_test(path: str) -> bool:
    """Say whether a document is a test by the habits of the common languages."""
    parts = path.lower().split("/")
    if any(part in _TEST_FOLDERS for part in parts[:-1]):
        return True
    name = parts[-1]
    stem = name.partition(".")[0]
    return (
        stem.startswith("test_")
        or stem.endswith(("_test", "_tests", "_spec"))
        or stem in ("test", "tests", "conftest")
        or ".test." in name
        or ".spec." in name
    )


_TEST_FOLDERS = frozenset(
    {
        "test", "tests", "testing", "__tests__", "spec", "specs", "testdata", "test-data",
        "fixtures", "e2e",
    }
)  # fmt: skip


def is_doc(path: str) -> bool:
    """Say whether a document is prose about the code: documentation, change logs, licences."""
    parts = path.lower().split("/")
    if language(path) in ("markdown", "rst", "asciidoc", "text"):
        return True
    return any(part in ("docs", "doc", "documentation", "man") for part in parts[:-1])


def is_built(path: str) -> bool:
    """Say whether a document is where builds and installers put what nobody wrote there."""
    parts = path.lower().split("/")
    return ".min." in parts[-1] or not _BUILT_FOLDERS.isdisjoint(parts[:-1])


_BUILT_FOLDERS = frozenset(
    {
        "dist", "out", "target", "node_modules", "bower_components", "vendor", "third_party",
        "_build", "site-packages", ".next", "coverage",
    }
)  # fmt: skip
