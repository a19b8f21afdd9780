"""What one process holds: contexts, tool workers, lasting environments, handles and runs.

`call` runs a tool as an agent does, `ask` a whole run. Both are for one event loop; everything
slow happens in threads and in sandbox processes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from rlm_mcp import config
from rlm_mcp.config import Settings
from rlm_mcp.contexts import given, kinds
from rlm_mcp.contexts.catalog import Catalog
from rlm_mcp.contexts.variable import Variable
from rlm_mcp.engine import cells, observe, route, spans, statefiles, trajectory
from rlm_mcp.engine.budget import Allowance, Budget
from rlm_mcp.engine.cache import Cache
from rlm_mcp.engine.calls import Account, Calls, Failed
from rlm_mcp.engine.environment import Environment
from rlm_mcp.engine.handles import Handles
from rlm_mcp.engine.host import Host, Scope
from rlm_mcp.engine.lanes import Breaker
from rlm_mcp.engine.ratios import Ratios
from rlm_mcp.engine.reader import Reader
from rlm_mcp.engine.replay import Record, Replay, Silent, compare
from rlm_mcp.engine.run import Job, Result
from rlm_mcp.engine.runs import Live, Runs
from rlm_mcp.engine.shared import Shared
from rlm_mcp.engine.spending import Day
from rlm_mcp.engine.trajectory import Event, Recorder, new_id
from rlm_mcp.errors import BadRequest, RlmError, SandboxError
from rlm_mcp.sandbox import Limits, Outcome

Progress = Callable[[float, float | None, str], Awaitable[None]]

TOOL_WORKERS = 8
"""Tool calls that work at once; further ones wait."""
REPLS = 8
"""Lasting environments that an agent may have."""
CELL_CHARS = 200_000
LONGEST_WAIT_S = 100.0
"""How long `rlm_query` and `wait` hold a call before they give the run's id instead."""
TOOL_SECONDS = 120.0


