"""A model that follows a script: for tests, ours and those of people who build on rlm-mcp.

`Fake(replies=[...])` from Python, `fake:script.json` from a command line. A script is an object
with `replies`, a list of texts or objects, taken in the order of the calls:

    {"replies": ["first", {"text": "cut", "stop": "max_tokens", "usage": {"input": 9}},
                 {"error": "rate", "message": "slow down", "retry_after_s": 2}],
     "rules": [{"match": "capital of France", "reply": "Paris"}],
     "latency_s": 0.0, "repeat": false, "window": 200000}

A rule (a regular expression searched in the last message) goes before the list and is not used
up. A script that has run out fails the call; it never invents an answer.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlm_mcp.errors import BadRequest, ModelError
from rlm_mcp.models.model import ModelReply, ModelRequest, Price, TokenUsage
from rlm_mcp.tokens import reserve_tokens

ScriptedOutcome = str | ModelReply | ModelError
"""One scripted outcome: a text, a whole reply, or a failure to raise."""

Script = Callable[[ModelRequest], ScriptedOutcome | Awaitable[ScriptedOutcome]]

_KINDS = frozenset(
    {
        "auth", "rate", "overloaded", "server", "network", "timeout", "malformed", "refused",
        "too_long", "unknown_model", "truncated",
    }
)  # fmt: skip
_STOPS = frozenset({"end", "max_tokens", "stop", "refused"})
_RETRYABLE = frozenset({"rate", "overloaded", "server", "network", "timeout"})


@dataclass(frozen=True, slots=True)
class ScriptRule:
    """Answers every request whose last message matches."""

    match: re.Pattern[str]
    reply: ScriptedOutcome


@dataclass
class Fake:
    """A scripted model. `requests` keeps what it was asked, `peak` the most calls at once."""

    replies: Sequence[ScriptedOutcome] | Script = ()
    latency_s: float = 0.0
    usage: TokenUsage | None = None
    """What each call is said to have used; by default it is counted from the texts."""
    rules: Sequence[ScriptRule] = ()
    repeat: bool = False
    """Whether to begin again at the end of the list."""
    spec: str = "fake:"
    window_tokens: int = 200_000
    price: Price | None = None
    concurrency: int | None = None
    requests: list[ModelRequest] = field(default_factory=list)
    peak: int = 0
    _used: int = 0
    _active: int = 0

    async def check_ready(self) -> None:
        """Need nothing."""

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the next scripted reply, or raise the scripted failure."""
        self.requests.append(request)
        self._active += 1
        self.peak = max(self.peak, self._active)
        try:
            step = self._next_outcome(request)
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            if inspect.isawaitable(step):
                step = await step
        finally:
            self._active -= 1
        if isinstance(step, ModelError):
            raise _copy_error(step)
        return step if isinstance(step, ModelReply) else self._make_reply(step, request)

    async def count_tokens(self, request: ModelRequest) -> int:
        """Return the input tokens of `request`, estimated from its texts."""
        return request.estimate_tokens()

    async def close(self) -> None:
        """Hold nothing, so release nothing."""

    def _next_outcome(self, request: ModelRequest) -> ScriptedOutcome | Awaitable[ScriptedOutcome]:
        if callable(self.replies):
            return self.replies(request)
        last = request.messages[-1].text if request.messages else ""
        for rule in self.rules:
            if rule.match.search(last):
                return rule.reply
        if self.repeat and self.replies:
            self._used %= len(self.replies)
        if self._used >= len(self.replies):
            raise ModelError(
                f"The script of {self.spec} has {len(self.replies)} replies and all were used; "
                "add more, or set repeat.",
                kind="malformed",
            )
        self._used += 1
        return self.replies[self._used - 1]

    def _make_reply(self, text: str, request: ModelRequest) -> ModelReply:
        usage = self.usage or TokenUsage(request.estimate_tokens(), reserve_tokens(text))
        cost = 0.0 if self.price is None else self.price.cost_usd(usage)
        return ModelReply(text, usage, self.spec, cost)


def _copy_error(error: ModelError) -> ModelError:
    """Return a copy: one scripted error may be raised by many calls at once."""
    return ModelError(
        str(error),
        kind=error.kind,
        retryable=error.retryable,
        retry_after_s=error.retry_after_s,
        status=error.status,
    )


def load_script(path: Path) -> Fake:
    """Read a script. Raises BadRequest with the place of what is wrong."""
    try:
        script = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise BadRequest(f"There is no script {path} for the fake model.") from error
    except (OSError, ValueError) as error:
        raise BadRequest(f"Cannot read the fake model's script {path}: {error}.") from error
    try:
        return _parse_script(script, f"fake:{path}")
    except (KeyError, TypeError, ValueError, re.error) as error:
        raise BadRequest(f"The fake model's script {path} is not right: {error!r}.") from error


def _parse_script(script: Any, spec: str) -> Fake:
    if not isinstance(script, dict):
        raise TypeError("a script is an object")
    unknown = set(script) - {"replies", "rules", "latency_s", "repeat", "window", "usage"}
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    return Fake(
        replies=[_parse_outcome(step, spec) for step in script.get("replies", [])],
        latency_s=float(script.get("latency_s", 0.0)),
        usage=TokenUsage(**script["usage"]) if "usage" in script else None,
        rules=[
            ScriptRule(re.compile(rule["match"], re.DOTALL), _parse_outcome(rule["reply"], spec))
            for rule in script.get("rules", [])
        ],
        repeat=bool(script.get("repeat", False)),
        spec=spec,
        window_tokens=int(script.get("window", 200_000)),
    )


def _parse_outcome(step: Any, spec: str) -> ScriptedOutcome:
    if isinstance(step, str):
        return step
    if "error" in step:
        if step["error"] not in _KINDS:
            raise ValueError(f"unknown error {step['error']!r}, known are {sorted(_KINDS)}")
        return ModelError(
            step.get("message", f"scripted {step['error']}"),
            kind=step["error"],
            retryable=step.get("retryable", step["error"] in _RETRYABLE),
            retry_after_s=step.get("retry_after_s"),
        )
    text, stop = step["text"], step.get("stop", "end")
    if stop not in _STOPS:
        raise ValueError(f"unknown stop {stop!r}")
    usage = TokenUsage(**step["usage"]) if "usage" in step else TokenUsage(0, reserve_tokens(text))
    return ModelReply(text, usage, spec, float(step.get("cost_usd", 0.0)), stop)
