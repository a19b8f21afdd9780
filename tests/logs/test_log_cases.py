"""Logs as they are met in the field, each with the records, times and levels that are right."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.errors import BadRequest
from tests.project import OpenProject

Make = Callable[..., OpenProject]
Ask = Callable[..., Any]


@pytest.fixture
def ask(tmp_path: Path, catalog_of: Make) -> Callable[..., Ask]:
    """Open a log of that text; what comes back calls its methods."""
    folder = tmp_path / "logs"
    folder.mkdir()

    def opened(text: str | bytes, name: str = "app.log", mtime: float = 0.0) -> Ask:
        path = folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        if mtime:
            os.utime(path, (mtime, mtime))
        catalog = catalog_of(folder)
        catalog.open_context(f"logs:{name}", "app")

        def call(method: str, *args: Any, **kwargs: Any) -> Any:
            if method == "peek":
                return catalog.peek(*args).text
            return catalog.call_method("app", method, list(args), kwargs)

        return call

    return opened


def spans(rows: list[dict[str, Any]]) -> list[str]:
    return [row["ref"].partition("#")[2] for row in rows]


def told(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Give the time of day and the level of each record."""
    return [(row["time"][11:19], row["level"]) for row in rows]


def test_the_time_of_docker_is_read_behind_a_long_line(ask: Callable[..., Ask]) -> None:
    lines = [
        json.dumps({
            "log": f"short {n}\n" if n % 2 == 0 else "level=error payload " + "x" * 600 + "\n",
            "stream": "stdout",
            "time": f"2026-03-14T09:{n:02}:00.000000000Z",
        })
        for n in range(20)
    ]  # fmt: skip
    call = ask("\n".join(lines) + "\n")
    found = call("select")
    assert found["total"] == 20
    assert [row["level"] for row in found["records"]] == ["", "error"] * 10
    (file,) = call("files")
    assert (file["format"], file["from"][11:16], file["to"][11:16]) == ("docker", "09:00", "09:19")


CRI = """\
2026-03-14T10:10:24.993695084Z stdout P error: first half of a{0}
2026-03-14T10:10:24.993695085Z stdout P long line and{0}
2026-03-14T10:10:24.993846586Z stdout F its end token=ZED
2026-03-14T10:10:25.000000000Z stdout F short line
2026-03-14T10:10:25.100000000Z stderr P stderr half{0}
2026-03-14T10:10:25.100000001Z stdout F stdout between
2026-03-14T10:10:25.200000000Z stderr F end
""".format(" ")


def test_parts_of_a_container_line_are_joined_by_stream(ask: Callable[..., Ask]) -> None:
    rows = ask(CRI)("select")["records"]
    assert [(span, row["text"]) for span, row in zip(spans(rows), rows, strict=True)] == [
        ("L1-L3", "error: first half of a long line and its end token=ZED"),
        ("L4", "short line"),
        ("L6", "stdout between"),
        ("L5-L7", "stderr half end"),
    ]


TIMES = {
    "offsets": (
        "2026-08-27T14:22:01.613Z foo APP1 one\n2026-08-27T17:22:01.694554+03:00 foo CRON two\n"
        "2026-08-27T14:22:01.888Z foo APP1 three\n2026-08-27T08:22:02.000-0600 foo APP2 four\n"
        "2026-08-27 14:22:03 UTC foo five\n2026-08-27T17:22:04+03 foo six\n",
        ["14:22:01", "14:22:01", "14:22:01", "14:22:02", "14:22:03", "14:22:04"],
    ),
    "zone names": (
        "2026-06-25 14:54:28 UTC app[1] INFO: a\n2026-06-25 16:54:29 CEST app[1] INFO: b\n"
        "2026-06-25 10:54:30 EDT app[1] ERROR: c\n",
        ["14:54:28", "14:54:29", "14:54:30"],
    ),
    "noon": (
        "####<May 18, 2026 11:58:08 AM CST> <Error> <a> first\n"
        "####<May 18, 2026 12:00:53 PM CST> <Error> <a> second\n"
        "####<May 18, 2026 12:10:53 AM CST> <Info> <a> third\n",
        ["17:58:08", "18:00:53", "06:10:53"],
    ),
    "two-digit year": (
        "26/03/14 20:10:40 INFO executor.Backend: a\n26/03/14 20:10:41 ERROR executor.Backend: b\n",
        ["20:10:40", "20:10:41"],
    ),
    "no date": (
        "16:07:11.428 - INFO: Line 1\n16:07:11.479 - ERR : no tag\n16:08:15.801 - WRN: Line 3\n",
        ["16:07:11", "16:07:11", "16:08:15"],
    ),
}


