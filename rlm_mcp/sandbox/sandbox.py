"""The sandbox as the rest of the program sees it: run cells, call tools, lend host functions.

A `Sandbox` is one jailed worker with a lasting environment. A worker that does not stop, dies or
breaks the protocol is killed and replaced; what the environment held is restored from the journal,
and what could not be is named in the outcome.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rlm_mcp.errors import BadRequest, SandboxError, did_you_mean
from rlm_mcp.sandbox import pool, wire
from rlm_mcp.sandbox.connection import INTERRUPT_SECONDS, CellClock, WorkerConnection, WorkerUnready
from rlm_mcp.sandbox.namespace_journal import SandboxJournal, checked_rows
from rlm_mcp.sandbox.wire_values import Attachment, SandboxLimits, SandboxOutcome

ORDER_SECONDS = 20.0
"""How long a worker may take over what is no cell (binding, copying a variable)."""


class Sandbox:
    """A jailed worker with an environment of its own. Blocking; one cell at a time.

    `host` functions are called in the thread that runs the cell, with plain JSON values, and
    return JSON values; raise HostError or an RlmError for what the cell should read. `tools` are
    source texts of files that define a function of their own name. `language` and `kernel` are for
    tests of one layer without the other; nothing that a user can set reaches them. `reduced` allows
    less than a full kernel layer, and is the user's own decision alone. `waited` tells for how many
    seconds host functions have waited for models, which is nothing that a cell can help.
    """

    def __init__(
        self,
        *,
        limits: SandboxLimits | None = None,
        host: Mapping[str, Callable[..., Any]] | None = None,
        tools: Mapping[str, str] | None = None,
        language: bool = True,
        kernel: bool = True,
        reduced: bool = False,
        waited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.limits = limits or SandboxLimits()
        self._waited = waited
        self._host = dict(host or {})
        self._config = pool.WorkerConfig(
            self.limits.memory_mb,
            self.limits.output_chars,
            self.limits.wire_bytes,
            self.limits.call_bytes,
            language,
            kernel,
        )
        self._reduced = reduced
        self._journal = SandboxJournal(list(self._host), dict(tools or {}))
        self._lock = threading.Lock()
        self._runner: int | None = None
        self._clock: CellClock | None = None
        self._closed = False
        self._connection: WorkerConnection | None = None
        self.layers: tuple[str, ...] = ()
        """The active layers, by name, after the worker's self-test."""
        with self._take_turn():
            self._start_worker()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Cells and tools

    def execute(self, code: str, *, seconds: float | None = None, look: str = "") -> SandboxOutcome:
        """Run one cell; never raises for what the cell does.

        With `look`, the outcome tells what there was after it (`Outcome.after`): the names, and
        that variable. It comes in the cell's own reply: asking for both takes two more.
        """
        return self._execute_order({"op": "run", "code": str(code), "look": look}, seconds)

    def call_tool(
        self, tool: str, arguments: Mapping[str, Any], *, seconds: float | None = None
    ) -> SandboxOutcome:
        """Call a tool's function; `Outcome.shown` is what an agent sees."""
        if tool not in self._journal.tools:
            raise BadRequest(f"There is no tool {tool!r}.{did_you_mean(tool, self._journal.tools)}")
        order = {"op": "call", "tool": tool, "arguments": wire.plain_copy(dict(arguments))}
        return self._execute_order(order, seconds)

    def interrupt(self, reason: str) -> None:
        """Stop the running cell, from any thread; it is killed if it has not stopped after 1 s."""
        clock, link = self._clock, self._connection
        if clock is not None and link is not None:
            clock.begin_stop(reason, INTERRUPT_SECONDS)
            link.process.send_signal(signal.SIGINT)

    # Variables

    def attach_variable(self, name: str, attachment: Attachment) -> None:
        """Bind or rebind a context variable; its text is mapped, not copied."""
        with self._take_turn():
            self._send_order(*self._journal.remember_and_order(name, attachment))

    def set_variable(self, name: str, value: Any) -> None:
        """Bind a plain JSON value."""
        with self._take_turn():
            self._send_order({"op": "set", "name": name, "value": wire.plain_copy(value)})

    def get_variable(self, name: str, default: Any = None) -> Any:
        """Return a JSON copy of a variable; `default` if there is none.

        Raises BadRequest for a value that is not plain or is over the limit of the wire.
        """
        with self._take_turn():
            answer = self._send_order({"op": "get", "name": name})
        if answer.get("problem"):
            raise BadRequest(f"The variable {name!r} cannot be copied: {answer['problem']}.")
        return answer.get("value") if answer.get("found") is True else default

    def get_text(self, name: str, start: int = 0, end: int | None = None) -> str | None:
        """Return characters `start` to `end` of a text variable, None if it is no text.

        Long texts are fetched in parts of the wire's limit.
        """
        parts: list[str] = []
        step = self.limits.wire_bytes // 4
        with self._take_turn():
            while end is None or start < end:
                stop = start + step if end is None else min(end, start + step)
                answer = self._send_order({"op": "text", "name": name, "start": start, "end": stop})
                text = answer.get("text")
                if type(text) is not str:
                    return None
                if len(text) > step:
                    self._drop_worker()
                    raise SandboxError("A sandbox worker sent more than it was asked for.")
                parts.append(text)
                start = stop
                if len(text) < step:
                    break
        return "".join(parts)

    def list_variables(self) -> list[dict[str, Any]]:
        """Return the variables that cells have bound: name, type, size, preview."""
        with self._take_turn():
            answer = self._send_order({"op": "names"})
        try:
            return checked_rows(answer.get("names"))
        except wire.ProtocolViolation as error:
            raise SandboxError(f"The sandbox worker broke its protocol: {error}.") from None

    def close(self) -> None:
        """End the worker; a running cell ends as killed."""
        self._closed = True
        link = self._connection
        if link is not None:
            link.process.kill_worker()
        if self._lock.acquire(timeout=5.0):
            self._journal.close()
            self._lock.release()

    # One thing at a time

    @contextmanager
    def _take_turn(self) -> Iterator[None]:
        if self._runner == threading.get_ident():
            raise SandboxError("This environment is busy with the cell that made this call.")
        with self._lock:
            if self._closed:
                raise SandboxError("This environment is closed.")
            self._runner = threading.get_ident()
            try:
                yield
            finally:
                self._runner = None

    def _execute_order(self, order: wire.Message, seconds: float | None) -> SandboxOutcome:
        seconds = self.limits.seconds if seconds is None else seconds
        with self._take_turn():
            if self._connection is None:
                self._start_worker()
            try:
                return self._attempt_order(order, seconds)
            except WorkerUnready:  # nothing of the cell was done: its successor runs it
                pass
            self._drop_worker()
            lost = () if self._closed else self._start_worker()
            try:
                again = self._attempt_order(order, seconds)
            except WorkerUnready as error:
                return self._replace_worker(error, CellClock(seconds), 0.0)
            return replace(again, killed=True, lost=tuple(dict.fromkeys([*lost, *again.lost])))

    def _attempt_order(self, order: wire.Message, seconds: float) -> SandboxOutcome:
        if self._connection is None:
            raise WorkerUnready("the environment is closed")
        clock = self._clock = CellClock(seconds)
        started = time.monotonic()
        try:
            done, snapshot = self._connection.send_order(order, clock)
            outcome = self._journal.checked_outcome(done, snapshot, clock)
        except (wire.ChannelClosed, wire.DeadlinePassed, wire.ProtocolViolation) as error:
            return self._replace_worker(error, clock, time.monotonic() - started)
        except WorkerUnready as error:
            if clock.stop_reason is not None:
                return self._replace_worker(error, clock, time.monotonic() - started)
            raise
        except BaseException:  # from a host function: the worker still waits for its answer
            self._drop_worker()
            raise
        finally:
            self._clock = None
        return outcome(time.monotonic() - started)

    def _send_order(
        self, order: wire.Message, raw: bytes = b"", fds: tuple[int, ...] = ()
    ) -> wire.Message:
        try:
            return self._send_once(order, raw, fds)
        except WorkerUnready:
            self._drop_worker()
        try:
            return self._send_once(order, raw, fds)
        except WorkerUnready as error:
            self._drop_worker()
            raise SandboxError("A sandbox worker did not answer; it is replaced.") from error

    def _send_once(self, order: wire.Message, raw: bytes, fds: tuple[int, ...]) -> wire.Message:
        if self._connection is None:
            self._start_worker()
        assert self._connection is not None
        try:
            done, snapshot = self._connection.send_order(order, CellClock(ORDER_SECONDS), raw, fds)
            self._journal.remember_snapshot(done, snapshot)
            return done
        except (wire.ChannelClosed, wire.DeadlinePassed, wire.ProtocolViolation) as error:
            self._drop_worker()
            raise SandboxError("A sandbox worker did not answer; it is replaced.") from error

    # Workers

    def _start_worker(self) -> tuple[str, ...]:
        """Take a worker and give it everything that the journal holds; return what was lost."""
        lost: tuple[str, ...] = ()
        for with_snapshot in (True, False):
            process, self.layers = pool.take_worker(self._config, reduced=self._reduced)
            link = WorkerConnection(
                process, self._host, self.limits, self._journal.remember_and_order, self._waited
            )
            try:
                lost = self._journal.replay_into(link, with_snapshot=with_snapshot)
            except (wire.ChannelClosed, wire.DeadlinePassed, wire.ProtocolViolation, WorkerUnready):
                process.kill_worker()
                continue
            except BaseException:
                process.kill_worker()
                raise
            self._connection = link
            if self._closed:
                process.kill_worker()
            return lost
        raise SandboxError("A sandbox worker could not be prepared; run rlm-mcp doctor.")

    def _drop_worker(self) -> None:
        if self._connection is not None:
            self._connection.process.kill_worker()
        self._connection = None

    def _replace_worker(self, error: Exception, clock: CellClock, seconds: float) -> SandboxOutcome:
        held = self._connection.process.killed_bytes >> 20 if self._connection is not None else 0
        self._drop_worker()
        lost: tuple[str, ...] = ()
        if not self._closed:
            lost = self._start_worker()
        if self._closed:
            why = "the environment was closed"
        elif clock.stop_reason is not None:
            why = clock.stop_reason
        elif held:
            why = f"it held {held:,} MB and the memory limit is {self.limits.memory_mb} MB"
        elif isinstance(error, wire.ProtocolViolation):
            why = f"its worker broke the protocol ({error})"
        else:
            why = f"its worker died (the memory limit is {self.limits.memory_mb} MB)"
        text = f"Killed: {why}. Variables are as they were before this cell."
        if lost:
            text += f" Lost: {', '.join(lost)}."
        return SandboxOutcome("", None, text, True, seconds, lost)


def sandbox_layers(*, reduced: bool = False) -> tuple[str, ...]:
    """Return the layers that a worker here has, by name, after its self-test."""
    with Sandbox(reduced=reduced) as sandbox:
        return sandbox.layers
