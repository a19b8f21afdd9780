"""Plain sub-model calls."""

from rlm_mcp import sdk


def llm_query(
    prompt: str, model: str = "", refs: str | list[str] = "", schema: str = ""
) -> sdk.Reply | sdk.Answers:
    """Ask a sub-model; with refs (or a handle) once per part. Costs money.

    schema: JSON Schema of the answer. Gives coverage, previews, a handle.
    """
    return sdk.llm_query(prompt, model, refs, schema)
