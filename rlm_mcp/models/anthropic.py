"""Claude over the Anthropic API, through the official SDK.

Key and base URL come from the environment as the SDK reads them (ANTHROPIC_API_KEY,
ANTHROPIC_AUTH_TOKEN, ANTHROPIC_BASE_URL); this file never sees, stores or logs them. Retries are
ours (the SDK's are off), so that every request that was sent is counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from rlm_mcp.errors import ModelError
from rlm_mcp.models import estimate, prices
from rlm_mcp.models.model import Message, Price, Reply, Request, Usage
from rlm_mcp.models.retry import Retry
from rlm_mcp.models.status import (
    counted,
    kind_of,
    seconds,
    sentence,
    unreadable,
    words,
)

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

WHO = "The Anthropic API"
STREAM_OVER = 8_192
"""Output tokens from which a reply is streamed: a silent connection that long may be cut."""

COUNT_OVER = 32_000
"""Estimated input tokens from which the provider is asked to count: below that, a round trip
for each sub-call would cost more than the estimate's excess."""

TIMEOUT_S = 600.0
"""How long the SDK waits by itself; a request's own limit is usually sooner."""

CACHE_MARKS = 3
"""Messages that can be marked: the API takes four marks a request, one is the system text's."""

_IN_STREAM = {"overloaded_error": 529, "rate_limit_error": 429, "api_error": 500}
"""What an error event means; the status of its stream was 200."""

_STOPS: dict[str, Literal["end", "max_tokens", "stop", "refused"]] = {
    "end_turn": "end",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "stop_sequence": "stop",
    "refusal": "refused",
}


