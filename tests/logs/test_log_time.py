"""Times and levels as the lines of common logs write them."""

from __future__ import annotations

import pytest

from rlm_mcp.errors import BadRequest
from rlm_mcp.logs import log_time
from rlm_mcp.logs.log_formats import PLAIN, detect_format, line_level
from rlm_mcp.logs.log_time import Clock

CLOCK = Clock(1_798_000_000.0)
FIELDS = ("json",)


@pytest.mark.parametrize(
    ("line", "name", "shown"),
    [
        (b"2026-03-14 09:00:04,917 INFO x", "iso", "2026-03-14T09:00:04.917Z"),
        (b"2026-03-14T09:00:04+02:00 x", "iso", "2026-03-14T07:00:04Z"),
        (b"[2026/03/14 09:00:04] x", "iso", "2026-03-14T09:00:04Z"),
        (b'1.2.3.4 - - [14/Mar/2026:09:00:04 +0100] "GET"', "access", "2026-03-14T08:00:04Z"),
        (b"Mar 14 09:00:04 host x[1]: y", "syslog", "2026-03-14T09:00:04Z"),
        (b"E0314 09:00:04.500000 7 a.go:1] x", "glog", "2026-03-14T09:00:04.500Z"),
        (b'{"ts": 1773478804, "msg": "x"}', "json", "2026-03-14T09:00:04Z"),
        (b'{"ts": 1773478804500, "msg": "x"}', "json", "2026-03-14T09:00:04.500Z"),
        (b'{"msg": "x", "time": "2026-03-14T09:00:04Z"}', "json", "2026-03-14T09:00:04Z"),
        (b"time=2026-03-14T09:00:04Z level=info", "iso inside", "2026-03-14T09:00:04Z"),
        (b"<34>Mar 14 09:00:04 host su: x", "syslog", "2026-03-14T09:00:04Z"),
        (b"[Sat Mar 14 09:00:04.5 2026] [core:error] x", "ctime", "2026-03-14T09:00:04.500Z"),
        (b"14-Mar-2026 09:00:04.917 INFO x", "day month year", "2026-03-14T09:00:04.917Z"),
        (b"Sat, 14 Mar 2026 09:00:04 +0100 x", "day month year", "2026-03-14T08:00:04Z"),
        (b"Mar 14, 2026 9:00:04 PM org.x.Y z", "month day year", "2026-03-14T21:00:04Z"),
        (b"Mar 14 2026 09:00:04: %ASA-6 x", "month day year", "2026-03-14T09:00:04Z"),
        (b"2026-03-14 9:00 PM x", "year month day", "2026-03-14T21:00:00Z"),
        (b"20260314 09:00:04 x", "compact", "2026-03-14T09:00:04Z"),
        (b"20260314T090004Z x", "compact", "2026-03-14T09:00:04Z"),
        (b"03/14/2026 9:00 PM x", "month/day", "2026-03-14T21:00:00Z"),
        (b"3/14/2026, 12:00:04.5 a.m. x", "month/day", "2026-03-14T00:00:04.500Z"),
        (b"14/03/2026 09:00:04 x", "day/month", "2026-03-14T09:00:04Z"),
        (b"[04.03.2026 09:00:04,917] x", "day/month", "2026-03-04T09:00:04.917Z"),
    ],
)
def test_common_times_are_read(line: bytes, name: str, shown: str) -> None:
    found = detect_format([line], CLOCK)
    assert (found.formats[0].name if name in FIELDS else found.formats[0].style) == name
    head = found.formats[0].read_head(line, CLOCK)
    assert head is not None and head.time is not None
    assert (found.share, log_time.format_time(head.time)) == (1.0, shown)


def test_digits_that_are_no_date_have_no_time() -> None:
    for lines in (
        [b"2026-99-99 99:99:99 x"],
        [b"no time here", b""],
        [b"14/14/2026 09:00:04 x", b"03/14/2026 13:00 PM"],
    ):
        assert detect_format(lines, CLOCK).formats == (PLAIN,)


def test_the_day_is_told_by_the_lines_that_cannot_have_it_elsewhere() -> None:
    lines = [b"01/02/2026 10:00:00 x", b"13/02/2026 10:00:00 x"]
    assert detect_format(lines, CLOCK).formats[0].style == "day/month"


@pytest.mark.parametrize(
    ("name", "shown"),
    [("Europe/Berlin", "08:00"), ("CEST", "07:00"), ("-03:30", "12:30"), ("+09", "00:00")],
)
def test_a_zone_is_given_by_name_or_offset(name: str, shown: str) -> None:
    clock = Clock(CLOCK.latest, log_time.zone_named(name))
    moment = log_time.text_time("2026-03-14 09:00:04", clock)
    assert moment is not None and log_time.format_time(moment)[11:16] == shown
    with pytest.raises(BadRequest, match="no time zone"):
        log_time.zone_named("Mars/Olympus")


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (b"2026-03-14 09:00:00 ERROR x", "error"),
        (b'{"level": "warning", "msg": "no error"}', "warn"),
        (b'{"level":50,"msg":"x"}', "error"),
        (b"level=info msg=x", "info"),
        (b"W0314 09:00:00.000000 1 a.go:1] x", "warn"),
        (b"nginx: [crit] x", "fatal"),
        (b'1.2.3.4 - - [x] "GET / HTTP/1.1" 502 1', "error"),
        (b"2026-03-14 LOG:  statement", "info"),
        (b"03/14/2026 9:00 PM [Error] x", "error"),
        (b"09:00:04 | Warn | x", "warn"),
        (b"[x] [core:error] [pid 1] y", "error"),
        (b"Error: no such file", "error"),
        (b"<34>Mar 14 09:00:04 host su: x", "fatal"),
        (b"<165>1 2026-03-14T09:00:04Z host app - - - ERROR is a word here", "info"),
        (b"<999>x", ""),
        (b"raised TypeError: x", ""),
        (b"an ordinary sentence", ""),
    ],
)
def test_common_levels_are_read(line: bytes, level: str) -> None:
    assert line_level(line) == level
