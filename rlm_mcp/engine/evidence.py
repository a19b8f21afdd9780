"""Refs and quotes in an answer: found, opened again, and compared byte for byte.

A quote is what stands behind or under its ref: lines that begin with `>`, a fenced block, or a
text between backticks or quotation marks on the same line. A ref without a quote is only opened:
that proves nothing of the answer, so it is never verified. A ref that does not open, or whose
lines have changed since it was given, is false.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rlm_mcp import redact
from rlm_mcp.errors import BadRequest, RlmError
from rlm_mcp.refs import LineSpan, Ref, parse_ref

MAX_REFS = 64
"""Refs of one answer that are checked."""
MAX_QUOTE_CHARS = 2_000
MAX_TOLD = 6
"""False refs and quotes that a model is told of at once."""
MAX_COMPARED_LINES = 5_000
"""Lines in which the one is looked for that a false quote may have meant."""
TOLD_CHARS = 200

_REF = re.compile(
    r"(?<![\w/.:@#-])([A-Za-z_]\w*(?::[^\s`'\"<>|()\[\]]+|(?=#))(?:#[LC]?[\dLC.-]+)?)"
)
_SPAN = re.compile(r"#(?:L\d+(?:-L?\d+)?|C\d+-C?\d+|\d+(?:\.\d+)?)")
_OPENER = re.compile(r"(?<!\w)(`+|\"|“)(?=.)")
_ENDS_QUOTE = re.compile(r"s?(?!\w)")
_FENCE = re.compile(r"[ \t]*(```+|~~~+)")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One ref of an answer with its quote.

    `verified`: the quote stands there, byte for byte. None: the ref opens, and nothing was quoted.
    """

    ref: str
    quote: str
    verified: bool | None

    @property
    def mark(self) -> str:
        """Return the word that a reader is shown for it."""
        return {True: "verified", False: "NOT VERIFIED", None: "opens"}[self.verified]


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


def cite_quote(ref: Ref, quote: str, text_of: RefOpener) -> str:
    """Return ref and quote as an answer holds them. Raises BadRequest where it does not stand."""
    if not quote.strip():
        raise BadRequest("The quote is empty; give the decisive words as they stand in the text.")
    found = _judge_quote(ref, quote, text_of(ref), text_of)
    if not found.verified:
        raise BadRequest(f"{_explain_false(found, text_of)}; quote what stands there.")
    if not _REF.fullmatch(found.ref):
        raise BadRequest(
            f"{found.ref} names no span; give the document and its lines, such as the .ref of a "
            "hit or a chunk."
        )
    inline = f"{found.ref} {_in_backticks(found.quote)}"
    if "\n" in found.quote or _inline_quotes(inline[len(found.ref) :]) != [found.quote]:
        block = "\n".join(f"> {line}" for line in found.quote.split("\n"))
        return f"{found.ref}\n{block}\n"
    return inline


def explain_false_evidence(found: Sequence[Evidence], text_of: RefOpener) -> str:
    """Return what a model is told about the evidence that is false; nothing where none is."""
    wrong = [item for item in found if item.verified is False]
    if not wrong:
        return ""
    lines = [f"- {_explain_false(item, text_of)}" for item in wrong[:MAX_TOLD]]
    if len(wrong) > MAX_TOLD:
        lines.append(f"- and {len(wrong) - MAX_TOLD} more")
    return "\n".join([f"{len(wrong)} of {len(found)} refs or quotes are false:", *lines])


def _explain_false(item: Evidence, text_of: RefOpener) -> str:
    """Return what is false about a ref or its quote, and what stands there instead."""
    ref = parse_ref(item.ref)
    try:
        text = text_of(ref)
    except RlmError as error:
        return f"{item.ref} does not open: {error}".rstrip(".")
    if not item.quote:
        return f"the lines of {item.ref} have changed since this ref was given"
    said = f"{item.ref} does not hold {_in_backticks(item.quote[:TOLD_CHARS])}"
    if ref.span is not None:
        whole = ref.with_span(None)
        try:
            elsewhere = _judge_quote(whole, item.quote, text_of(whole), text_of)
        except RlmError:
            elsewhere = item
        if elsewhere.verified:
            return f"{said}; it stands at {elsewhere.ref}"
    lines = [line.strip() for line in text.split("\n", MAX_COMPARED_LINES)[:MAX_COMPARED_LINES]]
    wanted = item.quote.strip().partition("\n")[0]
    near = difflib.get_close_matches(wanted[:TOLD_CHARS], [x[:TOLD_CHARS] for x in lines], 1)
    return f"{said}; there: {_in_backticks(redact.redact(near[0]))}" if near else said


