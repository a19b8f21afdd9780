"""Fields of records: conditions on them, durations with their units, and stack traces."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from rlm_mcp.errors import BadRequest

_CONDITION = re.compile(r"\s*([\w.@/-]+)\s*(>=|<=|!=|=|>|<)\s*(.+?)\s*\Z")
_UNIT_MS = {"ns": 1e-6, "us": 1e-3, "\u00b5s": 1e-3, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_DURATION_KEYS = re.compile(
    r"(?i)(?:^|[._])(?:rt|request_time|upstream_response_time|duration|dur|elapsed|latency|took"
    r"|response_time|time-taken)(?:_?(ns|us|ms|s|sec|seconds|millis))?\Z"
)
_DURATION_TEXT = re.compile(
    r"(?i)\b(?:in|took|after|duration:?|elapsed:?|within)[ :=]+"
    r"(\d+(?:\.\d+)?) ?(ns|us|\u00b5s|ms|s|m)\b"
)
_VALUE = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|\u00b5s|ms|s|m)?\Z")
_PYTHON_FRAME = re.compile(r'^\s+File "([^"]+)", line (\d+), in (\S+)', re.MULTILINE)
_JAVA_FRAME = re.compile(r"^\s+at ([\w.$<>/]+)\(([^)]*)\)", re.MULTILINE)
_OTHER_FRAME = re.compile(
    r"^\s+(?:at )?(?:.*\()?((?:/|\./)?[\w./@-]+\.\w{1,4}):(\d+)", re.MULTILINE
)
_EXCEPTION = re.compile(
    r"^(?:Caused by: |Exception in thread \S+ |Unhandled exception[.:]? ?|panic: )?"
    r"((?:[A-Za-z_][\w$]*\.)*[A-Z][\w$]*(?:Error|Exception|Throwable|Interrupt|Exit|Drop\w*))\b",
    re.MULTILINE,
)
_PANIC = re.compile(r"^(?:panic: |thread '.*' panicked at )(.{0,120})", re.MULTILINE)
_LIBRARIES = re.compile(
    r"site-packages|dist-packages|/lib/python|node_modules|/usr/lib|/usr/local/go|/rustc/"
    r"|^(?:java|javax|jdk|sun|org\.springframework|org\.apache)\."
)


class Trace(NamedTuple):
    """What a stack trace says: its exception, the innermost frame of one's own code, the chain."""

    exception: str
    frame: str
    chain: tuple[str, ...]


def field_conditions(where: str) -> Callable[[Mapping[str, object]], bool]:
    """Return a check of conditions like "service=pay, dur_ms>900"; all of them must hold.

    Raises BadRequest for what is none.
    """
    checks = []
    for part in where.split(","):
        match = _CONDITION.match(part)
        if match is None:
            raise BadRequest(
                f"where: {part.strip()[:80]!r} is no condition; write status>=500, service=pay."
            )
        checks.append((match[1], match[2], match[3].strip("\"'")))
    return lambda fields: all(_holds(fields.get(name), sign, wish) for name, sign, wish in checks)


def _holds(value: object, sign: str, wish: str) -> bool:
    if value is None:
        return sign == "!="
    if sign in ("=", "!="):
        return (str(value) == wish) is (sign == "=")
    try:
        one, other = float(str(value)), float(wish)
    except ValueError:
        return False
    return {">": one > other, "<": one < other, ">=": one >= other, "<=": one <= other}[sign]


def duration_ms(fields: Mapping[str, object]) -> tuple[float, str] | None:
    """Return how long a record says that something took, in milliseconds, and the field.

    A field without a unit is in milliseconds where its name or a whole number says nothing else;
    `rt` and `request_time` of nginx are seconds.
    """
    for name, value in fields.items():
        if isinstance(value, bool) or (key := _DURATION_KEYS.search(name)) is None:
            continue
        if (match := _VALUE.match(str(value))) is None:
            continue
        unit = (match[2] or key[1] or "").lower()
        unit = {"sec": "s", "seconds": "s", "millis": "ms"}.get(unit, unit)
        if not unit:
            unit = "s" if "." in match[1] else "ms"
        return float(match[1]) * _UNIT_MS[unit], name
    if match := _DURATION_TEXT.search(str(fields.get("message", ""))):
        return float(match[1]) * _UNIT_MS[match[2].lower()], "message"
    return None


def read_trace(text: str) -> Trace | None:
    """Return the stack trace of a record in Python, Java, .NET, Node, Go or Rust, or None."""
    frames = [f"{path}:{line} {name}" for path, line, name in _PYTHON_FRAME.findall(text)][::-1]
    frames = frames or [f"{name} ({where})" for name, where in _JAVA_FRAME.findall(text)]
    frames = frames or [f"{path}:{line}" for path, line in _OTHER_FRAME.findall(text)]
    raised = _EXCEPTION.findall(text)
    panic = _PANIC.search(text)
    if not frames or not (raised or panic):
        return None
    chain = tuple(dict.fromkeys(raised)) or (f"panic: {panic[1]}" if panic else "",)
    own = next((frame for frame in frames if not _LIBRARIES.search(frame)), frames[0])
    root = chain[-1] if "Traceback" in text or "Caused by" in text else chain[0]
    return Trace(root, own, chain)
