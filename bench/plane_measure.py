"""Time works side by side and print them as rows of a table."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

Work = Callable[[], object]


class Best(NamedTuple):
    """The least wall seconds and the least processor seconds of a work."""

    wall: float
    cpu: float


def best(reps: int, *works: Callable[[], object]) -> list[Best]:
    """Run the works in turn, several times; processor time includes that of child processes."""
    found = [Best(float("inf"), float("inf"))] * len(works)
    for _ in range(reps):
        for number, work in enumerate(works):
            begun, spent = time.perf_counter(), processor()
            work()
            wall, cpu = time.perf_counter() - begun, processor() - spent
            found[number] = Best(min(found[number].wall, wall), min(found[number].cpu, cpu))
    return found


def processor() -> float:
    """Return the processor seconds of this process and of its children that ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def row(name: str, ours: Best, text: str, theirs: Best | None = None, target: str = "") -> None:
    """Print one line of the table."""
    shares = " | "
    if theirs is not None:
        shares = f"{ours.wall / theirs.wall:.2f}x | {ours.cpu / theirs.cpu:.2f}x"
    print(f"| {name} | {ours.wall * 1e3:,.2f} ms | {shares} | {target} | {text} |", flush=True)


def once(seconds: float) -> Best:
    """Return a single measurement as a Best."""
    return Best(seconds, seconds)


def run(command: Sequence[str], tree: Path) -> Callable[[], bytes]:
    """Return a work that runs a command and reads what it prints."""
    return lambda: subprocess.run(command, cwd=tree, capture_output=True, check=False).stdout