def _judge_quote(ref: Ref, quote: str, text: str | None, text_of: RefOpener) -> Evidence:
    if text is None:
        return Evidence(str(ref), quote, False)
    if not quote:
        return Evidence(str(ref), "", None)
    for form in (quote, quote.strip(), redact.redact(quote)):
        at = text.find(form)
        if form and at >= 0:
            return Evidence(str(_narrow_ref(ref, text, at, form, text_of)), form, True)
    return Evidence(str(ref), quote, False)


def _narrow_ref(ref: Ref, text: str, at: int, quote: str, text_of: RefOpener) -> Ref:
    """Return the ref of the very lines of a quote, where it can be opened so."""
    if ref.span is not None and not isinstance(ref.span, LineSpan):
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
        cited = [(m, ref) for m in matches if (ref := _parse_ref(m[1], names)) is not None]
        quoted_to = 0
        for place, (match, ref) in enumerate(cited):
            if match.start() < quoted_to:  # it stands in the quote of another ref
                continue
            start = match.start(1) + len(_ref_words(match[1]))
            if line[: match.start(1)].endswith("`"):  # the ref itself stands in backticks
                start = len(line) - len(line[start:].lstrip("`"))
            stop = cited[place + 1][0].start() if place + 1 < len(cited) else len(line)
            quotes, end = _read_quotes(line, start, stop)
            quoted_to = end
            if not quotes and place == len(cited) - 1:
                quotes = _quoted_block(lines, number + 1)
            yield ref, [quote[:MAX_QUOTE_CHARS] for quote in quotes]


def _inline_quotes(text: str) -> list[str]:
    return _read_quotes(text, 0, len(text))[0]


def _read_quotes(line: str, start: int, stop: int) -> tuple[list[str], int]:
    """Return the quotes that begin between two places, whole, and where the last one ends."""
    quotes, end = [], start
    while (opened := _OPENER.search(line, end, stop)) is not None:
        closed = _closing_mark(line, opened)
        if closed is None:
            end = opened.end()
            continue
        quote, end = line[opened.end() : closed[0]], closed[1]
        if opened[1].startswith("``") and quote[:1] == quote[-1:] == " " and quote.strip():
            quote = quote[1:-1]  # the padding of a quote that begins or ends with a backtick
        if quote and not _REF.fullmatch(quote):
            quotes.append(quote)
    return quotes, end


def _closing_mark(line: str, opened: re.Match[str]) -> tuple[int, int] | None:
    """Return where a quote ends, and its mark: marks inside it belong to it."""
    mark = opened[1]
    if mark == "“":
        at = line.find("”", opened.end())
        return None if at < 0 else (at, at + 1)
    if len(mark) > 1:
        same = re.compile(rf"(?<!`){mark}(?!`)").search(line, opened.end())
        return None if same is None else same.span()
    depth, last = 1, None
    for run in re.compile(f"{mark}+").finditer(line, opened.end()):
        before, after = line[run.start() - 1], line[run.end() : run.end() + 1]
        if not before.isspace() and _ENDS_QUOTE.match(line, run.end()):
            depth -= len(run[0])
        elif not (before.isalnum() or before == "_") and after and not after.isspace():
            depth += len(run[0])
        last = run
        if depth <= 0:
            break
    return None if last is None else (last.end() - 1, last.end())


def _in_backticks(quote: str) -> str:
    """Return a quote between backticks, more of them than stand in it."""
    longest = max((len(run) for run in re.findall("`+", quote)), default=0)
    if not longest:
        return f"`{quote}`"
    mark = "`" * max(2, longest + 1)
    return f"{mark} {quote} {mark}"


def _ref_words(text: str) -> str:
    """Return the part of a matched text that is the ref."""
    text = text.rstrip(".,;:!?*_")
    if span := _SPAN.search(text):
        return text[: span.end()]
    return text.partition("#")[0]


def _parse_ref(text: str, names: frozenset[str]) -> Ref | None:
    name = re.match(r"\w+", text)
    if name is None or name[0] not in names:
        return None
    try:
        ref = parse_ref(_ref_words(text))
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
