"""What the parent remembers of an environment, so that a new worker can be given it.

Attached contexts, tools, host functions, and the last snapshot (opaque bytes made by the worker).
The results of cells are checked here by exact type before anything else sees them.
"""

from __future__ import annotations

import array
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlm_mcp.encodings import without_surrogates
from rlm_mcp.errors import SandboxError
from rlm_mcp.sandbox import wire
from rlm_mcp.sandbox.connection import CellClock, WireOrder, WorkerConnection
from rlm_mcp.sandbox.mapped import merge_spans
from rlm_mcp.sandbox.wire_values import AfterCell, Attachment, SandboxOutcome
from rlm_mcp.tool_table import HOST_CALLS

REPLAY_SECONDS = 10.0
_NAMES_SHOWN = 50
_SIZES = (int, type(None))
_Finish = Callable[[float], SandboxOutcome]


@dataclass(frozen=True, slots=True)
class _AttachedVariable:
    attachment: Attachment
    fd: int | None
    length: int
    spans: bytes


class SandboxJournal:
    """The memory of one environment."""

    def __init__(self, host: list[str], tools: dict[str, str]) -> None:
        self.tools = tools
        # What the sdk asks for is not bound as a plain name.
        self._host = [name for name in host if name not in HOST_CALLS]
        self._attached: dict[str, _AttachedVariable] = {}
        self._snapshot = b""
        self._unkept: tuple[str, ...] = ()
        self._bound: tuple[str, ...] = ()

    def remember_variable(self, name: str, attachment: Attachment) -> None:
        """Remember a context variable, with a descriptor of its own that can only be read."""
        if not name.isidentifier():
            raise SandboxError(f"{name!r} is no name for a variable.")
        fd, length, spans = None, 0, b""
        if attachment.source is not None:
            given, pairs, _ = attachment.source
            fd = open_readonly(given)
            length = os.fstat(fd).st_size
            places, sizes = merge_spans(pairs)
            spans = array.array("Q", [*places, *sizes]).tobytes()
        old = self._attached.pop(name, None)
        if old is not None and old.fd is not None:
            os.close(old.fd)
        self._attached[name] = _AttachedVariable(attachment, fd, length, spans)

    def remember_and_order(self, name: str, attachment: Attachment) -> WireOrder:
        """Remember a context variable and return the order that binds it."""
        self.remember_variable(name, attachment)
        return self.attach_order(name)

    def attach_order(self, name: str) -> WireOrder:
        """Return the order that binds a remembered context variable."""
        held = self._attached[name]
        order = {
            "op": "attach",
            "name": name,
            "kind": held.attachment.kind,
            "describe": held.attachment.describe,
            "methods": dict(held.attachment.methods),
            "source": held.attachment.source is not None,
            "length": held.length,
        }
        return order, held.spans, (held.fd,) if held.fd is not None else ()

    def replay_into(self, link: WorkerConnection, *, with_snapshot: bool) -> tuple[str, ...]:
        """Give a fresh worker everything; return the names that it could not be given."""
        clock = CellClock(REPLAY_SECONDS)
        bound, _ = link.send_order({"op": "bind", "host": self._host, "tools": self.tools}, clock)
        failed = bound.get("failed")
        if type(failed) is dict and failed:
            name, why = next(iter(failed.items()))
            raise SandboxError(f"The tool {name} cannot be loaded: {why}")
        for name in self._attached:
            link.send_order(*_with_clock(self.attach_order(name), clock))
        if not self._snapshot:
            return self._unkept
        if not with_snapshot:
            self._snapshot = b""
            self._unkept = self._bound
            return self._bound
        done, _ = link.send_order({"op": "restore"}, clock, self._snapshot)
        lost = _checked_words(done.get("lost")) if done.get("whole") is True else self._bound
        return tuple(dict.fromkeys([*self._unkept, *lost]))

    def remember_snapshot(self, done: wire.Message, snapshot: bytes) -> None:
        """Keep the snapshot that came with a result."""
        if done.get("kept") is True:
            self._snapshot = snapshot
            self._unkept = _checked_words(done.get("unkept"))
            self._bound = _checked_words(done.get("bound"))
        elif snapshot:
            raise wire.ProtocolViolation("a snapshot that was not announced")

    def checked_outcome(self, done: wire.Message, snapshot: bytes, clock: CellClock) -> _Finish:
        """Check the result of a cell and remember its snapshot. Raises Violation."""
        stdout, shown = done.get("stdout"), done.get("shown")
        value_repr, error = done.get("repr"), done.get("error")
        chars, interrupted = done.get("chars"), done.get("interrupted")
        if type(stdout) is not str or type(chars) is not int or type(interrupted) is not bool:
            raise wire.ProtocolViolation("a malformed result")
        if any(text is not None and type(text) is not str for text in (shown, value_repr, error)):
            raise wire.ProtocolViolation("a malformed result")
        after, value = _checked_after(done.get("after")), wire.checked_copy(done.get("value"))
        self.remember_snapshot(done, snapshot)
        if interrupted:
            why = clock.stop_reason or "it was told to stop"
            error = f"Stopped: {why}. What it had set until then is kept."
        return lambda seconds: SandboxOutcome(
            stdout=without_surrogates(stdout),
            value_repr=None if value_repr is None else without_surrogates(value_repr),
            error=None if error is None else without_surrogates(error),
            killed=False,
            seconds=seconds,
            lost=(),
            value=value,
            shown=None if shown is None else without_surrogates(shown),
            stdout_chars=chars,
            interrupted=interrupted,
            after=after,
        )

    def close(self) -> None:
        """Release the descriptors of the contexts."""
        for held in self._attached.values():
            if held.fd is not None:
                os.close(held.fd)
        self._attached.clear()


