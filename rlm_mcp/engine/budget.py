"""What a run may spend: held before each call, settled after it, never passed.

A hold is the worst case of one call (counted input, all of max_tokens, list price). It is taken
from a run's budget and from those of all its ancestors at once, or not at all. Where it does not
fit only because of calls in flight, the caller waits until one of them is settled; where it can
never fit, it is refused. Amounts of money are whole nano-dollars, so sums are exact. All of it
happens on one event loop: nothing here is for threads.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.engine.write_queue import DamagedStore, memory_store, open_store
from rlm_mcp.errors import BadRequest, BudgetSpent, Unavailable, did_you_mean
from rlm_mcp.models import Price, TokenUsage
from rlm_mcp.plurals import count_noun

if TYPE_CHECKING:
    from rlm_mcp.config import Settings

NANO = 1_000_000_000
ANSWER_TIME_SHARE = 0.1
"""Share of a run's time that is kept back for asking for the answer: a call that stalls is given
up before, so that what the others said is not lost with it."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The limits of one run."""

    usd: float = 1.0
    calls: int = 500
    input_tokens: int = 20_000_000
    output_tokens: int = 1_000_000
    seconds: float = 900.0
    depth: int = 2
    iterations: int = 30
    errors: int = 8

    @classmethod
    def from_settings(cls, settings: Settings) -> Allowance:
        """Return the limits that the user has set."""
        return cls(**{f.name: getattr(settings, f"max_{f.name}") for f in fields(cls)})

    def with_limits(self, **limits: float | None) -> Allowance:
        """Return these limits, lowered where `limits` are lower. Raises BadRequest."""
        names = [field.name for field in fields(self)]
        for name in limits:
            if name not in names:
                raise BadRequest(
                    f"There is no limit {name!r}.{did_you_mean(name, names)} "
                    f"Limits: {', '.join(names)}."
                )
        lower = {
            name: type(getattr(self, name))(min(getattr(self, name), limit))
            for name, limit in limits.items()
            if limit is not None
        }
        return replace(self, **lower)


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The worst case of one call. `usd_nano` is None where no price is known."""

    usd_nano: int | None
    input_tokens: int
    output_tokens: int
    calls: int = 1

    def __add__(self, other: WorstCase) -> WorstCase:
        usd = (
            None
            if self.usd_nano is None and other.usd_nano is None
            else (self.usd_nano or 0) + (other.usd_nano or 0)
        )
        return WorstCase(
            usd,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.calls + other.calls,
        )


NOTHING_KEPT = WorstCase(0, 0, 0, 0)


def worst_case(price: Price | None, input_tokens: int, max_tokens: int) -> WorstCase:
    """Return the most that a call can cost: writing its whole input to the cache included."""
    if price is None:
        return WorstCase(None, input_tokens, max_tokens)
    dearest = max(
        price.cost_usd(TokenUsage(input=input_tokens, output=max_tokens)),
        price.cost_usd(TokenUsage(cache_write=input_tokens, output=max_tokens)),
    )
    return WorstCase(to_nano(dearest), input_tokens, max_tokens)


def to_nano(usd: float) -> int:
    """Return dollars as whole nano-dollars, rounded up."""
    return math.ceil(round(usd * NANO, 3))


@dataclass(slots=True)
class SpendTotals:
    """Sums over settled calls, or over those in flight."""

    usd_nano: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add_call(self, usd_nano: int, calls: int, input_tokens: int, output_tokens: int) -> None:
        """Add one call's amounts (negative ones take them back)."""
        self.usd_nano += usd_nano
        self.calls += calls
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens


