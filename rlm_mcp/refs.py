"""Refs: the addresses of spans. Every quoted line carries one, and `peek` opens any.

    repo                                 a whole variable
    repo:src/                            a folder of it (trailing slash); globs work: repo:src/*.py
    repo:src/a.py                        a document
    repo:src/a.py#L10-L42                lines, from 1, both ends included
    repo:src/a.py@1f3c9ab#L1-L9          the same at a revision
    repo:min.js#C0-C5000                 characters, from 0, end excluded (lines too long to show)
    history:1f3c9ab                      a commit
    session:5f0c#12.3                    block 3 of turn 12
    r7  r7#L1-L80                        a handle: a whole result kept by the server

In a path, bytes that are not UTF-8 and the characters % # @ and control characters are written
as %XX, so that a ref is always one printable word that survives being copied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

from rlm_mcp.errors import BadRequest

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_LINES = re.compile(r"L([0-9]{1,12})(?:-L?([0-9]{1,12}))?\Z")
_CHARS = re.compile(r"C([0-9]{1,15})-C?([0-9]{1,15})\Z")
_BLOCK = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?\Z")
_REV = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/~^{}+-]{0,199}\Z")
_RESERVED = frozenset(b"%#@")
_PLAIN = re.compile(r"[A-Za-z0-9_./+,=:~-]*\Z")


@dataclass(frozen=True, slots=True)
class LineSpan:
    """Lines `start` to `end`, counted from 1, both included."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"L{self.start}" if self.start == self.end else f"L{self.start}-L{self.end}"


@dataclass(frozen=True, slots=True)
class CharSpan:
    """Characters `start` (from 0) up to and without `end`."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"C{self.start}-C{self.end}"


@dataclass(frozen=True, slots=True)
class TurnSpan:
    """A session's turn, counted from 1, or one block of it."""

    turn: int
    block: int | None = None

    def __str__(self) -> str:
        return str(self.turn) if self.block is None else f"{self.turn}.{self.block}"


@dataclass(frozen=True, slots=True)
class Ref:
    """The address of a span. `path` is a real path (surrogate-escaped), not a quoted one."""

    variable: str
    path: str = ""
    rev: str = ""
    span: LineSpan | CharSpan | TurnSpan | None = None

    def __str__(self) -> str:
        text = self.variable
        if self.path:
            text += ":" + quote_path(self.path)
        if self.rev:
            text += "@" + self.rev
        return text if self.span is None else f"{text}#{self.span}"

    def with_span(self, span: LineSpan | CharSpan | TurnSpan | None) -> Ref:
        """Return this ref with another span."""
        return replace(self, span=span)

    @property
    def is_glob(self) -> bool:
        """Whether the path may name several documents: a folder or a pattern.

        `[id].tsx` is a common file name, so a variable looks for the exact document first.
        """
        return not self.path or self.path.endswith("/") or any(c in self.path for c in "*?[")


def quote_path(path: str) -> str:
    """Return `path` as it is written in a ref."""
    if _PLAIN.match(path):
        return path
    out = []
    last = len(path) - 1
    for number, char in enumerate(path):
        edge = char == " " and number in (0, last)
        if (
            not edge
            and char.isprintable()
            and ord(char) not in _RESERVED
            and not "\ud800" <= char <= "\udfff"
        ):
            out.append(char)
        else:
            out.extend(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
    return "".join(out)


def unquote_path(text: str) -> str:
    """Return the path that `quote` wrote."""
    if "%" not in text:
        return text
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode(
        "utf-8", "surrogateescape"
    )


def parse_ref(text: str) -> Ref:
    """Read a ref. Raises BadRequest with the reason; never looks at a file system.

    A bare `@` in a path that is followed by something like a revision is read as one: a variable
    that has no such revision may fall back on `literal(ref)`.
    """
    text = text.strip()
    if not text:
        raise BadRequest("The ref is empty; write one like repo:src/a.py#L10-L42.")
    head, hash_mark, fragment = text.partition("#")
    span = _parse_span(fragment, text) if hash_mark else None
    variable, colon, rest = head.partition(":")
    variable, at, rev = variable.partition("@")
    if not _NAME.match(variable):
        raise BadRequest(
            f"{text!r} is not a ref: it starts with the name of an open context, "
            "as in repo:src/a.py#L10-L42; contexts() lists the names."
        )
    if at and not colon:
        return Ref(variable, "", _check_rev(rev, text), span)
    if at:
        raise BadRequest(f"{text!r}: write the revision after the path: {variable}:path@{rev}.")
    path, at, rev = rest.rpartition("@")
    if at and path and _REV.match(rev):
        return Ref(variable, unquote_path(path), rev, span)
    return Ref(variable, unquote_path(rest), "", span)


def rev_as_path(ref: Ref) -> Ref:
    """Return `ref` with its revision read as a part of the path (`@` is common in paths)."""
    return replace(ref, path=f"{ref.path}@{ref.rev}", rev="") if ref.rev else ref


def _check_rev(rev: str, text: str) -> str:
    if not _REV.match(rev):
        raise BadRequest(f"{text!r}: {rev!r} is not a revision (a branch, tag or commit).")
    return rev


def _parse_span(fragment: str, text: str) -> LineSpan | CharSpan | TurnSpan:
    if match := _LINES.match(fragment):
        start = int(match[1])
        end = int(match[2]) if match[2] else start
        if start < 1 or end < start:
            raise BadRequest(f"{text!r}: lines count from 1 and the end is not before the start.")
        return LineSpan(start, end)
    if match := _CHARS.match(fragment):
        first, last = int(match[1]), int(match[2])
        if last < first:
            raise BadRequest(f"{text!r}: the end of a span is not before its start.")
        return CharSpan(first, last)
    if match := _BLOCK.match(fragment):
        return TurnSpan(int(match[1]), int(match[2]) if match[2] else None)
    raise BadRequest(
        f"{text!r}: after # stands L10-L42 (lines), C0-C5000 (characters) or 12.3 (turn, block)."
    )
