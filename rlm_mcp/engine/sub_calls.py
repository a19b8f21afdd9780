"""Write the requests of sub-calls: the part first, then what is asked of it.

What the whole run is for stands in the system text, before both, and is short.

The text that several requests share stands in a first message of its own, marked for caching, so
that a provider reads it once. Every text is redacted here, before anything else sees it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rlm_mcp import redact
from rlm_mcp.engine.calls import SubCall
from rlm_mcp.models import ChatMessage, ModelRequest
from rlm_mcp.refs import LineSpan, parse_ref

if TYPE_CHECKING:
    from rlm_mcp.engine.ref_reader import RefReader

SHARED_CHARS = 4_096
"""Length from which a shared beginning is worth a message of its own (about 1,024 tokens)."""
SUB_MAX_TOKENS = 4_096
BACKGROUND_CHARS = 600
"""Characters of the run's question that go with every sub-call, which is not to answer it."""


class PromptPart:
    """A text that is asked about, under its ref; its lines numbered where a first one is given."""

    def __init__(self, ref: str, text: str, first_line: int | None = None) -> None:
        self.ref = ref
        text = redact.redact(text)
        if first_line is not None:
            lines = text.split("\n")
            width = len(str(first_line + len(lines) - 1))
            text = "\n".join(f"{n:>{width}}| {line}" for n, line in enumerate(lines, first_line))
        self.text = f'<part ref="{ref}">\n{text}\n</part>'


def read_parts(
    refs: Sequence[str], reader: RefReader, *, numbered: bool = False
) -> list[PromptPart]:
    """Return what refs name, whole. Raises an RlmError."""
    return [
        PromptPart(ref, reader.full_text(ref), _first_line(ref) if numbered else None)
        for ref in refs
    ]


def _first_line(ref: str) -> int | None:
    """Return the number of the first line of a ref; None where it is not one of lines."""
    span = parse_ref(ref).span
    return span.start if isinstance(span, LineSpan) else None


def join_parts(parts: Sequence[PromptPart]) -> PromptPart:
    """Return several parts as one."""
    if len(parts) == 1:
        return parts[0]
    whole = PromptPart("", "")
    whole.ref = ", ".join(part.ref for part in parts)
    whole.text = "\n".join(part.text for part in parts)
    return whole


def part_calls(
    prompts: Sequence[str],
    parts: Sequence[PromptPart],
    system: str,
    question: str,
    schema: Mapping[str, Any] | None,
) -> list[SubCall]:
    """Return a request for each part and prompt: all prompts of one part, then the next."""
    asks = []
    system = _with_background(system, question)
    shared = len(prompts) > 1
    for part in parts:
        for number, prompt in enumerate(prompts, 1):
            task = _task_text(prompt, schema)
            worth = shared and len(part.text) >= SHARED_CHARS
            messages = (
                [ChatMessage("user", part.text, cache=True), ChatMessage("user", task)]
                if worth
                else [ChatMessage("user", f"{part.text}\n\n{task}")]
            )
            name = f"{part.ref} ({number})" if shared else part.ref
            asks.append(SubCall(_make_request(messages, system), name, schema))
    return asks


def prompt_calls(
    prompts: Sequence[str], system: str, question: str, schema: Mapping[str, Any] | None
) -> list[SubCall]:
    """Return a request for each prompt; a long beginning that all share is split off."""
    texts = [redact.redact(prompt) for prompt in prompts]
    cut = _shared_prefix(texts)
    system = _with_background(system, question)
    asks = []
    for number, text in enumerate(texts, 1):
        tail = _schema_suffix(schema)
        messages = (
            [ChatMessage("user", text[:cut], cache=True), ChatMessage("user", text[cut:] + tail)]
            if cut
            else [ChatMessage("user", text + tail)]
        )
        asks.append(SubCall(_make_request(messages, system), str(number), schema))
    return asks


def _make_request(messages: Sequence[ChatMessage], system: str) -> ModelRequest:
    return ModelRequest(messages, system, max_tokens=SUB_MAX_TOKENS)


def _task_text(prompt: str, schema: Mapping[str, Any] | None) -> str:
    return f"<question>\n{redact.redact(prompt)}\n</question>{_schema_suffix(schema)}"


def _with_background(system: str, question: str) -> str:
    """Return the system text with what the task is for: the run's question, cut."""
    if not question:
        return system
    return f"{system.rstrip()}\n\n<background>\n{cut_background(question)}\n</background>"


def cut_background(question: str) -> str:
    """Return a run's question as those are told it who are not to answer it."""
    if len(question) <= BACKGROUND_CHARS:
        return question
    return f"{question[:BACKGROUND_CHARS]} [...]"


def _schema_suffix(schema: Mapping[str, Any] | None) -> str:
    """Return what follows every prompt: the form of the reply."""
    if schema is None:
        return ""
    wanted = json.dumps(schema, ensure_ascii=False)
    return f"\n\nReply with JSON only, no other text, that fits this JSON Schema:\n{wanted}"


def _shared_prefix(texts: Sequence[str]) -> int:
    """Return the length of a beginning worth sharing that leaves each text a rest, or 0."""
    if len(set(texts)) < 2:
        return 0
    low, high = min(texts), max(texts)
    pairs = enumerate(zip(low, high, strict=False))
    common = next((at for at, (a, b) in pairs if a != b), min(len(low), len(high)))
    cut = texts[0].rfind("\n", 0, common) + 1
    shortest = min(map(len, texts))
    return cut if SHARED_CHARS <= cut < shortest else 0
