"""From the body of a Messages request to a question and the texts that it is about.

What is short is the question as it stands. Of what is long, the last block is the question;
everything before it, and that block itself where it is long, become documents of the
variable `context`, so that no model is sent more than it should read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rlm_mcp.errors import BadRequest, did_you_mean

SHORT_CHARS = 20_000
"""Characters up to which a text is read as it stands."""
PARAGRAPH_CHARS = 2_000
"""Characters of a long request's first and last paragraph that stand in the question."""
OUTER_CHARS = 300
"""Characters of those that are longer."""

HONOURED_FIELDS = frozenset({"model", "max_tokens", "messages", "system", "stream"})
IGNORED_FIELDS = frozenset({"metadata", "service_tier", "cache_control", "inference_geo"})
REFUSED_FIELDS = {
    "tools": "a run uses its own tools",
    "tool_choice": "a run uses its own tools",
    "mcp_servers": "a run uses its own tools",
    "container": "a run uses its own sandbox",
    "stop_sequences": "a run's answer is not cut at words",
    "temperature": "a run sets its own sampling",
    "top_p": "a run sets its own sampling",
    "top_k": "a run sets its own sampling",
    "thinking": "a run's models think as they are set",
    "output_format": "ask for the form of the answer in the prompt",
    "output_config": "ask for the form of the answer in the prompt",
}


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """A request as a run takes it. `texts` are documents by name."""

    question: str
    texts: tuple[tuple[str, str], ...]
    model: str
    """A spec, or empty for the default."""
    max_tokens: int
    stream: bool


def parse_request(body: bytes) -> MessagesRequest:
    """Read a request's body. Raises BadRequest with a sentence on what cannot be honoured."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON ({error}).") from error
    if not isinstance(values, dict):
        raise BadRequest("The body is not a JSON object.")
    _check_fields(values)
    max_tokens = values.get("max_tokens")
    if type(max_tokens) is not int or max_tokens < 1:
        raise BadRequest("max_tokens must be a whole number of at least 1.")
    stream = values.get("stream", False)
    if not isinstance(stream, bool):
        raise BadRequest("stream must be true or false.")
    system = "\n\n".join(_content_texts("system", values.get("system", "")))
    turns = _message_turns(values.get("messages"))
    question, texts = _split_context(system, turns)
    return MessagesRequest(question, texts, _model_spec(values.get("model")), max_tokens, stream)


def _check_fields(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name in HONOURED_FIELDS or name in IGNORED_FIELDS:
            continue
        if name not in REFUSED_FIELDS:
            raise BadRequest(f"Unknown field {name[:60]!r}.{did_you_mean(name, HONOURED_FIELDS)}")
        idle = value in (None, [], {"type": "disabled"}) or (name == "temperature" and value == 1)
        if not idle:
            raise BadRequest(f"{name} is not honoured here: {REFUSED_FIELDS[name]}.")


def _model_spec(model: object) -> str:
    if not isinstance(model, str) or not model.strip():
        raise BadRequest("model must name a model: rlm for the default, or a spec.")
    if model in ("rlm", "default"):
        return ""
    return model if ":" in model else f"anthropic:{model}"


def _message_turns(messages: object) -> list[tuple[str, str]]:
    """Return (role, text) of every block: the last of them is the question."""
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message.")
    turns: list[tuple[str, str]] = []
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise BadRequest(f"messages[{number}] needs the role user or assistant.")
        texts = _content_texts(f"messages[{number}]", message.get("content"))
        turns += [(message["role"], text) for text in texts]
    if messages[-1]["role"] != "user":
        raise BadRequest("The last message must be the user's: a run's answer is not prefilled.")
    if not turns or turns[-1][0] != "user" or not turns[-1][1].strip():
        raise BadRequest("The question is empty.")
    return turns


def _content_texts(where: str, content: object) -> list[str]:
    if isinstance(content, str):
        return [content] if content else []
    if not isinstance(content, list):
        raise BadRequest(f"{where} must be a text or a list of text blocks.")
    texts = []
    for block in content:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "document" and isinstance(block.get("source"), dict):
            source = block["source"]
            if source.get("type") == "text" and isinstance(source.get("data"), str):
                texts.append(source["data"])
                continue
        if kind != "text" or not isinstance(block.get("text"), str):
            raise BadRequest(f"{where} has a block of type {kind!r}; a run reads text only.")
        texts.append(block["text"])
    return texts


def _split_context(
    system: str, turns: list[tuple[str, str]]
) -> tuple[str, tuple[tuple[str, str], ...]]:
    *earlier, (_, last) = turns
    size = len(system) + sum(len(text) for _, text in turns)
    if size <= SHORT_CHARS:
        parts = [f"Instructions:\n{system}"] if system else []
        parts += [f"{role}:\n{text}" for role, text in earlier]
        return ("\n\n".join([*parts, f"user:\n{last}"]) if parts else last), ()
    texts = [(f"{number:03}-{role}", text) for number, (role, text) in enumerate(earlier, 1)]
    parts = []
    if len(system) <= SHORT_CHARS // 4:
        parts += [f"Instructions:\n{system}"] if system else []
    else:
        texts.insert(0, ("000-system", system))
        parts.append("Follow the instructions in the document 000-system of context.")
    if len(last) <= SHORT_CHARS:
        parts.append(last)
    else:
        name = f"{len(turns):03}-user"
        texts.append((name, last))
        which, ends = _outer_paragraphs(last)
        parts.append(
            f"Do what the document {name} of context asks ({len(last):,} characters). {which}:"
            f"\n\n{ends}"
        )
    if earlier:
        parts.insert(-1, "What came before is in context, a document a block.")
    return "\n\n".join(parts), tuple(texts)


def _outer_paragraphs(text: str) -> tuple[str, str]:
    """Return the first and the last paragraph, of long ones the outer part, and how to say so.

    Beside a question at one end, the long paragraph at the other is what it is about.
    """
    text = text.strip()
    first, last = text.partition("\n\n")[0], text.rpartition("\n\n")[2]
    long = len(first) > PARAGRAPH_CHARS, len(last) > PARAGRAPH_CHARS
    if long[0]:
        line = first.partition("\n")[0]
        first = line if len(line) <= PARAGRAPH_CHARS else f"{first[:OUTER_CHARS]} […]"
    if long[1]:
        line = last.rpartition("\n")[2]
        last = line if len(line) <= PARAGRAPH_CHARS else f"[…] {last[-OUTER_CHARS:]}"
    if long[0] and last.endswith("?") and not first.endswith("?"):
        return "It ends with", last
    if long[1] and first.endswith("?") and not last.endswith("?"):
        return "It begins with", first
    said = "Its first and its last paragraph, of which one usually says what is wanted"
    return said, f"{first}\n\n{last}"
