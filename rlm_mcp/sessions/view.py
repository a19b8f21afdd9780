"""Windows into a session's packed text: threads, turns, blocks, lines, and what lies where.

A thread's text is that of its live turns, in the order in which they were written; every block
stands under one head line. Turns that were rewound or replaced are read by their own refs only.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, cast

from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.plurals import count_noun
from rlm_mcp.refs import CharSpan, LineSpan, Ref, TurnSpan
from rlm_mcp.sessions.schema import BRANCHES, HEAD_MARK, LIVE
from rlm_mcp.variable import ContextPassage

if TYPE_CHECKING:
    from rlm_mcp.sessions.index import TranscriptIndex


T = TypeVar("T")

PAGE_BLOCKS = 2_000
"""Blocks that are looked at in one go; between two pages others may use the index."""

_BITS = 24

_COLUMNS = "b.*, t.role, t.origin, t.ts, t.segment, t.cwd, t.model"

_PAGE_QUERY = (
    "SELECT b.n, b.i, {columns} FROM blocks b NOT INDEXED "
    "CROSS JOIN turns t WHERE b.head>=? AND b.head<? AND b.doc=? AND t.doc=b.doc AND t.n=b.n "
    "AND {where} ORDER BY b.head"
)


@dataclass(slots=True)
class _BlockValues:
    """What the blocks before `end` gave: values in order, with the place of each."""

    end: int = 0
    places: array[int] = field(default_factory=lambda: array("q"))
    """The turn, and in the lower 24 bits the number of the block in it."""
    values: list[object] = field(default_factory=list)

    def add_values(self, places: Sequence[int], values: Sequence[object]) -> None:
        """Add values; a result may come behind later turns."""
        joint = [*self.places[-1:], *places]
        self.places.extend(places)
        self.values += values
        if joint != sorted(joint):
            order = sorted(range(len(self.places)), key=self.places.__getitem__)
            self.places = array("q", [self.places[at] for at in order])
            self.values = [self.values[at] for at in order]


class BlockCache:
    """Keeps it for one index. Safe from several threads."""

    def __init__(self, index: TranscriptIndex) -> None:
        self.lock = threading.RLock()
        """Held while something is made, so that nothing is made twice; taken before the index's."""
        self._index = index
        self._found: dict[Hashable, _BlockValues] = {}
        self._text = ""
        self._off: dict[int, tuple[int, set[int]]] = {}

    def map_blocks(
        self,
        key: str,
        where: str,
        make: Callable[[sqlite3.Row], Iterable[T]],
        *,
        columns: str = _COLUMNS,
        doc: int = 1,
        live: bool = True,
    ) -> list[T]:
        """Return what `make` gives for the live blocks (or the others) of a thread, in order.

        `where` chooses blocks `b` by what never changes, with their turns `t`; a `key` stands for
        one `where` and one `make`. A row has the columns of both, without `live`, or `columns` and
        the block's numbers: reading all of them takes twice as long.
        """
        with self.lock:
            found = self._extend_values((key, doc), columns, where, make, doc)
            off = self._off_live(doc)
            values = cast("list[T]", found.values)
            if not off:
                return values[:] if live else []
            pairs = zip(found.places, values, strict=True)
            return [value for place, value in pairs if (place >> _BITS not in off) is live]

    def _extend_values(
        self,
        key: Hashable,
        columns: str,
        where: str,
        make: Callable[[sqlite3.Row], Iterable[T]],
        doc: int,
    ) -> _BlockValues:
        """Return what is known under a key after looking at the blocks that are new."""
        while True:
            table = self._index.corpus.snapshot.table
            if table.text_id != self._text:
                self._found.clear()
                self._text = table.text_id
            found = self._found.setdefault(key, _BlockValues())
            if found.end >= table.text_bytes:
                return found
            end = self._page_end(found.end, table.text_bytes)
            query = _PAGE_QUERY.format(columns=columns, where=where)
            rows = self._index.query_rows(query, (found.end, end, doc))
            places: list[int] = []
            values: list[object] = []
            for row in rows:
                for value in make(row):
                    places.append(row["n"] << _BITS | row["i"])
                    values.append(value)
            if self._index.corpus.snapshot.table.text_id != self._text:
                continue  # the rows and their text may be of two states
            found.add_values(places, values)
            found.end = end

    def _page_end(self, start: int, stop: int) -> int:
        """Return where the page of blocks that begins at `start` ends."""
        rows = self._index.query_rows(
            "SELECT head FROM blocks WHERE head>=? ORDER BY head LIMIT 1 OFFSET ?",
            (start, PAGE_BLOCKS),
        )
        return min(int(rows[0]["head"]), stop) if rows else stop

    def _off_live(self, doc: int) -> set[int]:
        """Return the turns of a thread that are not on the live branch."""
        state = self._index.corpus.generation
        known = self._off.get(doc)
        if known is None or known[0] != state:
            query = f"SELECT n FROM turns WHERE doc=? AND live!={LIVE}"
            known = self._off[doc] = (
                state,
                {row["n"] for row in self._index.query_rows(query, (doc,))},
            )
        return known[1]


