"""The second dialect: OpenAI's chat completions, as compatible servers speak it."""

from __future__ import annotations

from typing import Any

from tests.sim.call import Call, Logged, Refused, Say, Turn, tokens
from tests.sim.faults import Fault
from tests.sim.http import Wire

STOPS = {"": "stop", "end_turn": "stop", "max_tokens": "length", "refusal": "content_filter"}


class Chat:
    """The dialect: JSON and streams of chunks, usage where it is asked for."""

    def __init__(self, window: int, cached_share: float = 0.0, no_usage: bool = False) -> None:
        self.window = window
        self.cached_share = cached_share
        """Share of the prompt that is said to have been read from a cache."""
        self.no_usage = no_usage
        """Whether to leave usage out, as some servers do."""

    def read(self, body: Any, number: int) -> Call:
        """Return the parsed request. Raises Refused."""
        if not isinstance(body, dict) or not body.get("messages"):
            raise Refused("messages is required")
        system = [m["content"] for m in body["messages"] if m["role"] in ("system", "developer")]
        turns = [
            Turn(m["role"], m["content"] or "")
            for m in body["messages"]
            if m["role"] in ("user", "assistant")
        ]
        size = sum(map(tokens, [*system, *(turn.text for turn in turns)]))
        if size > self.window:
            raise Refused(
                f"This model's maximum context length is {self.window} tokens, not {size}.",
                kind="context_length_exceeded",
            )
        limit = int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)
        return Call(number, str(body["model"]), "\n".join(system), turns, (), limit, body)

    def error(self, kind: str, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}

    async def send(
        self, wire: Wire, call: Call, say: Say, log: Logged, fault: Fault | None
    ) -> bool:
        """Send a reply, as far as the fault lets it come."""
        prompt = sum(map(tokens, [call.system, *(turn.text for turn in call.turns)]))
        made = tokens(say.text)
        log.usage = {"prompt_tokens": prompt, "completion_tokens": made}
        cached = {"cached_tokens": int(prompt * self.cached_share)}
        total = {"total_tokens": prompt + made, "prompt_tokens_details": cached}
        usage = None if self.no_usage else {**log.usage, **total}
        base = {"id": f"chatcmpl-sim-{call.number}", "created": 1, "model": call.model}
        reason = STOPS.get(say.stop, "stop")
        if not call.body.get("stream"):
            said = {"role": "assistant", "content": say.text, "refusal": None}
            choice = {"index": 0, "message": said, "finish_reason": reason, "logprobs": None}
            reply = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
            return await wire.whole(reply, fault)
        await wire.start_events()
        chunk = {**base, "object": "chat.completion.chunk"}
        for start in range(0, max(1, len(say.text)), 40):
            if fault is not None and start:
                return await wire.break_off(fault, self.error("server_error", "simulated"))
            delta = {"role": "assistant", "content": say.text[start : start + 40]}
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            await wire.event("", {**chunk, "choices": [choice]})
        last = {"index": 0, "delta": {}, "finish_reason": reason}
        await wire.event("", {**chunk, "choices": [last]})
        if usage and (call.body.get("stream_options") or {}).get("include_usage"):
            await wire.event("", {**chunk, "choices": [], "usage": usage})
        await wire.event("", "[DONE]")
        return False
