"""Model calls on behalf of runs: answered from the cache, or held, sent, settled and stored.

A failed call is raised (`reply`) or stands as a `Failed` in its place (`each`); it is never a
text. Requests that come here are redacted already; replies are redacted before they are stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rlm_mcp import redact
from rlm_mcp.encodings import without_surrogates
from rlm_mcp.engine import cache as stored
from rlm_mcp.engine import json_schema as schemas
from rlm_mcp.engine.budget import NANO, Budget, BudgetHold, to_nano, worst_case
from rlm_mcp.engine.concurrency import Breaker, ConcurrencyLimits
from rlm_mcp.engine.trajectory import text_digest
from rlm_mcp.engine.write_queue import WriteQueue
from rlm_mcp.errors import BudgetSpent, ModelError, RlmError, Unavailable
from rlm_mcp.models import TELL_WAIT, ChatMessage, Model, ModelReply, ModelRequest, TokenUsage

if TYPE_CHECKING:
    from rlm_mcp.engine.budget import DailySpend
    from rlm_mcp.engine.cache import ReplyCache
    from rlm_mcp.engine.replay import RecordedRun

NOT_STORED = frozenset({"extractive:"})
"""Models whose replies cost nothing: asked again, they are right for the release that runs."""


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A call without an answer: a sentence, the kind of failure, and the text of a cut reply."""

    reason: str
    kind: str
    partial: str = ""


@dataclass(frozen=True, slots=True)
class SubCall:
    """One request of a fan-out. `part` names what it is about: a ref, or a number."""

    request: ModelRequest
    part: str
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the text, or with a schema its JSON value."""

    value: Any
    reply: ModelReply


@dataclass
class Account:
    """What the calls of one run are charged to, and where they are told."""

    budget: Budget
    breaker: Breaker
    record: Callable[..., Any]
    """`record(type, **fields)` adds an event to the trajectory."""
    fresh: bool = False
    """Whether stored replies are passed over."""
    recorded: RecordedRun | None = None
    """The outcomes of an earlier run; where given, nothing is ever sent."""
    parent: Account | None = None
    """The account of the run that started this one: its sums hold those of its children."""
    usage: TokenUsage = field(default_factory=TokenUsage)
    cached: int = 0
    root_keys: list[bytes] = field(default_factory=list)
    """Keys of the stored replies of this run's root."""
    waited_for_limit: bool = False
    """Whether a provider's limit held up a call of this run."""

    @property
    def cost_usd(self) -> float | None:
        """What this run and its children cost; None where a price is not known."""
        return None if self.budget.unpriced else self.budget.spent.usd_nano / NANO

    def add_usage(self, usage: TokenUsage, cached: int = 0) -> None:
        """Add what one call used, here and in all that stand above."""
        account: Account | None = self
        while account is not None:
            account.usage = account.usage + usage
            account.cached += cached
            account = account.parent


