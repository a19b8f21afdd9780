"""Templates count the lines of a level as the lines themselves are levelled."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from rlm_mcp.logs import templates
from rlm_mcp.logs.log_formats import line_level


def access(r: random.Random) -> str:
    when, path, size = r.randrange(60), r.randrange(99), r.randrange(900)
    status = r.choice([200, 201, 304, 404, 418, 500, 503])
    asked = f'[01/Mar/2026:08:00:{when:02} +0100] "GET /a/{path} HTTP/1.1"'
    return f'10.0.0.{r.randrange(9)} - - {asked} {status} {size} "-" "c"'


def pino(r: random.Random) -> str:
    level, when = r.choice([10, 20, 30, 40, 50, 60]), r.randrange(10**11)
    return f'{{"level":{level},"time":17{when:011},"msg":"done in {r.randrange(99)} ms"}}'


def plain(r: random.Random) -> str:
    level, job = r.choice(["INFO", "WARN", "ERROR"]), r.randrange(999)
    return f"2026-03-01 08:00:0{r.randrange(9)} {level} job {job} took {r.random():.3f} s"


def kubernetes(r: random.Random) -> str:
    at = f"{r.randrange(24):02}:{r.randrange(60):02}:01.{r.randrange(10**6):06}"
    return f'{r.choice("DIWEF")}03{r.randrange(1, 29):02} {at}    {r.randrange(9)} k.go:7] "x {at}"'


@pytest.mark.parametrize("kind", [access, pino, plain, kubernetes])
def test_a_level_counts_the_lines_that_have_it(kind: Callable[[random.Random], str]) -> None:
    r = random.Random(3)
    lines = [kind(r) for _ in range(400)]
    data = "".join(f"{line}\n" for line in lines).encode()
    found, total, whole = templates.mine_templates([(0, 0, data, 0)], float("inf"))
    assert (total[0], whole) == (400, True)
    counts: Counter[str] = Counter()
    for item in found:
        counts[item.level] += item.count
    assert counts == Counter(line_level(line.encode()) for line in lines)


def test_first_and_last_are_where_the_lines_start() -> None:
    r = random.Random(4)
    lines = [access(r) for _ in range(60)]
    data = "".join(f"{line}\n" for line in lines).encode()
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    found, _, _ = templates.mine_templates([(0, 0, data, 0)], float("inf"))
    (errors,) = [item for item in found if item.level == "error"]
    failed = [line_level(line.encode()) == "error" for line in lines]
    places = [start for start, bad in zip(starts, failed, strict=False) if bad]
    assert (errors.first, errors.last) == ((0, places[0]), (0, places[-1]))
    assert "5xx" in errors.text


def test_priorities_of_an_exported_journal_are_kept_apart() -> None:
    record = "__REALTIME_TIMESTAMP=17000000000000{n:02}\nPRIORITY={p}\nMESSAGE=unit {n} failed\n\n"
    data = "".join(record.format(n=n, p=3 if n % 4 else 6) for n in range(40)).encode()
    found, _, _ = templates.mine_templates([(0, 0, data, 0)], float("inf"))
    counts = {item.text: item.count for item in found}
    assert counts["PRIORITY=3"] == 30 and counts["PRIORITY=6"] == 10
