"""Kill a run at random points, go on, and count what was paid twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from bench.engine_place import Place, row

ROOT = Path(__file__).parents[1]


def kills(times: int) -> None:
    """Kill a run at random points, go on, and count what was paid twice."""
    from tests.engine.victim import CALLS, WIDTH

    chance = random.Random(7)
    place = Place()
    log = place.path / "paid.log"
    paid_again = lost = killed = 0
    while killed < times:
        log.write_text("")
        (place.path / "STATE" / "answers.sqlite").unlink(missing_ok=True)
        for _ in range(min(5, times - killed)):
            process = _victim(log)
            wanted = chance.uniform(0, CALLS)
            while len(log.read_text().splitlines()) < wanted and process.poll() is None:
                time.sleep(0.002)
            process.kill()
            process.communicate()
            killed += 1
        out, _ = _victim(log).communicate(timeout=120)
        lost += CALLS - len(out.split()[4:])  # begin, status, calls, cached
        paid_again += sum(n - 1 for n in Counter(log.read_text().splitlines()).values())
    place.close()
    row(
        f"{killed} kills: calls paid twice",
        f"{paid_again}",
        f"at most {killed * WIDTH} were in flight; {lost} answers lost",
        "(goal in flight, 0)",
    )


def _victim(log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.engine.victim", str(log)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
