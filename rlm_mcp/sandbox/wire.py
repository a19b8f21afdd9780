"""Frames between the parent and a worker: two lengths, a JSON object, and raw bytes.

    4 bytes  length of the JSON text      4 bytes  length of the raw bytes that follow it

The parent trusts no byte of a worker: sizes are checked before anything is read, JSON is parsed
without NaN and with bounded depth, and every field is checked by exact type where it is used.
Descriptors go only from the parent to the worker.
"""

from __future__ import annotations

import json
import re
import secrets
import struct
from typing import Any

HEADER = struct.Struct(">II")
MAX_TO_WORKER = 64 << 20
"""Bytes of one frame to a worker, JSON and raw bytes together."""
MAX_VALUES = 250_000
"""Values that one call of a cell may hold: parsing takes seventy bytes for each empty list."""
SMALL = 1 << 20
"""Bytes of a frame that is read and decoded in one piece; a larger one is taken apart."""
_PIECE_BYTES = 1 << 20
_LONG_STRING_BYTES = 256
"""Bytes of a string that is decoded on its own, out of a large frame."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""Possessive, and open strings too: an alternation takes a hundred bytes for each character, and
one that fails at the end is tried again at each quotation mark."""
MAX_DEPTH = 40
"""Nesting of values that cross the wire."""

Json = None | bool | int | float | str | list[Any] | dict[str, Any]
Message = dict[str, Any]


class ProtocolViolation(Exception):
    """The other end broke the protocol."""


class ChannelClosed(Exception):
    """The other end is gone."""


class DeadlinePassed(Exception):
    """Nothing came before the deadline."""


def encode_frame(message: Message, raw: bytes = b"") -> bytes | bytearray:
    """Return one frame. Lone surrogates survive, NaN and infinities are refused (ValueError)."""
    if not _has_long(message):
        body = _as_json(message).encode("utf-8", "surrogatepass")
        return HEADER.pack(len(body), len(raw)) + body + raw
    token = secrets.token_hex(16)
    long: list[str] = []
    text = _as_json(_cut_long_strings(message, token, long))
    frame = bytearray(HEADER.size)
    at = 0
    for number, value in enumerate(long):
        place = text.index(f"{token}:{number}", at)
        frame += text[at:place].encode("utf-8", "surrogatepass")
        for start in range(0, len(value), _PIECE_BYTES):
            frame += _as_json(value[start : start + _PIECE_BYTES])[1:-1].encode(
                "utf-8", "surrogatepass"
            )
        at = place + len(f"{token}:{number}")
    frame += text[at:].encode("utf-8", "surrogatepass")
    HEADER.pack_into(frame, 0, len(frame) - HEADER.size, len(raw))
    frame += raw
    return frame


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _has_long(value: Any) -> bool:
    if type(value) is str:
        return len(value) > SMALL
    if type(value) is dict:
        return any(map(_has_long, value.values()))
    return type(value) is list and any(map(_has_long, value))


def _cut_long_strings(value: Any, token: str, long: list[str]) -> Any:
    """Put a mark in the place of each long string: one wide character makes all of a text wide."""
    if type(value) is str and len(value) > SMALL:
        long.append(value)
        return f"{token}:{len(long) - 1}"
    if type(value) is dict:
        return {key: _cut_long_strings(item, token, long) for key, item in value.items()}
    if type(value) is list:
        return [_cut_long_strings(item, token, long) for item in value]
    return value


def decode_message(body: bytes | bytearray, chars: int = MAX_TO_WORKER) -> Message:
    """Read the JSON object of a frame; raises Violation for everything else.

    A large frame is emptied while it is read, so that its text is never there three times.
    """
    try:
        if len(body) <= SMALL:
            text = body.decode("utf-8", "surrogatepass")
            message = json.loads(text, parse_constant=_no_constant)
        else:
            text, taken = _take_strings_out(body, chars)
            message = _put_strings_back(json.loads(text, parse_constant=_no_constant), taken, 0)
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation(f"a frame that is no JSON ({type(error).__name__})") from None
    if type(message) is not dict:
        raise ProtocolViolation("a frame that is no object")
    return message


def check_values(body: bytes | bytearray) -> list[tuple[int, int]]:
    """Refuse a frame that holds far more values than text; raises Violation.

    Returns where its strings lie that are long or not plain ASCII.
    """
    apart, values, at = [], 0, 0
    for found in _STRING.finditer(body):
        start, end = found.span()
        values += _count_separators(body, at, start)
        if values > 2 * MAX_VALUES + 1000:
            raise ProtocolViolation("a frame of too many values")
        at = end
        if end - start > _LONG_STRING_BYTES or not body[start:end].isascii():
            apart.append((start, end))
    if values + _count_separators(body, at, len(body)) > 2 * MAX_VALUES + 1000:
        raise ProtocolViolation("a frame of too many values")
    return apart


def _count_separators(body: bytes | bytearray, start: int, end: int) -> int:
    if end - start == 1:
        return 1
    return sum(body.count(mark, start, end) for mark in b",[{")


