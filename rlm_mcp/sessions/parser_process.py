"""Read a long transcript in two processes: another one parses, this one files what it finds.

Parsing and understanding records takes as long as linking and storing them, and both hold the
interpreter's lock. The file is read here until the other process is up, which then goes on from
there as after an append; where it ends early, the rest is read here again. It gets no environment,
writes nothing, and cannot outlive this process, since its pipes close.

`main` is what that process runs.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import marshal
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rlm_mcp.process_limits import limit_memory
from rlm_mcp.programs import module_command
from rlm_mcp.sessions.schema import (
    MessagePiece,
    Rewind,
    SessionMetadata,
    SkippedRecord,
    TranscriptEvent,
    TranscriptSource,
    TurnUsage,
)
from rlm_mcp.sessions.writer import EventRows, event_rows

if TYPE_CHECKING:
    from rlm_mcp.sessions.readers.reader import TranscriptReader

PARALLEL_MIN_BYTES = 6 << 20
"""Bytes to read from which a second process is worth its start."""
BATCH_BYTES = 512 << 10
"""Bytes of text that are handed over at once, about."""
BATCH_EVENTS = 1_000
"""Events that are handed over at once, at most."""
BATCH_S = 60.0
"""Seconds that the process may take for a batch."""
MEMORY_MB = 2048
"""Address space of the process: a line may have 256 MB."""
BUSY_PERCENT = 30.0
"""Share of the time in which programs wait for a processor, above which none counts as free."""
_PRESSURE = Path("/proc/pressure/cpu")
_PIPE_BYTES = 1 << 20

_log = logging.getLogger(__name__)


def stream_events(
    reader: TranscriptReader, source: TranscriptSource, size: int
) -> Iterator[EventRows]:
    """Yield what a reader finds from `source.offset` on in a file of `size` bytes, in order."""
    start = source.offset
    relay = None
    if source.path.endswith(".jsonl") and size - start >= PARALLEL_MIN_BYTES and _has_idle_cpu():
        relay = ParserProcess.start_process(source)
    try:
        yield from map(event_rows, reader.read_events(source, start))
        if relay is None or not source.pause or source.offset == start:
            return  # all was read, or the file is not one of lines
        source.pause = False
        if not (yield from relay.stream_items(reader)):
            _log.warning("A process that read a transcript ended early; the rest is read here.")
            yield from map(event_rows, reader.read_events(source, source.offset))
    finally:
        if relay is not None:
            relay.close()


class ParserProcess:
    """The other process; it sets `source.pause` as soon as it may be handed the file."""

    def __init__(self, source: TranscriptSource, child: subprocess.Popen[bytes]) -> None:
        self._source, self._child = source, child
        self._asked_at: float | None = None
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._watch_process, name="rlm-parser", daemon=True)
        self._watch.start()

    @classmethod
    def start_process(cls, source: TranscriptSource) -> ParserProcess | None:
        """Return a process that starts now; None where none can be had."""
        kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
        try:
            child = subprocess.Popen(
                module_command("rlm_mcp.sessions.parser_process"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=kept,
            )
        except OSError as error:
            _log.warning("No process could be started to read a transcript: %s", error)
            return None
        return cls(source, child)

    def stream_items(self, reader: TranscriptReader) -> Generator[EventRows, None, bool]:
        """Yield what the process finds behind `source.offset`; say whether it read to the end."""
        source = self._source
        order = (reader.agent, reader.layout, source.path, source.key, source.offset, source.state)
        try:
            assert self._child.stdin is not None
            self._child.stdin.write(marshal.dumps(order))
            self._child.stdin.close()
            more = True
            while more:
                more, offset, state, found = self._read_batch()
                yield from map(_unpack_event, found)
                source.offset = offset
                source.state.clear()
                source.state.update(state)
        except (OSError, EOFError, ValueError, TypeError):
            return False
        return True

    def close(self) -> None:
        """End the process."""
        self._closed.set()
        self._child.kill()
        self._watch.join()
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        self._child.wait()

    def _read_batch(self) -> Any:
        """Return the next batch."""
        stream = self._child.stdout
        assert stream is not None
        self._asked_at = time.monotonic()
        size = int.from_bytes(stream.read(8), "little")
        data = stream.read(size)
        self._asked_at = None
        return marshal.loads(data)

    def _watch_process(self) -> None:
        """Wait until the process is up; from then on end it where it is at a batch too long."""
        stream = self._child.stdout
        assert stream is not None
        _widen_pipe(stream)
        self._source.pause = stream.read(1) == b"+"
        while not self._closed.wait(BATCH_S / 4):
            asked = self._asked_at
            if asked is not None and time.monotonic() - asked > BATCH_S:
                self._child.kill()


def _has_idle_cpu() -> bool:
    """Say whether a processor is free: where none is, two processes would only take turns."""
    several = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if several else os.cpu_count() or 1
    if count == 1:
        return False
    try:
        # "some avg10=1.23 ...": the share of the last ten seconds in which somebody had to wait.
        share = _PRESSURE.read_text().split()[1].removeprefix("avg10=")
        return float(share) < BUSY_PERCENT
    except (OSError, ValueError, IndexError):  # not Linux, or an old one
        return not hasattr(os, "getloadavg") or os.getloadavg()[0] < count


def _widen_pipe(pipe: IO[bytes]) -> None:
    """Let a pipe hold a batch, where the system can: its writer then goes on meanwhile."""
    try:
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        pass


_OTHERS: tuple[type[SkippedRecord] | type[SessionMetadata] | type[Rewind], ...] = (
    SkippedRecord,
    SessionMetadata,
    Rewind,
)
_FIELDS = {kind: tuple(kind.__dataclass_fields__) for kind in _OTHERS}


def _pack_event(item: EventRows) -> tuple[Any, ...]:
    """Return an item as plain values, which `marshal` takes and gives back unchanged."""
    event, rows, key = item
    if not isinstance(event, MessagePiece):
        kind = type(event)
        return (_OTHERS.index(kind), *(getattr(event, name) for name in _FIELDS[kind]))
    used = event.usage
    return (
        rows, key, None if used is None else tuple(used), event.role, event.origin, event.start,
        event.end, event.native, event.group, event.parent, event.ts, event.model, event.cwd,
        event.usage_key, event.boundary, event.keeps, event.thread, event.pointer,
    )  # fmt: skip


def _unpack_event(values: tuple[Any, ...]) -> EventRows:
    if isinstance(values[0], int):
        event: TranscriptEvent = _OTHERS[values[0]](*values[1:])
        return event, (), 0
    (
        rows, key, used, role, origin, start, end, native, group, parent, ts, model, cwd,
        usage_key, boundary, keeps, thread, pointer,
    ) = values  # fmt: skip
    usage = None if used is None else TurnUsage(*used)
    piece = MessagePiece(
        role, origin, [], start, end, native, group, parent, ts, model, cwd, usage, usage_key,
        boundary, keeps, thread, pointer,
    )  # fmt: skip
    return piece, rows, key


def main() -> None:
    """Say that the process is up, take an order, and write batches until the file ends."""
    from rlm_mcp.sessions.readers import READERS

    limit_memory(MEMORY_MB)
    gc.disable()  # records make no cycles, and looking for them takes a twentieth of the time
    sink, sys.stdout = sys.stdout.buffer, sys.stderr
    sink.write(b"+")
    sink.flush()
    agent, layout, path, key, start, state = marshal.loads(sys.stdin.buffer.read())
    reader = next(one for one in READERS if (one.agent, one.layout) == (agent, layout))
    source = TranscriptSource(path, key, state, start)
    more = True
    while more:
        more, found = _parse_batch(reader, source)
        data = marshal.dumps((more, source.offset, source.state, found))
        sink.write(len(data).to_bytes(8, "little"))
        sink.write(data)
        sink.flush()


def _parse_batch(
    reader: TranscriptReader, source: TranscriptSource
) -> tuple[bool, list[tuple[Any, ...]]]:
    """Return what whole records hold until a batch is full, and whether there may be more."""
    found: list[tuple[Any, ...]] = []
    size = 0
    source.pause = False
    for item in map(event_rows, reader.read_events(source, source.offset)):
        found.append(_pack_event(item))
        size += sum([len(row[-1]) for row in item[1]])
        source.pause = size >= BATCH_BYTES or len(found) >= BATCH_EVENTS
    return source.pause, found
