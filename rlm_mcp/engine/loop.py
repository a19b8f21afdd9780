"""The loop of one run: the root model writes a cell, the environment runs it, the model is shown
what came of it, until the answer is set or a limit is reached.

It never takes a printed text for an answer, never passes a failure off as one, and says when a
run was made to end.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rlm_mcp import redact
from rlm_mcp.encodings import without_surrogates
from rlm_mcp.engine import evidence, render
from rlm_mcp.engine import json_schema as schemas
from rlm_mcp.engine.budget import NOTHING_KEPT, worst_case
from rlm_mcp.engine.conversation import Compaction, Conversation
from rlm_mcp.errors import BudgetSpent, ModelError, SandboxError, Unavailable
from rlm_mcp.models import TELL_WAIT
from rlm_mcp.plurals import count_noun
from rlm_mcp.tokens import reserve_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from rlm_mcp.engine.host import HostScope
    from rlm_mcp.engine.job import RunJob
    from rlm_mcp.engine.repl import CellStep, Repl
    from rlm_mcp.models import ModelReply
    from rlm_mcp.sandbox import SandboxOutcome

ROOT_MAX_TOKENS = 8_192
ANSWER_TOKENS = 2_048
"""Output that is kept back for the reply that gives the answer."""
TURN_TOKENS = 1_024
"""Output below which a turn is not worth its price: then the answer is asked for."""
LEAST_TOKENS = 256
SHOWN_TOKENS = 9_000
"""The most that what a turn is shown adds to the next request."""
CONVERSATION_TOKENS = 100_000
"""Size from which a root's history is compacted, whatever its window may hold."""
PROSE_TURNS = 3
"""Replies in a row without a cell after which the last one is taken, as forced."""
PAUSES_S = (1.0, 4.0)
"""How long to wait before a failed root call is tried again."""

LAST_AFFORDABLE = "What is left of the budget pays for one more reply."
TIME_OVER = "The time of this run is nearly over; raise max_seconds for more."
NO_CELL = (
    "Your reply had no cell, so nothing was run. Write Python in a ```repl fence; when you know "
    "the answer, set answer['content'] and answer['ready'] = True in a cell."
)
TOO_SOON = (
    "You set the answer without having opened any variable. If the question really needs none of "
    "them, set answer['ready'] = True again; otherwise look first."
)
NOT_WITH_ERROR = (
    "The cell set the answer and then failed; set answer['ready'] = True again if it holds."
)
MEND = (
    "{wrong}\nMend these in answer['content'] (or drop what they were to prove), then set "
    "answer['ready'] = True again; it is taken as it is then."
)
KEPT_NAME = "answer_"
REBOUND = (
    "`answer` is this run's answer and was put back; your value is in `answer_`. Set "
    "answer['content'] and answer['ready'] = True when you know the answer."
)
LAST_REPLY = (
    "{why} This is your last reply: write one cell that sets answer['content'] to the best answer "
    "that what you have seen supports, says what is missing, and sets answer['ready'] = True."
)


@dataclass(frozen=True, slots=True)
class LoopEnd:
    """How the loop ended: `forced` is the reason why it was not by itself."""

    answer: str
    forced: str = ""
    failed: str = ""
    over_budget: bool = False
    """Whether it was a budget that left no answer."""
    partial: bool = False
    """Whether the answer is what sub-models said: the root wrote none."""


