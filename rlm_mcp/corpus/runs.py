"""An origin for a caller that writes the text itself and says which spans of it are documents.

For sources that are no files, such as a session's transcript: an append adds a span, a change of
mind cuts the spans anew, and no text is ever written twice. Together the spans cover the text, so
that it is never compacted behind the caller's back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from rlm_mcp.corpus.table import ROW, Change, Table
from rlm_mcp.corpus.text import Writer
from rlm_mcp.errors import Unavailable


class Run(NamedTuple):
    """A document: a span of the text file that ends behind a newline."""

    path: str
    offset: int
    length: int


class Author(Protocol):
    """Who writes the text. `text` is the id and size of what there is, None where nothing is."""

    def changed(self, text: tuple[str, int] | None) -> str:
        """Return "" for no change, "more" to append, "anew" to begin with an empty file."""
        ...

    def write(self, writer: Writer, *, anew: bool) -> Sequence[Run]:
        """Append what is new, and return all runs. The store is locked."""
        ...


class Runs:
    """Documents as their author states them."""

    def __init__(self, author: Author) -> None:
        self._author = author

    def survey(self, table: Table | None) -> Change | None:
        """Ask the author whether anything changed."""
        what = self._author.changed((table.text_id, table.text_bytes) if table else None)
        if not what and table is not None:
            return None
        return Change(table if what == "more" else None, (), np.zeros(0, ROW), ())

    def write(self, change: Change, writer: Writer, old: memoryview) -> tuple[Table, bool]:
        """Let the author append, and list its runs by path."""
        base = change.base
        stated = self._author.write(writer, anew=base is None)
        runs = sorted(stated, key=lambda run: os.fsencode(run.path))
        rows = np.zeros(len(runs), ROW)
        rows["offset"] = [run.offset for run in runs]
        rows["length"] = rows["size"] = [run.length for run in runs]
        rows["lines"] = -1
        generation = 0 if base is None else base.generation + 1
        return Table("", 0, 0, generation, [os.fsencode(r.path) for r in runs], rows, {}), True

    def open(self, path: bytes) -> bytes:
        """Raise Unavailable: everything is loaded."""
        raise Unavailable(f"{os.fsdecode(path)} is not there.")

    def distrust(self) -> None:
        """Do nothing: the author compares everything each time."""

    def close(self) -> None:
        """Hold nothing."""
