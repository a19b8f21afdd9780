"""Whole results that are kept while an agent or a root model sees a preview: r1, r2, ...

A handle is a text that can be opened by ref (`r7`, `r7#L81-L160`, `r7#C0-C5000`); one of kind
"refs" also lists the parts of a scope, so that all of them can be asked. Large texts lie in the
state folder. The oldest are dropped when there are too many; opening one says so. Thread-safe.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rlm_mcp.documents import BytesDocument, cut_window, ref_text
from rlm_mcp.errors import BadRequest, Unavailable
from rlm_mcp.files import private_folder
from rlm_mcp.refs import Ref, TurnSpan

if TYPE_CHECKING:
    from rlm_mcp.variable import ContextPassage

HandleKind = Literal["text", "refs", "answers"]

MAX_MEMORY_CHARS = 64 << 10
"""Characters up to which a text stays in memory."""
MAX_HANDLES = 1_000
MAX_HANDLES_BYTES = 1 << 30


@dataclass(slots=True)
class StoredResult:
    """One whole result."""

    kind: HandleKind
    size: int
    refs: tuple[str, ...]
    text: str | None
    path: Path | None

    def full_text(self) -> str:
        """Return the text."""
        if self.text is not None:
            return self.text
        assert self.path is not None
        return self.path.read_bytes().decode("utf-8", "surrogatepass")


def missing_handle(name: str, known: Sequence[str]) -> BadRequest:
    """Return the error for a handle that was never made here."""
    there = "none is kept yet"
    if known:
        there = f"{known[0]} to {known[-1]} are kept" if known[1:] else f"only {known[0]} is kept"
    return BadRequest(
        f"There is no handle {name!r}; {there}. "
        "Handles end with the server or the run that made them."
    )


class Handles:
    """The kept results of one process or one run, under `<prefix>1`, `<prefix>2`, ..."""

    def __init__(self, folder: Path, prefix: str = "r") -> None:
        self._parent = folder
        self._folder: Path | None = None
        self._prefix = prefix
        self._results: dict[str, StoredResult] = {}
        self._made = 0
        self._bytes = 0
        self._lock = threading.Lock()

    def store_text(self, text: str, kind: HandleKind = "text", refs: Sequence[str] = ()) -> str:
        """Keep a text (or the table of `refs`) and return its handle."""
        data = text.encode("utf-8", "surrogatepass")
        with self._lock:
            self._made += 1
            name = f"{self._prefix}{self._made}"
            kept = StoredResult(kind, len(data), tuple(refs), text, None)
            if len(text) > MAX_MEMORY_CHARS:
                kept.path = self._write_file(name, data)
                kept.text = None
            self._results[name] = kept
            self._bytes += kept.size
            while len(self._results) > MAX_HANDLES or (
                self._bytes > MAX_HANDLES_BYTES and len(self._results) > 1
            ):
                self._drop_result(next(iter(self._results)))
        return name

    def __contains__(self, name: str) -> bool:
        """Say whether `name` is one of these handles, also one that was dropped."""
        number = name.removeprefix(self._prefix)
        if number == name or not (number.isascii() and number.isdigit()):
            return False
        return 1 <= int(number) <= self._made

    def handle_names(self) -> list[str]:
        """Return the handles that can be opened, oldest first."""
        with self._lock:
            return list(self._results)

    def get_result(self, name: str) -> StoredResult:
        """Return a kept result. Raises BadRequest or, for a dropped one, Unavailable."""
        with self._lock:
            kept = self._results.get(name)
            known = list(self._results)
        if kept is not None:
            return kept
        if name in self:
            raise Unavailable(f"{name} was dropped to make room; repeat the call that made it.")
        raise missing_handle(name, known)

    def full_text(self, ref: Ref | str) -> str:
        """Return the whole text of a handle, or of a span of it."""
        ref = Ref(ref) if isinstance(ref, str) else ref
        return ref_text(_checked_ref(ref), self._as_document(ref))

    def peek(self, ref: Ref, limit: int = 80) -> ContextPassage:
        """Return at most `limit` lines from the start of `ref`."""
        return cut_window(_checked_ref(ref), self._as_document(ref), limit)

    def text_file(self, name: str) -> Path:
        """Return a file that holds the text of a handle."""
        kept = self.get_result(name)
        with self._lock:
            if kept.path is None:
                kept.path = self._write_file(
                    name, (kept.text or "").encode("utf-8", "surrogatepass")
                )
            return kept.path

    def close(self) -> None:
        """Forget everything, files included."""
        with self._lock:
            self._results.clear()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def _as_document(self, ref: Ref) -> BytesDocument:
        return BytesDocument(
            self.get_result(ref.variable).full_text().encode("utf-8", "surrogatepass")
        )

    def _write_file(self, name: str, data: bytes) -> Path:
        if self._folder is None:
            private_folder(self._parent)
            self._folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=self._parent))
        path = self._folder / f"{name}.txt"
        with open(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        return path

    def _drop_result(self, name: str) -> None:
        kept = self._results.pop(name)
        self._bytes -= kept.size
        if kept.path is not None:
            kept.path.unlink(missing_ok=True)


def _checked_ref(ref: Ref) -> Ref:
    if ref.path not in ("", ref.variable) or ref.rev or isinstance(ref.span, TurnSpan):
        raise BadRequest(f"{ref}: a handle is opened as {ref.variable} or {ref.variable}#L1-L80.")
    return ref
