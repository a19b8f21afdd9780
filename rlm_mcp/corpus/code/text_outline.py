"""Find definitions and headings by RE2, at once and for any language; never an error.

It is the first answer while symbols are parsed, and the last one for languages without a
grammar. Ends of definitions are taken from what follows at the same depth, so they are close but
not parsed. It reads 50 MB/s and more on one core (bench/data_plane prints it).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import re2

from rlm_mcp.corpus.code.language import language_of

_MODIFIERS = (
    r"(?:(?:public|private|protected|internal|static|final|abstract|sealed|override|virtual|async"
    r"|partial|readonly|export|default|declare|open|data|inline|suspend|extern|unsafe|const|new"
    r"|synchronized|native|strictfp|case|implicit|lazy|fileprivate|mutating)\s+)*"
)
_PATTERNS = {
    "python": r"^([ \t]*)(?:async[ \t]+)?(def|class)[ \t]+(\w+)",
    "javascript": (
        r"^([ \t]*)(?:export[ \t]+)?(?:default[ \t]+)?(?:declare[ \t]+)?(?:abstract[ \t]+)?"
        r"(?:async[ \t]+)?(function\b[ \t]*\*?|class|interface|enum|namespace|type|const|let|var)"
        r"[ \t]+([A-Za-z_$][\w$]*)"
    ),
    "go": r"^()(func|type)[ \t]+(?:\([^)\n]*\)[ \t]*)?(\w+)",
    "rust": (
        r"^([ \t]*)(?:pub(?:\([^)\n]*\))?[ \t]+)?(?:default[ \t]+)?(?:const[ \t]+)?(?:async[ \t]+)?"
        r"(?:unsafe[ \t]+)?(?:extern[ \t]+\"[^\"\n]*\"[ \t]+)?"
        r"(fn|struct|enum|trait|union|mod|impl|type|macro_rules!)[ \t]*(?:<[^>\n]*>)?[ \t]*(\w+)"
    ),
    "java": (
        rf"^([ \t]*){_MODIFIERS}(class|interface|enum|record|@interface|object|trait|struct|"
        r"namespace|func|fun|def|protocol|extension)[ \t]+([\w.]+)",
        r"^([ \t]+)(?:(?:public|private|protected|internal|static|final|abstract|override|virtual"
        r"|async|sealed|synchronized|native)[ \t]+)+(?:<[^>\n]*>[ \t]*)?[\w.<>\[\],? \t]*?"
        r"\b(\w+)[ \t]*\([^;\n]*$"
    ),
    "c": (
        r"^()(?:typedef[ \t]+)?(struct|enum|union|class|namespace)[ \t]+(\w+)[^;\n()]*$",
        r"^()[A-Za-z_][\w \t*&:<>,~]*?[ \t*&]([A-Za-z_~][\w:~]*)[ \t]*\("
        r"[^;{}\n]*(?:\)[^;\n]*|,[ \t]*)$",
        r"^()([A-Za-z_]\w*)[ \t]*\([^;{}\n]*\)[ \t\r]*$",
        r"^()#[ \t]*(define)[ \t]+(\w+)"
    ),
    "ruby": r"^([ \t]*)(def|class|module)[ \t]+((?:self\.)?[\w:]+[?!=]?)",
    "php": (
        rf"^([ \t]*){_MODIFIERS}(function|class|interface|trait|enum)[ \t]+&?(\w+)"
    ),
    "bash": (
        r"^([ \t]*)(function)[ \t]+([\w:-]+)",
        r"^([ \t]*)([\w:-]+)[ \t]*\(\)",
    ),
    "perl": r"^([ \t]*)(sub|package)[ \t]+([\w:]+)",
    "lua": r"^([ \t]*)(?:local[ \t]+)?(function)[ \t]+([\w.:]+)",
    "elixir": r"^([ \t]*)(def|defp|defmodule|defmacro|defprotocol|defimpl)[ \t]+([\w.?!]+)",
    "sql": (
        r"(?i)^()create[ \t]+(?:or[ \t]+replace[ \t]+)?(?:temp(?:orary)?[ \t]+)?(?:unique[ \t]+)?"
        r"(table|view|index|function|procedure|trigger|type|schema)[ \t]+"
        r"(?:if[ \t]+not[ \t]+exists[ \t]+)?([\w.\"`]+)"
    ),
    "proto": r"^([ \t]*)(message|service|enum|rpc)[ \t]+(\w+)",
    "markdown": r"^(#{1,6})()[ \t]+([^\n]*\S)",
    "underlined": r"^ {0,3}([^\s#>|`~=-][^\n]*)\n {0,3}(={2,}|-{3,})[ \t\r]*$",
    "asciidoc": r"^(={1,6})()[ \t]+([^\n]*\S)",
    "rst": (
        r"^()()([^\n\s][^\n]*)\n"
        r"(?:={3,}|-{3,}|~{3,}|\^{3,}|\"{3,}|\*{3,}|#{3,}|\+{3,})[ \t\r]*$"
    ),
    "toml": r"^()()\[\[?([^\]\n]+)\]",
    "make": r"^()()([\w./%-]+)[ \t]*:(?:[^=\n]|$)",
    "css": r"^()()([^\s@{}/*][^{}\n]*?)[ \t]*\{",
    "docker": r"(?i)^()(FROM|ENTRYPOINT|CMD)[ \t]+([^\n]+)",
}  # fmt: skip
_LANGUAGE_ALIASES = {
    "typescript": "javascript", "tsx": "javascript", "html": "javascript", "kotlin": "java",
    "scala": "java", "swift": "java", "csharp": "java", "cpp": "c", "ini": "toml",
}  # fmt: skip
_KINDS = {
    "def": "function",
    "func": "function",
    "fn": "function",
    "fun": "function",
    "sub": "function",
}
_NOT_NAMES = frozenset(
    b"if for while switch return else do catch sizeof defined new throw using case".split()
)
_HEADING_LANGUAGES = ("markdown", "rst", "asciidoc")
_MAX_NAME = 120


@dataclass(frozen=True, slots=True)
class OutlineSymbol:
    """A definition or a heading. Lines count from 1; `end` is included; `depth` from 0."""

    name: str
    kind: str
    line: int
    end: int
    depth: int = 0
    detail: str = ""
    """The line it stands on, without its indentation."""


def has_outline(name: str) -> bool:
    """Say whether documents of a language have an outline."""
    return _LANGUAGE_ALIASES.get(name, name) in _PATTERNS


def outline_document(path: str, data: bytes, name: str = "") -> list[OutlineSymbol]:
    """Return the definitions (code) or headings (text) of one document, in order.

    Its language goes by its path, or is `name`.
    """
    name = name or language_of(path, data[:120])
    return _nest_marks(find_marks(path, data, name), data, by_level=name in _HEADING_LANGUAGES)


class OutlineMark(NamedTuple):
    """Where a definition or a heading stands; `level` is its indentation, or that of a heading."""

    offset: int
    level: int
    kind: str
    name: str


def find_marks(path: str, data: bytes, name: str = "") -> list[OutlineMark]:
    """Return where the definitions or headings of one document stand, in order."""
    name = name or language_of(path, data[:120])
    key = _LANGUAGE_ALIASES.get(name, name)
    if key not in _PATTERNS or not data:
        return []
    if key == "markdown":
        return _markdown_marks(data)
    return _rst_marks(data, key) if key == "rst" else _match_marks(data, key)


_Shape = tuple[int, int, int]  # groups: indentation or signs, kind (0 where it is a function), name


@cache
def _compile_language(key: str) -> tuple[re2._Regexp, list[_Shape]]:
    """Return the expression of a language, and which groups its alternatives use."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    pattern = _PATTERNS[key]
    shapes: list[_Shape] = []
    before = 0
    alternatives = [pattern] if isinstance(pattern, str) else pattern
    for alternative in alternatives:
        count = re2.compile(alternative.encode(), options).groups
        shapes.append((before + 1, before + 2 if count == 3 else 0, before + count))
        before += count
    return re2.compile(f"(?m){'|'.join(alternatives)}".encode(), options), shapes


