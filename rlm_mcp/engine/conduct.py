"""Carry out a job: choose the route, run it, escalate where that helps, verify, and report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rlm_mcp import redact
from rlm_mcp.contexts.variable import Description, Variable
from rlm_mcp.engine import asking, cells, evidence, forecast, opening, route
from rlm_mcp.engine.begin import may_begin, refuse_nothing
from rlm_mcp.engine.budget import Budget
from rlm_mcp.engine.calls import Account, Answer, Failed
from rlm_mcp.engine.environment import Environment
from rlm_mcp.engine.handles import Handles
from rlm_mcp.engine.host import Host, Scope
from rlm_mcp.engine.lanes import Breaker
from rlm_mcp.engine.loop import End, Loop
from rlm_mcp.engine.reader import Reader
from rlm_mcp.engine.replay import Record
from rlm_mcp.engine.route import Route
from rlm_mcp.engine.run import Coverage, Job, Result, Status
from rlm_mcp.engine.shared import Shared
from rlm_mcp.engine.trajectory import WHOLE, Recorder, brief
from rlm_mcp.errors import BadRequest, BudgetSpent, RlmError
from rlm_mcp.refs import parse
from rlm_mcp.sandbox import Limits

OUTPUT_CHARS = 200_000
"""Characters of a cell's output that are kept, behind a handle, beyond what is shown."""
CHILDREN_AT_ONCE = 8
INSUFFICIENT = "INSUFFICIENT"
"""What a direct call replies when the text does not hold the answer (prompts/root-direct.md)."""


