"""What a run is asked and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rlm_mcp.engine.render import spent_text
from rlm_mcp.marks import mark_label, mark_quoted

if TYPE_CHECKING:
    from rlm_mcp.engine.evidence import Evidence
    from rlm_mcp.engine.route import Mode
    from rlm_mcp.models import Model, TokenUsage
    from rlm_mcp.variable import Variable

Status = Literal["complete", "partial", "forced", "failed"]


@dataclass(frozen=True, slots=True)
class RunJob:
    """A question, what it is about, and who works on it."""

    question: str
    root: Model
    sub: Model
    refs: tuple[str, ...] = ()
    """What to look at; empty: all variables of the run."""
    contexts: tuple[str, ...] | None = None
    """Names of the contexts that may be opened; None: all."""
    variables: Mapping[str, Variable] = field(default_factory=dict)
    """Variables of this run alone; `context` is the main one."""
    mode: Mode = "auto"
    schema: Mapping[str, Any] | None = None
    """What the answer must fit, where it is to be JSON."""
    fresh: bool = False
    purpose: str = ""
    """The question of the run that started this one; empty: it is no child run."""


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a run. `cost_usd` is None where a price is not known."""

    answer: str
    status: Status
    done: int
    """Parts that were answered, of `total` that were asked about."""
    total: int
    evidence: tuple[Evidence, ...]
    cost_usd: float | None
    calls: int
    """Model calls that were sent, those of child runs included."""
    cached: int
    """Calls that were answered from the cache."""
    usage: TokenUsage
    seconds: float
    run: str
    mode: str
    reason: str
    """Why this mode; and where the run did not end by itself, why."""
    model: str
    missing: tuple[str, ...] = ()
    """Parts without an answer, the first hundred."""
    over_budget: bool = False
    """Whether it failed because a budget, of the run or of the day, allowed no more calls."""

    @classmethod
    def of_unbegun(cls, reason: str) -> Result:
        """Return the result of a run that could not begin: nothing was sent."""
        from rlm_mcp.models import TokenUsage  # 30 ms, wanted where nothing else was imported

        return cls("", "failed", 0, 0, (), 0.0, 0, 0, TokenUsage(), 0.0, "", "", reason, "")

    @property
    def spent(self) -> str:
        """Return what it cost, in words."""
        return spent_text(self.calls, self.cached, self.cost_usd)

    def text(self) -> str:
        """Return the answer with what a reader must know beside it."""
        verified = sum(item.verified is True for item in self.evidence)
        lines = [f"status: {self.status}", f"{self.seconds:.1f} s", f"run {self.run}"]
        if self.total:
            lines.insert(1, f"{self.done:,} of {self.total:,} parts answered")
        if self.evidence:
            bare = sum(item.verified is None for item in self.evidence)
            without = f" ({bare} without a quote)" if bare else ""
            lines.insert(1, f"{verified} of {len(self.evidence)} refs verified{without}")
        parts = [mark_quoted(self.answer) or "(no answer)", " · ".join(lines)]
        if self.status != "complete":
            parts.append(f"why: {self.reason}")
        if self.missing:
            parts.append("not answered: " + ", ".join(map(mark_label, self.missing[:20])))
        wrong = [mark_label(item.ref) for item in self.evidence if item.verified is False]
        if wrong:
            parts.append("these refs or their quotes could not be verified: " + ", ".join(wrong))
        return "\n".join([parts[0], "", *parts[1:]])

    def as_json(self) -> dict[str, Any]:
        """Return the one object that `ask --json` prints."""
        usage = self.usage
        return {
            "answer": self.answer,
            "status": self.status,
            "coverage": {"done": self.done, "total": self.total, "missing": list(self.missing)},
            "evidence": [
                {"ref": item.ref, "quote": item.quote, "verified": item.verified}
                for item in self.evidence
            ],
            "cost_usd": self.cost_usd,
            "calls": self.calls,
            "cached": self.cached,
            "tokens": {
                "input": usage.input + usage.cache_write,
                "output": usage.output,
                "cache_read": usage.cache_read,
            },
            "seconds": round(self.seconds, 3),
            "run": self.run,
            "mode": self.mode,
            "reason": self.reason,
            "model": self.model,
        }


@dataclass
class RunCoverage:
    """Which parts were asked about, and which of them were answered in the end."""

    parts: dict[str, bool] = field(default_factory=dict)

    def add_outcomes(self, parts: Sequence[str], answered: Sequence[bool]) -> None:
        """Add the outcome of a fan-out; an answer to an earlier failure mends it."""
        for part, ok in zip(parts, answered, strict=True):
            self.parts[part] = ok or self.parts.get(part, False)

    @property
    def done_count(self) -> int:
        return sum(self.parts.values())

    @property
    def missing_parts(self) -> tuple[str, ...]:
        return tuple(part for part, ok in self.parts.items() if not ok)[:100]
