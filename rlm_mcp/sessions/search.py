"""Search a session: exact lines by pattern, and passages by question (SQLite FTS5).

Patterns go through the corpus's search, which never runs Python's `re` on them. The heads above
the blocks are no text of the session: matches in them are counted on their copies and taken off.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.sessions.schema import ABANDONED, LIVE, SUPERSEDED, BlockType, Origin, Role, ToolKind
from rlm_mcp.sessions.view import TranscriptPlace, TranscriptView, is_head
from rlm_mcp.variable import ContextHit, HitPage

BRANCHES_BY_NAME: Mapping[str, Sequence[int]] = {
    "live": (LIVE,),
    "abandoned": (ABANDONED,),
    "superseded": (SUPERSEDED,),
    "all": (LIVE, ABANDONED, SUPERSEDED),
}


def check_filters(view: TranscriptView, role: str, kind: str) -> None:
    """Raise BadRequest for a role or a kind that there is not."""
    _check_role(role)
    _check_kind(view, kind)


def has_role(view: TranscriptView, row: sqlite3.Row, role: str) -> bool:
    """Say whether a block is of a role; summaries and reminders are no user's."""
    turn = view.index.query_rows(
        "SELECT role, origin FROM turns WHERE doc=? AND n=?", (row["doc"], row["n"])
    )[0]
    if role == "user":
        return bool(turn["origin"] == "human")
    return role in (turn["role"], turn["origin"])


def _check_role(role: str) -> None:
    known = [*get_args(Role), *get_args(Origin)]
    if role and role not in known:
        hint = did_you_mean(role, known)
        raise BadRequest(f"Unknown role {role!r}; use one of {', '.join(known)}.{hint}")


def _check_kind(view: TranscriptView, kind: str) -> None:
    """Raise BadRequest for what is no block's type, no tool's kind and no tool of the session."""
    known = {*get_args(BlockType), *filter(None, get_args(ToolKind))}
    if not kind or kind in known:
        return
    names = {row["name"] for row in view.index.query_rows("SELECT DISTINCT name FROM blocks")} - {
        ""
    }
    if kind not in names:
        some = ", ".join(sorted(known) + sorted(names)[:20])
        hint = did_you_mean(kind, known | names)
        raise BadRequest(f"Unknown kind {kind!r}; this session has {some}.{hint}")


def branch_numbers(branch: str) -> str:
    """Return the numbers of a branch for a query; BadRequest for an unknown one."""
    if branch not in BRANCHES_BY_NAME:
        raise BadRequest(f"Unknown branch {branch!r}; use one of {', '.join(BRANCHES_BY_NAME)}.")
    return ",".join(map(str, BRANCHES_BY_NAME[branch]))


PAGE_MATCHES = 2_000
SCAN_LIMIT = 200_000
"""Matches that a filtered search looks at; beyond, it says that it is not exact."""

INDEXED_BYTES = 64_000
"""Bytes of each block that the full-text index holds."""

RowFilter = Callable[[sqlite3.Row], bool]

_WORD = re.compile(r"[^\W_]+(?:[._/-][^\W_]+)*|[^\W_]+")
_STOP_WORDS = (
    "a an and are as at be been by can could did do does for from had has have how i in is it its "
    "me my of on or our should so that the their them then there these they this to was we were "
    "what when where which who why will with would you your"
)
_STOP = frozenset(_STOP_WORDS.split())


def grep_blocks(
    view: TranscriptView,
    query: Query,
    places: Sequence[TranscriptPlace],
    *,
    branches: Sequence[int] = (LIVE,),
    keep: RowFilter | None = None,
) -> HitPage:
    """Return the matching lines of some places, with the exact total."""
    if keep is not None or any(place.turn is not None for place in places):
        return _grep_filtered(view, query, places, branches, keep)
    from rlm_mcp.corpus.search import grep_corpus

    found = grep_corpus(view.index.corpus, query, _run_paths(view, "text", places, branches))
    heads = grep_corpus(
        view.index.corpus,
        replace(query, limit=1, cursor=""),
        _run_paths(view, "head", places, branches),
    )
    hits: list[ContextHit] = []
    cursor = found.cursor
    while True:
        hits += [hit for match in found.hits if (hit := _block_hit(view, match)) is not None]
        if not cursor or len(hits) >= query.limit:
            break
        more = replace(query, cursor=cursor, limit=query.limit - len(hits))
        found = grep_corpus(view.index.corpus, more, _run_paths(view, "text", places, branches))
        cursor = found.cursor
    return HitPage(
        hits=tuple(hits),
        total=found.total - heads.total,
        documents=len({hit.path for hit in hits}) if not cursor else len(places),
        cursor=cursor if found.total - heads.total > len(hits) or query.cursor else "",
        exact=found.exact and heads.exact,
        note=found.note,
    )


def occurs_in(
    view: TranscriptView, pattern: str, places: Sequence[TranscriptPlace], keep: RowFilter
) -> bool:
    """Say whether a pattern matches in a block that `keep` lets pass; the first one is enough."""
    from rlm_mcp.corpus.search import grep_corpus

    paths = _run_paths(view, "text", places, (LIVE,))
    query = Query(pattern, limit=20)
    while True:
        page = grep_corpus(view.index.corpus, query, paths)
        for match in page.hits:
            if keep(_match_row(view, match)) and _block_hit(view, match) is not None:
                return True
        if not page.cursor:
            return False
        query = replace(query, limit=PAGE_MATCHES, cursor=page.cursor)


