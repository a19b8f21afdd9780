"""Cells in a lasting environment."""

from rlm_mcp.sdk import Text, run_cell


def execute(code: str, repl: str = "main", timeout_s: float = 30.0) -> Text:
    """Run Python in a sandboxed environment that keeps its variables; returns what it prints.

    In it: the variables by name (str-like: len, slices, `in`, re; methods such as
    repo.symbols(), session.audit(), logs.compare()), all tools as functions,
    llm_query_batched(prompts), rlm_query_batched(prompts), SHOW_VARS(), help(x). No files or
    network. Print little, keep whole results in variables.
    """
    return run_cell(code, repl, timeout_s)