class Workspace:
    """The engine of one process. Make and use it in a running event loop."""

    def __init__(
        self,
        settings: Settings,
        tools: Mapping[str, str],
        prompts: Mapping[str, str],
        *,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.settings = settings
        self.state = config.state_dir()
        for folder in ("runs", "servers", "handles"):
            (self.state / folder).mkdir(mode=0o700, exist_ok=True)
        self.handles = Handles(self.state / "handles")
        self.catalog = Catalog(settings)
        listeners = tuple(listener for listener in (on_event, spans.listener()) if listener)
        ratios = Ratios(self.state / "ratios.sqlite")
        kinds.use(ratios.in_use())
        self._calls = Calls(
            Cache(self.state / "answers.sqlite"),
            Day(self.state / "spend.sqlite", settings.max_usd_day),
            ratios,
            settings.concurrency,
        )
        self.shared = Shared(
            settings=settings,
            contexts=self.catalog,
            texts=given.texts,
            calls=self._calls,
            handles=self.handles,
            tools=tools,
            prompts=prompts,
            state=self.state,
            loop=asyncio.get_running_loop(),
            listeners=listeners,
        )
        self.runs = Runs(self.shared)
        self._agent = Recorder(self.state / "runs", new_id(), listeners)
        self._agent_began = False
        self._idle: list[tuple[Environment, Host]] = []
        self._workers = asyncio.Semaphore(TOOL_WORKERS)
        self._repls: dict[str, tuple[Environment, Host, asyncio.Lock]] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._files = statefiles.Files(self.state, settings)
        # Two processes writing one small file take turns: never on the event loop.
        self._writer = ThreadPoolExecutor(1, "rlm-state")
        self._told: list[str] = []
        """The contexts that the state files name; used by the writer alone."""
        self._opened()

    async def call(
        self, tool: str, arguments: dict[str, Any], *, progress: Progress | None = None
    ) -> str:
        """Run a tool in a worker and return what an agent is shown, whole.

        Raises RlmError. Cancelling the task stops the work and the model calls in flight.
        """
        if tool not in self.shared.tools:
            raise BadRequest(f"There is no tool {tool!r}.")
        async with self._workers:
            environment, host = self._idle.pop() if self._idle else self._worker()
            host.scope = self._scope(progress)
            host.failure = None
            try:
                outcome = await environment.tool(tool, arguments, TOOL_SECONDS)
            except SandboxError:
                environment.broken = True
                raise
            finally:
                host.scope.reader.close()
                if environment.broken:
                    await environment.close()
                else:
                    self._idle.append((environment, host))
        self._writer.submit(self._write_new)
        return _shown(outcome, host.failure)

    async def ask(
        self,
        question: str,
        *,
        refs: Sequence[str] = (),
        contexts: Sequence[str] | None = None,
        mode: str = "auto",
        model: str = "",
        sub_model: str = "",
        budget: Mapping[str, float | None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        variables: Mapping[str, Variable] | None = None,
        fresh: bool = False,
    ) -> Result:
        """Carry out a run and return its result; `budget` lowers limits by name (usd, calls, ...).

        Raises RlmError for what is wrong with the request. Cancelling stops everything.
        """
        job = replace(
            self._job(question, refs, contexts, mode, model, sub_model),
            variables=dict(variables or {}),
            fresh=fresh,
        )
        allowance = Allowance.of(self.settings).narrowed(**(budget or {}))
        return await self.runs.carry_out(job, allowance, on_event)

    async def estimate(
        self,
        question: str,
        *,
        refs: Sequence[str] = (),
        contexts: Sequence[str] | None = None,
        mode: str = "auto",
        model: str = "",
        sub_model: str = "",
        budget: Mapping[str, float | None] | None = None,
    ) -> dict[str, Any]:
        """Return what `ask` with the same arguments may cost; calls no model."""
        job = self._job(question, refs, contexts, mode, model, sub_model)
        allowance = Allowance.of(self.settings).narrowed(**(budget or {}))
        return await asyncio.to_thread(self.runs.forecast, job, allowance)

    def permit(self, model: str, mode: str) -> None:
        """Raise BadRequest or Denied for what a client over HTTP may not ask for."""
        route.check(mode)
        if model:
            self.shared.asked_for(model)

    async def replay(self, run: str) -> Replay:
        """Repeat a recorded run without a model (see `replay`). Raises BadRequest."""
        record = Record(trajectory.read(trajectory.find(self.state / "runs", run)))
        start = record.start
        for item in start["variables"]:
            if item["name"] not in self.catalog.names():
                await asyncio.to_thread(_reopen, self.catalog, item)
        windows = start["windows"]
        job = Job(
            start["question"],
            Silent(start["model"], windows[0]),
            Silent(start["sub_model"], windows[1]),
            tuple(start["refs"]),
            None if start["contexts"] is None else tuple(start["contexts"]),
            mode=route.check(start["asked"]),
        )
        result = await self.runs.carry_out(
            job,
            Allowance(**{**start["budget"], "seconds": self.settings.max_seconds}),
            record=record,
        )
        return compare(record, result.answer, result.status)

    def _job(
        self,
        question: str,
        refs: Sequence[str],
        contexts: Sequence[str] | None,
        mode: str,
        model: str,
        sub_model: str,
    ) -> Job:
        if not question.strip():
            raise BadRequest("The question is empty.")
        root, sub = self.shared.pair(model, sub_model)
        named = None if contexts is None else tuple(contexts)
        return Job(question, root, sub, tuple(refs), named, mode=route.check(mode))

    async def close(self) -> None:
        """End every run, worker and file."""
        await self.runs.close()
        if self._agent_began:
            self._agent.write("run.end", status="complete", reason="the server ended")
            self._agent.close()
        flushed = asyncio.create_task(asyncio.to_thread(spans.flush))
        for task in self._background:
            task.cancel()
        environments = [environment for environment, _ in self._idle]
        environments += [environment for environment, _, _ in self._repls.values()]
        await asyncio.gather(*(environment.close() for environment in environments))
        await asyncio.gather(*self.shared.closing)
        for model in self.shared.chosen.values():
            await model.close()
        await self._calls.close()
        await asyncio.to_thread(self.catalog.close)
        self.handles.close()
        self._writer.submit(self._files.remove)
        self._writer.shutdown(wait=True)
        await flushed

    def _worker(self) -> tuple[Environment, Host]:
        host = Host(self.shared, self._scope(None))
        tools = cells.tools(self.shared.tools, sub_calls=True, agent=True)
        limits = Limits(TOOL_SECONDS, self.settings.cell_memory_mb, CELL_CHARS, 8 << 20)
        return Environment(host, tools, limits, reduced=self.settings.reduced_sandbox), host

    def _scope(self, progress: Progress | None) -> Scope:
        """Return the scope of one tool call: a budget of its own, the agent's handles."""
        allowance = Allowance.of(self.settings)
        account = Account(Budget(allowance), Breaker(allowance.errors), self._record)
        scope = Scope(
            shared=self.shared,
            reader=Reader(self.catalog, [self.handles], {}, given.texts),
            handles=self.handles,
            account=account,
            models=lambda: self.shared.pair("", ""),
            start=lambda jobs, limits: self._start_runs(account.budget, jobs, limits),
            agent=True,
            opened=self._opened,
            tell=self._teller(progress),
            wait_for=self._wait_for,
        )
        scope.run_cell = lambda code, repl, seconds: self._run_cell(scope, code, repl, seconds)
        return scope

    def _teller(self, progress: Progress | None) -> Callable[[float, float | None, str], None]:
        if progress is None:
            return lambda done, total, said: None
        return lambda done, total, said: self._later(progress(done, total, said))

    def _later(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _run_cell(self, scope: Scope, code: str, repl: str, seconds: float) -> str:
        """Run a cell of a lasting environment on behalf of one tool call."""
        environment, host, lock = self._repl(repl)
        async with lock:
            host.scope = replace(scope, run_cell=None)
            try:
                outcome = await environment.cell(code, scope.reader.mentioned, seconds)
            finally:
                if environment.broken:
                    del self._repls[repl]
                    await environment.close()
        if outcome.error:
            outcome = replace(outcome, error=scope.reader.explained(outcome.error))
        return observe.outcome_text(outcome, CELL_CHARS)

    def _repl(self, name: str) -> tuple[Environment, Host, asyncio.Lock]:
        if name not in self._repls:
            if len(self._repls) >= REPLS:
                raise BadRequest(
                    f"There are {REPLS} environments already: {', '.join(self._repls)}; use one."
                )
            environment, host = self._worker()
            self._repls[name] = environment, host, asyncio.Lock()
        return self._repls[name]

    async def _start_runs(
        self, budget: Budget, jobs: Sequence[Job], limits: Mapping[str, float | None]
    ) -> list[Result | Failed]:
        """Begin a run for each job; one that takes long goes on, and its id is given.

        However many there are, together they spend no more than one call of a tool may.
        """
        allowance = Allowance.of(self.settings).narrowed(**limits)
        begun = [self.runs.begin(job, allowance, parent=budget) for job in jobs]
        self._opened()
        try:
            await asyncio.wait([live.task for live in begun], timeout=LONGEST_WAIT_S)
        except asyncio.CancelledError:
            await asyncio.gather(*(self.runs.cancel(live.id) for live in begun))
            raise
        return [_outcome_of(live) for live in begun]

    async def _wait_for(self, id: str, seconds: float, cancel: bool) -> str:
        live = self.runs.get(id.strip())
        if cancel and live.going:
            await self.runs.cancel(live.id)
            return f"{live.progress()}; cancelled."
        await asyncio.wait([live.task], timeout=seconds)
        if live.going:
            return f"{live.progress()}; still going, wait({live.id!r}) again."
        found = _outcome_of(live)
        return found.reason if isinstance(found, Failed) else f"{found.text()}\n{found.spent}"

    def _record(self, type: str, **data: Any) -> None:
        """Add an event to the record of what the agent's own calls cost."""
        if not self._agent_began:
            self._agent_began = True
            self._agent.write("run.start", mode="agent", question="", depth=0)
        self._agent.write(type, **data)

    def _opened(self) -> None:
        """Tell the state files what is open now; from any thread."""
        self._writer.submit(self._write_files)

    def _write_new(self) -> None:
        """Write the files if a first use opened something."""
        if self.catalog.names() != self._told:
            self._write_files()

    def _write_files(self) -> None:
        described = []
        self._told = self.catalog.names()
        for name in self._told:
            with contextlib.suppress(RlmError):
                described.append(self.catalog.describe(name))
        runs = [live.id for live in self.runs.list()]
        self._files.write(described, [self._agent.run, *runs])


def _reopen(catalog: Catalog, item: Mapping[str, Any]) -> None:
    """Open what a recorded run was about. Raises BadRequest where that cannot be done."""
    if item["name"] in ("repo", "history", "session", "logs"):
        catalog.get(item["name"])
    elif item["name"] == "context":
        raise BadRequest("This run was about a text that was handed over, which is not recorded.")
    else:
        catalog.open(item["source"], item["name"])


def _outcome_of(live: Live) -> Result | Failed:
    if live.going:
        return Failed(
            f"{live.progress()}; still going after {LONGEST_WAIT_S:.0f} s: "
            f"wait({live.id!r}) gives its result.",
            "running",
        )
    if live.task.cancelled():
        return Failed(f"run {live.id} was cancelled.", "cancelled")
    error = live.task.exception()
    if isinstance(error, RlmError):
        return Failed(str(error), getattr(error, "kind", "failed"))
    result = live.task.result()
    if result.status == "failed":
        return Failed(f"{result.text()}\n{result.spent}", "failed")
    return result


def _shown(outcome: Outcome, failure: Exception | None) -> str:
    """Return what an agent is shown of a tool call. Raises the error that ended it."""
    if outcome.error is None:
        return outcome.shown if outcome.shown is not None else (outcome.value_repr or "")
    if isinstance(failure, RlmError) and str(failure) in outcome.error:
        raise failure
    # A tool that raises says what it has to say: the lines that led there are no one's concern.
    _, raised, said = f"\n{outcome.error}".partition("\nRuntimeError: ")
    raise BadRequest(said if raised else outcome.error)