@pytest.mark.parametrize("kind", TIMES)
def test_times_are_read_with_their_zones(ask: Callable[..., Ask], kind: str) -> None:
    text, wanted = TIMES[kind]
    rows = ask(text)("select")["records"]
    assert [row["time"][11:19] for row in rows] == wanted


def test_a_time_without_a_year_is_not_after_the_logs_last_change(ask: Callable[..., Ask]) -> None:
    text = (
        "Dec 31 23:59:58 h app[1]: last of the year\nDec 31 23:59:59 h app[1]: error: still last\n"
        "Jan  1 00:00:01 h app[1]: first of the year\nJan  1 00:00:02 h app[1]: second\n"
    )
    rows = ask(text, mtime=1_767_312_000)("select")["records"]
    assert [row["time"][:10] for row in rows] == ["2025-12-31"] * 2 + ["2026-01-01"] * 2


LEVELS = {
    "colours": (
        "\x1b[2m2026-10-28T19:15:10.821Z\x1b[0m \x1b[32m INFO\x1b[0m svc: ok\n"
        "\x1b[2m2026-10-28T19:15:11.821Z\x1b[0m \x1b[31mERROR\x1b[0m svc: bad \x1b[3mid\x1b[0m=77\n"
        "\x1b[90m19:15\x1b[0m \x1b[33mWRN\x1b[0m zerolog short\n",
        ["info", "error", "warn"],
    ),
    "messages": (
        "2026-03-14 10:00:00 finished without error in 3 ms\n"
        "2026-03-14 10:00:01 loaded /etc/error pages\n"
        "2026-03-14 10:00:02 0 error found, 0 warning found\n"
        "2026-03-14 10:00:03 no fatal problems\n"
        '2026-03-14T10:00:04Z {"msg":"x","error":null,"level":"info"}\n'
        "2026-03-14 10:00:05 user said [ERROR] in chat level=info\n",
        ["", "", "", "", "info", "info"],
    ),
    "mongodb": (
        "".join(
            f'{{"t":{{"$date":"2026-03-14T09:00:0{n}.000+00:00"}},"s":"{s}","c":"NET","msg":"m"}}\n'
            for n, s in enumerate("EIW")
        ),
        ["error", "info", "warn"],
    ),
    "gelf": (
        '{"version":"1.1","host":"h","short_message":"boom","timestamp":1773478881.788,"level":3}\n'
        '{"version":"1.1","host":"h","short_message":"ok","timestamp":1773478882.788,"level":6}\n',
        ["error", "info"],
    ),
    "journal json": (
        "".join(
            f'{{"__REALTIME_TIMESTAMP":"177347888{n}788000","PRIORITY":"{p}","MESSAGE":{m}}}\n'
            for n, p, m in ((1, 3, '"disk full"'), (2, 6, '"ok"'), (3, 4, "[104,105,27]"))
        ),
        ["error", "info", "warn"],
    ),
    "logcat": (
        "03-14 16:13:38.811  1702  2395 D WindowManager: a\n"
        "03-14 16:13:39.811  1702  2395 E AndroidRuntime: FATAL EXCEPTION: main\n"
        "03-14 16:13:40.811  1702  2395 W System.err: w\n",
        ["debug", "error", "warn"],
    ),
    "w3c": (
        "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n"
        "#Date: 2026-03-14 00:00:00\n"
        "#Fields: date time s-ip cs-method cs-uri-stem sc-status time-taken\n"
        "2026-03-14 00:00:01 10.0.0.1 GET /a 200 15\n2026-03-14 00:00:02 10.0.0.1 GET /b 500 120\n",
        ["info", "error"],
    ),
}


