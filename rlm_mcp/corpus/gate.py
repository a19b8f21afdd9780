"""Decide what a pattern from outside may do, before anything scans with it.

RE2 checks it, within a bound of memory and so of time. What RE2 refuses is a BadRequest with the
place and the reason; lookaround and backreferences go another way (backtrack.py). What RE2
accepts may also go to Hyperscan, if its automaton will be small: compiling is where that engine
can be made to hang.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

import re2

from rlm_mcp.corpus import pattern as patterns
from rlm_mcp.corpus import probe, syntax
from rlm_mcp.corpus.pattern import Node, Pattern, Unknown
from rlm_mcp.corpus.rows import Needs, rows_of
from rlm_mcp.errors import BadRequest

LONGEST = 10_000
"""Characters that a pattern may have."""
GATE_BYTES = 2 << 20
"""Memory for compiling a pattern; more is refused. It takes RE2 about 30 ms to fill."""
SCAN_BYTES = 64 << 20
"""Memory for RE2's automata while scanning; they grow as states are met."""
MOST_WAYS, MOST_SCANS = 32, 4
"""Ways of a pattern that are written out for an automaton, and scans that these may take."""
MOST_POSITIONS = 300
"""States that Hyperscan may have to build; 300 took at most 40 ms to compile."""
_EDGES = "^$\\b\\B"

