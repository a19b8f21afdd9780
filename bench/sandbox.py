"""Measure the sandbox beside its gates: start, round trips, memory, limits, and both corpora.

Prints one table. Times are the median (and the 95th percentile) of runs in this process; nothing
is compared with another machine. `--quick` leaves the corpora out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rlm_mcp.sandbox import Attachment, Sandbox, SandboxLimits, pool
from tests.sandbox.cells_corpus import by_cpython, by_sandbox, cells
from tests.sandbox.ground import Gauge, attacks, ground, judge

ROWS: list[tuple[str, str, str, str]] = []


def row(what: str, found: str, gate: str, held: bool | None) -> None:
    """Keep a line of the table, and show that it was measured."""
    ROWS.append((what, found, gate, "" if held is None else "yes" if held else "NO"))
    print(".", end="", flush=True, file=sys.stderr)


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Return seconds of each run, sorted."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)


def middle(seconds: list[float], scale: float, unit: str) -> str:
    """Write the median and the 95th percentile."""
    high = seconds[min(len(seconds) - 1, int(len(seconds) * 0.95))]
    return f"{statistics.median(seconds) * scale:.1f} / {high * scale:.1f} {unit}"


def starts() -> None:
    """Cold: a new zygote and its first cell. Warm: the spare, locked and tested."""

    def cold() -> None:
        pool.stop_pool()
        with Sandbox() as box:
            assert box.execute("1+1").value == 2

    def warm() -> None:
        with Sandbox() as box:
            assert box.execute("1+1").value == 2

    seconds = timed(cold, 7)
    found = statistics.median(seconds)
    row("cold first cell", middle(seconds, 1e3, "ms"), "300 ms p50", found <= 0.3)
    seconds = timed(warm, 60)
    held = statistics.median(seconds) <= 0.02 and seconds[57] <= 0.05
    row("warm worker and first cell", middle(seconds, 1e3, "ms"), "20 ms p50, 50 ms p95", held)


def trips() -> None:
    """Round trips of cells and host calls in one warm worker."""
    with Sandbox(host={"echo": lambda value: value}) as box:
        seconds = timed(lambda: box.execute("1+1"), 2000)
        held = statistics.median(seconds) <= 250e-6 and seconds[1900] <= 1e-3
        row("cell 1+1", middle(seconds, 1e6, "µs"), "250 µs p50, 1 ms p95", held)
        ten = "x = 0\nfor i in range(20):\n    x += i\nd = {}\nfor w in 'a b c'.split():\n"
        ten += "    d[w] = d.get(w, 0) + 1\nr = sorted(d.items())\ns = ','.join(d)\nprint(x)\nr"
        row("cell of ten lines", middle(timed(lambda: box.execute(ten), 500), 1e6, "µs"), "-", None)
        started = time.perf_counter()
        box.execute("for i in range(10_000): echo(1)")
        rate = 10_000 / (time.perf_counter() - started)
        row("host calls", f"{rate:,.0f} a second", "5,000 a second", rate >= 5000)
        started = time.perf_counter()
        box.execute("t = 'x' * 500_000\nfor i in range(100): echo(t)")
        rate = 100 / (time.perf_counter() - started)  # half a MB each way
        row("bulk through the host", f"{rate:.0f} MB/s", "50 MB/s", rate >= 50)


def memory() -> None:
    """Memory of an idle worker, from its parent's view of /proc."""
    with Sandbox() as box:
        assert box._connection is not None
        text = Path(f"/proc/{box._connection.process.pid}/smaps_rollup").read_text()
    fields = {line.split(":")[0]: line.split()[1] for line in text.splitlines()[1:]}
    private = (int(fields["Private_Dirty"]) + int(fields["Private_Clean"])) / 1024
    resident = int(fields["Rss"]) / 1024
    row("private memory, idle worker", f"{private:.1f} MB", "6 MB", private <= 6)
    row("resident memory, idle worker", f"{resident:.1f} MB", "25 MB", resident <= 25)


