"""Find the lines of a document before which it may be cut, and how good each cut is.

Everything is computed for all lines at once from the positions of the newlines and the first
bytes of each line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.code.language import language_of
from rlm_mcp.corpus.code.text_outline import fence_edges
from rlm_mcp.corpus.store import Snapshot
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import CharSpan, LineSpan
from rlm_mcp.tokens import SAMPLE_BYTES, actual_kind, bounded_parts, estimate_tokens, token_bytes

if TYPE_CHECKING:
    from rlm_mcp.corpus.store import Corpus, Snapshot


Numbers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

LINE_HEAD_BYTES = 16
"""Bytes of a line that are looked at: its indentation and its first word."""
TAB_WIDTH = 4
_SPACE, _TAB, _NEWLINE = 32, 9, 10


def _byte_table(chars: bytes) -> npt.NDArray[np.bool_]:
    table = np.zeros(256, bool)
    table[list(chars)] = True
    return table


_NO_BORDER = _byte_table(b")}]>,;:{\n\r")
_ATTACHED = _byte_table(b"@#/*")
"""First characters of lines that belong to what follows: decorators and comments."""
_BLANK = _byte_table(b" \t\n\r")
_OPENERS = np.array([int.from_bytes(w, "little") for w in (b"def ", b"clas", b"asyn", b"func")])
_OPENING = _byte_table(b"dcaf")
_UNDERLINES = b"=-~^\"'*+#"
_UNDERLINE_BYTES = _byte_table(_UNDERLINES)
_LEVELS = np.array([_UNDERLINES.find(char) + 1 for char in range(256)])
_QUOTES = (b'"""', b"'''")
_PARAGRAPH_DEPTH = 50


@dataclass(frozen=True, slots=True)
class LineBorders:
    """Lines (from 0, ascending) that may begin a part, each with a depth: less is better."""

    lines: list[int]
    depths: list[int]


def line_starts(snapshot: Snapshot, place: int) -> Numbers:
    """Return where each line of a document starts, and behind them where the document ends."""
    row = snapshot.rows[place]
    first, count = int(row["first"]), int(row["lines"])
    starts = np.empty(count + 1, np.int64)
    starts[0] = row["offset"]
    starts[1:] = snapshot.ends[first : first + count]
    starts[1:] += 1
    return starts


def best_border(borders: LineBorders, after: int, until: int) -> int:
    """Return the best border in (after, until]: the last of the least deep; 0 for none."""
    low, high = bisect_right(borders.lines, after), bisect_right(borders.lines, until)
    if low == high:
        return 0
    # Lists: a call of numpy costs more than the few borders of a part.
    depths = borders.depths[low:high]
    depths.reverse()
    return borders.lines[high - 1 - depths.index(min(depths))]


def definition_borders(snapshot: Snapshot, starts: Numbers) -> LineBorders:
    """Return where definitions and statements begin, by their indentation.

    A border is a line that follows an empty one or a closing bracket of the same depth, or that
    opens a definition; decorators and comments above it go with it. A comment counts as deep as
    the code behind it, and what is inside a long string is no border.
    """
    heads, depths, firsts, empty = _line_layout(snapshot, starts)
    fresh = np.zeros(len(firsts), bool)
    fresh[1:] = empty[:-1]
    fresh[1:] |= (firsts[:-1] == ord("}")) & (depths[1:] == depths[:-1])
    maybe = np.flatnonzero(_OPENING[firsts] & (depths <= 8))
    fresh[maybe] |= _opens_definition(heads[maybe])
    fresh &= ~_NO_BORDER[firsts]
    # A line under a decorator or a comment is no border; the first of those is.
    attached = _ATTACHED[firsts]
    fresh |= attached
    depths = depths - ((firsts == ord("*")) & (depths > 0))  # one deeper than its /*
    noted = attached & (firsts != ord("@"))
    notes, below = _comment_lines(noted, noted | empty)
    depths[notes] = np.maximum(depths[notes], depths[below])
    fresh[notes[firsts[below] == ord("{")]] = False  # between a head and its body
    fresh[1:] &= ~(attached[:-1] & (depths[1:] == depths[:-1]))
    fresh[_decorated_lines(depths, firsts, empty)] = False
    fresh &= ~_quoted_lines(snapshot, starts, firsts)
    lines = np.flatnonzero(fresh)
    return LineBorders(lines.tolist(), depths[lines].tolist())


