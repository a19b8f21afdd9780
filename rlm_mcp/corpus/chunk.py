"""Split documents on natural borders: definitions, headings, paragraphs, lines.

The parts of a scope cover it exactly once, in order. A part holds whole lines and is larger than
asked only where a single line is. Borders are found by layout (what follows an empty line or a
closing bracket, how far it is indented), in numpy, for any language; nothing is parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.corpus import tokens as estimates
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.corpus.borders import Borders
    from rlm_mcp.corpus.pack import Corpus
    from rlm_mcp.corpus.snapshot import Snapshot

KINDS = ("auto", "symbols", "headings", "lines", "tokens")
PROSE = (".md", ".markdown", ".rst", ".txt", ".adoc", ".org", ".tex")
TITLE = 80


class Part(NamedTuple):
    """Lines `start` to `end` (from 1, both included) of a document."""

    path: str
    start: int
    end: int
    tokens: int
    title: str


def chunk(
    corpus: Corpus,
    paths: Sequence[str] | None = None,
    by: str = "auto",
    tokens: int = 4000,
    kind: Callable[[str], str] = lambda path: "code",
) -> list[Part]:
    """Return the parts of some documents (None: all), each of at most about `tokens` tokens.

    `by`: auto (headings in prose, definitions elsewhere), symbols, headings, or lines and tokens
    (any line border). `kind` gives the kind of text of a path, for estimating tokens. Raises
    BadRequest for another word.
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
        cuts = [(1, lines, offset, offset + length)]
        if length > limit:
            cuts = list(_split(snapshot, place, by, limit))
        for start, end, begin, stop in cuts:
            size = estimates.estimate(stop - begin, text)
            parts.append(Part(path, start, end, size, _title(snapshot, begin, stop)))
    return parts


def _split(
    snapshot: Snapshot, place: int, by: str, limit: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first line, last line, from byte, to byte) of the parts of a large document."""
    # numpy takes 100 ms to import; a corpus that is open has imported it.
    from rlm_mcp.corpus import borders as layouts

    path = snapshot.paths[place]
    starts = layouts.line_starts(snapshot, place)
    if by in ("lines", "tokens"):
        borders: Borders | None = None
    elif by == "headings" or (by == "auto" and path.lower().endswith(PROSE)):
        borders = layouts.headings(snapshot, starts)
    else:
        borders = layouts.definitions(snapshot, starts)
    last, line = len(starts) - 1, 0
    while line < last:
        # The first line that does not fit any more; the line after the last is a border too.
        beyond = int(starts.searchsorted(starts[line] + limit, "right")) - 1
        if beyond >= last:
            yield line + 1, last, int(starts[line]), int(starts[last])
            return
        cut = max(line + 1, beyond)
        if borders is not None:
            cut = layouts.best(borders, line, beyond) or cut
        yield line + 1, cut, int(starts[line]), int(starts[cut])
        line = cut


def _title(snapshot: Snapshot, begin: int, stop: int) -> str:
    """Return the first line of a part that is not empty."""
    head = bytes(snapshot.buffer[begin : min(stop, begin + 400)]).strip()
    return head.partition(b"\n")[0][:TITLE].decode("utf-8", "replace")
