"""Answers that a cell made to cost time, or to be something else than it says."""

from __future__ import annotations

import time

import pytest

from tests.engine.conftest import Desks, cell, run, scripted

SLOW = """
class Slow:
    def __getitem__(self, key):
        while True: pass
    def __repr__(self):
        while True: pass
    __str__ = __repr__
class Holds(dict):
    def __getitem__(self, key):
        while True: pass
    get = __getitem__
"""


@pytest.mark.parametrize(
    "answer",
    [
        "answer = Slow()",
        "answer = {'content': Slow(), 'ready': True}",
        "answer = Holds(content='x' * 2_000_000, ready=True)",
        "answer['content'], answer['ready'] = [Slow()] * 3, True",
    ],
)
def test_a_hostile_answer_costs_no_more_than_the_time_of_its_cell(desk: Desks, answer: str) -> None:
    async def go() -> None:
        async with desk(cell_seconds=0.5) as d:
            d.use(scripted([cell(f"len(repo)\n{SLOW}{answer}"), cell("FINAL('fine')")]))
            began = time.monotonic()
            result = await d.workspace.run_query("How many?", mode="recursive")
            assert (result.status, result.answer) == ("complete", "fine")
            assert time.monotonic() - began < 8, "each order for a variable may take 20 s"

    run(go())


def test_a_long_answer_that_is_no_text_is_taken_as_its_text(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            code = "len(repo)\nanswer['content'], answer['ready'] = list(range(300_000)), True"
            d.use(scripted([cell(code)]))
            result = await d.workspace.run_query("Which?", mode="recursive")
            assert result.answer == str(list(range(300_000)))
            assert "answer_text" not in d.of("turn")[0]["shown"]

    run(go())