def _comment_lines(
    noted: npt.NDArray[np.bool_], apart: npt.NDArray[np.bool_]
) -> tuple[Numbers, Numbers]:
    """Return the lines of comments and directives, and the line of code behind each of them."""
    code, notes = np.flatnonzero(~apart), np.flatnonzero(noted)
    follows = code.searchsorted(notes)
    here = follows < len(code)
    return notes[here], code[follows[here]]


def _decorated_lines(
    depths: Numbers, firsts: npt.NDArray[np.uint8], empty: npt.NDArray[np.bool_]
) -> list[int]:
    """Return the lines that stand under a decorator of several lines."""
    found = []
    for line in np.flatnonzero(firsts == ord("@")).tolist():
        below = line + 1
        while below < len(firsts) and (
            empty[below] or depths[below] > depths[line] or _NO_BORDER[firsts[below]]
        ):
            below += 1
        if line + 1 < below < len(firsts) and depths[below] == depths[line]:
            found.append(below)
    return found


def _quoted_lines(
    snapshot: Snapshot, starts: Numbers, firsts: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """Return which lines begin inside a string of three quotes; none where quotes do not pair."""
    inside = np.zeros(len(firsts), bool)
    begin, end = int(starts[0]), int(starts[-1])
    data = bytes(snapshot.buffer[begin:end])
    marks = sorted((place, quote) for quote in _QUOTES for place in _find_all(data, quote))
    lines = (starts.searchsorted([place + begin for place, _ in marks], "right") - 1).tolist()
    opened, at = b"", 0
    spans: list[tuple[int, int]] = []
    for (_, quote), line in zip(marks, lines, strict=True):
        if quote == opened:
            spans.append((at + 1, line + 1))
            opened = b""
        elif not opened and firsts[line] != ord("#"):
            opened, at = quote, line
    for first, last in spans if not opened else ():
        inside[first:last] = True
    return inside


def heading_borders(snapshot: Snapshot, starts: Numbers, *, markdown: bool) -> LineBorders:
    """Return where sections begin, by the level of their heading, then paragraphs.

    In Markdown, what is fenced has neither, and only `=` and `-` underline a heading.
    """
    heads, _, firsts, empty = _line_layout(snapshot, starts)
    depths = np.full(len(firsts), _PARAGRAPH_DEPTH + 1, np.int64)
    depths[1:][empty[:-1] & ~empty[1:]] = _PARAGRAPH_DEPTH
    sharps = np.flatnonzero(heads[:, 0] == ord("#"))
    marks = (heads[sharps, :8] != ord("#")).argmax(axis=1)
    sharps, marks = sharps[(marks > 0) & (marks < 7)], marks[(marks > 0) & (marks < 7)]
    spaced = _BLANK[heads[sharps, marks]]
    depths[sharps[spaced]] = marks[spaced]
    rules = _UNDERLINE_BYTES & (_LEVELS[ord("-")] >= _LEVELS) if markdown else _UNDERLINE_BYTES
    ruled = np.flatnonzero(rules[heads[:, 0]] & (heads[:, 1] == heads[:, 0]))
    ruled = ruled[(ruled > 0) & (heads[ruled, 2] == heads[ruled, 0])]
    lines = np.zeros(len(empty), bool)
    lines[ruled] = True
    under = ruled[~lines[ruled - 1] & ~empty[ruled - 1]] - 1
    levels = _LEVELS[heads[under + 1, 0]]
    if not markdown:
        # An overline belongs to its heading too.
        under -= lines[np.maximum(under - 1, 0)] & (under > 0)
    depths[under] = levels
    if markdown:
        depths[_fenced_lines(snapshot, starts, firsts)] = _PARAGRAPH_DEPTH + 1
        if b"".join(heads[:1]).rstrip() == b"---" and len(ruled):
            depths[: int(ruled[0])] = _PARAGRAPH_DEPTH + 1  # front matter
    lines = np.flatnonzero(depths <= _PARAGRAPH_DEPTH)
    return LineBorders(lines.tolist(), depths[lines].tolist())


def _fenced_lines(
    snapshot: Snapshot, starts: Numbers, firsts: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """Return which lines stand behind the first line of a fence, up to its last one."""
    inside = np.zeros(len(firsts), bool)
    begin, end = int(starts[0]), int(starts[-1])
    edges = fence_edges(bytes(snapshot.buffer[begin:end]))
    lines = starts.searchsorted(np.array(edges, np.int64) + begin, "right") - 1
    for first, last in zip(lines[::2], [*lines[1::2], len(firsts) - 1], strict=False):
        inside[first + 1 : last + 1] = True
    return inside


def _find_all(data: bytes, word: bytes) -> Iterator[int]:
    place = data.find(word)
    while place >= 0:
        yield place
        place = data.find(word, place + len(word))


def _line_layout(
    snapshot: Snapshot, starts: Numbers
) -> tuple[Bytes, Numbers, npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return of each line: its first bytes, its depth, its first character, whether it is empty."""
    begin, end = int(starts[0]), int(starts[-1])
    text = np.frombuffer(snapshot.buffer, np.uint8)[begin:end]
    padded = np.concatenate((text, np.full(LINE_HEAD_BYTES, _NEWLINE, np.uint8)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, LINE_HEAD_BYTES)
    heads = windows[starts[:-1] - begin]
    blank = (heads == _SPACE) | (heads == _TAB)
    indents = blank.argmin(axis=1)
    indents[blank.all(axis=1)] = LINE_HEAD_BYTES - 1
    depths = indents.copy()
    tabbed = np.flatnonzero(heads[:, 0] == _TAB)
    if len(tabbed):
        leading = np.arange(LINE_HEAD_BYTES) < indents[tabbed, None]
        depths[tabbed] += (TAB_WIDTH - 1) * (leading & (heads[tabbed] == _TAB)).sum(axis=1)
    firsts = heads[np.arange(len(heads)), indents]
    empty = (firsts == _NEWLINE) | (firsts == 13)
    return heads, depths, firsts, empty


def _opens_definition(heads: Bytes) -> npt.NDArray[np.bool_]:
    """Whether a line begins with a word that opens a definition, behind few blanks or tabs."""
    found = np.zeros(len(heads), bool)
    for indent in (0, 1, 2, 4, 8):
        word = np.ascontiguousarray(heads[:, indent : indent + 4]).view("<u4")[:, 0]
        right = (word[:, None] == _OPENERS).any(axis=1)
        if indent:
            right &= (heads[:, indent - 1] == _SPACE) | (heads[:, indent - 1] == _TAB)
        found |= right
    return found


PartSpan = LineSpan | CharSpan
CHUNK_KINDS = ("auto", "symbols", "headings", "lines", "tokens")
PROSE_SUFFIXES = (".md", ".markdown", ".rst", ".txt", ".adoc", ".org", ".tex")
TITLE_CHARS = 80
_CUT_AFTER = ("\n", " ", ",", ";", "}", ">")
"""What a text without lines is best cut behind, best first."""


class DocumentPart(NamedTuple):
    """Lines `start` to `end` (from 1, both included) of a document, or characters of one."""

    path: str
    start: int
    end: int
    tokens: int
    title: str
    chars: CharSpan | None = None

    @property
    def span(self) -> PartSpan:
        return self.chars or LineSpan(self.start, self.end)


def chunk_documents(
    corpus: Corpus,
    paths: Sequence[str] | None = None,
    by: str = "auto",
    tokens: int = 4000,
    kind: Callable[[str], str] = lambda path: "code",
    within: PartSpan | None = None,
) -> list[DocumentPart]:
    """Return the parts of some documents (None: all), each of at most about `tokens` tokens.

    `by`: auto (headings in prose, definitions elsewhere), symbols, headings, or lines and tokens
    (any line border). `kind` gives the kind of text of a path, for estimating tokens; `within` is
    a span of each document to stay in. Raises BadRequest for another word.
    """
    if by not in CHUNK_KINDS:
        raise BadRequest(f"Unknown way to chunk {by!r}; use one of {', '.join(CHUNK_KINDS)}.")
    if tokens < 1:
        raise BadRequest(f"A chunk needs at least 1 token, got {tokens}.")
    snapshot = corpus.snapshot
    places: Sequence[int] = range(len(snapshot.paths))
    if paths is not None:
        index = snapshot.index
        places = [index[path] for path in paths if path in index]
    return bounded_parts(_document_parts(snapshot, places, by, tokens, kind, within))


def _document_parts(
    snapshot: Snapshot,
    places: Sequence[int],
    by: str,
    tokens: int,
    kind: Callable[[str], str],
    within: PartSpan | None,
) -> Iterator[DocumentPart]:
    spans, counts = snapshot.spans, snapshot.rows["lines"]
    for place in places:
        lines = int(counts[place])
        if not lines:
            continue
        path, (offset, length) = snapshot.paths[place], spans[place]
        sample = bytes(snapshot.buffer[offset : offset + min(length, SAMPLE_BYTES)])
        text = actual_kind(sample, kind(path))
        limit = max(1, int(tokens * token_bytes(text)))
        if isinstance(within, CharSpan):
            whole = _decode_span(snapshot.buffer[offset : offset + length])
            yield from _split_chars(DocumentPart(path, 1, 1, 0, ""), whole, within, limit, text)
            continue
        cuts: Iterable[_Cut] = [(1, lines, offset, offset + length)]
        if length > limit or within is not None:
            cuts = _cut_document(snapshot, place, by, limit, within or LineSpan(1, lines))
        yield from _emit_parts(snapshot, place, cuts, limit, text)


_Cut = tuple[int, int, int, int]  # first line, last line, from byte, to byte


def _emit_parts(
    snapshot: Snapshot, place: int, cuts: Iterable[_Cut], limit: int, kind: str
) -> Iterator[DocumentPart]:
    """Yield a document's parts where it is cut; a line that is too long is cut further."""
    path, counted, chars = snapshot.paths[place], snapshot.spans[place][0], 0
    for start, end, begin, stop in cuts:
        if start < end or stop - begin <= limit + 1:
            size = estimate_tokens(stop - begin, kind)
            yield DocumentPart(path, start, end, size, _part_title(snapshot, begin, stop))
            continue
        chars += len(_decode_span(snapshot.buffer[counted:begin]))
        counted = begin
        line = _decode_span(snapshot.buffer[begin:stop]).removesuffix("\n")
        inside = CharSpan(0, len(line))
        yield from _split_chars(
            DocumentPart(path, start, end, 0, ""), line, inside, limit, kind, chars
        )


def _cut_document(
    snapshot: Snapshot, place: int, by: str, limit: int, within: LineSpan
) -> Iterator[_Cut]:
    """Yield where a large document is cut."""
    # numpy takes 100 ms to import; a corpus that is open has imported it.

    path = snapshot.paths[place]
    starts = line_starts(snapshot, place)
    if by in ("lines", "tokens"):
        borders: LineBorders | None = None
    elif by == "headings" or (by == "auto" and path.lower().endswith(PROSE_SUFFIXES)):
        markdown = language_of(path) == "markdown"
        borders = heading_borders(snapshot, starts, markdown=markdown)
    else:
        borders = definition_borders(snapshot, starts)
    edges: list[int] = starts.tolist()
    last, line = min(len(edges) - 1, within.end), within.start - 1
    while line < last:
        # The first line that does not fit any more; the line after the last is a border too.
        beyond = bisect_right(edges, edges[line] + limit) - 1
        if beyond >= last:
            yield line + 1, last, edges[line], edges[last]
            return
        cut = max(line + 1, beyond)
        if borders is not None:
            cut = best_border(borders, line, beyond) or cut
        yield line + 1, cut, edges[line], edges[cut]
        line = cut


def _decode_span(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")


def _split_chars(
    whole: DocumentPart, text: str, within: CharSpan, limit: int, kind: str, before: int = 0
) -> Iterator[DocumentPart]:
    """Yield parts of a text, which has `before` characters before it, of at most `limit` bytes."""
    at, end = within.start, min(within.end, len(text))
    while at < end:
        stop = min(end, at + max(1, limit))
        size = len(text[at:stop].encode("utf-8"))
        while size > limit and stop - at > 1:  # not only ASCII
            stop = at + max(1, (stop - at) * limit // size)
            size = len(text[at:stop].encode("utf-8"))
        if stop < end:
            near = at + (stop - at) * 4 // 5
            found = (text.rfind(mark, near, stop) for mark in _CUT_AFTER)
            stop = next((place + 1 for place in found if place >= near), stop)
        part = text[at:stop]
        tokens = estimate_tokens(len(part.encode("utf-8")), kind)
        title = part[:TITLE_CHARS].strip().partition("\n")[0]
        chars = CharSpan(before + at, before + stop)
        yield whole._replace(tokens=tokens, title=title, chars=chars)
        at = stop


def _part_title(snapshot: Snapshot, begin: int, stop: int) -> str:
    """Return the first line of a part that is not empty."""
    head = bytes(snapshot.buffer[begin : min(stop, begin + 400)]).strip()
    return head.partition(b"\n")[0][:TITLE_CHARS].decode("utf-8", "replace")
