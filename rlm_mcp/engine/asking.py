"""Write the requests of sub-calls: the part first, then what is asked of it.

The text that several requests share stands in a first message of its own, marked for caching, so
that a provider reads it once. Every text is redacted here, before anything else sees it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rlm_mcp import redact
from rlm_mcp.engine.calls import Ask
from rlm_mcp.engine.ratios import Bulk
from rlm_mcp.engine.reader import Reader
from rlm_mcp.models.model import Message, Request

SHARED_CHARS = 4_096
"""Length from which a shared beginning is worth a message of its own (about 1,024 tokens)."""
SUB_MAX_TOKENS = 4_096


class Part:
    """A text that is asked about, under its ref; `kind` is that of its tokens, if it is known."""

    def __init__(self, ref: str, text: str, kind: str = "") -> None:
        self.ref, self.kind = ref, kind
        self.text = f'<part ref="{ref}">\n{redact.redact(text)}\n</part>'


def parts(refs: Sequence[str], reader: Reader) -> list[Part]:
    """Return what refs name, whole. Raises an RlmError."""
    texts = [(ref, reader.text(ref)) for ref in refs]
    return [Part(ref, text, reader.kind(ref, text)) for ref, text in texts]


def joined(parts: Sequence[Part]) -> Part:
    """Return several parts as one."""
    if len(parts) == 1:
        return parts[0]
    whole = Part("", "")
    whole.ref = ", ".join(part.ref for part in parts)
    whole.text = "\n".join(part.text for part in parts)
    return whole


def about_parts(
    prompts: Sequence[str],
    parts: Sequence[Part],
    system: str,
    question: str,
    schema: Mapping[str, Any] | None,
) -> list[Ask]:
    """Return a request for each part and prompt: all prompts of one part, then the next."""
    asks = []
    shared = len(prompts) > 1
    for part in parts:
        bulk = Bulk(part.kind, len(part.text.encode("utf-8", "replace"))) if part.kind else None
        for number, prompt in enumerate(prompts, 1):
            task = _task(prompt, question, schema)
            worth = shared and len(part.text) >= SHARED_CHARS
            messages = (
                [Message("user", part.text, cache=True), Message("user", task)]
                if worth
                else [Message("user", f"{part.text}\n\n{task}")]
            )
            name = f"{part.ref} ({number})" if shared else part.ref
            asks.append(Ask(_request(messages, system), name, schema, bulk))
    return asks


def plain(
    prompts: Sequence[str], system: str, question: str, schema: Mapping[str, Any] | None
) -> list[Ask]:
    """Return a request for each prompt; a long beginning that all share is split off."""
    texts = [redact.redact(prompt) for prompt in prompts]
    cut = _shared(texts)
    asks = []
    for number, text in enumerate(texts, 1):
        tail = _after(question, schema)
        messages = (
            [Message("user", text[:cut], cache=True), Message("user", text[cut:] + tail)]
            if cut
            else [Message("user", text + tail)]
        )
        asks.append(Ask(_request(messages, system), str(number), schema))
    return asks


def _request(messages: Sequence[Message], system: str) -> Request:
    return Request(messages, system, max_tokens=SUB_MAX_TOKENS)


def _task(prompt: str, question: str, schema: Mapping[str, Any] | None) -> str:
    return f"<question>\n{redact.redact(prompt)}\n</question>{_after(question, schema)}"


def _after(question: str, schema: Mapping[str, Any] | None) -> str:
    """Return what follows every prompt: the run's question, and the form of the reply."""
    text = ""
    if question:
        text += f"\n\n<asked_in_order_to_answer>\n{question}\n</asked_in_order_to_answer>"
    if schema is not None:
        wanted = json.dumps(schema, ensure_ascii=False)
        text += f"\n\nReply with JSON only, no other text, that fits this JSON Schema:\n{wanted}"
    return text


def _shared(texts: Sequence[str]) -> int:
    """Return the length of a beginning worth sharing that leaves each text a rest, or 0."""
    if len(set(texts)) < 2:
        return 0
    low, high = min(texts), max(texts)
    pairs = enumerate(zip(low, high, strict=False))
    common = next((at for at, (a, b) in pairs if a != b), min(len(low), len(high)))
    cut = texts[0].rfind("\n", 0, common) + 1
    shortest = min(map(len, texts))
    return cut if SHARED_CHARS <= cut < shortest else 0
