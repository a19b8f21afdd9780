"""The functions that a cell or a tool may call: the only way out of the sandbox.

They run in the thread of an environment, with arguments that hostile code chose: every argument
is checked for its exact type first. What takes time elsewhere (models, child runs) is handed to
the event loop. Which contexts, models and money they reach is fixed by their scope, never by an
argument.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlm_mcp import redact
from rlm_mcp.corpus.search import Query
from rlm_mcp.engine import evidence, host_arguments, redaction, render
from rlm_mcp.engine import json_schema as schemas
from rlm_mcp.engine import sub_calls as asking
from rlm_mcp.engine.budget import WorstCase, to_nano
from rlm_mcp.engine.calls import Account, Answer, FailedCall, SubCall
from rlm_mcp.engine.job import Result, RunCoverage, RunJob
from rlm_mcp.engine.plain_question import answer_question, is_question
from rlm_mcp.engine.repl import PendingWork, make_attachment
from rlm_mcp.engine.trajectory import text_digest
from rlm_mcp.errors import BadRequest, BudgetSpent, Denied, ModelError
from rlm_mcp.marks import mark_label
from rlm_mcp.methods import to_wire
from rlm_mcp.models import TokenUsage
from rlm_mcp.plurals import count_noun
from rlm_mcp.refs import parse_ref
from rlm_mcp.sandbox import BindingAnswer
from rlm_mcp.tool_table import HOST_CALLS
from rlm_mcp.variable import Variable

if TYPE_CHECKING:
    from rlm_mcp.engine.handles import Handles
    from rlm_mcp.engine.ref_reader import RefReader
    from rlm_mcp.engine.services import Services
    from rlm_mcp.models import Model, Price


MAX_SHEET_CHARS = 20_000_000
"""Characters of a sheet that are kept."""


MAX_REF_CHARS = 4_000
"""Length above which what stands in the place of a ref is a text."""
LONG_PROMPT_CHARS = 8_000
"""Length from which the prompt of a child run holds data: all of it becomes its `context`."""
LONG_PROMPT_HEAD = 1_500
LONG_PROMPT = "{head} [...]\n(This prompt has {size:,} characters; all of it is in `context`.)"
MAX_KEPT_FANOUTS = 16
"""Fan-outs with failed calls that can be asked again."""


def answers_json(
    given: Sequence[Any], failed: Sequence[str] = (), handle: str = "", spent: str = ""
) -> dict[str, Any]:
    failures = [
        [place, item.reason, item.kind, redact.redact(item.partial)]
        for place, item in enumerate(given)
        if isinstance(item, FailedCall)
    ]
    return {
        "answers": [None if isinstance(item, FailedCall) else item for item in given],
        "failures": failures,
        "asked": len(given),
        "done": len(given) - len(failures),
        "failed": list(failed),
        "handle": handle,
        "spent": spent,
        "for_tool": False,
    }


def no_answer(got: Sequence[Answer | FailedCall]) -> None:
    """Raise where not one of the answers came: silence is no result."""
    reasons = dict.fromkeys(
        (item.reason, item.kind) for item in got if isinstance(item, FailedCall)
    )
    reason, kind = next(iter(reasons))
    said = f"None of {len(got)} calls was answered: {reason}" if len(got) > 1 else reason
    if kind == "budget":
        raise BudgetSpent(said, limit="calls", value=0)
    raise ModelError(said, kind=kind)


def answer_sheet(asks: Sequence[SubCall], got: Sequence[Answer | FailedCall]) -> str:
    """Return all answers whole, each under what it is about."""
    parts = []
    for number, (ask, item) in enumerate(zip(asks, got, strict=True), 1):
        text = item.reply.text if isinstance(item, Answer) else f"<NO ANSWER: {item.reason}>"
        parts.append(f"[{number}] {ask.part}\n{text}\n")
    return "\n".join(parts)[:MAX_SHEET_CHARS]


def prompt_cost(price: Price | None, ask: SubCall) -> WorstCase:
    """Return the least that a call can cost: its prompt read, nothing written."""
    tokens = ask.request.estimate_tokens()
    usd = None if price is None else to_nano(price.cost_usd(TokenUsage(cache_read=tokens)))
    return WorstCase(usd, tokens, 0)


def prompt_name(ask: SubCall) -> str:
    """Return a name for a prompt, the same when it is asked again."""
    text = "".join(message.text for message in ask.request.messages)
    return f"{text.strip().partition(chr(10))[0][:80]} #{text_digest(text)['hash'][:6]}"


class FanOut:
    """The calls of one batch, what each is about, and what came back so far."""

    def __init__(self, model: Model, asks: Sequence[SubCall], named: Sequence[str]) -> None:
        self.model, self.asks, self.named = model, asks, named
        waiting = FailedCall("It was not asked yet.", "waiting")
        self.got: list[Answer | FailedCall] = [waiting] * len(asks)


StartRuns = Callable[
    [Sequence[RunJob], Mapping[str, float | None]], Coroutine[Any, Any, list[Result | FailedCall]]
]
"""Runs child runs (or, for an agent, a run) and returns their results in order."""

HOOK_PREFIX = "session:hook:"
"""How the source begins that a client's hook opens: `session:hook:<event>:<transcript>`."""
LONGEST_CELL_S = 600.0
"""The most time that an agent can ask for a cell to compute."""


