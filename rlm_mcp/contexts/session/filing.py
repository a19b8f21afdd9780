"""Write turns and blocks: their cleaned text behind the packed file's end, their rows to SQLite.

Rows go in by hundreds with one statement, and in the reading's own thread: another one would take
longer to get the interpreter's lock back from it than SQLite takes to write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from rlm_mcp.contexts.session import tables
from rlm_mcp.contexts.session.clean import clean, suspects
from rlm_mcp.contexts.session.ready import Row, within
from rlm_mcp.redact import redact

if TYPE_CHECKING:
    from rlm_mcp.corpus.text import Writer

MARK = "\u258c"
"""Starts the line above each block in the packed text; a line of a transcript never does."""
_MARK = MARK.encode()

_TURN = (
    "doc n native parent segment live role origin ts model cwd input cache_read cache_write "
    "output usage_key"
)
_BLOCK = (
    "doc n i type name kind call status exit arg data note start end part pointer spill "
    "head off len lines sha copy"
)
TURN, BLOCK = _TURN.split(), _BLOCK.split()
_TEXTS = [BLOCK.index(name) for name in ("name", "arg", "data", "note")]
"""Columns of a block's row that hold words of the transcript."""
_PLACES = slice(BLOCK.index("head"), BLOCK.index("len") + 1)
_LINES = BLOCK.index("lines")
_COPY = BLOCK.index("copy")

AT_ONCE = 400
"""Rows of one statement."""


class Filing:
    """Takes the rows of all threads of one reading."""

    def __init__(self, db: sqlite3.Connection, writer: Writer) -> None:
        self._db, self._writer = db, writer
        self._indexed = False
        most = db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        self._at_once = max(1, min(AT_ONCE, most // len(BLOCK)))

    def pack(self, rows: Sequence[Row], heads: list[bytes], bodies: list[bytes]) -> None:
        """Append a thread's blocks to the packed text, then the heads once more, together.

        Matches in the copies are no matches in the text: a search takes them off its total.
        """
        texts = [head + body for head, body in zip(heads, bodies, strict=True)]
        for at in sorted(suspects(texts)):
            if clean(texts[at]) == texts[at]:
                continue  # the columns hold nothing that the text has not
            heads[at], bodies[at] = clean(heads[at]), clean(bodies[at])
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
        begin = place = self._writer.end
        first_copy = copy = place + len(joint) + 1
        for row, head, text in zip(rows, heads, texts, strict=True):
            start = len(head)
            size = len(text)
            row[_PLACES] = place, place + start, size - start
            row[_COPY] = copy
            place += size + 1
            copy += start
        if texts:
            self._writer.add(b"".join([joint, b"\n", *heads]))
            batch = (rows[0][0], begin, place, first_copy, copy)
            self._db.execute("INSERT INTO batches VALUES (?,?,?,?,?)", batch)

    def put(self, turns: Sequence[Row], blocks: Sequence[Row]) -> None:
        """Write rows."""
        self._insert("turns", TURN, turns)
        self._insert("blocks", BLOCK, blocks)

    def index(self) -> None:
        """Make the indexes that a reading needs to look at what lies behind it."""
        if not self._indexed:
            tables.index(self._db)
            self._indexed = True

    def _insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        query = f"INSERT OR REPLACE INTO {table} ({', '.join(columns)}) VALUES "
        marks = f"({', '.join('?' * len(columns))})"
        for at in range(0, len(rows), self._at_once):
            part = rows[at : at + self._at_once]
            statement = query + ", ".join([marks] * len(part))
            try:
                self._db.execute(statement, list(chain.from_iterable(part)))
            except (UnicodeEncodeError, OverflowError):
                self._db.execute(statement, list(chain.from_iterable(_storable(part))))


def _storable(rows: Iterable[Row]) -> Iterable[Row]:
    """Return rows as SQLite takes them: no lone surrogates, no number beyond 53 bits."""
    for row in rows:
        yield [
            plain(value)
            if isinstance(value, str)
            else within(value)
            if isinstance(value, int)
            else value
            for value in row
        ]


def plain(text: str) -> str:
    """Return a text without lone surrogates, which no file and no database takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
