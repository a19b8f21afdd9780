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
from rlm_mcp.models import estimate, prices
from rlm_mcp.models.model import Price, Reply, Request, Usage
from rlm_mcp.models.retry import Retry
from rlm_mcp.models.status import counted, kind_of, seconds, sentence, unreadable, words

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OWN_URL = "https://api.openai.com/v1"
STREAM_OVER = 8_192
"""Output tokens from which a reply is streamed: a silent connection that long may be cut."""

_STOPS: dict[str | None, Literal["end", "max_tokens", "stop", "refused"]] = {
    "stop": "end",
    "length": "max_tokens",
    "content_filter": "refused",
}


class OpenAI:
    """One model of one server."""

    concurrency: int | None = None

    def __init__(self, model: str, url: str = "") -> None:
        self.model = model
        self.url = (url or home()).rstrip("/")
        self.spec = f"openai:{model}@{url}" if url else f"openai:{model}"
        self._retry = Retry()

    @property
    def window(self) -> int:
        return prices.card(self.model).window

    @property
    def price(self) -> Price | None:
        return prices.card(self.model).price

    async def ready(self) -> None:
        """Raise ModelError where the extra is missing, or the key for OpenAI itself."""
        await asyncio.to_thread(_sdk)
        if self.url == OWN_URL and not os.environ.get("OPENAI_API_KEY"):
            raise ModelError(
                "There is no key for OpenAI; set OPENAI_API_KEY, or name a server of your own: "
                "openai:<model>@<base url>.",
                kind="auth",
                attempts=0,
            )

    async def complete(self, request: Request) -> Reply:
        """Return the model's reply. Raises ModelError; a cancelled call closes its request."""
        client = await self._client()
        body = self._body(request)
        return await self._retry.run(lambda: self._send(client, body, request), request.timeout_s)

    async def count(self, request: Request) -> int:
        """Return the input tokens of `request`, estimated: the protocol does not count."""
        return estimate.request_tokens(request)

    async def close(self) -> None:
        """Close the connections to this server that this event loop's calls share."""
        clients = _clients.get(asyncio.get_running_loop(), {})
        client = clients.pop(self.url, None)
        if client is not None:
            await client.close()

    def _body(self, request: Request) -> dict[str, Any]:
        system = [{"role": "system", "content": request.system}] if request.system else []
        # OpenAI's newer models take only the new name, most compatible servers only the old one.
        limit = "max_completion_tokens" if self.url == OWN_URL else "max_tokens"
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [*system, *({"role": m.role, "content": m.text} for m in request.messages)],
            limit: request.max_tokens,
        }
        if request.stop:
            body["stop"] = list(request.stop)
        if request.temperature is not None and prices.card(self.model).sampling:
            body["temperature"] = request.temperature
        if request.max_tokens > STREAM_OVER:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    async def _send(self, client: AsyncOpenAI, body: dict[str, Any], request: Request) -> Reply:
        sdk = _sdk()
        try:
            if "stream" in body:
                return await self._read(await client.chat.completions.create(**body), request)
            return self._whole(await client.chat.completions.create(**body), request)
        except sdk.APIStatusError as error:
            raise self._status_error(error) from error
        except sdk.APIConnectionError as error:
            raise self._lost(error) from error
        except sdk.APIError as error:  # an error event in a stream that had begun
            raise self._broken_off(error.message) from error
        except (sdk.OpenAIError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise unreadable(self.url, "it is not the JSON of a chat completion") from error

    def _whole(self, reply: Any, request: Request) -> Reply:
        choice = reply.choices[0]
        said = choice.message
        reason = "content_filter" if said.refusal and not said.content else choice.finish_reason
        return self._reply(said.content or "", reason, reply.usage, request)

    async def _read(self, stream: Any, request: Request) -> Reply:
        parts, reason, usage = [], None, None
        async for chunk in stream:
            usage = chunk.usage or usage
            for choice in chunk.choices[:1]:
                parts.append(choice.delta.content or "")
                reason = choice.finish_reason or reason
        if reason is None:
            raise self._broken_off("no finish reason")
        return self._reply("".join(parts), reason, usage, request)

    def _reply(self, text: str, reason: str, used: Any, request: Request) -> Reply:
        if type(text) is not str:
            raise unreadable(self.url, "its content is no text")
        stop = _STOPS.get(reason)
        if stop is None:
            said = f"it finished for a reason that is not known here, {reason!r}"
            raise unreadable(self.url, said)
        if used is None:
            usage = Usage(estimate.request_tokens(request), estimate.tokens(text))
            return Reply(text, usage, self.model, None, stop)
        usage = counted(self.url, lambda: _usage(used))
        cost = prices.cost(self.model, usage)
        return Reply(text, usage, self.model, cost, stop, prompt_tokens=usage.prompt)

    def _status_error(self, error: Any) -> ModelError:
        body = error.body if isinstance(error.body, dict) else {}
        body = body["error"] if isinstance(body.get("error"), dict) else body
        said = str(body.get("message") or error.message or "")
        kind, retryable = kind_of(error.status_code, f"{error.code} {said}")
        return ModelError(
            sentence(self.url, kind, said),
            kind=kind,
            retryable=retryable,
            retry_after_s=seconds(error.response.headers.get("retry-after")),
            status=error.status_code,
        )

    def _lost(self, error: BaseException) -> ModelError:
        if type(error.__cause__).__name__ not in ("ConnectError", "ConnectTimeout"):
            return self._broken_off("connection lost")
        return ModelError(
            f"{self.url} cannot be reached; is the server running?",
            kind="network",
            retryable=True,
            attempts=0,
        )

    def _broken_off(self, said: str) -> ModelError:
        return ModelError(
            f"{self.url} broke off before its reply was whole ({words(said)}); try again.",
            kind="network",
            retryable=True,
            spent_usd=None,
        )

    async def _client(self) -> AsyncOpenAI:
        clients = _clients.setdefault(asyncio.get_running_loop(), {})
        if self.url not in clients:
            await asyncio.to_thread(_sdk)
            key = os.environ.get("OPENAI_API_KEY") if self.url == home() else None
            # The SDK insists on a key; servers without one ignore what they get.
            made = _sdk().AsyncOpenAI(
                base_url=self.url, api_key=key or "none", max_retries=0, timeout=600.0
            )
            clients.setdefault(self.url, made)
        return clients[self.url]


def _usage(used: Any) -> Usage:
    cached = getattr(used.prompt_tokens_details, "cached_tokens", None) or 0
    return Usage(int(used.prompt_tokens) - cached, int(used.completion_tokens), cached)


def home() -> str:
    """Return the base URL that the user's key belongs to."""
    return (os.environ.get("OPENAI_BASE_URL") or OWN_URL).rstrip("/")


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, AsyncOpenAI]] = WeakKeyDictionary()
"""Clients by base URL, per event loop: connections cannot be shared between loops."""


def _sdk() -> Any:
    """Return the SDK. Importing it takes 0.7 to 1.5 s, so the first time belongs in a thread."""
    try:
        return importlib.import_module("openai")
    except ModuleNotFoundError as error:
        raise ModelError(
            'openai: needs the extra: pip install "rlm-mcp[openai]".', kind="auth", attempts=0
        ) from error
