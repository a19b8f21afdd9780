"""The functions that a cell or a tool may call: the only way out of the sandbox.

They run in the thread of an environment, with arguments that hostile code chose: every argument
is checked for its exact type first. What takes time elsewhere (models, child runs) is handed to
the event loop. Which contexts, models and money they reach is fixed by their scope, never by an
argument.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlm_mcp.contexts.variable import Query, Variable, wire
from rlm_mcp.counts import counted
from rlm_mcp.engine import arguments, asking, observe, redaction, replies
from rlm_mcp.engine import schema as schemas
from rlm_mcp.engine.calls import Account, Answer, Ask, Failed
from rlm_mcp.engine.environment import Flights, attachment
from rlm_mcp.engine.handles import Handles
from rlm_mcp.engine.reader import Reader
from rlm_mcp.engine.run import Coverage, Job, Result
from rlm_mcp.engine.shared import Shared
from rlm_mcp.errors import BadRequest, BudgetSpent, Denied
from rlm_mcp.models.model import Model
from rlm_mcp.sandbox import Bound

Starter = Callable[
    [Sequence[Job], Mapping[str, float | None]], Coroutine[Any, Any, list[Result | Failed]]
]
"""Runs child runs (or, for an agent, a run) and returns their results in order."""

HOOK = "session:hook:"
"""How the source begins that a client's hook opens: `session:hook:<event>:<transcript>`."""
LONGEST_CELL_S = 600.0
"""The most time that an agent can ask for a cell to compute."""


@dataclass
class Scope:
    """On whose behalf the functions work."""

    shared: Shared
    reader: Reader
    handles: Handles
    account: Account
    models: Callable[[], tuple[Model, Model]]
    """Returns root model and sub-model; chosen only when one is needed."""
    start: Starter
    question: str = ""
    """The run's question, redacted; it goes with every sub-call."""
    agent: bool = False
    """Whether a coding agent calls, not the cell of a run."""
    sub_calls: bool = True
    coverage: Coverage = field(default_factory=Coverage)
    looked: bool = False
    """Whether anything was opened or asked yet."""
    run_cell: Callable[[str, str, float], Coroutine[Any, Any, str]] | None = None
    wait_for: Callable[[str, float, bool], Coroutine[Any, Any, str]] | None = None
    opened: Callable[[], None] = lambda: None
    """Called after a context was opened."""
    tell: Callable[[float, float | None, str], None] = lambda done, total, said: None
    """Reports progress; called from the event loop."""


