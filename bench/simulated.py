"""The simulated server in a process of its own, as a provider is.

In the process of its clients it would compete with them for the interpreter's lock, and its
share of their time would be measured as theirs. Times are of the monotonic clock, which all
processes of a machine share.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Callable, Collection, Mapping
from multiprocessing.connection import Connection
from typing import NamedTuple

from tests.sim.call import Call, Logged, Say
from tests.sim.faults import Fault
from tests.sim.server import SimServer

ROOT_SYSTEM_CHARS = 2_000
"""A root model's system text is longer than this, a sub-model's shorter."""


DSPY = (
    "[[ ## reasoning ## ]]\nNext.\n\n[[ ## code ## ]]\n```python\n{code}\n```\n\n"
    "[[ ## completed ## ]]"
)


class Served(NamedTuple):
    """One model call as the server saw it: begun and ended by its clock, in seconds."""

    began_s: float
    ended_s: float
    root: bool
    usage: Mapping[str, int]


class Simulated:
    """A context manager: a server whose root writes `cells` and whose sub-model answers 2."""

    def __init__(
        self,
        cells: tuple[str, ...],
        *,
        latency_s: float = 0.0,
        faults: Collection[Fault] = (),
        form: str = "",
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, cells, latency_s, faults, form))

    def __enter__(self) -> Simulated:
        self._process.start()
        self.url: str = self._pipe.recv()
        os.environ["ANTHROPIC_BASE_URL"] = self.url
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(False)
        self._process.join()

    def calls(self) -> list[Served]:
        """Return the model calls since the last time this was asked, in the order they came."""
        self._pipe.send(True)
        served: list[Served] = self._pipe.recv()
        return served


def _serve(
    pipe: Connection, cells: tuple[str, ...], latency_s: float, faults: list[Fault], form: str
) -> None:
    with SimServer(mind(cells, form), latency_s=latency_s, faults=faults) as sim:
        pipe.send(sim.url)
        told = 0
        while pipe.recv():
            new = sim.calls[told:]
            told += len(new)
            pipe.send([_served(log) for log in new])


def _served(log: Logged) -> Served:
    counts = {name: value for name, value in log.usage.items() if isinstance(value, int)}
    system = log.body.get("system") or [  # of a chat completion, it stands among the messages
        message["content"] for message in log.body["messages"] if message["role"] == "system"
    ]
    return Served(log.began_s, log.ended_s, len(str(system)) > ROOT_SYSTEM_CHARS, counts)


def mind(cells: tuple[str, ...], form: str = "") -> Callable[[Call], Say | str]:
    """Return a root that writes these cells in turn, and a sub-model that answers 2.

    `form` is the library that reads them: dspy wants fields, and repeats no earlier reply.
    """
    asked = itertools.count()

    def answer(call: Call) -> Say | str:
        if len(call.system) <= ROOT_SYSTEM_CHARS:
            return "2"
        if form == "dspy":
            code = cells[next(asked) % len(cells)]
            return DSPY.format(code=code)
        return f"```repl\n{cells[min(call.replies, len(cells) - 1)]}\n```"

    return answer
