"""The generated parts of docs/tools.md; cog calls these functions (`make docs`)."""

from __future__ import annotations

import json

from rlm_mcp import promptbook, toolbox, trust
from rlm_mcp.trust import ContentFolder


def tools() -> str:
    """Return a section a tool: what agents read, its arguments, its marks."""
    found = toolbox.read_tools([ContentFolder(trust.builtin_folder("tools"), "rlm-mcp")])
    parts = []
    for tool in found:
        marks = ["read-only"] if tool.read_only else ["spends"]
        marks += ["loaded at once"] if tool.always_loaded else []
        parts += [f"### `{tool.name}`", "", f"*{', '.join(marks)}*", "", tool.description, ""]
        if tool.parameters:
            parts += ["| argument | type | default |", "| --- | --- | --- |"]
        for parameter in tool.parameters:
            default = "required" if parameter.required else f"`{json.dumps(parameter.default)}`"
            types = " or ".join(parameter.types)
            parts.append(f"| `{parameter.name}` | {types} | {default} |")
        parts.append("")
    return "\n".join(parts)


def size() -> str:
    """Return the size of what a model reads of all definitions."""
    found = toolbox.read_tools([ContentFolder(trust.builtin_folder("tools"), "rlm-mcp")])
    definitions = [
        {"name": tool.name, "description": tool.description, "inputSchema": tool.json_schema}
        for tool in found
    ]
    text = json.dumps(definitions, separators=(",", ":"))
    return (
        f"{len(found)} tools, {len(text):,} characters of definitions in all "
        f"(about {len(text) // 4:,} tokens).\n"
    )


def prompts() -> str:
    """Return the table of prompts that people can call."""
    rows = ["| prompt | arguments | what it does |", "| --- | --- | --- |"]
    for prompt in promptbook.read_prompts(
        [ContentFolder(trust.builtin_folder("prompts"), "rlm-mcp")]
    ):
        if prompt.is_offered:
            arguments = ", ".join(
                f"`{argument.name}`" + ("" if argument.required else " (optional)")
                for argument in prompt.arguments
            )
            rows.append(f"| `{prompt.name}` | {arguments} | {prompt.description} |")
    return "\n".join(rows) + "\n"
