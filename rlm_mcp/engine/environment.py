"""An environment as the event loop sees it: a sandbox with a thread of its own.

Cells and host functions run in that thread; a host function hands asynchronous work to the loop
and waits for it there, so that no cell can hold up the loop or another cell, at any depth.
Cancelling a cell cancels what it waits for, and stops the sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol, TypeVar

from rlm_mcp.contexts import manual
from rlm_mcp.contexts.variable import Variable
from rlm_mcp.engine.observe import describe_text
from rlm_mcp.errors import BadRequest, Cancelled, SandboxError
from rlm_mcp.sandbox import LONG, After, Attachment, Limits, Outcome, Sandbox

STOP_S = 0.9
"""How long a cancelled cell may take to end before its sandbox is closed."""
DRAINED_S = 20.0
"""How long the calls of a cell get to end: child runs end after those below them."""
SLICE = 500_000
"""Characters of a long text that are fetched at once."""

LONGEST_ANSWER = 50_000_000

_T = TypeVar("_T")


class Flights:
    """The asynchronous work that one thread waits for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = Lock()
        self._flying: set[Future[Any]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopped = False
        self.waited_s = 0.0
        """Seconds of waiting, all in all: for models, for child runs and for cells."""

    def wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine on the loop and return its result; raises Cancelled after `stop`."""
        with self._lock:
            if self._stopped:
                work.close()
                raise Cancelled("The caller stopped this work.")
            future = asyncio.run_coroutine_threadsafe(self._tracked(work), self.loop)
            self._flying.add(future)
        started = time.monotonic()
        try:
            got: _T = future.result()
            return got
        except (asyncio.CancelledError, TimeoutError) as error:
            raise Cancelled("The caller stopped this work.") from error
        finally:
            self.waited_s += time.monotonic() - started
            with self._lock:
                self._flying.discard(future)

    async def _tracked(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            return await work
        finally:
            self._tasks.discard(task)

    async def drained(self, seconds: float) -> None:
        """Wait until the cancelled work has really ended."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    def stop(self) -> None:
        """Cancel everything, and refuse new work."""
        with self._lock:
            self._stopped = True
            flying = list(self._flying)
        for future in flying:
            future.cancel()

    def restart(self) -> None:
        """Allow work again, for the next cell."""
        with self._lock:
            self._stopped = False


class Lender(Protocol):
    """What lends functions to an environment (see `host.Host`)."""

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]: ...
    @property
    def flights(self) -> Flights: ...
    @property
    def bound(self) -> dict[str, Variable]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """A cell, and what there was after it."""

    outcome: Outcome
    names: list[dict[str, Any]]
    """The variables that cells have set, with type and size."""
    ready: bool
    content: Any
    """What `answer` holds."""
    looked: bool
    """Whether the cell mentions a variable."""