@dataclass
class HostScope:
    """On whose behalf the functions work."""

    services: Services
    reader: RefReader
    handles: Handles
    account: Account
    models: Callable[[], tuple[Model, Model]]
    """Returns root model and sub-model; chosen only when one is needed."""
    start_runs: StartRuns
    question: str = ""
    """The run's question, redacted; it goes with every sub-call."""
    is_agent: bool = False
    """Whether a coding agent calls, not the cell of a run."""
    sub_calls: bool = True
    may_spend: Callable[[], bool] = lambda: True
    """Whether the user lets this caller call models that cost."""
    coverage: RunCoverage = field(default_factory=RunCoverage)
    has_looked: bool = False
    """Whether anything was opened or asked yet."""
    execute: Callable[[str, str, float], Coroutine[Any, Any, str]] | None = None
    fetchable_source: str = ""
    """The only URL that may be opened: what the agent gave the tool open_context itself."""
    wait_for_run: Callable[[str, float, bool], Coroutine[Any, Any, str]] | None = None
    paid_answers: list[str] = field(default_factory=list)
    """What sub-models and child runs have answered, for a run that ends without an answer."""
    on_opened: Callable[[], None] = lambda: None
    """Called after a context was opened."""
    report_progress: Callable[[float, float | None, str], None] = lambda done, total, said: None
    """Reports progress; called from the event loop."""


