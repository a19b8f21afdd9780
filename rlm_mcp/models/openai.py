"""Models behind the chat completions protocol: OpenAI, Ollama, vLLM, any compatible server.

A spec is `openai:<model>` or `openai:<model>@<base url>`; the extra `openai` brings the official
SDK. OPENAI_API_KEY is sent to OPENAI_BASE_URL, or to OpenAI where that is not set, and to no
other host: a spec cannot carry the key away. Servers that report no usage get an estimate, and
then no cost.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from rlm_mcp.errors import ModelError
from rlm_mcp.models import prices
from rlm_mcp.models.http_errors import (
    checked_usage,
    failure_kind,
    failure_sentence,
    parse_retry_after,
    safe_excerpt,
    unreadable_reply,
)
from rlm_mcp.models.model import ModelReply, ModelRequest, Price, TokenUsage
from rlm_mcp.models.retry import Retry
from rlm_mcp.tokens import reserve_tokens

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
STREAM_OVER_TOKENS = 8_192
"""Output tokens from which a reply is streamed: a silent connection that long may be cut."""

_STOP_REASONS: dict[str | None, Literal["end", "max_tokens", "stop", "refused"]] = {
    "stop": "end",
    "length": "max_tokens",
    "content_filter": "refused",
    "max_tokens": "max_tokens",
    "refusal": "refused",
}
"""What is not named here ended the reply by itself: a whole reply was paid for and is used."""


class OpenAI:
    """One model of one server."""

    concurrency: int | None = None

    def __init__(self, model: str, url: str = "") -> None:
        self.model = model
        self.url = (url or key_base_url()).rstrip("/")
        self.spec = f"openai:{model}@{url}" if url else f"openai:{model}"
        self._retry = Retry()

    @property
    def window_tokens(self) -> int:
        return prices.model_card(self.model).window

    @property
    def price(self) -> Price | None:
        return prices.model_card(self.model).price

    async def check_ready(self) -> None:
        """Raise ModelError where the extra is missing, or the key for OpenAI itself."""
        await asyncio.to_thread(_load_sdk)
        if self.url == OPENAI_URL and not os.environ.get("OPENAI_API_KEY"):
            raise ModelError(
                "There is no key for OpenAI; set OPENAI_API_KEY, or name a server of your own: "
                "openai:<model>@<base url>.",
                kind="auth",
                attempts=0,
            )

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the model's reply. Raises ModelError; a cancelled call closes its request."""
        client = await self._get_client()
        body = self._request_body(request)
        return await self._retry.send_with_retry(
            lambda: self._send_request(client, body, request), request.timeout_s, request.patience_s
        )

    async def count_tokens(self, request: ModelRequest) -> int:
        """Return the input tokens of `request`, estimated: the protocol does not count."""
        return request.estimate_tokens()

    async def close(self) -> None:
        """Close the connections to this server that this event loop's calls share."""
        clients = _clients.get(asyncio.get_running_loop(), {})
        client = clients.pop(self.url, None)
        if client is not None:
            await client.close()

    def _request_body(self, request: ModelRequest) -> dict[str, Any]:
        system = [{"role": "system", "content": request.system}] if request.system else []
        # OpenAI's newer models take only the new name, most compatible servers only the old one.
        limit = "max_completion_tokens" if self.url == OPENAI_URL else "max_tokens"
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [*system, *({"role": m.role, "content": m.text} for m in request.messages)],
            limit: request.max_tokens,
        }
        if request.stop:
            body["stop"] = list(request.stop)
        if request.temperature is not None and prices.model_card(self.model).sampling:
            body["temperature"] = request.temperature
        if request.max_tokens > STREAM_OVER_TOKENS:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    async def _send_request(
        self, client: AsyncOpenAI, body: dict[str, Any], request: ModelRequest
    ) -> ModelReply:
        sdk = _load_sdk()
        try:
            if "stream" in body:
                return await self._read_stream(
                    await client.chat.completions.create(**body), request
                )
            return self._parse_completion(await client.chat.completions.create(**body), request)
        except sdk.APIStatusError as error:
            raise self._status_error(error) from error
        except sdk.APIConnectionError as error:
            raise self._connection_error(error) from error
        except sdk.APIError as error:  # an error event in a stream that had begun
            raise self._incomplete_error(error.message) from error
        except (sdk.OpenAIError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise unreadable_reply(self.url, "it is not the JSON of a chat completion") from error

    def _parse_completion(self, reply: Any, request: ModelRequest) -> ModelReply:
        choice = reply.choices[0]
        said = choice.message
        reason = "content_filter" if said.refusal and not said.content else choice.finish_reason
        return self._make_reply(_content_text(said.content), reason, reply.usage, request)

    async def _read_stream(self, stream: Any, request: ModelRequest) -> ModelReply:
        parts, reason, usage = [], None, None
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices[:1]:
                parts.append(_content_text(choice.delta.content))
                reason = choice.finish_reason or reason
        if reason is None:
            raise self._incomplete_error("no finish reason")
        return self._make_reply("".join(parts), reason, usage, request)

    def _make_reply(
        self, text: str, reason: str | None, used: Any, request: ModelRequest
    ) -> ModelReply:
        if type(text) is not str:
            raise unreadable_reply(self.url, "its content is no text")
        stop = _STOP_REASONS.get(str(reason).lower(), "end")
        if used is None or getattr(used, "completion_tokens", None) is None:
            usage = TokenUsage(request.estimate_tokens(), reserve_tokens(text))
            return ModelReply(text, usage, self.model, None, stop)
        usage = checked_usage(self.url, lambda: _parse_usage(used))
        cost = prices.request_cost_usd(self.model, usage)
        return ModelReply(text, usage, self.model, cost, stop)

    def _status_error(self, error: Any) -> ModelError:
        body = error.body if isinstance(error.body, dict) else {}
        body = body["error"] if isinstance(body.get("error"), dict) else body
        said = str(body.get("message") or error.message or "")
        kind, retryable = failure_kind(error.status_code, f"{error.code} {said}")
        return ModelError(
            failure_sentence(self.url, kind, said),
            kind=kind,
            retryable=retryable,
            retry_after_s=parse_retry_after(error.response.headers.get("retry-after")),
            status=error.status_code,
        )

    def _connection_error(self, error: BaseException) -> ModelError:
        if type(error.__cause__).__name__ not in ("ConnectError", "ConnectTimeout"):
            return self._incomplete_error("connection lost")
        return ModelError(
            f"{self.url} cannot be reached; is the server running?",
            kind="network",
            retryable=True,
            attempts=0,
        )

    def _incomplete_error(self, said: str) -> ModelError:
        return ModelError(
            f"{self.url} broke off before its reply was whole ({safe_excerpt(said)}); try again.",
            kind="network",
            retryable=True,
            spent_usd=None,
        )

    async def _get_client(self) -> AsyncOpenAI:
        clients = _clients.setdefault(asyncio.get_running_loop(), {})
        if self.url not in clients:
            await asyncio.to_thread(_load_sdk)
            key = os.environ.get("OPENAI_API_KEY") if self.url == key_base_url() else None
            # The SDK insists on a key; servers without one ignore what they get.
            made = _load_sdk().AsyncOpenAI(
                base_url=self.url, api_key=key or "none", max_retries=0, timeout=600.0
            )
            clients.setdefault(self.url, made)
        return clients[self.url]


def _content_text(content: Any) -> Any:
    """Return a reply's content as text: servers send a text, a list of parts, or nothing."""
    if content is None:
        return ""
    if isinstance(content, list):
        parts = [part if isinstance(part, str) else _part_text(part) for part in content]
        return "".join(parts)
    return content


def _part_text(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else getattr(part, "text", None)
    return text if isinstance(text, str) else ""


def _parse_usage(used: Any) -> TokenUsage:
    cached = getattr(getattr(used, "prompt_tokens_details", None), "cached_tokens", None) or 0
    return TokenUsage(int(used.prompt_tokens) - cached, int(used.completion_tokens), cached)


def key_base_url() -> str:
    """Return the base URL that the user's key belongs to."""
    return (os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, AsyncOpenAI]] = WeakKeyDictionary()
"""Clients by base URL, per event loop: connections cannot be shared between loops."""


def _load_sdk() -> Any:
    """Return the SDK. Importing it takes 0.7 to 1.5 s, so the first time belongs in a thread."""
    try:
        return importlib.import_module("openai")
    except ModuleNotFoundError as error:
        raise ModelError(
            'openai: needs the extra: pip install "rlm-mcp[openai]".', kind="auth", attempts=0
        ) from error
