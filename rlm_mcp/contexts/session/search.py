"""Search a session: exact lines by pattern, and passages by question (SQLite FTS5).

Patterns go through the corpus's search, which never runs Python's `re` on them. The heads above
the blocks are no text of the session: matches in them are counted on their copies and taken off.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rlm_mcp.contexts.session.turns import LIVE
from rlm_mcp.contexts.session.view import Place, View, is_head
from rlm_mcp.contexts.variable import Found, Hit, Query

PAGE = 2_000
MOST = 200_000
"""Matches that a filtered search looks at; beyond, it says that it is not exact."""

INDEXED = 64_000
"""Bytes of each block that the full-text index holds."""

Keep = Callable[[sqlite3.Row], bool]

_WORD = re.compile(r"[^\W_]+(?:[._/-][^\W_]+)*|[^\W_]+")
_STOP_WORDS = (
    "a an and are as at be been by can could did do does for from had has have how i in is it its "
    "me my of on or our should so that the their them then there these they this to was we were "
    "what when where which who why will with would you your"
)
_STOP = frozenset(_STOP_WORDS.split())


def grep(
    view: View,
    query: Query,
    places: Sequence[Place],
    *,
    branches: Sequence[int] = (LIVE,),
    keep: Keep | None = None,
) -> Found:
    """Return the matching lines of some places, with the exact total."""
    if keep is not None or any(place.turn is not None for place in places):
        return _filtered(view, query, places, branches, keep)
    from rlm_mcp.corpus.search import search

    found = search(view.index.corpus, query, _paths(view, "text", places, branches))
    heads = search(
        view.index.corpus,
        replace(query, limit=1, cursor=""),
        _paths(view, "head", places, branches),
    )
    hits: list[Hit] = []
    cursor = found.cursor
    while True:
        hits += [hit for match in found.hits if (hit := _hit(view, match)) is not None]
        if not cursor or len(hits) >= query.limit:
            break
        more = replace(query, cursor=cursor, limit=query.limit - len(hits))
        found = search(view.index.corpus, more, _paths(view, "text", places, branches))
        cursor = found.cursor
    return Found(
        hits=tuple(hits),
        total=found.total - heads.total,
        documents=len({hit.path for hit in hits}) if not cursor else len(places),
        cursor=cursor if found.total - heads.total > len(hits) or query.cursor else "",
        exact=found.exact and heads.exact,
        note=found.note,
    )


def occurs(view: View, pattern: str, places: Sequence[Place], keep: Keep) -> bool:
    """Say whether a pattern matches in a block that `keep` lets pass; the first one is enough."""
    from rlm_mcp.corpus.search import search

    paths = _paths(view, "text", places, (LIVE,))
    query = Query(pattern, limit=20)
    while True:
        page = search(view.index.corpus, query, paths)
        for match in page.hits:
            if keep(_row(view, match)) and _hit(view, match) is not None:
                return True
        if not page.cursor:
            return False
        query = replace(query, limit=PAGE, cursor=page.cursor)


def _filtered(
    view: View, query: Query, places: Sequence[Place], branches: Sequence[int], keep: Keep | None
) -> Found:
    """Search by looking at every match: the blocks that count cannot be told by their place."""
    from rlm_mcp.corpus.search import search

    inside = {(p.thread.doc, p.turn, p.block) for p in places}
    paths = _paths(view, "text", places, branches)
    start = int(query.cursor) if query.cursor.isdigit() else 0
    hits: list[Hit] = []
    threads: set[str] = set()
    total = looked = 0
    cursor = ""
    while True:
        page = search(view.index.corpus, replace(query, cursor=cursor, limit=PAGE), paths)
        for match in page.hits:
            row = _row(view, match)
            if not (_inside(row, inside) and (keep is None or keep(row))):
                continue
            hit = _hit(view, match, row)
            if hit is None:
                continue
            threads.add(hit.path)
            if start <= total < start + query.limit:
                hits.append(hit)
            total += 1
        cursor, looked = page.cursor, looked + len(page.hits)
        if not cursor or looked >= MOST:
            break
    return Found(
        hits=tuple(hits),
        total=total,
        documents=len(threads),
        cursor=str(start + len(hits)) if start + len(hits) < total else "",
        exact=not cursor,
        note=f"Only the first {MOST:,} matches were looked at." if cursor else "",
    )


def _inside(row: sqlite3.Row, places: set[tuple[int, int | None, int | None]]) -> bool:
    doc, turn, block = row["doc"], row["n"], row["i"]
    return bool(places & {(doc, None, None), (doc, turn, None), (doc, turn, block)})


def _paths(view: View, kind: str, places: Sequence[Place], branches: Sequence[int]) -> list[str]:
    wanted = {(place.thread.doc, branch) for place in places for branch in branches}
    paths = []
    for doc, branch in sorted(wanted):
        rows = view.index.rows(
            "SELECT path FROM runs WHERE path LIKE ? ORDER BY path",
            (f"{kind}/{doc:06}/{branch}/%",),
        )
        paths += [row["path"] for row in rows]
    return paths


def _offset(view: View, match: Any) -> int:
    snapshot = view.index.corpus.snapshot
    place = snapshot.index[match.path]
    return int(snapshot.line_span(place, match.line, match.line)[0])


def _row(view: View, match: Any) -> sqlite3.Row:
    return view.block_at(_offset(view, match))


def _hit(view: View, match: Any, row: sqlite3.Row | None = None) -> Hit | None:
    """Return a match with the ref of its block; None for one in the head above a block."""
    offset = _offset(view, match)
    row = row or view.block_at(offset)
    if offset < row["off"]:
        return None
    line = view.body_line(row, offset)
    ref = view.ref(row, line)
    before = tuple(text for text in match.before if not is_head(text))
    after = tuple(text for text in match.after if not is_head(text))
    path = ref.partition(":")[2].partition("#")[0].partition("/")[0]
    return Hit(ref, path, line, match.text, before, after, match.cut)


def rank(view: View, question: str, places: Sequence[Place], limit: int = 10) -> list[Hit]:
    """Return the blocks of the live branch that best fit a question, best first."""
    return [hit for _, _, hit in scored(view, question, places, limit)]


def scored(
    view: View, question: str, places: Sequence[Place], limit: int
) -> list[tuple[float, sqlite3.Row, Hit]]:
    """Return the same with scores (the lower, the better) and rows."""
    words = terms(question)
    if not words:
        return []
    index = view.index
    with index.lock:
        _extend(view)
        rows = index.db.execute(
            "SELECT b.*, bm25(fts) AS score, t.live, t.ts FROM fts "
            "JOIN blocks b ON b.head=fts.rowid JOIN turns t ON t.doc=b.doc AND t.n=b.n "
            "WHERE fts MATCH ? AND t.live=? ORDER BY score, b.head LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words), LIVE, limit * 4 + 20),
        ).fetchall()
    inside = {(p.thread.doc, p.turn, p.block) for p in places}
    kept = [row for row in rows if _inside(row, inside)][:limit]
    return [(row["score"], row, _best_line(view, row, words)) for row in kept]


def terms(question: str) -> list[str]:
    """Return the words of a question that are worth looking for."""
    words = [word.lower() for word in _WORD.findall(question)]
    kept = [word for word in words if word not in _STOP]
    return list(dict.fromkeys(kept or words))[:32]


def _extend(view: View) -> None:
    """Bring the full-text table up to the newest block. The caller holds the lock."""
    db = view.index.db
    db.execute("BEGIN IMMEDIATE")
    try:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name='fts'").fetchone():
            db.execute("CREATE VIRTUAL TABLE fts USING fts5(body, content='')")
        done = db.execute("SELECT value FROM meta WHERE key='fts'").fetchone()
        last = int(done[0]) if done else -1
        rows = db.execute(
            "SELECT head, off, len FROM blocks WHERE head>? ORDER BY head", (last,)
        ).fetchall()
        db.executemany(
            "INSERT INTO fts (rowid, body) VALUES (?,?)",
            (
                (head, view.index.read(off, min(size, INDEXED)).decode("utf-8", "replace"))
                for head, off, size in rows
            ),
        )
        if rows:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('fts', ?)", (str(rows[-1]["head"]),))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _best_line(view: View, row: sqlite3.Row, words: Sequence[str]) -> Hit:
    """Return the line of a block that holds most of the words."""
    lines = view.body(row).split("\n")
    scores = [sum(word in line.lower() for word in words) for line in lines]
    best = scores.index(max(scores))
    text = lines[best]
    ref = view.ref(row, best + 1)
    path = ref.partition(":")[2].partition("#")[0].partition("/")[0]
    return Hit(ref, path, best + 1, text[:300], cut=len(text) > 300)
