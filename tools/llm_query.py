"""Plain sub-model calls."""

from rlm_mcp.sdk import Answers, Reply, ask, only


def llm_query(
    prompt: str, model: str = "", refs: str | list[str] = "", schema: str = ""
) -> Reply | Answers:
    """Ask a sub-model (spends money). With refs, it is asked once per part, concurrently.

    refs: refs or a chunk handle (r7), separated by spaces. schema: a JSON Schema to answer in.
    Gives coverage, previews, failures by name, and a handle to the whole answers.
    """
    answers = ask(prompt, model, refs, schema)
    # A cell may hand over a list: all that was paid for is returned.
    return answers if refs or isinstance(prompt, list) else only(answers)
