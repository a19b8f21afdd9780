"""Windows into a session's packed text: threads, turns, blocks, lines, and what lies where.

A thread's text is that of its live turns, in the order in which they were written; every block
stands under one head line. Turns that were rewound or replaced are read by their own refs only.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from rlm_mcp.contexts.session.filing import MARK
from rlm_mcp.contexts.session.index import Index
from rlm_mcp.contexts.session.kept import Kept
from rlm_mcp.contexts.session.turns import BRANCHES, LIVE
from rlm_mcp.contexts.variable import Passage
from rlm_mcp.counts import counted
from rlm_mcp.errors import BadRequest, did_you_mean
from rlm_mcp.refs import Block, Chars, Lines, Ref

T = TypeVar("T")

WINDOW = 60_000
"""Characters that one window may have; the rest is behind its `next_ref`."""
INLINE = 40
"""Lines up to which a block is cited whole."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_PART = re.compile(r"(.*)/([0-9]{1,9})(?:\.([0-9]{1,6}))?\Z")


@dataclass(frozen=True, slots=True)
class Thread:
    """The conversation itself, or a subagent's."""

    doc: int
    name: str
    """As refs call it: the session's id, or agent-…"""
    call: str = ""
    raw: str = ""
    """As the index calls it; "" is the main thread."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a ref names inside the session."""

    thread: Thread
    turn: int | None = None
    block: int | None = None

    @property
    def path(self) -> str:
        """The path of this place in a ref that goes on with lines or characters."""
        if self.turn is None:
            return self.thread.name
        part = f"{self.turn}" if self.block is None else f"{self.turn}.{self.block}"
        return f"{self.thread.name}/{part}"


