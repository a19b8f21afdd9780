"""Estimate tokens from bytes, by the kind of text.

The ratios were measured against public tokenizers. Exact counts are never taken: they cost minutes
on a large corpus, and today's Claude tokenizer is not public. `reserve_tokens` errs upwards: for
budgets and windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rlm_mcp.errors import BadRequest

BYTES_PER_TOKEN = {"code": 3.5, "prose": 4.0, "json": 3.1, "logs": 2.4, "other": 3.2}
"""Bytes of a text that one token holds, by the kind of text."""
FOREIGN_SHARE = 0.3
"""Share of bytes beyond ASCII from which a text counts as one in another script than Latin."""
DIGIT_SHARE = 0.3
"""Share of digits from which JSON is numbers above all, and as dense in tokens as logs."""
SAMPLE_BYTES = 4_096
"""How much of a text is looked at for its script."""


def token_bytes(kind: str) -> float:
    """Return the bytes that a token holds; those of code where the kind is not known."""
    return BYTES_PER_TOKEN.get(kind, BYTES_PER_TOKEN["code"])


def actual_kind(text: bytes | str, kind: str) -> str:
    """Return `kind`, or what the text is in fact: "other" where it is mostly not in Latin script.

    JSON of numbers counts as logs.
    """
    sample = text[:SAMPLE_BYTES]
    if kind != "json" and sample.isascii():
        return kind
    data = sample.encode("utf-8", "surrogateescape") if isinstance(sample, str) else sample
    if kind == "json" and len(data) - len(data.translate(None, b"0123456789")) > DIGIT_SHARE * len(
        data
    ):
        return "logs"
    foreign = len(data) - len(data.decode("ascii", "ignore"))
    return "other" if foreign > FOREIGN_SHARE * len(data) else kind


def estimate_tokens(text: bytes | str | int, kind: str = "code") -> int:
    """Return the estimated tokens of a text, or of so many bytes.

    `kind` is code, prose, json, logs, or other (scripts other than Latin, by their bytes).
    """
    if isinstance(text, int):
        size = text
    else:
        kind = actual_kind(text, kind)
        size = len(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
    return round(size / token_bytes(kind)) + (1 if size else 0)


RESERVED_BYTES_PER_TOKEN = 2.0
"""Anthropic's current tokenizer holds about 2.5 characters a token ("1M tokens is roughly 2.5M
Unicode characters", model overview, 2026-10); dense code and digits hold fewer."""

TOKENS_PER_MESSAGE = 8
"""Tokens for the role and the borders of one message."""


MAX_PARTS = 50_000
"""Parts that one call makes at most; more are refused before they are made."""
_T = TypeVar("_T")


def bounded_parts(parts: Iterable[_T]) -> list[_T]:
    """Return the parts that a generator makes; raises BadRequest once there are too many."""
    made: list[_T] = []
    for part in parts:
        if len(made) == MAX_PARTS:
            raise BadRequest(
                f"That is more than {MAX_PARTS:,} chunks; ask for larger ones (tokens=4000) or "
                "narrow the ref."
            )
        made.append(part)
    return made


def reserve_tokens(text: str) -> int:
    """Return a count of tokens that is not too low for ordinary text, code included."""
    return int(len(text.encode("utf-8", "surrogatepass")) / RESERVED_BYTES_PER_TOKEN) + 1
