"""A killed run goes on from where it was; a run that is repeated pays nothing."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.engine.conftest import Desks, cell, run, scripted
from tests.engine.victim import CALLS, WIDTH

ROOT = Path(__file__).parents[2]
KILLS = 6


def begin(log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.engine.victim", str(log)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    return process


def paid(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines())


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_run_pays_only_the_calls_in_flight_again(tmp_path: Path) -> None:
    log = tmp_path / "paid.log"
    log.touch()
    chance = random.Random(20_261_121)
    for kill in range(KILLS):
        process = begin(log)
        wanted = CALLS * (kill + chance.random()) / KILLS
        while sum(paid(log).values()) < wanted and process.poll() is None:
            time.sleep(0.002)
        process.kill()
        process.communicate()
    process = begin(log)
    out, _ = process.communicate(timeout=60)
    status, _, cached, answer = out.split(" ", 3)
    assert status == "complete"
    assert answer.split() == [f"part-{n}" for n in range(CALLS)]
    counts = paid(log)
    again = sum(count - 1 for count in counts.values())
    assert again <= KILLS * WIDTH
    assert sum(counts.values()) <= CALLS + 3 + KILLS * WIDTH
    assert int(cached) > 0

    before = sum(counts.values())
    out, _ = begin(log).communicate(timeout=60)
    assert out.startswith(f"complete 0 {CALLS + 3} ")
    assert sum(paid(log).values()) == before


def test_a_second_run_of_a_map_makes_no_call(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            model = scripted(
                [
                    cell("a = llm_query_batched([f'q{i}' for i in range(64)])\nprint(len(repo))"),
                    cell("FINAL(str(a.done))"),
                ]
            )
            d.use(model)
            first = await d.workspace.run_query("How many?", mode="recursive")
            again = await d.workspace.run_query("How many?", mode="recursive")
            assert (first.calls, first.cached, first.answer) == (66, 0, "64")
            assert (again.calls, again.cached, again.answer) == (0, 66, "64")
            assert again.seconds < 5
            fresh = await d.workspace.run_query("How many?", mode="recursive", fresh=True)
            assert fresh.calls == 66

    run(go())
