"""Find the lines that match a pattern: exact totals, pages, in time linear in the text.

Matching is by line and by byte, with RE2's syntax: `.` is any byte but the newline, \\w \\d \\s
\\b are ASCII. A pattern with other than ASCII characters, \\p{..} or `unicode` is matched by UTF-8
characters. A pattern that has a newline in it is matched across lines. Lookaround and
backreferences are decided by Python's re in a child process that can be killed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlm_mcp.corpus.query import Match, Matches, Query
from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.corpus.gate import Gated
    from rlm_mcp.corpus.hits import Hits
    from rlm_mcp.corpus.pack import Corpus
    from rlm_mcp.corpus.snapshot import Snapshot

__all__ = ["Match", "Matches", "Query", "search"]


def search(corpus: Corpus, query: Query, paths: Sequence[str] | None = None) -> Matches:
    """Return the matching lines of a corpus, or of some of its documents, in reading order.

    Raises BadRequest for a pattern that cannot be used (with the place and the reason) and for a
    cursor of another state.
    """
    # RE2, Hyperscan and numpy take 130 ms to import.
    from rlm_mcp.corpus import pages
    from rlm_mcp.corpus.gate import gate

    if query.limit < 0 or query.before < 0 or query.after < 0:
        raise BadRequest("limit, before and after count lines; they cannot be negative.")
    gated = gate(query.pattern, query.ignore_case, query.unicode, query.multiline, query.literal)
    snapshot = corpus.snapshot
    digest = pages.digest(query, paths)
    start = pages.start(query.cursor, digest, snapshot.table.generation)
    hits = _hits(snapshot, gated, query, paths, digest, start + query.limit)
    places, lines = hits.window(start, query.limit, query.spread)
    more = start + len(places) < hits.total or (not hits.whole and not query.totals)
    return Matches(
        hits=pages.show(snapshot, gated, query, places, lines),
        total=hits.total,
        documents=hits.documents,
        cursor=pages.cursor(digest, snapshot.table.generation, start + len(places))
        if more and len(places)
        else "",
        exact=hits.whole,
        note=_note(gated, query, hits),
        per_folder=hits.per_folder(snapshot.paths),
    )


_recent: OrderedDict[tuple[int, int, str], Hits] = OrderedDict()
_guard = threading.Lock()
_KEPT = 8
"""Answers that are kept, so that the next page costs nothing."""
_KEPT_LINES = 2_000_000


def _hits(
    snapshot: Snapshot,
    gated: Gated,
    query: Query,
    paths: Sequence[str] | None,
    digest: str,
    wanted: int,
) -> Hits:
    from rlm_mcp.corpus import hits

    key = (id(snapshot), snapshot.table.generation, digest)
    with _guard:
        kept = _recent.get(key)
    if kept is not None:
        return kept
    found = hits.find(
        snapshot, gated, paths, query.seconds, enough=0 if query.totals else max(1, wanted)
    )
    if found.whole and found.weight <= _KEPT_LINES:
        with _guard:
            _recent[key] = found
            while len(_recent) > _KEPT:
                _recent.popitem(last=False)
    return found


def _note(gated: Gated, query: Query, hits: Hits) -> str:
    notes = []
    if gated.multiline and not query.multiline and "\n" not in query.pattern:
        notes.append("The pattern has a newline, so it was matched across lines.")
    if gated.backtrack:
        notes.append("Lookaround or backreferences: decided by a backtracking engine.")
    if not hits.whole and query.totals:
        notes.append(
            f"Stopped after {query.seconds:g} s; the total is a lower bound. "
            "Search fewer documents or a rarer pattern."
        )
    return " ".join(notes)
