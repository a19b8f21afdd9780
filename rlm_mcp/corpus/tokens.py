"""Estimate tokens from bytes, by the kind of text.

The ratios were measured against public tokenizers; a running correction from the usage that real
replies report is the caller's business (`scale`). Exact counts are never taken: they cost minutes
on a large corpus, and today's Claude tokenizer is not public.
"""

from __future__ import annotations

BYTES_PER_TOKEN = {"code": 3.5, "prose": 4.0, "json": 4.0, "logs": 2.4, "other": 4.0}


def estimate(text: bytes | str | int, kind: str = "code", scale: float = 1.0) -> int:
    """Return the estimated tokens of a text, or of so many bytes.

    `kind` is code, prose, json, logs, or other (scripts other than Latin, by their bytes).
    """
    size = (
        text
        if isinstance(text, int)
        else len(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
    )
    return round(size / BYTES_PER_TOKEN.get(kind, 3.5) * scale) + (1 if size else 0)
