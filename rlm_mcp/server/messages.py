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
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rlm_mcp.errors import BadRequest, BudgetSpent, Denied, ModelError, RlmError
from rlm_mcp.redact import redact
from rlm_mcp.server.office import Office
from rlm_mcp.server.prompt import Prompt, parse

log = logging.getLogger("rlm_mcp")

LARGEST_BODY = 256 << 20
"""Bytes of one request: 10 million tokens are about 50 MB of JSON."""
MODE_HEADER = "rlm-mode"
"""How a request names the mode (auto, direct, environment, recursive), and a reply the one used."""
REASON_CHARS = 500
PING_S = 5.0
PIECE = 2_000
"""Characters of one streamed piece."""


def routes(office: Office) -> list[Route]:
    """Return the routes of the endpoint over one workspace."""

    async def messages(request: Request) -> Response:
        try:
            body = await _body(request)
            prompt = await asyncio.to_thread(parse, body)
            mode = request.headers.get(MODE_HEADER, "auto")
            (await office.workspace()).permit(prompt.model, mode)
        except ClientDisconnect:
            return Response(status_code=499)
        except RlmError as error:
            return _refused(error)
        run = asyncio.create_task(_run(office, prompt, mode))
        if prompt.stream:
            return StreamingResponse(_streamed(run, prompt), media_type="text/event-stream")
        return await _whole(request, run, prompt)

    async def missing(request: Request) -> Response:
        text = f"{request.url.path} is not served here; there is POST /v1/messages."
        return _error(404, "not_found_error", text)

    return [
        Route("/v1/messages", messages, methods=["POST"]),
        Route("/v1/{path:path}", missing, methods=["GET", "POST"]),
    ]


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST_BODY:
            raise BadRequest(f"The request has more than {LARGEST_BODY >> 20} MB.")
    return bytes(body)


async def _run(office: Office, prompt: Prompt, mode: str) -> Any:
    workspace = await office.workspace()
    variables = {}
    if prompt.texts:
        items = [(path, text.encode("utf-8", "surrogatepass")) for path, text in prompt.texts]
        variables["context"] = await asyncio.to_thread(
            workspace.shared.texts, "context", "the prompt of this request", items
        )
    try:
        async with office.tracked():
            return await workspace.ask(
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


async def _whole(request: Request, run: asyncio.Task[Any], prompt: Prompt) -> Response:
    try:
        while not run.done():
            await asyncio.wait({run}, timeout=0.5)
            if not run.done() and await request.is_disconnected():
                return Response(status_code=499)
        result = run.result()
    except Exception as error:
        return _refused(error)
    finally:
        await _stop(run)
    if result.status == "failed":
        status, kind = _failure(result)
        return _error(status, kind, f"The run failed: {result.reason}", _headers(result))
    text, stop = _cut(redact(result.answer), prompt.max_tokens)
    message = _message(f"msg_{result.run}", result.model, _usage(result))
    message |= {"content": [{"type": "text", "text": text}], "stop_reason": stop}
    return JSONResponse(message, headers=_headers(result))


async def _streamed(run: asyncio.Task[Any], prompt: Prompt) -> AsyncIterator[str]:
    try:
        empty = {"input_tokens": 0, "output_tokens": 0}
        message = _message(f"msg_{id(run):x}", prompt.model or "rlm", empty)
        yield _event("message_start", message=message)
        block = {"type": "text", "text": ""}
        yield _event("content_block_start", index=0, content_block=block)
        while not run.done():
            await asyncio.wait({run}, timeout=PING_S)
            if not run.done():
                yield _event("ping")
        try:
            result = run.result()
        except Exception as error:
            yield _event("error", error=_detail(error)[1])
            return
        if result.status == "failed":
            sentence = f"The run failed: {redact(result.reason)}"
            yield _event("error", error={"type": _failure(result)[1], "message": sentence})
            return
        text, stop = _cut(redact(result.answer), prompt.max_tokens)
        for start in range(0, len(text), PIECE):
            delta = {"type": "text_delta", "text": text[start : start + PIECE]}
            yield _event("content_block_delta", index=0, delta=delta)
        yield _event("content_block_stop", index=0)
        facts = {name.removeprefix("rlm-"): value for name, value in _headers(result).items()}
        end = {"stop_reason": stop, "stop_sequence": None}
        yield _event("message_delta", delta=end, usage=_usage(result), rlm=facts)
        yield _event("message_stop")
    finally:
        await _stop(run)


async def _stop(run: asyncio.Task[Any]) -> None:
    """End a run whose client is gone; one that is done stays as it is."""
    run.cancel()
    with contextlib.suppress(asyncio.CancelledError, RlmError):
        await asyncio.wait({run})


def _event(type: str, **data: Any) -> str:
    return f"event: {type}\ndata: {json.dumps({'type': type, **data})}\n\n"


def _message(id: str, model: str, usage: Mapping[str, int]) -> dict[str, Any]:
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


def _usage(result: Any) -> dict[str, int]:
    usage = result.usage
    return {
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation_input_tokens": usage.cache_write,
    }


def _headers(result: Any) -> dict[str, str]:
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


def _cut(text: str, max_tokens: int) -> tuple[str, str]:
    """Return the answer within max_tokens (four characters each), and why it stops."""
    most = max_tokens * 4
    return (text, "end_turn") if len(text) <= most else (text[:most], "max_tokens")


def _refused(error: Exception) -> JSONResponse:
    status, detail = _detail(error)
    return _error(status, detail["type"], detail["message"])


def _detail(error: Exception) -> tuple[int, dict[str, str]]:
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


def _error(
    status: int, kind: str, sentence: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    body = {"type": "error", "error": {"type": kind, "message": redact(sentence)}}
    # A client that repeats a run pays for it twice.
    return JSONResponse(body, status, headers={**(headers or {}), "x-should-retry": "false"})
