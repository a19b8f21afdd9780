"""The cell that the embedded model writes as a root model: plain code for the environment.

The modules of this folder are that code. They run in the sandbox like any model's cell, joined
into one text with the parts of the question before them, and use only what every cell has.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm_mcp.models.extractive.question import Question

PARTS: dict[str, tuple[str, ...]] = {
    "report": (), "relations": (), "counts": (), "code": (), "project": ("repo", "text"),
    "pending": ("repo",), "past": ("history",), "memory": ("session",), "tallies": ("logs",),
    "log_tables": ("logs",), "answer": (),
}  # fmt: skip
"""The modules in their order, and for which kinds of variables a cell needs them; () for all."""

_BEFORE = """\
from types import SimpleNamespace as Question

asked = Question({asked})
bound, absent = dict(), []
"""
_BIND = """\
try:
    bound["{name}"] = ("{kind}", {name})
except NameError:
    absent.append("{name}")
"""
_AFTER = """
report = Report()
stage(look, report, asked, bound, absent)
found = report.text()
answer["content"] = {notice!r} + "\\n\\n" + found if found else {nothing!r}
answer["ready"] = True
print(len(report.facts), "facts,", len(report.parts), "passages")
"""


def write(question: Question, places: Sequence[tuple[str, str]], notice: str, nothing: str) -> str:
    """Return the cell that answers a question from variables, (name, kind) each."""
    wanted = list(places)
    of_code = not wanted or any("repo" in place for place in wanted)
    if "past" in question.about and of_code and ("history", "history") not in wanted:
        wanted.append(("history", "history"))
    parts = ", ".join(f"\n    {key}={value!r}" for key, value in asdict(question).items())
    bind = "".join(_BIND.format(name=name, kind=kind) for name, kind in wanted)
    after = _AFTER.format(notice=notice, nothing=nothing)
    joined = _joined(frozenset(kind for _, kind in wanted))
    return _BEFORE.format(asked=parts) + bind + "\n" + joined + "\n\n" + after


@cache
def _joined(kinds: frozenset[str]) -> str:
    """Return the modules that some kinds need as one text, each import in it once."""
    imports: dict[str, None] = {}
    bodies = []
    for name, needed in PARTS.items():
        if needed and kinds.isdisjoint(needed):
            continue
        source = files(__package__).joinpath(f"{name}.py").read_text(encoding="utf-8")
        lines, last = source.split("\n"), 0
        for node in ast.parse(source).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                last = node.end_lineno or last
                imports.update(dict.fromkeys(_kept(node)))
        bodies.append("\n".join(lines[last:]).strip("\n"))
    return "\n".join(sorted(imports)) + "\n\n\n" + "\n\n\n".join(bodies)


def _kept(node: ast.Import | ast.ImportFrom) -> Iterable[str]:
    """Return an import as lines of a cell, one for each name."""
    if isinstance(node, ast.Import):
        return [f"import {alias.name}" for alias in node.names]
    if node.module is None or node.module.startswith(("__future__", "rlm_mcp.models")):
        return []
    return [f"from {node.module} import {alias.name}" for alias in node.names]
