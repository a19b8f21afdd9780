"""Repeat a recorded run without a model: its cells run again, its calls get the recorded replies.

Nothing is ever sent. Where what a cell sees has changed since, the requests differ, the record
has no reply to them, and the replay says so instead of guessing.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlm_mcp.errors import BadRequest, BudgetSpent, ModelError, RlmError
from rlm_mcp.models import ModelReply, ModelRequest, Price, TokenUsage

if TYPE_CHECKING:
    from rlm_mcp.engine.trajectory import Event


class RecordedRun:
    """The outcomes of a run's calls, by key; the same key's outcomes in their order."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._outcomes: defaultdict[str, deque[ModelReply | RlmError]] = defaultdict(deque)
        self.start: dict[str, Any] = {}
        self.end: dict[str, Any] = {}
        for number, event in enumerate(events):
            data = dict(event.data)
            top = "." not in event.run
            if event.type == "call":
                self._outcomes[str(data.get("key"))].append(_recorded_outcome(data))
            elif event.type == "run.start" and number == 0:
                self.start = data
            elif event.type == "run.end" and top:
                self.end = data
        if not self.start.get("question"):
            raise BadRequest("This record is no run of a question, so it cannot be replayed.")

    def take_reply(self, key: str) -> ModelReply:
        """Return the next recorded reply to a request; the last one stays. Raises its failure."""
        known = self._outcomes.get(key)
        if not known:
            raise ModelError(
                "The record has no reply to this request: what the run saw has changed since.",
                kind="malformed",
                attempts=0,
            )
        outcome = known.popleft() if len(known) > 1 else known[0]
        if isinstance(outcome, RlmError):
            raise outcome
        return outcome


@dataclass(frozen=True, slots=True)
class RecordedModel:
    """Stands for a model whose replies are recorded: it keeps the spec, and is never asked."""

    spec: str
    window_tokens: int
    price: Price | None = None
    concurrency: int | None = None

    async def check_ready(self) -> None:
        """Need nothing."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Refuse: a replay sends nothing."""
        raise ModelError("A replay calls no model.", kind="network", attempts=0)

    async def count_tokens(self, request: ModelRequest) -> int:
        """Return nothing to count."""
        return 0

    async def close(self) -> None:
        """Hold nothing, so release nothing."""


@dataclass(frozen=True, slots=True)
class Replay:
    """How a replay went. `same`: it came to the recorded answer and status."""

    same: bool
    answer: str
    status: str
    recorded_answer: str
    recorded_status: str


def compare_replay(record: RecordedRun, answer: str, status: str) -> Replay:
    """Return whether a replay came to what was recorded (long answers by their beginning)."""
    told, ended = str(record.end.get("answer", "")), str(record.end.get("status", "running"))
    length = int(record.end.get("answer_chars", len(told)))
    same = answer[: len(told)] == told and len(answer) == length and status == ended
    return Replay(same, answer, status, told, ended)


def _recorded_outcome(data: dict[str, Any]) -> ModelReply | RlmError:
    failure = data.get("failure")
    if failure is not None:
        reason, kind = str(failure["reason"]), str(failure["kind"])
        if kind == "budget":
            return BudgetSpent(reason, limit="recorded", value=0)
        return ModelError(reason, kind=kind, attempts=0)
    usage = TokenUsage(*data.get("usage", (0, 0, 0, 0)))
    return ModelReply(str(data["reply"]), usage, str(data["model"]), 0.0, data.get("stop", "end"))