@dataclass(slots=True, eq=False)
class BudgetHold:
    """A call's worst case, taken out of the budget until `settle` or `release`."""

    budget: Budget
    need: WorstCase
    open: bool = True

    def settle_call(self, usage: TokenUsage, cost_usd: float | None) -> None:
        """Replace the worst case by what the call really used."""
        self._end_hold()
        cost = 0 if cost_usd is None else to_nano(cost_usd)
        read = usage.input + usage.cache_read + usage.cache_write
        for budget in self.budget.with_ancestors():
            budget.spent.add_call(cost, self.need.calls, read, usage.output)
            budget.unpriced += cost_usd is None
        self.budget.wake_waiters()

    def forfeit_hold(self) -> None:
        """Count the worst case as spent: nobody knows whether the call will be billed."""
        self._end_hold()
        need = self.need
        for budget in self.budget.with_ancestors():
            budget.spent.add_call(
                need.usd_nano or 0, need.calls, need.input_tokens, need.output_tokens
            )
            budget.unpriced += need.usd_nano is None
        self.budget.wake_waiters()

    def release_hold(self) -> None:
        """Give everything back: the call never left this machine."""
        self._end_hold()
        self.budget.wake_waiters()

    def _end_hold(self) -> None:
        if not self.open:
            raise RuntimeError("a hold is settled once")
        self.open = False
        need = self.need
        for budget in self.budget.with_ancestors():
            budget.held.add_call(
                -(need.usd_nano or 0), -need.calls, -need.input_tokens, -need.output_tokens
            )


