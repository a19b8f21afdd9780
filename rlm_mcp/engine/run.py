"""Carry out a job: choose the route, run it, escalate where that helps, verify, and report."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rlm_mcp import redact
from rlm_mcp.engine import evidence, preflight, render, repl, route
from rlm_mcp.engine import sub_calls as asking
from rlm_mcp.engine.budget import Allowance, Budget
from rlm_mcp.engine.calls import Account, Answer, FailedCall
from rlm_mcp.engine.concurrency import Breaker
from rlm_mcp.engine.handles import Handles
from rlm_mcp.engine.host import Host, HostScope
from rlm_mcp.engine.job import Result, RunCoverage, RunJob, Status
from rlm_mcp.engine.loop import LoopEnd, RootLoop
from rlm_mcp.engine.preflight import may_begin, refuse_empty
from rlm_mcp.engine.ref_reader import RefReader
from rlm_mcp.engine.repl import Repl
from rlm_mcp.engine.route import Route
from rlm_mcp.engine.sub_calls import SUB_MAX_TOKENS
from rlm_mcp.engine.trajectory import MAX_WHOLE_CHARS, Recorder, text_digest
from rlm_mcp.errors import BadRequest, BudgetSpent, RlmError
from rlm_mcp.refs import parse_ref
from rlm_mcp.sandbox import SandboxLimits
from rlm_mcp.variable import Variable

if TYPE_CHECKING:
    from rlm_mcp.engine.replay import RecordedRun
    from rlm_mcp.engine.services import Services
    from rlm_mcp.variable import Description, Variable


NAMED_REFS = 20
"""Refs that a root model is told one by one."""


def first_message(
    job: RunJob,
    question: str,
    variables: Mapping[str, Variable],
    refs: Sequence[str],
    handles: Handles,
    allowance: Allowance | None,
    width: int,
) -> str:
    """Return the text; `refs` narrow the variables, no `allowance` means no sub-calls."""
    lines = [f"<question>\n{question}\n</question>", "", "Context variables:"]
    if job.purpose:
        lines[1:1] = [
            "",
            "You are a child run: the program of the run that started you reads your answer, so "
            "keep to the form that is asked for. The budget that you are shown is shared with the "
            "runs beside you. What the whole is for (not for you to answer):",
            f"<background>\n{asking.cut_background(job.purpose)}\n</background>",
        ]
    lines += [render.describe_text(variable.describe()) for variable in variables.values()]
    main = next(iter(variables), "")
    if main and main != "context":
        lines.append(f"`context` is {main}.")
    if refs:
        lines += ["", f"The question is about: {_refs_text(refs, handles)}."]
    if job.schema is not None:
        wanted = json.dumps(job.schema, ensure_ascii=False)
        lines += ["", f"The answer is JSON (json.dumps) that fits this JSON Schema: {wanted}"]
    if allowance is not None:
        deeper = (
            f"Child runs may nest {allowance.depth} deep."
            if allowance.depth
            else "Child runs are not available here; use llm_query."
        )
        lines += [
            "",
            f"A sub-call holds up to {job.sub.window_tokens // 2:,} tokens and answers in at most "
            f"{SUB_MAX_TOKENS:,}; {width} run at once.",
            deeper,
        ]
    return redact.redact("\n".join(lines))


def _refs_text(refs: Sequence[str], handles: Handles) -> str:
    named = ", ".join(refs[:NAMED_REFS])
    if len(refs) <= NAMED_REFS:
        return named
    handle = handles.store_text("\n".join(refs), "refs", refs)
    return f"{named} and {len(refs) - NAMED_REFS:,} more; {handle} lists all of them"


OUTPUT_CHARS = 200_000
"""Characters of a cell's output that are kept, behind a handle, beyond what is shown."""
CHILDREN_AT_ONCE = 8
PAID_CHARS = 40_000
"""Characters of the sub-models' answers that stand in for an answer that was not written."""
NO_ROOT_ANSWER = "No answer was written before the run had to end. What sub-models answered:"
NOT_IN_TEXT = (
    "one call could not answer it from the text: it is not there, or must be counted by code; "
    "open more, or use mode auto"
)
INSUFFICIENT = "INSUFFICIENT"
"""What a direct call replies when the text does not hold the answer (prompts/root-direct.md)."""


