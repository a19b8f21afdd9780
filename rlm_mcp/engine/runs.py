"""The runs of one process: begun, awaited, looked up, cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rlm_mcp import redact
from rlm_mcp.counts import counted
from rlm_mcp.engine.budget import Allowance, Budget
from rlm_mcp.engine.conduct import Conduct
from rlm_mcp.engine.replay import Record
from rlm_mcp.engine.run import Job, Result
from rlm_mcp.engine.shared import Shared
from rlm_mcp.engine.trajectory import Event, Recorder, new_id
from rlm_mcp.errors import BadRequest, did_you_mean

REMEMBERED = 200
"""Finished runs whose results stay at hand."""


@dataclass
class Live:
    """A run that this process began."""

    id: str
    question: str
    budget: Budget
    task: asyncio.Task[Result]
    started: float = field(default_factory=time.time)

    @property
    def going(self) -> bool:
        return not self.task.done()

    def progress(self) -> str:
        """Return one line about where it is."""
        calls = counted(self.budget.spent.calls, "call")
        return f"run {self.id}: {self.budget.left()}; {calls} so far"


class Runs:
    """The runs of one process, newest last."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._live: dict[str, Live] = {}

    def begin(
        self,
        job: Job,
        allowance: Allowance,
        on_event: Callable[[Event], None] | None = None,
        record: Record | None = None,
        parent: Budget | None = None,
    ) -> Live:
        """Start a run as a task of its own; with a record, it is a replay and leaves no file.

        What it spends is drawn from `parent` as well, where there is one.
        """
        if not job.question.strip():
            raise BadRequest("The question is empty.")
        id = new_id()
        budget = Budget(allowance, parent=parent)
        extra = () if on_event is None else (on_event,)
        folder = None if record else self._shared.state / "runs"
        recorder = Recorder(folder, id, (*self._shared.listeners, *extra))
        above = [self._shared.handles]
        conduct = Conduct(self._shared, job, budget, recorder, id, above=above, recorded=record)
        live = Live(id, redact.redact(job.question), budget, asyncio.create_task(_run(conduct)))
        self._live[id] = live
        for old in [run for run in self._live.values() if not run.going][:-REMEMBERED]:
            del self._live[old.id]
        return live

    def forecast(self, job: Job, allowance: Allowance) -> dict[str, Any]:
        """Return what a run may cost (see `forecast`); takes as long as opening its variables."""
        recorder = Recorder(None, "forecast")
        above = [self._shared.handles]
        conduct = Conduct(self._shared, job, Budget(allowance), recorder, "forecast", above=above)
        return conduct.forecast()

    async def carry_out(
        self,
        job: Job,
        allowance: Allowance,
        on_event: Callable[[Event], None] | None = None,
        record: Record | None = None,
    ) -> Result:
        """Start a run and await it; cancelling the caller cancels the run."""
        live = self.begin(job, allowance, on_event, record)
        try:
            return await live.task
        finally:
            if live.going:
                await stop(live)

    def get(self, id: str) -> Live:
        """Return a run of this process. Raises BadRequest with a did-you-mean."""
        if id not in self._live:
            hint = did_you_mean(id, self._live)
            raise BadRequest(f"There is no run {id!r} in this server.{hint}")
        return self._live[id]

    def list(self) -> list[Live]:
        """Return the runs that were begun here, oldest first."""
        return [*self._live.values()]

    async def cancel(self, id: str) -> None:
        """Stop a run and everything that it waits for."""
        await stop(self.get(id))

    async def close(self) -> None:
        """Stop all runs."""
        await asyncio.gather(*(stop(live) for live in self._live.values()))


async def stop(live: Live) -> None:
    """Cancel a run and wait until it has ended."""
    live.task.cancel()
    await asyncio.wait([live.task])


async def _run(conduct: Conduct) -> Result:
    try:
        return await conduct.run()
    finally:
        conduct.close()
        for variable in conduct.job.variables.values():
            variable.close()
        conduct.recorder.close()