WINDOW_CHARS = 60_000
"""Characters that one window may have; the rest is behind its `next_ref`."""
INLINE_LINES = 40
"""Lines up to which a block is cited whole."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_PART = re.compile(r"(.*)/([0-9]{1,9})(?:\.([0-9]{1,6}))?\Z")


@dataclass(frozen=True, slots=True)
class SessionThread:
    """The conversation itself, or a subagent's."""

    doc: int
    name: str
    """As refs call it: the session's id, or agent-…"""
    call: str = ""
    raw: str = ""
    """As the index calls it; "" is the main thread."""


@dataclass(frozen=True, slots=True)
class TranscriptPlace:
    """What a ref names inside the session."""

    thread: SessionThread
    turn: int | None = None
    block: int | None = None

    @property
    def path(self) -> str:
        """The path of this place in a ref that goes on with lines or characters."""
        if self.turn is None:
            return self.thread.name
        part = f"{self.turn}" if self.block is None else f"{self.turn}.{self.block}"
        return f"{self.thread.name}/{part}"


class TranscriptView:
    """Reads an index by refs. Holds no text itself."""

    def __init__(self, index: TranscriptIndex, name: str, native: str) -> None:
        self.index, self.name, self.id = index, name, native
        self._known: dict[Hashable, object] = {}
        self.block_cache = BlockCache(index)
        self._state = -1

    def memoize(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` gives, made once for each state of the session."""
        with self.block_cache.lock:
            state = self.index.corpus.generation
            if state != self._state:
                self._known.clear()
                self._state = state
            if key not in self._known:
                self._known[key] = make()
            return cast(T, self._known[key])

    def list_threads(self) -> list[SessionThread]:
        """Return the main thread and those of subagents."""
        return self.memoize("threads", self._load_threads)

    def _load_threads(self) -> list[SessionThread]:
        rows = self.index.query_rows("SELECT doc, name, call FROM docs ORDER BY doc")
        return [
            SessionThread(
                row["doc"], _UNSAFE.sub("-", row["name"])[:80] or self.id, row["call"], row["name"]
            )
            for row in rows
        ]

    def resolve_ref(self, ref: Ref) -> list[TranscriptPlace]:
        """Return what a ref names; a ref without a path is the main thread."""
        threads = self.list_threads()
        turn = block = None
        path = ref.path.removesuffix("/")
        if path in ("*", "**"):
            return [TranscriptPlace(thread) for thread in threads]
        if match := _PART.match(path):
            path, turn = match[1], int(match[2])
            block = int(match[3]) if match[3] else None
        if isinstance(ref.span, TurnSpan):
            turn, block = ref.span.turn, ref.span.block
        known = {thread.name: thread for thread in threads}
        thread = known[self.id] if not path else known.get(path) or self._match_thread(path, known)
        place = TranscriptPlace(thread, turn, block)
        if turn is not None:
            self.block_rows(place)
        return [place]

    def block_rows(self, place: TranscriptPlace) -> list[sqlite3.Row]:
        """Return the rows of a turn's blocks, or of one; BadRequest where there is none."""
        assert place.turn is not None
        rows = self.index.query_rows(
            "SELECT * FROM blocks WHERE doc=? AND n=? ORDER BY i", (place.thread.doc, place.turn)
        )
        if place.block is not None and rows:
            count = len(rows)
            rows = [row for row in rows if row["i"] == place.block]
            if not rows:
                raise BadRequest(
                    f"Turn {place.turn} has {count} blocks; there is no {place.turn}.{place.block}."
                )
        if not rows:
            last = self.index.query_rows(
                "SELECT max(n) FROM turns WHERE doc=?", (place.thread.doc,)
            )
            raise BadRequest(
                f"{place.thread.name} has turns 1 to {last[0][0] or 0}, not {place.turn}."
            )
        return rows

    def text_spans(self, place: TranscriptPlace) -> list[tuple[int, int]]:
        """Return (offset, length) of a place's text in the packed file, in reading order."""
        if place.turn is None:
            return [(start, length) for _, start, length in self.text_runs(place.thread)]
        rows = self.block_rows(place)
        if place.block is not None:
            return [(rows[0]["off"], rows[0]["len"])]
        return [(row["head"], row["off"] - row["head"] + row["len"] + 1) for row in rows]

    def text_runs(self, thread: SessionThread, branch: int = LIVE) -> list[tuple[str, int, int]]:
        """Return (path in the corpus, offset, length) of a thread's text."""
        rows = self.index.query_rows(
            "SELECT path, start, len FROM runs WHERE path LIKE ? ORDER BY path",
            (f"text/{thread.doc:06}/{branch}/%",),
        )
        return [(row["path"], row["start"], row["len"]) for row in rows]

    def block_ref(self, row: sqlite3.Row, line: int | None = None) -> str:
        """Return the ref of a block, or of a line in a long one."""
        thread = self.id
        if row["doc"] != 1:
            thread = next(t.name for t in self.list_threads() if t.doc == row["doc"])
        if line is not None and row["lines"] > INLINE_LINES:
            return f"{self.name}:{thread}/{row['n']}.{row['i']}#L{line}"
        return f"{self.name}:{thread}#{row['n']}.{row['i']}"

    def block_at(self, offset: int) -> sqlite3.Row:
        """Return the block that a byte of the packed text belongs to."""
        return self.index.query_rows(
            "SELECT * FROM blocks WHERE head<=? ORDER BY head DESC LIMIT 1", (offset,)
        )[0]

    def block_text(self, row: sqlite3.Row) -> str:
        """Return a block's text."""
        return self.index.packed_bytes(row["off"], row["len"]).decode("utf-8", "replace")

    def place_text(self, place: TranscriptPlace) -> str:
        """Return all text of a place."""
        parts = [self.index.packed_bytes(start, length) for start, length in self.text_spans(place)]
        return b"".join(parts).decode("utf-8", "replace")

    def full_text(self, ref: Ref) -> str:
        """Return the whole text of a ref."""
        places = self.resolve_ref(ref)
        if isinstance(ref.span, LineSpan):
            return "\n".join(self._place_lines(places[0], ref.span.start, ref.span.end)[0])
        if isinstance(ref.span, CharSpan):
            return self.place_text(places[0])[ref.span.start : ref.span.end]
        if len(places) == 1 and places[0].block is not None:
            return self.place_text(places[0])
        return "\n".join(self.place_text(place).removesuffix("\n") for place in places)

    def peek(self, ref: Ref, limit: int) -> ContextPassage:
        """Return a window of at most `limit` lines."""
        place = self.resolve_ref(ref)[0]
        note = self._branch_note(place)
        limit = max(1, limit)
        if isinstance(ref.span, CharSpan):
            return self._peek_chars(place, ref.span.start, ref.span.end, note)
        start = ref.span.start if isinstance(ref.span, LineSpan) else 1
        stop = ref.span.end if isinstance(ref.span, LineSpan) else 1 << 60
        lines, total = self._place_lines(place, start, min(stop, start + limit - 1))
        if not lines and start > 1:
            raise BadRequest(
                f"{ref} is past the end: {place.path} has {count_noun(total, 'line')}."
            )
        kept = _count_fitting(lines)
        if kept == 0 and lines:
            return self._peek_long_line(place, start, note)
        end = start + kept - 1
        whole = place.turn is not None and kept == total
        span = TurnSpan(place.turn or 0, place.block) if whole else LineSpan(start, max(start, end))
        path = place.thread.name if whole else place.path
        more = end < min(stop, total)
        return ContextPassage(
            ref=str(Ref(self.name, path, "", span)),
            text="\n".join(lines[:kept]),
            first_line=None if whole else start,
            total=total,
            next_ref=str(Ref(self.name, place.path, "", LineSpan(end + 1, min(stop, total))))
            if more
            else "",
            note=note,
        )

    def line_of(self, thread: SessionThread, offset: int) -> int:
        """Return the line of a thread's text that holds a byte of the packed file."""
        snapshot = self.index.corpus.snapshot
        before = 0
        for path, start, length in self.text_runs(thread):
            place = snapshot.index[path]
            if start <= offset < start + length:
                return before + snapshot.line_number(place, offset)
            before += snapshot.document_at(place).lines
        raise BadRequest("This turn is not on the live branch.")

    def _match_thread(self, path: str, known: dict[str, SessionThread]) -> SessionThread:
        """Return the thread whose name begins with `path`: ids may be shortened or written out."""
        close = [t for name, t in known.items() if name.startswith(path) or path.startswith(name)]
        if len(close) != 1:
            hint = did_you_mean(path, known)
            raise BadRequest(f"{self.name} holds no thread {path!r}.{hint}")
        return close[0]

    def _branch_note(self, place: TranscriptPlace) -> str:
        if place.turn is None:
            return ""
        live = self.index.query_rows(
            "SELECT live FROM turns WHERE doc=? AND n=?", (place.thread.doc, place.turn)
        )[0][0]
        if live == LIVE:
            return ""
        return f"This turn is on an {BRANCHES[live]} branch: the conversation went on without it."

    def _place_lines(self, place: TranscriptPlace, start: int, end: int) -> tuple[list[str], int]:
        """Return the lines `start` to `end` of a place, and how many it has."""
        if place.turn is not None:
            lines = (
                self.place_text(place).removesuffix("\n" if place.block is None else "").split("\n")
            )
            return lines[start - 1 : end], len(lines)
        snapshot = self.index.corpus.snapshot
        found: list[str] = []
        before = 0
        for path, _, _ in self.text_runs(place.thread):
            run = snapshot.index[path]
            count = snapshot.document_at(run).lines
            low, high = max(1, start - before), min(count, end - before)
            if low <= high:
                begin, stop = snapshot.line_span(run, low, high)
                data = self.index.packed_bytes(begin, stop - begin).decode("utf-8", "replace")
                found += data.removesuffix("\n").split("\n")
            before += count
        return found, before

    def _peek_chars(
        self, place: TranscriptPlace, start: int, end: int, note: str
    ) -> ContextPassage:
        text = self.place_text(place)
        stop = min(end, start + WINDOW_CHARS, len(text))
        after = str(Ref(self.name, place.path, "", CharSpan(stop, min(end, len(text)))))
        return ContextPassage(
            ref=str(Ref(self.name, place.path, "", CharSpan(start, max(start, stop)))),
            text=text[start:stop],
            first_line=None,
            total=text.count("\n") + 1,
            next_ref=after if stop < min(end, len(text)) else "",
            note=note,
        )

    def _peek_long_line(self, place: TranscriptPlace, line: int, note: str) -> ContextPassage:
        """Return the start of a line that is longer than a window, by characters."""
        if place.turn is None:
            for path, _, _ in self.text_runs(place.thread):
                run = self.index.corpus.snapshot.index[path]
                count = self.index.corpus.snapshot.document_at(run).lines
                if line <= count:
                    offset = self.index.corpus.snapshot.line_span(run, line, line)[0]
                    row = self.block_at(offset)
                    place = TranscriptPlace(place.thread, row["n"], row["i"])
                    line = self.body_line(row, offset)
                    break
                line -= count
        text = self.place_text(place)
        at = 0
        for _ in range(line - 1):
            at = text.index("\n", at) + 1
        return self._peek_chars(
            place, at, len(text), f"{note} A line longer than a window.".strip()
        )

    def body_line(self, row: sqlite3.Row, offset: int) -> int:
        """Return which line of a block's text holds a byte of the packed file."""
        return self.index.packed_bytes(row["off"], max(0, offset - row["off"])).count(b"\n") + 1


def is_head(line: str) -> bool:
    """Say whether a line of the packed text is the head of a block."""
    return line.startswith(HEAD_MARK)


def _count_fitting(lines: Sequence[str]) -> int:
    """Return how many of the lines fit into a window."""
    size = 0
    for number, line in enumerate(lines):
        size += len(line) + 1
        if size > WINDOW_CHARS:
            return number
    return len(lines)


def block_turn_rows(
    view: TranscriptView, where: str, values: Sequence[object] = ()
) -> Iterator[sqlite3.Row]:
    """Yield live blocks (or those that `where` says), joined with their turns."""
    yield from view.index.query_rows(
        "SELECT b.*, t.role, t.origin, t.live, t.ts, t.segment, t.cwd, t.model FROM blocks b "
        f"JOIN turns t ON t.doc=b.doc AND t.n=b.n WHERE {where} ORDER BY b.doc, b.n, b.i",
        values,
    )
