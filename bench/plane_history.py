"""Questions to a git history, beside the git commands that hold the answers."""

from __future__ import annotations

import subprocess
import time
from functools import partial
from pathlib import Path

from bench.plane_measure import Work, best, once, row, run
from rlm_mcp.config import Settings
from rlm_mcp.contexts import Catalog
from rlm_mcp.corpus.search import Query
from rlm_mcp.refs import Ref


def measure_history(folder: Path, reps: int) -> None:
    """Print the table of one repository with a history."""
    listed = subprocess.run(
        ["git", "rev-list", "--count", "HEAD"], cwd=folder, capture_output=True, check=True
    )
    print(f"\n### History of {folder.name}, {int(listed.stdout):,} commits\n")
    print("| what | ours | ratio | by processor time | target | beside |")
    print("| --- | --- | --- | --- | --- | --- |")
    path = "README.md" if (folder / "README.md").exists() else "README.rst"

    def log() -> None:
        catalog = Catalog(Settings(roots=(folder,)))
        catalog.get_variable("history").methods["log"](limit=10_000)
        catalog.close()

    ours, theirs = best(reps, log, run(["git", "log", "-10000", "--format=%H%n%B"], folder))
    row("log with messages, opened anew", ours, f"git log: {theirs.wall * 1e3:.0f} ms", theirs)
    catalog = Catalog(Settings(roots=(folder,)))

    def call(name: str, *args: object) -> object:
        history = catalog.get_variable("history")
        history.refresh()
        return history.methods[name](*args)

    pairs = (
        ("blame of a file", ("blame", path), ["blame", "--line-porcelain", path]),
        ("file at a revision", ("file", path, "HEAD"), ["show", f"HEAD:{path}"]),
        (
            "changed with a file",
            ("together", path),
            ["log", "--name-only", "--full-diff", "--", path],
        ),
        ("grep over patches", ("grep", "needle_that_is_not"), ["log", "-G", "needle_that_is_not"]),
    )
    for name, asked, command in pairs:
        works: list[Work] = [partial(call, *asked), run(["git", *command], folder)]
        ours, theirs = best(2, *works)
        row(name, ours, f"git {command[0]}: {theirs.wall * 1e3:.0f} ms", theirs)
    begun = time.perf_counter()
    found = call("churn")
    text = f"over {found['commits']:,} commits" if isinstance(found, dict) else ""
    row("lines changed by file, first answer", once(time.perf_counter() - begun), text)
    variable = catalog.get_variable("history")
    begun = time.perf_counter()
    said = variable.grep(Query("needle_that_is_not"), Ref("history"))
    row("search, first answer", once(time.perf_counter() - begun), said.note or "all patches")
    catalog.close()
