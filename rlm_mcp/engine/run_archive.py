"""The runs that are kept: list them, load one, import and export them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.engine import export, import_rlms, run_tree, trajectory
from rlm_mcp.engine.run_tree import RunNode, RunSummary
from rlm_mcp.engine.trajectory import Event
from rlm_mcp.errors import BadRequest


@dataclass(frozen=True, slots=True)
class RunArchive:
    """A folder of trajectories. A run is named by its id or the start of one; the path of a log
    of the official library names that log, as it lies.
    """

    folder: Path

    def run_ids(self) -> list[str]:
        """Return the ids of all runs, the oldest first."""
        return [path.stem for path in sorted(self.folder.glob("*.jsonl"))]

    def list_summaries(self, limit: int = 50) -> list[RunSummary]:
        """Return the latest runs, newest first."""
        return run_tree.list_summaries(self.folder, limit) if limit > 0 else []

    def read_events(self, run: str) -> Iterable[Event]:
        """Return the events of a run, in order. Raises BadRequest for an unknown one."""
        path = Path(run)
        if path.is_file() and import_rlms.is_official(path):
            return import_rlms.read_log(path)
        return trajectory.read_events(trajectory.find_trajectory(self.folder, run))

    def load_tree(self, run: str) -> RunNode:
        """Return a run with its turns, calls and child runs."""
        path = Path(run)
        if path.is_file() and import_rlms.is_official(path):
            return run_tree.build_tree(import_rlms.read_log(path))
        return run_tree.load_tree(self.folder, run)

    def export_lines(self, run: str, *, unfinished: bool = False) -> Iterator[str]:
        """Give a run as training trajectories, a line of JSON each."""
        return export.jsonl_lines(run_tree.load_tree(self.folder, run), unfinished=unfinished)

    def import_log(self, path: Path) -> str:
        """Keep a log of the official library among the runs and return its id."""
        if not import_rlms.is_official(path):
            raise BadRequest(f"{path} is not a log of the official library (rlms, JSON lines).")
        return import_rlms.store_log(path, self.folder)

    @staticmethod
    def render_page(node: RunNode) -> str:
        """Return a run as one HTML page."""
        return export.run_page(node)