def _match_marks(data: bytes, key: str) -> list[OutlineMark]:
    pattern, shapes = _compile_language(key)
    found: list[OutlineMark] = []
    for match in pattern.finditer(data):
        # The spans of a few groups: reading all groups costs several times the matching.
        first, word, last = next(shape for shape in shapes if match.span(shape[2])[0] >= 0)
        begin, end = match.span(last)
        name, offset = data[begin:end], match.start()
        if name in _NOT_NAMES:
            continue
        begin, end = match.span(first)
        head = data[begin:end]
        level = end - begin if head[:1] in (b"#", b"=") else _indent_width(head)
        kind = "function"
        if word:
            begin, end = match.span(word)
            said = data[begin:end].decode("latin-1").strip(" \t*")
            kind = "heading" if key in _HEADING_LANGUAGES else _KINDS.get(said, said or "section")
        found.append(OutlineMark(offset, level, kind, name.decode("utf-8", "replace")[:_MAX_NAME]))
    return found


def _markdown_marks(data: bytes) -> list[OutlineMark]:
    """Read Markdown's headings, marked by `#` or underlined, outside of fences and front matter."""
    found = _match_marks(data, "markdown")
    pattern, _ = _compile_language("underlined")
    for match in pattern.finditer(data):
        (begin, end), (line, _) = match.span(1), match.span(2)
        title = data[begin:end].decode("utf-8", "replace").strip()
        level = 1 if data[line : line + 1] == b"=" else 2
        found.append(OutlineMark(match.start(), level, "heading", title[:_MAX_NAME]))
    edges = fence_edges(data)
    front = data.find(b"\n---", 3) + 1 if data.startswith((b"---\n", b"---\r\n")) else 0
    kept = [mark for mark in found if mark.offset >= front and not _in_fence(edges, mark.offset)]
    return sorted(kept, key=lambda mark: mark.offset)