class Host:
    """The functions of one environment; `scope` may change between two calls, never in one."""

    def __init__(self, shared: Services, scope: HostScope) -> None:
        self.scope = scope
        self.pending_work = PendingWork(shared.loop)
        self._kept_texts: dict[str, str] = {}
        """Handles of texts that cells gave in the place of refs, by digest."""
        self._failed_fanouts: dict[str, FanOut] = {}
        """By handle, those that `retry` can ask again."""
        self.failure: Exception | None = None
        """The last error that a function raised."""
        self.bound_variables: dict[str, Variable] = {}
        """The variables that the last cell opened; each is bound where it was opened."""

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """Return the functions by the names that the sdk calls."""
        return {name: self._note_failure(name) for name in HOST_CALLS}

    def call_function(self, name: str, values: Mapping[str, Any]) -> Any:
        """Call a function by name, as the sdk does in this process."""
        return getattr(self, name)(host_arguments.Arguments(values))

    def _note_failure(self, name: str) -> Callable[..., Any]:
        def call_noted(**values: Any) -> Any:
            try:
                return self.call_function(name, values)
            except Exception as error:
                self.failure = error
                raise

        return call_noted

    def contexts(self, given: host_arguments.Arguments) -> str:
        """Return what is open, or one variable in full."""
        name = given.get_text("name", "")
        reader = self.scope.reader
        if name:
            return render.describe_text(reader.get_variable(name).describe())
        lines = [
            render.describe_brief(reader.get_variable(n).describe()) for n in reader.open_names()
        ]
        lines += [
            mark_label(f"- {name} (not open yet): {said}")
            for name, said in reader.openable_defaults()
        ]
        kept = self.scope.handles.handle_names()
        if kept:
            lines.append(
                f"handles: {kept[0]} to {kept[-1]} ({count_noun(len(kept), 'kept result')})"
            )
        return "\n".join(lines) or "Nothing is open; open_context(source) opens something."

    def open_context(self, given: host_arguments.Arguments) -> str | BindingAnswer:
        """Open a source. A run may not: its variables are given."""
        if not self.scope.is_agent:
            raise Denied("A run works on the variables that it was given; it opens no sources.")
        source, name = given.get_text("source"), given.get_text("name", "")
        if source.startswith(HOOK_PREFIX):
            event, _, transcript = source.removeprefix(HOOK_PREFIX).partition(":")
            return self.scope.services.contexts.handle_hook(event, transcript)
        fetch = source == self.scope.fetchable_source
        variable = self.scope.services.contexts.open_context(source, name, fetch=fetch)
        self.scope.on_opened()
        said = render.describe_text(variable.describe())
        if self.scope.execute is not None:  # a tool call: no cell goes on that could use it
            return said
        self.bound_variables[variable.name] = variable
        return BindingAnswer(said, variable.name, make_attachment(variable))

    def peek(self, given: host_arguments.Arguments) -> Any:
        """Return a window."""
        self.scope.has_looked = True
        return to_wire(self.scope.reader.peek(self._scope_ref(given), given.get_count("limit", 80)))

    def grep(self, given: host_arguments.Arguments) -> Any:
        """Search; a question in plain words is answered by ranking."""
        self.scope.has_looked = True
        pattern = given.get_text("pattern")
        if is_question(pattern) and not given.get_text("cursor", ""):
            return to_wire(
                answer_question(
                    self.scope.reader, pattern, self._scope_ref(given), given.get_count("limit", 30)
                )
            )
        query = Query(
            pattern=pattern,
            limit=given.get_count("limit", 30),
            ignore_case=given.get_flag("ignore_case"),
            before=given.get_count("before", 0),
            after=given.get_count("after", 0),
            cursor=given.get_text("cursor", ""),
        )
        return to_wire(self.scope.reader.grep(query.fit_page(), self._scope_ref(given)))

    def search(self, given: host_arguments.Arguments) -> Any:
        """Return the passages that best fit a question."""
        self.scope.has_looked = True
        ref, limit = self._scope_ref(given), given.get_count("limit", 10)
        return to_wire(self.scope.reader.search(given.get_text("question"), ref, limit))

    def outline(self, given: host_arguments.Arguments) -> Any:
        """Return the structure of a scope."""
        self.scope.has_looked = True
        found = self.scope.reader.outline(self._scope_ref(given), given.get_count("limit", 60))
        return redaction.hide_in_answer(to_wire(found), self.scope.reader.full_text)

    def _scope_ref(self, given: host_arguments.Arguments) -> str:
        """Return the ref to look at; none given means the main variable.

        A text that a cell has built is kept, and looked at by its handle.
        """
        ref = given.get_text("ref", "")
        if "\n" not in ref and len(ref) <= MAX_REF_CHARS:
            return ref or self.scope.reader.main_name
        digest = text_digest(ref)["hash"]
        if digest not in self._kept_texts:
            self._kept_texts[digest] = self.scope.handles.store_text(ref)
        return self._kept_texts[digest]

    def chunk(self, given: host_arguments.Arguments) -> Any:
        """Return the parts of a scope, and a handle for them."""
        self.scope.has_looked = True
        by, tokens = given.get_text("by", "auto"), given.get_count("tokens", 4_000)
        chunks = self.scope.reader.chunk(self._scope_ref(given), by, tokens)
        rows = redaction.hide_in_answer(to_wire(chunks), self.scope.reader.full_text)
        table = "\n".join(f"{row['ref']}  ~{row['tokens']} tokens  {row['title']}" for row in rows)
        handle = self.scope.handles.store_text(table, "refs", [chunk.ref for chunk in chunks])
        return {"chunks": rows, "handle": handle}

    def cite(self, given: host_arguments.Arguments) -> str:
        """Return a checked quote under its ref."""
        ref, quote = parse_ref(given.get_text("ref")), given.get_text("quote")
        return redact.redact(evidence.cite_quote(ref, quote, self.scope.reader.full_text))

    def call_method(self, given: host_arguments.Arguments) -> Any:
        """Call a method of a variable."""
        self.scope.has_looked = True
        return self.scope.reader.call_method(
            given.get_text("name"),
            given.get_text("method"),
            given.get_list("args"),
            given.get_mapping("kwargs"),
        )

    def execute(self, given: host_arguments.Arguments) -> str:
        """Run a cell in one of the agent's lasting environments."""
        if self.scope.execute is None:
            raise BadRequest("A cell cannot run another cell; write the code directly.")
        code, repl = given.get_text("code"), given.get_text("repl", "main")
        seconds = min(LONGEST_CELL_S, given.get_number("timeout_s", 30.0))
        work = self.scope.execute(code, repl, seconds)
        return str(self.pending_work.wait_for(work))

    def wait(self, given: host_arguments.Arguments) -> str:
        """Wait for a run."""
        if self.scope.wait_for_run is None:
            raise BadRequest(
                "A cell gets the results of its child runs directly; nothing to wait for."
            )
        seconds = min(100.0, given.get_number("seconds", 60.0))
        return str(
            self.pending_work.wait_for(
                self.scope.wait_for_run(given.get_text("run"), seconds, given.get_flag("cancel"))
            )
        )

    def llm_query(self, given: host_arguments.Arguments) -> Any:
        """Ask sub-models, once per prompt and part."""
        scope = self.scope
        scope.has_looked = True
        self._check_sub_calls()
        if retry := given.get_text("retry", ""):
            return self._ask_again(retry)
        prompts = given.get_texts("prompts")
        model = self._resolve_model(given.get_text("model", ""), 1)
        self._check_consent(model)
        schema_text = given.get_text("schema", "")
        schema = schemas.parse_schema(schema_text) if schema_text else None
        system = scope.services.prompts["sub"]
        refs = given.get_texts("refs")
        if refs:
            names = scope.reader.split_parts(refs)
            self._check_affordable(len(names) * len(prompts))
            parts = asking.read_parts(names, scope.reader)
            asks = asking.part_calls(prompts, parts, system, scope.question, schema)
        else:
            self._check_affordable(len(prompts))
            asks = asking.prompt_calls(prompts, system, scope.question, schema)
        if not asks:
            return answers_json([])
        named = [ask.part if refs else prompt_name(ask) for ask in asks]
        return self._fan_out(FanOut(model, asks, named))

    def _ask_again(self, handle: str) -> Any:
        """Ask what failed in a fan-out once more; the others keep their answers."""
        fan_out = self._failed_fanouts.get(handle)
        if fan_out is None:
            raise BadRequest(f"The prompts of {handle} are no longer kept; repeat the call.")
        self._check_consent(fan_out.model)
        return self._fan_out(fan_out)

    def rlm_query(self, given: host_arguments.Arguments) -> Any:
        """Start child runs and return their answers."""
        self.scope.has_looked = True
        self._check_sub_calls()
        jobs = self._make_jobs(given)
        if not jobs:
            return answers_json([])
        self._check_affordable(len(jobs))
        limits = {
            name: given.optional_number(f"max_{name}")
            for name in ("usd", "calls", "seconds", "depth")
        }
        results = self.pending_work.wait_for(self.scope.start_runs(jobs, limits))
        answers = [
            result if isinstance(result, FailedCall) else self._child_answer(result, job)
            for result, job in zip(results, jobs, strict=True)
        ]
        failed = [str(n) for n, result in enumerate(results, 1) if isinstance(result, FailedCall)]
        if not self.scope.is_agent:
            self.scope.paid_answers += [
                f"child run: {result.answer}"
                for result in results
                if not isinstance(result, FailedCall) and result.answer.strip()
            ]
        statuses = ["failed" if isinstance(r, FailedCall) else r.status for r in results]
        return self._told(answers_json(answers, failed)) | {"statuses": statuses}

    def _told(self, answers: dict[str, Any]) -> dict[str, Any]:
        return answers | {"for_tool": self.scope.execute is not None}

    def _make_jobs(self, given: host_arguments.Arguments) -> list[RunJob]:
        prompts, texts = given.get_texts("prompts"), given.optional_texts("contexts")
        if any(not prompt.strip() for prompt in prompts):
            raise BadRequest("The question is empty.")
        if texts is not None and len(texts) not in (1, len(prompts)):
            raise BadRequest(
                f"{count_noun(len(prompts), 'prompt')} and {count_noun(len(texts), 'context')}: "
                "give one context for all, or one for each."
            )
        scope = self.scope
        schema_text = given.get_text("schema", "")
        schema = schemas.parse_schema(schema_text) if schema_text else None
        root = self._resolve_model(given.get_text("model", ""), 0)
        sub = root if given.get_text("model", "") and scope.is_agent else scope.models()[1]
        self._check_consent(root, sub)
        refs = tuple(given.get_texts("refs"))
        paired = len(prompts) > 1 and len(refs) == len(prompts)
        jobs = []
        for number, prompt in enumerate(prompts):
            variables, text = {}, None
            if texts is not None:
                text = texts[number if len(texts) > 1 else 0]
            elif len(prompt) > LONG_PROMPT_CHARS and not scope.is_agent:
                text = prompt
                prompt = LONG_PROMPT.format(head=prompt[:LONG_PROMPT_HEAD], size=len(text))
            if text is not None:
                data = text.encode("utf-8", "surrogatepass")
                variables["context"] = scope.services.open_texts(
                    "context", "a text that was handed over", [("text", data)]
                )
            jobs.append(
                RunJob(
                    question=prompt,
                    root=root,
                    sub=sub,
                    refs=("context",) if variables else refs[number:][:1] if paired else refs,
                    contexts=() if texts is not None else None,
                    variables=variables,
                    mode=host_arguments.mode(given.get_text("mode", "auto")),
                    schema=schema,
                )
            )
        return jobs

    def _fan_out(self, fan_out: FanOut) -> Any:
        """Send what has no answer yet and return all answers as the sdk reads them."""
        scope, model = self.scope, fan_out.model
        places = [n for n, item in enumerate(fan_out.got) if not isinstance(item, Answer)]
        asks = [fan_out.asks[n] for n in places]
        account = scope.account
        if account.recorded is None:
            account.budget.check_fan_out([prompt_cost(model.price, ask) for ask in asks])
        before = (account.budget.spent.calls, account.cached, account.budget.spent.usd_nano)
        sent: list[Answer | FailedCall] = self.pending_work.wait_for(
            scope.services.calls.answer_all(model, asks, account, scope.report_progress)
        )
        answered = [isinstance(item, Answer) for item in sent]
        scope.coverage.add_outcomes([fan_out.named[n] for n in places], answered)
        if not any(answered):
            no_answer(sent)
        for place, item in zip(places, sent, strict=True):
            fan_out.got[place] = item
        asks, got = list(fan_out.asks), fan_out.got
        good = [isinstance(item, Answer) for item in got]
        answers = [item.value if isinstance(item, Answer) else item for item in got]
        failed = [ask.part for ask, ok in zip(asks, good, strict=True) if not ok]
        handle = ""
        sheet = answer_sheet(asks, got)
        if len(asks) > 1:
            handle = scope.handles.store_text(sheet, "answers")
            self._keep_failed(handle, fan_out)
        if not scope.is_agent:
            scope.paid_answers.append(f"{handle}\n{sheet}".strip())
        spent = ""
        if scope.is_agent:
            unpriced = account.budget.unpriced
            cost = None if unpriced else (account.budget.spent.usd_nano - before[2]) / 1e9
            calls = account.budget.spent.calls - before[0]
            spent = render.spent_text(calls, account.cached - before[1], cost)
        return self._told(answers_json(answers, failed, handle, spent))

    def _keep_failed(self, handle: str, fan_out: FanOut) -> None:
        if all(isinstance(item, Answer) for item in fan_out.got):
            return
        self._failed_fanouts[handle] = fan_out
        while len(self._failed_fanouts) > MAX_KEPT_FANOUTS:
            del self._failed_fanouts[next(iter(self._failed_fanouts))]

    def _child_answer(self, result: Result, job: RunJob) -> Any:
        if job.schema is not None and result.status in ("complete", "partial"):
            return schemas.value_in(result.answer)
        if self.scope.is_agent:
            return f"{result.text()}\n{result.spent}"
        if result.status == "forced":
            return f"{result.answer}\n[this child run was stopped early: {result.reason}]"
        if result.status == "partial":
            return f"{result.answer}\n[{result.done} of {result.total} parts were answered]"
        return result.answer

    def _check_sub_calls(self) -> None:
        if not self.scope.sub_calls:
            raise Denied("This run has no sub-calls (mode environment); answer with code alone.")

    def _check_consent(self, *models: Model) -> None:
        """Refuse what costs in a cell of an agent, of which nobody asked the user."""
        free = all(model.price is not None and model.price.is_free for model in models)
        if not free and not self.scope.may_spend():
            raise Denied(
                "A cell may spend only after the user let llm_query or rlm_query be called as a "
                'tool once in this session, or set spend = "allow" in config.toml; call one of '
                "the two as a tool first."
            )

    def _check_affordable(self, calls: int) -> None:
        """Refuse a fan-out that can never fit, before its texts are read."""
        allowance = self.scope.account.budget.allowance
        if calls > allowance.calls:
            raise BudgetSpent(
                f"That is {count_noun(calls, 'call')} and the run may make {allowance.calls:,}; "
                "ask for fewer chunks or raise max_calls.",
                limit="calls",
                value=allowance.calls,
            )

    def _resolve_model(self, spec: str, place: int) -> Model:
        """Return the model of a call; an empty spec is the root model (0) or sub-model (1)."""
        scope, spec = self.scope, spec.strip()
        pair = scope.models()
        known = {"": pair[place], "root": pair[0], "sub": pair[1]}
        known |= {model.spec: model for model in pair}
        if spec in known:
            return known[spec]
        settings = scope.services.settings
        if not scope.is_agent and spec not in (settings.model, settings.sub_model):
            raise BadRequest(
                f"This run's models are {pair[0].spec} and {pair[1].spec}; leave model empty."
            )
        return scope.services.permitted_model(spec)
