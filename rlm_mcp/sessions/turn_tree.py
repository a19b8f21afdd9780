"""Keep the tree of a session's turns: which are live, which were rewound or replaced.

A turn's parent is the turn that held the message before it. Only prompts and replies can fork;
notices never do. A compaction starts a new segment and abandons nothing: what it summarised was
done, and stays live.
"""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from rlm_mcp.sessions.schema import ABANDONED, LIVE, SUPERSEDED, MessagePiece

if TYPE_CHECKING:
    import sqlite3


_TURN_BITS = 31
_TURN_MASK = (1 << _TURN_BITS) - 1
"""The lower bits of a message and its turn in one number, which takes a third of the memory."""

RECENT_LIMIT = 20_000
"""Messages in the dictionary above which it becomes a run."""


def native_number(native: str) -> int:
    """Return a native id as a 63-bit number."""
    return int.from_bytes(blake2b(native.encode("utf-8", "replace"), digest_size=8).digest()) >> 1


class NativeIdMap:
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

    def compact_recent(self) -> None:
        """Make a run of the newest messages where they have become many."""
        if len(self._recent) >= RECENT_LIMIT:
            self._merge_recent()

    def save_map(self) -> None:
        """Write what is not in the table yet."""
        if self._recent:
            self._merge_recent()
        self._db.execute("DELETE FROM nodes WHERE doc=? AND run>=?", (self._doc, self._kept))
        fresh = enumerate(self._runs[self._kept :], self._kept)
        self._db.executemany(
            "INSERT INTO nodes (doc, run, uids, turns) VALUES (?,?,?,?)",
            ((self._doc, run, uids.tobytes(), turns.tobytes()) for run, (uids, turns) in fresh),
        )
        self._kept = len(self._runs)

    def _merge_recent(self) -> None:
        joint = [(key << _TURN_BITS) | turn for key, turn in self._recent.items()]
        self._recent = {}
        while self._runs and len(self._runs[-1][0]) <= 2 * len(joint):
            # The newer turn of a message stands; a run has each message once.
            known = set(map(_TURN_BITS.__rrshift__, joint))
            joint += [
                (key << _TURN_BITS) | turn
                for key, turn in zip(*self._runs.pop(), strict=True)
                if key not in known
            ]
        joint.sort()
        keys = array("q", map(_TURN_BITS.__rrshift__, joint))
        self._runs.append((keys, array("i", map(_TURN_MASK.__and__, joint))))
        self._kept = min(self._kept, len(self._runs) - 1)


@dataclass(slots=True)
class Trunk:
    """Where the conversation of one thread stands. Plain JSON, so that reading can go on."""

    leaf: int = 0
    """The newest turn of the live path; 0 before the first."""
    segment: int = 0
    boundary: int = 0
    """The turn of the last compaction."""
    linked: bool = False
    """Whether parents were seen to be stated at all."""
    last: int = 0
    """The last native id, as a number."""
    returns: int = 0
    """How often the conversation went on from a turn that was off the live path."""
    kept: list[int] = field(default_factory=list)
    """Messages that stayed in the window after the last compaction."""


