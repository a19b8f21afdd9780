"""The corpus of ordinary cells, its inputs, and the same cells run by CPython itself.

`python -m tests.sandbox.cells_corpus` runs every cell in CPython and prints the results as JSON.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlm_mcp.sandbox import Attachment, Sandbox, SandboxLimits

FOLDER = Path(__file__).parent / "cells"


@dataclass(frozen=True)
class Cell:
    """One cell: `id` is category/title."""

    id: str
    code: str


@dataclass(frozen=True)
class Result:
    """What a cell printed, its last value, and the last line of its error."""

    stdout: str
    value: str | None
    error: str | None


def cells() -> list[Cell]:
    """Return the corpus."""
    found = []
    for path in sorted(FOLDER.glob("*.py")):
        for part in path.read_text("utf-8").split("# %% ")[1:]:
            title, _, code = part.partition("\n")
            found.append(Cell(f"{path.stem}/{title.strip()}", code))
    return found


def texts() -> dict[str, str]:
    """Return the inputs that every cell finds as variables; always the same."""
    chance = random.Random(5)
    lines = []
    for i in range(220):
        level = chance.choice(["INFO", "INFO", "INFO", "WARN", "ERROR"])
        who = chance.choice(["worker", "db", "api"])
        what = chance.choice(
            [
                f"request from 10.0.{chance.randrange(4)}.{chance.randrange(9)} status=20{i % 5}",
                f"query took {chance.randrange(10, 400)} ms code={chance.randrange(100, 600)} ok",
                f"timeout after {chance.randrange(1, 9)} s status=50{i % 4}",
                f"job {chance.getrandbits(32):08x} done in 0.{i} s",
            ]
        )
        lines.append(f"2024-03-01 10:{i // 8:02d}:{i * 7 % 60:02d} {level} {who}: {what}")
        if i == 90:
            lines += [
                "Traceback (most recent call last):",
                '  File "x.py", line 3',
                "ValueError: bad",
            ]
    logs = "\n".join(lines) + "\n"
    prose = (
        "# Notes\n\nThe worker is naïve: it retries, then ERROR db code=17 again.\n"
        "level noon kayak, rotor; 3 ms, 4 s\n\nBEGIN one\ntwo\nthree END\n\n"
        "# Second\n\nplain text\n\n"
    )
    turns = [
        {"role": "user", "text": "Always run the tests first.", "at": "2024-03-01T10:00:00"},
        {"role": "assistant", "text": "I decide to use sqlite.", "tokens": 120,
         "tools": [{"name": "bash", "args": {"command": "make test"}, "ok": False}],
         "at": "2024-03-01T10:01:10"},
        {"role": "user", "text": "No, use postgres instead. TODO(migrate)",
         "at": "2024-03-01T10:03:00"},
        {"role": "assistant", "text": "I decide to use postgres. TODO(docs)", "tokens": 240,
         "tools": [{"name": "edit", "args": {"path": "db.py"}, "ok": True},
                   {"name": "bash", "args": {"command": "make test"}, "ok": True}],
         "at": "2024-03-01T10:04:30"},
        {"role": "user", "text": "Never push. DONE(migrate)", "at": "2024-03-01T10:05:00"},
    ]  # fmt: skip
    source = '''"""A small module."""

import os
from json import loads, dumps

LIMIT = 3


def fetch(url, retries=3):
    """Fetch a page."""  # TODO: real one
    for i in range(retries):
        if url and i:
            return loads(dumps(url))
    return None


async def later(x):
    return x


def main():
    return fetch("a") or helper()


def helper():
    return len("x")  # TODO remove


class Client(object):
    """Talks."""

    def get(self, path):
        try:
            return fetch(path)
        except ValueError:
            return print(os.sep)
'''
    return {
        "context": prose + logs,
        "logs": logs,
        "session": "\n".join(json.dumps(turn) for turn in turns) + "\n",
        "table": "name,kind,price,count\napple,fruit,1.20,10\npear,fruit,0.95,4\n"
        "carrot,root,0.30,50\nkale,leaf,2.05,3\n",
        "document": '{"users": [{"name": "Ada", "age": 36}, {"name": "Bob", "b": [1, 2]}]}',
        "jsonl": '{"n": 1, "a": "x"}\n{"n": 2}\n\n{"n": 39}\n',
        "source": source,
    }


def documents() -> list[dict[str, Any]]:
    """Return the input `docs`."""
    return [
        {"name": "a", "text": "first text about apples", "tags": ["x", "b"], "year": 2021},
        {
            "name": "b",
            "text": "second, longer text about boats and bees",
            "tags": ["b"],
            "year": 2020,
        },
        {"name": "c", "text": "third", "tags": ["z", "x"], "year": 2021},
    ]


def functions() -> dict[str, Callable[..., Any]]:
    """Return the functions that cells call: in CPython as they are, in the sandbox on the host."""

    def llm_query(prompt: str) -> str:
        return f"<{len(prompt)}:{prompt[-12:]}>"

    def grep(pattern: str) -> list[str]:
        return [line for line in texts()["context"].split("\n") if pattern in line]

    return {
        "llm_query": llm_query,
        "llm_query_batched": lambda prompts: [llm_query(prompt) for prompt in prompts],
        "grep": grep,
    }


def by_cpython(cell: Cell) -> Result:
    """Run a cell as plain Python, the way a notebook does."""
    space: dict[str, Any] = {"__name__": "__main__", **texts(), **functions()}
    space["docs"] = documents()
    out = io.StringIO()
    value = error = None
    with contextlib.redirect_stdout(out):
        try:
            tree = ast.parse(cell.code)
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "cell", "exec", dont_inherit=True), space)
            if isinstance(last, ast.Expr):
                found = eval(
                    compile(ast.Expression(last.value), "cell", "eval", dont_inherit=True), space
                )
                value = None if found is None else repr(found)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
    return Result(out.getvalue(), value, error)


def sandbox_for_cells() -> Sandbox:
    """Return an environment with the same inputs; the texts are mapped contexts."""
    lent = {f"lent_{name}": function for name, function in functions().items()}
    made = Sandbox(limits=SandboxLimits(seconds=20), host=lent)
    # The names of tools are not lent: a cell binds them to what stands in for the tools here.
    made.execute("\n".join(f"{name} = lent_{name}" for name in functions()))
    for name, text in texts().items():
        with tempfile.TemporaryFile() as file:
            data = text.encode()
            file.write(data)
            file.flush()
            source = (file.fileno(), [(0, len(data))], 1)
            made.attach_variable(name, Attachment("text", name, source, {}))
    made.set_variable("docs", documents())
    return made


def by_sandbox(cell: Cell) -> Result:
    """Run a cell in a fresh environment."""
    with sandbox_for_cells() as made:
        outcome = made.execute(cell.code)
    error = outcome.error.rsplit("\n", 1)[-1] if outcome.error else None
    return Result(outcome.stdout, outcome.value_repr, error)


if __name__ == "__main__":
    json.dump({cell.id: vars(by_cpython(cell)) for cell in cells()}, sys.stdout)
