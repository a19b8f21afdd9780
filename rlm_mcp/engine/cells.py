"""What a cell has besides the tools: the batched calls, by the names that models know.

They are source text for the sandbox, like the files in tools/, but no MCP tools.
"""

from __future__ import annotations

from collections.abc import Mapping

SUB_CALLING = frozenset({"llm_query", "rlm_query"})
"""Tools that ask models."""

AGENT_ONLY = frozenset({"execute", "wait", "open_context"})
"""Tools that make no sense in a run's own cells."""

_LLM = '''
from rlm_mcp.sdk import Answers, ask

def llm_query_batched(
    prompts: list[str], model: str | None = None, refs: list[str] | str = "", schema: str = ""
) -> Answers:
    """Ask a sub-model each prompt, all at once; answers come in order, a failed one is falsy."""
    return ask(prompts, model or "", refs, schema)
'''

_RLM = '''
from rlm_mcp.sdk import Answers, run

def rlm_query_batched(
    prompts: list[str], model: str | None = None, contexts: list[str] | None = None,
    refs: list[str] | str = "", schema: str = "",
) -> Answers:
    """Start a child run for each prompt, all at once, each over a text of its own or over refs."""
    return run(prompts, model or "", refs, contexts=contexts, schema=schema)
'''


def tools(given: Mapping[str, str], *, sub_calls: bool, agent: bool = False) -> dict[str, str]:
    """Return the functions of an environment by name."""
    left_out = frozenset() if agent else AGENT_ONLY
    if not sub_calls:
        left_out |= SUB_CALLING
    found = {name: source for name, source in given.items() if name not in left_out}
    if sub_calls:
        found |= {"llm_query_batched": _LLM, "rlm_query_batched": _RLM}
    return found