@dataclass
class Conduct:
    """One run, or one child run."""

    shared: Shared
    job: Job
    budget: Budget
    recorder: Recorder
    id: str
    depth: int = 0
    parent: Account | None = None
    above: Sequence[Handles] = ()
    """Handles of the runs above, innermost first."""
    recorded: Record | None = None

    def __post_init__(self) -> None:
        breaker = self.parent.breaker if self.parent else Breaker(self.budget.allowance.errors)
        self.account = Account(
            self.budget,
            breaker,
            lambda type, **data: self.recorder.write(type, self.id, **data),
            fresh=self.job.fresh,
            recorded=self.recorded,
            parent=self.parent,
        )
        self.handles = Handles(self.shared.state / "handles", "h" * (self.depth + 1))
        self.reader = Reader(
            self.shared.contexts,
            [self.handles, *self.above],
            self.job.variables,
            self.shared.texts,
            None if self.job.contexts is None else frozenset(self.job.contexts),
        )
        self.refs = self.job.refs
        """What it is about; lists behind handles are opened up before anything else."""
        self.coverage = Coverage()
        self.children = 0
        self._began = False
        self.loop: Loop | None = None
        self.kept = End("")
        """What a cheaper route gave, for the case that a dearer one gives less."""
        self.question = redact.redact(self.job.question.strip())

    async def run(self) -> Result:
        """Return the result. Raises Cancelled or what the job got wrong; else failures are told."""
        if not self.question:
            raise BadRequest("The question is empty.")
        if self.recorded is None:
            await may_begin(self.job, self.budget.allowance)
        started = time.monotonic()
        chosen = Route("recursive", "")
        end = End("", failed="The run did not begin.")
        try:
            async with asyncio.timeout(max(0.0, self.budget.seconds_left())):
                variables = await asyncio.to_thread(self._variables)
                await asyncio.to_thread(refuse_nothing, variables)
                chosen = self._route(variables)
                self._start(chosen, variables)
                end = await self._by(chosen, variables)
                while (after := self._escalated(chosen, end)) is not None:
                    self.account.record("route", mode=after.mode, reason=after.reason)
                    first, self.kept, chosen = chosen, end, after
                    end = await self._by(chosen, variables)
                    if end.failed and self.kept.answer:
                        chosen, end = route.fall_back(first, after, end.failed), self.kept
                        break
        except TimeoutError:
            self._begun(chosen)
            end = self._overtime()
        except asyncio.CancelledError:
            self._begun(chosen)
            self.account.record("run.end", status="failed", reason="cancelled")
            raise
        except Exception as error:
            if self._began:  # else it is a bad request, and there is no run
                self.account.record("run.end", status="failed", reason=str(error))
            raise
        result = await self._result(chosen, end, started)
        self._finish(result)
        return result

    def _overtime(self) -> End:
        """Return what there is when the time is over: a set content, marked as forced."""
        seconds = self.budget.allowance.seconds
        why = f"The {seconds:g} seconds of this run are over; raise max_seconds."
        content = self.loop.content if self.loop else ""
        content = content if content.strip() else self.kept.answer
        return End(content, forced=why) if content else End("", failed=why)

    def _variables(self) -> dict[str, Variable]:
        """Return the variables of this run, opened."""
        self.refs = self.reader.spread(self.job.refs)
        if self.refs:
            names = dict.fromkeys(parse(text).variable for text in self.refs)
        else:
            names = dict.fromkeys(self.reader.opened())
        if not names and (first := next(iter(self.reader.openable()), None)):
            names[first[0]] = None
        found = {name: self.reader.variable(name) for name in names}
        twice = {id(variable): name for name, variable in found.items()}
        return {name: found[name] for name in found if twice[id(found[name])] == name}

    def forecast(self) -> dict[str, Any]:
        """Return what this run may cost; opens what it is about, calls no model."""
        variables = self._variables()
        tokens = self._tokens(variables)
        chosen = self._route(variables)
        return forecast.forecast(chosen, tokens, self.job.root, self.job.sub, self.budget.allowance)

    def _route(self, variables: Mapping[str, Variable]) -> Route:
        if self.job.root.spec == "extractive:" and self.job.mode in ("auto", "recursive", "direct"):
            return Route("environment", "no model is at hand; the embedded one only searches")
        tokens = self._tokens(variables)
        may_call = self.budget.allowance.calls > 1
        return route.choose(self.job.mode, self.question, tokens, self.job.root.window, may_call)

    def _tokens(self, variables: Mapping[str, Variable]) -> int:
        """Return the size of what the run is about."""
        if self.refs and not self._whole(variables):
            return sum(len(self.reader.text(ref)) for ref in self.refs) // 4
        return sum(variable.describe().tokens for variable in variables.values())

    def _whole(self, variables: Mapping[str, Variable]) -> bool:
        """Say whether every ref names a whole variable."""
        return all(ref in variables for ref in self.refs)

    async def _by(self, chosen: Route, variables: Mapping[str, Variable]) -> End:
        if chosen.mode == "direct":
            return await self._direct(variables)
        async with self.shared.levels[self.depth]:
            return await self._loop(variables, sub_calls=chosen.mode == "recursive")

    async def _direct(self, variables: Mapping[str, Variable]) -> End:
        """Answer with one call that holds everything."""
        refs = list(self.refs) or list(variables)
        parts = await asyncio.to_thread(asking.parts, refs, self.reader)
        part = asking.joined(parts)
        system = self.shared.prompts["root-direct"]
        asks = asking.about_parts([self.question], [part], system, "", self.job.schema)
        got = (await self.shared.calls.each(self.job.root, asks, self.account))[0]
        if isinstance(got, Answer):
            text = got.reply.text.strip()
            if text.startswith(INSUFFICIENT):
                return End("", failed="the text did not hold the answer; open more of it")
            return End(text)
        return End("", failed=got.reason, over_budget=got.kind == "budget")

    async def _loop(self, variables: Mapping[str, Variable], *, sub_calls: bool) -> End:
        own = dict(self.job.variables)
        if "context" not in own and variables:
            own["context"] = next(iter(variables.values()))
        self.reader.own = own
        scope = self._scope(sub_calls)
        settings = self.shared.settings
        environment = Environment(
            Host(self.shared, scope),
            cells.tools(self.shared.tools, sub_calls=sub_calls),
            Limits(settings.cell_seconds, settings.cell_memory_mb, OUTPUT_CHARS),
            reduced=settings.reduced_sandbox,
        )
        try:
            first = await asyncio.to_thread(self._first, variables, sub_calls)
            system = self.shared.prompts["root" if sub_calls else "root-environment"]
            self.account.record("prompt", system=system, first=first)
            self.loop = Loop(self.job, scope, environment, first)
            return await self.loop.run()
        finally:
            self.shared.let_go(environment)

    def _scope(self, sub_calls: bool) -> Scope:
        return Scope(
            shared=self.shared,
            reader=self.reader,
            handles=self.handles,
            account=self.account,
            models=lambda: (self.job.root, self.job.sub),
            start=self._children,
            question=self.question,
            sub_calls=sub_calls,
            coverage=self.coverage,
        )

    def _first(self, variables: Mapping[str, Variable], sub_calls: bool) -> str:
        """Return the first message, which names what a root model is given."""
        narrowed = () if self._whole(variables) else self.refs
        return opening.first_message(
            self.job,
            self.question,
            variables,
            narrowed,
            self.handles,
            self.budget.allowance if sub_calls else None,
            self.shared.settings.concurrency,
        )

    async def _children(
        self, jobs: Sequence[Job], limits: Mapping[str, float | None]
    ) -> list[Result | Failed]:
        """Run child runs at once; a failed one is told in its place."""
        gate = asyncio.Semaphore(CHILDREN_AT_ONCE)
        numbered = []
        for job in jobs:
            self.children += 1
            numbered.append((f"{self.id}.{self.children}", job))

        async def one(id: str, job: Job) -> Result | Failed:
            async with gate:
                return await self._child(id, job, limits)

        results = await _together([one(id, job) for id, job in numbered])
        self.coverage.note(
            [f"child {id.rpartition('.')[2]}" for id, _ in numbered],
            [not isinstance(result, Failed) for result in results],
        )
        return results

    async def _child(
        self, id: str, job: Job, limits: Mapping[str, float | None]
    ) -> Result | Failed:
        child = None
        try:
            child = self._conduct_of(id, job, limits)
            self.account.record("child", child=id, question=brief(child.question))
            result = await child.run()
        except BudgetSpent as error:
            return Failed(str(error), "budget")
        except RlmError as error:
            return Failed(str(error), getattr(error, "kind", "failed"))
        finally:
            if child is not None:
                child.close()
            for variable in job.variables.values():
                variable.close()
        if result.status == "failed":
            return Failed(f"child run {id}: {result.reason}", "failed")
        return result

    def _conduct_of(self, id: str, job: Job, limits: Mapping[str, float | None]) -> Conduct:
        """Return a child run. Raises BudgetSpent where it would be too deep."""
        try:
            budget = self.budget.child(**limits)
        except BudgetSpent:
            if not job.variables and not job.refs:
                raise
            # As deep as it may go: what was handed over is answered by one call, if it fits.
            budget = Budget(self.budget.allowance.narrowed(**limits), parent=self.budget)
            job = replace(job, mode="direct")
        inherited = replace(
            job,
            fresh=self.job.fresh,
            variables=job.variables or self.reader.own,
            contexts=self.job.contexts if job.contexts is None else job.contexts,
        )
        return Conduct(
            self.shared,
            inherited,
            budget,
            self.recorder,
            id,
            self.depth + 1,
            self.account,
            [self.handles, *self.above],
            self.recorded,
        )

    def close(self) -> None:
        """Let go of what this run kept; the variables of its job belong to who made them."""
        self.reader.close()
        self.handles.close()

    def _escalated(self, chosen: Route, end: End) -> Route | None:
        """Return the route to try next, where this one came to no end and more can be spent."""
        if not (end.failed or end.forced) or self.account.breaker.reason or self.job.mode != "auto":
            return None
        if self.job.root.spec == "extractive:" or self.budget.seconds_to_work() <= 1:
            return None
        if self.budget.turns >= self.budget.allowance.iterations:
            return None
        why = (end.failed or end.forced).rstrip(".")
        problem = f"{'no' if end.failed else 'a forced'} answer ({why})"
        return route.escalate(chosen, problem)

    async def _result(self, chosen: Route, end: End, started: float) -> Result:
        found: tuple[evidence.Evidence, ...] = ()
        if end.answer:
            names = self.reader.names()
            # Compared as it stands, then shown without secrets.
            found = await asyncio.to_thread(
                lambda: tuple(
                    replace(item, quote=redact.redact(item.quote))
                    for item in evidence.check(
                        end.answer, names, self.reader.text, self.reader.stale
                    )
                )
            )
        status: Status = "complete"
        if end.failed:
            status = "failed"
        elif end.forced:
            status = "forced"
        elif self.coverage.done < len(self.coverage.parts):
            status = "partial"
        ended = (end.failed or end.forced).rstrip(".")
        mode = f"mode {chosen.mode}: {chosen.reason}" if chosen.reason else f"mode {chosen.mode}"
        return Result(
            answer=await asyncio.to_thread(redact.redact, end.answer),
            status=status,
            done=self.coverage.done,
            total=len(self.coverage.parts),
            evidence=found,
            cost_usd=self.account.cost_usd,
            calls=self.budget.spent.calls,
            cached=self.account.cached,
            usage=self.account.usage,
            seconds=time.monotonic() - started,
            run=self.id,
            mode=chosen.mode,
            reason=f"{ended} ({mode})." if ended else chosen.reason,
            model=self.job.root.spec,
            missing=self.coverage.missing,
            over_budget=end.over_budget,
        )

    def _begun(self, chosen: Route) -> None:
        """Have on record a run that ended while its variables were being opened."""
        if not self._began:
            self._start(Route(chosen.mode, "it ended before it could begin"), {})

    def _start(self, chosen: Route, variables: Mapping[str, Variable]) -> None:
        self._began = True
        self.account.record(
            "run.start",
            question=self.question,
            model=self.job.root.spec,
            sub_model=self.job.sub.spec,
            windows=[self.job.root.window, self.job.sub.window],
            asked=self.job.mode,
            mode=chosen.mode,
            reason=chosen.reason,
            depth=self.depth,
            refs=list(self.refs),
            contexts=None if self.job.contexts is None else list(self.job.contexts),
            variables=[_named(variable.describe()) for variable in variables.values()],
            budget=asdict(self.budget.allowance),
        )

    def _finish(self, result: Result) -> None:
        told: dict[str, Any] = result.as_json()
        told["answer"], told["answer_chars"] = result.answer[:WHOLE], len(result.answer)
        told.pop("run")
        self.account.record("run.end", **told)


def _named(d: Description) -> dict[str, Any]:
    return {"name": d.name, "kind": d.kind, "source": d.source, "size_bytes": d.size_bytes}


async def _together(work: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Await all; when one is cancelled or breaks, so are the others."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(item) for item in work]
    return [task.result() for task in started]
