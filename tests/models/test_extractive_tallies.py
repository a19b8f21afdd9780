"""The embedded model on what the lines of logs come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.asking import ask

TRACE = """\
2026-03-14 09:05:00 ERROR shop - order 7 failed
java.lang.IllegalStateException: payment
\tat shop.Pay.charge(Pay.java:88)
Caused by: java.net.SocketTimeoutException: Read timed out
2026-03-14 09:06:00 INFO shop - order 8 placed
2026-03-14 09:07:00 ERROR shop - order 9 failed
java.lang.IllegalStateException: payment
2026-03-14 09:08:00 INFO shop - order 502 placed
2026-03-14 09:09:00 INFO shop - order 11 placed
2026-03-14 10:10:00 INFO shop - order 12 placed
2026-03-14 10:11:00 INFO shop - done
"""


def request(minute: int, address: str, status: int, size: int, took: str) -> str:
    at = f"14/Mar/2026:09:{minute:02}:00 +0000"
    return (
        f'{address} - - [{at}] "GET /a{minute % 2}?q=1 HTTP/1.1" {status} {size} "-" "x" {took}\n'
    )


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    rows = [request(n, f"10.0.0.{n % 3}", 200, 502, "0.010") for n in range(20)]
    rows[7] = request(7, "10.0.0.9", 502, 10, "4.200")
    rows[9] = request(9, "10.0.0.9", 502, 10, "5.100")
    (tmp_path / "access.log").write_text("".join(rows))
    (tmp_path / "shop.log").write_text(TRACE)
    kube = [f'I0314 09:{n:02}:00.000000  10 kubelet.go:1] "ok" pod="a/b"\n' for n in range(20)]
    kube[5] = 'E0314 09:05:00.000000  10 kubelet.go:2] "sync failed" pod="a/b-77f3c1"\n'
    kube[12] = 'E0314 09:12:00.000000  10 kubelet.go:2] "sync failed" pod="a/b"\n'
    (tmp_path / "kubelet.log").write_text("".join(kube))
    return tmp_path


@pytest.mark.parametrize(
    ("log", "question", "told"),
    [
        ("access", "Which client IPs make most requests?", ["10.0.0.0: 6 times, first"]),
        ("access", "How many requests per status?", ["200: 18 times", "502: 2 times, first"]),
        ("access", "Which paths fail with 502?", ["/a1: 2 times, first access:access.log#L8"]),
        ("access", "When did the 502 errors begin?", ["2 lines of access with the status 502; the "
         "first is access:access.log#L8 ", "the last is access:access.log#L10 "]),
        ("access", "How many 502 responses are there?", ["2 lines of access with the status 502"]),
        ("access", "What are the slowest requests?", ["5.1: access:access.log#L10 "]),
        ("shop", "Which exceptions occur?", ["java.lang.IllegalStateException: 2 times, first "
         "shop:shop.log#L2 ", "java.net.SocketTimeoutException: 1 time"]),
        ("shop", "How many records per hour?", ["2026-03-14T09:00:00Z: 5, first shop:shop.log#L1",
         "2026-03-14T10:00:00Z: 2, first"]),
        ("shop", "What is the last error?", ["The last: shop:shop.log#L6 "]),
        ("shop", "How many warnings are there in shop.log?", ["2 of 11 lines"]),
        ("kubelet", "How many errors are there?", ["2 of 20 lines of kubelet"]),
        ("kubelet", "What happened to pod b-77f3c1?", ["1 line of kubelet with b-77f3c1"]),
    ],
)  # fmt: skip
def test_logs_are_counted_by_what_a_question_names(
    logs: Path, log: str, question: str, told: list[str]
) -> None:
    answer = ask(logs, question, f"logs:{log}.log")
    for words in told:
        assert words in answer


def test_the_log_with_most_errors_is_told_and_one_without_says_so(logs: Path) -> None:
    answer = ask(logs, "Which log has the most errors?", "logs")
    assert answer.index("logs:access.log with") < answer.index("logs:shop.log with")
    (logs / "quiet.log").write_text("2026-03-14 09:05:00 INFO all is well\n" * 12)
    quiet = ask(logs, "How many errors are there?", "logs:quiet.log")
    assert "No line of quiet with the level error or worse" in quiet
