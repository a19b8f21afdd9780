"""Refs and quotes in an answer: found, opened again, and compared byte for byte.

A quote is what stands behind or under its ref: lines that begin with `>`, a fenced block, or a
text between backticks or quotation marks on the same line. A ref without a quote is opened, and
its own first lines are shown; a ref that does not open, or whose lines have changed since it was
given, is kept, marked as not verified.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rlm_mcp import redact
from rlm_mcp.errors import BadRequest, RlmError
from rlm_mcp.refs import LineSpan, Ref, parse_ref

MAX_REFS = 64
"""Refs of one answer that are checked."""
MAX_QUOTE_CHARS = 2_000
SHOWN_LINES = 3

_REF = re.compile(
    r"(?<![\w/.:@#-])([A-Za-z_]\w*(?::[^\s`'\"<>|()\[\]]+|(?=#))(?:#[LC]?[\dLC.-]+)?)"
)
_SPAN = re.compile(r"#(?:L\d+(?:-L?\d+)?|C\d+-C?\d+|\d+(?:\.\d+)?)")
_INLINE = re.compile(r"``(.+?)``|`([^`\n]+)`|\"([^\"\n]+)\"|“([^”\n]+)”")
_FENCE = re.compile(r"[ \t]*(```+|~~~+)")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One ref of an answer with its quote; `verified`: the quote stands there, byte for byte."""

    ref: str
    quote: str
    verified: bool


RefOpener = Callable[[Ref], str]
"""Returns the whole text of a ref, or raises an RlmError."""


def check_evidence(
    answer: str, names: frozenset[str], text_of: RefOpener, stale: RefOpener = lambda _: ""
) -> tuple[Evidence, ...]:
    """Return the evidence of an answer. May take long: it opens every ref."""
    found: dict[tuple[str, str], Evidence] = {}
    for ref, quotes in _cited_refs(answer, names):
        if len(found) >= MAX_REFS:
            break
        text: str | None
        try:
            text = None if not quotes and stale(ref) else text_of(ref)
        except RlmError:
            text = None
        for quote in quotes or [""]:
            evidence = _judge_quote(ref, quote, text, text_of)
            found.setdefault((evidence.ref, evidence.quote), evidence)
    return tuple(found.values())


def _judge_quote(ref: Ref, quote: str, text: str | None, text_of: RefOpener) -> Evidence:
    if text is None:
        return Evidence(str(ref), quote, False)
    if not quote:
        shown = "\n".join(text.split("\n")[:SHOWN_LINES])[:MAX_QUOTE_CHARS]
        return Evidence(str(ref), shown, True)
    for form in (quote, quote.strip(), redact.redact(quote)):
        at = text.find(form)
        if form and at >= 0:
            return Evidence(str(_narrow_ref(ref, text, at, form, text_of)), form, True)
    return Evidence(str(ref), quote, False)


def _narrow_ref(ref: Ref, text: str, at: int, quote: str, text_of: RefOpener) -> Ref:
    """Return the ref of the very lines of a quote, where it can be opened so."""
    if ref.span is not None and not isinstance(ref.span, LineSpan):
        return ref
    if ref.span is None and not ref.path:
        return ref
    first = (ref.span.start if ref.span else 1) + text.count("\n", 0, at)
    lines = ref.with_span(LineSpan(first, first + quote.rstrip("\n").count("\n")))
    try:
        return lines if quote.rstrip("\n") in text_of(lines) else ref
    except RlmError:
        return ref


def _cited_refs(answer: str, names: frozenset[str]) -> Iterator[tuple[Ref, list[str]]]:
    """Yield each ref with a span (or a commit), and the quotes that belong to it."""
    lines = answer.split("\n")
    for number, line in enumerate(lines):
        matches = list(_REF.finditer(line))
        for place, match in enumerate(matches):
            ref = _parse_ref(match[1], names)
            if ref is None:
                continue
            last = place == len(matches) - 1
            rest = line[match.end() : len(line) if last else matches[place + 1].start()]
            quotes = [
                quote
                for groups in _INLINE.findall(rest)
                if (quote := next(filter(None, groups), ""))[:1] and not _REF.fullmatch(quote)
            ]
            if last and not quotes:
                quotes = _quoted_block(lines, number + 1)
            yield ref, [quote[:MAX_QUOTE_CHARS] for quote in quotes]


def _parse_ref(text: str, names: frozenset[str]) -> Ref | None:
    name = re.match(r"\w+", text)
    if name is None or name[0] not in names:
        return None
    text = text.rstrip(".,;:!?*_")
    if span := _SPAN.search(text):
        text = text[: span.end()]
    elif "#" in text:
        text = text.partition("#")[0]
    try:
        ref = parse_ref(text)
    except BadRequest:
        return None
    return ref if ref.span is not None or ref.path else None


def _quoted_block(lines: list[str], start: int) -> list[str]:
    """Return the block quote or the fenced block that follows a ref, as one quote."""
    if start >= len(lines):
        return []
    if lines[start].lstrip().startswith(">"):
        quoted = []
        for line in lines[start:]:
            bare = line.lstrip()
            if not bare.startswith(">"):
                break
            quoted.append(bare[2:] if bare.startswith("> ") else bare[1:])
        return ["\n".join(quoted)]
    if fence := _FENCE.match(lines[start]):
        block: list[str] = []
        for line in lines[start + 1 :]:
            if line.strip() == fence[1]:
                return ["\n".join(block)]
            block.append(line)
    return []
