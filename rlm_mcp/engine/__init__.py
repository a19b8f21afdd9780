"""The engine: runs, their loop, their calls, and what both may spend.

`Workspace` is what one process holds; everything else serves it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlm_mcp.engine.job import Result
    from rlm_mcp.engine.rlm import RLM
    from rlm_mcp.engine.trajectory import Event
    from rlm_mcp.engine.workspace import Workspace

__all__ = ["RLM", "Event", "Result", "Workspace"]

_HOMES = {
    "RLM": "rlm_mcp.engine.rlm",
    "Event": "rlm_mcp.engine.trajectory",
    "Result": "rlm_mcp.engine.job",
    "Workspace": "rlm_mcp.engine.workspace",
}


def __getattr__(name: str) -> Any:
    # The engine imports every room below it: 60 ms that reading a trajectory need not pay.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