@dataclass
class Run:
    """One run, or one child run."""

    services: Services
    job: RunJob
    budget: Budget
    recorder: Recorder
    id: str
    depth: int = 0
    parent: Account | None = None
    ancestor_handles: Sequence[Handles] = ()
    """Handles of the runs above, innermost first."""
    recorded: RecordedRun | None = None

    def __post_init__(self) -> None:
        breaker = self.parent.breaker if self.parent else Breaker(self.budget.allowance.errors)
        self.account = Account(
            self.budget,
            breaker,
            lambda type, **data: self.recorder.write_event(type, self.id, **data),
            fresh=self.job.fresh,
            recorded=self.recorded,
            parent=self.parent,
        )
        self.handles = Handles(self.services.state_folder / "handles", "h" * (self.depth + 1))
        self.reader = RefReader(
            self.services.contexts,
            [self.handles, *self.ancestor_handles],
            self.job.variables,
            self.services.open_texts,
            None if self.job.contexts is None else frozenset(self.job.contexts),
        )
        self.refs = self.job.refs
        """What it is about; lists behind handles are opened up before anything else."""
        self.coverage = RunCoverage()
        self.paid_answers: list[str] = []
        self.children = 0
        self._began = False
        self.loop: RootLoop | None = None
        self.cheaper_end = LoopEnd("")
        """What a cheaper route gave, for the case that a dearer one gives less."""
        self.question = redact.redact(self.job.question.strip())

    async def run_to_end(self) -> Result:
        """Return the result. Raises Cancelled or what the job got wrong; else failures are told."""
        if not self.question:
            raise BadRequest("The question is empty.")
        if self.recorded is None:
            await may_begin(self.job, self.budget.allowance)
        started = time.monotonic()
        chosen = Route("recursive", "")
        end = LoopEnd("", failed="The run did not begin.")
        try:
            async with asyncio.timeout(max(0.0, self.budget.seconds_left())):
                variables = await asyncio.to_thread(self._open_variables)
                await asyncio.to_thread(refuse_empty, variables)
                chosen = self._choose_route(variables)
                self._record_start(chosen, variables)
                end = await self._run_route(chosen, variables)
                while (after := self._escalated_route(chosen, end)) is not None:
                    self.account.record("route", mode=after.mode, reason=after.reason)
                    first, self.cheaper_end, chosen = chosen, end, after
                    end = await self._run_route(chosen, variables)
                    if end.failed and self.cheaper_end.answer:
                        chosen, end = (
                            route.fallback_route(first, after, end.failed),
                            self.cheaper_end,
                        )
                        break
        except TimeoutError:
            self._record_unbegun(chosen)
            end = self._timeout_end()
        except asyncio.CancelledError:
            self._record_unbegun(chosen)
            self.account.record("run.end", status="failed", reason="cancelled")
            raise
        except Exception as error:
            if self._began:  # else it is a bad request, and there is no run
                self.account.record("run.end", status="failed", reason=str(error))
            raise
        result = await self._make_result(chosen, self._with_paid_answers(end), started)
        failed = result.status in ("failed", "forced") or end.failed or end.forced
        if failed and self.recorded is None:
            await self.services.calls.forget_replies(self.account.root_keys)
        self._record_end(result)
        return result

    def _with_paid_answers(self, end: LoopEnd) -> LoopEnd:
        """Return an end that is not empty where sub-models were paid: what they said."""
        if end.answer.strip() or not self.paid_answers:
            return end
        room = PAID_CHARS // len(self.paid_answers)
        sheets = [render.truncate_middle(sheet, room) for sheet in self.paid_answers]
        text = "\n\n".join([NO_ROOT_ANSWER, *sheets])
        return LoopEnd(text, forced=end.failed or end.forced, partial=True)

    def _timeout_end(self) -> LoopEnd:
        """Return what there is when the time is over: a set content, marked as forced."""
        seconds = self.budget.allowance.seconds
        why = f"The {seconds:g} seconds of this run are over; raise max_seconds."
        if self.account.waited_for_limit:
            why += " The provider's rate limit was waited for; fewer sub-calls at once may help."
        content = self.loop.content if self.loop else ""
        content = content if content.strip() else self.cheaper_end.answer
        return LoopEnd(content, forced=why) if content else LoopEnd("", failed=why)

    def _open_variables(self) -> dict[str, Variable]:
        """Return the variables of this run, opened."""
        self.refs = self.reader.expand_lists(self.job.refs)
        if self.refs:
            names = dict.fromkeys(parse_ref(text).variable for text in self.refs)
        else:
            names = dict.fromkeys(self.reader.open_names())
        if not names and (first := next(iter(self.reader.openable_defaults()), None)):
            names[first[0]] = None
        found = {name: self.reader.get_variable(name) for name in names}
        twice = {id(variable): name for name, variable in found.items()}
        return {name: found[name] for name in found if twice[id(found[name])] == name}

    def forecast_cost(self) -> dict[str, Any]:
        """Return what this run may cost; opens what it is about, calls no model."""
        variables = self._open_variables()
        tokens = self._scope_tokens(variables)
        chosen = self._choose_route(variables)
        return preflight.forecast_cost(
            chosen, tokens, self.job.root, self.job.sub, self.budget.allowance
        )

    def _choose_route(self, variables: Mapping[str, Variable]) -> Route:
        if self.job.root.spec == "extractive:" and self.job.mode in ("auto", "recursive", "direct"):
            return Route("environment", "no model is at hand; the embedded one only searches")
        tokens = self._scope_tokens(variables)
        may_call = self.budget.allowance.calls > 1
        return route.choose_route(
            self.job.mode, self.question, tokens, self.job.root.window_tokens, may_call
        )

    def _scope_tokens(self, variables: Mapping[str, Variable]) -> int:
        """Return the size of what the run is about."""
        if self.refs and not self._is_whole(variables):
            return sum(len(self.reader.full_text(ref)) for ref in self.refs) // 4
        return sum(variable.describe().tokens for variable in variables.values())

    def _is_whole(self, variables: Mapping[str, Variable]) -> bool:
        """Say whether every ref names a whole variable."""
        return all(ref in variables for ref in self.refs)

    async def _run_route(self, chosen: Route, variables: Mapping[str, Variable]) -> LoopEnd:
        if chosen.mode == "direct":
            return await self._run_direct(variables)
        async with self.services.depth_slots[self.depth]:
            return await self._run_loop(variables, sub_calls=chosen.mode == "recursive")

    async def _run_direct(self, variables: Mapping[str, Variable]) -> LoopEnd:
        """Answer with one call that holds everything."""
        refs = list(self.refs) or list(variables)

        def read_documents() -> list[asking.PromptPart]:
            named = self.reader.split_parts(refs)
            return asking.read_parts(named, self.reader, numbered=True)

        part = asking.join_parts(await asyncio.to_thread(read_documents))
        system = self.services.prompts["root-direct"]
        asks = asking.part_calls([self.question], [part], system, "", self.job.schema)
        got = (await self.services.calls.answer_all(self.job.root, asks, self.account))[0]
        if isinstance(got, Answer):
            text = render.direct_answer(got.reply.text)
            if not text:
                return LoopEnd("", failed="the reply was code that nobody runs in mode direct")
            if text.startswith(INSUFFICIENT):
                return LoopEnd("", failed=NOT_IN_TEXT)
            return LoopEnd(text)
        return LoopEnd("", failed=got.reason, over_budget=got.kind == "budget")

    async def _run_loop(self, variables: Mapping[str, Variable], *, sub_calls: bool) -> LoopEnd:
        own = dict(self.job.variables)
        if "context" not in own and variables:
            own["context"] = next(iter(variables.values()))
        self.reader.own = own
        scope = self._make_scope(sub_calls)
        settings = self.services.settings
        environment = Repl(
            Host(self.services, scope),
            repl.cell_tools(self.services.tools, sub_calls=sub_calls),
            SandboxLimits(settings.cell_seconds, settings.cell_memory_mb, OUTPUT_CHARS),
            reduced=settings.reduced_sandbox,
        )
        try:
            first = await asyncio.to_thread(self._first_message, variables, sub_calls)
            system = self.services.prompts["root" if sub_calls else "root-environment"]
            self.account.record("prompt", system=system, first=first)
            self.loop = RootLoop(self.job, scope, environment, first)
            return await self.loop.run_loop()
        finally:
            self.services.close_later(environment)

    def _make_scope(self, sub_calls: bool) -> HostScope:
        return HostScope(
            services=self.services,
            reader=self.reader,
            handles=self.handles,
            account=self.account,
            models=lambda: (self.job.root, self.job.sub),
            start_runs=self._run_children,
            question=self.question,
            sub_calls=sub_calls,
            coverage=self.coverage,
            paid_answers=self.paid_answers,
        )

    def _first_message(self, variables: Mapping[str, Variable], sub_calls: bool) -> str:
        """Return the first message, which names what a root model is given."""
        narrowed = () if self._is_whole(variables) else self.refs
        return first_message(
            self.job,
            self.question,
            variables,
            narrowed,
            self.handles,
            self.budget.allowance if sub_calls else None,
            self.services.settings.concurrency,
        )

    async def _run_children(
        self, jobs: Sequence[RunJob], limits: Mapping[str, float | None]
    ) -> list[Result | FailedCall]:
        """Run child runs at once; a failed one is told in its place."""
        gate = asyncio.Semaphore(CHILDREN_AT_ONCE)
        numbered = []
        for job in jobs:
            self.children += 1
            numbered.append((f"{self.id}.{self.children}", job))

        async def run_one(id: str, job: RunJob) -> Result | FailedCall:
            async with gate:
                return await self._run_child(id, job, limits)

        results = await _gather_all([run_one(id, job) for id, job in numbered])
        self.coverage.add_outcomes(
            [f"child {id.rpartition('.')[2]}" for id, _ in numbered],
            [
                not isinstance(result, FailedCall) and result.status != "forced"
                for result in results
            ],
        )
        return results

    async def _run_child(
        self, id: str, job: RunJob, limits: Mapping[str, float | None]
    ) -> Result | FailedCall:
        child = None
        try:
            child = self._make_child(id, job, limits)
            self.account.record("child", child=id, question=text_digest(child.question))
            result = await child.run_to_end()
        except BudgetSpent as error:
            return FailedCall(str(error), "budget")
        except RlmError as error:
            return FailedCall(str(error), getattr(error, "kind", "failed"))
        finally:
            if child is not None:
                child.close()
            for variable in job.variables.values():
                variable.close()
        if result.status == "failed":
            return FailedCall(f"child run {id}: {result.reason}", "failed")
        return result

    def _make_child(self, id: str, job: RunJob, limits: Mapping[str, float | None]) -> Run:
        """Return a child run. Raises BudgetSpent where it would be too deep."""
        try:
            budget = self.budget.child_budget(**limits)
        except BudgetSpent:
            if not job.variables and not job.refs:
                raise
            # As deep as it may go: what was handed over is answered by one call, if it fits.
            budget = Budget(self.budget.allowance.with_limits(**limits), parent=self.budget)
            job = replace(job, mode="direct")
        inherited = replace(
            job,
            fresh=self.job.fresh,
            purpose=self.question,
            variables=job.variables or self.reader.own,
            contexts=self.job.contexts if job.contexts is None else job.contexts,
        )
        return Run(
            self.services,
            inherited,
            budget,
            self.recorder,
            id,
            self.depth + 1,
            self.account,
            [self.handles, *self.ancestor_handles],
            self.recorded,
        )

    def close(self) -> None:
        """Let go of what this run kept; the variables of its job belong to who made them."""
        self.reader.close()
        self.handles.close()

    def _escalated_route(self, chosen: Route, end: LoopEnd) -> Route | None:
        """Return the route to try next, where this one came to no end and more can be spent."""
        if not (end.failed or end.forced) or self.account.breaker.reason or self.job.mode != "auto":
            return None
        if self.job.root.spec == "extractive:" or self.budget.seconds_to_work() <= 1:
            return None
        if self.budget.turns >= self.budget.allowance.iterations:
            return None
        why = (end.failed or end.forced).rstrip(".")
        problem = f"{'no' if end.failed else 'a forced'} answer ({why})"
        return route.escalate_route(chosen, problem)

    async def _make_result(self, chosen: Route, end: LoopEnd, started: float) -> Result:
        found: tuple[evidence.Evidence, ...] = ()
        if end.answer:
            names = self.reader.citable_names()
            # Compared as it stands, then shown without secrets.
            found = await asyncio.to_thread(
                lambda: tuple(
                    replace(item, quote=redact.redact(item.quote))
                    for item in evidence.check_evidence(
                        end.answer, names, self.reader.full_text, self.reader.stale_note
                    )
                )
            )
        status: Status = "complete"
        if end.failed:
            status = "failed"
        elif end.partial:
            status = "partial"
        elif end.forced:
            status = "forced"
        elif self.coverage.done_count < len(self.coverage.parts):
            status = "partial"
        ended = (end.failed or end.forced).rstrip(".")
        mode = f"mode {chosen.mode}: {chosen.reason}" if chosen.reason else f"mode {chosen.mode}"
        return Result(
            answer=await asyncio.to_thread(redact.redact, end.answer),
            status=status,
            done=self.coverage.done_count,
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
            missing=self.coverage.missing_parts,
            over_budget=end.over_budget,
        )

    def _record_unbegun(self, chosen: Route) -> None:
        """Have on record a run that ended while its variables were being opened."""
        if not self._began:
            self._record_start(Route(chosen.mode, "it ended before it could begin"), {})

    def _record_start(self, chosen: Route, variables: Mapping[str, Variable]) -> None:
        self._began = True
        self.account.record(
            "run.start",
            question=self.question,
            model=self.job.root.spec,
            sub_model=self.job.sub.spec,
            windows=[self.job.root.window_tokens, self.job.sub.window_tokens],
            asked=self.job.mode,
            mode=chosen.mode,
            reason=chosen.reason,
            depth=self.depth,
            refs=list(self.refs),
            contexts=None if self.job.contexts is None else list(self.job.contexts),
            variables=[_variable_facts(variable.describe()) for variable in variables.values()],
            budget=asdict(self.budget.allowance),
        )

    def _record_end(self, result: Result) -> None:
        told: dict[str, Any] = result.as_json()
        told["answer"], told["answer_chars"] = result.answer[:MAX_WHOLE_CHARS], len(result.answer)
        told.pop("run")
        self.account.record("run.end", **told)


def _variable_facts(d: Description) -> dict[str, Any]:
    return {"name": d.name, "kind": d.kind, "source": d.source, "size_bytes": d.size_bytes}


async def _gather_all(work: Sequence[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Await all; when one is cancelled or breaks, so are the others."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(item) for item in work]
    return [task.result() for task in started]
