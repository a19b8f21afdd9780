"""Turn a reader's events into the index: numbered turns, blocks with places, and their text.

Everything is written in one transaction of the index; the text goes to the end of the packed
file, which nobody reads beyond the size that the transaction states.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from rlm_mcp.encodings import without_surrogates
from rlm_mcp.redact import redact
from rlm_mcp.sessions.schema import (
    ABANDONED,
    HEAD_MARK,
    LIVE,
    SUPERSEDED,
    MessagePiece,
    Rewind,
    SessionMetadata,
    SkippedRecord,
    ToolKind,
)
from rlm_mcp.sessions.turn_tree import Trunk, TurnTree
from rlm_mcp.sessions.writer import (
    BLOCK_COLUMNS,
    EventRows,
    RowWriter,
    TableRow,
    block_digest,
)

_BATCH_BLOCKS = 2_000
_BATCH_BYTES = 2 << 20
_REMEMBERED = 10_000
"""Turns and calls that are remembered; of more, the newest tenth."""
_USAGE_COLUMNS = slice(11, 16)
"""Columns of a turn's row that hold the usage."""
_TYPE, _NAME, _KIND, _CALL, _STATUS, _EXIT, _NOTE, _SPILL, _SHA, _LINES = map(
    BLOCK_COLUMNS.index,
    ["type", "name", "kind", "call", "status", "exit", "note", "spill", "sha", "lines"],
)


@dataclass(slots=True)
class ThreadState:
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

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ThreadState:
        values = json.loads(text)
        values["trunk"] = Trunk(**values["trunk"])
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


