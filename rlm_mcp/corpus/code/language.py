"""Tell the language of a document by its name, or by its first line."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator

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
_FILE_NAMES = {
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

CODE_LANGUAGES = frozenset(
    {
        "python", "javascript", "typescript", "tsx", "go", "rust", "java", "kotlin", "scala",
        "swift", "c", "cpp", "csharp", "ruby", "php", "bash", "perl", "lua", "elixir", "sql",
        "proto",
    }
)  # fmt: skip
"""Languages that define symbols."""


def language_of(path: str, head: bytes = b"") -> str:
    """Return the language's name, or an empty string; `head` is the start of the text."""
    name = path.rsplit("/", 1)[-1].lower()
    if known := _FILE_NAMES.get(name):
        return known
    stem, dot, suffix = name.rpartition(".")
    if dot and stem and (known := _SUFFIXES.get(suffix)):
        return known
    if name.startswith("dockerfile"):
        return "docker"
    if not dot and head.startswith(b"#!") and (match := _INTERPRETER.match(head[:120])):
        return _INTERPRETERS.get(match[1].rsplit(b"/")[-1], "")
    return ""


def is_test_path(path: str) -> bool:
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


def is_doc_path(path: str) -> bool:
    """Say whether a document is prose about the code: documentation, change logs, licences."""
    parts = path.lower().split("/")
    if language_of(path) in ("markdown", "rst", "asciidoc", "text"):
        return True
    return any(part in ("docs", "doc", "documentation", "man") for part in parts[:-1])


def is_build_output(path: str) -> bool:
    """Say whether a document is where builds and installers put what nobody wrote there."""
    parts = path.lower().split("/")
    return ".min." in parts[-1] or not _BUILT_FOLDERS.isdisjoint(parts[:-1])


_BUILT_FOLDERS = frozenset(
    {
        "dist", "out", "target", "node_modules", "bower_components", "vendor", "third_party",
        "_build", "site-packages", ".next", "coverage",
    }
)  # fmt: skip


_PYTHON_TYPES = (str, list, dict, set, bytes)
_WORDS_BY_LANGUAGE = {
    "python": " ".join(name for kind in (builtins, *_PYTHON_TYPES) for name in dir(kind)),
    "javascript": """
        Array BigInt Boolean Date Error JSON Map Math Number Object Promise Proxy RegExp Set String
        Symbol TypeError Uint8Array WeakMap assign bind call catch concat console constructor every
        filter finally find forEach from includes indexOf isArray join keys log map parse pop push
        reduce replace require resolve reverse shift slice some sort splice split stringify super
        test then toString trim unshift values""",
    "c": """
        NULL assert atoi calloc errno exit fclose fopen fprintf free malloc memcmp memcpy memmove
        memset offsetof printf realloc size_t snprintf sprintf stderr stdout strchr strcmp strcpy
        strdup strerror strlen strncmp strncpy strtol uint16_t uint32_t uint64_t uint8_t va_end
        va_start""",
    "cpp": """
        back begin c_str count cout data emplace_back empty end endl erase find front get insert
        make_pair make_shared make_unique map move pair pop_back push_back reset shared_ptr size
        static_cast std string swap to_string unique_ptr vector""",
    "go": """
        Error Errorf Fatal Fatalf Fprintf Printf Println Sprintf String append cap close copy delete
        len make new panic print println recover""",
    "rust": """
        Arc Box Err HashMap None Ok Option Rc Result Some String Vec as_ref as_str assert assert_eq
        borrow clone cloned collect default expect filter format from into is_empty is_none is_some
        iter len map new next ok panic println push to_owned to_string unwrap vec write""",
    "java": """
        ArrayList Boolean Exception HashMap Integer List Long Map Object Optional Override Set
        String StringBuilder add append contains equals format get getClass getName hashCode isEmpty
        iterator length println put remove size stream substring super toArray toString valueOf""",
    "csharp": """
        Action Add ArgumentException ArgumentNullException Console Contains Count Dictionary Equals
        Exception First Format Func GetHashCode GetType List Remove Select String Task ToArray
        ToList ToString Where WriteLine""",
    "ruby": """
        Array Hash String StandardError attr_accessor attr_reader block_given? each empty? first
        freeze include? inspect join keys last length map merge new nil? p print puts raise require
        select size split super to_a to_h to_i to_s to_sym""",
    "php": """
        Exception array_filter array_key_exists array_keys array_map array_merge count empty explode
        implode in_array is_array is_null is_string isset sprintf str_replace strlen substr trim
        unset""",
    "bash": "cd echo eval exit export local printf read set shift source test trap unset",
}
_INHERITED_WORDS = {
    "typescript": ("javascript",), "tsx": ("javascript",), "cpp": ("c",), "kotlin": ("java",),
    "scala": ("java",),
}  # fmt: skip


def _builtin_words(language: str) -> Iterator[str]:
    for also in (language, *_INHERITED_WORDS.get(language, ())):
        yield from _WORDS_BY_LANGUAGE.get(also, "").split()


_BUILTIN_NAMES = {
    language: frozenset(_builtin_words(language))
    for language in {*_WORDS_BY_LANGUAGE, *_INHERITED_WORDS}
}


def builtin_names(language: str) -> frozenset[str]:
    """Return the names that a language has of its own: built in, or of what it comes with."""
    return _BUILTIN_NAMES.get(language, frozenset())


def kind_of_path(path: str) -> str:
    """Return the kind of text of a file by its name."""
    return token_kind(language_of(path) or "other")


def token_kind(name: str) -> str:
    """Return the kind of text that a language is, for estimating tokens."""
    if name in ("markdown", "rst", "asciidoc", "text"):
        return "prose"
    return {"json": "json", "po": "other"}.get(name, "code")
