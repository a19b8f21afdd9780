"""Lines of a large file by number and by place, whatever the blocks and threads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlm_mcp.corpus.store import line_file


@given(
    data=st.lists(st.binary(max_size=40) | st.just(b"\n\n\n"), max_size=12).map(b"\n".join),
    threaded=st.sampled_from([1, 100]),
    order=st.randoms(use_true_random=False),
)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_numbers_and_places_of_lines_agree_with_splitting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, threaded: int, order: object
) -> None:
    monkeypatch.setattr(line_file, "COUNT_BLOCK_BYTES", 16)
    monkeypatch.setattr(line_file, "THREADED_BLOCKS", threaded)
    path = tmp_path / "a.log"
    path.write_bytes(data)
    lines = data.removesuffix(b"\n").split(b"\n") if data else []
    starts = [0]
    for line in lines[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    fd = os.open(path, os.O_RDONLY)
    try:
        file = line_file.LineFile(fd, len(data))
        places = list(range(len(data)))
        order.shuffle(places)  # type: ignore[attr-defined]
        for place in places:
            assert file.line_number(place) == data.count(b"\n", 0, place) + 1
        assert file.line_count() == len(lines)
        for number, start in enumerate(starts, 1):
            assert file.line_start(number) == start
            assert file.next_line(start) == start
        assert file.line_start(len(lines) + 2) == len(data)
        assert file.line_bytes(1, len(lines)) == lines
    finally:
        os.close(fd)


def test_what_was_appended_is_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_file, "COUNT_BLOCK_BYTES", 16)
    path = tmp_path / "a.log"
    path.write_bytes(b"one\n" * 10)
    with path.open("rb") as opened:
        file = line_file.LineFile(opened.fileno(), 40)
        assert file.line_count() == 10
        with path.open("ab") as more:
            more.write(b"two\n" * 10)
        file.grow_to(80)
        assert file.line_number(79) == 20
        assert file.line_count() == 20
