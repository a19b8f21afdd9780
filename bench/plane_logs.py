"""A log far larger than memory wants: open, seek a time, count lines, search, templates."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from bench.plane_measure import Work, best, once, row, run
from rlm_mcp.config import Settings
from rlm_mcp.corpus.search import Query
from rlm_mcp.corpus.store import LineFile
from rlm_mcp.logs.logs import Logs
from rlm_mcp.refs import Ref

WANTED = 2 << 30
ROOM = 8 << 30
"""Free bytes below which a smaller log is made."""
_SAID = (
    "INFO  request {a} of user {b} took {c} ms",
    "DEBUG cache miss for key session:{a}:{b}",
    "WARN  connection to 10.0.{d}.{e} is slow: {c} ms",
    "INFO  worker-{d} picked job {a} from queue default",
    "ERROR failed to write block blk_{a}: disk {d} is full",
    "INFO  GET /api/v1/items/{b}?page={d} 200 {c}",
)


def write(path: Path, size: int) -> int:
    """Write a log of repeated blocks, each in order of time, with a rare last line."""
    rng, lines, written = random.Random(1), 0, 0
    when = datetime(2026, 3, 1)
    with path.open("wb") as file:
        while written < size:
            block = []
            for _ in range(20_000):
                when += timedelta(milliseconds=rng.randrange(400))
                said = rng.choice(_SAID).format(
                    a=rng.randrange(10**6), b=rng.randrange(10**4), c=rng.randrange(900),
                    d=rng.randrange(32), e=rng.randrange(250),
                )  # fmt: skip
                block.append(f"{when:%Y-%m-%d %H:%M:%S},{when.microsecond // 1000:03} {said}\n")
            data = "".join(block).encode()
            for _ in range(max(1, min(16, size // (64 << 20)))):
                file.write(data)
            lines += 20_000 * max(1, min(16, size // (64 << 20)))
            written = file.tell()
        file.write(f"{when:%Y-%m-%d %H:%M:%S},000 ERROR needle_in_the_log\n".encode())
    return lines + 1


def measure_logs(rg: str | None, reps: int, size: int = WANTED) -> None:
    """Print the table of one generated log."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    size = size if free > ROOM else min(size, free // 8)
    with tempfile.TemporaryDirectory(prefix="rlm-log-") as made:
        folder = Path(made)
        path = folder / "app.log"
        count = write(path, size)
        print(f"\n### A log of {path.stat().st_size / 1e9:.2f} GB, {count:,} lines\n")
        print("| what | ours | ratio | by processor time | target | beside |")
        print("| --- | --- | --- | --- | --- | --- |")
        settings = Settings(roots=(folder,))

        def opened() -> Logs:
            logs = Logs([path], "logs", settings, folder / "cache")
            assert len(logs.files) == 1
            return logs

        row("open", best(reps, lambda: opened().close())[0], "", None, "50 ms")
        logs = opened()
        file = logs.files[0]
        first, last = file.time_span()
        assert first is not None and last is not None
        moments = [first + (last - first) * part / 50 for part in range(50)]
        took = best(3, lambda: [file.seek_time(when) for when in moments])[0]
        row("seek a time", once(took.wall / 50), "50 moments", None, "1 ms")
        works: list[Work] = [partial(_counted, path), run(["wc", "-l", path.name], folder)]
        ours, theirs = best(2, *works)
        row("count lines (sparse index)", ours, f"wc -l: {theirs.wall:.2f} s", theirs, "1.2x")
        for name, pattern in (
            ("rare literal", "needle_in_the_log"),
            ("three words", "slow|full|miss"),
        ):
            query = Query(pattern, limit=200, seconds=60)
            search: list[Work] = [partial(logs.grep, query, Ref("logs"))]
            if rg:
                flags = [] if name == "rare literal" else ["-c"]
                search.append(run([rg, "--no-config", *flags, "-e", pattern, path.name], folder))
            times = best(2, *search)
            text = f"ripgrep {times[1].wall:.2f} s" if rg else ""
            row(f"grep: {name}", times[0], text, times[1] if rg else None, "0.8x")
        begun = time.perf_counter()
        logs.methods["templates"]()
        spent = time.perf_counter() - begun
        row("templates", once(spent), f"{count / spent:,.0f} lines/s", None, "300,000 lines/s")
        logs.close()


def _counted(path: Path) -> int:
    """Count lines anew: what was counted before is forgotten with the file."""
    with path.open("rb") as file:
        return LineFile(file.fileno(), path.stat().st_size).line_count()
