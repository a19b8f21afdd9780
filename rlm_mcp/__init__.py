"""Reason over inputs far larger than a model's window (Recursive Language Models)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlm_mcp.engine import RLM

__version__ = "0.1.0"
__all__ = ["RLM", "__version__"]


def __getattr__(name: str) -> Any:
    # The engine takes 250 ms to import, which most users of this package never need.
    if name == "RLM":
        from rlm_mcp.engine import RLM

        return RLM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), "RLM"]
