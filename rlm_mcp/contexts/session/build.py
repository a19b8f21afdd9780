"""Turn a reader's events into the index: numbered turns, blocks with places, and their text.

Everything is written in one transaction of the index; the text goes to the end of the packed
file, which nobody reads beyond the size that the transaction states.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from rlm_mcp.contexts.session.clean import clean, suspects
from rlm_mcp.contexts.session.tree import Tree, Trunk
from rlm_mcp.contexts.session.turns import (
    ABANDONED,
    LIVE,
    SUPERSEDED,
    Block,
    Event,
    Meta,
    Odd,
    Piece,
    Result,
    Rewind,
)
from rlm_mcp.redact import redact

if TYPE_CHECKING:
    from rlm_mcp.corpus.text import Writer

MARK = "\u258c"
"""Starts the line above each block in the packed text; a line of a transcript never does."""
_MARK = MARK.encode()

TURN = """INSERT OR REPLACE INTO turns (doc, n, native, parent, segment, live, role, origin, ts,
 model, cwd, input, cache_read, cache_write, output, usage_key)
 VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"""
BLOCK = """INSERT INTO blocks (doc, n, i, type, name, kind, call, status, exit, arg,
 data, note, start, end, part, pointer, spill, head, off, len, lines, sha, copy)
 VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"""
_MOST = 1 << 53
_BATCH = 2_000
_BATCH_BYTES = 2 << 20
_TEXTS = (4, 9, 10, 11)
"""Columns of a block's row that hold words of the transcript."""


@dataclass(slots=True)
class State:
    """What one thread's building remembers between runs; plain JSON."""

    trunk: Trunk = field(default_factory=Trunk)
    turns: int = 0
    group: str = ""
    group_turn: int = 0
    reader: dict[str, Any] = field(default_factory=dict)
    """What the reader remembers."""
    facts: dict[str, str] = field(default_factory=dict)
    cwds: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    odd: dict[str, dict[str, int]] = field(default_factory=dict)
    first: str = ""
    last: str = ""

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> State:
        values = json.loads(text)
        values["trunk"] = Trunk(**values["trunk"])
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