def _take_strings_out(body: bytes | bytearray, chars: int) -> tuple[str, dict[str, str]]:
    """Return the JSON text of a large frame with marks for its strings, and the strings."""
    token = secrets.token_hex(16)
    rest = bytearray()
    taken: dict[str, str] = {}
    at = 0
    for start, end in check_values(body):
        rest += body[at:start]
        mark = f"{token}:{len(taken)}"
        rest += f'"{mark}"'.encode()
        taken[mark] = text = _unescape_string(body, start + 1, end - 1, chars)
        chars -= len(text)
        at = end
    rest += body[at:]
    if type(body) is bytearray:
        body.clear()
    if len(rest) > chars + 16 * MAX_VALUES:
        raise ProtocolViolation("a frame of too much text")
    return rest.decode("ascii"), taken


def _unescape_string(body: bytes | bytearray, start: int, end: int, chars: int) -> str:
    """Decode what lies between the quotation marks of a JSON string, piece by piece.

    Raises Violation where there are more than `chars` characters, before they are one text.
    """
    if body[end] != 0x22:
        raise ValueError("an open string")
    parts, carried = [], ""
    while start < end:
        stop = min(end, start + _PIECE_BYTES)
        while stop < end and body[stop] & 0xC0 == 0x80:
            stop -= 1
        if stop <= start:
            raise ValueError("no UTF-8")
        text = carried + body[start:stop].decode("utf-8", "surrogatepass")
        cut = len(text) if stop == end else _whole_escapes(text)
        part: str = json.loads(f'"{text[:cut]}"')
        parts.append(part)
        chars -= len(part)
        if chars < 0:
            raise ProtocolViolation("a frame of too much text")
        carried, start = text[cut:], stop
    return "".join(parts)


def _whole_escapes(text: str) -> int:
    """Return where to cut a text so that no escape of JSON is cut in two."""
    last = text.rfind("\\")
    if last < 0 or last + 6 <= len(text):
        return len(text)
    before = text[: last + 1]
    odd = (len(before) - len(before.rstrip("\\"))) % 2
    return last if odd else len(text)


def _put_strings_back(value: Any, taken: dict[str, str], depth: int) -> Any:
    if type(value) is str:
        return taken.get(value, value)
    if depth > 2 * MAX_DEPTH:
        raise ValueError("nested too deep")
    if type(value) is list:
        for at, item in enumerate(value):
            value[at] = _put_strings_back(item, taken, depth + 1)
    elif type(value) is dict:
        return {
            taken.get(key, key): _put_strings_back(item, taken, depth + 1)
            for key, item in value.items()
        }
    return value


def _no_constant(text: str) -> None:
    raise ValueError(text)


class TooLarge(ValueError):
    """A value that is over the limit of the wire."""


def plain_copy(value: object, limit: int = MAX_TO_WORKER, values: int | None = None) -> Json:
    """Copy a value of JSON types, by exact type: no method of a subclass is called.

    Tuples become lists. Raises TypeError for another type and TooLarge past `limit` (counted in
    characters, at least 8 for each number or container).
    """
    return _PlainCopier(limit, values).copy_value(value, 0)


def checked_copy(value: object) -> Any:
    """Copy what a worker sent; raises Violation for what no honest one sends (inf, depth)."""
    try:
        return plain_copy(value)
    except (TypeError, ValueError) as error:
        raise ProtocolViolation(f"a value that cannot be passed ({error})") from None


class _PlainCopier:
    def __init__(self, limit: int, values: int | None) -> None:
        self.left = limit
        self.limit = limit
        self.values = values

    def copy_value(self, value: object, depth: int) -> Json:
        if value is None or value is True or value is False:
            self.spend_chars(4)
            return value
        if isinstance(value, str):
            self.spend_chars(str.__len__(value))
            return str.__str__(value)
        if isinstance(value, int):
            number = int.__index__(value)
            if number.bit_length() > 4096:
                raise TypeError("an integer of more than 4,096 bits cannot be passed")
            self.spend_chars(8 + number.bit_length() // 3)
            return number
        if isinstance(value, float):
            return self.copy_float(value)
        if depth > MAX_DEPTH:
            raise TypeError(f"a value nested deeper than {MAX_DEPTH} levels cannot be passed")
        if isinstance(value, dict):
            return self.copy_dict(value, depth)
        if isinstance(value, (list, tuple)):
            self.spend_chars(8)
            items = list.__iter__(value) if isinstance(value, list) else tuple.__iter__(value)
            return [self.copy_value(item, depth + 1) for item in items]
        raise TypeError(
            f"a value of type {type(value).__name__} cannot be passed; "
            "use str, int, float, bool, None, list or dict"
        )

    def copy_float(self, value: float) -> float:
        number = float.__float__(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise TypeError("nan and infinities cannot be passed")
        self.spend_chars(8)
        return number

    def copy_dict(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        copied: dict[str, Any] = {}
        self.spend_chars(8)
        for key, item in list(dict.items(value)):
            if not isinstance(key, str):
                raise TypeError(
                    f"a dict key of type {type(key).__name__} cannot be passed; use str"
                )
            self.spend_chars(str.__len__(key))
            copied[str.__str__(key)] = self.copy_value(item, depth + 1)
        return copied

    def spend_chars(self, amount: int) -> None:
        self.left -= amount
        if self.values is not None:
            self.values -= 1
            if self.values < 0:
                raise TooLarge(f"one call holds at most {MAX_VALUES:,} values; pass fewer")
        if self.left < 0:
            raise TooLarge(
                f"the value is larger than {self.limit:,} characters; pass refs instead of texts, "
                "or several smaller values"
            )
