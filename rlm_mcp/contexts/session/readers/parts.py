"""Parts of the Gemini API's messages, in which Gemini CLI and its kin keep their transcripts."""

from __future__ import annotations

from typing import Any

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.readers.messages import count
from rlm_mcp.contexts.session.turns import Block, Usage

_FILES = "--- Content from referenced files ---"
"""The part from which on a prompt holds what files say that the person named with @."""


def prompt(content: Any) -> list[Block]:
    """Return a prompt: what was typed, and apart from it the files that were read into it."""
    typed: list[str] = []
    read: list[str] = []
    blocks = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict) and isinstance(part.get("inlineData"), dict):
            blocks.append(_data(part["inlineData"]))
        elif text := said(part):
            (read if read or text.strip() == _FILES else typed).append(text)
    if typed:
        blocks.insert(0, Block("text", "\n".join(typed)))
    if read:
        blocks.append(Block("notice", "\n".join(read), name="files"))
    return blocks


def _data(data: dict[str, Any]) -> Block:
    kind, size = str(data.get("mimeType")), len(str(data.get("data") or "")) * 3 // 4
    note = f"{kind}, {size:,} bytes"
    return Block("image" if kind.startswith("image/") else "notice", f"[{note}]", note=note)


def said(content: Any) -> str:
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


def response(result: Any) -> str:
    """Return what a call brought back."""
    if isinstance(result, str):
        return result
    texts = []
    for part in result if isinstance(result, list) else [result]:
        answer = part.get("functionResponse") if isinstance(part, dict) else None
        values = answer.get("response") if isinstance(answer, dict) else None
        if isinstance(values, dict):
            texts.append(str(values.get("output") or values.get("error") or calls.show(values)))
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
    return "\n".join(texts)


def usage(tokens: Any) -> Usage | None:
    """Return the tokens of a reply as Gemini CLI counts them."""
    if not isinstance(tokens, dict):
        return None
    cached = count(tokens, "cached")
    output = count(tokens, "output") + count(tokens, "thoughts")
    return Usage(max(0, count(tokens, "input") - cached), cached, 0, output)
