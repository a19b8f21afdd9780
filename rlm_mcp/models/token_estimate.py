"""The input tokens of a request, where nobody has counted them: a figure that errs upwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm_mcp.tokens import TOKENS_PER_MESSAGE, reserve_tokens

if TYPE_CHECKING:
    from rlm_mcp.models.model import ModelRequest


def estimate_request(request: ModelRequest) -> int:
    """Return an input size for `request` that is not too low for ordinary text."""
    texts = [request.system, *(message.text for message in request.messages)]
    return sum(reserve_tokens(text) + TOKENS_PER_MESSAGE for text in texts)
