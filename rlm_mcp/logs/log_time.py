"""Read the time and the level of a log line, for the formats that logs commonly have.

Times become seconds since 1970 (UTC). A line without a zone is taken as UTC, one without a year
as of the file's own year; whoever shows such times says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from rlm_mcp.errors import BadRequest

HEAD_BYTES = 400
"""Bytes of a line that are looked at."""
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""The first and last second that have a date, from year 1 to 9999."""
_MONTHS = {
    name: number
    for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}
_CLOCK = rb"(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?"
_ZONE = rb"[ ]?(Z|UTC|GMT|[+-]\d\d:?\d\d)?"
_DATE = rb"(\d{4})[-/](\d\d)[-/](\d\d)"
_EPOCH = rb"(\d{19}|\d{16}|\d{13}|\d{9,10}(?:\.\d{1,9})?)(?!\d)"

TimeParser = Callable[["re.Match[bytes]", int], float]


@dataclass(frozen=True, slots=True)
class LogTimeFormat:
    """How a kind of log writes its times."""

    name: str
    pattern: re.Pattern[bytes]
    parse: TimeParser
    zone: bool
    """Whether its times carry a zone, or mean UTC by their nature."""
    year: bool = True


def _parse_iso(match: re.Match[bytes], year: int) -> float:
    y, mo, d, h, mi, s, frac, zone = match.groups()
    return _epoch_seconds(int(y), int(mo), int(d), int(h), int(mi), int(s), frac, zone)


def _parse_apache(match: re.Match[bytes], year: int) -> float:
    d, month, y, h, mi, s, zone = match.groups()
    return _epoch_seconds(int(y), _MONTHS[month], int(d), int(h), int(mi), int(s), None, zone)


def _parse_syslog(match: re.Match[bytes], year: int) -> float:
    month, d, h, mi, s, frac = match.groups()
    return _epoch_seconds(year, _MONTHS[month], int(d), int(h), int(mi), int(s), frac, None)


def _parse_glog(match: re.Match[bytes], year: int) -> float:
    mo, d, h, mi, s, frac = match.groups()
    return _epoch_seconds(year, int(mo), int(d), int(h), int(mi), int(s), frac, None)


def _parse_named(match: re.Match[bytes], year: int) -> float:
    """Read a time whose parts are named, wherever each stands."""
    part = match.groupdict()
    month = _MONTHS[part["name"]] if "name" in part else int(part["month"])
    hour, second = _clock_hour(part["h"], part.get("half")), int(part.get("s") or 0)
    minute, frac, zone = int(part["m"]), part.get("frac"), part.get("zone")
    return _epoch_seconds(int(part["y"]), month, int(part["d"]), hour, minute, second, frac, zone)


def _clock_hour(hour: bytes, half: bytes | None) -> int:
    """Return the hour of the day; ValueError for one that no clock of twelve hours shows."""
    if half is None:
        return int(hour)
    if not 1 <= int(hour) <= 12:
        raise ValueError("no hour of twelve")
    return int(hour) % 12 + (12 if half[:1] in b"pP" else 0)


def _parse_epoch(match: re.Match[bytes], year: int) -> float:
    digits = match[1]
    if b"." in digits:
        return float(digits)
    return int(digits) / {13: 1e3, 16: 1e6, 19: 1e9}.get(len(digits), 1.0)


_MONTH = b"(" + b"|".join(_MONTHS) + b")"
_STAMP = _DATE + rb"[T ]" + _CLOCK + _ZONE
_DAY = rb"(\d\d)/" + _MONTH + rb"/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d{4})"
_TIME = (
    rb"(?P<h>\d{1,2}):(?P<m>\d\d)(?::(?P<s>\d\d)(?:[.,](?P<frac>\d{1,9}))?)?(?!\d)"
    rb"(?: ?(?P<half>[AaPp]\.?[Mm]\b))?(?: ?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)(?!\d))?"
)
"""A time of the day, of twelve hours too."""
_NAME = b"(?P<name>" + b"|".join(_MONTHS) + b")[a-z]{0,6}"
_MM, _D, _Y = rb"(?P<month>\d{1,2})", rb"(?P<d>\d{1,2})", rb"(?P<y>\d{4})"
_AT = rb",?[ T:]+(?:at )?" + _TIME
_ALONE = rb"(?<![\d./])"
_KEY = rb'"(?:ts|time|timestamp|@timestamp|t)"\s*:\s*"?'
_COLOUR = rb"(?:\x1b\[[0-9;]*m)?"


def _make_format(
    name: str, pattern: bytes, parse: TimeParser, *, zone: bool, year: bool = True
) -> LogTimeFormat:
    return LogTimeFormat(name, re.compile(pattern), parse, zone, year)