class RootLoop:
    """One root model in one environment."""

    def __init__(self, job: RunJob, scope: HostScope, environment: Repl, first: str) -> None:
        self._job, self._scope, self._environment = job, scope, environment
        prompts, mode = scope.services.prompts, "root" if scope.sub_calls else "root-environment"
        limit = min(CONVERSATION_TOKENS, job.root.window_tokens // 2)
        self.history = Conversation(
            prompts[mode],
            first,
            self._budget_note(),
            limit,
            lambda text: scope.handles.store_text(text),
        )
        self.compaction = Compaction(
            self.history,
            job.sub if scope.sub_calls else job.root,
            prompts["compact"],
            scope.services.calls,
            scope.account,
        )
        self.content = ""
        """What the answer held after the last cell, ready or not."""
        self._prose = self._errors = self._turn = 0
        self._questioned = self._rebound = False
        self._labels: dict[str, str] = {}
        """What was listed of the variables after the last cell."""
        self._offered = ""
        """An answer that was set and then given back once, for its evidence to be mended."""

    async def run_loop(self) -> LoopEnd:
        """Return the end. Raises only what is nobody's fault but ours, and cancellation."""
        TELL_WAIT.set(self._tell_wait)
        try:
            await self._environment.set_value("answer", {"content": "", "ready": False})
            end = await self._take_turns()
        except SandboxError as error:
            end = LoopEnd(self.content, failed=f"The environment was lost: {error} Ask again.")
        finally:
            self._scope.account.budget.reserve = NOTHING_KEPT
        given_back = self._offered and (end.failed or end.answer == self._offered)
        return LoopEnd(self._offered) if given_back else end

    def _tell_wait(self, said: str) -> None:
        self._scope.account.waited_for_limit = True
        self._scope.report_progress(0, None, said)

    async def _take_turns(self) -> LoopEnd:
        budget = self._scope.account.budget
        while True:
            if budget.seconds_to_work() <= 0:
                return await self._force_answer(TIME_OVER)
            if not await self._turn_tokens():
                forced = await self._force_answer(LAST_AFFORDABLE)
                return replace(forced, over_budget=bool(forced.failed))
            try:
                budget.take_turn()
                reply = await self._root_reply(budget.seconds_to_work())
            except BudgetSpent as error:
                forced = await self._force_answer(str(error))
                return replace(forced, over_budget=bool(forced.failed))
            except ModelError as error:
                if budget.seconds_to_work() <= 0:
                    return await self._force_answer(TIME_OVER)
                return LoopEnd(self.content, failed=str(error))
            except Unavailable as error:  # the disk of the state folder
                return LoopEnd(self.content, failed=str(error))
            end = await self._run_reply(reply)
            if end is not None:
                return end
            if self._scope.account.breaker.reason:
                reason = f"Too many calls in a row failed: {self._scope.account.breaker.reason}"
                return LoopEnd(self.content, failed=reason)

    async def _root_reply(self, seconds: float) -> ModelReply:
        """Return the root's next reply in that time; a failure that may pass is waited for."""
        scope = self._scope
        account = scope.account
        pauses = iter(PAUSES_S)
        until = time.monotonic() + seconds
        while True:
            await self.compaction.fit_window()
            left_s = max(0.1, until - time.monotonic())
            tokens = await self._turn_tokens() or await self._last_tokens()
            request, texts = self.history.next_request(tokens, left_s)
            try:
                return await scope.services.calls.get_reply(
                    self._job.root, request, account, texts=texts
                )
            except ModelError as error:
                if error.kind == "too_long" and self.compaction.lower_limit():
                    continue
                pause = next(pauses, None)
                left_s = until - time.monotonic()
                if pause is None or not error.retryable or account.breaker.reason or left_s <= 0:
                    raise
                await asyncio.sleep(min(pause, left_s))

    def _most_tokens(self) -> int:
        left = self._scope.account.budget.allowance.output_tokens
        return max(LEAST_TOKENS, min(ROOT_MAX_TOKENS, left, self._job.root.window_tokens // 4))

    def _answer_tokens(self) -> int:
        share = self._scope.account.budget.allowance.output_tokens // 4
        return max(LEAST_TOKENS, min(ANSWER_TOKENS, share, self._most_tokens()))

    async def _request_tokens(self) -> int:
        request, _ = self.history.next_request(LEAST_TOKENS, 1.0)
        return await self._job.root.count_tokens(request)

    async def _turn_tokens(self) -> int:
        """Return the output that a turn may have with one more reply after it; 0: none may be."""
        known, answer = await self._request_tokens(), self._answer_tokens()
        price, budget = self._job.root.price, self._scope.account.budget

        def fits(tokens: int) -> bool:
            after = worst_case(price, known + tokens + SHOWN_TOKENS, answer)
            return budget.can_hold(worst_case(price, known, tokens) + after)

        return _largest_fit(min(TURN_TOKENS, answer), self._most_tokens(), fits)

    async def _last_tokens(self) -> int:
        """Return the output that the last reply may have; the least there is where none fits."""
        known, price = await self._request_tokens(), self._job.root.price
        budget = self._scope.account.budget
        return (
            _largest_fit(
                LEAST_TOKENS,
                self._most_tokens(),
                lambda tokens: budget.can_hold(worst_case(price, known, tokens)),
            )
            or LEAST_TOKENS
        )

    async def _keep_answer(self, reply: str) -> None:
        """Keep one reply back while a cell runs that may ask sub-models."""
        grown = reserve_tokens(reply) + SHOWN_TOKENS
        known = await self._request_tokens() + grown
        self._scope.account.budget.reserve = worst_case(
            self._job.root.price, known, self._answer_tokens()
        )

    async def _run_reply(self, reply: ModelReply) -> LoopEnd | None:
        """Run the cell of a reply and add what the model is shown; an end where there is one."""
        cells = render.ReplyCells(reply.text)
        code = _cell_of(cells)
        if not code:
            return await self._without_cell(reply)
        self._prose = 0
        if reply.stop == "max_tokens" and reply.text.count("```") % 2:
            said = "Your reply was cut before the cell ended, so nothing was run; write less."
            self._add_turn(reply.text, "", said)
            return None
        await self._keep_answer(reply.text)
        step = await self._run_cell(code)
        shown = self._render_step(step, cells.more)
        self._errors = self._errors + 1 if step.outcome.error else 0
        if step.ready:
            problem = self._answer_problem(step.outcome) or await self._false_evidence()
            if not problem:
                self._add_turn(reply.text, code, shown, ready=True)
                return LoopEnd(self.content)
            await self._run_trusted('answer["ready"] = False')
            shown += f"\n{problem}"
        self._add_turn(reply.text, code, shown)
        if self._errors >= max(1, self._scope.account.budget.allowance.errors):
            return await self._force_answer(f"{count_noun(self._errors, 'cell')} in a row failed.")
        return None

    async def _run_cell(self, code: str) -> CellStep:
        self._scope.account.record("cell", turn=self._turn + 1, code=code)
        seconds = self._scope.services.settings.cell_seconds
        step = await self._environment.run_step(
            code, self._scope.reader.mentioned_variables, seconds
        )
        self._scope.has_looked |= step.mentions_variable
        if step.rebound:
            await self._run_trusted(f"{KEPT_NAME} = answer")
            await self._environment.set_value("answer", {"content": self.content, "ready": False})
        else:
            self.content = content_text(step.content)
        self._rebound = step.rebound
        return step

    async def _run_trusted(self, code: str) -> None:
        await self._environment.run_cell(
            code, lambda _: {}, self._scope.services.settings.cell_seconds
        )

    def _render_step(self, step: CellStep, more: int) -> str:
        small = self._job.root.window_tokens < render.SMALL_WINDOW_TOKENS
        limit = render.SHOWN_CHARS // 2 if small else render.SHOWN_CHARS
        outcome, handle = replace(step.outcome, stdout=redact.redact(step.outcome.stdout)), ""
        if outcome.stdout_chars > limit:
            handle = self._scope.handles.store_text(outcome.stdout)
        shown = render.outcome_text(outcome, limit, handle)
        if self._rebound:
            shown += f"\n{REBOUND}"
        if more:
            shown += f"\nOnly the first cell was run; {more} more in the same reply were not."
        listed = render.list_variables(
            step.names, frozenset({"answer", *self._scope.reader.citable_names()}), self._labels
        )
        self._labels = {item["name"]: render.type_label(item) for item in step.names}
        return redact.redact(f"{shown}\n{listed}".rstrip())

    def _answer_problem(self, outcome: SandboxOutcome) -> str:
        """Return why a set answer is not taken yet, or nothing."""
        content = self.content
        if outcome.error:
            return NOT_WITH_ERROR
        if not content.strip():
            return "answer['content'] is empty; set it before answer['ready']."
        if self._turn == 0 and not self._scope.has_looked and not self._questioned:
            self._questioned = True
            return TOO_SOON
        if self._job.schema is not None:
            try:
                wrong = list(
                    schemas.schema_errors(schemas.value_in(content), dict(self._job.schema))
                )
            except ValueError as error:
                wrong = [f"it is not JSON ({error})"]
            if wrong:
                return f"The answer does not fit the schema: {'; '.join(wrong[:8])}."
        return ""

    async def _false_evidence(self) -> str:
        """Return what is false about an answer's refs and quotes; asked once, if a turn is left."""
        budget, reader = self._scope.account.budget, self._scope.reader
        turns_left = budget.allowance.iterations - budget.turns
        if self._offered or turns_left < 1 or budget.seconds_to_work() <= 0:
            return ""
        content = self.content
        wrong = await asyncio.to_thread(
            lambda: evidence.explain_false_evidence(
                evidence.check_evidence(
                    content, reader.citable_names(), reader.full_text, reader.stale_note
                ),
                reader.full_text,
            )
        )
        if not wrong or not await self._turn_tokens():
            return ""
        self._offered = content
        return MEND.format(wrong=redact.redact(wrong))

    async def _without_cell(self, reply: ModelReply) -> LoopEnd | None:
        self._prose += 1
        self._add_turn(reply.text, "", NO_CELL)
        if self._prose < PROSE_TURNS:
            return None
        reason = f"{PROSE_TURNS} replies in a row had no cell."
        if reply.stop == "refused":
            reason = f"{reason[:-1]}; in the last one the model refused to answer; reword it."
            return self._forced_end(self.content, reason)
        if reply.stop == "max_tokens":
            reason = f"{reason[:-1]}; the last one was cut at its limit of tokens."
        return await self._force_answer(reason)

    async def _force_answer(self, why: str) -> LoopEnd:
        """Ask once more for the answer, with what is left; never take code for an answer."""
        said = LAST_REPLY.format(why=why)
        self.history.add_turn("(stopped)", "", said, "")
        self._scope.account.budget.reserve = NOTHING_KEPT
        try:
            reply = await self._root_reply(self._scope.account.budget.seconds_left())
        except (BudgetSpent, ModelError, Unavailable):
            return self._forced_end(self.content, why)
        cells = render.ReplyCells(reply.text)
        code = _cell_of(cells)
        if not code:
            said = render.strip_reasoning(reply.text)
            said = "" if "```" in said or reply.stop == "refused" else said
            return self._forced_end(self.content if self.content.strip() else said, why)
        step = await self._run_cell(code)
        self._add_turn(reply.text, code, self._render_step(step, cells.more))
        return self._forced_end(self.content, why)

    def _forced_end(self, answer: str, why: str) -> LoopEnd:
        if not answer.strip():
            return LoopEnd(
                "", failed=f"{why} There was no answer yet; `rlm-mcp runs show` tells why."
            )
        return LoopEnd(answer, forced=why)

    def _add_turn(self, reply: str, code: str, shown: str, *, ready: bool = False) -> None:
        self._turn += 1
        self._scope.account.record(
            "turn",
            turn=self._turn,
            shown=shown,
            left=self._budget_note(),
            ready=ready,
        )
        self.history.add_turn(reply, code, shown, self._budget_note())

    def _budget_note(self) -> str:
        return self._scope.account.budget.left_text()


def _cell_of(cells: render.ReplyCells) -> str:
    """Return what is to be run: the cell, and a FINAL that was written beside it."""
    final = render.final_cell(cells.rest)
    return "\n".join(part for part in (cells.code, final) if part)


def _largest_fit(least: int, most: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number in a range that fits, or 0."""
    if fits(most):
        return most
    if not fits(least):
        return 0
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if fits(middle) else (least, middle)
    return least


def content_text(value: Any) -> str:
    """Return an answer's content as text that can be encoded: no half of a character."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    return without_surrogates(text)