def large_context() -> None:
    """Attach a gigabyte, slice it, search it."""
    with tempfile.TemporaryFile() as file, Sandbox(limits=SandboxLimits(seconds=120)) as box:
        line = b"2026-11-21 10:00:00 INFO worker: a line of an ordinary log, eighty long......\n"
        block = line * (1 << 14)
        while file.tell() < 1 << 30:
            file.write(block)
        file.flush()
        size = file.tell()
        spans = [(at, min(12_800, size - at)) for at in range(0, size, 12_800)]
        attachment = Attachment("text", "a gigabyte", (file.fileno(), spans, 1), {})
        seconds = timed(lambda: box.attach_variable("big", attachment), 7)
        held = statistics.median(seconds) <= 0.02
        gate = "20 ms"
        row(f"attach 1 GB, {len(spans):,} spans", middle(seconds, 1e3, "ms"), gate, held)
        simple = Attachment("text", "a gigabyte", (file.fileno(), [(0, size)], 1), {})
        seconds = timed(lambda: box.attach_variable("big", simple), 7)
        held = statistics.median(seconds) <= 0.02
        row("attach 1 GB, one span", middle(seconds, 1e3, "ms"), gate, held)
        seconds = timed(lambda: box.execute("x = big[1000:66_536]"), 50)
        held = statistics.median(seconds) <= 1e-3
        row("slice 64 KB of it", middle(seconds, 1e3, "ms"), "1 ms", held)
        assert box._connection is not None
        text = Path(f"/proc/{box._connection.process.pid}/smaps_rollup").read_text()
        fields = {part.split(":")[0]: part.split()[1] for part in text.splitlines()[1:]}
        private = int(fields["Private_Dirty"]) / 1024
        row("private memory with it", f"{private:.1f} MB", "5 MB above idle", private <= 11)
        for code in ("len(big)", "big.count('INFO')", "big.find('absent')"):
            seconds = timed(lambda code=code: box.execute(code), 1)  # type: ignore[misc]
            row(f"{code} over it", f"{seconds[0]:.2f} s", "-", None)


def limits() -> None:
    """How far past its limit a cell comes back, and how soon the next one runs."""
    with Sandbox() as box:
        stopped = box.execute("while True: pass", seconds=1).seconds - 1
        row("back after a limit, stopped", f"T + {stopped:.2f} s", "T + 0.5 s", stopped <= 0.5)
        box.execute("kept = list(range(1000))\ndef f(): return 1")
        started = time.perf_counter()
        outcome = box.execute("import itertools\n-1 in itertools.count()", seconds=1)
        whole = time.perf_counter() - started
        row("back after a limit, killed", f"T + {whole - 1:.2f} s", "T + 1.2 s", whole <= 2.2)
        replaced = whole - outcome.seconds
        row("of it to replace and restore", f"{replaced * 1e3:.0f} ms", "50 ms", replaced <= 0.05)
    with Sandbox(limits=SandboxLimits(seconds=20)) as box:
        assert box._connection is not None
        with Gauge(box._connection.process.pid) as gauge:
            box.execute("x = []\nwhile True: x.append('y' * 100_000)")
        row("peak at a limit of 512 MB", f"{gauge.peak_mb:.0f} MB", "600 MB", gauge.peak_mb <= 600)
    with Sandbox(host={"slow": lambda: time.sleep(0.1)}) as box:
        wall = box.execute("while True: slow()", seconds=0.5).seconds
        gate = "20 times its limit"
        row("cell of 0.5 s, host calls included", f"{wall:.1f} s", gate, wall <= 10)


def hostile_memory() -> None:
    """The most that any attack on memory holds at 512 MB: resident, page tables and swap."""
    worst, name = 0.0, ""
    for attack in attacks():
        if attack.category == "memory":
            with Sandbox(limits=SandboxLimits(seconds=8), language=False) as box:
                assert box._connection is not None
                with Gauge(box._connection.process.pid) as gauge:
                    box.execute(attack.code)
            if gauge.peak_mb > worst:
                worst, name = gauge.peak_mb, attack.id
    row(f"memory at 512 MB, hostile ({name})", f"{worst:.0f} MB", "600 MB", worst <= 600)


def corpora() -> None:
    """Run both corpora and count."""
    found = cells()
    results = [(by_sandbox(cell), by_cpython(cell)) for cell in found]
    equal = sum(one == other for one, other in results)
    held = equal >= 0.98 * len(found)
    row("ordinary cells equal to CPython", f"{equal} of {len(found)}", "98 %", held)
    for title, language, kernel, counted in (
        ("attacks, all layers", True, True, ("LEAKED", "DOS", "PYESC")),
        ("attacks, language layer off", False, True, ("LEAKED", "DOS")),
        ("attacks, kernel layer off", True, False, ("LEAKED", "PYESC")),
    ):
        counts: Counter[str] = Counter()
        with ground() as place:
            for attack in attacks():
                if kernel or attack.category != "dos":
                    counts[judge(attack, place, language=language, kernel=kernel).name] += 1
        text = ", ".join(f"{counts[name]} {name}" for name in counted)
        row(f"{title} ({counts.total()})", text, "0", not any(counts[name] for name in counted))


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave the corpora out")
    quick = parser.parse_args().quick
    slow = () if quick else (hostile_memory, corpora)
    for measure in (starts, trips, memory, large_context, limits, *slow):
        measure()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    load = os.getloadavg()[0]
    print(f"\nPython {sys.version.split()[0]}, {os.cpu_count()} cores, load {load:.1f}, {commit}")
    with Sandbox() as box:
        print("layers:", ", ".join(box.layers))
    widths = [max(len(line[i]) for line in ROWS) for i in range(3)]
    for what, found, gate, held in ROWS:
        print(f"{what:<{widths[0]}}  {found:>{widths[1]}}  {gate:<{widths[2]}}  {held}")


if __name__ == "__main__":
    main()