FORMATS = (
    _make_format("klog", rb"^[IWEFD](\d\d)(\d\d) " + _CLOCK, _parse_glog, zone=False, year=False),
    _make_format(
        "ctime",
        _NAME + b" {1,2}" + _D + b" " + _TIME + b" " + _Y + rb"(?!\d)",
        _parse_named,
        zone=False,
    ),
    _make_format(
        "syslog",
        rb"^(?:<\d+>)?" + _MONTH + rb" {1,2}(\d{1,2}) " + _CLOCK,
        _parse_syslog,
        zone=False,
        year=False,
    ),
    _make_format("access", rb"\[" + _DAY + rb"\]", _parse_apache, zone=True),
    _make_format("journal", rb"^__REALTIME_TIMESTAMP=(\d{16})", _parse_epoch, zone=True),
    _make_format("json epoch", rb"^\s*\{.*?" + _KEY + _EPOCH, _parse_epoch, zone=True),
    _make_format(
        "iso", rb"^(?:\xef\xbb\xbf)?" + _COLOUR + rb"[\[(]?" + _STAMP, _parse_iso, zone=True
    ),
    _make_format("iso inside", _STAMP, _parse_iso, zone=True),
    _make_format(
        "day month year",
        _ALONE + _D + b"[-/ ]" + _NAME + b"[-/ ]" + _Y + _AT,
        _parse_named,
        zone=False,
    ),
    _make_format(
        "month day year", _NAME + b" {1,2}" + _D + b",? " + _Y + _AT, _parse_named, zone=False
    ),
    _make_format(
        "year month day",
        _ALONE + _Y + b"[-/.]" + _MM + b"[-/.]" + _D + _AT,
        _parse_named,
        zone=False,
    ),
    _make_format("month/day", _ALONE + _MM + b"/" + _D + b"/" + _Y + _AT, _parse_named, zone=False),
    _make_format(
        "day/month", _ALONE + _D + b"[/.]" + _MM + b"[/.]" + _Y + _AT, _parse_named, zone=False
    ),
    _make_format(
        "compact",
        rb"^\[?" + _Y + rb"(?P<month>\d\d)(?P<d>\d\d)[T ](?P<h>\d\d):?(?P<m>\d\d):?"
        rb"(?P<s>\d\d)(?:[.,](?P<frac>\d{1,9}))?(?P<zone>Z)?(?!\d)",
        _parse_named,
        zone=False,
    ),
    _make_format("epoch", rb"^\[?" + _EPOCH + rb"\b", _parse_epoch, zone=True),
)
"""Known formats; of two that fit equally many lines the earlier one is taken."""

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
_WORDS = {
    "trace": "trace", "trc": "trace", "debug": "debug", "dbg": "debug", "fine": "debug",
    "info": "info", "inf": "info", "notice": "info", "log": "info", "statement": "info",
    "warn": "warn", "warning": "warn", "wrn": "warn", "error": "error", "err": "error",
    "severe": "error", "fatal": "fatal", "critical": "fatal", "crit": "fatal", "panic": "fatal",
    "alert": "fatal", "emerg": "fatal", "emergency": "fatal",
}  # fmt: skip
_NUMBERS = {10: "trace", 20: "debug", 30: "info", 40: "warn", 50: "error", 60: "fatal"}
_LETTERS = {b"I": "info", b"W": "warn", b"E": "error", b"F": "fatal", b"D": "debug"}
_PRIORITIES = ("fatal", "fatal", "fatal", "error", "warn", "info", "info", "debug")
_FIELD = re.compile(
    rb'(?i)["\s{]?(?:log\.)?(?:level|lvl|severity|levelname|loglevel)\\?["\s]*[:=]\s*\\?"?([a-z]+|\d\d)\b'
)
_WORD = re.compile(
    rb"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|SEVERE|FATAL|CRITICAL|CRIT|PANIC|ALERT"
    rb"|EMERG|LOG(?=:)|STATEMENT(?=:))\b"
    rb"|[\[<|](?: |\w+:)?(?i:(trace|debug|info|notice|warn|warning|error|err|fatal|crit"
    rb"|critical|alert|emerg)) ?[\]>:|]|\b(error|warning|fatal|panic)(?=[: ])"
    rb"|\b(Trace|Debug|Info|Notice|Warn|Warning|Error|Fatal|Critical)(?=:)"
)
_FIELDS = (b"LEVEL", b"LVL", b"SEVERITY")
_ANY = re.compile(
    b"TRACE|DEBUG|INFO|NOTICE|WARN|ERR|SEVERE|FATAL|CRIT|PANIC|ALERT|EMERG|LOG:|STATEMENT:"
)
_STATUS = re.compile(rb'" ([1-5]\d\d) ')
_PRIORITY = re.compile(rb"^PRIORITY=([0-7])")
_SYSLOG = re.compile(rb"^<(\d{1,3})>")
"""Facility and severity of a syslog message (RFC 5424, section 6.2.1)."""


