"""The engine: runs, their loop, their calls, and what both may spend.

`Workspace` is what one process holds, `RLM` the same for a program of one's own; `RunArchive` reads
what is kept of past runs.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.engine.job import Result
    from rlm_mcp.engine.replay import Replay
    from rlm_mcp.engine.rlm import RLM
    from rlm_mcp.engine.run_archive import RunArchive
    from rlm_mcp.engine.run_tree import RunNode, RunSummary
    from rlm_mcp.engine.trajectory import Event
    from rlm_mcp.engine.workspace import Workspace
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "Event": "trajectory",
            "RLM": "rlm",
            "Replay": "replay",
            "Result": "job",
            "RunArchive": "run_archive",
            "RunNode": "run_tree",
            "RunSummary": "run_tree",
            "Workspace": "workspace",
        },
    )

__all__ = [
    "RLM",
    "Event",
    "Replay",
    "Result",
    "RunArchive",
    "RunNode",
    "RunSummary",
    "Workspace",
]
