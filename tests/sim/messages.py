"""The Anthropic Messages protocol as the simulated server speaks it: strict in what it takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.sim.cache import MOST_MARKS, Billing, PromptCache, blocks_of
from tests.sim.call import Call, Logged, Refused, Say, ToolResult, Turn, tokens
from tests.sim.faults import Fault
from tests.sim.http import Wire


class Messages:
    """The dialect: reads requests, sends replies whole or as events, bills the cache."""

    def __init__(self, cache: PromptCache, window: int) -> None:
        self.cache = cache
        self.window = window

    def read(self, body: Any, number: int) -> Call:
        """Return the parsed request. Raises Refused."""
        check(body)
        if not body.get("max_tokens"):
            raise Refused("max_tokens: Field required")
        billing = self.cache.bill(body)
        size = billing.input + billing.read + billing.written
        if size > self.window:
            raise Refused(f"prompt is too long: {size} tokens > {self.window} maximum")
        return parse(body, number)

    def error(self, kind: str, message: str) -> dict[str, Any]:
        return error_body(kind, message)

    async def send(
        self, wire: Wire, call: Call, say: Say, log: Logged, fault: Fault | None
    ) -> bool:
        """Send a reply, as far as the fault lets it come."""
        billing = self.cache.bill(call.body)
        usage = log.usage = usage_of(say, billing)
        if not call.body.get("stream"):
            self.cache.begin(billing)
            return await wire.whole(message(call, say, usage), fault)
        await wire.start_events()
        self.cache.begin(billing)
        for place, event in enumerate(events(call, say, usage)):
            if fault is not None and place == 4:
                return await wire.break_off(fault, error_body("overloaded_error", "simulated"))
            await wire.event(event["type"], event)
        return False


def error_body(kind: str, message: str) -> dict[str, Any]:
    """Return the protocol's error object."""
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_sim"}


def check(body: Any) -> None:
    """Raise Refused for what the real service refuses too."""
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        raise Refused("messages: Field required")
    if not body["messages"] or body["messages"][0].get("role") not in ("user", "system"):
        raise Refused("messages: first message must use the user role")
    for message in body["messages"]:
        if message.get("role") not in ("user", "assistant", "system"):
            raise Refused(f"messages: Unexpected role {message.get('role')!r}")
    blocks = [block for _, block in blocks_of(body)]
    if any(block.get("type") == "text" and not block["text"].strip() for block in blocks):
        raise Refused("messages: text content blocks must be non-empty")
    if sum(bool(block.get("cache_control")) for block in blocks) > MOST_MARKS:
        raise Refused(f"A maximum of {MOST_MARKS} blocks with cache_control may be provided")
    model = str(body.get("model", ""))
    modern = re.match(r"claude-[a-z]+-5", model) is not None
    if modern and body.get("temperature") is not None:
        raise Refused(f"temperature: not supported for model {model}")
    if modern and body["messages"][-1]["role"] == "assistant":
        raise Refused("This model does not support assistant message prefill")


def parse(body: Mapping[str, Any], number: int) -> Call:
    """Read a request into what a mind sees."""
    tools = tuple(str(tool.get("name")) for tool in body.get("tools") or [])
    turns: list[Turn] = []
    named: dict[str, str] = {}
    for message in body["messages"]:
        turns.append(_turn(message, named))
    return Call(
        number,
        str(body.get("model", "")),
        _text(body.get("system") or ""),
        turns,
        tools,
        int(body.get("max_tokens") or 0),
        body,
    )


def _turn(message: Mapping[str, Any], named: dict[str, str]) -> Turn:
    content = message["content"]
    if isinstance(content, str):
        return Turn(message["role"], content)
    calls, results = [], []
    for block in content:
        if block["type"] == "tool_use":
            named[block["id"]] = block["name"]
            calls.append((block["name"], block["input"]))
        elif block["type"] == "tool_result":
            tool = named.get(block["tool_use_id"], "?")
            text = _text(block.get("content") or "")
            results.append(ToolResult(tool, text, bool(block.get("is_error"))))
    return Turn(message["role"], _text(content), tuple(calls), tuple(results))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block.get("type") == "text")


def usage_of(say: Say, billing: Billing) -> dict[str, int]:
    """Return the usage figures of a reply."""
    made = tokens(say.text) + tokens(say.thinking)
    made += sum(tokens(json.dumps([name, value])) for name, value in say.calls)
    return {
        "input_tokens": billing.input,
        "cache_read_input_tokens": billing.read,
        "cache_creation_input_tokens": billing.written,
        "output_tokens": max(1, made),
    }


def content_of(say: Say, number: int) -> list[dict[str, Any]]:
    """Return a reply's blocks."""
    blocks: list[dict[str, Any]] = []
    if say.thinking:
        blocks.append({"type": "thinking", "thinking": say.thinking, "signature": "sim"})
    if say.text:
        blocks.append({"type": "text", "text": say.text})
    for place, (name, value) in enumerate(say.calls):
        identity = f"toolu_sim_{number:05}_{place}"
        blocks.append({"type": "tool_use", "id": identity, "name": name, "input": dict(value)})
    return blocks


def stop_of(say: Say) -> str:
    """Return a reply's stop reason."""
    return say.stop or ("tool_use" if say.calls else "end_turn")


def message(call: Call, say: Say, usage: Mapping[str, int]) -> dict[str, Any]:
    """Return a whole reply."""
    return {
        "id": f"msg_sim_{call.number:06}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": content_of(say, call.number),
        "stop_reason": stop_of(say),
        "stop_sequence": None,
        "usage": dict(usage),
    }


def events(call: Call, say: Say, usage: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Yield a reply as the events of a stream."""
    start = {**message(call, say, usage), "content": [], "stop_reason": None}
    start["usage"] = {**usage, "output_tokens": 1}
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    for index, block in enumerate(content_of(say, call.number)):
        opened, deltas = _opened(block)
        yield {"type": "content_block_start", "index": index, "content_block": opened}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": stop_of(say), "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": dict(usage)}
    yield {"type": "message_stop"}


def _opened(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a block as it is opened, and the deltas that fill it."""
    if block["type"] == "text":
        deltas = [{"type": "text_delta", "text": part} for part in _parts(block["text"], 200)]
        return {"type": "text", "text": ""}, deltas
    if block["type"] == "thinking":
        said = {"type": "thinking_delta", "thinking": block["thinking"]}
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [said, signed]
    raw = json.dumps(block["input"])
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in _parts(raw, 60)]
    return {**block, "input": {}}, deltas


def _parts(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)] or [""]
