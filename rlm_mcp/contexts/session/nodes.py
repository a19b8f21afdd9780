"""Which turn each message of a thread became: sorted runs of 64-bit numbers.

The newest messages are in a dictionary; the others lie in a few sorted arrays, 12 bytes a message,
kept as one row each. A run is merged with the one before it while that one is not much longer, so
that a thousand appends leave a dozen runs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

_TURN = 31
_MASK = (1 << _TURN) - 1
"""The lower bits of a message and its turn in one number, which takes a third of the memory."""

RECENT = 20_000
"""Messages in the dictionary above which it becomes a run."""


def number(native: str) -> int:
    """Return a native id as a 63-bit number."""
    return int.from_bytes(blake2b(native.encode("utf-8", "replace"), digest_size=8).digest()) >> 1


class Nodes:
    """The messages of one thread, by number."""

    def __init__(self, db: sqlite3.Connection, doc: int) -> None:
        self._db, self._doc = db, doc
        self._recent: dict[int, int] = {}
        self._runs: list[tuple[array[int], array[int]]] = []
        self._kept = 0
        """How many of the runs the table holds as they are."""
        rows = db.execute("SELECT uids, turns FROM nodes WHERE doc=? ORDER BY run", (doc,))
        for uids, turns in rows:
            self._runs.append((array("q", uids), array("i", turns)))
        self._kept = len(self._runs)

    def __setitem__(self, key: int, turn: int) -> None:
        self._recent[key] = turn

    def get(self, key: int) -> int | None:
        """Return the turn that a message is (part of); None where it was never met."""
        turn = self._recent.get(key)
        if turn is not None or not self._runs:
            return turn
        for uids, turns in reversed(self._runs):
            place = bisect_left(uids, key)
            if place < len(uids) and uids[place] == key:
                return turns[place]
        return None

    def trim(self) -> None:
        """Make a run of the newest messages where they have become many."""
        if len(self._recent) >= RECENT:
            self._settle()

    def save(self) -> None:
        """Write what is not in the table yet."""
        if self._recent:
            self._settle()
        self._db.execute("DELETE FROM nodes WHERE doc=? AND run>=?", (self._doc, self._kept))
        fresh = enumerate(self._runs[self._kept :], self._kept)
        self._db.executemany(
            "INSERT INTO nodes (doc, run, uids, turns) VALUES (?,?,?,?)",
            ((self._doc, run, uids.tobytes(), turns.tobytes()) for run, (uids, turns) in fresh),
        )
        self._kept = len(self._runs)

    def _settle(self) -> None:
        joint = [(key << _TURN) | turn for key, turn in self._recent.items()]
        self._recent = {}
        while self._runs and len(self._runs[-1][0]) <= 2 * len(joint):
            # The newer turn of a message stands; a run has each message once.
            known = set(map(_TURN.__rrshift__, joint))
            joint += [
                (key << _TURN) | turn
                for key, turn in zip(*self._runs.pop(), strict=True)
                if key not in known
            ]
        joint.sort()
        keys = array("q", map(_TURN.__rrshift__, joint))
        self._runs.append((keys, array("i", map(_MASK.__and__, joint))))
        self._kept = min(self._kept, len(self._runs) - 1)
