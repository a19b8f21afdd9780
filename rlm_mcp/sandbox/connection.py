"""A conversation with one worker: orders out, host calls in, a clock over both.

The worker is treated as hostile. What it sends is checked by size, type and order; anything else
is a Violation, and the caller kills it. Nothing here waits longer than the clock allows.
"""

from __future__ import annotations

import inspect
import secrets
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlm_mcp.errors import RlmError
from rlm_mcp.sandbox import wire
from rlm_mcp.sandbox.process import WorkerProcess, memory_watch
from rlm_mcp.sandbox.wire_values import (
    MAX_SNAPSHOT_BYTES,
    Attachment,
    BindingAnswer,
    HostFunctionError,
    SandboxLimits,
)

GRACE_SECONDS = 0.6
"""How long a cell that ran out of time may take to stop before its worker is killed."""
INTERRUPT_SECONDS = 1.0
"""The same for one that was interrupted."""
WALL_TIME_FACTOR = 18
"""How many times its limit a cell may take, calls of the host included and models excepted: with
the call that is then going on, it ends within twenty times."""
BEGIN_SECONDS = 5.0
"""How long a worker may take to begin with an order: it has nothing else to do."""
_TICK = 0.1
_ANSWER_LIMIT = 32 << 20
_BEGUN_BYTES = 100
_BYTES_PER_CHARACTER = 6
"""The most that JSON makes of one: a worker counts characters, a line bytes."""

HostFunctions = Mapping[str, Callable[..., Any]]
WireOrder = tuple[wire.Message, bytes, tuple[int, ...]]
"""An order with its raw bytes and the descriptors that go with it."""


class WorkerUnready(Exception):
    """The worker did not take an order: it is gone, goes on with something of its own, or sent
    what nobody asked for. Nothing of the order was done.
    """


