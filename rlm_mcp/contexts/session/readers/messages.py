"""Blocks of the Anthropic Messages API, in which several agents keep their transcripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rlm_mcp.contexts.session import calls
from rlm_mcp.contexts.session.turns import Block, Usage

_REMINDER = re.compile(
    r"<(system-reminder|ide_opened_file|ide_selection|ide_diagnostics|new-diagnostics)>"
    r".*?</\1>",
    re.DOTALL,
)

_COUNTS = (
    "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens",
)  # fmt: skip


def reply_block(part: Mapping[str, Any]) -> Block:
    kind = part.get("type")
    if kind == "text":
        return Block("text", str(part.get("text") or ""))
    if kind == "thinking":
        return Block("thinking", str(part.get("thinking") or ""))
    if kind == "redacted_thinking":
        size = len(str(part.get("data") or ""))
        return Block("thinking", "", note=f"encrypted, {size:,} characters")
    if kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
        return calls.call(
            str(part.get("name") or ""), part.get("input") or {}, str(part.get("id") or "")
        )
    if isinstance(kind, str) and kind.endswith("_tool_result"):
        return Block("result", calls.show(part.get("content")), call=str(part.get("tool_use_id")))
    return other_block(part)


def result_block(part: Mapping[str, Any], rich: Any) -> Block:
    content = part.get("content")
    notes = []
    if isinstance(content, list):
        texts = []
        for item in content:
            if isinstance(item, dict) and item.get("type") == "text":
                texts.append(str(item.get("text") or ""))
            elif isinstance(item, dict) and isinstance(item.get("source"), dict):
                notes.append(other_block(item).note)
            elif isinstance(item, (dict, str)):
                texts.append(calls.show(item))
        text = "\n".join(texts)
    else:
        text = content if isinstance(content, str) else ""
    failed = part.get("is_error")
    status, code = calls.outcome(text, failed if isinstance(failed, bool) else None)
    block = Block("result", text, call=str(part.get("tool_use_id") or ""), status=status)
    block.exit_code, block.note = code, "; ".join(filter(None, notes))
    if isinstance(rich, dict):
        if rich.get("interrupted") is True:
            block.status = "cancelled"
        if isinstance(spill := rich.get("persistedOutputPath"), str):
            block.spill = spill
        if isinstance(agent := rich.get("agentId"), str):
            block.arg = f"agent-{agent}"
    return block


def other_block(part: Mapping[str, Any]) -> Block:
    """Return a block for content that is not text: images, documents, what comes next year."""
    source = part.get("source")
    kind = str(part.get("type"))
    if not isinstance(source, dict):
        return Block("notice", f"[{kind}]", note=kind)
    size = len(str(source.get("data") or "")) * 3 // 4
    note = f"{source.get('media_type', kind)}, {size:,} bytes"
    return Block("image", f"[{kind}: {note}]", note=note)


def split_reminders(text: str) -> list[Block]:
    """Return a prompt's text with what the harness put into it set apart as notices."""
    if "</" not in text:
        return [Block("text", text)]
    blocks, last = [], 0
    for match in _REMINDER.finditer(text):
        if before := text[last : match.start()].strip():
            blocks.append(Block("text", before))
        blocks.append(Block("notice", match[0]))
        last = match.end()
    if (rest := text[last:]).strip() or not blocks:
        blocks.append(Block("text", rest if last == 0 else rest.strip()))
    return blocks


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Return the usage that the Messages API reports."""
    return Usage(*[count(usage, name) for name in _COUNTS])


def count(values: Any, *names: str) -> int:
    """Return the first number of tokens under one of the names; 0 for whatever is no number."""
    for name in names:
        value = values.get(name) if isinstance(values, Mapping) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e15:
            return int(value)
    return 0