def _grep_filtered(
    view: TranscriptView,
    query: Query,
    places: Sequence[TranscriptPlace],
    branches: Sequence[int],
    keep: RowFilter | None,
) -> HitPage:
    """Search by looking at every match: the blocks that count cannot be told by their place."""
    from rlm_mcp.corpus.search import grep_corpus

    inside = {(p.thread.doc, p.turn, p.block) for p in places}
    paths = _run_paths(view, "text", places, branches)
    start = int(query.cursor) if query.cursor.isdigit() else 0
    hits: list[ContextHit] = []
    threads: set[str] = set()
    total = looked = 0
    cursor = ""
    while True:
        page = grep_corpus(
            view.index.corpus, replace(query, cursor=cursor, limit=PAGE_MATCHES), paths
        )
        for match in page.hits:
            row = _match_row(view, match)
            if not (_is_inside(row, inside) and (keep is None or keep(row))):
                continue
            hit = _block_hit(view, match, row)
            if hit is None:
                continue
            threads.add(hit.path)
            if start <= total < start + query.limit:
                hits.append(hit)
            total += 1
        cursor, looked = page.cursor, looked + len(page.hits)
        if not cursor or looked >= SCAN_LIMIT:
            break
    return HitPage(
        hits=tuple(hits),
        total=total,
        documents=len(threads),
        cursor=str(start + len(hits)) if start + len(hits) < total else "",
        exact=not cursor,
        note=f"Only the first {SCAN_LIMIT:,} matches were looked at." if cursor else "",
    )


def _is_inside(row: sqlite3.Row, places: set[tuple[int, int | None, int | None]]) -> bool:
    doc, turn, block = row["doc"], row["n"], row["i"]
    return bool(places & {(doc, None, None), (doc, turn, None), (doc, turn, block)})


def _run_paths(
    view: TranscriptView, kind: str, places: Sequence[TranscriptPlace], branches: Sequence[int]
) -> list[str]:
    wanted = {(place.thread.doc, branch) for place in places for branch in branches}
    paths = []
    for doc, branch in sorted(wanted):
        rows = view.index.query_rows(
            "SELECT path FROM runs WHERE path LIKE ? ORDER BY path",
            (f"{kind}/{doc:06}/{branch}/%",),
        )
        paths += [row["path"] for row in rows]
    return paths


def _match_offset(view: TranscriptView, match: Any) -> int:
    snapshot = view.index.corpus.snapshot
    place = snapshot.index[match.path]
    return int(snapshot.line_span(place, match.line, match.line)[0])


def _match_row(view: TranscriptView, match: Any) -> sqlite3.Row:
    return view.block_at(_match_offset(view, match))


def _block_hit(
    view: TranscriptView, match: Any, row: sqlite3.Row | None = None
) -> ContextHit | None:
    """Return a match with the ref of its block; None for one in the head above a block."""
    offset = _match_offset(view, match)
    row = row or view.block_at(offset)
    if offset < row["off"]:
        return None
    line = view.body_line(row, offset)
    ref = view.block_ref(row, line)
    before = tuple(text for text in match.before if not is_head(text))
    after = tuple(text for text in match.after if not is_head(text))
    path = ref.partition(":")[2].partition("#")[0].partition("/")[0]
    return ContextHit(ref, path, line, match.text, before, after, match.cut)


def search_blocks(
    view: TranscriptView, question: str, places: Sequence[TranscriptPlace], limit: int = 10
) -> list[ContextHit]:
    """Return the blocks of the live branch that best fit a question, best first."""
    return [hit for _, _, hit in score_blocks(view, question, places, limit)]


def score_blocks(
    view: TranscriptView, question: str, places: Sequence[TranscriptPlace], limit: int
) -> list[tuple[float, sqlite3.Row, ContextHit]]:
    """Return the same with scores (the lower, the better) and rows."""
    words = question_terms(question)
    if not words:
        return []
    index = view.index
    with index.lock:
        _extend_fulltext(view)
        rows = index.db.execute(
            "SELECT b.*, bm25(fts) AS score, t.live, t.ts FROM fts "
            "JOIN blocks b ON b.head=fts.rowid JOIN turns t ON t.doc=b.doc AND t.n=b.n "
            "WHERE fts MATCH ? AND t.live=? ORDER BY score, b.head LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words), LIVE, limit * 4 + 20),
        ).fetchall()
    inside = {(p.thread.doc, p.turn, p.block) for p in places}
    kept = [row for row in rows if _is_inside(row, inside)][:limit]
    return [(row["score"], row, _best_line(view, row, words)) for row in kept]


def question_terms(question: str) -> list[str]:
    """Return the words of a question that are worth looking for."""
    words = [word.lower() for word in _WORD.findall(question)]
    kept = [word for word in words if word not in _STOP]
    return list(dict.fromkeys(kept or words))[:32]


def _extend_fulltext(view: TranscriptView) -> None:
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
                (
                    head,
                    view.index.packed_bytes(off, min(size, INDEXED_BYTES)).decode(
                        "utf-8", "replace"
                    ),
                )
                for head, off, size in rows
            ),
        )
        if rows:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('fts', ?)", (str(rows[-1]["head"]),))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _best_line(view: TranscriptView, row: sqlite3.Row, words: Sequence[str]) -> ContextHit:
    """Return the line of a block that holds most of the words."""
    lines = view.block_text(row).split("\n")
    scores = [sum(word in line.lower() for word in words) for line in lines]
    best = scores.index(max(scores))
    text = lines[best]
    ref = view.block_ref(row, best + 1)
    path = ref.partition(":")[2].partition("#")[0].partition("/")[0]
    return ContextHit(ref, path, best + 1, text[:300], cut=len(text) > 300)
