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
from random import Random
from types import ModuleType
from typing import Any

import re2

from rlm_mcp.corpus.search import regex_parser
from rlm_mcp.corpus.search import regex_tree as patterns
from rlm_mcp.corpus.search.dense_match import RowNeeds, fixed_rows
from rlm_mcp.corpus.search.regex_tree import ParsedRegex, RegexNode, UnsupportedSyntax
from rlm_mcp.errors import BadRequest

SAMPLE_COUNT, TRIES_EACH = 48, 8
"""Matches that are made up, and how often each is tried, with other runs around it."""
MAX_SAMPLE_BYTES, MAX_TOTAL_BYTES = 2_000, 128 << 10
"""Bytes of a match, and of all of them, at most."""
MAX_RUN_BYTES = 140
"""Bytes of a run, at most: more than two of the processor's widest registers."""
_FILLER_BYTES = b"q~Z#- .\t9_"
"""What runs are made of, where it is no part of the pattern."""


def verify_automaton(database: Any, node: RegexNode, regex: Any) -> bool:
    """Whether a database of Hyperscan reports each of some matches of a node.

    `regex` is the same pattern as RE2 knows it; it decides what is a match.
    """
    text = bytearray(b"\n")
    spans = []
    for sample in filter(regex.search, _PatternSamples(node).sample_lines()):
        spans.append((len(text), len(text) + len(sample) + 1))
        text += sample + b"\n"
        if len(text) > MAX_TOTAL_BYTES:
            break
    text += b"\n"
    reports: list[int] = []

    def report(_id: int, _from: int, to: int, _flags: int, _context: object) -> None:
        reports.append(to)

    database.scan(text, report)
    found = iter(sorted(reports))
    to = next(found, 0)
    for start, end in spans:
        while to <= start:
            if not (to := next(found, 0)):
                return False
        if to > end:
            return False
    return True


class _PatternSamples:
    """Texts that a node matches, mostly; the same ones each time."""

    def __init__(self, node: RegexNode) -> None:
        self._node, self._random = node, Random(0)
        told = _named_bytes(node)
        self._dull = bytes(byte for byte in _FILLER_BYTES if not told >> byte & 1) or b"\x80"

    def sample_lines(self) -> Iterator[bytes]:
        """Yield matches with and without runs before and behind them."""
        for _ in range(SAMPLE_COUNT):
            body = self._sample_match(self._node)[:MAX_SAMPLE_BYTES]
            for _ in range(TRIES_EACH):
                yield self._filler_run() + body + self._filler_run()

    def _filler_run(self) -> bytes:
        size = int(self._random.random() * 2 * MAX_RUN_BYTES) - MAX_RUN_BYTES // 2
        return self._dull[size % len(self._dull) :][:1] * size

    def _sample_match(self, node: RegexNode) -> bytes:
        choose = self._random
        match node:
            case patterns.ByteClass(bits):
                return self._sample_byte(bits)
            case patterns.Assertion():
                return b""
            case patterns.Concatenation(nodes):
                return b"".join(map(self._sample_match, nodes))
            case patterns.Alternation(nodes):
                return self._sample_match(choose.choice(nodes))
            case patterns.Repetition(patterns.ByteClass(bits), low, high):
                most = high if high >= 0 else low + MAX_RUN_BYTES
                few = choose.randint(low, min(low + 2, most))
                count = few if choose.random() < 0.4 else choose.randint(low, most)
                return self._sample_byte(bits) * min(count, low + MAX_RUN_BYTES)
            case patterns.Repetition(inner, low, high):
                most = low + 2 if high < 0 else min(high, low + 2)
                times = choose.randint(low, most)
                return b"".join(self._sample_match(inner) for _ in range(times))

    def _sample_byte(self, bits: int) -> bytes:
        """Return a byte of a set, a dull one where there is one."""
        dull = [byte for byte in self._dull if bits >> byte & 1]
        if dull:
            return bytes([self._random.choice(dull)])
        members = [byte for byte in range(256) if bits >> byte & 1]
        return bytes([self._random.choice(members)]) if members else b""


