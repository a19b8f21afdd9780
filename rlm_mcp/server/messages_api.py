"""A Messages endpoint: a run behind the interface of a model call.

A client that only changes its base URL can send a prompt of any size: what is too long to read
becomes the variable `context` of a run. Usage is summed over the run. Status, cost and run id
are headers; where the reply is streamed they are not known that early and stand in the last
message_delta. What a run cannot honour (tools, images, sampling) is refused with a sentence. The
header rlm-mode chooses how the run works; a model is configured or has a known price.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rlm_mcp.errors import BadRequest, BudgetSpent, Denied, ModelError, RlmError
from rlm_mcp.redact import redact
from rlm_mcp.server.messages_request import MessagesRequest, parse_request

if TYPE_CHECKING:
    from rlm_mcp.server.server_state import ServerState

log = logging.getLogger("rlm_mcp")

MAX_BODY_BYTES = 256 << 20
"""Bytes of one request: 10 million tokens are about 50 MB of JSON."""
MODE_HEADER = "rlm-mode"
"""How a request names the mode (auto, direct, environment, recursive), and a reply the one used."""
REASON_CHARS = 500
PING_S = 5.0
PIECE_CHARS = 2_000
"""Characters of one streamed piece."""


def messages_routes(server_state: ServerState) -> list[Route]:
    """Return the routes of the endpoint over one workspace."""

    async def post_message(request: Request) -> Response:
        try:
            body = await _read_body(request)
            prompt = await asyncio.to_thread(parse_request, body)
            mode = request.headers.get(MODE_HEADER, "auto")
            (await server_state.get_workspace()).check_permitted(prompt.model, mode)
        except ClientDisconnect:
            return Response(status_code=499)
        except RlmError as error:
            return _failure_response(error)
        run = asyncio.create_task(_run_request(server_state, prompt, mode))
        if prompt.stream:
            return StreamingResponse(_stream_reply(run, prompt), media_type="text/event-stream")
        return await _whole_reply(request, run, prompt)

    async def not_served(request: Request) -> Response:
        text = f"{request.url.path} is not served here; there is POST /v1/messages."
        return _error_response(404, "not_found_error", text)

    return [
        Route("/v1/messages", post_message, methods=["POST"]),
        Route("/v1/{path:path}", not_served, methods=["GET", "POST"]),
    ]


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise BadRequest(f"The request has more than {MAX_BODY_BYTES >> 20} MB.")
    return bytes(body)


async def _run_request(server_state: ServerState, prompt: MessagesRequest, mode: str) -> Any:
    workspace = await server_state.get_workspace()
    variables = {}
    if prompt.texts:
        items = [(path, text.encode("utf-8", "surrogatepass")) for path, text in prompt.texts]
        variables["context"] = await asyncio.to_thread(
            workspace.services.open_texts, "context", "the prompt of this request", items
        )
    try:
        async with server_state.track_task():
            return await workspace.run_query(
                prompt.question,
                refs=tuple(variables),
                contexts=tuple(variables),
                variables=variables,
                model=prompt.model,
                mode=mode,
            )
    finally:
        for variable in variables.values():
            variable.close()


async def _whole_reply(
    request: Request, run: asyncio.Task[Any], prompt: MessagesRequest
) -> Response:
    try:
        while not run.done():
            await asyncio.wait({run}, timeout=0.5)
            if not run.done() and await request.is_disconnected():
                return Response(status_code=499)
        result = run.result()
    except Exception as error:
        return _failure_response(error)
    finally:
        await _stop_run(run)
    if result.status == "failed":
        status, kind = _failure(result)
        return _error_response(
            status, kind, f"The run failed: {result.reason}", _result_headers(result)
        )
    text, stop = _cut_answer(redact(result.answer), prompt.max_tokens)
    message = _message_dict(f"msg_{result.run}", result.model, _usage_dict(result))
    message |= {"content": [{"type": "text", "text": text}], "stop_reason": stop}
    return JSONResponse(message, headers=_result_headers(result))


async def _stream_reply(run: asyncio.Task[Any], prompt: MessagesRequest) -> AsyncIterator[str]:
    try:
        empty = {"input_tokens": 0, "output_tokens": 0}
        message = _message_dict(f"msg_{id(run):x}", prompt.model or "rlm", empty)
        yield _sse_event("message_start", message=message)
        block = {"type": "text", "text": ""}
        yield _sse_event("content_block_start", index=0, content_block=block)
        while not run.done():
            await asyncio.wait({run}, timeout=PING_S)
            if not run.done():
                yield _sse_event("ping")
        try:
            result = run.result()
        except Exception as error:
            yield _sse_event("error", error=_error_detail(error)[1])
            return
        if result.status == "failed":
            sentence = f"The run failed: {redact(result.reason)}"
            yield _sse_event("error", error={"type": _failure(result)[1], "message": sentence})
            return
        text, stop = _cut_answer(redact(result.answer), prompt.max_tokens)
        for start in range(0, len(text), PIECE_CHARS):
            delta = {"type": "text_delta", "text": text[start : start + PIECE_CHARS]}
            yield _sse_event("content_block_delta", index=0, delta=delta)
        yield _sse_event("content_block_stop", index=0)
        facts = {
            name.removeprefix("rlm-"): value for name, value in _result_headers(result).items()
        }
        end = {"stop_reason": stop, "stop_sequence": None}
        yield _sse_event("message_delta", delta=end, usage=_usage_dict(result), rlm=facts)
        yield _sse_event("message_stop")
    finally:
        await _stop_run(run)


async def _stop_run(run: asyncio.Task[Any]) -> None:
    """End a run whose client is gone; one that is done stays as it is."""
    run.cancel()
    with contextlib.suppress(asyncio.CancelledError, RlmError):
        await asyncio.wait({run})


def _sse_event(type: str, **data: Any) -> str:
    return f"event: {type}\ndata: {json.dumps({'type': type, **data})}\n\n"


def _message_dict(id: str, model: str, usage: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": dict(usage),
    }


def _usage_dict(result: Any) -> dict[str, int]:
    usage = result.usage
    return {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation_input_tokens": usage.cache_write,
    }


def _result_headers(result: Any) -> dict[str, str]:
    cost = "unknown" if result.cost_usd is None else f"{result.cost_usd:.6f}"
    return {
        "rlm-status": result.status,
        "rlm-coverage": f"{result.done}/{result.total}",
        "rlm-cost-usd": cost,
        "rlm-run": result.run,
        MODE_HEADER: result.mode,
        # A header holds one line of printable ASCII.
        "rlm-reason": "".join(
            char if " " <= char <= "~" else "?" for char in redact(result.reason)[:REASON_CHARS]
        ),
    }


def _failure(result: Any) -> tuple[int, str]:
    """Return the status and the kind of error of a run that failed."""
    return (402, "billing_error") if result.over_budget else (502, "api_error")


def _cut_answer(text: str, max_tokens: int) -> tuple[str, str]:
    """Return the answer within max_tokens (four characters each), and why it stops."""
    most = max_tokens * 4
    return (text, "end_turn") if len(text) <= most else (text[:most], "max_tokens")


def _failure_response(error: Exception) -> JSONResponse:
    status, detail = _error_detail(error)
    return _error_response(status, detail["type"], detail["message"])


def _error_detail(error: Exception) -> tuple[int, dict[str, str]]:
    status, kind = 500, "api_error"
    if not isinstance(error, RlmError):
        log.error("A run broke", exc_info=error)
        sentence = f"The run broke inside rlm-mcp ({type(error).__name__}); its log says how."
        return status, {"type": kind, "message": sentence}
    if isinstance(error, BadRequest):
        status, kind = 400, "invalid_request_error"
    elif isinstance(error, Denied):
        status, kind = 403, "permission_error"
    elif isinstance(error, BudgetSpent):
        status, kind = 402, "billing_error"
    elif isinstance(error, ModelError) and error.kind in ("rate", "overloaded"):
        status, kind = 529, "overloaded_error"
    return status, {"type": kind, "message": redact(str(error))}


def _error_response(
    status: int, kind: str, sentence: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    body = {"type": "error", "error": {"type": kind, "message": redact(sentence)}}
    # A client that repeats a run pays for it twice.
    return JSONResponse(body, status, headers={**(headers or {}), "x-should-retry": "false"})
