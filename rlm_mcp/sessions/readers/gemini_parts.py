"""Parts of the Gemini API's messages, in which Gemini CLI and its kin keep their transcripts."""

from __future__ import annotations

from typing import Any

from rlm_mcp.sessions import tool_calls
from rlm_mcp.sessions.readers.anthropic_messages import count_tokens
from rlm_mcp.sessions.schema import TurnBlock, TurnUsage

_FILES = "--- Content from referenced files ---"
"""The part from which on a prompt holds what files say that the person named with @."""


def prompt_blocks(content: Any) -> list[TurnBlock]:
    """Return a prompt: what was typed, and apart from it the files that were read into it."""
    typed: list[str] = []
    read: list[str] = []
    blocks = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict) and isinstance(part.get("inlineData"), dict):
            blocks.append(_data_block(part["inlineData"]))
        elif text := message_text(part):
            (read if read or text.strip() == _FILES else typed).append(text)
    if typed:
        blocks.insert(0, TurnBlock("text", "\n".join(typed)))
    if read:
        blocks.append(TurnBlock("notice", "\n".join(read), name="files"))
    return blocks


def _data_block(data: dict[str, Any]) -> TurnBlock:
    kind, size = str(data.get("mimeType")), len(str(data.get("data") or "")) * 3 // 4
    note = f"{kind}, {size:,} bytes"
    return TurnBlock("image" if kind.startswith("image/") else "notice", f"[{note}]", note=note)


def message_text(content: Any) -> str:
    """Return what is said in the parts of a message; thoughts and calls stand elsewhere."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = [
        part if isinstance(part, str) else str(part.get("text") or "")
        for part in parts
        if isinstance(part, str) or (isinstance(part, dict) and part.get("thought") is not True)
    ]
    return "\n".join(filter(None, texts))


def response_text(result: Any) -> str:
    """Return what a call brought back."""
    if isinstance(result, str):
        return result
    texts = []
    for part in result if isinstance(result, list) else [result]:
        answer = part.get("functionResponse") if isinstance(part, dict) else None
        values = answer.get("response") if isinstance(answer, dict) else None
        if isinstance(values, dict):
            texts.append(
                str(
                    values.get("output") or values.get("error") or tool_calls.show_arguments(values)
                )
            )
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
    return "\n".join(texts)


def reply_usage(tokens: Any) -> TurnUsage | None:
    """Return the tokens of a reply as Gemini CLI counts them."""
    if not isinstance(tokens, dict):
        return None
    cached = count_tokens(tokens, "cached")
    output = count_tokens(tokens, "output") + count_tokens(tokens, "thoughts")
    return TurnUsage(max(0, count_tokens(tokens, "input") - cached), cached, 0, output)
