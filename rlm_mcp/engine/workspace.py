"""What one process holds: contexts, tool workers, lasting environments, handles and runs.

`call_tool` runs a tool as an agent does, `run_query` a whole run. Both are for one event loop;
everything slow happens in threads and in sandbox processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rlm_mcp import config, files, redact, sdk, toolbox
from rlm_mcp.contexts import Catalog, open_texts
from rlm_mcp.engine import render, route, state_files, telemetry, trajectory
from rlm_mcp.engine import repl as cells
from rlm_mcp.engine.budget import Allowance, Budget, DailySpend
from rlm_mcp.engine.cache import ReplyCache
from rlm_mcp.engine.calls import Account, FailedCall, ModelCalls
from rlm_mcp.engine.concurrency import Breaker
from rlm_mcp.engine.handles import Handles
from rlm_mcp.engine.host import Host, HostScope
from rlm_mcp.engine.job import Result, RunJob
from rlm_mcp.engine.ref_reader import RefReader
from rlm_mcp.engine.repl import Repl
from rlm_mcp.engine.replay import RecordedModel, RecordedRun, Replay, compare_replay
from rlm_mcp.engine.run import Run
from rlm_mcp.engine.services import Services
from rlm_mcp.engine.trajectory import Event, Recorder, new_run_id
from rlm_mcp.errors import BadRequest, RlmError, SandboxError, did_you_mean
from rlm_mcp.plurals import count_noun
from rlm_mcp.sandbox import SandboxLimits, SandboxOutcome
from rlm_mcp.tool_table import TOOL_ROWS

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.variable import Variable


MAX_FINISHED = 200
"""Finished runs whose results stay at hand."""


@dataclass
class ActiveRun:
    """A run that this process began."""

    id: str
    question: str
    budget: Budget
    task: asyncio.Task[Result]
    started: float = field(default_factory=time.time)

    @property
    def is_running(self) -> bool:
        return not self.task.done()

    def progress_line(self) -> str:
        """Return one line about where it is."""
        calls = count_noun(self.budget.spent.calls, "call")
        return f"run {self.id}: {self.budget.left_text()}; {calls} so far"


class RunRegistry:
    """The runs of one process, newest last."""

    def __init__(self, shared: Services) -> None:
        self._shared = shared
        self._live: dict[str, ActiveRun] = {}

    def start_run(
        self,
        job: RunJob,
        allowance: Allowance,
        on_event: Callable[[Event], None] | None = None,
        record: RecordedRun | None = None,
        parent: Budget | None = None,
    ) -> ActiveRun:
        """Start a run as a task of its own; with a record, it is a replay and leaves no file.

        What it spends is drawn from `parent` as well, where there is one.
        """
        if not job.question.strip():
            raise BadRequest("The question is empty.")
        id = new_run_id()
        budget = Budget(allowance, parent=parent)
        extra = () if on_event is None else (on_event,)
        folder = None if record else self._shared.state_folder / "runs"
        recorder = Recorder(folder, id, (*self._shared.listeners, *extra))
        above = [self._shared.handles]
        started = Run(
            self._shared, job, budget, recorder, id, ancestor_handles=above, recorded=record
        )
        live = ActiveRun(
            id, redact.redact(job.question), budget, asyncio.create_task(_run_and_close(started))
        )
        self._live[id] = live
        for old in [run for run in self._live.values() if not run.is_running][:-MAX_FINISHED]:
            del self._live[old.id]
        return live

    def forecast_run(self, job: RunJob, allowance: Allowance) -> dict[str, Any]:
        """Return what a run may cost (see `forecast`); takes as long as opening its variables."""
        recorder = Recorder(None, "forecast")
        above = [self._shared.handles]
        started = Run(
            self._shared, job, Budget(allowance), recorder, "forecast", ancestor_handles=above
        )
        return started.forecast_cost()

    async def run_and_wait(
        self,
        job: RunJob,
        allowance: Allowance,
        on_event: Callable[[Event], None] | None = None,
        record: RecordedRun | None = None,
    ) -> Result:
        """Start a run and await it; cancelling the caller cancels the run."""
        live = self.start_run(job, allowance, on_event, record)
        try:
            return await live.task
        finally:
            if live.is_running:
                await stop_run(live)

    def get_run(self, id: str) -> ActiveRun:
        """Return a run of this process. Raises BadRequest with a did-you-mean."""
        if id not in self._live:
            hint = did_you_mean(id, self._live)
            raise BadRequest(f"There is no run {id!r} in this server.{hint}")
        return self._live[id]

    def list_runs(self) -> list[ActiveRun]:
        """Return the runs that were begun here, oldest first."""
        return [*self._live.values()]

    async def cancel_run(self, id: str) -> None:
        """Stop a run and everything that it waits for."""
        await stop_run(self.get_run(id))

    async def close(self) -> None:
        """Stop all runs."""
        await asyncio.gather(*(stop_run(live) for live in self._live.values()))


async def stop_run(live: ActiveRun) -> None:
    """Cancel a run and wait until it has ended."""
    live.task.cancel()
    await asyncio.wait([live.task])


async def _run_and_close(started: Run) -> Result:
    try:
        return await started.run_to_end()
    finally:
        started.close()
        for variable in started.job.variables.values():
            variable.close()
        started.recorder.close()


Progress = Callable[[float, float | None, str], Awaitable[None]]

TOOL_WORKERS = 8
"""Users' tools that work at once; further ones wait."""
READING_CALLS = 8
"""Calls of our tools that read at once; further ones wait for one of these alone."""
WAITING_CALLS = 256
"""Calls of our tools that open, run or ask at once: each mostly waits for something else."""
MAX_REPLS = 8
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
        self.state_folder = config.state_dir()
        for folder in ("runs", "servers", "handles"):
            files.private_folder(self.state_folder / folder)
        self.handles = Handles(self.state_folder / "handles")
        self.catalog = Catalog(settings)
        listeners = tuple(
            listener for listener in (on_event, telemetry.span_listener()) if listener
        )
        self._calls = ModelCalls(
            ReplyCache(self.state_folder / "answers.sqlite"),
            DailySpend(self.state_folder / "spend.sqlite", settings.max_usd_day),
            settings.concurrency,
        )
        self.services = Services(
            settings=settings,
            contexts=self.catalog,
            open_texts=open_texts,
            calls=self._calls,
            handles=self.handles,
            tools=tools,
            prompts=prompts,
            state_folder=self.state_folder,
            loop=asyncio.get_running_loop(),
            listeners=listeners,
        )
        self.runs = RunRegistry(self.services)
        self._agent = Recorder(self.state_folder / "runs", new_run_id(), listeners)
        self._agent_began = False
        self._idle: list[tuple[Repl, Host]] = []
        self._may_spend = settings.spend == "allow"
        """Whether cells may call models that cost: the user allowed it, or such a call."""
        self._workers = asyncio.Semaphore(TOOL_WORKERS)
        self._readers = ThreadPoolExecutor(READING_CALLS, "rlm-reading")
        self._waiters = ThreadPoolExecutor(WAITING_CALLS, "rlm-waiting")
        self._repls: dict[str, tuple[Repl, Host, asyncio.Lock]] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._files = state_files.StateFiles(self.state_folder, settings)
        # Two processes writing one small file take turns: never on the event loop.
        self._writer = ThreadPoolExecutor(1, "rlm-state")
        self._written_names: list[str] = []
        """The contexts that the state files name; used by the writer alone."""
        self._contexts_changed()

    async def call_tool(
        self, tool: str, arguments: dict[str, Any], *, progress: Progress | None = None
    ) -> str:
        """Run a tool and return what an agent is shown, whole.

        Ours run here, a user's in a worker. Raises RlmError. Cancelling the task stops the work
        and the model calls in flight.
        """
        if tool in TOOL_ROWS:
            # A client asks its user before it makes such a call.
            self._may_spend |= TOOL_ROWS[tool].effect == "spends"
            text = await self._call_shipped(tool, arguments, progress)
        elif tool in self.services.tools:
            text = await self._call_in_worker(tool, arguments, progress)
        else:
            raise BadRequest(f"There is no tool {tool!r}.")
        self._writer.submit(self._write_if_changed)
        return text

    async def _call_shipped(
        self, tool: str, arguments: Mapping[str, Any], progress: Progress | None
    ) -> str:
        """Run a tool of ours in a thread of this process, its host bound to the call's context."""
        host = Host(self.services, self._tool_scope(progress))
        if tool == "open_context":
            # Only what the agent itself asks the tool for may be fetched, never what code asks for.
            host.scope.fetchable_source = str(arguments.get("source", ""))

        def call_function() -> str:
            sdk.current_host.set(host.call_function)
            try:
                return _shown_result(tool, arguments)
            finally:
                host.scope.reader.close()

        reads = TOOL_ROWS[tool].effect == "reads"
        future = asyncio.get_running_loop().run_in_executor(
            self._readers if reads else self._waiters,
            contextvars.copy_context().run,
            call_function,
        )
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # What only computes ends by itself; its thread is taken until then.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            future.cancel()
            host.pending_work.cancel_all()
            with contextlib.suppress(asyncio.CancelledError):
                await host.pending_work.wait_drained(cells.DRAINED_S)
            raise

    async def _call_in_worker(
        self, tool: str, arguments: Mapping[str, Any], progress: Progress | None
    ) -> str:
        """Run a tool of a user in a sandbox worker that is kept for the next one."""
        async with self._workers:
            environment, host = self._idle.pop() if self._idle else self._new_worker()
            host.scope = self._tool_scope(progress)
            host.failure = None
            try:
                outcome = await environment.call_tool(tool, arguments, TOOL_SECONDS)
            except SandboxError:
                environment.broken = True
                raise
            finally:
                host.scope.reader.close()
                if environment.broken:
                    # Not awaited: in a cancelled call an await ends at once, and leaves it open.
                    self.services.close_later(environment)
                else:
                    self._idle.append((environment, host))
        return _tool_text(outcome, host.failure)

    async def run_query(
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
            self._make_job(question, refs, contexts, mode, model, sub_model),
            variables=dict(variables or {}),
            fresh=fresh,
        )
        allowance = Allowance.from_settings(self.settings).with_limits(**(budget or {}))
        return await self.runs.run_and_wait(job, allowance, on_event)

    async def forecast_run(
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
        job = self._make_job(question, refs, contexts, mode, model, sub_model)
        allowance = Allowance.from_settings(self.settings).with_limits(**(budget or {}))
        return await asyncio.to_thread(self.runs.forecast_run, job, allowance)

    def check_permitted(self, model: str, mode: str) -> None:
        """Raise BadRequest or Denied for what a client over HTTP may not ask for."""
        route.check_mode(mode)
        if model:
            self.services.permitted_model(model)

    async def replay_run(self, run: str) -> Replay:
        """Repeat a recorded run without a model (see `replay`). Raises BadRequest."""
        record = RecordedRun(
            trajectory.read_events(trajectory.find_trajectory(self.state_folder / "runs", run))
        )
        start = record.start
        for item in start["variables"]:
            if item["name"] not in self.catalog.open_names():
                await asyncio.to_thread(_reopen_context, self.catalog, item)
        windows = start["windows"]
        job = RunJob(
            start["question"],
            RecordedModel(start["model"], windows[0]),
            RecordedModel(start["sub_model"], windows[1]),
            tuple(start["refs"]),
            None if start["contexts"] is None else tuple(start["contexts"]),
            mode=route.check_mode(start["asked"]),
        )
        result = await self.runs.run_and_wait(
            job,
            Allowance(**{**start["budget"], "seconds": self.settings.max_seconds}),
            record=record,
        )
        return compare_replay(record, result.answer, result.status)

    def _make_job(
        self,
        question: str,
        refs: Sequence[str],
        contexts: Sequence[str] | None,
        mode: str,
        model: str,
        sub_model: str,
    ) -> RunJob:
        if not question.strip():
            raise BadRequest("The question is empty.")
        root, sub = self.services.model_pair(model, sub_model)
        named = None if contexts is None else tuple(contexts)
        return RunJob(question, root, sub, tuple(refs), named, mode=route.check_mode(mode))

    async def close(self) -> None:
        """End every run, worker and file."""
        await self.runs.close()
        if self._agent_began:
            self._agent.write_event("run.end", status="complete", reason="the server ended")
            self._agent.close()
        flushed = asyncio.create_task(asyncio.to_thread(telemetry.flush_spans))
        for task in self._background:
            task.cancel()
        environments = [environment for environment, _ in self._idle]
        environments += [environment for environment, _, _ in self._repls.values()]
        await asyncio.gather(*(environment.close() for environment in environments))
        await asyncio.gather(*self.services.closing)
        for model in self.services.loaded_models.values():
            await model.close()
        await self._calls.close()
        await asyncio.to_thread(self.catalog.close)
        self.handles.close()
        for threads in (self._readers, self._waiters):
            threads.shutdown(wait=False, cancel_futures=True)
        self._writer.submit(self._files.remove_own)
        self._writer.shutdown(wait=True)
        await flushed

    def _new_worker(self) -> tuple[Repl, Host]:
        host = Host(self.services, self._tool_scope(None))
        tools = cells.cell_tools(self.services.tools, sub_calls=True, agent=True)
        limits = SandboxLimits(TOOL_SECONDS, self.settings.cell_memory_mb, CELL_CHARS, 8 << 20)
        return Repl(host, tools, limits, reduced=self.settings.reduced_sandbox), host

    def _tool_scope(self, progress: Progress | None) -> HostScope:
        """Return the scope of one tool call: a budget of its own, the agent's handles."""
        allowance = Allowance.from_settings(self.settings)
        account = Account(Budget(allowance), Breaker(allowance.errors), self._record_event)
        scope = HostScope(
            services=self.services,
            reader=RefReader(self.catalog, [self.handles], {}, open_texts),
            handles=self.handles,
            account=account,
            models=lambda: self.services.model_pair("", ""),
            start_runs=lambda jobs, limits: self._start_runs(account.budget, jobs, limits),
            is_agent=True,
            on_opened=self._contexts_changed,
            report_progress=self._progress_reporter(progress),
            wait_for_run=self._wait_for_run,
        )
        scope.execute = lambda code, repl, seconds: self._execute_cell(scope, code, repl, seconds)
        return scope

    def _progress_reporter(
        self, progress: Progress | None
    ) -> Callable[[float, float | None, str], None]:
        if progress is None:
            return lambda done, total, said: None
        return lambda done, total, said: self._spawn_task(progress(done, total, said))

    def _spawn_task(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _execute_cell(self, scope: HostScope, code: str, repl: str, seconds: float) -> str:
        """Run a cell of a lasting environment on behalf of one tool call."""
        environment, host, lock = self._get_repl(repl)
        async with lock:
            host.scope = replace(
                scope, execute=None, fetchable_source="", may_spend=lambda: self._may_spend
            )
            try:
                outcome = await environment.run_cell(
                    code, scope.reader.mentioned_variables, seconds
                )
            finally:
                if environment.broken:
                    del self._repls[repl]
                    self.services.close_later(environment)
        if outcome.error:
            outcome = replace(outcome, error=scope.reader.explain_error(outcome.error))
        return render.outcome_text(outcome, CELL_CHARS)

    def _get_repl(self, name: str) -> tuple[Repl, Host, asyncio.Lock]:
        if name not in self._repls:
            if len(self._repls) >= MAX_REPLS:
                raise BadRequest(
                    f"There are {MAX_REPLS} environments already: "
                    f"{', '.join(self._repls)}; use one."
                )
            environment, host = self._new_worker()
            self._repls[name] = environment, host, asyncio.Lock()
        return self._repls[name]

    async def _start_runs(
        self, budget: Budget, jobs: Sequence[RunJob], limits: Mapping[str, float | None]
    ) -> list[Result | FailedCall]:
        """Begin a run for each job; one that takes long goes on, and its id is given.

        However many there are, together they spend no more than one call of a tool may.
        """
        allowance = Allowance.from_settings(self.settings).with_limits(**limits)
        begun = [self.runs.start_run(job, allowance, parent=budget) for job in jobs]
        self._contexts_changed()
        try:
            await asyncio.wait([live.task for live in begun], timeout=LONGEST_WAIT_S)
        except asyncio.CancelledError:
            await asyncio.gather(*(self.runs.cancel_run(live.id) for live in begun))
            raise
        return [_run_outcome(live) for live in begun]

    async def _wait_for_run(self, id: str, seconds: float, cancel: bool) -> str:
        live = self.runs.get_run(id.strip())
        if cancel and live.is_running:
            await self.runs.cancel_run(live.id)
            return f"{live.progress_line()}; cancelled."
        await asyncio.wait([live.task], timeout=seconds)
        if live.is_running:
            return f"{live.progress_line()}; still going, wait({live.id!r}) again."
        found = _run_outcome(live)
        return found.reason if isinstance(found, FailedCall) else f"{found.text()}\n{found.spent}"

    def _record_event(self, type: str, **data: Any) -> None:
        """Add an event to the record of what the agent's own calls cost."""
        if not self._agent_began:
            self._agent_began = True
            self._agent.write_event("run.start", mode="agent", question="", depth=0)
        self._agent.write_event(type, **data)

    def _contexts_changed(self) -> None:
        """Tell the state files what is open now; from any thread."""
        self._writer.submit(self._write_state_files)

    def _write_if_changed(self) -> None:
        """Write the files if a first use opened something."""
        if self.catalog.open_names() != self._written_names:
            self._write_state_files()

    def _write_state_files(self) -> None:
        described = []
        self._written_names = self.catalog.open_names()
        for name in self._written_names:
            with contextlib.suppress(RlmError):
                described.append(self.catalog.describe(name))
        runs = [live.id for live in self.runs.list_runs()]
        self._files.write_all(described, [self._agent.run, *runs])


def _reopen_context(catalog: Catalog, item: Mapping[str, Any]) -> None:
    """Open what a recorded run was about. Raises BadRequest where that cannot be done."""
    if item["name"] in ("repo", "history", "session", "logs"):
        catalog.get_variable(item["name"])
    elif item["name"] == "context":
        raise BadRequest("This run was about a text that was handed over, which is not recorded.")
    else:
        catalog.open_context(item["source"], item["name"])


def _run_outcome(live: ActiveRun) -> Result | FailedCall:
    if live.is_running:
        return FailedCall(
            f"{live.progress_line()}; still going after {LONGEST_WAIT_S:.0f} s: "
            f"wait({live.id!r}) gives its result.",
            "running",
        )
    if live.task.cancelled():
        return FailedCall(f"run {live.id} was cancelled.", "cancelled")
    error = live.task.exception()
    if isinstance(error, RlmError):
        return FailedCall(str(error), getattr(error, "kind", "failed"))
    result = live.task.result()
    if result.status == "failed":
        return FailedCall(f"{result.text()}\n{result.spent}", "failed")
    return result


def _shown_result(tool: str, arguments: Mapping[str, Any]) -> str:
    """Call a tool of ours and return what an agent is shown. Raises RlmError."""
    function = toolbox.shipped_function(tool)
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise BadRequest(f"{tool}(): {error}.") from None
    try:
        return str(function(**arguments).shown)
    except sdk.QueryFailed as error:
        raise BadRequest(str(error)) from error


def _tool_text(outcome: SandboxOutcome, failure: Exception | None) -> str:
    """Return what an agent is shown of a user's tool. Raises the error that ended it."""
    if outcome.error is None:
        return outcome.shown if outcome.shown is not None else (outcome.value_repr or "")
    if isinstance(failure, RlmError) and str(failure) in outcome.error:
        raise failure
    # A tool that raises says what it has to say: the lines that led there are no one's concern.
    raised = re.search(r"^(?:RuntimeError|QueryFailed): ", outcome.error, re.MULTILINE)
    raise BadRequest(outcome.error[raised.end() :] if raised else outcome.error)