class CellClock:
    """The time that a cell has left, and whether it was told to stop.

    One clock stands still while the host works, another only while the host waits for a model.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.start_counting()
        self._hard: float | None = None
        self._reason: str | None = None
        self._lock = threading.Lock()

    def start_counting(self) -> None:
        """Count from now on."""
        self._soft = time.monotonic() + self.seconds
        self._whole = time.monotonic() + WALL_TIME_FACTOR * self.seconds

    @property
    def stop_reason(self) -> str | None:
        """Why the cell was stopped, or None."""
        return self._reason

    @property
    def is_overdue(self) -> bool:
        """Whether the worker must be killed."""
        return self._hard is not None and time.monotonic() >= self._hard

    @property
    def send_deadline(self) -> float:
        """The latest moment at which sending to the worker may still be going on."""
        return self._hard if self._hard is not None else self._soft + GRACE_SECONDS

    @property
    def next_tick(self) -> float:
        """The next moment to look for an interrupt."""
        return time.monotonic() + _TICK

    @property
    def next_check(self) -> float:
        """When to look at the clock again."""
        return min(self.next_tick, self._hard if self._hard is not None else max(self._soft, 0.0))

    def begin_stop(self, reason: str, grace: float) -> None:
        """Begin to stop the cell; the first reason counts."""
        with self._lock:
            if self._hard is None:
                self._reason = reason
                self._hard = time.monotonic() + grace

    def check_stop(self) -> bool:
        """Say whether the cell should be told to stop now."""
        if self._hard is None and time.monotonic() >= self._soft:
            self.begin_stop(f"it ran longer than {self.seconds:g} s", GRACE_SECONDS)
        if self._hard is None and time.monotonic() >= self._whole:
            self.begin_stop(
                f"it took longer than {WALL_TIME_FACTOR * self.seconds:g} s with its "
                "calls of the host, "
                f"{WALL_TIME_FACTOR} times its limit of {self.seconds:g} s (waiting for "
                "models excepted); "
                "make fewer or smaller calls, split the work over several cells, "
                "or give the cell more time",
                GRACE_SECONDS,
            )
        return self._hard is not None

    def give_back(self, seconds: float, waited: float = 0.0) -> None:
        """Give back time in which the host worked; for `waited` of it, it waited for a model."""
        with self._lock:
            self._soft += seconds
            self._whole += min(seconds, waited)
            if self._hard is not None:
                self._hard += seconds


class WorkerConnection:
    """One worker, its line, and the host functions lent to it."""

    def __init__(
        self,
        process: WorkerProcess,
        host: HostFunctions,
        limits: SandboxLimits,
        attach: Callable[[str, Attachment], WireOrder] | None = None,
        waited: Callable[[], float] = lambda: 0.0,
        draw: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self.process = process
        self._draw = draw
        self._host = host
        self._waited = waited
        """Tells the seconds in which host functions have waited for models."""
        self._attach = attach
        """Remembers a context variable that an answer binds, and returns the order that does."""
        self._limit = _BYTES_PER_CHARACTER * (limits.wire_bytes + 2 * limits.output_chars)
        self._call_chars = limits.call_bytes + (1 << 16)
        self._call_limit = max(self._limit, 2 * limits.call_bytes + (1 << 16))
        self.calls = 0
        """Calls of the host that this worker has made."""
        self._nonce = ""

    def send_order(
        self, order: wire.Message, clock: CellClock, raw: bytes = b"", fds: Sequence[int] = ()
    ) -> tuple[wire.Message, bytes]:
        """Send an order, answer the calls that it makes, and return its result.

        Raises Closed, Late or Violation, or Unready before anything of the order was done: the
        worker must then be killed. Every frame of a worker carries the nonce of the order that is
        going on, so that nothing which it sent before can be taken for an answer.
        """
        self._nonce = self._draw()
        memory_watch.watch_process(self.process)
        try:
            self._begin_order(order, clock, raw, fds)
            return self._answer_calls(clock)
        finally:
            memory_watch.unwatch_soon(self.process)

    def _begin_order(
        self, order: wire.Message, clock: CellClock, raw: bytes, fds: Sequence[int]
    ) -> None:
        """Send an order and wait until the worker begins with it."""
        line, until = self.process.channel, time.monotonic() + BEGIN_SECONDS
        self._widen_for(order)
        try:
            line.send(wire.encode_frame({**order, "nonce": self._nonce}, raw), until, fds)
            while True:
                try:
                    message, blob = line.receive(min(clock.next_tick, until), _BEGUN_BYTES)
                    break
                except wire.DeadlinePassed:
                    if clock.is_overdue or time.monotonic() >= until:
                        raise
        except (wire.ChannelClosed, wire.DeadlinePassed, wire.ProtocolViolation) as error:
            raise WorkerUnready(f"it did not begin ({type(error).__name__})") from error
        if message != {"op": "begun", "nonce": self._nonce} or blob:
            raise WorkerUnready("it sent what nobody asked for")
        clock.start_counting()

    def _answer_calls(self, clock: CellClock) -> tuple[wire.Message, bytes]:
        line = self.process.channel
        while True:
            try:
                message, blob = line.receive(
                    clock.next_check, self._call_limit, MAX_SNAPSHOT_BYTES, self._call_chars
                )
            except wire.DeadlinePassed:
                if clock.is_overdue:
                    raise
                if clock.check_stop():
                    self.process.send_signal(signal.SIGINT)
                continue
            if message.get("nonce") != self._nonce:
                raise wire.ProtocolViolation("a frame that belongs to no order")
            if message.get("op") == "done":
                if line.taken > self._limit:
                    raise wire.ProtocolViolation(f"an answer of {line.taken:,} bytes")
                return message, blob
            started, waited = time.monotonic(), self._waited()
            answer, passed = self._answer_call(message, blob, clock.check_stop())
            clock.give_back(time.monotonic() - started, self._waited() - waited)
            if clock.check_stop():
                self.process.send_signal(signal.SIGINT)
            line.send(answer, clock.send_deadline, passed)

    def _widen_for(self, order: wire.Message) -> None:
        """Let the worker map the context that an order attaches."""
        if order.get("op") == "attach" and order["source"]:
            self.process.raise_limit(order["length"])

    def _answer_call(
        self, message: wire.Message, blob: bytes, late: bool
    ) -> tuple[bytes | bytearray, tuple[int, ...]]:
        number, name = message.get("id"), message.get("name")
        positional, named = message.get("args"), message.get("kwargs")
        if message.get("op") != "host" or blob or len(message) != 6:
            raise wire.ProtocolViolation("an unexpected frame")
        if type(number) is not int or number != self.calls + 1:
            raise wire.ProtocolViolation("a call out of order")
        if type(name) is not str or type(positional) is not list or type(named) is not dict:
            raise wire.ProtocolViolation("a malformed call")
        self.calls += 1
        if late:
            answer: dict[str, Any] = {
                "error": "the cell was told to stop; nothing more is done for it"
            }
        else:
            answer = self._call_host(name, wire.checked_copy(positional), wire.checked_copy(named))
        raw, fds = answer.pop("raw", b""), answer.pop("fds", ())
        try:
            return wire.encode_frame({"op": "answer", "id": number, **answer}, raw), fds
        except (ValueError, TypeError):
            text = f"{name} gave an answer that cannot be passed"
            return wire.encode_frame({"op": "answer", "id": number, "error": text}), ()

    def _call_host(self, name: str, positional: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        function = self._host.get(name)
        if function is None:
            return {"error": f"{name} is not available in this environment"}
        try:
            inspect.signature(function).bind(*positional, **named)
        except TypeError as error:
            return {"error": f"{name}(): {error}", "type": True}
        except ValueError:
            pass  # a builtin without a signature
        try:
            value, bound = function(*positional, **named), {}
            if isinstance(value, BindingAnswer) and self._attach is not None:
                order, raw, fds = self._attach(value.name, value.attachment)
                self._widen_for(order)
                value, bound = value.value, {"attach": order, "raw": raw, "fds": fds}
            return {"value": wire.plain_copy(value, _ANSWER_LIMIT), **bound}
        except (RlmError, HostFunctionError) as error:
            return {"error": str(error)}
        except Exception as error:
            return {"error": f"{name} failed in the host ({type(error).__name__}: {error})"[:2000]}
