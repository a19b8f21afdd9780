"""Answer a question in plain English by ranking alone: no model, no key.

`grep` given a sentence comes here. The passages that fit best are shown verbatim, each from the
section that it stands in, then the definitions that they name and the lines that call those. A
question that is nothing but one name gets its definition and its callers instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.corpus.code import cheap_stem, split_question
from rlm_mcp.corpus.search import Query
from rlm_mcp.engine import redaction
from rlm_mcp.errors import BadRequest, RlmError
from rlm_mcp.methods import to_wire
from rlm_mcp.plurals import count_noun
from rlm_mcp.refs import LineSpan, Ref, parse_ref
from rlm_mcp.variable import ContextHit, HitPage, OutlineItem, SourceVariable

if TYPE_CHECKING:
    from rlm_mcp.engine.ref_reader import RefReader

MAX_PASSAGES = 8
"""Passages that an answer quotes."""
RANKED_PASSAGES = 24
"""Passages that are looked at, those of one section taken together."""
WINDOWS = ((30, 1_500), (18, 900), (14, 650), (10, 450))
"""Lines and characters of the passages by their rank, the last for all that follow."""
PASSAGE_CHARS = 4_500
"""Characters of all passages: with definitions and callers a reply stays within 6,000."""
SHORT_LINES = 6
"""Lines up to which a passage is shown together with what follows it."""
NAMED_DEFINITIONS = 5
CALLER_LINES = 4
NARROW_LINES = 12
"""Callers that are listed where they are what is asked for."""
MAX_LOOKED_UP = 200
"""Lines with a name up to which its callers are looked up beside passages."""

_BEGINS = (
    "how|why|what|where|when|which|who|whose|does|do|did|is|are|was|were|can|could|should|will"
    "|explain|describe|tell me"
)
_SENTENCE = re.compile(
    rf"\s*(?:(?:{_BEGINS})\b[^|\\^$*+\[\]{{}}]*|[^|\\^$*+\[\]{{}}]+\s\S*\w[)`'\"]?\?)\s*",
    re.IGNORECASE,
)
_PLAIN_WORD = re.compile(r"[\w'`\"/.:,;?!()@#&%=<>~-]+")
_NAME = re.compile(r"\b[A-Za-z_]\w{3,}\b")
_CALLING = re.compile(r"\b(?:call|use|invoke|caller|usage)(?:s|d|ed|rs)?\b", re.IGNORECASE)
_DEFINED_NAME = re.compile(
    r"\s*(?:(?:pub|export|public|private|static|async) )*"
    r"(?:class|def|func|function|fn|interface|struct|trait|enum) (\w+)"
)


def is_question(pattern: str) -> bool:
    """Say whether a pattern is a sentence that asks something, and no regular expression."""
    words = pattern.split()
    least = 3 if pattern.rstrip().endswith("?") else 4
    return (
        least <= len(words) <= 120
        and _SENTENCE.fullmatch(pattern) is not None
        and all(_PLAIN_WORD.fullmatch(word) for word in words)
        and "(?" not in pattern
    )


class Window(NamedTuple):
    """A passage as it is shown: what it stands in, where, and its lines."""

    head: Ref
    first: int
    lines: list[str]
    title: str

    @property
    def span(self) -> LineSpan:
        return LineSpan(self.first, self.first + len(self.lines) - 1)


def answer_question(reader: RefReader, question: str, scope: str, limit: int) -> HitPage:
    """Return the passages of a scope that answer a question best, as hits of several lines."""
    variable = reader.get_variable(parse_ref(scope).variable)
    source = variable if isinstance(variable, SourceVariable) else None
    if source is not None and (found := _narrow_answer(reader, source, question, scope)):
        return found
    ranked = reader.search(question, scope, RANKED_PASSAGES)
    if not ranked:
        return HitPage((), 0, 0, note=_nothing_found(reader, question, scope), ranked=True)
    windows = _choose_windows(reader, ranked, min(limit, MAX_PASSAGES), source is not None)
    related = _related_lines(reader, source, question, windows) if source else ()
    notes = [*dict.fromkeys(hit.note for hit in ranked if hit.note)]
    notes += _literal_note(reader, question, scope)
    hits = tuple(
        ContextHit(
            str(window.head.with_span(window.span) if window.first else window.head),
            window.head.path,
            window.first,
            "\n".join(window.lines),
            note=window.title,
        )
        for window in windows
    )
    paths = {hit.path for hit in hits}
    return HitPage(
        hits, len(hits), len(paths), note=" ".join(notes), related=tuple(related), ranked=True
    )


def _nothing_found(reader: RefReader, question: str, scope: str) -> str:
    """Say which words occur nowhere: no passage has one, in no form that ranking knows."""
    absent = []
    for term in split_question(question):
        stem = cheap_stem(term.parts[-1])
        found = reader.grep(Query(re.escape(stem), limit=1, ignore_case=True), scope)
        if not found.total and found.exact:
            absent.append(term.text)
    looked = count_noun(len(_documents(reader, scope)), "document")
    if absent:
        return f"{', '.join(absent)}: in none of {looked} of {scope}, in any case or ending."
    return f"No passage of {looked} of {scope} fits the question; grep a word of it."


def _documents(reader: RefReader, scope: str) -> Sequence[str]:
    ref = parse_ref(scope)
    return reader.get_variable(ref.variable).documents(ref)


def _literal_note(reader: RefReader, question: str, scope: str) -> list[str]:
    """Tell the lines that hold the very words of the question."""
    try:
        found = reader.grep(Query(re.escape(question.strip()), limit=2), scope)
    except RlmError:
        return []
    if not found.total:
        return []
    where = ", ".join(hit.ref for hit in found.hits)
    return [f"{count_noun(found.total, 'line')} with these very words: {where}."]


def _choose_windows(
    reader: RefReader, ranked: Sequence[ContextHit], limit: int, sections: bool
) -> list[Window]:
    """Return what is shown of the passages, best first, each line once."""
    outlines: dict[str, Sequence[OutlineItem]] = {}
    windows: list[Window] = []
    names: list[str] = []
    room = PASSAGE_CHARS
    for hit in ranked:
        if len(windows) >= limit or room < WINDOWS[-1][1] // 3:
            break
        lines, chars = WINDOWS[min(len(windows), len(WINDOWS) - 1)]
        window = _cut_window(reader, hit, lines, min(chars, room))
        if window is None or any(_overlap(window, other) for other in windows):
            continue
        name = _defined_name(window)
        if name and names.count(name) > 1:  # the third of a name says what the others do
            continue
        names.append(name)
        if sections and window.first:
            head = str(window.head)
            if head not in outlines:
                outlines[head] = _outline_items(reader, head)
            window = window._replace(title=_section_title(outlines[head], window))
        windows.append(window)
        room -= sum(len(line) + 6 for line in window.lines) + 80
    return windows


def _defined_name(window: Window) -> str:
    found = _DEFINED_NAME.match(window.lines[0])
    return found[1] if found else ""


def _overlap(window: Window, other: Window) -> bool:
    same = window.head == other.head
    return same and (
        not window.first or (window.first <= other.span.end and other.first <= window.span.end)
    )


def _cut_window(reader: RefReader, hit: ContextHit, lines: int, chars: int) -> Window | None:
    """Return the lines of a passage that are shown: its first, or those around its best line."""
    ref = parse_ref(hit.ref)
    try:
        if not isinstance(ref.span, LineSpan):
            passage = reader.peek(hit.ref, lines)
            if passage.first_line is None:
                text = _fit_lines(passage.text.split("\n"), chars)
                return Window(parse_ref(passage.ref), 0, text, "")
            ref = parse_ref(passage.ref)
            first = passage.first_line
            text = _fit_lines(passage.text.split("\n"), chars)
            return Window(ref.with_span(None), first, text, "")
        first, end = ref.span.start, ref.span.end
        if hit.line - first > lines * 2 // 3:
            first = max(first, hit.line - lines // 3)
        if end - first < SHORT_LINES:  # a class without its methods says little
            end = first + lines * 2 // 3
        span = LineSpan(first, max(first, min(end, first + lines - 1)))
        text = reader.full_text(ref.with_span(span)).rstrip("\n").split("\n")
    except BadRequest:
        return None
    while len(text) > 1 and not text[0].strip():
        text, first = text[1:], first + 1
    text = _fit_lines(text, chars)
    while len(text) > 1 and not text[-1].strip():
        text = text[:-1]
    return Window(ref.with_span(None), first, text, "")


def _fit_lines(lines: Sequence[str], chars: int) -> list[str]:
    """Return as many whole lines as fit, at least one, which is cut where it alone is longer."""
    kept: list[str] = []
    for line in lines:
        chars -= len(line) + 1
        if chars < 0 and kept:
            break
        kept.append(line if chars >= 0 else line[:300])
    return kept


def _outline_items(reader: RefReader, head: str) -> Sequence[OutlineItem]:
    try:
        return reader.outline(head, 2_000).items
    except RlmError:
        return ()


def _section_title(items: Iterable[OutlineItem], window: Window) -> str:
    """Return what a window stands in, outermost first: class Server > method handle."""
    around = []
    for item in items:
        span = parse_ref(item.ref).span
        if isinstance(span, LineSpan) and span.start <= window.first <= span.end:
            around.append(item)
    own = [item for item in around if item.kind != "document"]
    return " > ".join(f"{item.kind} {item.name}" for item in own[-2:])


def _related_lines(
    reader: RefReader, source: SourceVariable, question: str, windows: Sequence[Window]
) -> list[str]:
    """Return the definitions that passages name, and who calls what the best of them define."""
    shown = [(window.head.path, window.span) for window in windows if window.first]
    stems = {cheap_stem(part) for term in split_question(question) for part in term.parts}
    counts: dict[str, float] = {}
    for rank, window in enumerate(windows):
        for line in window.lines:
            for match in _NAME.finditer(line):
                name = match[0]
                inner = name[1:] != name[1:].lower() or "_" in name.strip("_")
                if not (inner or line[match.end() : match.end() + 1] == "("):
                    continue
                asked = any(cheap_stem(part) in stems for part in _parts(name))
                counts[name] = counts.get(name, 0) + (3.0 if asked else 1.0) / (1 + rank)
    names = sorted(counts, key=lambda name: (-counts[name], name))[:40]
    rows, seen = [], set()
    for hit in source.find_definitions(names):
        name = hit.note
        inside = any(path == hit.path and span.start <= hit.line <= span.end
                     for path, span in shown)  # fmt: skip
        if inside or name in seen:
            continue
        seen.add(name)
        rows.append((-counts.get(name, 0), f"named: {hit.ref} {hit.text.strip()[:160]}"))
    rows.sort()
    lines = [text for _, text in rows[:NAMED_DEFINITIONS]]
    for window in windows[:2]:
        name = window.title.rpartition(" ")[2] if _defined_name(window) else ""
        if name and len(name) > 3:
            lines += _caller_lines(reader, source.name, name, CALLER_LINES, MAX_LOOKED_UP)
    return [str(text) for text in redaction.hide_in_answer(lines, reader.full_text)]


def _parts(name: str) -> Sequence[str]:
    return [part for term in split_question(name) for part in term.parts]


def _caller_lines(reader: RefReader, variable: str, name: str, limit: int, most: int) -> list[str]:
    """Return the lines that call a name, tests last; nothing where more than `most` hold it."""
    last = name.rpartition(".")[2]
    if reader.grep(Query(rf"\b{re.escape(last)}\b", limit=1), variable).total > most:
        return []
    found = reader.call_method(variable, "callers", [name], {"limit": most})
    rows = found["listed"]
    if not rows:
        return []
    total = count_noun(found["total"], "call")
    total = total if found["exact"] else f"at least {total}"
    lines = [f"{total} of {name}, by the parsed source:"]
    rows.sort(key=lambda row: "test" in row["path"].lower())
    for row in rows[:limit]:
        inside = f" in {row['inside']}" if row["inside"] else ""
        lines.append(f"  {row['ref']}{inside}: {row['text'][:140]}")
    return lines


def _narrow_answer(
    reader: RefReader, source: SourceVariable, question: str, scope: str
) -> HitPage | None:
    """Answer a question that is nothing but one name: where it is defined, who calls it."""
    terms = split_question(question)
    if len(terms) != 1 or not re.search(r"\b(?:where|which|who|what)\b", question, re.IGNORECASE):
        return None
    name = terms[0].text
    spelled = terms[0].exact or name[:1].isupper() or f"`{name}`" in question
    paths = set(_documents(reader, scope))
    rows = reader.method_result(source.name, "symbols", [name], {"limit": 200})
    own = [row for row in rows if row.path in paths and (spelled or row.name == name)]
    if not own:
        return None
    hits = [ContextHit(row.ref, row.path, row.line, row.text.strip()) for row in own[:5]]
    asked = bool(_CALLING.search(question))
    related = _caller_lines(
        reader, source.name, name, NARROW_LINES if asked else CALLER_LINES, 20_000
    )
    if asked and not related:
        related = [f"No line that the parsed source knows as a call calls {name}."]
    note = f"{count_noun(len(own), 'definition')} of {name}."
    hidden = redaction.hide_in_hits(hits, reader.full_text)
    return HitPage(
        hidden, len(own), len({row.path for row in own}), note=note,
        related=tuple(redaction.hide_in_answer(to_wire(related), reader.full_text)), ranked=True,
    )  # fmt: skip