class ModelCalls:
    """The calls of one process."""

    def __init__(self, cache: ReplyCache, day: DailySpend, width: int) -> None:
        self._cache, self._day = cache, day
        self._limits = ConcurrencyLimits(width)
        self._disk = WriteQueue(cache.db, day.db)
        self._day_waiters: list[asyncio.Future[None]] = []
        self._day_held = 0

    async def get_reply(
        self,
        model: Model,
        request: ModelRequest,
        account: Account,
        *,
        part: str = "",
        texts: tuple[str, ...] | None = None,
        key: bytes = b"",
    ) -> ModelReply:
        """Return the reply to one request. Raises ModelError or BudgetSpent.

        `texts` are the messages as the cache should know them (see `cache.key`), `key` their
        digest where it is known.
        """
        key = key or stored.request_key(model.spec, request, texts)
        started = time.monotonic()
        known = await self._stored_reply(model, request, key, account)
        if known is not None:
            account.add_usage(TokenUsage(), cached=1)
            self._record_call(account, model, request, part, key, started, reply=known, cached=True)
            return known
        try:
            reply = await self._send_request(model, request, account, key)
        except RlmError as error:
            self._record_call(account, model, request, part, key, started, error=error)
            raise
        self._record_call(account, model, request, part, key, started, reply=reply)
        return reply

    async def answer_all(
        self,
        model: Model,
        asks: Sequence[SubCall],
        account: Account,
        tell: Callable[[float, float | None, str], None] = lambda done, total, said: None,
    ) -> list[Answer | FailedCall]:
        """Ask all at once and return the answers in the order of `asks`; `tell` hears progress.

        The same request is asked once. Where several share a first message that is marked for
        caching, one of them goes ahead and fills the provider's cache for the others.
        """
        keys = [stored.request_key(model.spec, ask.request) for ask in asks]
        first: dict[bytes, int] = {}
        place = [
            first.setdefault(keys[number] + _schema_key(ask), number)
            for number, ask in enumerate(asks)
        ]
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for number in first.values():
            head = asks[number].request.messages[0]
            shared = head.text if head.cache and len(asks[number].request.messages) > 1 else ""
            groups[shared or f"\0{number}"].append(number)
        got: dict[int, Answer | FailedCall] = {}

        async def answer_one(number: int) -> None:
            got[number] = await self._answer_call(model, asks[number], account, keys[number])
            tell(len(got), len(first), "sub-calls answered")

        async def answer_group(numbers: list[int]) -> None:
            await answer_one(numbers[0])
            async with asyncio.TaskGroup() as rest:
                for number in numbers[1:]:
                    rest.create_task(answer_one(number))

        def tell_wait(said: str) -> None:
            account.waited_for_limit = True
            tell(len(got), len(first), said)

        told = TELL_WAIT.set(tell_wait)
        try:
            async with asyncio.TaskGroup() as tasks:
                for numbers in groups.values():
                    tasks.create_task(answer_group(numbers))
        finally:
            TELL_WAIT.reset(told)
        return [got[number] for number in place]

    async def close(self) -> None:
        """Finish what is being written, and close the files."""
        await self._disk.close()

    async def spent_today(self) -> float:
        """Return what all runs of this user have spent today, in USD."""
        return await self._disk.submit_work(self._day.spent_usd)

    async def _answer_call(
        self, model: Model, ask: SubCall, account: Account, key: bytes
    ) -> Answer | FailedCall:
        try:
            reply = await self.get_reply(model, ask.request, account, part=ask.part, key=key)
            wrong = _reply_flaw(reply)
            if wrong:
                return wrong
            if ask.schema is None:
                return Answer(reply.text, reply)
            return await self._fit_schema(model, ask, reply, account)
        except ModelError as error:
            return FailedCall(str(error), error.kind)
        except BudgetSpent as error:
            return FailedCall(str(error), "budget")
        except Unavailable as error:  # the disk of the state folder
            return FailedCall(str(error), "disk")

    async def _fit_schema(
        self, model: Model, ask: SubCall, reply: ModelReply, account: Account
    ) -> Answer | FailedCall:
        """Return the JSON value of a reply; one that does not fit is sent back once."""
        schema = dict(ask.schema or {})
        request, keys = ask.request, list[bytes]()
        for last in (False, True):
            try:
                value = schemas.value_in(reply.text)
                wrong = list(schemas.schema_errors(value, schema))[:8]
            except ValueError as error:
                wrong = [f"it is not JSON ({error})"]
            if not wrong:
                return Answer(value, reply)
            if last:
                break
            said = "; ".join(wrong)
            again = [
                *ask.request.messages,
                ChatMessage("assistant", reply.text or "(empty)"),
                ChatMessage(
                    "user", f"That does not fit the schema: {said}. Reply with the JSON only."
                ),
            ]
            keys.append(stored.request_key(model.spec, request))
            request = replace(ask.request, messages=again)
            reply = await self.get_reply(model, request, account, part=ask.part)
            if flaw := _reply_flaw(reply):
                return flaw
        if account.recorded is None:
            await self.forget_replies([*keys, stored.request_key(model.spec, request)])
        said = (
            f"The reply did not fit the schema, twice: {'; '.join(wrong)}; ask for a simpler form."
        )
        return FailedCall(said, "malformed")

    async def _stored_reply(
        self, model: Model, request: ModelRequest, key: bytes, account: Account
    ) -> ModelReply | None:
        if account.recorded is not None:
            return account.recorded.take_reply(key.hex())
        if account.fresh or model.spec in NOT_STORED:
            return None
        known = await self._disk.submit_work(self._cache.get_reply, key)
        if known is not None and request.purpose == "root":
            account.root_keys.append(key)
        return known if known is None or _reply_flaw(known) is None else None

    async def forget_replies(self, keys: Sequence[bytes]) -> None:
        """Drop stored replies: they led to no answer, and would lead there again."""
        with contextlib.suppress(Unavailable):  # what cannot be dropped was not stored either
            await self._disk.submit_work(self._cache.drop_replies, list(keys))

    async def _send_request(
        self, model: Model, request: ModelRequest, account: Account, key: bytes
    ) -> ModelReply:
        account.breaker.check_closed()
        counted = await model.count_tokens(request)
        need = worst_case(model.price, counted, request.max_tokens)
        lane = self._limits.limit_for(model)
        async with account.breaker.watch_call(model, request.purpose, lane) as sends:
            root = request.purpose == "root"
            hold = await account.budget.wait_hold(need, own_answer=root)
            try:
                day = await self._hold_day(need.usd_nano or 0)
            except BaseException:
                hold.release_hold()
                raise
            reply = await self._complete_paid(model, request, account, hold, day)
            sends.note_reply()
            reply = replace(reply, text=redact.redact(without_surrogates(reply.text)))
            # A call counts as in flight until its reply is safe: a kill loses no more than those.
            # A reply that is no answer is not stored: asking again must be able to help.
            if model.spec not in NOT_STORED and _reply_flaw(reply) is None:
                if request.purpose == "root":
                    account.root_keys.append(key)
                # It is paid: where it cannot be stored it answers all the same, this once.
                with contextlib.suppress(Unavailable):
                    await asyncio.shield(self._disk.submit_work(self._cache.put_reply, key, reply))
            return reply

    async def _complete_paid(
        self, model: Model, request: ModelRequest, account: Account, hold: BudgetHold, day: str
    ) -> ModelReply:
        worst = hold.need.usd_nano or 0
        cost = worst
        root = request.purpose == "root"
        left_s = account.budget.seconds_left() if root else account.budget.seconds_to_work()
        left_s = max(0.1, left_s)
        try:
            timeout_s = min(request.timeout_s, left_s)
            reply = await model.complete(replace(request, timeout_s=timeout_s, patience_s=left_s))
            hold.settle_call(reply.usage, reply.cost_usd)
            account.add_usage(reply.usage)
            cost = to_nano(reply.cost_usd or 0.0)
            return reply
        except ModelError as error:
            if error.attempts and error.spent_usd is None:
                hold.forfeit_hold()  # nobody said what it cost
            else:
                cost = to_nano(error.spent_usd or 0.0)
                if error.attempts:
                    hold.settle_call(TokenUsage(), error.spent_usd)
                else:
                    hold.release_hold()
            raise
        finally:
            if hold.open:  # cancelled in flight: the provider may bill it
                hold.forfeit_hold()
            self._settle_day(day, worst, cost)

    async def _hold_day(self, amount: int) -> str:
        while amount:
            try:
                day = await self._held_today(amount)
                self._day_held += 1
                return day
            except BudgetSpent:
                if not self._day_held:
                    raise
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._day_waiters.append(waiter)
                await waiter
        return ""

    def _settle_day(self, day: str, held: int, cost: int) -> None:
        if not day:
            return
        self._day_held -= 1
        self._disk.submit_work(self._day.settle_nano, day, held, cost).add_done_callback(
            self._wake_day
        )

    async def _held_today(self, amount: int) -> str:
        """Hold an amount; one that nobody waits for any more is given back."""
        held = self._disk.submit_work(self._day.hold_nano, amount)
        try:
            return await asyncio.shield(held)
        except asyncio.CancelledError:
            held.add_done_callback(lambda done: self._give_back(done, amount))
            raise

    def _give_back(self, held: asyncio.Future[str], amount: int) -> None:
        if held.exception() is None:
            self._disk.submit_work(self._day.settle_nano, held.result(), amount, 0)

    def _wake_day(self, settled: asyncio.Future[None]) -> None:
        settled.exception()  # the day stays counted too high, which is safe
        waiters, self._day_waiters = self._day_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _record_call(
        self,
        account: Account,
        model: Model,
        request: ModelRequest,
        part: str,
        key: bytes,
        started: float,
        *,
        reply: ModelReply | None = None,
        error: RlmError | None = None,
        cached: bool = False,
    ) -> None:
        event: dict[str, Any] = {
            "key": key.hex(),
            "purpose": request.purpose,
            "model": model.spec,
            "seconds": round(time.monotonic() - started, 4),
            "cached": cached,
        }
        if part:
            event["part"] = part
        if request.purpose == "sub":
            event["prompt"] = text_digest("\n".join(message.text for message in request.messages))
        if reply is not None:
            usage = reply.usage
            event |= {
                "reply": reply.text,
                "stop": reply.stop,
                "usage": [usage.input, usage.output, usage.cache_read, usage.cache_write],
                "cost_usd": 0.0 if cached else reply.cost_usd,
                "attempts": reply.attempts,
            }
        if error is not None:
            event["failure"] = {"reason": str(error), "kind": getattr(error, "kind", "budget")}
        account.record("call", **event)


def _reply_flaw(reply: ModelReply) -> FailedCall | None:
    """Return why a reply is no whole answer, if it is none."""
    if reply.stop == "refused":
        return FailedCall("The model refused to answer this; reword the prompt.", "refused")
    if reply.stop == "max_tokens":
        return FailedCall(
            "The reply was cut at its limit of tokens; ask for a shorter one (.partial holds its "
            "text).",
            "truncated",
            reply.text,
        )
    if not reply.text.strip():
        return FailedCall("The reply was empty; ask again, or reword the prompt.", "malformed")
    return None


def _schema_key(ask: SubCall) -> bytes:
    return repr(ask.schema).encode() if ask.schema is not None else b""
