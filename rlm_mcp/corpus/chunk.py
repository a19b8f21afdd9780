"""Split documents on natural borders: definitions, headings, paragraphs, lines.

The parts of a scope cover it exactly once, in order. A part holds whole lines; a line that is
larger than asked is cut by characters, where a word or a value ends. Borders are found by layout
(what follows an empty line or a closing bracket, how far it is indented), in numpy, for any
language; nothing is parsed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.corpus import tokens as estimates
from rlm_mcp.corpus.language import language
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import Chars, Lines

if TYPE_CHECKING:
    from rlm_mcp.corpus.borders import Borders
    from rlm_mcp.corpus.pack import Corpus
    from rlm_mcp.corpus.snapshot import Snapshot

Span = Lines | Chars
KINDS = ("auto", "symbols", "headings", "lines", "tokens")
PROSE = (".md", ".markdown", ".rst", ".txt", ".adoc", ".org", ".tex")
TITLE = 80
_ENDS = ("\n", " ", ",", ";", "}", ">")
"""What a text without lines is best cut behind, best first."""


class Part(NamedTuple):
    """Lines `start` to `end` (from 1, both included) of a document, or characters of one."""

    path: str
    start: int
    end: int
    tokens: int
    title: str
    chars: Chars | None = None

    @property
    def span(self) -> Span:
        return self.chars or Lines(self.start, self.end)


def chunk(
    corpus: Corpus,
    paths: Sequence[str] | None = None,
    by: str = "auto",
    tokens: int = 4000,
    kind: Callable[[str], str] = lambda path: "code",
    within: Span | None = None,
) -> list[Part]:
    """Return the parts of some documents (None: all), each of at most about `tokens` tokens.

    `by`: auto (headings in prose, definitions elsewhere), symbols, headings, or lines and tokens
    (any line border). `kind` gives the kind of text of a path, for estimating tokens; `within` is
    a span of each document to stay in. Raises BadRequest for another word.
    """
    if by not in KINDS:
        raise BadRequest(f"Unknown way to chunk {by!r}; use one of {', '.join(KINDS)}.")
    if tokens < 1:
        raise BadRequest(f"A chunk needs at least 1 token, got {tokens}.")
    snapshot = corpus.snapshot
    places: Sequence[int] = range(len(snapshot.paths))
    if paths is not None:
        index = snapshot.index
        places = [index[path] for path in paths if path in index]
    spans, counts = snapshot.spans, snapshot.rows["lines"]
    parts: list[Part] = []
    for place in places:
        lines = int(counts[place])
        if not lines:
            continue
        path, (offset, length) = snapshot.paths[place], spans[place]
        sample = bytes(snapshot.buffer[offset : offset + min(length, estimates.SAMPLE_BYTES)])
        text = estimates.kind_of(sample, kind(path))
        limit = max(1, int(tokens * estimates.ratio(text)))
        if isinstance(within, Chars):
            whole = _decoded(snapshot.buffer[offset : offset + length])
            parts += _by_chars(Part(path, 1, 1, 0, ""), whole, within, limit, text)
            continue
        cuts = [(1, lines, offset, offset + length)]
        if length > limit or within is not None:
            cuts = list(_split(snapshot, place, by, limit, within or Lines(1, lines)))
        parts += _filled(snapshot, place, cuts, limit, text)
    return parts


_Cut = tuple[int, int, int, int]  # first line, last line, from byte, to byte


def _filled(
    snapshot: Snapshot, place: int, cuts: Sequence[_Cut], limit: int, kind: str
) -> Iterator[Part]:
    """Yield a document's parts where it is cut; a line that is too long is cut further."""
    path, counted, chars = snapshot.paths[place], snapshot.spans[place][0], 0
    for start, end, begin, stop in cuts:
        if start < end or stop - begin <= limit + 1:
            size = estimates.estimate(stop - begin, kind)
            yield Part(path, start, end, size, _title(snapshot, begin, stop))
            continue
        chars += len(_decoded(snapshot.buffer[counted:begin]))
        counted = begin
        line = _decoded(snapshot.buffer[begin:stop]).removesuffix("\n")
        inside = Chars(0, len(line))
        yield from _by_chars(Part(path, start, end, 0, ""), line, inside, limit, kind, chars)


def _split(snapshot: Snapshot, place: int, by: str, limit: int, within: Lines) -> Iterator[_Cut]:
    """Yield where a large document is cut."""
    # numpy takes 100 ms to import; a corpus that is open has imported it.
    from rlm_mcp.corpus import borders as layouts

    path = snapshot.paths[place]
    starts = layouts.line_starts(snapshot, place)
    if by in ("lines", "tokens"):
        borders: Borders | None = None
    elif by == "headings" or (by == "auto" and path.lower().endswith(PROSE)):
        markdown = language(path) == "markdown"
        borders = layouts.headings(snapshot, starts, markdown=markdown)
    else:
        borders = layouts.definitions(snapshot, starts)
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
            cut = layouts.best(borders, line, beyond) or cut
        yield line + 1, cut, edges[line], edges[cut]
        line = cut


def _decoded(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")


def _by_chars(
    whole: Part, text: str, within: Chars, limit: int, kind: str, before: int = 0
) -> Iterator[Part]:
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
            found = (text.rfind(mark, near, stop) for mark in _ENDS)
            stop = next((place + 1 for place in found if place >= near), stop)
        part = text[at:stop]
        tokens = estimates.estimate(len(part.encode("utf-8")), kind)
        title = part[:TITLE].strip().partition("\n")[0]
        chars = Chars(before + at, before + stop)
        yield whole._replace(tokens=tokens, title=title, chars=chars)
        at = stop


def _title(snapshot: Snapshot, begin: int, stop: int) -> str:
    """Return the first line of a part that is not empty."""
    head = bytes(snapshot.buffer[begin : min(stop, begin + 400)]).strip()
    return head.partition(b"\n")[0][:TITLE].decode("utf-8", "replace")