def detect_format(lines: Sequence[bytes]) -> tuple[LogTimeFormat | None, float]:
    """Return the format that fits most of some lines, and its share of those that fit any."""
    counts: Counter[int] = Counter()
    for number, known in enumerate(FORMATS):
        # A leap year has every date.
        counts[number] = sum(parse_time(known, line, 2000) is not None for line in lines)
        if counts[number] == len(lines):
            break
    if not counts.total():
        return None, 0.0
    best = max(sorted(counts), key=lambda number: counts[number])
    return FORMATS[best], counts[best] / max(1, len(lines))


def parse_time(known: LogTimeFormat | None, line: bytes, year: int) -> float | None:
    """Return the time of a line in seconds since 1970, or None where it has none."""
    if known is None or (match := known.pattern.search(line[:HEAD_BYTES])) is None:
        return None
    try:
        return known.parse(match, year)
    except (ValueError, OverflowError, KeyError):
        return None  # digits that are no date


def line_level(line: bytes) -> str:
    """Return a line's level as one of LEVELS, or an empty string."""
    head = line[:HEAD_BYTES]
    upper = head.upper()  # what is in no case there is in none: that is told ten times faster
    match = _FIELD.search(head) if any(name in upper for name in _FIELDS) else None
    if match:
        word = match[1].decode("ascii").lower()
        known = _NUMBERS.get(int(word)) if word.isdigit() else _WORDS.get(word)
        if known:
            return known
    if (match := _SYSLOG.search(head)) and int(match[1]) < 192:
        return _PRIORITIES[int(match[1]) % 8]
    if head[5:6] == b" " and head[:1] in _LETTERS and head[1:5].isdigit():
        return _LETTERS[head[:1]]
    if _ANY.search(upper) and (match := _WORD.search(head)):
        return _WORDS[(match[1] or match[2] or match[3] or match[4]).decode("ascii").lower()]
    if match := _STATUS.search(head):
        status = match[1][:1]
        return "error" if status == b"5" else "warn" if status == b"4" else "info"
    if match := _PRIORITY.search(head):
        return _PRIORITIES[int(match[1])]
    return ""


def levels_from(wanted: str) -> frozenset[str]:
    """Return the levels that a wish like "warn" takes in. Raises BadRequest for another word."""
    word = _WORDS.get(wanted.lower())
    if word is None:
        raise BadRequest(f"{wanted!r} is no level; use one of {', '.join(LEVELS)}.")
    return frozenset(LEVELS[LEVELS.index(word) :])


_AGO = re.compile(r"-?(\d{1,12})\s*(s|sec|m|min|h|d|w)[a-z]*(?:\s+ago)?\Z")
_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_user_time(text: str, last: float) -> float:
    """Read a time as people write it: ISO, HH:MM (the last one in the log), 15m (before its end).

    Raises BadRequest for anything else.
    """
    text = text.strip()
    if match := _AGO.match(text):
        return last - int(match[1]) * _UNITS[match[2]]
    if match := re.match(r"(\d{1,2}):(\d\d)(?::(\d\d))?\Z", text):
        day = datetime.fromtimestamp(min(max(last, _FIRST), _LAST), UTC)
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        if hour < 24 and minute < 60 and second < 60:
            found = day.replace(hour=hour, minute=minute, second=second, microsecond=0)
            moment = found.timestamp()
            return moment - 86_400 if moment > last and moment > _FIRST + 86_400 else moment
    if re.match(r"\d{10}(?:\.\d+)?\Z", text):
        return float(text)
    try:
        read = datetime.fromisoformat(text.replace("/", "-").replace(",", "."))
    except ValueError:
        raise BadRequest(
            f"{text[:80]!r} is no time; write 2026-03-14T09:30, 09:30 (of the last day) or 15m."
        ) from None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def format_time(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC, with milliseconds where it has any."""
    seconds = min(max(seconds, _FIRST), _LAST)  # a slot may begin before the first year
    found = datetime.fromtimestamp(0, UTC) + timedelta(seconds=round(seconds, 3))
    precise = "milliseconds" if found.microsecond else "seconds"
    return found.isoformat(timespec=precise).replace("+00:00", "Z")


def _epoch_seconds(
    year: int, month: int, day: int, hour: int, minute: int, second: int,
    fraction: bytes | None, zone: bytes | None,
) -> float:  # fmt: skip
    base = _epoch_midnight(year, month, day) + hour * 3600 + minute * 60 + second
    if fraction:
        base += int(fraction) / 10 ** len(fraction)
    if zone and zone[:1] in b"+-":
        offset = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
        base -= offset if zone[:1] == b"+" else -offset
    return base


@lru_cache(maxsize=512)
def _epoch_midnight(year: int, month: int, day: int) -> float:
    return datetime(year, month, day, tzinfo=UTC).timestamp()
