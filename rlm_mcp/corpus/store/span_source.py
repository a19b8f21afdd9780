"""An origin for a caller that writes the text itself and says which spans of it are documents.

For sources that are no files, such as a session's transcript: an append adds a span, a change of
mind cuts the spans anew, and no text is ever written twice. Together the spans cover the text, so
that it is never compacted behind the caller's back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from rlm_mcp.corpus.store.file_table import ROW_DTYPE, FileTable, TableChange
from rlm_mcp.errors import Unavailable

if TYPE_CHECKING:
    from rlm_mcp.corpus.store.packed_text import TextWriter


class DocumentSpan(NamedTuple):
    """A document: a span of the text file that ends behind a newline."""

    path: str
    offset: int
    length: int


class SpanAuthor(Protocol):
    """Who writes the text. `text` is the id and size of what there is, None where nothing is."""

    def pending_change(self, text: tuple[str, int] | None) -> str:
        """Return "" for no change, "more" to append, "anew" to begin with an empty file."""
        ...

    def write_spans(self, writer: TextWriter, *, anew: bool) -> Sequence[DocumentSpan]:
        """Append what is new, and return all runs. The store is locked."""
        ...


class SpanSource:
    """Documents as their author states them."""

    def __init__(self, author: SpanAuthor) -> None:
        self._author = author

    def detect_change(self, table: FileTable | None) -> TableChange | None:
        """Ask the author whether anything changed."""
        what = self._author.pending_change((table.text_id, table.text_bytes) if table else None)
        if not what and table is not None:
            return None
        return TableChange(table if what == "more" else None, (), np.zeros(0, ROW_DTYPE), ())

    def write_change(
        self, change: TableChange, writer: TextWriter, old: memoryview
    ) -> tuple[FileTable, bool]:
        """Let the author append, and list its runs by path."""
        base = change.base
        stated = self._author.write_spans(writer, anew=base is None)
        runs = sorted(stated, key=lambda run: os.fsencode(run.path))
        rows = np.zeros(len(runs), ROW_DTYPE)
        rows["offset"] = [run.offset for run in runs]
        rows["length"] = rows["size"] = [run.length for run in runs]
        rows["lines"] = -1
        generation = 0 if base is None else base.generation + 1
        return FileTable("", 0, 0, generation, [os.fsencode(r.path) for r in runs], rows, {}), True

    def read_unloaded(self, path: bytes) -> bytes:
        """Raise Unavailable: everything is loaded."""
        raise Unavailable(f"{os.fsdecode(path)} is not there.")

    def force_compare(self) -> None:
        """Do nothing: the author compares everything each time."""

    def close(self) -> None:
        """Hold nothing."""