class Budget:
    """The budget of one run; a child's calls are drawn from its parent's as well."""

    def __init__(
        self,
        allowance: Allowance,
        *,
        parent: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.allowance = allowance
        self.parent = parent
        self.spent, self.held = SpendTotals(), SpendTotals()
        self.unpriced = 0
        """Calls whose price is not known."""
        self.turns = 0
        self.reserve = NOTHING_KEPT
        """What is kept back for this run's own answer: no sub-call and no child run takes it."""
        self._clock = clock
        self._started = clock()
        self._waiters: list[asyncio.Future[None]] = []

    def with_ancestors(self) -> Iterator[Budget]:
        """Yield this budget, then its ancestors."""
        budget: Budget | None = self
        while budget is not None:
            yield budget
            budget = budget.parent

    def child_budget(self, **limits: float | None) -> Budget:
        """Return the budget of a child run. Raises BudgetSpent where it would be too deep."""
        depth = self.allowance.depth
        if depth < 1:
            raise BudgetSpent(
                "This run may not start child runs: the limit of depth is reached; "
                "use llm_query, or raise max_depth.",
                limit="depth",
                value=depth,
            )
        narrowed = replace(self.allowance.with_limits(**limits), depth=depth - 1)
        if limits.get("depth") is not None:
            narrowed = narrowed.with_limits(depth=limits["depth"])
        return Budget(narrowed, parent=self, clock=self._clock)

    def take_turn(self) -> None:
        """Count one turn of the root. Raises BudgetSpent at the limit."""
        limit = self.allowance.iterations
        if self.turns >= limit:
            raise BudgetSpent(
                f"This run has used its {count_noun(limit, 'turn')}; raise max_iterations.",
                limit="iterations",
                value=limit,
            )
        self.turns += 1

    def seconds_left(self) -> float:
        """Return the wall-clock time that is left to this run and its ancestors."""
        now = self._clock()
        return min(b.allowance.seconds - (now - b._started) for b in self.with_ancestors())

    def seconds_to_work(self) -> float:
        """Return the time that is left before only the answer may still be asked for."""
        now = self._clock()
        return min(
            (1 - ANSWER_TIME_SHARE) * b.allowance.seconds - (now - b._started)
            for b in self.with_ancestors()
        )

    def try_hold(self, need: WorstCase, *, own_answer: bool = False) -> BudgetHold | None:
        """Take `need`; None where it must wait for calls in flight.

        A call of the root itself (`own_answer`) may take what is kept back for it, but not what
        the runs above keep. Raises BudgetSpent where it would not fit even if calls in flight
        cost nothing.
        """
        must_wait = False
        for budget in self.with_ancestors():
            kept = NOTHING_KEPT if own_answer and budget is self else budget.reserve
            rows = budget._limit_rows(need)
            for (name, spent, held, wanted, limit), back in zip(rows, _amounts(kept), strict=True):
                if spent + wanted + back > limit:
                    raise _spent_error(name, limit, spent, wanted, back)
                must_wait |= spent + held + wanted + back > limit
        if self.seconds_left() <= 0:
            seconds = self.allowance.seconds
            raise BudgetSpent(
                f"The {seconds:g} seconds of this run are over; raise max_seconds.",
                limit="seconds",
                value=seconds,
            )
        if must_wait:
            return None
        for budget in self.with_ancestors():
            budget.held.add_call(
                need.usd_nano or 0, need.calls, need.input_tokens, need.output_tokens
            )
        return BudgetHold(self, need)

    def can_hold(self, need: WorstCase) -> bool:
        """Say whether the root itself could make such calls now."""
        return all(
            spent + held + wanted + (0 if budget is self else back) <= limit
            for budget in self.with_ancestors()
            for (_, spent, held, wanted, limit), back in zip(
                budget._limit_rows(need), _amounts(budget.reserve), strict=True
            )
        )

    def calls_left(self) -> int:
        """Return how many sub-calls may still be made: calls kept for answers are no part."""
        return min(
            b.allowance.calls - b.spent.calls - b.held.calls - b.reserve.calls
            for b in self.with_ancestors()
        )

    def check_fan_out(self, needs: Sequence[WorstCase]) -> None:
        """Raise BudgetSpent where calls that cost at least `needs` would touch an answer's share.

        What their replies will cost is not known before: each call is held by itself later.
        """
        left = self.calls_left()
        if len(needs) > left:
            kept = (
                "; one is kept for your answer"
                if any(b.reserve.calls for b in self.with_ancestors())
                else ""
            )
            raise BudgetSpent(
                f"That is {count_noun(len(needs), 'call')} and {max(0, left):,} of "
                f"{self.allowance.calls:,} are left{kept}. Nothing was asked; put several "
                "questions into one prompt, or ask for fewer parts (max_calls is the limit).",
                limit="calls",
                value=self.allowance.calls,
            )
        for budget in self.with_ancestors():
            a, s, back = budget.allowance, budget.spent, budget.reserve
            free = math.floor(a.usd * NANO) - s.usd_nano - (back.usd_nano or 0)
            total, fit = 0, 0
            for need in needs:
                total += need.usd_nano or 0
                fit += total <= free
            if total > free:
                raise BudgetSpent(
                    f"That is {count_noun(len(needs), 'call')} whose prompts alone cost "
                    f"${total / NANO:.4f}, and ${max(0, free) / NANO:.4f} are left beside what "
                    f"is kept for your answer: at most {count_noun(fit, 'call')} of these. "
                    "Nothing was asked; ask for fewer or smaller parts (max_usd is the limit).",
                    limit="usd",
                    value=a.usd,
                )

    async def wait_hold(self, need: WorstCase, *, own_answer: bool = False) -> BudgetHold:
        """Take `need`, after calls in flight were settled where that is needed."""
        while (hold := self.try_hold(need, own_answer=own_answer)) is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._root_budget()._waiters.append(waiter)
            try:
                async with asyncio.timeout(max(0.0, self.seconds_left())):
                    await waiter
            except TimeoutError:
                continue
        return hold

    def wake_waiters(self) -> None:
        """Let those that wait try again, in their order."""
        waiters, self._root_budget()._waiters = self._root_budget()._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def left_text(self) -> str:
        """Return one line for the root model: what it may still spend."""
        a, s = self.allowance, self.spent
        usd = min(b.allowance.usd - b.spent.usd_nano / NANO for b in self.with_ancestors())
        calls = min(b.allowance.calls - b.spent.calls for b in self.with_ancestors())
        kept = ", one of them kept for your answer" if self.reserve.calls else ""
        unknown = (
            f" ({count_noun(self.unpriced, 'call')} without a known price)" if self.unpriced else ""
        )
        return (
            f"turn {self.turns} of {a.iterations}; left: {calls:,} of "
            f"{count_noun(a.calls, 'call')}{kept}, "
            f"${max(0.0, usd):.2f} of ${a.usd:.2f}{unknown}, "
            f"{max(0, a.output_tokens - s.output_tokens):,} output tokens, "
            f"about {_rounded_minutes(self.seconds_left())}"
        )

    def _root_budget(self) -> Budget:
        *_, top = self.with_ancestors()
        return top

    def _limit_rows(self, need: WorstCase) -> Iterator[tuple[str, int, int, int, int]]:
        a, s, h = self.allowance, self.spent, self.held
        yield "usd", s.usd_nano, h.usd_nano, need.usd_nano or 0, math.floor(a.usd * NANO)
        yield "calls", s.calls, h.calls, need.calls, a.calls
        yield "input_tokens", s.input_tokens, h.input_tokens, need.input_tokens, a.input_tokens
        yield "output_tokens", s.output_tokens, h.output_tokens, need.output_tokens, a.output_tokens


def _amounts(kept: WorstCase) -> tuple[int, int, int, int]:
    """Return amounts in the order of a budget's limits."""
    return kept.usd_nano or 0, kept.calls, kept.input_tokens, kept.output_tokens


def _spent_error(name: str, limit: int, spent: int, wanted: int, kept: int) -> BudgetSpent:
    if kept and spent + wanted <= limit:
        left = max(0, limit - spent - kept)
        shown = f"${left / NANO:.4f}" if name == "usd" else f"{left:,} {name.replace('_', ' ')}"
        return BudgetSpent(
            f"The budget does not allow it: the rest is kept for your answer, and {shown} are "
            f"left beside it; answer with what you have, or raise max_{name}.",
            limit=name,
            value=limit / NANO if name == "usd" else limit,
        )
    if name == "usd":
        said = (
            f"a call may cost up to ${wanted / NANO:.4f} and ${spent / NANO:.4f} of "
            f"${limit / NANO:.2f} are spent; ask for less at once, or raise max_usd"
        )
        return BudgetSpent(f"The budget does not allow it: {said}.", limit=name, value=limit / NANO)
    if name == "calls":
        said = (
            f"budget of {count_noun(limit, 'call')} spent; ask for fewer chunks or raise max_calls"
        )
    else:
        said = (
            f"{spent:,} of {limit:,} {name.replace('_', ' ')} are used and a call may take "
            f"{wanted:,}; ask for smaller chunks or raise max_{name}"
        )
    return BudgetSpent(f"The budget does not allow it: {said}.", limit=name, value=limit)


def _rounded_minutes(seconds: float) -> str:
    """Return a time that is coarse on purpose: it goes into prompts."""
    minutes = max(0.0, seconds) / 60
    return f"{minutes:.0f} min" if minutes >= 1 else "less than a minute"


_DAY_SCHEMA = "CREATE TABLE IF NOT EXISTS day (day TEXT PRIMARY KEY, nano INTEGER NOT NULL) STRICT"


class DailySpend:
    """What all runs of this user spend today (UTC): one small SQLite file for all processes.

    Each change is one statement, so that two processes can never pass the limit together. What a
    killed process held stays counted until the day ends: nobody knows what it was billed.
    Nothing here commits: the write queue does.
    """

    def __init__(self, path: Path, limit_usd: float) -> None:
        self._limit = int(limit_usd * NANO)
        self._damage = ""
        try:
            self.db = open_store(path, _DAY_SCHEMA)
        except Unavailable as error:
            # What was spent today is not known: nothing more is, and all that is free goes on.
            self._damage = f"No paid call is made: {error}"
            if isinstance(error, DamagedStore):
                self._damage = (
                    f"No paid call is made: the record of today's spending ({path}) is damaged; "
                    "delete it to count from $0 again."
                )
            self.db = memory_store(_DAY_SCHEMA)

    def hold_nano(self, nano: int) -> str:
        """Add a call's worst case and return the day it counts for. Raises BudgetSpent."""
        if self._damage:
            raise BudgetSpent(self._damage, limit="usd_day", value=self._limit / NANO)
        day = utc_today()
        self.db.execute("INSERT OR IGNORE INTO day VALUES (?, 0)", (day,))
        changed = self.db.execute(
            "UPDATE day SET nano = nano + ?1 WHERE day = ?2 AND nano + ?1 <= ?3",
            (nano, day, self._limit),
        ).rowcount
        if not changed:
            raise BudgetSpent(
                f"The budget of the day does not allow it: ${self.spent_usd():.2f} of "
                f"${self._limit / NANO:.2f} are spent or in flight; wait for tomorrow (UTC) or "
                "raise max_usd_day.",
                limit="usd_day",
                value=self._limit / NANO,
            )
        return day

    def settle_nano(self, day: str, held: int, nano: int) -> None:
        """Replace a call's worst case by what it cost."""
        self.db.execute("UPDATE day SET nano = nano + ? WHERE day = ?", (nano - held, day))

    def spent_usd(self) -> float:
        """Return what today's calls cost, those in flight at their worst case."""
        row = self.db.execute("SELECT nano FROM day WHERE day = ?", (utc_today(),)).fetchone()
        return row[0] / NANO if row else 0.0


def utc_today() -> str:
    """Return today's date (UTC)."""
    return datetime.now(UTC).date().isoformat()
