"""What a reader of one agent's transcripts is."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlm_mcp import files
from rlm_mcp.sessions import jsonl
from rlm_mcp.sessions.schema import (
    ChildTranscript,
    MemoryNote,
    MessagePiece,
    SessionInfo,
    SkippedRecord,
    TranscriptEvent,
    TranscriptSource,
    Workflow,
)

HEAD_BYTES = 1 << 16
"""Bytes of a file that are read to see what it is."""


def _no_children(path: Path) -> Sequence[ChildTranscript]:
    return ()


def _one_session(path: Path) -> Sequence[str]:
    return ("",)


def _no_notes(path: Path) -> Iterable[MemoryNote]:
    return ()


def _no_workflows(path: Path) -> Iterable[Workflow]:
    return ()


def _path_stem(path: Path) -> str:
    return path.stem


@dataclass(frozen=True, slots=True)
class TranscriptReader:
    """One agent's format. All functions only read, and take nothing for granted."""

    agent: str
    layout: str
    """The format's name, as `describe` shows it."""
    version: int
    """Raised with every change of what events come out; an older index is built anew."""
    detect_format: Callable[[Path, bytes], bool]
    """Say from a path and its first bytes whether this reader understands the file."""
    read_events: Callable[[TranscriptSource, int], Iterator[TranscriptEvent]]
    """Yield the events of a session from a byte offset (0, or where it stopped last time)."""
    session_folders: Callable[[], Sequence[Path]]
    """Return the folders in which the agent keeps its sessions on this machine."""
    find_sessions: Callable[[Sequence[Path]], Iterator[SessionInfo]]
    """List the sessions in those folders, and in projects' roots, without reading them whole."""
    find_children: Callable[[Path], Sequence[ChildTranscript]] = _no_children
    session_keys: Callable[[Path], Sequence[str]] = _one_session
    """The sessions inside one file, newest last; ("",) where a file is a session."""
    session_id: Callable[[Path], str] = _path_stem
    """Return the id of the session that a file is."""
    read_memory: Callable[[Path], Iterable[MemoryNote]] = _no_notes
    """Give what the agent noted for itself in the session's project."""
    read_workflows: Callable[[Path], Iterable[Workflow]] = _no_workflows
    """Give the scripts that ran agents for the session."""
    limits: tuple[str, ...] = ()
    """What this format never holds, in sentences."""


SHAPE_ERRORS = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)
"""What a record of a shape that nobody expects raises."""


def guard_shapes(events: Iterable[TranscriptEvent]) -> Iterator[TranscriptEvent]:
    """Yield a record's events; a record of a shape that nobody expects is counted as broken."""
    try:
        yield from events
    except SHAPE_ERRORS:
        yield SkippedRecord("broken", "shape")


RecordReader = Callable[[dict[str, Any]], Iterable[TranscriptEvent]]
"""Gives the events of one record."""


def json_lines(
    source: TranscriptSource, start: int, read: RecordReader
) -> Iterator[TranscriptEvent]:
    """Yield the events of a JSON-lines file from a byte on; each piece knows its record's bytes.

    What cannot be parsed is counted; an unfinished last line is left for the next time.
    """
    source.offset = start
    with files.open_regular(source.path) as file:
        for begin, end, record, cut in jsonl.read_records(file, start):
            if end == begin:
                yield SkippedRecord("unfinished")
                return
            if cut:
                yield SkippedRecord("large")
            if record is None and (record := _reparse_line(source, begin, end)) is None:
                yield SkippedRecord("broken")
            else:
                for event in _record_events(read, record):
                    if type(event) is MessagePiece:
                        event.start, event.end = begin, end
                    yield event
            source.offset = end
            if source.pause:
                return


def _record_events(read: RecordReader, record: dict[str, Any]) -> list[TranscriptEvent]:
    """Return a record's events; a record of a shape that nobody expects is counted as broken."""
    found: list[TranscriptEvent] = []
    try:
        found.extend(read(record))
    except SHAPE_ERRORS:
        found.append(SkippedRecord("broken", "shape"))
    return found


def _reparse_line(source: TranscriptSource, begin: int, end: int) -> dict[str, Any] | None:
    """Return the record of a line that only a byte order mark or bytes of no text spoil."""
    if end - begin > jsonl.LARGE_BYTES:
        return None
    with files.open_regular(source.path) as file:
        file.seek(begin)
        raw = file.read(end - begin)
    text = raw.decode("utf-8-sig" if begin == 0 else "utf-8", "replace")
    record = jsonl.parse_line(text.encode()) if "\ufffd" in text or begin == 0 else None
    return record if isinstance(record, dict) else None


def json_list(items: Any, prefix: str, read: RecordReader) -> Iterator[TranscriptEvent]:
    """Yield the events of a list of records inside one JSON value; each piece knows its place."""
    for number, record in enumerate(items if isinstance(items, list) else []):
        if not isinstance(record, dict):
            yield SkippedRecord("broken", "record")
            continue
        for event in _record_events(read, record):
            if isinstance(event, MessagePiece):
                event.pointer = event.pointer or f"{prefix}/{number}"
            yield event


def first_records(path: Path, most: int = HEAD_BYTES) -> Iterator[dict[str, Any]]:
    """Yield the whole JSON records in the first bytes of a JSON-lines file."""
    try:
        with files.open_regular(path) as file:
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
