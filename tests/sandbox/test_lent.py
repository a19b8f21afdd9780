"""Host functions and tools that are lent to an environment."""

from __future__ import annotations

from typing import Any

import pytest

from rlm_mcp.errors import BadRequest, BudgetSpent, SandboxError
from rlm_mcp.sandbox import HostFunctionError, Sandbox, SandboxLimits
from tests.sandbox.conftest import Make

TOOL = '''
"""A tool."""
from rlm_mcp.sdk import Text, grep

def count(pattern: str, limit: int = 3) -> Text:
    """Count."""
    print("working")
    return Text(f"{pattern}:{limit}")
'''


def test_host_functions_get_plain_values_and_give_them(make: Make) -> None:
    seen: list[Any] = []

    def take(*values: Any, **named: Any) -> Any:
        seen.append((values, named))
        return {"a": [1, (2, 3)]}

    outcome = make(host={"take": take}).execute("take([1, (2,)], k={'x': None})")
    assert seen == [(([1, [2]],), {"k": {"x": None}})]
    assert outcome.value == {"a": [1, [2, 3]]}


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (HostFunctionError("no such ref; try repo:"), "HostError: no such ref; try repo:"),
        (BudgetSpent("budget of 20 calls spent", limit="calls", value=20), "budget of 20 calls"),
        (KeyError("x"), "failed in the host (KeyError"),
    ],
)
def test_an_error_of_a_host_function_is_one_sentence_in_the_cell(
    make: Make, raised: Exception, said: str
) -> None:
    def fail() -> None:
        raise raised

    box = make(host={"fail": fail})
    outcome = box.execute("fail()")
    assert outcome.error and said in outcome.error
    caught = box.execute("try:\n    fail()\nexcept RuntimeError as e:\n    print('caught', e)")
    assert caught.stdout.startswith("caught")


def test_wrong_arguments_of_a_host_function_are_a_type_error(make: Make) -> None:
    outcome = make(host={"one": lambda a: a}).execute("one(1, 2)")
    assert outcome.error and "TypeError: one(): too many positional arguments" in outcome.error


def test_a_host_function_that_is_cancelled_passes_it_on_and_the_next_cell_runs(
    make: Make,
) -> None:
    def cancel() -> None:
        raise KeyboardInterrupt

    box = make(host={"cancel": cancel})
    box.execute("x = 3")
    with pytest.raises(KeyboardInterrupt):
        box.execute("cancel()")
    assert box.execute("x").value == 3


def test_a_host_function_may_run_a_cell_of_another_environment(make: Make) -> None:
    inner = make()
    outer = make(host={"child": lambda code: inner.execute(code).value})
    assert outer.execute("[child(f'{i} * 2') for i in range(3)]").value == [0, 2, 4]


def test_a_host_function_that_runs_its_own_environment_is_refused(make: Make) -> None:
    boxes: list[Sandbox] = []
    boxes.append(make(host={"again": lambda: boxes[0].execute("1").value}))
    outcome = boxes[0].execute("again()")
    assert outcome.error and "busy with the cell that made this call" in outcome.error


def test_tools_are_called_by_name_with_their_shown_form(make: Make) -> None:
    box = make(tools={"count": TOOL})
    outcome = box.call_tool("count", {"pattern": "x"})
    assert (outcome.shown, outcome.stdout, outcome.error) == ("x:3", "working\n", None)
    assert box.execute("count('y', limit=1)").value == "y:1"
    wrong = box.call_tool("count", {"patern": "x"})
    assert wrong.error and "count(): missing a required argument: 'pattern'" in wrong.error
    with pytest.raises(BadRequest, match="Did you mean count"):
        box.call_tool("cuont", {})


@pytest.mark.parametrize(
    "source",
    ["def other(): pass", "import os\nos.system('x')", "def t(:", "x = ().__class__.__base__"],
)
def test_a_tool_that_cannot_be_loaded_is_refused_by_name(make: Make, source: str) -> None:
    with pytest.raises(SandboxError, match="The tool t cannot be loaded"):
        make(tools={"t": source})


def test_a_tool_cannot_be_changed_by_a_cell_for_the_next_call(make: Make) -> None:
    box = make(tools={"count": TOOL})
    box.execute("count = lambda pattern: 'mine'\nscan = 1")
    assert box.call_tool("count", {"pattern": "x"}).shown == "x:3"


def test_a_batch_of_long_prompts_reaches_the_host_and_a_larger_one_is_refused(make: Make) -> None:
    box = make(host={"measure": lambda prompts: [len(prompt) for prompt in prompts]})
    assert box.execute("measure(['x' * 100_000] * 64)").value == [100_000] * 64
    refused = box.execute("measure(['x' * 1_000_000] * 40)")
    assert "pass refs instead of texts" in (refused.error or "")
    assert box.execute("print(6*7)").stdout == "42\n"


def test_a_call_whose_text_takes_too_many_bytes_is_refused_where_it_is_made() -> None:
    limits = SandboxLimits(call_bytes=1 << 21)
    with Sandbox(limits=limits, host={"probe": lambda text: len(text)}) as box:
        done = box.execute('x = 1\nprobe("\U0001f600" * 2_000_000)')
        assert "pass refs instead of texts" in str(done.error)
        assert not done.killed
        assert box.get_variable("x") == 1
