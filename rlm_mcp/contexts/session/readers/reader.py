"""What a reader of one agent's transcripts is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlm_mcp.contexts.session.turns import Child, Event, Found, Odd, Source

HEAD = 1 << 16
"""Bytes of a file that are read to see what it is."""


def _no_children(path: Path) -> Sequence[Child]:
    return ()


def _one_session(path: Path) -> Sequence[str]:
    return ("",)


def _stem(path: Path) -> str:
    return path.stem


@dataclass(frozen=True, slots=True)
class Reader:
    """One agent's format. All functions only read, and take nothing for granted."""

    agent: str
    layout: str
    """The format's name, as `describe` shows it."""
    version: int
    """Raised with every change of what events come out; an older index is built anew."""
    detect: Callable[[Path, bytes], bool]
    """Say from a path and its first bytes whether this reader understands the file."""
    events: Callable[[Source, int], Iterator[Event]]
    """Yield the events of a session from a byte offset (0, or where it stopped last time)."""
    folders: Callable[[], Sequence[Path]]
    """Return the folders in which the agent keeps its sessions on this machine."""
    find: Callable[[Sequence[Path]], Iterator[Found]]
    """List the sessions in those folders, and in projects' roots, without reading them whole."""
    children: Callable[[Path], Sequence[Child]] = _no_children
    keys: Callable[[Path], Sequence[str]] = _one_session
    """The sessions inside one file, newest last; ("",) where a file is a session."""
    native: Callable[[Path], str] = _stem
    """Return the id of the session that a file is."""
    limits: tuple[str, ...] = ()
    """What this format never holds, in sentences."""


SHAPES = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)
"""What a record of a shape that nobody expects raises."""


def guarded(events: Iterator[Event]) -> Iterator[Event]:
    """Yield a record's events; a record of a shape that nobody expects is counted as broken."""
    try:
        yield from events
    except SHAPES:
        yield Odd("broken", "shape")


def first_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole JSON records in the first bytes of a JSON-lines file."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return
    for raw in head.splitlines():
        try:
            record = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record
