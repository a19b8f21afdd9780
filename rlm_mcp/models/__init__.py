"""Models: one protocol, `Model.complete(request) -> reply`, and its providers."""

from rlm_mcp.models.choose import available, choose, default

__all__ = ["available", "choose", "default"]
