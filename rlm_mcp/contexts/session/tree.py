"""Keep the tree of a session's turns: which are live, which were rewound or replaced.

A turn's parent is the turn that held the message before it. Only prompts and replies can fork;
notices never do. A compaction starts a new segment and abandons nothing: what it summarised was
done, and stays live.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from rlm_mcp.contexts.session.nodes import Nodes, number
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
    returns: int = 0
    """How often the conversation went on from a turn that was off the live path."""
    kept: list[int] = field(default_factory=list)
    """Messages that stayed in the window after the last compaction."""


class Tree:
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
        self._settle = settle
        """Writes the turns that are not in the table yet."""
        self._nodes = Nodes(db, doc)
        self._kept: set[int] = set(trunk.kept)
        """Messages that stayed in the window after the last compaction, or were listed again."""
        self._seen = ("", 0)
        self._noted = ("", 0)
        """The native ids that were looked at and noted last, with their numbers."""
        self.trunk = trunk
        self.changed = 0
        """The first turn that changed its branch; 0 where none did."""

    def seen(self, native: str, key: int) -> bool:
        """Say whether a message was read before; a repeated one may be a parent again."""
        if not native:
            return False
        self._seen = (native, key)
        if self._nodes.get(key) is None:
            return False
        self._kept.add(key)
        return True

    def note(self, native: str, turn: int) -> None:
        """Remember that a message is (part of) a turn."""
        if native:
            key = self._seen[1] if native == self._seen[0] else number(native)
            self._nodes[key] = turn
            self._noted = (native, key)
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
        return self._nodes.get(number(native))

    def trim(self) -> None:
        """Hold no more messages loosely than is needed."""
        self._nodes.trim()

    def save(self) -> None:
        """Write what was noted."""
        self.trunk.kept = sorted(self._kept)[:10_000]
        self._nodes.save()

    def _parent(self, piece: Piece, leaf: int) -> int:
        if not piece.parent:
            return leaf
        key = self._noted[1] if piece.parent == self._noted[0] else number(piece.parent)
        if key in self._kept and key != self.trunk.last:
            return leaf
        turn = self._nodes.get(key)
        return leaf if turn is None else turn

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
