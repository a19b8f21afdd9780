"""Times and levels as the lines of common logs write them."""

from __future__ import annotations

import pytest

from rlm_mcp.logs import log_time


@pytest.mark.parametrize(
    ("line", "name", "shown"),
    [
        (b"2026-03-14 09:00:04,917 INFO x", "iso", "2026-03-14T09:00:04.917Z"),
        (b"2026-03-14T09:00:04+02:00 x", "iso", "2026-03-14T07:00:04Z"),
        (b"[2026/03/14 09:00:04] x", "iso", "2026-03-14T09:00:04Z"),
        (b'1.2.3.4 - - [14/Mar/2026:09:00:04 +0100] "GET"', "access", "2026-03-14T08:00:04Z"),
        (b"Mar 14 09:00:04 host x[1]: y", "syslog", "2026-03-14T09:00:04Z"),
        (b"E0314 09:00:04.500000 7 a.go:1] x", "klog", "2026-03-14T09:00:04.500Z"),
        (b'{"ts": 1773478804, "msg": "x"}', "json epoch", "2026-03-14T09:00:04Z"),
        (b'{"ts": 1773478804500, "msg": "x"}', "json epoch", "2026-03-14T09:00:04.500Z"),
        (b'{"msg": "x", "time": "2026-03-14T09:00:04Z"}', "iso inside", "2026-03-14T09:00:04Z"),
        (b"time=2026-03-14T09:00:04Z level=info", "iso inside", "2026-03-14T09:00:04Z"),
        (b"__REALTIME_TIMESTAMP=1773478804000000", "journal", "2026-03-14T09:00:04Z"),
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
    known, share = log_time.detect_format([line])
    assert known is not None and (known.name, share) == (name, 1.0)
    moment = log_time.parse_time(known, line, 2026)
    assert moment is not None and log_time.format_time(moment) == shown


def test_digits_that_are_no_date_have_no_time() -> None:
    known, _ = log_time.detect_format([b"2026-03-14 09:00:00 x"])
    assert log_time.parse_time(known, b"2026-99-99 99:99:99 x", 2026) is None
    assert log_time.detect_format([b"no time here", b""]) == (None, 0.0)
    assert log_time.detect_format([b"14/14/2026 09:00:04 x", b"03/14/2026 13:00 PM"]) == (None, 0.0)


def test_the_day_is_told_by_the_lines_that_cannot_have_it_elsewhere() -> None:
    known, share = log_time.detect_format([b"01/02/2026 10:00:00 x", b"13/02/2026 10:00:00 x"])
    assert known is not None and (known.name, share) == ("day/month", 1.0)


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
    assert log_time.line_level(line) == level
