"""Cells that are stopped or killed, and what their environment gets back."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from rlm_mcp.sandbox import SandboxLimits
from tests.sandbox.conftest import Make

GENEROUS_S = 20.0
KILL = "import itertools\n-1 in itertools.count()"


def test_a_cell_that_can_be_stopped_keeps_its_variables(make: Make) -> None:
    box = make()
    outcome = box.execute("z = 1\nwhile True: z += 1", seconds=0.3)
    assert outcome.interrupted and not outcome.killed
    assert outcome.error and "longer than 0.3 s" in outcome.error
    assert outcome.seconds < GENEROUS_S
    assert box.execute("z > 1").value is True


@pytest.mark.parametrize(
    "code",
    [
        "import itertools\n-1 in itertools.count()",
        "from contextlib import suppress\nwhile True:\n    with suppress(BaseException):\n"
        "        while True: pass",
        "import time\nwhile True:\n    try:\n        time.sleep(60)\n"
        "    except BaseException: pass",
        "def f():\n    try:\n        while True: pass\n    finally:\n        f()\nf()",
    ],
)
def test_a_cell_that_does_not_stop_is_told_of_and_the_next_one_runs(make: Make, code: str) -> None:
    box = make()
    box.execute("kept = {'a': [1, 2]}")
    outcome = box.execute(code, seconds=0.3)
    assert outcome.killed or outcome.interrupted or outcome.error
    assert outcome.seconds < GENEROUS_S
    assert box.execute("kept").value == {"a": [1, 2]}


def test_a_killed_environment_is_restored_from_its_journal(make: Make) -> None:
    box = make(host={"twice": lambda value: value * 2})
    box.execute(
        "import re, json as j\nfrom collections import Counter, defaultdict, deque\n"
        "from dataclasses import dataclass\n"
        "a = [1, (2, {3}), b'x', None, 1.5, 'é']\nb = a\nc = Counter('hello')\n"
        "d = defaultdict(list)\nd['k'].append(1)\nq = deque([1, 2], maxlen=2)\n"
        "def f(x, y=2):\n    '''Doc.'''\n    return x + y + len(a)\n"
        "g = lambda x: x * 3\nP = re.compile(r'\\d+')\n"
        "@dataclass\nclass D:\n    x: int = 1\n    def up(self): return self.x + 1\n"
    )
    box.set_variable("answer", {"content": "", "ready": False})
    outcome = box.execute(KILL, seconds=0.2)
    assert outcome.killed and outcome.lost == ()
    assert outcome.error and "as they were before this cell" in outcome.error
    box.execute("b.append(9)\nd['new'].append(2)\nq.append(3)")
    outcome = box.execute(
        "a[-1], f(1), g(2), P.findall('a12'), D().up(), c['l'], d['new'], list(q), "
        "j.dumps(1), answer['ready'], twice('x')"
    )
    assert outcome.value == [9, 10, 6, ["12"], 2, 2, [2], [2, 3], "1", False, "xx"], outcome


def test_what_cannot_be_restored_is_named(make: Make) -> None:
    box = make()
    box.execute(
        "def outer():\n    n = 1\n    def inner(): return n\n    return inner\n"
        "closure = outer()\ngenerator = (i for i in range(3))\nclass C: pass\n"
        "instance = C()\nlarge = 'x' * 9_000_000\nsmall = 1"
    )
    outcome = box.execute(KILL, seconds=0.2)
    assert set(outcome.lost) == {"closure", "generator", "instance", "large"}
    assert outcome.error and "Lost: closure" in outcome.error
    assert box.execute("small, C.__name__, outer()()").value == [1, "C", 1]


def test_changes_of_the_killed_cell_itself_are_not_restored(make: Make) -> None:
    box = make()
    box.execute("x = [1]")
    box.execute("x.append(2)\n" + KILL, seconds=0.2)
    assert box.execute("x").value == [1]


def test_a_definition_that_calls_the_host_is_not_replayed_for_ever(make: Make) -> None:
    calls: list[Any] = []
    box = make(host={"ask": calls.append, "note": lambda value: calls.append(value)})
    box.execute("def f(x=note('default')): return x\nkept = 1")
    assert calls == ["default"]
    outcome = box.execute(KILL, seconds=0.2)
    assert outcome.killed
    assert calls == ["default"], "a replay must not call the host again"
    assert any("def f" in name for name in outcome.lost)
    assert box.execute("kept").value == 1


def test_a_worker_that_dies_is_replaced_and_told_of(make: Make) -> None:
    box = make(language=False)
    box.execute("x = 1")
    outcome = box.execute("import os\nos._exit(3)")
    assert outcome.killed and outcome.error and "worker died" in outcome.error
    assert box.execute("print(6*7)").stdout == "42\n"


def test_memory_errors_are_errors_and_the_environment_goes_on(make: Make) -> None:
    box = make(limits=SandboxLimits(seconds=10, memory_mb=128))
    outcome = box.execute("x = []\nwhile True: x.append('y' * 1_000_000)")
    assert outcome.error is not None
    assert outcome.value_repr is None
    outcome = box.execute("'z' * 500_000_000")
    assert outcome.error and "MemoryError" in outcome.error
    box.execute("x = None")
    assert box.execute("print(6*7)").stdout == "42\n"


def test_an_interrupt_stops_a_cell_from_another_thread(make: Make) -> None:
    box = make()
    timer = threading.Timer(0.2, lambda: box.interrupt("the caller gave up"))
    timer.start()
    outcome = box.execute("n = 0\nwhile True: n += 1", seconds=60)
    timer.join()
    assert outcome.interrupted and outcome.error and "the caller gave up" in outcome.error
    assert box.execute("n > 0").value is True


def test_an_interrupt_kills_a_cell_that_ignores_it(make: Make) -> None:
    box = make()
    timer = threading.Timer(0.2, lambda: box.interrupt("stop"))
    timer.start()
    outcome = box.execute(KILL, seconds=60)
    timer.join()
    assert outcome.killed and outcome.error and "stop" in outcome.error
    assert outcome.seconds < GENEROUS_S


def test_an_interrupt_with_no_cell_running_does_nothing(make: Make) -> None:
    box = make()
    box.interrupt("early")
    assert box.execute("1 + 1").value == 2


def test_an_interrupt_during_a_host_call_is_seen_when_it_returns(make: Make) -> None:
    box = make(host={"slow": lambda: time.sleep(0.4)})
    timer = threading.Timer(0.1, lambda: box.interrupt("stop"))
    timer.start()
    outcome = box.execute("slow()\nafter = 1", seconds=60)
    timer.join()
    assert outcome.interrupted
    assert box.get_variable("after") is None


def test_the_clock_stands_still_while_the_host_works(make: Make) -> None:
    box = make(host={"slow": lambda: time.sleep(0.5)})
    outcome = box.execute("slow()\n'done'", seconds=0.4)
    assert outcome.value == "done"


def test_a_cell_ends_however_much_of_its_time_the_host_takes(make: Make) -> None:
    calls: list[float] = []

    def slow() -> None:
        calls.append(time.monotonic())
        time.sleep(0.1)

    box = make(host={"slow": slow})
    box.execute("kept = [1]")
    outcome = box.execute("while True: slow()", seconds=0.1)
    assert outcome.interrupted and not outcome.killed
    assert outcome.error and "longer than 1.8 s with its calls of the host" in outcome.error
    assert "18 times its limit of 0.1 s" in outcome.error and "make fewer" in outcome.error
    assert calls[-1] - calls[0] < 2, "no call is begun after that"
    assert box.execute("kept").value == [1]


def test_a_cell_that_does_not_stop_between_its_calls_is_killed(make: Make) -> None:
    box = make(host={"slow": lambda: time.sleep(0.1)})
    code = "while True:\n    try:\n        slow()\n    except BaseException: pass"
    outcome = box.execute(code, seconds=0.05)
    assert outcome.killed or outcome.interrupted
    assert outcome.error and "with its calls of the host" in outcome.error
    assert box.execute("print(6*7)").stdout == "42\n"


def test_waiting_for_models_is_not_counted_at_all(make: Make) -> None:
    waited = [0.0]

    def ask() -> None:
        time.sleep(0.3)
        waited[0] += 0.3

    box = make(host={"model": ask}, waited=lambda: waited[0])
    outcome = box.execute("for i in range(9): model()\n'done'", seconds=0.1)
    assert outcome.value == "done", outcome


def test_closing_ends_a_running_cell(make: Make) -> None:
    box = make()
    timer = threading.Timer(0.2, box.close)
    timer.start()
    outcome = box.execute("while True: pass", seconds=60)
    timer.join()
    assert outcome.killed and outcome.error and "closed" in outcome.error
