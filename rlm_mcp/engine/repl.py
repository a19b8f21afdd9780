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
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rlm_mcp.engine.render import describe_text
from rlm_mcp.errors import BadRequest, Cancelled, SandboxError
from rlm_mcp.methods import help_entries
from rlm_mcp.sandbox import (
    LONG_ANSWER_NAME,
    AfterCell,
    Attachment,
    Sandbox,
    SandboxLimits,
    SandboxOutcome,
)
from rlm_mcp.tool_table import BATCHED_NAMES, CELL_NAMES, TOOL_ROWS

if TYPE_CHECKING:
    from rlm_mcp.variable import Variable


def cell_tools(given: Mapping[str, str], *, sub_calls: bool, agent: bool = False) -> dict[str, str]:
    """Return the functions of an environment by name."""
    left_out = {
        row.name
        for row in TOOL_ROWS.values()
        if (row.agent_only and not agent) or (row.effect == "spends" and not sub_calls)
    }
    found = {name: source for name, source in given.items() if name not in left_out}
    beside = (*CELL_NAMES, *BATCHED_NAMES) if sub_calls else CELL_NAMES
    return found | {name: f"from rlm_mcp.sdk import {name}" for name in beside}


STOP_S = 0.9
"""How long a cancelled cell may take to end before its sandbox is closed."""
DRAINED_S = 20.0
"""How long the calls of a cell get to end: child runs end after those below them."""
SLICE_CHARS = 500_000
"""Characters of a long text that are fetched at once."""

MAX_ANSWER_CHARS = 50_000_000

_T = TypeVar("_T")


