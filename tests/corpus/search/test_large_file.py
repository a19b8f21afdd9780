"""Lines of a large file: what is found at the borders of blocks, parts and threads."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlm_mcp.corpus.search import compile_pattern, large_file, scan
from rlm_mcp.corpus.store.line_file import LineFile

PATTERNS = ("b", "ab", "^a", "b$", "^$", "a.*b", r"\bab\b", "a|bc", r"\d+", "x{3}", "[^ab]", r"\s$")


@pytest.fixture(params=["hyperscan", "re2 alone", "arrays"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Cut everything small, and go each of the three ways."""
    if request.param == "re2 alone":
        monkeypatch.setattr(compile_pattern, "load_hyperscan", lambda: None)
    elif request.param == "arrays":
        monkeypatch.setattr(scan, "SHORT_BLOCK_BYTES", 0)
        monkeypatch.setattr(scan, "REPORT_NS", {"regex": 10**9, "automaton": 10**9})
    monkeypatch.setattr(large_file, "PART_BYTES", 64)
    monkeypatch.setattr(large_file, "PIECE_BYTES", 16)
    compile_pattern.compile_pattern.cache_clear()
    yield request.param
    compile_pattern.compile_pattern.cache_clear()


def scanned(
    path: Path, pattern: str, data: bytes, limit: int = 10**6, skip: int = 0
) -> large_file.FileScan:
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        gated = large_file.compile_line_pattern(
            pattern, ignore_case=False, unicode=False, multiline=False
        )
        size = len(data)
        return large_file.scan_file(
            LineFile(fd, size), gated, 0, size, limit, skip, time.monotonic() + 60
        )
    finally:
        os.close(fd)


def wanted(pattern: str, data: bytes) -> list[int]:
    """Return where matching lines start, by Python's re, a line at a time."""
    regex, starts, at = re.compile(pattern.encode()), [], 0
    for line in data.removesuffix(b"\n").split(b"\n") if data else []:
        # A line has no newline, before which Python's $ would match too.
        if regex.search(line):
            starts.append(at)
        at += len(line) + 1
    return starts


@given(
    data=st.lists(
        st.sampled_from([b"", b"a", b"ab", b"b\r", b"\xff\x00b", b" ", b"7", b"x" * 40, b"ab" * 50])
        | st.text("ab1 .", max_size=20).map(str.encode),
        max_size=30,
    ),
    newline=st.booleans(),
    pattern=st.sampled_from(PATTERNS),
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_lines_are_those_that_pythons_re_finds(
    tmp_path: Path, small: str, data: list[bytes], newline: bool, pattern: str
) -> None:
    text = b"\n".join(data) + (b"\n" if newline and data else b"")
    found = scanned(tmp_path / "a.log", pattern, text)
    assert found.starts == wanted(pattern, text)
    assert found.total == len(found.starts)
    assert found.whole
    # Behind what is shown, lines are only counted.
    assert scanned(tmp_path / "a.log", pattern, text, limit=1).total == found.total


def test_a_page_is_that_part_of_all_lines(tmp_path: Path, small: str) -> None:
    data = b"".join(b"line %d of some\n" % number for number in range(200))
    every = scanned(tmp_path / "a.log", r"7 of", data)
    for limit, skip in [(0, 0), (3, 0), (3, 5), (100, 18), (5, 500)]:
        page = scanned(tmp_path / "a.log", r"7 of", data, limit, skip)
        assert page.starts == every.starts[skip : skip + limit]
        assert page.total == every.total == 20


def test_a_line_that_is_too_long_to_hold_counts_once_where_it_starts(
    tmp_path: Path, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_file, "MAX_WHOLE_LINE", 16)
    long = b"ab " * 300
    data = b"ab\nno\n" + long + b"\nno\nab\n" + long
    found = scanned(tmp_path / "a.log", "ab", data)
    assert found.starts == wanted("ab", data)
    assert found.total == 4
    assert found.parted == 2
    behind = scanned(tmp_path / "a.log", "^ab", b"x" * 900 + b"\nab")
    assert (behind.starts, behind.parted) == ([901], 1)
    assert scanned(tmp_path / "a.log", "ab", b"ab\n" * 50).parted == 0


def test_an_empty_file_and_one_that_was_cut_have_no_lines(tmp_path: Path, small: str) -> None:
    assert scanned(tmp_path / "a.log", "a", b"") == large_file.FileScan([], 0, True)
    path = tmp_path / "b.log"
    path.write_bytes(b"a\n")
    fd = os.open(path, os.O_RDONLY)
    gated = large_file.compile_line_pattern("a", ignore_case=False, unicode=False, multiline=False)
    found = large_file.scan_file(LineFile(fd, 5000), gated, 0, 5000, 9, 0, time.monotonic() + 60)
    os.close(fd)
    assert found.starts == [0]


def test_without_time_a_scan_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"a\n" * 100)
    fd = os.open(path, os.O_RDONLY)
    gated = large_file.compile_line_pattern("a", ignore_case=False, unicode=False, multiline=False)
    found = large_file.scan_file(LineFile(fd, 200), gated, 0, 200, 9, 0, time.monotonic() - 1)
    os.close(fd)
    assert not found.whole
    assert found.total == 0