@pytest.mark.parametrize("kind", LEVELS)
def test_a_level_is_read_from_its_place_alone(ask: Callable[..., Ask], kind: str) -> None:
    text, wanted = LEVELS[kind]
    rows = ask(text)("select")["records"]
    assert [row["level"] for row in rows] == wanted
    assert not any("\x1b" in row["text"] for row in rows)
    assert all(row["time"] for row in rows)


def test_lines_of_compose_are_read_inside(ask: Callable[..., Ask]) -> None:
    lines = [
        f'api-1  | {{"level":"{"error" if n == 7 else "info"}","ts":{1761019820 + n}.3,"msg":"m"}}'
        for n in range(10)
    ]
    rows = ask("\n".join(lines) + "\n")("select")["records"]
    assert [row["level"] for row in rows].count("error") == 1
    assert {row["service"] for row in rows} == {"api-1"}
    assert rows[0]["time"] == "2025-10-21T04:10:20.300Z" and len(rows) == 10


TRACE = """\
2026-03-14 10:00:00,000 ERROR [a] failed
Traceback (most recent call last):
  File "a.py", line 1, in f
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b.py", line 2, in g
ValueError: y
2026-03-14 10:00:01,000 INFO [a] next
"""
SPRING = """\
2026-01-14T09:12:01.123+01:00  INFO 4711 --- [demo] [           main] c.e.Demo : Started
2026-01-14T09:12:02.123+01:00 ERROR 4711 --- [demo] [nio-8080-exec-1] o.a.c.C.[.[.[/] : threw

java.lang.IllegalStateException: boom
\tat c.e.Demo.run(Demo.java:12)

\tSuppressed: java.io.IOException: x
Caused by: java.lang.NullPointerException: y
\tat c.e.Demo.inner(Demo.java:33)
2026-01-14T09:12:03.123+01:00  WARN 4711 --- [demo] [           main] c.e.Demo : slow
"""
EXPORT = "\n".join(
    f"__CURSOR=s={n}\n__REALTIME_TIMESTAMP=177347888{n}788000\nPRIORITY={p}\nMESSAGE={m}\n"
    for n, p, m in ((1, 6, "ok"), (2, 3, "disk full"), (3, 6, "ok again"))
)
PRETTY = "".join(
    f'{{\n  "time": "2026-03-14T10:00:0{n}Z",\n  "level": "{level}",\n  "msg": "a"\n}}\n'
    for n, level in enumerate(("error", "info"))
)
BEFORE = """\
panic: assignment to entry in nil map

goroutine 1 [running]:
main.main()
\t/app/main.go:10 +0x1d
exit status 2
2026-03-14T10:00:00Z INFO restarted
2026-03-14T10:00:01Z INFO ready
"""


@pytest.mark.parametrize(
    ("text", "wanted", "levels"),
    [
        (TRACE, ["L1-L10", "L11"], ["error", "info"]),
        (SPRING, ["L1", "L2-L9", "L10"], ["info", "error", "warn"]),
        (EXPORT, ["L1-L4", "L6-L9", "L11-L14"], ["info", "error", "info"]),
        (PRETTY, ["L1-L5", "L6-L10"], ["error", "info"]),
        (BEFORE, ["L1-L6", "L7", "L8"], ["", "info", "info"]),
    ],
)
def test_a_record_has_all_its_lines_and_its_ref_holds_them(
    ask: Callable[..., Ask], text: str, wanted: list[str], levels: list[str]
) -> None:
    call = ask(text)
    rows = call("select")["records"]
    assert spans(rows) == wanted
    assert [row["level"] for row in rows] == levels
    for row in rows:
        assert call("peek", row["ref"]) == row["text"]


