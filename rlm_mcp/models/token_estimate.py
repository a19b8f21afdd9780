"""Token estimates for requests, where nobody has counted them.

Not a tokenizer: a figure for reserving budget and checking windows, so it errs upwards. The
contexts' own estimates (corpus) are for telling sizes and are closer to the middle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm_mcp.models.model import ModelRequest

BYTES_PER_TOKEN = 2.0
"""Anthropic's current tokenizer holds about 2.5 characters a token ("1M tokens is roughly 2.5M
Unicode characters", model overview, 2026-10); dense code and digits hold fewer."""

TOKENS_PER_MESSAGE = 8
"""Tokens for the role and the borders of one message."""


def estimate_tokens(text: str) -> int:
    """Return a count of tokens that is not too low for ordinary text, code included."""
    return int(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN) + 1


def estimate_request(request: ModelRequest) -> int:
    """Return an input size for `request` that is not too low for ordinary text."""
    texts = [request.system, *(message.text for message in request.messages)]
    return sum(estimate_tokens(text) + TOKENS_PER_MESSAGE for text in texts)
