"""The engine: fan-out, overhead, prompt caching, re-runs, failures, spending, logs, kills.

Everything goes through the real Anthropic SDK and real HTTP to the simulated server on loopback,
in a process of its own, whose prompt cache bills as the maker's does. Times stand beside a bare
asynchronous client of the same SDK in this process, taken in turn. `--kills 50` repeats the kill
test that often.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.engine_kills import kills  # noqa: E402
from bench.engine_place import MODEL, Place, row  # noqa: E402
from bench.simulated import Served, Simulated  # noqa: E402
from rlm_mcp.engine import Result, Workspace  # noqa: E402
from tests.sim.faults import Fault, FaultKind  # noqa: E402

N = 64
LATENCY_S = 0.2

MAP = (
    "print(len(context), outline('repo', 5).total)",
    "print(grep('needle', limit=5).total)",
    f"texts = ['Count the needles: part ' + str(n) for n in range({N})]\n"
    "answers = llm_query_batched(texts)\nprint(len(answers))",
    "total = sum(int(a) for a in answers)\nprint(total)",
    "FINAL(str(total))",
)


async def ask(workspace: Workspace, question: str, **more: Any) -> tuple[Result, float]:
    """Carry out one run; return it with the seconds that the caller waited."""
    began = time.perf_counter()
    result = await workspace.run_query(question, mode="recursive", **more)
    return result, time.perf_counter() - began


async def bare(sim: Simulated, turns: int, calls: int) -> float:
    """Do what a run does with nothing around it: `turns` calls in a row, `calls` at once."""
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(base_url=sim.url, api_key="x", max_retries=0) as client:

        async def one(text: str) -> None:
            await client.messages.create(
                model="claude-haiku-5-5",
                max_tokens=100,
                messages=[{"role": "user", "content": text}],
            )

        await one("warm the connection")
        began = time.perf_counter()
        for number in range(turns - 2):
            await one(f"turn {number}")
        await asyncio.gather(*(one(f"part {n}") for n in range(calls)))
        for number in range(min(2, turns)):
            await one(f"last {number}")
        return time.perf_counter() - began


async def fan_out(rounds: int) -> None:
    """64 sub-calls of 200 ms in a run of 5 turns, beside a bare client doing the same."""
    ours, floor, spans, floors = [], [], [], []
    place = Place()
    with Simulated(MAP, latency_s=LATENCY_S) as sim:
        workspace = place.workspace(concurrency=N)
        try:
            await ask(workspace, "warm up?", fresh=True)
            for number in range(rounds):
                sim.calls()
                floor.append(await bare(sim, 5, N))
                floors.append(_map(sim.calls()))
                result, seconds = await ask(workspace, f"How many, {number}?", fresh=True)
                assert (result.status, result.answer) == ("complete", str(2 * N)), result
                ours.append(seconds)
                spans.append(_map(sim.calls()))
        finally:
            await workspace.close()
            place.close()
    run, same = statistics.median(ours), statistics.median(floor)
    span, floor_span = statistics.median(spans), statistics.median(floors)
    row(
        f"run of 5 turns and {N} calls of {LATENCY_S * 1e3:.0f} ms",
        f"{run:.3f} s",
        f"bare client {same:.3f} s",
        f"{run / same:.2f}x (goal 1.1x)",
    )
    row(
        f"  the {N} calls alone, from reply to next request",
        f"{span:.3f} s",
        f"bare client {floor_span:.3f} s",
        f"{span / floor_span:.2f}x (goal 1.1x)",
    )


def _map(calls: Sequence[Served]) -> float:
    """Return the time between the reply before a fan-out and the request that follows it.

    (From the first call that is sent it would look shorter for a client that prepares all of them
    before it sends any, and longer for one that sends two ahead.)
    """
    in_turn = sorted(calls, key=lambda call: call.began_s)
    return in_turn[-2].began_s - in_turn[-N - 3].ended_s


def _span(calls: Sequence[Served]) -> float:
    return max(call.ended_s for call in calls) - min(call.began_s for call in calls)


FINISH = {
    "rlms": "answer['content'] = str(total)\nanswer['ready'] = True",
    "dspy": "SUBMIT(answer=str(total))",
}
"""How each peer's last cell hands over the answer."""