def test_a_crash_before_the_first_time_is_the_first_error(ask: Callable[..., Ask]) -> None:
    found = ask(BEFORE)("first_error")
    assert (found["record"]["ref"], found["record"]["failure"]) == ("app:app.log#L1-L6", "panic")


@pytest.mark.parametrize("kind", ["text", "json"])
def test_a_late_last_line_changes_no_answer(ask: Callable[..., Ask], kind: str) -> None:
    hours = [*range(12), 3]
    lines = [
        f"2026-03-14T{hour:02}:{30 * (n > 11):02}:00Z {'ERROR' if n > 11 else 'INFO'} tick"
        if kind == "text"
        else f'{{"ts": "2026-03-14T{hour:02}:{30 * (n > 11):02}:00Z", "msg": "tick"}}'
        for n, hour in enumerate(hours)
    ]
    call = ask("\n".join(lines) + "\n")
    (file,) = call("files")
    assert (file["to"], file["late"]) == ("2026-03-14T11:00:00Z", 1)
    assert call("select", since="03:00", until="04:00")["total"] == 2
    assert call("select", since="11:00")["total"] == 1
    assert call("select", since="2h")["total"] == 3
    assert call("templates", since="03:00", until="04:00")["lines"] == 2


def test_one_date_in_a_message_dates_no_file(ask: Callable[..., Ask]) -> None:
    lines = [f"web-1  | request {n} served" for n in range(20)]
    lines += ['web-1  | 127.0.0.1 - - [25/Apr/2024 05:32:35] "GET / HTTP/1.1" 200 -']
    lines += [f"web-1  | panic: worker {n} died" for n in range(5)]
    call = ask("\n".join(lines) + "\n")
    (file,) = call("files")
    assert (file["format"], file["records"], file["from"]) == ("plain", 26, "")
    assert file["timed_share"] == pytest.approx(0.04, abs=0.01)
    assert spans(call("select", level="fatal")["records"])[0] == "L22"


def test_a_failure_is_told_apart_from_a_level(ask: Callable[..., Ask]) -> None:
    text = (
        "\ufeff2026-03-14T08:00:00.0000000Z ##[group]Run make test\n"
        "2026-03-14T08:00:00.1000000Z \x1b[36;1mmake test\x1b[0m\n"
        "2026-03-14T08:00:00.2000000Z ##[endgroup]\n"
        "2026-03-14T08:00:05.2000000Z ##[warning]Node 16 is old\n"
        "2026-03-14T08:00:06.2000000Z --- FAIL: TestPay (0.01s)\n"
        "2026-03-14T08:00:07.2000000Z ##[error]Process completed with exit code 2.\n"
    )
    call = ask(text)
    rows = call("select")["records"]
    assert rows[0]["text"].startswith("2026") and rows[1]["text"].endswith("Z make test")
    assert [row["level"] for row in rows] == ["", "", "", "warn", "", "error"]
    failed = call("select", failure=True)["records"]
    assert [(row["failure"], span) for row, span in zip(failed, spans(failed), strict=True)] == [
        ("test", "L5"),
        ("exit", "L6"),
    ]


def test_times_since_boot_stay_relative(ask: Callable[..., Ask]) -> None:
    call = ask(
        "[    0.000000] Linux version 6.1\n"
        "[    1.234567] EXT4-fs (sda1): error loading journal\n"
        "[88421.220000] Out of memory: Killed process 4410 (java)\n"
    )
    rows = call("select")["records"]
    assert [(row["time"], row["level"]) for row in rows][1:] == [
        ("boot+1.235s", ""),
        ("boot+88421.220s", "error"),
    ]
    assert call("files")[0]["zone"] == "seconds since boot"


