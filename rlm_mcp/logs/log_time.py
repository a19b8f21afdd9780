"""Read the times of log lines, in the styles that logs write them, as seconds since 1970 (UTC).

A `Clock` says what a time lacks: the zone of one without a zone, the year of one without a year
(the latest that is not after the log's last change), the day of one that is only a time of day.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rlm_mcp.errors import BadRequest

HEAD_BYTES = 400
"""Bytes of a text line in which its time is looked for; fields of JSON are read from all of it."""
_SLACK_S = 2 * 86_400
"""Seconds that a line may be after the last change of its file: zones, and clocks that are off."""
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""The first and last second that have a date, from year 1 to 9999."""
_MONTHS = {
    name: number
    for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}
_CLOCK = rb"(\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?"
_ZONE_HOURS = {
    b"Z": 0, b"UTC": 0, b"GMT": 0, b"WET": 0, b"WEST": 1, b"BST": 1, b"CET": 1, b"MEZ": 1,
    b"CEST": 2, b"MESZ": 2, b"EET": 2, b"EEST": 3, b"SAST": 2, b"MSK": 3, b"IST": 5.5, b"SGT": 8,
    b"HKT": 8, b"AWST": 8, b"JST": 9, b"KST": 9, b"ACST": 9.5, b"AEST": 10, b"AEDT": 11,
    b"NZST": 12, b"NZDT": 13, b"BRT": -3, b"EST": -5, b"EDT": -4, b"CST": -6, b"CDT": -5,
    b"MST": -7, b"MDT": -6, b"PST": -8, b"PDT": -7, b"AKST": -9, b"AKDT": -8, b"HST": -10,
}  # fmt: skip
"""Names of zones and their hours from UTC; CST is that of America, IST that of India."""
_ZONE_NAME = b"|".join(sorted(_ZONE_HOURS, reverse=True))
_ZONE_FORM = rb"(?:" + _ZONE_NAME + rb")(?![A-Za-z])|[+-]\d\d(?::?\d\d)?(?!\d)"
_ZONE = rb" ?(" + _ZONE_FORM + rb")?"
_DATE = rb"(\d{4})[-/](\d\d)[-/](\d\d)"
_EPOCH = rb"(\d{19}|\d{16}|\d{13}|\d{9,10}(?:\.\d{1,9})?)(?!\d)"


