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

from rlm_mcp.encodings import without_surrogates
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
from rlm_mcp.models.model import ChatMessage, ModelReply, ModelRequest, Price, TokenUsage
from rlm_mcp.models.retry import Retry
from rlm_mcp.tokens import TOKENS_PER_MESSAGE, reserve_tokens

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

PROVIDER_NAME = "The Anthropic API"
STREAM_OVER_TOKENS = 8_192
"""Output tokens from which a reply is streamed: a silent connection that long may be cut."""

COUNT_OVER_TOKENS = 32_000
"""Estimated input tokens from which the provider is asked to count: below that, a round trip
for each sub-call would cost more than the estimate's excess."""

TIMEOUT_S = 600.0
"""How long the SDK waits by itself; a request's own limit is usually sooner."""

MAX_CACHE_MARKS = 3
"""Messages that can be marked: the API takes four marks a request, one is the system text's."""

_STREAM_ERROR_STATUS = {"overloaded_error": 529, "rate_limit_error": 429, "api_error": 500}
"""What an error event means; the status of its stream was 200."""

_STOP_REASONS: dict[str, Literal["end", "max_tokens", "stop", "refused"]] = {
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
        self.model = prices.resolve_alias(model)
        self.spec = f"anthropic:{self.model}"
        self._retry = Retry()
        self._counts: OrderedDict[bytes, int] = OrderedDict()

    @property
    def window_tokens(self) -> int:
        return prices.model_card(self.model).window

    @property
    def price(self) -> Price | None:
        return prices.model_card(self.model).price

    async def check_ready(self) -> None:
        """Raise ModelError where there is no key."""
        await _get_client()

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the model's reply. Raises ModelError; a cancelled call closes its request."""
        client = await _get_client()
        body = self._request_body(request)
        reply = await self._retry.send_with_retry(
            lambda: self._send_request(client, body), request.timeout_s, request.patience_s
        )
        self._remember_usage(request, reply.usage)
        return reply

    async def count_tokens(self, request: ModelRequest) -> int:
        """Return the input tokens of `request`.

        A growing conversation is counted from the usage of its last reply; another large prompt by
        the provider (free of charge); a small one, and any where that fails, by estimate.
        """
        known = self._known_count(request)
        if known is not None:
            return known
        guess = request.estimate_tokens()
        if guess <= COUNT_OVER_TOKENS:
            return guess
        body = self._request_body(request)
        fields = {name: body[name] for name in ("model", "system", "messages") if name in body}
        try:
            client = await _get_client()
            told = await client.messages.count_tokens(**fields, timeout=20.0)
            tokens = checked_usage(PROVIDER_NAME, lambda: TokenUsage(told.input_tokens)).input
        except (_load_sdk().AnthropicError, ModelError):
            return guess
        self._store_count(_prefix_digests(request)[-1], tokens)
        return tokens

    async def close(self) -> None:
        """Close the connections that this event loop's calls share."""
        client = _clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    def _request_body(self, request: ModelRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": min(request.max_tokens, prices.model_card(self.model).max_output),
            "messages": _message_dicts(request.messages),
        }
        if request.system:
            body["system"] = [_cached_block(request.system)]
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        if request.temperature is not None and prices.model_card(self.model).sampling:
            # The SDK has no such parameter since 2.0; older models still take it.
            body["extra_body"] = {"temperature": request.temperature}
        return body

    async def _send_request(self, client: AsyncAnthropic, body: dict[str, Any]) -> ModelReply:
        sdk = _load_sdk()
        began = False
        try:
            if body["max_tokens"] > STREAM_OVER_TOKENS:
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
            raise _connection_error(error) from error
        except (sdk.AnthropicError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise unreadable_reply(PROVIDER_NAME, "it is not the JSON of a message") from error
        return self._parse_reply(message)

    def _parse_reply(self, message: Any) -> ModelReply:
        """Read a message; the SDK does not check what it was sent, so this does."""
        if getattr(message, "stop_reason", "") is None and message.content is not None:
            raise _incomplete_error("no stop reason")
        try:
            text = "".join([block.text for block in message.content if block.type == "text"])
        except (AttributeError, TypeError) as error:
            raise unreadable_reply(
                PROVIDER_NAME, "its content is no list of blocks with text"
            ) from error
        usage = checked_usage(
            PROVIDER_NAME,
            lambda: TokenUsage(
                message.usage.input_tokens,
                message.usage.output_tokens,
                message.usage.cache_read_input_tokens or 0,
                message.usage.cache_creation_input_tokens or 0,
            ),
        )
        # A reason that is not known (a tool, a pause) ends a whole reply, which was paid for.
        stop = _STOP_REASONS.get(str(message.stop_reason), "end")
        cost = prices.request_cost_usd(self.model, usage)
        return ModelReply(text, usage, self.model, cost, stop)

    def _remember_usage(self, request: ModelRequest, usage: TokenUsage) -> None:
        if request.messages:
            self._store_count(_prefix_digests(request)[-1], usage.prompt_tokens)

    def _store_count(self, digest: bytes, tokens: int) -> None:
        self._counts[digest] = tokens
        if len(self._counts) > 1_000:
            self._counts.popitem(last=False)

    def _known_count(self, request: ModelRequest) -> int | None:
        """Return what an earlier count of a prefix says, the rest estimated."""
        rest = 0
        for digest, message in zip(
            reversed(_prefix_digests(request)), reversed(request.messages), strict=True
        ):
            if digest in self._counts:
                return self._counts[digest] + rest
            rest += reserve_tokens(message.text) + TOKENS_PER_MESSAGE
        return None


def _prefix_digests(request: ModelRequest) -> list[bytes]:
    """Return a digest of each prefix: the system text, then with each message more."""
    digest = hashlib.blake2b(request.system.encode("utf-8", "surrogatepass"), digest_size=16)
    digests = []
    for message in request.messages:
        text = message.text.encode("utf-8", "surrogatepass")
        digest.update(b"%s %d " % (message.role.encode(), len(text)) + text)
        digests.append(digest.digest())
    return digests


def _message_dicts(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    marked = [number for number, message in enumerate(messages) if message.cache][-MAX_CACHE_MARKS:]
    return [
        {
            "role": message.role,
            # A text is the short form of one block, and the SDK copies a request block by block.
            "content": [_cached_block(message.text)]
            if number in marked
            else without_surrogates(message.text),
        }
        for number, message in enumerate(messages)
    ]


def _cached_block(text: str) -> dict[str, Any]:
    """Return a text block at whose end a cached prefix ends."""
    return {
        "type": "text",
        "text": without_surrogates(text),
        "cache_control": {"type": "ephemeral"},
    }


def _status_error(error: Any, began: bool) -> ModelError:
    said = str(error.api_message or "")
    if began:
        return _incomplete_error(said)
    status: int = _STREAM_ERROR_STATUS.get(error.type, error.status_code)
    kind, retryable = failure_kind(status, said)
    return ModelError(
        failure_sentence(PROVIDER_NAME, kind, said),
        kind=kind,
        retryable=retryable,
        retry_after_s=parse_retry_after(error.response.headers.get("retry-after")),
        status=status,
    )


def _connection_error(error: BaseException) -> ModelError:
    if type(error.__cause__).__name__ not in ("ConnectError", "ConnectTimeout"):
        return _incomplete_error("connection lost")
    return ModelError(
        "The Anthropic API cannot be reached; check the network and ANTHROPIC_BASE_URL.",
        kind="network",
        retryable=True,
        attempts=0,
    )


def _incomplete_error(said: str) -> ModelError:
    return ModelError(
        f"The Anthropic API broke off before its reply was whole "
        f"({safe_excerpt(said)}); try again.",
        kind="network",
        retryable=True,
        spent_usd=None,
    )


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncAnthropic] = WeakKeyDictionary()
"""One client per event loop: connections cannot be shared between loops."""


async def _get_client() -> AsyncAnthropic:
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        await asyncio.to_thread(_load_sdk)
        try:
            made = await asyncio.to_thread(_make_client)
        except _load_sdk().AnthropicError as error:
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


def _make_client() -> AsyncAnthropic:
    from rlm_mcp.models import http_pool  # imports 0.1 s of what the SDK brings

    sdk = _load_sdk()
    http = sdk.DefaultAsyncHttpxClient(timeout=TIMEOUT_S, mounts=http_pool.client_mounts())
    made: AsyncAnthropic = sdk.AsyncAnthropic(max_retries=0, timeout=TIMEOUT_S, http_client=http)
    return made


def _load_sdk() -> Any:
    """Return the SDK. Importing it takes 1.3 to 1.7 s, so the first time belongs in a thread."""
    return importlib.import_module("anthropic")
