"""Tool calls that a model wrote as tags in its text, as Cline and Roo Code ask for.

`<execute_command><command>ls</command></execute_command>` is a call; a tag that is no known
tool's is text. What a call brought back stands in the next message, behind a line
`[execute_command for 'ls'] Result:`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.turns import Block

_TOOLS = (
    "execute_command", "read_file", "write_to_file", "replace_in_file", "apply_diff",
    "insert_content", "search_and_replace", "search_files", "list_files",
    "list_code_definition_names", "browser_action", "use_mcp_tool", "access_mcp_resource",
    "ask_followup_question", "attempt_completion", "new_task", "plan_mode_respond",
    "update_todo_list", "switch_mode", "codebase_search", "web_fetch", "load_mcp_documentation",
    "new_rule", "condense", "fetch_instructions",
)  # fmt: skip
_CALL = re.compile(rf"^[ \t]*<({'|'.join(_TOOLS)})>(.*?)</\1>[ \t]*$", re.MULTILINE | re.DOTALL)
_VALUE = re.compile(r"<([a-z_]+)>(.*?)</\1>", re.DOTALL)
_LONG = ("content", "diff")
_THOUGHT = re.compile(r"\A\s*<thinking>(.*?)</thinking>", re.DOTALL)


def reply(text: str, pointer: str) -> Iterator[Block]:
    """Yield the thoughts, texts and calls of a reply, in order."""
    if thought := _THOUGHT.match(text):
        yield Block("thinking", thought[1].strip("\n"))
        text = text[thought.end() :]
    last = 0
    for number, match in enumerate(_CALL.finditer(text)):
        if before := text[last : match.start()].strip("\n"):
            yield Block("text", before)
        yield calls.call(match[1], _values(match[2]), f"{pointer}.{number}")
        last = match.end()
    if (rest := text[last:].strip("\n")) or (not last and not thought):
        yield Block("text", rest)


def _values(inner: str) -> dict[str, str]:
    """Return a call's arguments. A long one ends at its last closing tag: it may hold tags."""
    for name in _LONG:
        begin, end = inner.find(f"<{name}>"), inner.rfind(f"</{name}>")
        if 0 <= begin < end:
            value = inner[begin + len(name) + 2 : end]
            rest = inner[:begin] + inner[end + len(name) + 3 :]
            return {**_values(rest), name: value.removeprefix("\n").removesuffix("\n")}
    return {match[1]: match[2].strip("\n") for match in _VALUE.finditer(inner)}
