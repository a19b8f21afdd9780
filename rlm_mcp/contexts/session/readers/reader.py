"""What a reader of one agent's transcripts is."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlm_mcp.contexts.session import lines
from rlm_mcp.contexts.session.readers import plain
from rlm_mcp.contexts.session.turns import (
    Child,
    Event,
    Found,
    Note,
    Odd,
    Piece,
    Source,
    Workflow,
)

HEAD = 1 << 16
"""Bytes of a file that are read to see what it is."""


def _no_children(path: Path) -> Sequence[Child]:
    return ()


def _one_session(path: Path) -> Sequence[str]:
    return ("",)


def _no_notes(path: Path) -> Iterable[Note]:
    return ()


def _no_workflows(path: Path) -> Iterable[Workflow]:
    return ()


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
    memory: Callable[[Path], Iterable[Note]] = _no_notes
    """Give what the agent noted for itself in the session's project."""
    workflows: Callable[[Path], Iterable[Workflow]] = _no_workflows
    """Give the scripts that ran agents for the session."""
    limits: tuple[str, ...] = ()
    """What this format never holds, in sentences."""


SHAPES = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)
"""What a record of a shape that nobody expects raises."""


def guarded(events: Iterable[Event]) -> Iterator[Event]:
    """Yield a record's events; a record of a shape that nobody expects is counted as broken."""
    try:
        yield from events
    except SHAPES:
        yield Odd("broken", "shape")


Read = Callable[[dict[str, Any]], Iterable[Event]]
"""Gives the events of one record."""


def json_lines(source: Source, start: int, read: Read) -> Iterator[Event]:
    """Yield the events of a JSON-lines file from a byte on; each piece knows its record's bytes.

    What cannot be parsed is counted; an unfinished last line is left for the next time.
    """
    source.offset = start
    with plain.opened(source.path) as file:
        for begin, end, record, cut in lines.records(file, start):
            if end == begin:
                yield Odd("unfinished")
                return
            if cut:
                yield Odd("large")
            if record is None and (record := _mended(source, begin, end)) is None:
                yield Odd("broken")
            else:
                for event in _events(read, record):
                    if type(event) is Piece:
                        event.start, event.end = begin, end
                    yield event
            source.offset = end
            if source.pause:
                return


def _events(read: Read, record: dict[str, Any]) -> list[Event]:
    """Return a record's events; a record of a shape that nobody expects is counted as broken."""
    found: list[Event] = []
    try:
        found.extend(read(record))
    except SHAPES:
        found.append(Odd("broken", "shape"))
    return found


def _mended(source: Source, begin: int, end: int) -> dict[str, Any] | None:
    """Return the record of a line that only a byte order mark or bytes of no text spoil."""
    if end - begin > lines.LARGE:
        return None
    with plain.opened(source.path) as file:
        file.seek(begin)
        raw = file.read(end - begin)
    text = raw.decode("utf-8-sig" if begin == 0 else "utf-8", "replace")
    record = lines.parse(text.encode()) if "\ufffd" in text or begin == 0 else None
    return record if isinstance(record, dict) else None


def json_list(items: Any, prefix: str, read: Read) -> Iterator[Event]:
    """Yield the events of a list of records inside one JSON value; each piece knows its place."""
    for number, record in enumerate(items if isinstance(items, list) else []):
        if not isinstance(record, dict):
            yield Odd("broken", "record")
            continue
        for event in _events(read, record):
            if isinstance(event, Piece):
                event.pointer = event.pointer or f"{prefix}/{number}"
            yield event


def first_records(path: Path, most: int = HEAD) -> Iterator[dict[str, Any]]:
    """Yield the whole JSON records in the first bytes of a JSON-lines file."""
    try:
        with plain.opened(path) as file:
            head = file.read(most).removeprefix(BOM_UTF8)
    except OSError:
        return
    for raw in head.splitlines():
        try:
            record = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record
