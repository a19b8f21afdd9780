"""What an HTTP status of a model provider means: the kind of a ModelError, and a second try."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from rlm_mcp import redact
from rlm_mcp.errors import ModelError

if TYPE_CHECKING:
    from rlm_mcp.models.model import TokenUsage

MAX_TOKENS = 1_000_000_000
"""More than any request can use: a provider that reports it, or less than 0, is not believed."""

MAX_COST_USD = 1e6
"""The same for what one call is said to have cost."""

_STATUS_KINDS: dict[int, tuple[str, bool]] = {
    401: ("auth", False),
    402: ("auth", False),
    403: ("auth", False),
    404: ("unknown_model", False),
    408: ("timeout", True),
    413: ("too_long", False),
    429: ("rate", True),
    529: ("overloaded", True),
}

_REMEDIES = {
    "auth": "refused the key; check it",
    "unknown_model": "does not know the model; name another",
    "too_long": "says that the prompt is too long; send smaller chunks",
    "rate": "says that its rate limit is reached; wait, or lower the concurrency",
    "overloaded": "is overloaded; try again later",
    "server": "failed; try again later",
    "timeout": "gave up waiting; try again",
    "refused": "refused the request; change it, or use another model",
    "network": "cannot reach its service; check the network",
    "truncated": "met its limit of output; ask for a shorter reply",
}

_TOO_LONG = ("too long", "context length", "context window", "context_length")
_NO_MODEL = ("invalid model", "model_not_found", "model not found", "unknown model")
"""What compatible servers say with status 400 where OpenAI says 404."""


def failure_kind(status: int, said: str = "") -> tuple[str, bool]:
    """Return a failure's kind, and whether the same call may succeed later."""
    if status in (400, 422) and any(words in said.lower() for words in _TOO_LONG):
        return "too_long", False
    if status in (400, 422) and any(words in said.lower() for words in _NO_MODEL):
        return "unknown_model", False
    return _STATUS_KINDS.get(status, ("server", True) if status >= 500 else ("refused", False))


def failure_sentence(who: str, kind: str, said: str) -> str:
    """Return what a caller reads: who failed, the remedy, and the provider's own words."""
    said = safe_excerpt(said)
    return f"{who} {_REMEDIES.get(kind, 'failed')}{f' ({said})' if said else ''}."


def safe_excerpt(said: str) -> str:
    """Return a provider's own words as one line that is safe to show: some repeat the key."""
    return redact.redact(" ".join(said.split()))[:300]


def parse_retry_after(header: str | None) -> float | None:
    """Return a Retry-After header's seconds (RFC 9110: a number or a date), or None."""
    if header is None:
        return None
    try:
        wish = float(header)
    except ValueError:
        try:
            then = parsedate_to_datetime(header)
            wish = (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(wish) else max(0.0, wish)


def checked_usage(
    who: str, read: Callable[[], TokenUsage], *, retryable: bool = True
) -> TokenUsage:
    """Return the usage that `read` finds in a reply. Raises ModelError for one that cannot be."""
    try:
        usage = read()
        for number in (usage.input, usage.output, usage.cache_read, usage.cache_write):
            if type(number) is not int or not 0 <= number <= MAX_TOKENS:
                raise ValueError("usage")
        return usage
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        what = "its token counts are missing, or are none that can be"
        raise unreadable_reply(who, what, retryable=retryable) from error


def checked_cost_usd(paid: object) -> float | None:
    """Return a cost that a provider reported, or None for what cannot be one."""
    if isinstance(paid, bool) or not isinstance(paid, (int, float)):
        return None
    return float(paid) if 0 <= paid <= MAX_COST_USD else None


def unreadable_reply(who: str, what: str, *, retryable: bool = True) -> ModelError:
    """Return the failure of a reply that came and cannot be used; nobody knows what it cost."""
    return ModelError(
        f"{who} sent a reply that cannot be read: {safe_excerpt(what)}. Try again; "
        "where that does not "
        "help, use another model.",
        kind="malformed",
        retryable=retryable,
        spent_usd=None,
    )