def open_readonly(fd: int) -> int:
    """Return a descriptor of the same file that can only be read: a worker may be hostile."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise SandboxError("A context can only be mapped from a regular file.")
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            copy = os.open(f"{folder}/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        import fcntl  # absent on Windows, where this line is never reached

        if fcntl.fcntl(copy, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            return copy
        os.close(copy)  # some systems duplicate the descriptor with its rights
    raise SandboxError("The file of a context cannot be opened read-only for the sandbox.")


def _with_clock(
    order: WireOrder, clock: CellClock
) -> tuple[wire.Message, CellClock, bytes, tuple[int, ...]]:
    message, raw, fds = order
    return message, clock, raw, fds


def checked_rows(value: Any) -> list[dict[str, Any]]:
    """Return the rows that a worker lists of its variables. Raises Violation."""
    if type(value) is not list:
        raise wire.ProtocolViolation("no list of variables")
    return [_checked_row(row) for row in value]


def _checked_row(row: Any) -> dict[str, Any]:
    if type(row) is not dict or not {"name", "type", "size", "preview"} == row.keys():
        raise wire.ProtocolViolation("a malformed row of a variable")
    words = {name: row[name] for name in ("name", "type", "preview")}
    if any(type(word) is not str for word in words.values()) or type(row["size"]) not in _SIZES:
        raise wire.ProtocolViolation("a malformed row of a variable")
    return {**{name: without_surrogates(word) for name, word in words.items()}, "size": row["size"]}


def _checked_after(value: Any) -> AfterCell | None:
    if value is None:
        return None
    if type(value) is not dict or type(value.get("copied")) is not bool:
        raise wire.ProtocolViolation("a malformed result")
    ready = value.get("ready")
    if ready is not None and type(ready) is not bool:
        raise wire.ProtocolViolation("a malformed result")
    kept = wire.checked_copy(value.get("value"))
    return AfterCell(checked_rows(value.get("names")), value["copied"], kept, ready)


def _checked_words(value: Any) -> tuple[str, ...]:
    if type(value) is not list:
        return ()
    words = [
        without_surrogates(word)[:80] for word in value[: _NAMES_SHOWN + 1] if type(word) is str
    ]
    if len(value) > _NAMES_SHOWN:
        words[_NAMES_SHOWN:] = [f"and {len(value) - _NAMES_SHOWN} more"]
    return tuple(words)