def _named_bytes(node: RegexNode) -> int:
    """Return the bytes that a node names: those of its small sets."""
    match node:
        case patterns.ByteClass(bits):
            return bits if bits.bit_count() <= 4 else 0
        case patterns.Assertion():
            return 0
        case patterns.Repetition(inner, _, _):
            return _named_bytes(inner)
        case patterns.Concatenation(nodes) | patterns.Alternation(nodes):
            told = 0
            for inner in nodes:
                told |= _named_bytes(inner)
            return told


MAX_PATTERN_CHARS = 10_000
"""Characters that a pattern may have."""
COMPILE_BYTES = 2 << 20
"""Memory for compiling a pattern; more is refused. It takes RE2 about 30 ms to fill."""
SCAN_BYTES = 64 << 20
"""Memory for RE2's automata while scanning; they grow as states are met."""
MAX_ALTERNATIVES, MAX_SCANS = 32, 4
"""Ways of a pattern that are written out for an automaton, and scans that these may take."""
MAX_POSITIONS = 300
"""States that Hyperscan may have to build; 300 took at most 40 ms to compile."""
_ASSERTIONS = "^$\\b\\B"

_UNICODE_CLASSES = {
    "\\d": r"\p{Nd}", "\\w": r"\p{L}\p{M}\p{N}\p{Pc}", "\\s": r"\s\x{85}\x{2028}\x{2029}\p{Z}",
    "\\D": r"\P{Nd}",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CompiledPattern:
    """A pattern that may be used."""

    regex: Any
    """RE2: says whether, and where, one line (or one document, across lines) matches."""
    text: bytes | None = None
    """The plain text that the pattern is, where it is one."""
    automaton: Automaton | None = None
    """Hyperscan, where it may be used and is installed: it finds lines, or (per document)
    documents."""
    rows: tuple[RowNeeds, ...] = ()
    """What makes a line match, where the pattern is a choice of rows of a fixed length."""
    every_line: bool = False
    empty_lines: bool = False
    """Whether every empty line matches, and the automaton does not tell them."""
    per_document: bool = False
    """Whether lines cannot be looked at one by one (multi-line, or \\A and \\z)."""
    joinable: bool = False
    """Whether a match is one whatever stands behind it: several documents may be looked at as one
    text, since each begins behind a newline."""
    multiline: bool = False
    backtrack: str = ""
    """The pattern for Python's re, where RE2 cannot; `regex` then only finds candidates."""


@dataclass(slots=True)
class _DatabaseChain:
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
    def lend_database(self) -> Iterator[Any]:
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
def load_hyperscan() -> ModuleType | None:
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
def compile_pattern(
    pattern: str,
    ignore_case: bool = False,
    unicode: bool = False,
    multiline: bool = False,
    literal: bool = False,
) -> CompiledPattern:
    """Compile a pattern for searching. Raises BadRequest with the place and the reason."""
    if not pattern:
        raise BadRequest("The pattern is empty; give the text or expression to look for.")
    if len(pattern) > MAX_PATTERN_CHARS:
        raise BadRequest(
            f"The pattern has {len(pattern):,} characters; at most {MAX_PATTERN_CHARS:,} may."
        )
    if literal:
        return _compile_literal(pattern, ignore_case, multiline)
    read = _parse_pattern(pattern, ignore_case, lines=not multiline)
    if read is not None and read.newline and not multiline:
        return compile_pattern(pattern, ignore_case, unicode, multiline=True)
    wide = unicode or not pattern.isascii() or "\\p" in pattern or "\\P" in pattern
    try:
        regex = _compile_re2(
            _expand_unicode(pattern) if unicode else pattern, wide, ignore_case, lines=not multiline
        )
    except re2.error as error:
        if read is not None and read.loose:
            return _compile_backtracking(pattern, read, ignore_case, multiline)
        raise BadRequest(_error_message(pattern, error)) from error
    plain = None if read is None or read.loose else patterns.literal_bytes(read.node)
    if plain and not ignore_case:
        return _compile_literal(plain.decode("utf-8", "surrogateescape"), False, multiline)
    if read is None or wide:
        return CompiledPattern(
            regex, per_document=multiline or _anchors_text(pattern), multiline=multiline
        )
    if multiline or read.whole_text:
        across = (
            None
            if read.whole_text
            else _build_automaton(patterns.without_end_assertions(read.node), across=True)
        )
        borderless = not read.loose and patterns.assertion_names(read.node) <= {"^"}
        return CompiledPattern(
            regex,
            automaton=across,
            per_document=True,
            joinable=borderless and not read.whole_text,
            multiline=multiline,
        )
    automaton, empty_lines = _line_automaton(read)
    return CompiledPattern(
        regex,
        automaton=automaton,
        rows=fixed_rows(patterns.trim_node(read.node)),
        every_line=_matches_every_line(read),
        empty_lines=empty_lines,
    )


def _compile_literal(text: str, ignore_case: bool, multiline: bool) -> CompiledPattern:
    data = text.encode("utf-8", "surrogateescape")
    across = multiline or b"\n" in data
    options = _re2_options(wide=ignore_case and not text.isascii(), ignore_case=ignore_case)
    options.literal = True
    regex = re2.compile(data, options)
    node = patterns.Concatenation(tuple(_literal_byte(byte, ignore_case) for byte in data))
    usable = text.isascii() or not ignore_case
    return CompiledPattern(
        regex,
        rows=fixed_rows(node) if usable and not across else (),
        text=None if ignore_case else data,
        automaton=_build_automaton(node, across) if usable else None,
        per_document=across,
        joinable=across and usable,
        multiline=across,
    )


def _literal_byte(byte: int, ignore_case: bool) -> patterns.ByteClass:
    bits = 1 << byte
    return patterns.ByteClass(patterns.fold_case(bits) if ignore_case else bits)


def _parse_pattern(pattern: str, ignore_case: bool, lines: bool) -> ParsedRegex | None:
    try:
        return regex_parser.parse_regex(pattern, ignore_case=ignore_case, lines=lines)
    except (UnsupportedSyntax, RecursionError):
        return None


def _compile_re2(pattern: str, wide: bool, ignore_case: bool, lines: bool) -> Any:
    """Compile with RE2: first within a small bound, then with room for scanning."""
    data = pattern.encode("utf-8", "surrogateescape")
    options = _re2_options(wide, ignore_case)
    options.never_nl = lines
    options.max_mem = COMPILE_BYTES
    re2.compile(data, options)
    options.max_mem = SCAN_BYTES
    return re2.compile(b"(?m)" + data, options)


@lru_cache(maxsize=64)
def compile_text_pattern(pattern: str) -> Callable[[str], bool]:
    """Return whether a text holds a match, for patterns of a JSON Schema; linear in the text.

    Raises BadRequest with the place and the reason, for lookaround and backreferences too.
    """
    options = _re2_options(wide=True, ignore_case=False)
    options.max_mem = COMPILE_BYTES
    try:
        regex = re2.compile(pattern.encode("utf-8", "surrogateescape"), options)
    except re2.error as error:
        raise BadRequest(_error_message(pattern, error)) from error
    return lambda text: regex.search(text.encode("utf-8", "replace")) is not None


def _re2_options(wide: bool, ignore_case: bool) -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.case_sensitive = not ignore_case
    options.max_mem = SCAN_BYTES
    if not wide:
        options.encoding = re2.Options.Encoding.LATIN1
    return options


def _line_automaton(read: ParsedRegex) -> tuple[Automaton | None, bool]:
    """Return what reports each matching line at its end, and whether empty lines match too.

    Hyperscan (5.4) loses some empty lines, and a call for each of millions of them takes long:
    it is given the pattern without them, and they are told from the newlines.
    """
    node = patterns.trim_node(read.node)
    if not patterns.matches_empty(node, _ASSERTIONS):
        return _build_automaton(node), False
    if patterns.matches_empty(node, "^\\b\\B") or patterns.matches_empty(node, "$\\b\\B"):
        # An edge alone is a match, in nearly every line that has anything in it.
        return None, False
    try:
        rest = patterns.nonempty_node(node)
    except UnsupportedSyntax:
        return None, False
    automaton = _build_automaton(patterns.ByteClass(0) if rest is None else rest)
    return automaton, automaton is not None and patterns.matches_empty(node, "^$\\B")


def _build_automaton(node: RegexNode, across: bool = False) -> Automaton | None:
    """Return what reports each matching line at its end, or with `across`, each match."""
    module = load_hyperscan()
    if module is None or patterns.count_positions(node) > MAX_POSITIONS:
        return None
    if patterns.matches_empty(node, _ASSERTIONS):
        return None
    try:
        # Vectorscan 5.4.12 misses matches of choices beside gaps: see docs/design/search.md.
        gaps = patterns.has_choice_and_gap(node)
        ways = patterns.expand_alternations(node, MAX_ALTERNATIVES) if gaps else [node]
        groups: dict[RegexNode | None, list[bytes]] = {}
        for way in ways:
            text = patterns.regex_source(way if across else patterns.to_line_end(way))
            groups.setdefault(patterns.tail_from_gap(way), []).append(text)
    except UnsupportedSyntax:
        return None
    if len(groups) > (1 if across else MAX_SCANS):
        return None

    def build_database() -> Any:
        found = []
        for texts in groups.values():
            database = module.Database(mode=module.HS_MODE_BLOCK)
            database.compile(expressions=texts, flags=[module.HS_FLAG_MULTILINE] * len(texts))
            found.append(database)
        return found[0] if len(found) == 1 else _DatabaseChain(found)

    automaton = Automaton(build_database, len(ways) > 1)
    regex = re2.compile(
        b"(?m)" + patterns.regex_source(node), _re2_options(wide=False, ignore_case=False)
    )
    try:
        with automaton.lend_database() as database:
            trusted = bool(fixed_rows(node)) or verify_automaton(database, node, regex)
    except module.HyperscanError:
        return None
    return automaton if trusted else None


def _matches_every_line(read: ParsedRegex) -> bool:
    """Whether the start or the end of any line is already a match."""
    return patterns.matches_empty(read.node, "^") or patterns.matches_empty(read.node, "$")


def _compile_backtracking(
    pattern: str, read: ParsedRegex, ignore_case: bool, multiline: bool
) -> CompiledPattern:
    """Prepare a search whose candidates RE2 finds and Python's re decides."""
    loose = patterns.regex_source(read.node).decode()
    try:
        regex = _compile_re2(loose, wide=False, ignore_case=ignore_case, lines=not multiline)
    except re2.error as error:
        raise BadRequest(f"The pattern {_shorten_pattern(pattern)} is too large.") from error
    automaton, empty_lines = (None, False) if multiline else _line_automaton(read)
    return CompiledPattern(
        regex,
        automaton=automaton,
        every_line=not multiline and _matches_every_line(read),
        empty_lines=empty_lines,
        per_document=multiline or read.whole_text,
        multiline=multiline,
        backtrack=pattern,
    )


def _anchors_text(pattern: str) -> bool:
    return "\\A" in pattern or "\\z" in pattern


def _expand_unicode(pattern: str) -> str:
    """Write \\d, \\w and \\s so that they hold the letters of all scripts; \\b stays ASCII."""
    out, at, inside = [], 0, False
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            pair = pattern[at : at + 2]
            out.append(_unicode_escape(pair, inside))
            at += 2
            continue
        inside = char == "[" or (inside and char != "]")
        out.append(char)
        at += 1
    return "".join(out)


def _unicode_escape(pair: str, inside: bool) -> str:
    if pair in ("\\W", "\\S"):
        if inside:
            raise BadRequest(
                f"{pair} cannot stand inside [] in a Unicode search; write it outside."
            )
        return f"[^{_UNICODE_CLASSES[pair.lower()]}]"
    wide = _UNICODE_CLASSES.get(pair)
    if wide is None:
        return pair
    return wide if inside else f"[{wide}]"


def _error_message(pattern: str, error: re2.error) -> str:
    """Return one sentence: the reason, and where."""
    message = error.args[0] if error.args else b""
    text = message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
    if "too large" in text:
        return (
            f"The pattern {_shorten_pattern(pattern)} is too large; use smaller "
            f"counts or fewer parts."
        )
    reason, _, part = text.partition(": ")
    at = _unbalanced_bracket(pattern) if part == pattern else pattern.find(part)
    place = f" at character {at + 1}" if at >= 0 else ""
    what = f" ({_shorten_pattern(part)})" if part and part != pattern else ""
    advice = "; counts go up to 1,000" if "repetition size" in reason else ""
    return f"The pattern {_shorten_pattern(pattern)} is not valid: {reason}{what}{place}{advice}."


def _unbalanced_bracket(pattern: str) -> int:
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


def _shorten_pattern(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 80 else pattern[:77] + "...")