class Builder:
    """Takes the events of one thread."""

    def __init__(
        self,
        db: sqlite3.Connection,
        doc: int,
        name: str,
        writer: Writer,
        state: State,
        spilled: Callable[[str], str | None],
    ) -> None:
        self._db, self._doc, self._writer, self._spilled = db, doc, writer, spilled
        self._label = f"{name}#" if name else "#"
        self.state = state
        older = state.turns > 0
        self._older = older
        self._tree = Tree(db, doc, state.trunk, older=older, settle=self.flush)
        self._turns: dict[int, list[Any]] = {}
        self._blocks: list[list[Any]] = []
        self._heads: list[bytes] = []
        self._bodies: list[bytes] = []
        self._waiting = 0
        self._sizes: dict[int, int] = {}
        self._calls: dict[str, tuple[int, str, str]] = {}

    @property
    def changed(self) -> int | None:
        """Where the first block stands whose turn changed its branch, None where none did."""
        if not self._tree.changed:
            return None
        row = self._db.execute(
            "SELECT min(head) FROM blocks WHERE doc=? AND n>=?", (self._doc, self._tree.changed)
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def take(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, Piece):
            self._piece(event)
        elif isinstance(event, Odd):
            kinds = self.state.odd.setdefault(event.kind, {})
            kinds[event.name] = kinds.get(event.name, 0) + 1
        elif isinstance(event, Meta):
            self.state.facts[event.key] = _plain(redact(event.value))
        elif isinstance(event, Rewind):
            self._rewind(event)
        else:
            self._outcome(event)

    def finish(self) -> State:
        self.flush()
        return self.state

    def _piece(self, piece: Piece) -> None:
        if self._tree.seen(piece.native):
            self.take(Odd("repeated"))
            return
        self._see(piece)
        rest = []
        turn = 0
        for part, block in enumerate(piece.blocks):
            home = self._calls.get(block.call) if block.type == "result" else None
            if home is None and block.type == "result":
                home = self._older_call(block.call)
            if home is None:
                rest.append((part, block))
                continue
            turn, block.name, kind = home
            block.kind = kind  # type: ignore[assignment]
            self._write(turn, block, piece, part)
        if not rest:
            if piece.usage is not None and self.state.group_turn:
                self._usage(self.state.group_turn, piece)
            if turn:
                self._tree.note(piece.native, turn)
            else:
                self._tree.carry(piece)
            return
        turn = self._turn_for(piece, rest)
        for part, block in rest:
            if block.type == "result" and block.call in self._calls:
                _, block.name, kind = self._calls[block.call]
                block.kind = kind  # type: ignore[assignment]
            self._write(turn, block, piece, part)
            if block.type == "call" and block.call:
                self._calls[block.call] = (turn, block.name, block.kind)

    def _turn_for(self, piece: Piece, rest: Iterable[tuple[int, Block]]) -> int:
        state = self.state
        if piece.group and piece.group == state.group and state.group_turn:
            turn = state.group_turn
            self._tree.note(piece.native, turn)
            self._usage(turn, piece)
            return turn
        if all(block.type == "result" for _, block in rest) and state.trunk.leaf:
            self._tree.note(piece.native, state.trunk.leaf)
            return state.trunk.leaf  # results whose calls were never written down
        turn = state.turns + 1
        parent = self._tree.place(piece, turn)
        state.turns = turn
        if piece.role == "assistant" or piece.origin != "harness":
            state.group, state.group_turn = piece.group, turn
        self._turns[turn] = [
            self._doc, turn, piece.native, parent, state.trunk.segment, LIVE, piece.role,
            piece.origin, piece.ts, piece.model, piece.cwd, 0, 0, 0, 0, "",
        ]  # fmt: skip
        self._tree.note(piece.native, turn)
        self._usage(turn, piece)
        return turn

    def _usage(self, turn: int, piece: Piece) -> None:
        """Set the turn's usage: one reply's records repeat it, the last one stands."""
        if piece.usage is None:
            return
        row = self._row(turn)
        if row is not None:
            used = piece.usage
            row[11:] = [
                used.input, used.cache_read, used.cache_write, used.output, piece.usage_key,
            ]  # fmt: skip

    def _row(self, turn: int) -> list[Any] | None:
        row = self._turns.get(turn)
        if row is None:
            found = self._db.execute(
                "SELECT * FROM turns WHERE doc=? AND n=?", (self._doc, turn)
            ).fetchone()
            if found is None:
                return None
            row = self._turns[turn] = list(found)
        return row

    def _write(self, turn: int, block: Block, piece: Piece, part: int) -> None:
        number = self._size(turn) + 1
        self._sizes[turn] = number
        text, spill = block.text, ""
        if block.spill:
            whole = self._spilled(block.spill)
            if whole is None:
                block.note = "; ".join(filter(None, (block.note, "the saved output is missing")))
            else:
                text, spill = whole, block.spill
        raw = text.encode("utf-8", "surrogatepass")
        head = self._head(turn, number, block, piece).encode("utf-8", "replace")
        self._heads.append(head)
        self._bodies.append(raw)
        self._waiting += len(raw)
        self._blocks.append([
            self._doc, turn, number, block.type, block.name, block.kind, block.call,
            block.status, block.exit_code, block.arg[:4_000], _data(block), block.note,
            piece.start, piece.end, part, piece.pointer, spill, 0, 0, 0, 0,
            digest(raw), 0,
        ])  # fmt: skip
        if len(self._blocks) >= _BATCH or self._waiting > _BATCH_BYTES:
            self.flush()

    def _head(self, turn: int, number: int, block: Block, piece: Piece) -> str:
        ref = f"{MARK}{self._label}{turn}.{number}"
        if block.type == "text":
            who = piece.role if piece.origin in ("human", "agent") else piece.origin
            return f"{ref} {who} {piece.ts[:19]}\n" if piece.role == "user" else f"{ref} {who}\n"
        code = f"exit={block.exit_code}" if block.exit_code is not None else ""
        words = (ref, block.type, block.name, block.status, code, block.note)
        return " ".join(filter(None, words)).replace("\n", " ")[:400] + "\n"

    def _pack(self) -> None:
        """Clean the waiting texts and append them; then the heads once more, together.

        Matches in the copies are no matches in the text: a search takes them off its total.
        """
        rows, heads, bodies, writer = self._blocks, self._heads, self._bodies, self._writer
        for at in suspects([head + body for head, body in zip(heads, bodies, strict=True)]):
            whole = heads[at] + bodies[at]
            if clean(whole) == whole:
                continue  # the columns hold nothing that the text has not
            heads[at] = clean(heads[at])
            bodies[at] = clean(bodies[at])
            for column in _TEXTS:
                rows[at][column] = redact(rows[at][column])
        for row, head, body in zip(rows, heads, bodies, strict=True):
            if _MARK in body:
                body = (b"\n" + body).replace(b"\n" + _MARK, b"\n " + _MARK)[1:]
            place = writer.end
            writer.add(b"%b%b\n" % (head, body))
            row[17:21] = [place, place + len(head), len(body), body.count(b"\n") + 1]
        place = writer.end
        for row, head in zip(rows, heads, strict=True):
            row[22] = place
            place += len(head)
        if heads:
            writer.add(b"".join(heads))
        heads.clear()
        bodies.clear()
        self._waiting = 0

    def _size(self, turn: int) -> int:
        size = self._sizes.get(turn)
        if size is None:
            size = 0
            if self._older or turn != self.state.turns:
                row = self._db.execute(
                    "SELECT max(i) FROM blocks WHERE doc=? AND n=?", (self._doc, turn)
                ).fetchone()
                size = row[0] or 0
        return size

    def _older_call(self, call: str) -> tuple[int, str, str] | None:
        if not (call and self._older):
            return None
        row = self._db.execute(
            "SELECT n, name, kind FROM blocks WHERE call=? AND doc=? AND type='call'",
            (call, self._doc),
        ).fetchone()
        return tuple(row) if row else None

    def _outcome(self, event: Result) -> None:
        """Change the outcome of a call's result that is already there."""
        self.flush()
        self._db.execute(
            "UPDATE blocks SET status=?, exit=coalesce(?, exit) "
            "WHERE doc=? AND call=? AND type='result'",
            (event.status, event.exit_code, self._doc, event.call),
        )

    def _rewind(self, event: Rewind) -> None:
        branch = SUPERSEDED if event.superseded else ABANDONED
        if event.prompts:
            self.flush()
            rows = self._db.execute(
                "SELECT n FROM turns WHERE doc=? AND live=? AND origin='human' AND role='user' "
                "ORDER BY n DESC LIMIT ?",
                (self._doc, LIVE, event.prompts),
            ).fetchall()
            turn = rows[-1][0] - 1 if rows else None
        elif event.native:
            turn = self._tree.turn_of(event.native)
            if turn is not None and event.inclusive:
                turn -= 1
        else:
            turn = 0
        if turn is not None:
            self._tree.rewind(turn, branch)
            self.state.group = ""

    def _see(self, piece: Piece) -> None:
        state = self.state
        piece.ts, piece.cwd, piece.model = (
            _plain(text) for text in (piece.ts[:40], piece.cwd, piece.model)
        )
        if piece.ts:
            state.first = state.first or piece.ts
            state.last = max(state.last, piece.ts)
        if piece.cwd and (not state.cwds or piece.cwd != state.cwds[-1]):
            if piece.cwd in state.cwds:
                state.cwds.remove(piece.cwd)
            state.cwds.append(piece.cwd)
        if piece.model and piece.model not in state.models:
            state.models.append(piece.model)

    def flush(self) -> None:
        """Write the rows that are waiting, and forget what is not needed for the next ones."""
        self._pack()
        self._db.executemany(TURN, map(_storable, self._turns.values()))
        self._db.executemany(BLOCK, map(_storable, self._blocks))
        self._turns.clear()
        self._blocks.clear()
        self._tree.flush()
        if len(self._calls) > 10_000:
            self._calls = dict(list(self._calls.items())[-1_000:])
            self._older = True
        if len(self._sizes) > 10_000:
            self._sizes = dict(list(self._sizes.items())[-1_000:])


def _storable(row: list[Any]) -> list[Any]:
    """Return a row as SQLite takes it: no lone surrogates, no number beyond 53 bits."""
    return [
        _plain(value)
        if isinstance(value, str)
        else max(-_MOST, min(value, _MOST))
        if isinstance(value, int) and not -_MOST <= value <= _MOST
        else value
        for value in row
    ]


def _plain(text: str) -> str:
    """Return a text without lone surrogates, which no file and no database takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def digest(text: str | bytes) -> str:
    """Return the digest by which a stale citation is told."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return sha256(raw).hexdigest()[:8]


def _data(block: Block) -> str:
    """Return a block's plan or file operations as JSON."""
    if block.plan is not None:
        return json.dumps(
            [[item.text, item.status, item.key] for item in block.plan], ensure_ascii=False
        )
    if block.ops:
        return json.dumps([[op.path, op.op] for op in block.ops], ensure_ascii=False)
    return ""


def total(states: Iterable[State], kind: str) -> Counter[str]:
    """Return how often each thing of a kind was met, over all threads."""
    counts: Counter[str] = Counter()
    for state in states:
        counts.update(state.odd.get(kind, {}))
    return counts
