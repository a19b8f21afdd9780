"""The tools that come with rlm-mcp, a row each: a tool is its file in tools/ and its row here.

Order, hints, reserved names, what a user's tool may call and what the host answers derive from
this table.
"""

from __future__ import annotations

import builtins
from typing import Literal, NamedTuple

Effect = Literal["reads", "works", "spends"]
"""Reads what is open; opens, runs or waits for something; or calls models."""


class ToolRow(NamedTuple):
    """One tool. Its function in the sdk, in the host and in a cell bears the same name."""

    name: str
    title: str
    """What a client shows when it asks the user for permission."""
    effect: Effect = "reads"
    agent_only: bool = False
    """Whether it makes no sense in the cells of a run."""
    always_loaded: bool = False
    """Whether a client that searches for tools is asked to load it at once."""


TOOL_ROWS = {
    row.name: row
    for row in (
        ToolRow("contexts", "List what is open", always_loaded=True),
        ToolRow("open_context", "Open a large source", "works", agent_only=True),
        ToolRow("peek", "Read lines", always_loaded=True),
        ToolRow("grep", "Search text", always_loaded=True),
        ToolRow("outline", "Outline"),
        ToolRow("chunk", "Split into parts"),
        ToolRow("execute", "Run sandboxed Python", "works", agent_only=True, always_loaded=True),
        ToolRow("llm_query", "Ask a model (costs money)", "spends"),
        ToolRow("rlm_query", "Run a model (costs money)", "spends", always_loaded=True),
        ToolRow("wait", "Wait for a run", "works", agent_only=True),
    )
}
"""Every tool by name, in the order in which agents see them."""

BATCHED_NAMES = ("llm_query_batched", "rlm_query_batched")
"""What cells have beside the tools: many prompts at once."""

CELL_NAMES = ("cite", "Failure")
"""What every cell has from the sdk beside the tools."""

CELL_LIBRARY = {
    "re": "re", "json": "json", "math": "math", "Counter": "collections",
    "defaultdict": "collections",
}  # fmt: skip
"""What every cell has of the standard library without an import, and the module it is from."""

HOST_CALLS = (*TOOL_ROWS, "cite", "search", "call_method")
"""What the sdk asks the host for: the tools, citing, ranking, and the methods of variables."""

DEFAULT_NAMES = ("repo", "history", "session", "logs")
"""Variables that open by themselves when they are named."""

RESERVED_NAMES = frozenset(
    {
        "context", "answer", "FINAL", "FINAL_VAR", "SUBMIT", "SHOW_VARS",
        "help", *CELL_LIBRARY, *BATCHED_NAMES, *CELL_NAMES, *DEFAULT_NAMES, *dir(builtins),
    }
)  # fmt: skip
"""Names that mean something else in a cell, besides the tools."""
