"""An origin for a caller that writes the text itself and says which spans of it are documents.

For sources that are no files, such as a session's transcript: an append adds a span, a change of
mind cuts the spans anew, and no text is ever written twice. Together the spans cover the text, so
that it is never compacted behind the caller's back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rlm_mcp.corpus.table import ROW, Table
from rlm_mcp.corpus.text import Writer
from rlm_mcp.errors import Unavailable


class Run(NamedTuple):
    """A document: a span of the text file that ends behind a newline."""

    path: str
    offset: int
    length: int


Write = Callable[[Writer, str, int], Sequence[Run] | None]
"""Called with the writer, the text file's id ("" for a new one) and its size; returns all runs,
or None where nothing changed."""


class Runs:
    """Documents as their caller states them."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def load(self, table: Table | None, writer: Writer) -> Table | None:
        """Let the caller append, and list its runs by path."""
        old = (table.text_id, table.text_bytes) if table else ("", 0)
        stated = self._write(writer, *old)
        if stated is None and table is not None:
            return None
        runs = sorted(stated or (), key=lambda run: os.fsencode(run.path))
        rows = np.zeros(len(runs), ROW)
        rows["offset"] = [run.offset for run in runs]
        rows["length"] = rows["size"] = [run.length for run in runs]
        rows["lines"] = -1
        paths = [os.fsencode(run.path) for run in runs]
        if table is None:
            return Table("", 0, 0, 0, paths, rows, {})
        return Table(table.text_id, 0, 0, table.generation + 1, paths, rows, dict(table.facts))

    def open(self, path: bytes) -> bytes:
        """Raise Unavailable: everything is loaded."""
        raise Unavailable(f"{os.fsdecode(path)} is not there.")

    def close(self) -> None:
        """Hold nothing."""