class View:
    """Reads an index by refs. Holds no text itself."""

    def __init__(self, index: Index, name: str, native: str) -> None:
        self.index, self.name, self.id = index, name, native
        self._known: dict[Hashable, object] = {}
        self.kept = Kept(index)
        self._state = -1

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` gives, made once for each state of the session."""
        with self.kept.lock:
            state = self.index.corpus.generation
            if state != self._state:
                self._known.clear()
                self._state = state
            if key not in self._known:
                self._known[key] = make()
            return cast(T, self._known[key])

    def threads(self) -> list[Thread]:
        """Return the main thread and those of subagents."""
        return self.once("threads", self._threads)

    def _threads(self) -> list[Thread]:
        rows = self.index.rows("SELECT doc, name, call FROM docs ORDER BY doc")
        return [
            Thread(
                row["doc"], _UNSAFE.sub("-", row["name"])[:80] or self.id, row["call"], row["name"]
            )
            for row in rows
        ]

    def places(self, ref: Ref) -> list[Place]:
        """Return what a ref names; a ref without a path is the main thread."""
        threads = self.threads()
        turn = block = None
        path = ref.path.removesuffix("/")
        if path in ("*", "**"):
            return [Place(thread) for thread in threads]
        if match := _PART.match(path):
            path, turn = match[1], int(match[2])
            block = int(match[3]) if match[3] else None
        if isinstance(ref.span, Block):
            turn, block = ref.span.turn, ref.span.block
        known = {thread.name: thread for thread in threads}
        thread = known[self.id] if not path else known.get(path) or self._begins(path, known)
        place = Place(thread, turn, block)
        if turn is not None:
            self.blocks(place)
        return [place]

    def blocks(self, place: Place) -> list[sqlite3.Row]:
        """Return the rows of a turn's blocks, or of one; BadRequest where there is none."""
        assert place.turn is not None
        rows = self.index.rows(
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
            last = self.index.rows("SELECT max(n) FROM turns WHERE doc=?", (place.thread.doc,))
            raise BadRequest(
                f"{place.thread.name} has turns 1 to {last[0][0] or 0}, not {place.turn}."
            )
        return rows

    def spans(self, place: Place) -> list[tuple[int, int]]:
        """Return (offset, length) of a place's text in the packed file, in reading order."""
        if place.turn is None:
            return [(start, length) for _, start, length in self.runs(place.thread)]
        rows = self.blocks(place)
        if place.block is not None:
            return [(rows[0]["off"], rows[0]["len"])]
        return [(row["head"], row["off"] - row["head"] + row["len"] + 1) for row in rows]

    def runs(self, thread: Thread, branch: int = LIVE) -> list[tuple[str, int, int]]:
        """Return (path in the corpus, offset, length) of a thread's text."""
        rows = self.index.rows(
            "SELECT path, start, len FROM runs WHERE path LIKE ? ORDER BY path",
            (f"text/{thread.doc:06}/{branch}/%",),
        )
        return [(row["path"], row["start"], row["len"]) for row in rows]

    def ref(self, row: sqlite3.Row, line: int | None = None) -> str:
        """Return the ref of a block, or of a line in a long one."""
        thread = self.id
        if row["doc"] != 1:
            thread = next(t.name for t in self.threads() if t.doc == row["doc"])
        if line is not None and row["lines"] > INLINE:
            return f"{self.name}:{thread}/{row['n']}.{row['i']}#L{line}"
        return f"{self.name}:{thread}#{row['n']}.{row['i']}"

    def block_at(self, offset: int) -> sqlite3.Row:
        """Return the block that a byte of the packed text belongs to."""
        return self.index.rows(
            "SELECT * FROM blocks WHERE head<=? ORDER BY head DESC LIMIT 1", (offset,)
        )[0]

    def body(self, row: sqlite3.Row) -> str:
        """Return a block's text."""
        return self.index.read(row["off"], row["len"]).decode("utf-8", "replace")

    def whole(self, place: Place) -> str:
        """Return all text of a place."""
        parts = [self.index.read(start, length) for start, length in self.spans(place)]
        return b"".join(parts).decode("utf-8", "replace")

    def text(self, ref: Ref) -> str:
        """Return the whole text of a ref."""
        places = self.places(ref)
        if isinstance(ref.span, Lines):
            return "\n".join(self._lines(places[0], ref.span.start, ref.span.end)[0])
        if isinstance(ref.span, Chars):
            return self.whole(places[0])[ref.span.start : ref.span.end]
        if len(places) == 1 and places[0].block is not None:
            return self.whole(places[0])
        return "\n".join(self.whole(place).removesuffix("\n") for place in places)

    def read(self, ref: Ref, limit: int) -> Passage:
        """Return a window of at most `limit` lines."""
        place = self.places(ref)[0]
        note = self._note(place)
        limit = max(1, limit)
        if isinstance(ref.span, Chars):
            return self._chars(place, ref.span.start, ref.span.end, note)
        start = ref.span.start if isinstance(ref.span, Lines) else 1
        stop = ref.span.end if isinstance(ref.span, Lines) else 1 << 60
        lines, total = self._lines(place, start, min(stop, start + limit - 1))
        if not lines and start > 1:
            raise BadRequest(f"{ref} is past the end: {place.path} has {counted(total, 'line')}.")
        kept = _fitting(lines)
        if kept == 0 and lines:
            return self._long_line(place, start, note)
        end = start + kept - 1
        whole = place.turn is not None and kept == total
        span = Block(place.turn or 0, place.block) if whole else Lines(start, max(start, end))
        path = place.thread.name if whole else place.path
        more = end < min(stop, total)
        return Passage(
            ref=str(Ref(self.name, path, "", span)),
            text="\n".join(lines[:kept]),
            first_line=None if whole else start,
            total=total,
            next_ref=str(Ref(self.name, place.path, "", Lines(end + 1, min(stop, total))))
            if more
            else "",
            note=note,
        )

    def line_of(self, thread: Thread, offset: int) -> int:
        """Return the line of a thread's text that holds a byte of the packed file."""
        snapshot = self.index.corpus.snapshot
        before = 0
        for path, start, length in self.runs(thread):
            place = snapshot.index[path]
            if start <= offset < start + length:
                return before + snapshot.line_of(place, offset)
            before += snapshot.document(place).lines
        raise BadRequest("This turn is not on the live branch.")

    def _begins(self, path: str, known: dict[str, Thread]) -> Thread:
        """Return the thread whose name begins with `path`: ids may be shortened or written out."""
        close = [t for name, t in known.items() if name.startswith(path) or path.startswith(name)]
        if len(close) != 1:
            hint = did_you_mean(path, known)
            raise BadRequest(f"{self.name} holds no thread {path!r}.{hint}")
        return close[0]

    def _note(self, place: Place) -> str:
        if place.turn is None:
            return ""
        live = self.index.rows(
            "SELECT live FROM turns WHERE doc=? AND n=?", (place.thread.doc, place.turn)
        )[0][0]
        if live == LIVE:
            return ""
        return f"This turn is on an {BRANCHES[live]} branch: the conversation went on without it."

    def _lines(self, place: Place, start: int, end: int) -> tuple[list[str], int]:
        """Return the lines `start` to `end` of a place, and how many it has."""
        if place.turn is not None:
            lines = self.whole(place).removesuffix("\n" if place.block is None else "").split("\n")
            return lines[start - 1 : end], len(lines)
        snapshot = self.index.corpus.snapshot
        found: list[str] = []
        before = 0
        for path, _, _ in self.runs(place.thread):
            run = snapshot.index[path]
            count = snapshot.document(run).lines
            low, high = max(1, start - before), min(count, end - before)
            if low <= high:
                begin, stop = snapshot.line_span(run, low, high)
                data = self.index.read(begin, stop - begin).decode("utf-8", "replace")
                found += data.removesuffix("\n").split("\n")
            before += count
        return found, before

    def _chars(self, place: Place, start: int, end: int, note: str) -> Passage:
        text = self.whole(place)
        stop = min(end, start + WINDOW, len(text))
        after = str(Ref(self.name, place.path, "", Chars(stop, min(end, len(text)))))
        return Passage(
            ref=str(Ref(self.name, place.path, "", Chars(start, max(start, stop)))),
            text=text[start:stop],
            first_line=None,
            total=text.count("\n") + 1,
            next_ref=after if stop < min(end, len(text)) else "",
            note=note,
        )

    def _long_line(self, place: Place, line: int, note: str) -> Passage:
        """Return the start of a line that is longer than a window, by characters."""
        if place.turn is None:
            for path, _, _ in self.runs(place.thread):
                run = self.index.corpus.snapshot.index[path]
                count = self.index.corpus.snapshot.document(run).lines
                if line <= count:
                    offset = self.index.corpus.snapshot.line_span(run, line, line)[0]
                    row = self.block_at(offset)
                    place = Place(place.thread, row["n"], row["i"])
                    line = self.body_line(row, offset)
                    break
                line -= count
        text = self.whole(place)
        at = 0
        for _ in range(line - 1):
            at = text.index("\n", at) + 1
        return self._chars(place, at, len(text), f"{note} A line longer than a window.".strip())

    def body_line(self, row: sqlite3.Row, offset: int) -> int:
        """Return which line of a block's text holds a byte of the packed file."""
        return self.index.read(row["off"], max(0, offset - row["off"])).count(b"\n") + 1


def is_head(line: str) -> bool:
    """Say whether a line of the packed text is the head of a block."""
    return line.startswith(MARK)


def _fitting(lines: Sequence[str]) -> int:
    """Return how many of the lines fit into a window."""
    size = 0
    for number, line in enumerate(lines):
        size += len(line) + 1
        if size > WINDOW:
            return number
    return len(lines)


def rows_of(view: View, where: str, values: Sequence[object] = ()) -> Iterator[sqlite3.Row]:
    """Yield live blocks (or those that `where` says), joined with their turns."""
    yield from view.index.rows(
        "SELECT b.*, t.role, t.origin, t.live, t.ts, t.segment, t.cwd, t.model FROM blocks b "
        f"JOIN turns t ON t.doc=b.doc AND t.n=b.n WHERE {where} ORDER BY b.doc, b.n, b.i",
        values,
    )