class Host:
    """The functions of one environment; `scope` may change between two calls, never in one."""

    def __init__(self, shared: Shared, scope: Scope) -> None:
        self.scope = scope
        self.flights = Flights(shared.loop)
        self.failure: Exception | None = None
        """The last error that a function raised."""
        self.bound: dict[str, Variable] = {}
        """The variables that the last cell opened; each is bound where it was opened."""

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """Return the functions by the names that the sdk calls."""
        lent: dict[str, Callable[..., Any]] = {
            "describe": self.describe,
            "open_source": self.open_source,
            "read": self.read,
            "scan": self.scan,
            "rank": self.rank,
            "outline": self.outline,
            "split": self.split,
            "run_cell": self.run_cell,
            "ask": self.ask,
            "run": self.run,
            "wait": self.wait,
            "variable": self.variable,
        }
        return {name: self._noted(function) for name, function in lent.items()}

    def _noted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(**values: Any) -> Any:
            try:
                return function(arguments.Arguments(values))
            except Exception as error:
                self.failure = error
                raise

        return call

    def describe(self, given: arguments.Arguments) -> str:
        """Return what is open, or one variable in full."""
        name = given.text("name", "")
        reader = self.scope.reader
        if name:
            return observe.describe_text(reader.variable(name).describe())
        lines = [observe.describe_brief(reader.variable(n).describe()) for n in reader.opened()]
        lines += [f"- {name} (not open yet): {said}" for name, said in reader.openable()]
        kept = self.scope.handles.names()
        if kept:
            lines.append(f"handles: {kept[0]} to {kept[-1]} ({counted(len(kept), 'kept result')})")
        return "\n".join(lines) or "Nothing is open; open_context(source) opens something."

    def open_source(self, given: arguments.Arguments) -> str | Bound:
        """Open a source. A run may not: its variables are given."""
        if not self.scope.agent:
            raise Denied("A run works on the variables that it was given; it opens no sources.")
        source, name = given.text("source"), given.text("name", "")
        if source.startswith(HOOK):
            event, _, transcript = source.removeprefix(HOOK).partition(":")
            return self.scope.shared.contexts.hook(event, transcript)
        variable = self.scope.shared.contexts.open(source, name)
        self.scope.opened()
        said = observe.describe_text(variable.describe())
        if self.scope.run_cell is not None:  # a tool call: no cell goes on that could use it
            return said
        self.bound[variable.name] = variable
        return Bound(said, variable.name, attachment(variable))

    def read(self, given: arguments.Arguments) -> Any:
        """Return a window."""
        self.scope.looked = True
        return wire(self.scope.reader.read(given.text("ref"), given.count("limit", 80)))

    def scan(self, given: arguments.Arguments) -> Any:
        """Search."""
        self.scope.looked = True
        query = Query(
            pattern=given.text("pattern"),
            limit=given.count("limit", 30),
            ignore_case=given.flag("ignore_case"),
            before=given.count("before", 0),
            after=given.count("after", 0),
            cursor=given.text("cursor", ""),
        )
        return wire(self.scope.reader.search(query, self._where(given)))

    def rank(self, given: arguments.Arguments) -> Any:
        """Return the passages that best fit a question."""
        self.scope.looked = True
        ref, limit = self._where(given), given.count("limit", 10)
        return wire(self.scope.reader.rank(given.text("question"), ref, limit))

    def outline(self, given: arguments.Arguments) -> Any:
        """Return the structure of a scope."""
        self.scope.looked = True
        found = self.scope.reader.outline(self._where(given), given.count("limit", 60))
        return redaction.hide_in_answer(wire(found), self.scope.reader.text)

    def _where(self, given: arguments.Arguments) -> str:
        """Return the ref to look at; none given means the main variable."""
        return given.text("ref", "") or self.scope.reader.main

    def split(self, given: arguments.Arguments) -> Any:
        """Return the parts of a scope, and a handle for them."""
        self.scope.looked = True
        by, tokens = given.text("by", "auto"), given.count("tokens", 4_000)
        chunks = self.scope.reader.chunk(given.text("ref"), by, tokens)
        rows = redaction.hide_in_answer(wire(chunks), self.scope.reader.text)
        table = "\n".join(f"{row['ref']}  ~{row['tokens']} tokens  {row['title']}" for row in rows)
        handle = self.scope.handles.keep(table, "refs", [chunk.ref for chunk in chunks])
        return {"chunks": rows, "handle": handle}

    def variable(self, given: arguments.Arguments) -> Any:
        """Call a method of a variable."""
        self.scope.looked = True
        return self.scope.reader.call(
            given.text("name"), given.text("method"), given.items("args"), given.record("kwargs")
        )

    def run_cell(self, given: arguments.Arguments) -> str:
        """Run a cell in one of the agent's lasting environments."""
        if self.scope.run_cell is None:
            raise BadRequest("A cell cannot run another cell; write the code directly.")
        code, repl = given.text("code"), given.text("repl", "main")
        seconds = min(LONGEST_CELL_S, given.number("timeout_s", 30.0))
        work = self.scope.run_cell(code, repl, seconds)
        return str(self.flights.wait(work))

    def wait(self, given: arguments.Arguments) -> str:
        """Wait for a run."""
        if self.scope.wait_for is None:
            raise BadRequest(
                "A cell gets the results of its child runs directly; nothing to wait for."
            )
        seconds = min(100.0, given.number("seconds", 60.0))
        return str(
            self.flights.wait(self.scope.wait_for(given.text("run"), seconds, given.flag("cancel")))
        )

    def ask(self, given: arguments.Arguments) -> Any:
        """Ask sub-models, once per prompt and part."""
        scope = self.scope
        scope.looked = True
        self._may_ask()
        prompts = given.texts("prompts")
        model = self._model(given.text("model", ""), 1)
        schema_text = given.text("schema", "")
        schema = schemas.parse(schema_text) if schema_text else None
        system = scope.shared.prompts["sub"]
        refs = given.texts("refs")
        if refs:
            names = scope.reader.parts(refs)
            self._afford(len(names) * len(prompts))
            parts = asking.parts(names, scope.reader)
            asks = asking.about_parts(prompts, parts, system, scope.question, schema)
        else:
            self._afford(len(prompts))
            asks = asking.plain(prompts, system, scope.question, schema)
        if not asks:
            return replies.answers([], [], "", "")
        return self._told(model, asks, bool(refs))

    def run(self, given: arguments.Arguments) -> Any:
        """Start child runs and return their answers."""
        self._may_ask()
        jobs = self._jobs(given)
        if not jobs:
            return replies.answers([], [], "", "")
        self._afford(len(jobs))
        limits = {
            name: given.optional(f"max_{name}") for name in ("usd", "calls", "seconds", "depth")
        }
        results = self.flights.wait(self.scope.start(jobs, limits))
        answers = [
            result if isinstance(result, Failed) else self._answer_of(result, job)
            for result, job in zip(results, jobs, strict=True)
        ]
        failed = [str(n) for n, result in enumerate(results, 1) if isinstance(result, Failed)]
        return replies.answers(answers, failed, "", "")

    def _jobs(self, given: arguments.Arguments) -> list[Job]:
        prompts, texts = given.texts("prompts"), given.optional_texts("contexts")
        if any(not prompt.strip() for prompt in prompts):
            raise BadRequest("The question is empty.")
        if texts is not None and len(texts) not in (1, len(prompts)):
            raise BadRequest(
                f"{counted(len(prompts), 'prompt')} and {counted(len(texts), 'context')}: "
                "give one context for all, or one for each."
            )
        scope = self.scope
        schema_text = given.text("schema", "")
        schema = schemas.parse(schema_text) if schema_text else None
        root = self._model(given.text("model", ""), 0)
        sub = root if given.text("model", "") and scope.agent else scope.models()[1]
        jobs = []
        for number, prompt in enumerate(prompts):
            variables = {}
            if texts is not None:
                text = texts[number if len(texts) > 1 else 0]
                data = text.encode("utf-8", "surrogatepass")
                variables["context"] = scope.shared.texts(
                    "context", "a text that was handed over", [("text", data)]
                )
            jobs.append(
                Job(
                    question=prompt,
                    root=root,
                    sub=sub,
                    refs=("context",) if texts is not None else tuple(given.texts("refs")),
                    contexts=() if texts is not None else None,
                    variables=variables,
                    mode=arguments.mode(given.text("mode", "auto")),
                    schema=schema,
                )
            )
        return jobs

    def _told(self, model: Model, asks: Sequence[Ask], by_ref: bool) -> Any:
        """Send a fan-out and return what came back as the sdk reads it."""
        scope = self.scope
        account = scope.account
        before = (account.budget.spent.calls, account.cached, account.budget.spent.usd_nano)
        got: list[Answer | Failed] = self.flights.wait(
            scope.shared.calls.each(model, asks, account, scope.tell)
        )
        good = [isinstance(item, Answer) for item in got]
        named = [ask.part if by_ref else replies.name_of(ask) for ask in asks]
        scope.coverage.note(named, good)
        if not any(good):
            replies.no_answer(got)
        answers = [item.value if isinstance(item, Answer) else item for item in got]
        failed = [ask.part for ask, ok in zip(asks, good, strict=True) if not ok]
        handle = ""
        if len(asks) > 1:
            handle = scope.handles.keep(replies.sheet(asks, got), "answers")
        spent = ""
        if scope.agent:
            unpriced = account.budget.unpriced
            cost = None if unpriced else (account.budget.spent.usd_nano - before[2]) / 1e9
            calls = account.budget.spent.calls - before[0]
            spent = observe.spent_text(calls, account.cached - before[1], cost)
        return replies.answers(answers, failed, handle, spent)

    def _answer_of(self, result: Result, job: Job) -> Any:
        if job.schema is not None and result.status in ("complete", "partial"):
            return schemas.value_in(result.answer)
        if self.scope.agent:
            return f"{result.text()}\n{result.spent}"
        if result.status == "forced":
            return f"{result.answer}\n[this child run was stopped early: {result.reason}]"
        if result.status == "partial":
            return f"{result.answer}\n[{result.done} of {result.total} parts were answered]"
        return result.answer

    def _may_ask(self) -> None:
        if not self.scope.sub_calls:
            raise Denied("This run has no sub-calls (mode environment); answer with code alone.")

    def _afford(self, calls: int) -> None:
        """Refuse a fan-out that can never fit, before its texts are read."""
        allowance = self.scope.account.budget.allowance
        if calls > allowance.calls:
            raise BudgetSpent(
                f"That is {counted(calls, 'call')} and the run may make {allowance.calls:,}; "
                "ask for fewer chunks or raise max_calls.",
                limit="calls",
                value=allowance.calls,
            )

    def _model(self, spec: str, place: int) -> Model:
        """Return the model of a call; an empty spec is the root model (0) or sub-model (1)."""
        scope, spec = self.scope, spec.strip()
        pair = scope.models()
        known = {"": pair[place], "root": pair[0], "sub": pair[1]}
        known |= {model.spec: model for model in pair}
        if spec in known:
            return known[spec]
        settings = scope.shared.settings
        if not scope.agent and spec not in (settings.model, settings.sub_model):
            raise BadRequest(
                f"This run's models are {pair[0].spec} and {pair[1].spec}; leave model empty."
            )
        return scope.shared.asked_for(spec)
