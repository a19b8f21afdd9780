"""What follows from single blocks of a session, found once, however often the session grows.

A block never changes once it is written; only the branch of its turn may. So what a block gives is
kept with its place, and each call looks at new blocks alone. Blocks that give nothing cost no
memory. A text that was written anew is read anew.
"""

from __future__ import annotations

import sqlite3
import threading
from array import array
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from rlm_mcp.contexts.session.index import Index
from rlm_mcp.contexts.session.turns import LIVE

T = TypeVar("T")

PAGE = 2_000
"""Blocks that are looked at in one go; between two pages others may use the index."""

_BITS = 24

_COLUMNS = "b.*, t.role, t.origin, t.ts, t.segment, t.cwd, t.model"

_PAGE = (
    "SELECT b.n, b.i, {columns} FROM blocks b NOT INDEXED "
    "CROSS JOIN turns t WHERE b.head>=? AND b.head<? AND b.doc=? AND t.doc=b.doc AND t.n=b.n "
    "AND {where} ORDER BY b.head"
)


@dataclass(slots=True)
class _Found:
    """What the blocks before `end` gave: values in order, with the place of each."""

    end: int = 0
    places: array[int] = field(default_factory=lambda: array("q"))
    """The turn, and in the lower 24 bits the number of the block in it."""
    values: list[object] = field(default_factory=list)

    def add(self, places: Sequence[int], values: Sequence[object]) -> None:
        """Add values; a result may come behind later turns."""
        joint = [*self.places[-1:], *places]
        self.places.extend(places)
        self.values += values
        if joint != sorted(joint):
            order = sorted(range(len(self.places)), key=self.places.__getitem__)
            self.places = array("q", [self.places[at] for at in order])
            self.values = [self.values[at] for at in order]


class Kept:
    """Keeps it for one index. Safe from several threads."""

    def __init__(self, index: Index) -> None:
        self.lock = threading.RLock()
        """Held while something is made, so that nothing is made twice; taken before the index's."""
        self._index = index
        self._found: dict[Hashable, _Found] = {}
        self._text = ""
        self._off: dict[int, tuple[int, set[int]]] = {}

    def of(
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
            found = self._grown((key, doc), columns, where, make, doc)
            off = self._off_live(doc)
            values = cast("list[T]", found.values)
            if not off:
                return values[:] if live else []
            pairs = zip(found.places, values, strict=True)
            return [value for place, value in pairs if (place >> _BITS not in off) is live]

    def _grown(
        self,
        key: Hashable,
        columns: str,
        where: str,
        make: Callable[[sqlite3.Row], Iterable[T]],
        doc: int,
    ) -> _Found:
        """Return what is known under a key after looking at the blocks that are new."""
        while True:
            table = self._index.corpus.snapshot.table
            if table.text_id != self._text:
                self._found.clear()
                self._text = table.text_id
            found = self._found.setdefault(key, _Found())
            if found.end >= table.text_bytes:
                return found
            end = self._page_end(found.end, table.text_bytes)
            query = _PAGE.format(columns=columns, where=where)
            rows = self._index.rows(query, (found.end, end, doc))
            places: list[int] = []
            values: list[object] = []
            for row in rows:
                for value in make(row):
                    places.append(row["n"] << _BITS | row["i"])
                    values.append(value)
            if self._index.corpus.snapshot.table.text_id != self._text:
                continue  # the rows and their text may be of two states
            found.add(places, values)
            found.end = end

    def _page_end(self, start: int, stop: int) -> int:
        """Return where the page of blocks that begins at `start` ends."""
        rows = self._index.rows(
            "SELECT head FROM blocks WHERE head>=? ORDER BY head LIMIT 1 OFFSET ?", (start, PAGE)
        )
        return min(int(rows[0]["head"]), stop) if rows else stop

    def _off_live(self, doc: int) -> set[int]:
        """Return the turns of a thread that are not on the live branch."""
        state = self._index.corpus.generation
        known = self._off.get(doc)
        if known is None or known[0] != state:
            query = f"SELECT n FROM turns WHERE doc=? AND live!={LIVE}"
            known = self._off[doc] = (state, {row["n"] for row in self._index.rows(query, (doc,))})
        return known[1]