class TurnTree:
    """The tree of one thread, kept in the tables `nodes` and `turns` of its index."""

    def __init__(
        self,
        db: sqlite3.Connection,
        doc: int,
        trunk: Trunk,
        *,
        settle: Callable[[], None],
    ) -> None:
        self._db = db
        self._doc = doc
        self._flush_turns = settle
        """Writes the turns that are not in the table yet."""
        self._ids = NativeIdMap(db, doc)
        self._kept: set[int] = set(trunk.kept)
        """Messages that stayed in the window after the last compaction, or were listed again."""
        self._seen = ("", 0)
        self._noted = ("", 0)
        """The native ids that were looked at and noted last, with their numbers."""
        self.trunk = trunk
        self.changed = 0
        """The first turn that changed its branch; 0 where none did."""

    def was_seen(self, native: str, key: int) -> bool:
        """Say whether a message was read before; a repeated one may be a parent again."""
        if not native:
            return False
        self._seen = (native, key)
        if self._ids.get(key) is None:
            return False
        self._kept.add(key)
        return True

    def note_turn(self, native: str, turn: int) -> None:
        """Remember that a message is (part of) a turn."""
        if native:
            key = self._seen[1] if native == self._seen[0] else native_number(native)
            self._ids[key] = turn
            self._noted = (native, key)
            self.trunk.last = key

    def carry_chain(self, piece: MessagePiece) -> None:
        """Remember a message that makes no turn of its own and only carries the chain on."""
        self.note_turn(piece.native, self._parent_turn(piece, self.trunk.leaf))

    def place_turn(self, piece: MessagePiece, turn: int) -> int:
        """Return the parent of a new turn, after setting the branches of those before it."""
        trunk = self.trunk
        if piece.boundary or (piece.origin == "compaction" and trunk.boundary != trunk.leaf):
            self._kept = {native_number(native) for native in piece.keeps}
            parent, trunk.leaf = trunk.leaf, turn
            trunk.segment += 1
            trunk.boundary = turn
            return parent
        forks = piece.role != "system" and piece.origin != "harness"
        parent = self._parent_turn(piece, trunk.leaf)
        if piece.parent is None and trunk.linked and piece.origin == "human" and forks:
            parent = 0  # a stated root after others: rewound to the very start
        if parent == trunk.leaf:
            trunk.leaf = turn
        elif forks:
            self._fork_at(parent, turn)
            trunk.leaf = turn
        if piece.parent:
            trunk.linked = True
        return parent

    def rewind_to(self, turn: int, branch: int) -> None:
        """Take every turn after `turn` off the live path."""
        self._flush_turns()
        self._note_change(turn + 1)
        self._db.execute(
            "UPDATE turns SET live=? WHERE doc=? AND n>? AND live=?",
            (branch, self._doc, turn, LIVE),
        )
        self.trunk.leaf = turn

    def turn_of(self, native: str) -> int | None:
        return self._ids.get(native_number(native))

    def trim_ids(self) -> None:
        """Hold no more messages loosely than is needed."""
        self._ids.compact_recent()

    def save_ids(self) -> None:
        """Write what was noted."""
        self.trunk.kept = sorted(self._kept)[:10_000]
        self._ids.save_map()

    def _parent_turn(self, piece: MessagePiece, leaf: int) -> int:
        if not piece.parent:
            return leaf
        key = self._noted[1] if piece.parent == self._noted[0] else native_number(piece.parent)
        if key in self._kept and key != self.trunk.last:
            return leaf
        turn = self._ids.get(key)
        return leaf if turn is None else turn

    def _fork_at(self, parent: int, turn: int) -> None:
        """Make `parent` the end of the live path: what came after it is abandoned."""
        self._flush_turns()
        chain = []
        at = parent
        while at:
            row = self._db.execute(
                "SELECT live, parent FROM turns WHERE doc=? AND n=?", (self._doc, at)
            ).fetchone()
            if row is None or row[0] == LIVE or row[1] >= at:
                break
            chain.append(at)
            at = row[1]
        self.trunk.returns += bool(chain)
        self._note_change(at + 1)
        self._db.execute(
            "UPDATE turns SET live=? WHERE doc=? AND n>? AND n<? AND live=?",
            (ABANDONED, self._doc, at, turn, LIVE),
        )
        self._db.executemany(
            "UPDATE turns SET live=? WHERE doc=? AND n=? AND live!=?",
            [(LIVE, self._doc, n, SUPERSEDED) for n in chain],
        )
        if parent and self.trunk.boundary > parent:
            self._reopen_segment(parent)

    def _note_change(self, turn: int) -> None:
        self.changed = min(self.changed or turn, turn)

    def _reopen_segment(self, parent: int) -> None:
        """Go back before a compaction: its segment is the one that goes on."""
        row = self._db.execute(
            "SELECT segment FROM turns WHERE doc=? AND n=?", (self._doc, parent)
        ).fetchone()
        if row:
            self.trunk.segment = row[0]
