"""Which spans of the packed text are whose: the runs of one thread and one branch.

What was written together is one span, cut only where blocks off the live branch lie in it; the
copies of the blocks' heads lie in the same order, and are cut with them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rlm_mcp.contexts.session.turns import LIVE

if TYPE_CHECKING:
    from rlm_mcp.corpus.runs import Run

_BATCHES = "SELECT doc, start, stop, copy, copy_stop FROM batches WHERE stop>? ORDER BY start"
_OFF_LIVE = """
SELECT head, off + len + 1, copy, copy + off - head, live FROM turns t CROSS JOIN blocks b
WHERE live != 1 AND b.doc = t.doc AND b.n = t.n AND head >= ? ORDER BY head
"""

_Span = tuple[int, int, int, int, int, int]
"""(thread, branch, start and end in the text, the same of the copies of heads)."""


def renew(db: sqlite3.Connection, size: int, changed: int) -> Sequence[Run]:
    """Cut the runs of what lies behind `size`, and return all of them.

    `changed` is where the first block lies whose turn changed its branch; those from there on are
    cut anew.
    """
    from rlm_mcp.corpus.runs import Run

    start = min(size, changed)
    batches = [tuple(row) for row in db.execute(_BATCHES, (start,))]
    if changed < size:
        doc, _, stop, _, copy_stop = batches[0]
        batches[0] = (doc, start, stop, _forget(db, start), copy_stop)
    last = db.execute("SELECT max(substr(path, -8)) FROM runs").fetchone()[0]
    number = int(last or 0)
    found = list(_joined(_placed(batches, db.execute(_OFF_LIVE, (start,)))))
    rows = [("text", row[:4]) for row in found] + [("head", row[:2] + row[4:]) for row in found]
    for kind, (doc, live, begin, stop) in rows:
        number += 1
        path = f"{kind}/{doc:06}/{live}/{number:08}"
        db.execute("INSERT INTO runs VALUES (?,?,?)", (path, begin, stop - begin))
    return [Run(*row) for row in db.execute("SELECT path, start, len FROM runs")]


def _forget(db: sqlite3.Connection, place: int) -> int:
    """Forget the runs from a block on; return where the copy of its head lies."""
    row = db.execute("SELECT copy FROM blocks WHERE head>=? ORDER BY head", (place,))
    copy = int(row.fetchone()[0])
    for kind, start in (("text", place), ("head", copy)):
        like = f"{kind}/%"
        db.execute("DELETE FROM runs WHERE path LIKE ? AND start>=?", (like, start))
        db.execute(
            "UPDATE runs SET len=?-start WHERE path LIKE ? AND start+len>?", (start, like, start)
        )
    return copy


def _placed(batches: Iterable[Sequence[int]], off: Iterable[Sequence[int]]) -> Iterator[_Span]:
    """Yield the spans of batches, cut where blocks off the live branch lie in them."""
    others = iter(off)
    other = next(others, None)
    for doc, start, stop, copy, copy_stop in batches:
        while other is not None and other[0] < stop:
            head, end, copied, copied_end, live = other
            yield doc, LIVE, start, head, copy, copied
            yield doc, live, head, end, copied, copied_end
            start, copy = end, copied_end
            other = next(others, None)
        yield doc, LIVE, start, stop, copy, copy_stop


def _joined(spans: Iterable[_Span]) -> Iterator[_Span]:
    """Yield the spans that are not empty; those of one branch without a gap become one."""
    last: _Span | None = None
    for span in spans:
        if span[2] == span[3]:
            continue
        if last is not None and (*last[:2], last[3]) == span[:3]:
            last = (*last[:3], span[3], last[4], span[5])
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last