@dataclass(frozen=True, slots=True)
class Clock:
    """What times of one log lack."""

    latest: float
    """When the log was last changed."""
    zone: tzinfo | None = None
    """The zone of times without one; None where it is unknown, and UTC is assumed."""

    def zone_seconds(self, naive: float) -> float:
        """Return the seconds that a time without a zone is ahead of UTC."""
        return 0.0 if self.zone is None else _zone_seconds(self.zone, int(naive // 900))

    def guess_year(self, month: int, day: int) -> int:
        """Return the latest year in which a day is not after the last change of the log."""
        return _guess_year(self.latest, month, day)


@lru_cache(maxsize=4096)
def _zone_seconds(zone: tzinfo, quarter: int) -> float:
    offset = datetime.fromtimestamp(quarter * 900, UTC).replace(tzinfo=zone).utcoffset()
    return offset.total_seconds() if offset else 0.0


@lru_cache(maxsize=1024)
def _guess_year(latest: float, month: int, day: int) -> int:
    last = datetime.fromtimestamp(latest, UTC).year
    for year in range(last + 1, last - 9, -1):
        try:
            if _epoch_midnight(year, month, day) <= latest + _SLACK_S:
                return year
        except ValueError:
            continue  # the 29th of February
    raise ValueError("no such day")


def zone_named(name: str) -> tzinfo:
    """Return a zone by its name (Europe/Berlin), abbreviation (CEST) or offset (+02:00).

    Raises BadRequest for another.
    """
    key = name.strip().encode()
    if key.upper() in _ZONE_HOURS or re.fullmatch(rb"[+-]\d\d(?::?\d\d)?", key):
        return timezone(timedelta(seconds=_offset_seconds(key.upper())))
    try:
        return ZoneInfo(name.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadRequest(
            f"{name!r} is no time zone; write Europe/Berlin, CEST or +02:00."
        ) from None


TimeParser = Callable[["re.Match[bytes]", Clock], float]


@dataclass(frozen=True, slots=True)
class TimeStyle:
    """How a kind of log writes its times."""

    name: str
    pattern: re.Pattern[bytes]
    parse: TimeParser
    zone: bool
    """Whether its times carry a zone, or mean UTC by their nature."""
    year: bool = True


def _parse_iso(match: re.Match[bytes], clock: Clock) -> float:
    y, mo, d, h, mi, s, frac, zone = match.groups()
    base = _epoch_midnight(int(y), int(mo), int(d)) + int(h) * 3600 + int(mi) * 60 + int(s)
    return _finish_time(base, frac, zone, clock)


def _parse_apache(match: re.Match[bytes], clock: Clock) -> float:
    d, month, y, h, mi, s, frac, zone = match.groups()
    base = _epoch_midnight(int(y), _MONTHS[month], int(d))
    return _finish_time(base + int(h) * 3600 + int(mi) * 60 + int(s), frac, zone, clock)


def _parse_named(match: re.Match[bytes], clock: Clock) -> float:
    """Read a time whose parts are named, wherever each stands; a missing one is the clock's."""
    part = match.groupdict()
    hour, second = _clock_hour(part["h"], part.get("half")), int(part.get("s") or 0)
    minute, frac, zone = int(part["m"]), part.get("frac"), part.get("zone")
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("no time of day")
    clocked = hour * 3600 + minute * 60 + second
    if yday := part.get("yday"):
        midnight = _epoch_midnight(int(part["y"]), 1, 1) + (int(yday) - 1) * 86_400
    elif day := part.get("d"):
        month = _MONTHS[part["name"]] if part.get("name") else int(part["month"])
        year = int(part["y"]) if part.get("y") else clock.guess_year(month, int(day))
        year += 2000 if year < 70 else 1900 if year < 100 else 0
        midnight = _epoch_midnight(year, month, int(day))
    else:
        midnight = clock.latest // 86_400 * 86_400
    return _finish_time(midnight + clocked, frac, zone, clock)


def _clock_hour(hour: bytes, half: bytes | None) -> int:
    """Return the hour of the day; ValueError for one that no clock of twelve hours shows."""
    if half is None:
        return int(hour)
    if not 1 <= int(hour) <= 12:
        raise ValueError("no hour of twelve")
    return int(hour) % 12 + (12 if half[:1] in b"pP" else 0)


def _parse_epoch(match: re.Match[bytes], clock: Clock) -> float:
    return epoch_number(match[1].decode())


def _parse_tai64n(match: re.Match[bytes], clock: Clock) -> float:
    return int(match[1], 16) - (1 << 62) - 10 + int(match[2], 16) / 1e9


def _parse_uptime(match: re.Match[bytes], clock: Clock) -> float:
    return float(match[1])


def epoch_number(digits: str) -> float:
    """Return seconds since 1970 from seconds, milli-, micro- or nanoseconds since then."""
    whole, _, _ = digits.partition(".")
    return float(digits) / {13: 1e3, 16: 1e6, 19: 1e9}.get(len(whole), 1.0)


_MONTH = b"(" + b"|".join(_MONTHS) + b")"
_STAMP = _DATE + rb"[T ]" + _CLOCK + _ZONE
_DAY = rb"(\d\d)/" + _MONTH + rb"/(\d{4})[: ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?: ([+-]\d{4}))?"
_TIME = (
    rb"(?P<h>\d{1,2}):(?P<m>\d\d)(?::(?P<s>\d\d)(?:[.,](?P<frac>\d{1,9}))?)?(?!\d)"
    rb"(?: ?(?P<half>[AaPp]\.?[Mm]\b))?(?: ?(?P<zone>" + _ZONE_FORM + rb"))?"
)
"""A time of the day, of twelve hours too."""
_CLOCK_NAMED = rb"(?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d)(?:[.,](?P<frac>\d{1,9}))?"
_NAME = b"(?P<name>" + b"|".join(_MONTHS) + b")[a-z]{0,6}"
_MM, _D, _Y = rb"(?P<month>\d{1,2})", rb"(?P<d>\d{1,2})", rb"(?P<y>\d{4})"
_AT = rb",?[ T:]+(?:at )?" + _TIME
_ALONE = rb"(?<![\d./])"


def _make_style(
    name: str, pattern: bytes, parse: TimeParser, *, zone: bool, year: bool = True
) -> TimeStyle:
    return TimeStyle(name, re.compile(pattern), parse, zone, year)


STYLES = (
    _make_style(
        "glog",
        rb"^[IWEFD](?P<month>\d\d)(?P<d>\d\d) " + _CLOCK_NAMED,
        _parse_named, zone=False, year=False,
    ),
    _make_style(
        "ctime",
        _NAME + b" {1,2}" + _D + b" " + _TIME + b" " + _Y + rb"(?!\d)",
        _parse_named, zone=False,
    ),
    _make_style(
        "syslog",
        rb"^(?:<\d+>)?(?P<name>" + _MONTH[1:] + rb" {1,2}" + _D + b" " + _CLOCK_NAMED,
        _parse_named, zone=False, year=False,
    ),
    _make_style("access", rb"\[" + _DAY + rb"\]", _parse_apache, zone=True),
    _make_style(
        "iso", rb"^(?:<\d+>1? ?)?[\[(\"]?" + _STAMP, _parse_iso, zone=True
    ),
    _make_style("iso inside", _STAMP, _parse_iso, zone=True),
    _make_style(
        "day month year",
        _ALONE + _D + b"[-/ ]" + _NAME + b"[-/ ]" + _Y + _AT,
        _parse_named, zone=False,
    ),
    _make_style(
        "month day year", _NAME + b" {1,2}" + _D + b",? " + _Y + _AT, _parse_named, zone=False
    ),
    _make_style(
        "year month day",
        _ALONE + _Y + b"[-/.]" + _MM + b"[-/.]" + _D + _AT,
        _parse_named, zone=False,
    ),
    _make_style("month/day", _ALONE + _MM + b"/" + _D + b"/" + _Y + _AT, _parse_named, zone=False),
    _make_style(
        "day/month", _ALONE + _D + b"[/.]" + _MM + b"[/.]" + _Y + _AT, _parse_named, zone=False
    ),
    _make_style(
        "compact",
        rb"^\[?" + _Y + rb"-?(?P<month>\d\d)-?(?P<d>\d\d)[T .-](?P<h>\d\d)[:.]?(?P<m>\d\d)[:.]?"
        rb"(?P<s>\d\d)(?:[.,](?P<frac>\d{1,9}))?(?P<zone>Z)?(?!\d)",
        _parse_named, zone=False,
    ),
    _make_style(
        "day of year",
        rb"^\[?" + _Y + rb"-(?P<yday>\d{3})[T ]" + _CLOCK_NAMED,
        _parse_named, zone=False,
    ),
    _make_style(
        "two-digit year",
        rb"^\[?(?P<y>\d\d)[-/]?(?P<month>\d\d)[-/]?(?P<d>\d\d) (?P<h>\d\d):?(?P<m>\d\d):?"
        rb"(?P<s>\d\d)(?:[.,](?P<frac>\d{1,9}))?(?!\d)",
        _parse_named, zone=False,
    ),
    _make_style(
        "month-day",
        rb"^\[?(?P<month>\d\d)[-.](?P<d>\d\d) " + _CLOCK_NAMED,
        _parse_named, zone=False, year=False,
    ),
    _make_style(
        "month.day",
        rb"^\[(?P<month>\d\d)\.(?P<d>\d\d) " + _CLOCK_NAMED,
        _parse_named, zone=False, year=False,
    ),
    _make_style("tai64n", rb"^@([0-9a-f]{16})([0-9a-f]{8})\b", _parse_tai64n, zone=True),
    _make_style("epoch", rb"^(?:[\[(#+]{0,2}|\d+ |- )" + _EPOCH + rb"\b", _parse_epoch, zone=True),
    _make_style("uptime", rb"^\[ *(\d+\.\d{6})\]", _parse_uptime, zone=True),
    _make_style(
        "time of day",
        rb"^(?:\d+ +|\[)?(?P<h>\d\d):(?P<m>\d\d)"
        rb"(?::(?P<s>\d\d)(?:[.,](?P<frac>\d{1,9}))?)?(?![\d:])",
        _parse_named, zone=False, year=False,
    ),
)  # fmt: skip
"""Known styles; of two that fit equally many lines the earlier one is taken."""
UPTIME = "uptime"
"""The style whose times count from the start of the machine: no dates."""


def read_time(style: TimeStyle | None, line: bytes, clock: Clock) -> float | None:
    """Return the time of a line in seconds since 1970, or None where it has none."""
    if style is None or (match := style.pattern.search(line, 0, HEAD_BYTES)) is None:
        return None
    try:
        return style.parse(match, clock)
    except (ValueError, OverflowError, KeyError):
        return None  # digits that are no date


def text_time(text: str, clock: Clock) -> float | None:
    """Return the time that a short text is, such as a field of JSON, in any style."""
    line = text.encode("utf-8", "replace")
    for style in STYLES:
        if (found := read_time(style, line, clock)) is not None:
            return found
    return None


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


def _finish_time(base: float, frac: bytes | None, zone: bytes | None, clock: Clock) -> float:
    """Add the fraction of a second, and take away what the zone is ahead of UTC."""
    if frac:
        base += int(frac) / 10 ** len(frac)
    if zone is None:
        return base if clock.zone is None else base - clock.zone_seconds(base)
    return base if zone == b"Z" else base - _offset_seconds(zone)


@lru_cache(maxsize=256)
def _offset_seconds(zone: bytes) -> float:
    if zone in _ZONE_HOURS:
        return _ZONE_HOURS[zone] * 3600
    hours, minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
    return (-1 if zone[:1] == b"-" else 1) * (hours * 3600 + minutes * 60.0)


@lru_cache(maxsize=512)
def _epoch_midnight(year: int, month: int, day: int) -> float:
    return datetime(year, month, day, tzinfo=UTC).timestamp()