class Anthropic:
    """One model of the Anthropic API. Calls share a client, its connections and its retries."""

    concurrency: int | None = None

    def __init__(self, model: str) -> None:
        self.model = prices.resolve(model)
        self.spec = f"anthropic:{self.model}"
        self._retry = Retry()
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    @property
    def window(self) -> int:
        return prices.card(self.model).window

    @property
    def price(self) -> Price | None:
        return prices.card(self.model).price

    async def ready(self) -> None:
        """Raise ModelError where there is no key."""
        await _client()

    async def complete(self, request: Request) -> Reply:
        """Return the model's reply. Raises ModelError; a cancelled call closes its request."""
        client = await _client()
        body = self._body(request)
        reply = await self._retry.run(lambda: self._send(client, body), request.timeout_s)
        self._remember(request, reply.usage)
        return reply

    async def count(self, request: Request) -> int:
        """Return the input tokens of `request`.

        A growing conversation is counted from the usage of its last reply; another large prompt by
        the provider (free of charge); a small one, and any where that fails, by estimate.
        """
        known = self._known(request)
        if known is not None:
            return known
        guess = estimate.request_tokens(request)
        if guess <= COUNT_OVER:
            return guess
        body = self._body(request)
        fields = {name: body[name] for name in ("model", "system", "messages") if name in body}
        try:
            client = await _client()
            told = await client.messages.count_tokens(**fields, timeout=20.0)
            tokens = counted(WHO, lambda: Usage(told.input_tokens)).input
        except (_sdk().AnthropicError, ModelError):
            return guess
        self._keep(_digests(request)[-1], tokens)
        return tokens

    async def close(self) -> None:
        """Close the connections that this event loop's calls share."""
        client = _clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": min(request.max_tokens, prices.card(self.model).max_output),
            "messages": _messages(request.messages),
        }
        if request.system:
            body["system"] = [_block(request.system)]
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        if request.temperature is not None and prices.card(self.model).sampling:
            # The SDK has no such parameter since 2.0; older models still take it.
            body["extra_body"] = {"temperature": request.temperature}
        return body

    async def _send(self, client: AsyncAnthropic, body: dict[str, Any]) -> Reply:
        sdk = _sdk()
        began = False
        try:
            if body["max_tokens"] > STREAM_OVER:
                async with client.messages.stream(**body) as stream:
                    async for _ in stream:
                        began = True
                    message = await stream.get_final_message()
            else:
                message = await client.messages.create(**body)
        except sdk.APIStatusError as error:
            raise _status_error(error, began) from error
        except sdk.APITimeoutError as error:
            raise ModelError(
                "The connection to the Anthropic API went silent; try again.",
                kind="timeout",
                retryable=True,
                spent_usd=None,
            ) from error
        except sdk.APIConnectionError as error:
            raise _lost(error) from error
        except (sdk.AnthropicError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise unreadable(WHO, "it is not the JSON of a message") from error
        return self._reply(message)

    def _reply(self, message: Any) -> Reply:
        """Read a message; the SDK does not check what it was sent, so this does."""
        if getattr(message, "stop_reason", "") is None and message.content is not None:
            raise _broken_off("no stop reason")
        try:
            text = "".join([block.text for block in message.content if block.type == "text"])
        except (AttributeError, TypeError) as error:
            raise unreadable(WHO, "its content is no list of blocks with text") from error
        usage = counted(
            WHO,
            lambda: Usage(
                message.usage.input_tokens,
                message.usage.output_tokens,
                message.usage.cache_read_input_tokens or 0,
                message.usage.cache_creation_input_tokens or 0,
            ),
        )
        stop = _STOPS.get(str(message.stop_reason))
        if stop is None:
            raise unreadable(
                WHO, f"it stopped for a reason that is not known, {message.stop_reason!r}"
            )
        cost = prices.cost(self.model, usage)
        return Reply(text, usage, self.model, cost, stop, prompt_tokens=usage.prompt)

    def _remember(self, request: Request, usage: Usage) -> None:
        if request.messages:
            self._keep(_digests(request)[-1], usage.prompt)

    def _keep(self, digest: bytes, tokens: int) -> None:
        self._counts[digest] = tokens
        if len(self._counts) > 1_000:
            self._counts.popitem(last=False)

    def _known(self, request: Request) -> int | None:
        """Return what an earlier count of a prefix says, the rest estimated."""
        rest = 0
        for digest, message in zip(
            reversed(_digests(request)), reversed(request.messages), strict=True
        ):
            if digest in self._counts:
                return self._counts[digest] + rest
            rest += estimate.tokens(message.text) + estimate.PER_MESSAGE
        return None


def _digests(request: Request) -> list[bytes]:
    """Return a digest of each prefix: the system text, then with each message more."""
    digest = hashlib.blake2b(request.system.encode("utf-8", "surrogatepass"), digest_size=16)
    digests = []
    for message in request.messages:
        text = message.text.encode("utf-8", "surrogatepass")
        digest.update(b"%s %d " % (message.role.encode(), len(text)) + text)
        digests.append(digest.digest())
    return digests


def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    marked = [number for number, message in enumerate(messages) if message.cache][-CACHE_MARKS:]
    return [
        {
            "role": message.role,
            # A text is the short form of one block, and the SDK copies a request block by block.
            "content": [_block(message.text)] if number in marked else _sendable(message.text),
        }
        for number, message in enumerate(messages)
    ]


def _block(text: str) -> dict[str, Any]:
    """Return a text block at whose end a cached prefix ends."""
    return {"type": "text", "text": _sendable(text), "cache_control": {"type": "ephemeral"}}


def _sendable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _status_error(error: Any, began: bool) -> ModelError:
    said = str(error.api_message or "")
    if began:
        return _broken_off(said)
    status: int = _IN_STREAM.get(error.type, error.status_code)
    kind, retryable = kind_of(status, said)
    return ModelError(
        sentence(WHO, kind, said),
        kind=kind,
        retryable=retryable,
        retry_after_s=seconds(error.response.headers.get("retry-after")),
        status=status,
    )


def _lost(error: BaseException) -> ModelError:
    if type(error.__cause__).__name__ not in ("ConnectError", "ConnectTimeout"):
        return _broken_off("connection lost")
    return ModelError(
        "The Anthropic API cannot be reached; check the network and ANTHROPIC_BASE_URL.",
        kind="network",
        retryable=True,
        attempts=0,
    )


def _broken_off(said: str) -> ModelError:
    return ModelError(
        f"The Anthropic API broke off before its reply was whole ({words(said)}); try again.",
        kind="network",
        retryable=True,
        spent_usd=None,
    )


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncAnthropic] = WeakKeyDictionary()
"""One client per event loop: connections cannot be shared between loops."""


async def _client() -> AsyncAnthropic:
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        await asyncio.to_thread(_sdk)
        try:
            made = await asyncio.to_thread(_made)
        except _sdk().AnthropicError as error:
            raise ModelError(
                f"The Anthropic SDK cannot start: {error}.", kind="auth", attempts=0
            ) from error
        if not (made.api_key or made.auth_token or made.credentials):
            raise ModelError(
                "There is no key for the Anthropic API; set ANTHROPIC_API_KEY, or use another "
                "model (claude-cli:, extractive:).",
                kind="auth",
                attempts=0,
            )
        _clients.setdefault(loop, made)
    return _clients[loop]


def _made() -> AsyncAnthropic:
    from rlm_mcp.models import pools  # imports 0.1 s of what the SDK brings

    sdk = _sdk()
    http = sdk.DefaultAsyncHttpxClient(timeout=TIMEOUT_S, mounts=pools.mounts())
    made: AsyncAnthropic = sdk.AsyncAnthropic(max_retries=0, timeout=TIMEOUT_S, http_client=http)
    return made


def _sdk() -> Any:
    """Return the SDK. Importing it takes 1.3 to 1.7 s, so the first time belongs in a thread."""
    return importlib.import_module("anthropic")