NUMBERED = b"".join(
    b"2026-03-14T10:%02d:%02dZ INFO line %d id=req-%04x\n" % (n // 60 % 60, n % 60, n, n * 31)
    for n in range(3_000)
)


def test_a_cut_archive_gives_every_whole_line_it_holds(ask: Callable[..., Ask]) -> None:
    packed = gzip.compress(NUMBERED, mtime=0)
    call = ask(packed[: len(packed) // 2], "app.log.gz")
    rows = call("select", limit=3_000)["records"]
    assert 1_000 < len(rows) < 2_000
    whole = NUMBERED.decode().splitlines()
    assert [row["text"] for row in rows[:-1]] == whole[: len(rows) - 1]
    assert whole[len(rows) - 1].startswith(rows[-1]["text"])
    assert "is lost" in call("files")[0]["note"]


def test_a_damaged_archive_gives_what_stands_before_the_damage(ask: Callable[..., Ask]) -> None:
    packed = bytearray(gzip.compress(NUMBERED, mtime=0))
    packed[2_000:2_040] = b"\xff" * 40
    call = ask(bytes(packed), "app.log.gz")
    rows = call("select", limit=3_000)["records"]
    whole = NUMBERED.decode().splitlines()
    assert [row["text"] for row in rows[:200]] == whole[:200]
    assert "is broken" in call("files")[0]["note"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "latin-1"])
def test_an_encoding_without_a_mark_is_told(ask: Callable[..., Ask], encoding: str) -> None:
    text = "2026-03-14 10:00:00 ERROR café\r\n2026-03-14 10:00:01 INFO ok\r\n"
    rows = ask(text.encode(encoding))("select")["records"]
    assert [(row["level"], row["text"][20:]) for row in rows] == [
        ("error", "ERROR café"),
        ("info", "INFO ok"),
    ]


def test_templates_keep_rare_errors_among_many_ids(ask: Callable[..., Ask]) -> None:
    r = random.Random(1)
    lines = [
        f"2026-03-14 {n // 36000:02}:{n // 600 % 60:02}:{n // 10 % 60:02},{n % 1000:03} INFO [pay] "
        f"charged {r.getrandbits(128):032x} ok\n"
        for n in range(210_000)
    ]
    lines += [
        f"2026-03-14 23:59:59,{n:03} ERROR [pay] bank refused charge {r.getrandbits(128):032x}\n"
        for n in range(500)
    ]
    found = ask("".join(lines))("templates", level="error")
    assert (found["total"], found["lines"], found["of_lines"]) == (1, 500, 210_500)
    assert "bank refused charge" in found["templates"][0]["template"]


def test_messages_of_compact_json_are_templates_of_their_own(ask: Callable[..., Ask]) -> None:
    def line(n: int, message: str, ident: str) -> str:
        return (
            f'{{"ts":"2026-03-14T09:0{n}:00Z","level":"error","msg":"{message}",'
            f'"request_id":"{ident}","dur_ms":{n}}}\n'
        )

    kinds = ("payment upstream timeout", "payment upstream refused", "disk full")
    idents = ("req-e4e66f2a", "req-beadcafe", "req-deadbeef", "req-e499b2d7", "req-01", "req-face")
    text = "".join(line(n, kinds[n % 3], ident) for n, ident in enumerate(idents))
    found = ask(text)("templates", level="error")["templates"]
    assert [item["count"] for item in found] == [2, 2, 2]
    assert all(any(kind in item["template"] for item in found) for kind in kinds)


def test_both_sides_of_a_comparison_have_the_same_templates(ask: Callable[..., Ask]) -> None:
    text = (
        '2026-03-14T09:00:00Z ERROR {"msg":"no stock","id":"req-e499b2d7","n":1}\n'
        '2026-03-14T11:00:00Z ERROR {"msg":"no stock","id":"req-e499b2d7","n":1}\n'
        '2026-03-14T11:00:01Z ERROR {"msg":"no stock","id":"req-beadcafe","n":2}\n'
    )
    (change,) = ask(text)("compare", at="10:00")["changes"]
    assert (change["state"], change["before"], change["after"]) == ("rate", 1, 2)


def test_a_comparison_counts_whole_records_of_each_log(ask: Callable[..., Ask]) -> None:
    trace = "Traceback (most recent call last):\n  File x\nKeyError: 'currency'\n"
    text = "".join(f"2026-03-14T09:{n:02}:00Z INFO order {n} accepted\n" for n in range(60))
    text += "".join(
        f"2026-03-14T10:{n:02}:00Z ERROR event dropped {n}\n{trace}"
        f"2026-03-14T10:{n:02}:01Z INFO order {n} accepted\n"
        for n in range(30)
    )
    found = ask(text)("compare", at="10:00", path="app.log")
    assert (found["records_before"], found["records_after"]) == (60, 60)
    assert [(row["state"], row["before"], row["after"]) for row in found["changes"]] == [
        ("new", 0, 30),
        ("rate", 60, 30),
    ]
    assert found["changes"][1]["ratio"] == 0.5


def test_first_error_lists_the_first_of_each_family(ask: Callable[..., Ask]) -> None:
    text = "".join(
        f"2026-03-14T09:{n:02}:00Z "
        + (f"ERROR charge failed req-{n * 7919:x}\n" if n % 5 else "INFO ok\n")
        for n in range(60)
    )
    text += "2026-03-14T10:00:00Z kernel: Out of memory: Killed process 12 (java)\n"
    found = ask(text)("first_error")
    assert found["record"]["ref"] == "app:app.log#L2"
    assert [(row["count"], row.get("failure", "")) for row in found["families"]] == [
        (48, ""),
        (1, "oom"),
    ]


def test_records_are_chosen_and_ranked_by_fields(ask: Callable[..., Ask]) -> None:
    text = "".join(
        f'{{"ts":"2026-03-14T09:{n:02}:00Z","level":"info",'
        f'"service":"{"pay" if n % 2 else "cart"}",'
        f'"status":{500 if n % 10 == 0 else 200},"dur_ms":{n * 20},"msg":"done"}}\n'
        for n in range(60)
    )
    call = ask(text)
    assert call("select", where="status>=500")["total"] == 6
    assert call("select", where="service=pay, dur_ms>900")["total"] == 7
    slow = call("slowest", limit=2, over_ms=900)
    assert [(row["value_ms"], row["field"]) for row in slow["records"]] == [
        (1180.0, "dur_ms"),
        (1160.0, "dur_ms"),
    ]
    assert (slow["measured"], slow["over"]) == (60, 14)
    with pytest.raises(BadRequest, match="where"):
        call("select", where="status")


def test_durations_in_text_are_read_with_their_units(ask: Callable[..., Ask]) -> None:
    call = ask(
        "2026-03-14T09:00:00Z INFO charged req-1 in 150 ms\n"
        "2026-03-14T09:00:01Z INFO job 7 took 2.5s\n"
        "2026-03-14T09:00:02Z INFO login dur=12ms\n"
        '1.2.3.4 - - [14/Mar/2026:09:00:03 +0000] "GET /a HTTP/1.1" 200 7 "-" "c" rt=0.203\n'
    )
    slow = call("slowest")
    assert [row["value_ms"] for row in slow["records"]] == [2500.0, 203.0, 150.0, 12.0]


def test_traces_are_grouped_by_exception_and_frame(ask: Callable[..., Ask]) -> None:
    trace = (
        "Traceback (most recent call last):\n"
        '  File "/usr/lib/python3/site-packages/web.py", line 9, in call\n'
        '  File "/app/pay.py", line 42, in charge\n'
    )
    text = "".join(
        f"2026-03-14 09:{n:02}:00 ERROR failed\n{trace}"
        f"{'KeyError' if n % 3 else 'ValueError'}: 'x'\n"
        for n in range(9)
    )
    found = ask(text)("traces")
    assert [(row["exception"], row["frame"], row["count"]) for row in found["traces"]] == [
        ("KeyError", "/app/pay.py:42 charge", 6),
        ("ValueError", "/app/pay.py:42 charge", 3),
    ]