async def peer(name: str, python: str, rounds: int) -> None:
    """Another library on the same script: its own cells, the same calls and latencies."""
    what = f"  {name} on the same script (a process of its own)"
    has = [python, "-c", f"import {'rlm' if name == 'rlms' else name}"]
    if subprocess.run(has, capture_output=True).returncode:
        row(what, "not installed", "pip install rlm-mcp[peers], or --peers")
        return
    look = ("print(len(context), context[:200])", "print(context.count('needle'))")
    script = (*look, MAP[2], MAP[3], FINISH[name])
    with Simulated(script, latency_s=LATENCY_S, form=name) as sim:
        process = await asyncio.create_subprocess_exec(
            *(python, str(ROOT / "bench" / "peers.py"), name, sim.url, "1.0", str(rounds)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, said = await process.communicate()
        calls = sim.calls()
    if process.returncode:
        row(what, "did not run", said.decode().strip().rpartition("\n")[2][:60])
        return
    done = json.loads(out.splitlines()[-1])
    assert set(done["answers"]) == {str(2 * N)}, done
    spans = [_span(round) for round in _rounds(calls)]
    row(
        what,
        f"{statistics.median(done['seconds']):.3f} s",
        f"{N} calls in {statistics.median(spans):.3f} s",
        f"{len(calls) // (rounds + 1)} calls a run",
    )


def _rounds(calls: Sequence[Served]) -> list[list[Served]]:
    """Return the sub-calls of each run, the first run left out."""
    subs = [call for call in calls if not call.root]
    return [subs[at : at + N] for at in range(N, len(subs), N)]


async def overhead(rounds: int) -> None:
    """The time between a reply and the next root request, and after the last reply."""
    place = Place()
    gaps: list[float] = []
    floor: list[float] = []
    tails: list[float] = []
    cells = (*["x = 1"] * 24, "print(len(context))\nFINAL('x')")
    with Simulated(cells) as sim:
        workspace = place.workspace()
        try:
            await ask(workspace, "warm up?", fresh=True)
            for number in range(rounds):
                sim.calls()
                await bare(sim, 25, 0)
                floor += _gaps(sim.calls()[1:])
                await ask(workspace, f"again {number}?", fresh=True)
                ended_s = time.monotonic()
                calls = sim.calls()
                tails.append(ended_s - calls[-1].ended_s)
                gaps += _gaps(calls)
        finally:
            await workspace.close()
            place.close()
    ours, same, tail = map(statistics.median, (gaps, floor, tails))
    row(
        "gap between a reply and the next root request",
        f"{ours * 1e3:.1f} ms",
        f"bare client {same * 1e3:.1f} ms",
        f"{(ours - same) * 1e3:.1f} ms of our own (goal 5 ms)",
    )
    row(
        "after the last reply",
        f"{tail * 1e3:.1f} ms",
        f"worst of {len(tails)}: {max(tails) * 1e3:.1f} ms",
        "(goal 20 ms)",
    )


def _gaps(calls: Sequence[Served]) -> list[float]:
    return [after.began_s - before.ended_s for before, after in itertools.pairwise(calls)]


async def wire_cache() -> None:
    """What 25 turns of a root are billed for input, beside the same without caching."""
    place = Place()
    cells = (*["print(grep('needle', limit=8).shown)"] * 24, "FINAL('x')")
    with Simulated(cells) as sim:
        workspace = place.workspace()
        try:
            await ask(workspace, "How many?", fresh=True)
        finally:
            await workspace.close()
            place.close()
        calls = sim.calls()
    usage = Counter[str]()
    for call in calls:
        usage.update(call.usage)
    fresh, read = usage["input_tokens"], usage["cache_read_input_tokens"]
    written = usage["cache_creation_input_tokens"]
    whole = fresh + read + written
    billed = fresh + 0.1 * read + 1.25 * written
    row(
        "billed root input over 25 turns",
        f"{billed / whole:.3f}x",
        f"{whole:,} tokens sent, billed as {billed:,.0f}",
        "(goal 0.25x)",
    )


async def again() -> None:
    """A run over a map that was made before."""
    place = Place()
    with Simulated(MAP) as sim:
        for number in range(2):
            workspace = place.workspace()
            try:
                sim.calls()
                result, seconds = await ask(workspace, "How many?")
            finally:
                await workspace.close()
            if number:
                row(
                    f"the same run of {N} calls again, in a new process state",
                    f"{len(sim.calls())} calls, {seconds:.3f} s",
                    f"answer {result.answer}, {result.cached} from the cache",
                    "(goal 0 calls, 0.3 s)",
                )
    place.close()


async def dead() -> None:
    """A provider that answers the root and fails every sub-call, and one that is wholly dead.

    One that takes as long to fail as to answer can be sent the whole width, here the default one.
    """
    dying: list[tuple[str, FaultKind, int, float, int]] = [
        ("sub-calls fail with 500", "error", 3, 0.0, N),
        ("sub-calls fail with 500 after 200 ms", "error", 3, LATENCY_S, 16),
        ("all fails from amid the sub-calls on", "error", 20, LATENCY_S, 16),
        ("everything fails with 529", "overloaded", 0, 0.0, N),
    ]
    for what, kind, when, latency_s, width in dying:
        place = Place()
        faults = [Fault(kind, range(when + 1, 10_000))]
        with Simulated(MAP, latency_s=latency_s, faults=faults) as sim:
            workspace = place.workspace(concurrency=width)
            try:
                result, seconds = await ask(workspace, "How many?", fresh=True)
            finally:
                await workspace.close()
                place.close()
            sent = len(sim.calls()) - when
        row(
            f"dead provider: {what}",
            f"{sent} calls, {result.status}",
            f"{seconds:.1f} s, answer {result.answer!r}",
            "(goal 16 calls, failed)",
        )


async def cap() -> None:
    """Spending against a cap that 64 calls at their worst would pass many times over."""
    place = Place()
    with Simulated(MAP):
        workspace = place.workspace(max_usd=0.1, concurrency=N)
        try:
            result, _ = await ask(workspace, "How many?", fresh=True)
        finally:
            await workspace.close()
            place.close()
    over = max(0.0, (result.cost_usd or 0.0) - 0.1)
    row(
        "spending over a cap of $0.10",
        f"${over:.4f} over",
        f"spent ${result.cost_usd:.4f}",
        "(goal 0)",
    )


async def log_size() -> None:
    """The trajectory of a run of 25 turns over 10 MB."""
    place = Place(10.0)
    cells = (*["print(grep('needle', limit=8).shown)"] * 24, "FINAL('x')")
    with Simulated(cells):
        workspace = place.workspace()
        try:
            result, _ = await ask(workspace, "How many?", fresh=True)
        finally:
            await workspace.close()
    size = (place.path / "STATE" / "runs" / f"{result.run}.jsonl").stat().st_size
    place.close()
    row("trajectory of 25 turns over 10 MB", f"{size / 1e3:.0f} KB", "", "(goal < 1 MB)")


async def measure(rounds: int, peers: str) -> None:
    """Take everything that runs in this process."""
    await fan_out(rounds)
    for name in FINISH:
        await peer(name, peers, rounds)
    await overhead(rounds)
    await wire_cache()
    await again()
    await dead()
    await cap()
    await log_size()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument(
        "--peers", default=sys.executable, help="a Python that has rlms or dspy, to run beside"
    )
    chosen = parser.parse_args()
    os.environ["ANTHROPIC_API_KEY"] = "simulated"
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    print(f"engine: {json.dumps({'python': sys.version.split()[0], 'model': MODEL})}")
    asyncio.run(measure(chosen.rounds, chosen.peers))
    kills(chosen.kills)


if __name__ == "__main__":
    main()