class PendingWork:
    """The asynchronous work that one thread waits for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = Lock()
        self._flying: set[Future[Any]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopped = False
        self.waited_s = 0.0
        """Seconds of waiting, all in all: for models, for child runs and for cells."""

    def wait_for(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine on the loop and return its result; raises Cancelled after `stop`."""
        with self._lock:
            if self._stopped:
                work.close()
                raise Cancelled("The caller stopped this work.")
            future = asyncio.run_coroutine_threadsafe(self._track_task(work), self.loop)
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

    async def _track_task(self, work: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            return await work
        finally:
            self._tasks.discard(task)

    async def wait_drained(self, seconds: float) -> None:
        """Wait until the cancelled work has really ended."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    def cancel_all(self) -> None:
        """Cancel everything, and refuse new work."""
        with self._lock:
            self._stopped = True
            flying = list(self._flying)
        for future in flying:
            future.cancel()

    def allow_work(self) -> None:
        """Allow work again, for the next cell."""
        with self._lock:
            self._stopped = False


class ReplHost(Protocol):
    """What lends functions to an environment (see `host.Host`)."""

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]: ...
    @property
    def pending_work(self) -> PendingWork: ...
    @property
    def bound_variables(self) -> dict[str, Variable]: ...


@dataclass(frozen=True, slots=True)
class CellStep:
    """A cell, and what there was after it."""

    outcome: SandboxOutcome
    names: list[dict[str, Any]]
    """The variables that cells have set, with type and size."""
    ready: bool
    content: Any
    """What `answer` holds."""
    mentions_variable: bool
    """Whether the cell mentions a variable."""
    rebound: bool = False
    """Whether the cell bound `answer` to something else."""


class Repl:
    """A namespace that lasts, and the one thread that touches it."""

    def __init__(
        self,
        host: ReplHost,
        tools: Mapping[str, str],
        limits: SandboxLimits,
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

    async def run_cell(
        self, code: str, mentioned: Callable[[str], Mapping[str, Variable]], seconds: float
    ) -> SandboxOutcome:
        """Run one cell with the variables bound that it mentions. Raises SandboxError."""
        return await self._in_thread(lambda: self._run_in_sandbox(code, mentioned(code), seconds))

    async def run_step(
        self, code: str, mentioned: Callable[[str], Mapping[str, Variable]], seconds: float
    ) -> CellStep:
        """Run one cell and look at what it left behind, all in one go."""

        def run_and_look() -> CellStep:
            variables = mentioned(code)
            outcome = self._run_in_sandbox(code, variables, seconds, look="answer")
            after = outcome.after
            names = self._get_sandbox().list_variables() if after is None else after.names
            ready, content, rebound = self._read_answer(after)
            return CellStep(outcome, names, ready, content, bool(variables), rebound)

        return await self._in_thread(run_and_look)

    async def call_tool(
        self, name: str, arguments: Mapping[str, Any], seconds: float | None = None
    ) -> SandboxOutcome:
        """Call a tool as an agent does. Raises SandboxError."""
        return await self._in_thread(
            lambda: self._get_sandbox().call_tool(name, arguments, seconds=seconds)
        )

    async def start_sandbox(self) -> None:
        """Have the sandbox ready before it is needed."""
        await self._in_thread(self._get_sandbox)

    async def set_value(self, name: str, value: Any) -> None:
        """Bind a JSON value."""
        await self._in_thread(lambda: self._get_sandbox().set_variable(name, value))

    async def close(self) -> None:
        """End the sandbox and its thread."""
        self._host.pending_work.cancel_all()
        with self._lock:
            self._closed = True
        if self._sandbox is not None:
            await asyncio.to_thread(self._sandbox.close)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        self._host.pending_work.allow_work()
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await self._cancel_work(future)
            raise
        except SandboxError:
            self.broken = True
            raise

    async def _cancel_work(self, future: asyncio.Future[Any]) -> None:
        """End a cell that nobody waits for any more."""
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._host.pending_work.cancel_all()
        if self._sandbox is not None:
            self._sandbox.interrupt("cancelled")
        with contextlib.suppress(asyncio.CancelledError):
            await self._host.pending_work.wait_drained(DRAINED_S)
            await asyncio.wait([future], timeout=STOP_S)
        if not future.done():
            self.broken = True
            if self._sandbox is not None:
                await asyncio.to_thread(self._sandbox.close)

    def _get_sandbox(self) -> Sandbox:
        if self._sandbox is None:
            started = Sandbox(
                limits=self._limits,
                host=self._host.functions,
                tools=self._tools,
                reduced=self._reduced,
                waited=lambda: self._host.pending_work.waited_s,
            )
            with self._lock:
                if not self._closed:
                    self._sandbox = started
            if self._sandbox is None:
                started.close()
                raise SandboxError("This environment is closed.")
        return self._sandbox

    def _run_in_sandbox(
        self, code: str, variables: Mapping[str, Variable], seconds: float | None, look: str = ""
    ) -> SandboxOutcome:
        box = self._get_sandbox()
        # Also those of earlier cells: a function that was defined then may read them now.
        self._variables.update({**self._host.bound_variables, **variables})
        self._host.bound_variables.clear()
        for name, variable in self._variables.items():
            variable.refresh()
            mark = (id(variable), variable.mapped_text().generation)
            if self._attached.get(name) != mark:
                box.attach_variable(name, make_attachment(variable))
                self._attached[name] = mark
        return box.execute(code, seconds=seconds, look=look)

    def _read_answer(self, after: AfterCell | None) -> tuple[bool, Any, bool]:
        box = self._get_sandbox()
        if after is not None and after.ready is not None:
            return after.ready, self._long_content(box), False
        try:
            got = after.value if after is not None and after.copied else box.get_variable("answer")
        except BadRequest:  # neither a plain value nor one that has a text
            return False, None, True
        if type(got) is dict and type(got.get("ready")) is bool:
            return got["ready"], got.get("content"), False
        return False, got, True

    def _long_content(self, box: Sandbox) -> str:
        parts: list[str] = []
        while len(parts) * SLICE_CHARS < MAX_ANSWER_CHARS:
            at = len(parts) * SLICE_CHARS
            parts.append(box.get_text(LONG_ANSWER_NAME, at, at + SLICE_CHARS) or "")
            if len(parts[-1]) < SLICE_CHARS:
                break
        return "".join(parts)


def make_attachment(variable: Variable) -> Attachment:
    """Return a variable as a sandbox binds it: its mapped text, and the calls on it."""
    source = variable.mapped_text()
    return Attachment(
        kind=variable.kind,
        describe=describe_text(variable.describe()),
        source=(source.fd, source.spans, source.generation),
        methods=help_entries(variable.methods),
    )