_UNICODE = {
    "\\d": r"\p{Nd}", "\\w": r"\p{L}\p{M}\p{N}\p{Pc}", "\\s": r"\s\x{85}\x{2028}\x{2029}\p{Z}",
    "\\D": r"\P{Nd}",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gated:
    """A pattern that may be used."""

    regex: Any
    """RE2: says whether, and where, one line (or one document, across lines) matches."""
    text: bytes | None = None
    """The plain text that the pattern is, where it is one."""
    automaton: Automaton | None = None
    """Hyperscan, where it may be used and is installed: it finds lines, or (per document)
    documents."""
    rows: tuple[Needs, ...] = ()
    """What makes a line match, where the pattern is a choice of rows of a fixed length."""
    every_line: bool = False
    empty_lines: bool = False
    """Whether every empty line matches, and the automaton does not tell them."""
    per_document: bool = False
    """Whether lines cannot be looked at one by one (multi-line, or \\A and \\z)."""
    borderless: bool = False
    """Whether a match is one whatever stands behind it: several documents may be looked at as one
    text, since each begins behind a newline."""
    multiline: bool = False
    backtrack: str = ""
    """The pattern for Python's re, where RE2 cannot; `regex` then only finds candidates."""


@dataclass(slots=True)
class _Databases:
    """Databases that are scanned with one after the other."""

    databases: list[Any]

    def scan(self, text: Any, report: Callable[..., object]) -> None:
        for database in self.databases:
            database.scan(text, report)


@dataclass(slots=True)
class Automaton:
    """A compiled Hyperscan pattern: a database for each thread that scans at a time."""

    build: Callable[[], Any]
    several: bool = False
    """Whether it may report the same end more than once, and in any order."""
    _idle: list[Any] = field(default_factory=list)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def database(self) -> Iterator[Any]:
        """Lend a database that no other thread uses."""
        with self._guard:
            lent = self._idle.pop() if self._idle else None
        lent = lent or self.build()
        try:
            yield lent
        finally:
            with self._guard:
                self._idle.append(lent)


@cache
def hyperscan() -> ModuleType | None:
    """Return Hyperscan, or None where it is not installed or this processor lacks SSSE3."""
    try:
        # Imported here because it is optional; it takes 21 ms.
        import hyperscan as module
    except ImportError:
        return None
    try:
        module.Database(mode=module.HS_MODE_BLOCK).compile(expressions=[b"a"])
    except module.HyperscanError:
        return None
    return module


@lru_cache(maxsize=256)
def gate(
    pattern: str,
    ignore_case: bool = False,
    unicode: bool = False,
    multiline: bool = False,
    literal: bool = False,
) -> Gated:
    """Compile a pattern for searching. Raises BadRequest with the place and the reason."""
    if not pattern:
        raise BadRequest("The pattern is empty; give the text or expression to look for.")
    if len(pattern) > LONGEST:
        raise BadRequest(f"The pattern has {len(pattern):,} characters; at most {LONGEST:,} may.")
    if literal:
        return _literal(pattern, ignore_case, multiline)
    read = _read(pattern, ignore_case, lines=not multiline)
    if read is not None and read.newline and not multiline:
        return gate(pattern, ignore_case, unicode, multiline=True)
    wide = unicode or not pattern.isascii() or "\\p" in pattern or "\\P" in pattern
    try:
        regex = _compile(
            _unicode(pattern) if unicode else pattern, wide, ignore_case, lines=not multiline
        )
    except re2.error as error:
        if read is not None and read.loose:
            return _backtracking(pattern, read, ignore_case, multiline)
        raise BadRequest(_refusal(pattern, error)) from error
    plain = None if read is None or read.loose else patterns.literal(read.node)
    if plain and not ignore_case:
        return _literal(plain.decode("utf-8", "surrogateescape"), False, multiline)
    if read is None or wide:
        return Gated(regex, per_document=multiline or _asks_whole(pattern), multiline=multiline)
    if multiline or read.whole_text:
        across = None if read.whole_text else _automaton(patterns.loosened(read.node), across=True)
        borderless = not read.loose and patterns.edges(read.node) <= {"^"}
        return Gated(
            regex,
            automaton=across,
            per_document=True,
            borderless=borderless and not read.whole_text,
            multiline=multiline,
        )
    automaton, empty_lines = _line_finder(read)
    return Gated(
        regex,
        automaton=automaton,
        rows=rows_of(patterns.lean(read.node)),
        every_line=_every_line(read),
        empty_lines=empty_lines,
    )


def _literal(text: str, ignore_case: bool, multiline: bool) -> Gated:
    data = text.encode("utf-8", "surrogateescape")
    across = multiline or b"\n" in data
    options = _options(wide=ignore_case and not text.isascii(), ignore_case=ignore_case)
    options.literal = True
    regex = re2.compile(data, options)
    node = patterns.Row(tuple(_byte(byte, ignore_case) for byte in data))
    usable = text.isascii() or not ignore_case
    return Gated(
        regex,
        rows=rows_of(node) if usable and not across else (),
        text=None if ignore_case else data,
        automaton=_automaton(node, across) if usable else None,
        per_document=across,
        borderless=across and usable,
        multiline=across,
    )


def _byte(byte: int, ignore_case: bool) -> patterns.One:
    bits = 1 << byte
    return patterns.One(patterns.folded(bits) if ignore_case else bits)


def _read(pattern: str, ignore_case: bool, lines: bool) -> Pattern | None:
    try:
        return syntax.parse(pattern, ignore_case=ignore_case, lines=lines)
    except (Unknown, RecursionError):
        return None


def _compile(pattern: str, wide: bool, ignore_case: bool, lines: bool) -> Any:
    """Compile with RE2: first within a small bound, then with room for scanning."""
    data = pattern.encode("utf-8", "surrogateescape")
    options = _options(wide, ignore_case)
    options.never_nl = lines
    options.max_mem = GATE_BYTES
    re2.compile(data, options)
    options.max_mem = SCAN_BYTES
    return re2.compile(b"(?m)" + data, options)


def _options(wide: bool, ignore_case: bool) -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.case_sensitive = not ignore_case
    options.max_mem = SCAN_BYTES
    if not wide:
        options.encoding = re2.Options.Encoding.LATIN1
    return options


def _line_finder(read: Pattern) -> tuple[Automaton | None, bool]:
    """Return what reports each matching line at its end, and whether empty lines match too.

    Hyperscan (5.4) loses some empty lines, and a call for each of millions of them takes long:
    it is given the pattern without them, and they are told from the newlines.
    """
    node = patterns.lean(read.node)
    if not patterns.nullable(node, _EDGES):
        return _automaton(node), False
    if patterns.nullable(node, "^\\b\\B") or patterns.nullable(node, "$\\b\\B"):
        # An edge alone is a match, in nearly every line that has anything in it.
        return None, False
    try:
        rest = patterns.some(node)
    except Unknown:
        return None, False
    automaton = _automaton(patterns.One(0) if rest is None else rest)
    return automaton, automaton is not None and patterns.nullable(node, "^$\\B")


def _automaton(node: Node, across: bool = False) -> Automaton | None:
    """Return what reports each matching line at its end, or with `across`, each match."""
    module = hyperscan()
    if module is None or patterns.positions(node) > MOST_POSITIONS:
        return None
    if patterns.nullable(node, _EDGES):
        return None
    try:
        # Vectorscan 5.4.12 misses matches of choices beside gaps: see probe.py.
        gaps = patterns.chooses_over_gaps(node)
        ways = patterns.written_out(node, MOST_WAYS) if gaps else [node]
        groups: dict[Node | None, list[bytes]] = {}
        for way in ways:
            text = patterns.source(way if across else patterns.to_line_end(way))
            groups.setdefault(patterns.behind_gap(way), []).append(text)
    except Unknown:
        return None
    if len(groups) > (1 if across else MOST_SCANS):
        return None

    def build() -> Any:
        found = []
        for texts in groups.values():
            database = module.Database(mode=module.HS_MODE_BLOCK)
            database.compile(expressions=texts, flags=[module.HS_FLAG_MULTILINE] * len(texts))
            found.append(database)
        return found[0] if len(found) == 1 else _Databases(found)

    automaton = Automaton(build, len(ways) > 1)
    regex = re2.compile(b"(?m)" + patterns.source(node), _options(wide=False, ignore_case=False))
    try:
        with automaton.database() as database:
            trusted = bool(rows_of(node)) or probe.holds(database, node, regex)
    except module.HyperscanError:
        return None
    return automaton if trusted else None


def _every_line(read: Pattern) -> bool:
    """Whether the start or the end of any line is already a match."""
    return patterns.nullable(read.node, "^") or patterns.nullable(read.node, "$")


def _backtracking(pattern: str, read: Pattern, ignore_case: bool, multiline: bool) -> Gated:
    """Prepare a search whose candidates RE2 finds and Python's re decides."""
    loose = patterns.source(read.node).decode()
    try:
        regex = _compile(loose, wide=False, ignore_case=ignore_case, lines=not multiline)
    except re2.error as error:
        raise BadRequest(f"The pattern {_short(pattern)} is too large.") from error
    automaton, empty_lines = (None, False) if multiline else _line_finder(read)
    return Gated(
        regex,
        automaton=automaton,
        every_line=not multiline and _every_line(read),
        empty_lines=empty_lines,
        per_document=multiline or read.whole_text,
        multiline=multiline,
        backtrack=pattern,
    )


def _asks_whole(pattern: str) -> bool:
    return "\\A" in pattern or "\\z" in pattern


def _unicode(pattern: str) -> str:
    """Write \\d, \\w and \\s so that they hold the letters of all scripts; \\b stays ASCII."""
    out, at, inside = [], 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            pair = pattern[at : at + 2]
            out.append(_wide_escape(pair, inside))
            at += 2
            continue
        inside = char == "[" or (inside and char != "]")
        out.append(char)
        at += 1
    return "".join(out)


def _wide_escape(pair: str, inside: bool) -> str:
    if pair in ("\\W", "\\S"):
        if inside:
            raise BadRequest(
                f"{pair} cannot stand inside [] in a Unicode search; write it outside."
            )
        return f"[^{_UNICODE[pair.lower()]}]"
    wide = _UNICODE.get(pair)
    if wide is None:
        return pair
    return wide if inside else f"[{wide}]"


def _refusal(pattern: str, error: re2.error) -> str:
    """Return one sentence: the reason, and where."""
    message = error.args[0] if error.args else b""
    text = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
    if "too large" in text:
        return f"The pattern {_short(pattern)} is too large; use smaller counts or fewer parts."
    reason, _, part = text.partition(": ")
    at = _unbalanced(pattern) if part == pattern else pattern.find(part)
    place = f" at character {at + 1}" if at >= 0 else ""
    what = f" ({_short(part)})" if part and part != pattern else ""
    advice = "; counts go up to 1,000" if "repetition size" in reason else ""
    return f"The pattern {_short(pattern)} is not valid: {reason}{what}{place}{advice}."


def _unbalanced(pattern: str) -> int:
    """Return the place of the bracket that has no partner, or -1."""
    opened: list[int] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif opened and pattern[opened[-1]] == "[":
            if char == "]" and at > opened[-1] + 1:
                opened.pop()
        elif char in "([":
            opened.append(at)
        elif char == ")":
            if not opened:
                return at
            opened.pop()
        at += 1
    return opened[-1] if opened else -1


def _short(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 80 else pattern[:77] + "...")