class IndexBuilder:
    """Takes the events of one thread."""

    def __init__(
        self,
        db: sqlite3.Connection,
        doc: int,
        name: str,
        filing: RowWriter,
        state: ThreadState,
        spilled: Callable[[str], str | None],
    ) -> None:
        self._db, self._doc, self._filing, self._spilled = db, doc, filing, spilled
        self._label = f"{name}#" if name else "#"
        self.state = state
        self._forgotten = state.turns
        """The last turn of which something may be in the tables alone."""
        self._tree = TurnTree(db, doc, state.trunk, settle=self._flush_all)
        self._turns: dict[int, TableRow] = {}
        self._blocks: list[TableRow] = []
        self._heads: list[bytes] = []
        self._bodies: list[bytes] = []
        self._waiting = 0
        self._sizes: dict[int, int] = {}
        self._tidied = {"": ""}
        self._cwd = self._model = ("", "")
        """The last folder and model, as pieces say them, and as they are stored."""
        self._calls: dict[str, tuple[int, str, ToolKind]] = {}

    @property
    def changed_offset(self) -> int | None:
        """Where the first block stands whose turn changed its branch, None where none did."""
        if not self._tree.changed:
            return None
        row = self._db.execute(
            "SELECT min(head) FROM blocks WHERE doc=? AND n>=?", (self._doc, self._tree.changed)
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def add_event(self, item: EventRows) -> None:
        """Take one event."""
        event, rows, key = item
        if isinstance(event, MessagePiece):
            self._add_piece(event, rows, key)
        elif isinstance(event, SkippedRecord):
            kinds = self.state.odd.setdefault(event.kind, {})
            name = self._redact_word(event.name)
            kinds[name] = kinds.get(name, 0) + 1
        elif isinstance(event, SessionMetadata):
            self.state.facts[event.key] = without_surrogates(redact(event.value))
        else:
            self._apply_rewind(event)

    def finish_thread(self) -> ThreadState:
        """Write everything, and return what to go on from."""
        self._flush_all()
        self._tree.save_ids()
        return self.state

    def _add_piece(self, piece: MessagePiece, rows: Sequence[TableRow], key: int) -> None:
        if self._tree.was_seen(piece.native, key):
            self.add_event((SkippedRecord("repeated"), (), 0))
            return
        self._note_piece(piece)
        rest = []
        turn = 0
        for row in rows:
            home = self._find_call(row[_CALL]) if row[_TYPE] == "result" else None
            if home is None:
                rest.append(row)
                continue
            turn, row[_NAME], row[_KIND] = home
            self._write_block(turn, row, piece)
        if not rest:
            if piece.usage is not None and self.state.group_turn:
                self._set_usage(self.state.group_turn, piece)
            if turn:
                self._tree.note_turn(piece.native, turn)
            else:
                self._tree.carry_chain(piece)
            return
        turn = self._turn_for(piece, rest)
        for row in rest:
            call = row[_CALL]
            if call and row[_TYPE] == "result" and call in self._calls:
                _, row[_NAME], row[_KIND] = self._calls[call]
            self._write_block(turn, row, piece)
            if call and row[_TYPE] == "call":
                self._calls[call] = (turn, row[_NAME], row[_KIND])

    def _turn_for(self, piece: MessagePiece, rest: Sequence[TableRow]) -> int:
        state = self.state
        if piece.group and piece.group == state.group and state.group_turn:
            turn = state.group_turn
            self._tree.note_turn(piece.native, turn)
            self._set_usage(turn, piece)
            return turn
        if rest[0][_TYPE] == "result" and self._only_results(rest):
            self._tree.note_turn(piece.native, state.trunk.leaf)
            return state.trunk.leaf  # results whose calls were never written down
        turn = state.turns + 1
        parent = self._tree.place_turn(piece, turn)
        state.turns = turn
        if piece.role == "assistant" or piece.origin != "harness":
            state.group, state.group_turn = piece.group, turn
        self._turns[turn] = [
            self._doc, turn, piece.native, parent, state.trunk.segment, LIVE, piece.role,
            piece.origin, piece.ts, piece.model, piece.cwd, 0, 0, 0, 0, "",
        ]  # fmt: skip
        self._tree.note_turn(piece.native, turn)
        self._set_usage(turn, piece)
        return turn

    def _only_results(self, rest: Iterable[TableRow]) -> bool:
        """Say whether blocks belong to the turn before, though their calls are not known."""
        return bool(self.state.trunk.leaf) and all(row[_TYPE] == "result" for row in rest)

    def _set_usage(self, turn: int, piece: MessagePiece) -> None:
        """Set the turn's usage: one reply's records repeat it, the last one stands."""
        used = piece.usage
        if used is None:
            return
        row = self._turns.get(turn) or self._load_turn(turn)
        if row is not None:
            row[_USAGE_COLUMNS] = *used, piece.usage_key

    def _load_turn(self, turn: int) -> TableRow | None:
        """Return the row of a turn that was written before."""
        found = self._db.execute(
            "SELECT * FROM turns WHERE doc=? AND n=?", (self._doc, turn)
        ).fetchone()
        if found is None:
            return None
        row = self._turns[turn] = list(found)
        return row

    def _write_block(self, turn: int, row: TableRow, piece: MessagePiece) -> None:
        body = row.pop()
        number = self._sizes[turn] = (self._sizes.get(turn) or self._count_blocks(turn)) + 1
        if row[_SPILL]:
            body = self._spilled_body(row, body)
        row[0], row[1], row[2] = self._doc, turn, number
        self._heads.append(self._head_line(turn, number, row, piece).encode("utf-8", "replace"))
        self._bodies.append(body)
        self._waiting += len(body)
        self._blocks.append(row)
        if len(self._blocks) >= _BATCH_BLOCKS or self._waiting > _BATCH_BYTES:
            self.flush_rows()

    def _spilled_body(self, row: TableRow, body: bytes) -> bytes:
        """Return the saved output that a block stands for, or `body` and a note where it is not."""
        text = self._spilled(row[_SPILL])
        if text is None:
            row[_SPILL] = ""
            row[_NOTE] = "; ".join(filter(None, (row[_NOTE], "the saved output is missing")))
            return body
        whole = text.encode("utf-8", "surrogatepass")
        row[_SHA], row[_LINES] = block_digest(whole), whole.count(b"\n") + 1
        return whole

    def _head_line(self, turn: int, number: int, row: TableRow, piece: MessagePiece) -> str:
        ref = f"{HEAD_MARK}{self._label}{turn}.{number}"
        kind, name, status = row[_TYPE], row[_NAME], row[_STATUS]
        if kind == "text":
            who = piece.role if piece.origin in ("human", "agent") else piece.origin
            return f"{ref} {who} {piece.ts[:19]}\n" if piece.role == "user" else f"{ref} {who}\n"
        words = f"{ref} {kind}"
        if name:
            words += f" {name}"
        if status:
            words += f" {status}"
        if row[_EXIT] is not None:
            words += f" exit={row[_EXIT]}"
        if row[_NOTE]:
            words += f" {row[_NOTE]}"
        return words.replace("\n", " ")[:400] + "\n"

    def _count_blocks(self, turn: int) -> int:
        """Return how many blocks a turn has in the tables."""
        if turn > self._forgotten:
            return 0
        self._filing.ensure_indexes()
        row = self._db.execute(
            "SELECT max(i) FROM blocks WHERE doc=? AND n=?", (self._doc, turn)
        ).fetchone()
        return int(row[0] or 0)

    def _find_call(self, call: str) -> tuple[int, str, ToolKind] | None:
        """Return the turn, name and kind of a call; None where it was never written down."""
        home = self._calls.get(call)
        if home is None and call and self._forgotten:
            self._filing.ensure_indexes()
            row = self._db.execute(
                "SELECT n, name, kind FROM blocks WHERE call=? AND doc=? AND type='call'",
                (without_surrogates(call), self._doc),
            ).fetchone()
            home = tuple(row) if row else None
        return home

    def _apply_rewind(self, event: Rewind) -> None:
        branch = SUPERSEDED if event.superseded else ABANDONED
        if event.prompts:
            self._flush_all()
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
            self._tree.rewind_to(turn, branch)
            self.state.group = ""

    def _note_piece(self, piece: MessagePiece) -> None:
        state = self.state
        if piece.cwd != self._cwd[0]:
            self._cwd = piece.cwd, self._redact_word(piece.cwd)
            self._note_folder(self._cwd[1])
        if piece.model and piece.model != self._model[0]:
            self._model = piece.model, self._redact_word(piece.model)
            if self._model[1] not in state.models:
                state.models.append(self._model[1])
        piece.cwd, piece.model = self._cwd[1], piece.model and self._model[1]
        ts = piece.ts[:40]
        piece.ts = ts if ts.isascii() and ts[:1].isdigit() else self._redact_word(ts)
        if ts:
            state.first = state.first or piece.ts
            if piece.ts > state.last:
                state.last = piece.ts

    def _note_folder(self, cwd: str) -> None:
        """Note where the session goes on."""
        known = self.state.cwds
        if cwd and (not known or cwd != known[-1]):
            if cwd in known:
                known.remove(cwd)
            known.append(cwd)

    def _redact_word(self, text: str) -> str:
        """Return a word that many records repeat as it may be stored and shown."""
        tidy = self._tidied.get(text)
        if tidy is None:
            if len(self._tidied) > _REMEMBERED:
                self._tidied.clear()
            tidy = self._tidied[text] = without_surrogates(redact(text))
        return tidy

    def flush_rows(self) -> None:
        """Hand on the rows that are waiting, and forget what is not needed for the next ones."""
        self._filing.pack_blocks(self._blocks, self._heads, self._bodies)
        # The usage of the newest reply may still change: its row is written once more then.
        last = self._turns.pop(self.state.group_turn, None)
        turns = [*self._turns.values(), *([list(last)] if last else [])]
        self._filing.insert_rows(turns, self._blocks)
        self._turns = {self.state.group_turn: last} if last else {}
        self._blocks, self._heads, self._bodies, self._waiting = [], [], [], 0
        self._tree.trim_ids()
        if len(self._calls) > _REMEMBERED:
            self._calls = dict(list(self._calls.items())[-_REMEMBERED // 10 :])
            self._forgotten = self.state.turns
        if len(self._sizes) > _REMEMBERED:
            self._forgotten = self.state.turns
            self._sizes = dict(list(self._sizes.items())[-_REMEMBERED // 10 :])

    def _flush_all(self) -> None:
        """Write everything, so that the tables may be read and changed."""
        if self._blocks or self._turns:
            self.flush_rows()
        self._turns.clear()


def count_skipped(states: Iterable[ThreadState], kind: str) -> Counter[str]:
    """Return how often each thing of a kind was met, over all threads."""
    counts: Counter[str] = Counter()
    for state in states:
        counts.update(state.odd.get(kind, {}))
    return counts


def interleaving_note(states: Iterable[ThreadState]) -> str:
    """Return what to say where a conversation went back and forth between branches, or nothing."""
    returns = max((state.trunk.returns for state in states), default=0)
    if returns < 2:
        return ""
    return (
        f"The conversation changed its branch {returns:,} times, as when two agents write "
        "at once: what is off the live branch may be done, too; see files()['abandoned']."
    )