class Environment:
    """A namespace that lasts, and the one thread that touches it."""

    def __init__(
        self,
        host: Lender,
        tools: Mapping[str, str],
        limits: Limits,
        *,
        reduced: bool = False,
    ) -> None:
        self._host, self._tools = host, tools
        self._limits, self._reduced = limits, reduced
        self._thread = ThreadPoolExecutor(1, "rlm-env")
        self._sandbox: Sandbox | None = None
        self._closed = False
        self._lock = Lock()
        """Held where a sandbox is taken over or given up: one may be starting at the end."""
        self._variables: dict[str, Variable] = {}
        self._attached: dict[str, tuple[int, int]] = {}
        self.broken = False
        """Whether it must not be used again."""

    async def cell(
        self, code: str, mentioned: Callable[[str], Mapping[str, Variable]], seconds: float
    ) -> Outcome:
        """Run one cell with the variables bound that it mentions. Raises SandboxError."""
        return await self._work(lambda: self._cell(code, mentioned(code), seconds))

    async def step(
        self, code: str, mentioned: Callable[[str], Mapping[str, Variable]], seconds: float
    ) -> Step:
        """Run one cell and look at what it left behind, all in one go."""

        def work() -> Step:
            variables = mentioned(code)
            outcome = self._cell(code, variables, seconds, look="answer")
            after = outcome.after
            names = self._box().names() if after is None else after.names
            ready, content = self._answer(after)
            return Step(outcome, names, ready, content, bool(variables))

        return await self._work(work)

    async def tool(
        self, name: str, arguments: Mapping[str, Any], seconds: float | None = None
    ) -> Outcome:
        """Call a tool as an agent does. Raises SandboxError."""
        return await self._work(lambda: self._box().call(name, arguments, seconds=seconds))

    async def start(self) -> None:
        """Have the sandbox ready before it is needed."""
        await self._work(self._box)

    async def set(self, name: str, value: Any) -> None:
        """Bind a JSON value."""
        await self._work(lambda: self._box().set(name, value))

    async def close(self) -> None:
        """End the sandbox and its thread."""
        self._host.flights.stop()
        with self._lock:
            self._closed = True
        if self._sandbox is not None:
            await asyncio.to_thread(self._sandbox.close)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _work(self, work: Callable[[], _T]) -> _T:
        self._host.flights.restart()
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await self._stop(future)
            raise
        except SandboxError:
            self.broken = True
            raise

    async def _stop(self, future: asyncio.Future[Any]) -> None:
        """End a cell that nobody waits for any more."""
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._host.flights.stop()
        if self._sandbox is not None:
            self._sandbox.interrupt("cancelled")
        with contextlib.suppress(asyncio.CancelledError):
            await self._host.flights.drained(DRAINED_S)
            await asyncio.wait([future], timeout=STOP_S)
        if not future.done():
            self.broken = True
            if self._sandbox is not None:
                await asyncio.to_thread(self._sandbox.close)

    def _box(self) -> Sandbox:
        if self._sandbox is None:
            started = Sandbox(
                limits=self._limits,
                host=self._host.functions,
                tools=self._tools,
                reduced=self._reduced,
                waited=lambda: self._host.flights.waited_s,
            )
            with self._lock:
                if not self._closed:
                    self._sandbox = started
            if self._sandbox is None:
                started.close()
                raise SandboxError("This environment is closed.")
        return self._sandbox

    def _cell(
        self, code: str, variables: Mapping[str, Variable], seconds: float | None, look: str = ""
    ) -> Outcome:
        box = self._box()
        # Also those of earlier cells: a function that was defined then may read them now.
        self._variables.update({**self._host.bound, **variables})
        self._host.bound.clear()
        for name, variable in self._variables.items():
            variable.refresh()
            mark = (id(variable), variable.source().generation)
            if self._attached.get(name) != mark:
                box.attach(name, attachment(variable))
                self._attached[name] = mark
        return box.run(code, seconds=seconds, look=look)

    def _answer(self, after: After | None) -> tuple[bool, Any]:
        box = self._box()
        if after is not None and after.ready is not None:
            return after.ready, self._long_content(box)
        try:
            got = after.value if after is not None and after.copied else box.get("answer")
        except BadRequest:  # neither a plain value nor one that has a text
            return False, None
        if type(got) is dict and type(got.get("ready")) is bool:
            return got["ready"], got.get("content")
        return False, got  # a cell bound the name to something else

    def _long_content(self, box: Sandbox) -> str:
        parts: list[str] = []
        while len(parts) * SLICE < LONGEST_ANSWER:
            at = len(parts) * SLICE
            parts.append(box.get_text(LONG, at, at + SLICE) or "")
            if len(parts[-1]) < SLICE:
                break
        return "".join(parts)


def attachment(variable: Variable) -> Attachment:
    """Return a variable as a sandbox binds it: its mapped text, and the calls on it."""
    source = variable.source()
    return Attachment(
        kind=variable.kind,
        describe=describe_text(variable.describe()),
        source=(source.fd, source.spans, source.generation),
        methods=manual.entries(variable.methods),
    )
