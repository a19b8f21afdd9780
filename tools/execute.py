"""Cells in a lasting environment."""

from rlm_mcp import sdk


def execute(code: str, repl: str = "main", timeout_s: float = 30.0) -> sdk.Text:
    """Run sandboxed Python that keeps its variables; returns what it prints.

    It has the variables by name (str-like; repo.symbols(), session.audit(), logs.compare()), all
    tools, llm_query_batched(prompts), help(x). Print little.
    """
    return sdk.execute(code, repl, timeout_s)
