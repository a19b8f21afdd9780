"""Frames: what is written is read, whatever the pieces; what is not a frame is refused."""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlm_mcp.sandbox import wire

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=15,
)
SOON = 5.0


@pytest.fixture
def ends() -> Iterator[tuple[wire.Line, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        line = wire.Line(ours)
        yield line, theirs
        line.close()


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4), st.binary(max_size=50))
def test_a_frame_comes_back_as_it_was_sent(message: dict[str, Any], raw: bytes) -> None:
    frame = wire.encode(message, raw)
    size, raw_size = wire.HEADER.unpack_from(frame)
    body = frame[wire.HEADER.size : wire.HEADER.size + size]
    assert wire.decode(body) == message
    assert frame[wire.HEADER.size + size :] == raw and raw_size == len(raw)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), min_size=1, max_size=4),
    st.data(),
)
def test_frames_are_read_whatever_pieces_they_come_in(
    messages: list[dict[str, Any]], data: st.DataObject
) -> None:
    stream = b"".join(wire.encode(message, b"raw") for message in messages)
    ours, theirs = socket.socketpair()
    line = wire.Line(ours)
    try:
        got: list[tuple[dict[str, Any], bytes]] = []
        while len(got) < len(messages):
            if stream:
                cut = data.draw(st.integers(1, len(stream)))
                theirs.sendall(stream[:cut])
                stream = stream[cut:]
            try:
                got.append(line.receive(time.monotonic(), 1 << 20, 10))
            except wire.Late:
                continue
        assert got == [(message, b"raw") for message in messages]
    finally:
        line.close()
        theirs.close()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_late_a_violation_or_a_frame_but_never_anything_else(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    line = wire.Line(ours)
    try:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        for _ in range(30):
            message, _ = line.receive(time.monotonic() + SOON, 1000, 10)
            assert type(message) is dict
    except (wire.Closed, wire.Violation):
        pass
    finally:
        line.close()
        theirs.close()


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[1]", b'"x"', b"{", b"\xff\xfe", b'{"a": NaN}', b'{"a": Infinity}',
     b'{"a":' * 100_000, b'{"a": ' + b"9" * 10_000 + b"}", b"{} {}"],
)  # fmt: skip
def test_what_is_no_plain_object_is_a_violation(body: bytes) -> None:
    with pytest.raises(wire.Violation):
        wire.decode(body)


@pytest.mark.parametrize("header", [(1001, 0), (2**32 - 1, 0), (1, 11), (0, 2**32 - 1)])
def test_a_size_over_the_limit_is_a_violation_before_it_is_read(
    ends: tuple[wire.Line, socket.socket], header: tuple[int, int]
) -> None:
    line, theirs = ends
    theirs.sendall(wire.HEADER.pack(*header))
    with pytest.raises(wire.Violation):
        line.receive(time.monotonic() + SOON, 1000, 10)


def test_a_reader_that_stalls_makes_sending_late_not_endless(
    ends: tuple[wire.Line, socket.socket],
) -> None:
    line, _ = ends
    with pytest.raises(wire.Late):
        line.send(b"x" * (8 << 20), time.monotonic() + 0.2)


def test_a_reader_that_is_gone_is_closed(ends: tuple[wire.Line, socket.socket]) -> None:
    line, theirs = ends
    theirs.close()
    with pytest.raises(wire.Closed):
        line.receive(time.monotonic() + SOON, 1000)
    with pytest.raises(wire.Closed):
        line.send(b"x" * (1 << 20), time.monotonic() + SOON)


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_plain_values_are_copied_equal_and_of_exact_types(value: Any) -> None:
    copied = wire.plain(value)
    assert copied == value
    assert json.loads(json.dumps(copied)) == copied


def test_subclasses_are_copied_without_calling_them() -> None:
    class Text(str):
        def __str__(self) -> str:
            raise AssertionError

    class Items(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            raise AssertionError

    class Table(dict[str, Any]):
        def items(self) -> Any:
            raise AssertionError

    class Number(int):
        def __int__(self) -> int:
            raise AssertionError

    copied = wire.plain([Text("a"), Items([1]), Table(k=Number(3)), (1, True)])
    assert copied == ["a", [1], {"k": 3}, [1, True]]
    assert isinstance(copied, list) and isinstance(copied[2], dict)
    assert [type(copied[0]), type(copied[1]), type(copied[2]), type(copied[2]["k"])] == [
        str,
        list,
        dict,
        int,
    ]


@pytest.mark.parametrize(
    "value", [b"x", {1}, object(), {1: 2}, math.nan, math.inf, 1 << 5000, lambda: 0, [[{"a": {1}}]]]
)
def test_what_is_no_json_is_refused_by_type(value: Any) -> None:
    with pytest.raises(TypeError):
        wire.plain(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TypeError, match="nested deeper"):
        wire.plain(loop)


def test_a_value_over_the_limit_is_refused_before_it_is_copied() -> None:
    with pytest.raises(wire.TooLarge, match="100 characters"):
        wire.plain(["x" * 60, "y" * 60], 100)


@pytest.mark.parametrize("item", ["[]", "1", "{}", '""', "null", "[1]"])
def test_a_large_frame_of_too_many_values_is_a_violation_before_it_is_parsed(item: str) -> None:
    body = ('{"a":[' + ",".join([item] * 3_000_000) + "]}").encode()
    with pytest.raises(wire.Violation, match="too many values"):
        wire.check_values(body)


def test_a_large_frame_of_text_is_no_violation() -> None:
    text = 'def f(a, b): return [a, {"b": "\\\\"}]\n' * 100_000
    wire.check_values(wire.encode({"args": [text, text]})[wire.HEADER.size :])


def test_a_call_of_too_many_values_is_refused_where_it_is_made() -> None:
    assert wire.plain([0] * 1000, 1 << 20, 2000) == [0] * 1000
    with pytest.raises(wire.TooLarge, match="at most"):
        wire.plain([None] * 3000, 1 << 20, 2000)


@pytest.mark.parametrize("body", [b'"' + b"a" * 20_000_000 + b'"', b'"\\' * 2_000_000])
def test_a_long_or_open_string_costs_neither_memory_nor_time(body: bytes) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wire.check_values(body)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_large_integer_counts_its_digits() -> None:
    with pytest.raises(wire.TooLarge):
        wire.plain([1 << 4000] * 100, 100_000)


@pytest.mark.parametrize("value", [float("inf"), [1 << 5000]])
def test_what_no_honest_worker_sends_is_a_violation(value: Any) -> None:
    with pytest.raises(wire.Violation, match="cannot be passed"):
        wire.checked(value)
