"""Read one JSON-RPC message from bytes that may hold anything, or say what is wrong with them.

The SDK drops in silence what it cannot parse, and takes a request with a wrong id for a
notification; whoever sent it would wait for ever. Here each of them is answered, with the id of
the request wherever one can be found. What can be repaired is: a byte-order mark, broken UTF-8,
half characters (lone surrogates, which JSON.stringify writes).
"""

from __future__ import annotations

import json
import re
from typing import Any

from mcp_types import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, ErrorData
from mcp_types.jsonrpc import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError

from rlm_mcp.encodings import without_surrogates

LARGEST_MESSAGE = 64 << 20
"""Bytes of one message over stdio."""
DEEPEST = 100
"""Levels of nesting of one message."""

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[{}\[\]]', re.DOTALL)
_ID = re.compile(r'\s*:\s*("(?:[^"\\]|\\.){0,200}"|-?[0-9]{1,18}(?![0-9.eE]))')
_ID_AT_END = re.compile(rf'"id"{_ID.pattern}\s*\}}\s*$')
_SEARCHED = 1 << 20
"""Characters of a broken message in which its id is looked for."""


class Refused(Exception):
    """Bytes that hold no message that is served, and the errors to send for them."""

    def __init__(self, *replies: JSONRPCError) -> None:
        super().__init__(replies)
        self.replies = replies


def read_message(data: bytes) -> JSONRPCMessage | None:
    """Return the message that a line or a body holds; None for a blank one. Raises Refused."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff").strip()
    if not text:
        return None
    try:
        message = jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValidationError:
        message = None
    # A request whose id is null or a fraction passes for a notification.
    if message is None or (isinstance(message, JSONRPCNotification) and '"id"' in text):
        message = _patiently(text)
    return message


def too_large(head: bytes, tail: bytes) -> Refused:
    """Return the refusal of a message of more than LARGEST_MESSAGE bytes."""
    found = _id_in(head.decode("utf-8", "replace"))
    if found is None and (at_end := _ID_AT_END.search(tail.decode("utf-8", "replace"))):
        found = _scalar(at_end[1])
    sentence = (
        f"The message has more than {LARGEST_MESSAGE >> 20} MB; name a file instead of sending "
        "its content."
    )
    return Refused(refusal(INVALID_REQUEST, sentence, found))


def refusal(code: int, sentence: str, id: RequestId | None) -> JSONRPCError:
    """Return an error reply."""
    return JSONRPCError(jsonrpc="2.0", id=id, error=ErrorData(code=code, message=sentence))


def _patiently(text: str) -> JSONRPCMessage:
    try:
        value = _mended(json.loads(text, parse_constant=_no_constant), 0)
    except RecursionError as error:
        sentence = f"The message is nested more than {DEEPEST} levels deep."
        raise Refused(refusal(PARSE_ERROR, sentence, _id_in(text))) from error
    except ValueError as error:
        sentence = f"The message is not valid JSON: {without_surrogates(str(error))[:200]}."
        raise Refused(refusal(PARSE_ERROR, sentence, _id_in(text))) from error
    if isinstance(value, list):
        ids: list[RequestId | None] = [
            found for item in value if (found := _id_of(item)) is not None
        ]
        sentence = "Batches are not supported; send each message by itself."
        raise Refused(*(refusal(INVALID_REQUEST, sentence, found) for found in ids or [None]))
    wrong = _complaint(value)
    if wrong is not None:
        code, sentence = wrong
        raise Refused(refusal(code, sentence, _id_of(value)))
    try:
        return jsonrpc_message_adapter.validate_python(value, by_name=False)
    except ValidationError as error:
        sentence = "The message is no JSON-RPC request, notification or response."
        raise Refused(refusal(INVALID_REQUEST, sentence, _id_of(value))) from error


def _complaint(value: Any) -> tuple[int, str] | None:
    """Return what is wrong with a message, as far as there is something to say of it."""
    if not isinstance(value, dict):
        return INVALID_REQUEST, f"A message is a JSON object, not {_kind(value)}."
    if value.get("jsonrpc") != "2.0":
        return INVALID_REQUEST, 'The message lacks "jsonrpc": "2.0".'
    if "method" in value and not isinstance(value["method"], str):
        return INVALID_REQUEST, f"'method' is a string, not {_kind(value['method'])}."
    if "id" in value and "method" in value and _id_of(value) is None:
        return INVALID_REQUEST, f"'id' is a string or a whole number, not {_kind(value['id'])}."
    if "method" in value and not isinstance(value.get("params"), dict | None):
        return INVALID_PARAMS, f"'params' is an object, not {_kind(value['params'])}."
    return None


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false"}
    return "null" if value is None else names.get(type(value), f"the number {str(value)[:30]}")


def _mended(value: Any, depth: int) -> Any:
    """Return a JSON value with U+FFFD in the place of each half character."""
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, list):
        return [_mended(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(k): _mended(v, depth + 1) for k, v in value.items()}
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _id_of(value: Any) -> RequestId | None:
    """Return the id of a request; None for a response, which is not answered by its id."""
    if not isinstance(value, dict) or "result" in value or "error" in value:
        return None
    found = value.get("id")
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def _id_in(text: str) -> RequestId | None:
    """Return the id of a message that cannot be parsed: the "id" at its first level."""
    depth = 0
    for token in _TOKEN.finditer(text, 0, _SEARCHED):
        word = token[0]
        if word in "{[":
            depth += 1
        elif word in "}]":
            depth -= 1
        elif word == '"id"' and depth == 1 and (found := _ID.match(text, token.end())):
            return _scalar(found[1])
    at_end = _ID_AT_END.search(text, max(0, len(text) - 400))
    return _scalar(at_end[1]) if at_end else None


def _scalar(text: str) -> RequestId | None:
    try:
        return _id_of({"id": _mended(json.loads(text), 0)})
    except ValueError:
        return None
