"""Keep the tree of a session's turns: which are live, which were rewound or replaced.

A turn's parent is the turn that held the message before it. Only prompts and replies can fork;
notices never do. A compaction starts a new segment and abandons nothing: what it summarised was
done, and stays live.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from rlm_mcp.contexts.session.turns import ABANDONED, LIVE, SUPERSEDED, Piece


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
    kept: list[int] = field(default_factory=list)
    """Messages that stayed in the window after the last compaction."""


REMEMBERED = 60_000
"""Messages that are held in memory."""
FILTER_BYTES = 1 << 22


def _bits(key: int) -> tuple[int, int]:
    return key % (FILTER_BYTES * 8), (key >> 31) % (FILTER_BYTES * 8)


def number(native: str) -> int:
    """Return a native id as a 63-bit number."""
    return int.from_bytes(blake2b(native.encode("utf-8", "replace"), digest_size=8).digest()) >> 1


class Tree:
    """The tree of one thread, kept in the tables `nodes` and `turns` of its index."""

    def __init__(
        self,
        db: sqlite3.Connection,
        doc: int,
        trunk: Trunk,
        *,
        older: bool,
        settle: Callable[[], None],
    ) -> None:
        self._db = db
        self._doc = doc
        self._settle = settle
        """Writes the turns that are not in the table yet."""
        self._older = older
        """Whether nodes of earlier runs have to be looked up."""
        self._known: dict[int, int] = {}
        self._dropped = bytearray()
        """A Bloom filter of the messages that are only in the table; empty while there are none."""
        self._new: list[tuple[int, int, int]] = []
        self._kept: set[int] = set(trunk.kept)
        """Messages that stayed in the window after the last compaction, or were listed again."""
        self._last = ("", 0)
        """The last native id that was looked at, with its number."""
        self.trunk = trunk
        self.changed = 0
        """The first turn that changed its branch; 0 where none did."""

    def seen(self, native: str) -> bool:
        """Say whether a message was read before; a repeated one may be a parent again."""
        if not native:
            return False
        key = self._number(native)
        if self._turn(key) is None:
            return False
        self._kept.add(key)
        return True

    def note(self, native: str, turn: int) -> None:
        """Remember that a message is (part of) a turn."""
        if native:
            key = self._number(native)
            self._known[key] = turn
            self._new.append((self._doc, key, turn))
            self.trunk.last = key

    def carry(self, piece: Piece) -> None:
        """Remember a message that makes no turn of its own and only carries the chain on."""
        self.note(piece.native, self._parent(piece, self.trunk.leaf))

    def place(self, piece: Piece, turn: int) -> int:
        """Return the parent of a new turn, after setting the branches of those before it."""
        trunk = self.trunk
        if piece.boundary or (piece.origin == "compaction" and trunk.boundary != trunk.leaf):
            self._kept = {number(native) for native in piece.keeps}
            parent, trunk.leaf = trunk.leaf, turn
            trunk.segment += 1
            trunk.boundary = turn
            return parent
        forks = piece.role != "system" and piece.origin != "harness"
        parent = self._parent(piece, trunk.leaf)
        if piece.parent is None and trunk.linked and piece.origin == "human" and forks:
            parent = 0  # a stated root after others: rewound to the very start
        if parent == trunk.leaf:
            trunk.leaf = turn
        elif forks:
            self._fork(parent, turn)
            trunk.leaf = turn
        if piece.parent:
            trunk.linked = True
        return parent

    def rewind(self, turn: int, branch: int) -> None:
        """Take every turn after `turn` off the live path."""
        self._settle()
        self._note_change(turn + 1)
        self._db.execute(
            "UPDATE turns SET live=? WHERE doc=? AND n>? AND live=?",
            (branch, self._doc, turn, LIVE),
        )
        self.trunk.leaf = turn

    def turn_of(self, native: str) -> int | None:
        return self._turn(number(native))

    def flush(self) -> None:
        """Write what was noted."""
        self.trunk.kept = sorted(self._kept)[:10_000]
        self._db.executemany("INSERT INTO nodes VALUES (?,?,?)", self._new)
        self._new.clear()
        if len(self._known) > REMEMBERED:
            self._forget()

    def _forget(self) -> None:
        """Leave the older half of the messages to the table: a long session costs no memory."""
        self._dropped = self._dropped or bytearray(FILTER_BYTES)
        for key in list(self._known)[: REMEMBERED // 2]:
            del self._known[key]
            for bit in _bits(key):
                self._dropped[bit >> 3] |= 1 << (bit & 7)

    def _maybe_dropped(self, key: int) -> bool:
        return bool(self._dropped) and all(
            self._dropped[bit >> 3] & 1 << (bit & 7) for bit in _bits(key)
        )

    def _parent(self, piece: Piece, leaf: int) -> int:
        if not piece.parent:
            return leaf
        key = number(piece.parent)
        if key == self.trunk.last and key in self._known:
            return self._known[key]
        if key in self._kept and key != self.trunk.last:
            return leaf
        turn = self._turn(key)
        return leaf if turn is None else turn

    def _number(self, native: str) -> int:
        if native != self._last[0]:
            self._last = (native, number(native))
        return self._last[1]

    def _turn(self, key: int) -> int | None:
        turn = self._known.get(key)
        if turn is None and (self._older or self._maybe_dropped(key)):
            row = self._db.execute(
                "SELECT turn FROM nodes WHERE doc=? AND uid=?", (self._doc, key)
            ).fetchone()
            turn = row[0] if row else None
        return turn

    def _fork(self, parent: int, turn: int) -> None:
        """Make `parent` the end of the live path: what came after it is abandoned."""
        self._settle()
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
            self._reopen(parent)

    def _note_change(self, turn: int) -> None:
        self.changed = min(self.changed or turn, turn)

    def _reopen(self, parent: int) -> None:
        """Go back before a compaction: its segment is the one that goes on."""
        row = self._db.execute(
            "SELECT segment FROM turns WHERE doc=? AND n=?", (self._doc, parent)
        ).fetchone()
        if row:
            self.trunk.segment = row[0]
