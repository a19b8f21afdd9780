"""Write turns and blocks: their cleaned text behind the packed file's end, their rows to SQLite.

Rows go in by hundreds with one statement, and in the reading's own thread: another one would take
longer to get the interpreter's lock back from it than SQLite takes to write.
"""

from __future__ import annotations

import bisect
import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import chain
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from rlm_mcp.encodings import without_surrogates
from rlm_mcp.redact import RULES, redact
from rlm_mcp.sessions import tables
from rlm_mcp.sessions.schema import HEAD_MARK, MessagePiece, TranscriptEvent, TurnBlock, TurnUsage
from rlm_mcp.sessions.turn_tree import native_number

if TYPE_CHECKING:
    from rlm_mcp.corpus.store import TextWriter


TableRow = list[Any]

ARG_CHARS = 4_000
"""Characters that are kept of a call's line."""


MAX_JSON_INT = 1 << 53
"""The largest number that every reader of JSON takes."""


EventRows = tuple[TranscriptEvent, Sequence[TableRow], int]
"""An event, a row for each of its blocks, and the number of a piece's native id."""


def event_rows(event: TranscriptEvent) -> EventRows:
    """Return an event as it is filed. Behind the columns of a row stands the block's text."""
    if type(event) is not MessagePiece:
        return event, (), 0
    rows = []
    for part, block in enumerate(event.blocks):
        body = block.text.encode("utf-8", "surrogatepass")
        rows.append(
            [
                0,
                0,
                0,
                block.type,
                block.name,
                block.kind,
                block.call,
                block.status,
                block.exit_code,
                block.arg[:ARG_CHARS],
                _block_data(block) if block.ops or block.plan else "",
                block.note,
                event.start,
                event.end,
                part,
                event.pointer,
                block.spill,
                0,
                0,
                0,
                body.count(b"\n") + 1,
                sha256(body).hexdigest()[:8],
                0,
                body,
            ]
        )
    used = event.usage
    if used is not None and (max(used) > MAX_JSON_INT or min(used) < -MAX_JSON_INT):
        event.usage = TurnUsage(*map(clamp_number, used))  # sums of them must not overflow
    return event, rows, native_number(event.native) if event.native else 0


def clamp_number(value: int) -> int:
    """Return a number, or the nearest that every reader of JSON takes."""
    return max(-MAX_JSON_INT, min(value, MAX_JSON_INT))


def block_digest(text: str | bytes) -> str:
    """Return the digest by which a stale citation is told."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return sha256(raw).hexdigest()[:8]


def _block_data(block: TurnBlock) -> str:
    """Return a block's plan or file operations as JSON."""
    rows: list[Sequence[str]]
    if block.plan is not None:
        rows = [(item.text, item.status, item.key) for item in block.plan]
    else:
        rows = [(op.path, op.op) for op in block.ops]
    # An encoder would be made anew for each of them.
    return "[" + ", ".join([f"[{', '.join(map(encode_basestring, row))}]" for row in rows]) + "]"


def find_suspects(texts: Sequence[bytes]) -> set[int]:
    """Return which of the texts may hold a secret."""
    ends, size = [], 0
    for text in texts:
        size += len(text) + 1
        ends.append(size)
    found = set()
    for place in RULES.places(b"\n".join(texts)):
        found.add(bisect.bisect_right(ends, place))
    return found


