"""A scripted agent: drives a real coding agent (the Claude Code CLI) through tool calls.

A script is a list of steps, `{"tool": "mcp__rlm__grep", "input": {...}}` or `{"say": "text"}`; with
`"from": {"run": "run (\\w+)"}` an input is taken from the last result by a regular expression. The
step is chosen by how many tool results the conversation holds, so that a retried request gets the
same reply. Requests without tools (titles, summaries, our own sub-queries) go to another mind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sim import minds
from tests.sim.call import Call, Mind, Say, ToolResult


@dataclass
class Agent:
    """A mind that calls the tools of its script in order, then says that it is done."""

    steps: Sequence[Mapping[str, Any]]
    other: Mind = minds.by_model
    results: list[ToolResult] = field(default_factory=list)
    """What the client's tools answered, as it was sent to the model."""

    def __call__(self, call: Call) -> Say | str:
        if not call.tools:
            return self.other(call)
        if len(call.results) > len(self.results):
            self.results = call.results
        done = len(call.results)
        if done >= len(self.steps):
            return "All steps are done."
        step = self.steps[done]
        if "say" in step:
            return str(step["say"])
        given = dict(step.get("input", {}))
        for name, pattern in step.get("from", {}).items():
            found = re.search(pattern, call.results[-1].text)
            given[name] = found[1] if found else f"nothing fits {pattern}"
        return Say("", ((str(step["tool"]), given),))

    def report(self) -> str:
        """Return the tool results, a JSON object a line."""
        return "".join(
            json.dumps({"tool": r.tool, "error": r.is_error, "text": r.text}) + "\n"
            for r in self.results
        )


def load(path: Path) -> Agent:
    """Read a script."""
    return Agent(json.loads(path.read_text("utf-8")))
