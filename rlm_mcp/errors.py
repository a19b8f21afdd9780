"""Every error that rlm-mcp raises on purpose, in one tree.

    RlmError               one sentence: what happened, and what the caller can do next
    ├── BadRequest         the caller can fix it: unknown name, bad ref, bad pattern, bad argument
    ├── Denied             outside the roots, a denied name, a link that leaves, an untrusted tool
    ├── Unavailable        the source cannot be read now: deleted, no permission, broken, busy
    │   └── TimedOut       it took longer to read than it was given
    ├── SandboxError       the worker cannot be had, or broke its protocol
    ├── ModelError         a provider failed; says how, and whether trying again can help
    ├── BudgetSpent        a limit would be passed; carries the limit's name and value
    └── Cancelled          the caller stopped the work

An RlmError's text is safe to show to an agent: no traceback, no secret, no path outside the roots.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RlmError(Exception):
    """Something that a caller should read; `str(error)` is one sentence with the remedy."""


class BadRequest(RlmError):
    """The caller can fix this request."""


class Denied(RlmError):
    """The request reaches for something that it may not have."""


class Unavailable(RlmError):
    """The source exists or existed, but cannot be read now."""


class TimedOut(Unavailable):
    """The source took longer to read than it was given."""


class SandboxError(RlmError):
    """The sandbox worker could not be started, or broke its protocol."""


class ModelError(RlmError):
    """A model call failed.

    `kind` is one of: auth, rate, overloaded, server, network, timeout, malformed, refused,
    too_long, unknown_model, truncated. `retryable` says whether the same call may succeed later;
    `retry_after_s` is the provider's own wish, where it stated one; `attempts` is how often the
    call was sent (0: it never left this machine); `spent_usd` is what it is known to have cost
    all the same (None: it may have cost something, and nobody said how much).
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        retryable: bool = False,
        retry_after_s: float | None = None,
        status: int | None = None,
        attempts: int = 1,
        spent_usd: float | None = 0.0,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.status = status
        self.attempts = attempts
        self.spent_usd = spent_usd

    @property
    def asks_to_wait(self) -> bool:
        """Whether the provider lives and only says that it has enough to do."""
        return self.kind in {"rate", "overloaded"}


class BudgetSpent(RlmError):
    """A budget's limit would be passed; nothing was spent by this request."""

    def __init__(self, message: str, *, limit: str, value: float) -> None:
        super().__init__(message)
        self.limit = limit
        self.value = value


class Cancelled(RlmError):
    """The caller stopped the work before it was done."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ' Did you mean a, b?' for names close to `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f" Did you mean {', '.join(close)}?" if close else ""
