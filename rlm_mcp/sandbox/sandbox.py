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
from rlm_mcp.sandbox.journal import Journal, rows
from rlm_mcp.sandbox.link import INTERRUPT_SECONDS, Clock, Link, Unready
from rlm_mcp.sandbox.values import Attachment, Limits, Outcome

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
        limits: Limits | None = None,
        host: Mapping[str, Callable[..., Any]] | None = None,
        tools: Mapping[str, str] | None = None,
        language: bool = True,
        kernel: bool = True,
        reduced: bool = False,
        waited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.limits = limits or Limits()
        self._waited = waited
        self._host = dict(host or {})
        self._config = pool.Config(
            self.limits.memory_mb,
            self.limits.output_chars,
            self.limits.wire_bytes,
            self.limits.call_bytes,
            language,
            kernel,
        )
        self._reduced = reduced
        self._journal = Journal(list(self._host), dict(tools or {}))
        self._lock = threading.Lock()
        self._runner: int | None = None
        self._clock: Clock | None = None
        self._closed = False
        self._link: Link | None = None
        self.layers: tuple[str, ...] = ()
        """The active layers, by name, after the worker's self-test."""
        with self._turn():
            self._start()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Cells and tools

    def run(self, code: str, *, seconds: float | None = None, look: str = "") -> Outcome:
        """Run one cell; never raises for what the cell does.

        With `look`, the outcome tells what there was after it (`Outcome.after`): the names, and
        that variable. It comes in the cell's own reply: asking for both takes two more.
        """
        return self._cell({"op": "run", "code": str(code), "look": look}, seconds)

    def call(
        self, tool: str, arguments: Mapping[str, Any], *, seconds: float | None = None
    ) -> Outcome:
        """Call a tool's function; `Outcome.shown` is what an agent sees."""
        if tool not in self._journal.tools:
            raise BadRequest(f"There is no tool {tool!r}.{did_you_mean(tool, self._journal.tools)}")
        order = {"op": "call", "tool": tool, "arguments": wire.plain(dict(arguments))}
        return self._cell(order, seconds)

    def interrupt(self, reason: str) -> None:
        """Stop the running cell, from any thread; it is killed if it has not stopped after 1 s."""
        clock, link = self._clock, self._link
        if clock is not None and link is not None:
            clock.stop(reason, INTERRUPT_SECONDS)
            link.process.signal(signal.SIGINT)

    # Variables

    def attach(self, name: str, attachment: Attachment) -> None:
        """Bind or rebind a context variable; its text is mapped, not copied."""
        with self._turn():
            self._order(*self._journal.attached(name, attachment))

    def set(self, name: str, value: Any) -> None:
        """Bind a plain JSON value."""
        with self._turn():
            self._order({"op": "set", "name": name, "value": wire.plain(value)})

    def get(self, name: str, default: Any = None) -> Any:
        """Return a JSON copy of a variable; `default` if there is none.

        Raises BadRequest for a value that is not plain or is over the limit of the wire.
        """
        with self._turn():
            answer = self._order({"op": "get", "name": name})
        if answer.get("problem"):
            raise BadRequest(f"The variable {name!r} cannot be copied: {answer['problem']}.")
        return answer.get("value") if answer.get("found") is True else default

    def get_text(self, name: str, start: int = 0, end: int | None = None) -> str | None:
        """Return characters `start` to `end` of a text variable, None if it is no text.

        Long texts are fetched in parts of the wire's limit.
        """
        parts: list[str] = []
        step = self.limits.wire_bytes // 4
        with self._turn():
            while end is None or start < end:
                stop = start + step if end is None else min(end, start + step)
                answer = self._order({"op": "text", "name": name, "start": start, "end": stop})
                text = answer.get("text")
                if type(text) is not str:
                    return None
                if len(text) > step:
                    self._drop()
                    raise SandboxError("A sandbox worker sent more than it was asked for.")
                parts.append(text)
                start = stop
                if len(text) < step:
                    break
        return "".join(parts)

    def names(self) -> list[dict[str, Any]]:
        """Return the variables that cells have bound: name, type, size, preview."""
        with self._turn():
            answer = self._order({"op": "names"})
        try:
            return rows(answer.get("names"))
        except wire.Violation as error:
            raise SandboxError(f"The sandbox worker broke its protocol: {error}.") from None

    def close(self) -> None:
        """End the worker; a running cell ends as killed."""
        self._closed = True
        link = self._link
        if link is not None:
            link.process.kill()
        if self._lock.acquire(timeout=5.0):
            self._journal.close()
            self._lock.release()

    # One thing at a time

    @contextmanager
    def _turn(self) -> Iterator[None]:
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

    def _cell(self, order: wire.Message, seconds: float | None) -> Outcome:
        seconds = self.limits.seconds if seconds is None else seconds
        with self._turn():
            if self._link is None:
                self._start()
            try:
                return self._attempt(order, seconds)
            except Unready:  # nothing of the cell was done: its successor runs it
                pass
            self._drop()
            lost = () if self._closed else self._start()
            try:
                again = self._attempt(order, seconds)
            except Unready as error:
                return self._replaced(error, Clock(seconds), 0.0)
            return replace(again, killed=True, lost=tuple(dict.fromkeys([*lost, *again.lost])))

    def _attempt(self, order: wire.Message, seconds: float) -> Outcome:
        if self._link is None:
            raise Unready("the environment is closed")
        clock = self._clock = Clock(seconds)
        started = time.monotonic()
        try:
            done, snapshot = self._link.order(order, clock)
            outcome = self._journal.outcome(done, snapshot, clock)
        except (wire.Closed, wire.Late, wire.Violation) as error:
            return self._replaced(error, clock, time.monotonic() - started)
        except Unready as error:
            if clock.reason is not None:
                return self._replaced(error, clock, time.monotonic() - started)
            raise
        except BaseException:  # from a host function: the worker still waits for its answer
            self._drop()
            raise
        finally:
            self._clock = None
        return outcome(time.monotonic() - started)

    def _order(
        self, order: wire.Message, raw: bytes = b"", fds: tuple[int, ...] = ()
    ) -> wire.Message:
        try:
            return self._ordered(order, raw, fds)
        except Unready:
            self._drop()
        try:
            return self._ordered(order, raw, fds)
        except Unready as error:
            self._drop()
            raise SandboxError("A sandbox worker did not answer; it is replaced.") from error

    def _ordered(self, order: wire.Message, raw: bytes, fds: tuple[int, ...]) -> wire.Message:
        if self._link is None:
            self._start()
        assert self._link is not None
        try:
            done, snapshot = self._link.order(order, Clock(ORDER_SECONDS), raw, fds)
            self._journal.remember(done, snapshot)
            return done
        except (wire.Closed, wire.Late, wire.Violation) as error:
            self._drop()
            raise SandboxError("A sandbox worker did not answer; it is replaced.") from error

    # Workers

    def _start(self) -> tuple[str, ...]:
        """Take a worker and give it everything that the journal holds; return what was lost."""
        lost: tuple[str, ...] = ()
        for with_snapshot in (True, False):
            process, self.layers = pool.take(self._config, reduced=self._reduced)
            link = Link(process, self._host, self.limits, self._journal.attached, self._waited)
            try:
                lost = self._journal.replay(link, with_snapshot=with_snapshot)
            except (wire.Closed, wire.Late, wire.Violation, Unready):
                process.kill()
                continue
            except BaseException:
                process.kill()
                raise
            self._link = link
            if self._closed:
                process.kill()
            return lost
        raise SandboxError("A sandbox worker could not be prepared; run rlm-mcp doctor.")

    def _drop(self) -> None:
        if self._link is not None:
            self._link.process.kill()
        self._link = None

    def _replaced(self, error: Exception, clock: Clock, seconds: float) -> Outcome:
        held = self._link.process.held >> 20 if self._link is not None else 0
        self._drop()
        lost: tuple[str, ...] = ()
        if not self._closed:
            lost = self._start()
        if self._closed:
            why = "the environment was closed"
        elif clock.reason is not None:
            why = clock.reason
        elif held:
            why = f"it held {held:,} MB and the memory limit is {self.limits.memory_mb} MB"
        elif isinstance(error, wire.Violation):
            why = f"its worker broke the protocol ({error})"
        else:
            why = f"its worker died (the memory limit is {self.limits.memory_mb} MB)"
        text = f"Killed: {why}. Variables are as they were before this cell."
        if lost:
            text += f" Lost: {', '.join(lost)}."
        return Outcome("", None, text, True, seconds, lost)


def layers(*, reduced: bool = False) -> tuple[str, ...]:
    """Return the layers that a worker here has, by name, after its self-test."""
    with Sandbox(reduced=reduced) as sandbox:
        return sandbox.layers