def _rst_marks(data: bytes, key: str) -> list[OutlineMark]:
    """Read reStructuredText headings: the order in which underlines first appear is the level."""
    levels: dict[bytes, int] = {}
    found: list[OutlineMark] = []
    for match in _compile_language(key)[0].finditer(data):
        mark = match.group(0).rstrip()[-1:]
        level = levels.setdefault(mark, len(levels) + 1)
        title = match.groups()[-1].decode("utf-8", "replace").strip()
        if title.strip('=-~^"*#+'):
            found.append(OutlineMark(match.start(), level, "heading", title[:_MAX_NAME]))
    return found


def fence_edges(data: bytes) -> list[int]:
    """Return where fenced code begins and ends, in turn; what looks like a heading there is none.

    A fence ends at a line of the same sign, at least as long and with nothing behind it
    (CommonMark 4.5), or with the document.
    """
    edges: list[int] = []
    opened = b""
    for match in _fence_regex().finditer(data):
        begin, end = match.span(1)
        sign = data[begin:end]
        begin, end = match.span(2)
        rest = data[begin:end].strip()
        if not opened:
            if sign[:1] == b"`" and b"`" in rest:
                continue
            edges.append(match.start())
            opened = sign
        elif sign.startswith(opened) and not rest:
            edges.append(match.end())
            opened = b""
    return edges


def _in_fence(edges: list[int], offset: int) -> bool:
    """Say whether a place is behind a beginning and before its end."""
    return bool(edges) and bisect_right(edges, offset) % 2 == 1


@cache
def _fence_regex() -> re2._Regexp:
    return re2.compile(rb"(?m)^[ ]{0,3}(`{3,}|~{3,})([^\n]*)$")


def _indent_width(indentation: bytes) -> int:
    return len(indentation.expandtabs(4))


def _nest_marks(found: list[OutlineMark], data: bytes, *, by_level: bool) -> list[OutlineSymbol]:
    """Turn matches into symbols: depth from the indentation, the end from what follows."""
    lines: list[int] = []
    line, last = 1, 0
    for offset, *_ in found:
        line += data.count(b"\n", last, offset)
        lines.append(line)
        last = offset
    total = line + data.count(b"\n", last) + (not data.endswith(b"\n"))
    ends = [max(1, total - 1)] * len(found)
    depths: list[int] = []
    stack: list[int] = []
    for index, (_, level, _, _) in enumerate(found):
        while stack and found[stack[-1]][1] >= level:
            ends[stack.pop()] = lines[index] - 1
        depths.append(level - 1 if by_level else len(stack))
        stack.append(index)
    return [
        OutlineSymbol(
            name, kind, lines[i], max(ends[i], lines[i]), depths[i], _line_at(data, offset)
        )
        for i, (offset, _, kind, name) in enumerate(found)
    ]


def _line_at(data: bytes, offset: int) -> str:
    end = data.find(b"\n", offset)
    line = data[offset : len(data) if end < 0 else end]
    return line.strip()[:160].decode("utf-8", "replace")