def redact_bytes(text: bytes) -> bytes:
    """Return `redact` of an UTF-8 text."""
    return redact(text.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")


_MARK = HEAD_MARK.encode()

_TURN = (
    "doc n native parent segment live role origin ts model cwd input cache_read cache_write "
    "output usage_key"
)
_BLOCK = (
    "doc n i type name kind call status exit arg data note start end part pointer spill "
    "head off len lines sha copy"
)
TURN_COLUMNS, BLOCK_COLUMNS = _TURN.split(), _BLOCK.split()
_TEXTS = [BLOCK_COLUMNS.index(name) for name in ("name", "arg", "data", "note")]
"""Columns of a block's row that hold words of the transcript."""
_PLACES = slice(BLOCK_COLUMNS.index("head"), BLOCK_COLUMNS.index("len") + 1)
_LINES = BLOCK_COLUMNS.index("lines")
_COPY = BLOCK_COLUMNS.index("copy")

ROWS_AT_ONCE = 400
"""Rows of one statement."""


class RowWriter:
    """Takes the rows of all threads of one reading."""

    def __init__(self, db: sqlite3.Connection, writer: TextWriter) -> None:
        self._db, self._writer = db, writer
        self._indexed = False
        most = db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        self._at_once = max(1, min(ROWS_AT_ONCE, most // len(BLOCK_COLUMNS)))

    def pack_blocks(
        self, rows: Sequence[TableRow], heads: list[bytes], bodies: list[bytes]
    ) -> None:
        """Append a thread's blocks to the packed text, then the heads once more, together.

        Matches in the copies are no matches in the text: a search takes them off its total.
        """
        texts = [head + body for head, body in zip(heads, bodies, strict=True)]
        for at in sorted(find_suspects(texts)):
            if redact_bytes(texts[at]) == texts[at]:
                continue  # the columns hold nothing that the text has not
            heads[at], bodies[at] = redact_bytes(heads[at]), redact_bytes(bodies[at])
            texts[at] = heads[at] + bodies[at]
            rows[at][_LINES] = bodies[at].count(b"\n") + 1
            for column in _TEXTS:
                rows[at][column] = redact(rows[at][column])
        joint = b"\n".join(texts)
        if joint.count(_MARK) > len(texts):
            for at, head in enumerate(heads):
                body = (b"\n" + texts[at][len(head) :]).replace(b"\n" + _MARK, b"\n " + _MARK)
                texts[at] = head + body[1:]
            joint = b"\n".join(texts)
        begin = place = self._writer.next_offset
        first_copy = copy = place + len(joint) + 1
        for row, head, text in zip(rows, heads, texts, strict=True):
            start = len(head)
            size = len(text)
            row[_PLACES] = place, place + start, size - start
            row[_COPY] = copy
            place += size + 1
            copy += start
        if texts:
            self._writer.append_document(b"".join([joint, b"\n", *heads]))
            batch = (rows[0][0], begin, place, first_copy, copy)
            self._db.execute("INSERT INTO batches VALUES (?,?,?,?,?)", batch)

    def insert_rows(self, turns: Sequence[TableRow], blocks: Sequence[TableRow]) -> None:
        """Write rows."""
        self._insert_into("turns", TURN_COLUMNS, turns)
        self._insert_into("blocks", BLOCK_COLUMNS, blocks)

    def ensure_indexes(self) -> None:
        """Make the indexes that a reading needs to look at what lies behind it."""
        if not self._indexed:
            tables.create_indexes(self._db)
            self._indexed = True

    def _insert_into(self, table: str, columns: Sequence[str], rows: Sequence[TableRow]) -> None:
        query = f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES "
        marks = f"({', '.join('?' * len(columns))})"
        for at in range(0, len(rows), self._at_once):
            part = rows[at : at + self._at_once]
            statement = query + ", ".join([marks] * len(part))
            try:
                self._db.execute(statement, list(chain.from_iterable(part)))
            except (UnicodeEncodeError, OverflowError):
                self._db.execute(statement, list(chain.from_iterable(_storable_rows(part))))


def _storable_rows(rows: Iterable[TableRow]) -> Iterable[TableRow]:
    """Return rows as SQLite takes them: no lone surrogates, no number beyond 53 bits."""
    for row in rows:
        yield [
            without_surrogates(value)
            if isinstance(value, str)
            else clamp_number(value)
            if isinstance(value, int)
            else value
            for value in row
        ]
