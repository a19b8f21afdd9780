"""Frames: what is written is read, whatever the pieces; what is not a frame is refused."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlm_mcp.sandbox import wire
from rlm_mcp.sandbox.line import Inside, Line

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
def ends() -> Iterator[tuple[Line, socket.socket]]:
    ours, theirs = socket.socketpair()
    with theirs:
        line = Line(ours)
        yield line, theirs
        line.close()


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4), st.binary(max_size=50))
def test_a_frame_comes_back_as_it_was_sent(message: dict[str, Any], raw: bytes) -> None:
    frame = wire.encode_frame(message, raw)
    size, raw_size = wire.HEADER.unpack_from(frame)
    body = frame[wire.HEADER.size : wire.HEADER.size + size]
    assert wire.decode_message(body) == message
    assert frame[wire.HEADER.size + size :] == raw and raw_size == len(raw)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), min_size=1, max_size=4),
    st.data(),
)
def test_frames_are_read_whatever_pieces_they_come_in(
    messages: list[dict[str, Any]], data: st.DataObject
) -> None:
    stream = b"".join(wire.encode_frame(message, b"raw") for message in messages)
    ours, theirs = socket.socketpair()
    line = Line(ours)
    try:
        got: list[tuple[dict[str, Any], bytes]] = []
        while len(got) < len(messages):
            if stream:
                cut = data.draw(st.integers(1, len(stream)))
                theirs.sendall(stream[:cut])
                stream = stream[cut:]
            try:
                got.append(line.receive(time.monotonic(), 1 << 20, 10))
            except wire.DeadlinePassed:
                continue
        assert got == [(message, b"raw") for message in messages]
    finally:
        line.close()
        theirs.close()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_late_a_violation_or_a_frame_but_never_anything_else(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    line = Line(ours)
    try:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        for _ in range(30):
            message, _ = line.receive(time.monotonic() + SOON, 1000, 10)
            assert type(message) is dict
    except (wire.ChannelClosed, wire.ProtocolViolation):
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
    with pytest.raises(wire.ProtocolViolation):
        wire.decode_message(body)


@pytest.mark.parametrize("header", [(1001, 0), (2**32 - 1, 0), (1, 11), (0, 2**32 - 1)])
def test_a_size_over_the_limit_is_a_violation_before_it_is_read(
    ends: tuple[Line, socket.socket], header: tuple[int, int]
) -> None:
    line, theirs = ends
    theirs.sendall(wire.HEADER.pack(*header))
    with pytest.raises(wire.ProtocolViolation):
        line.receive(time.monotonic() + SOON, 1000, 10)


def test_a_reader_that_stalls_makes_sending_late_not_endless(
    ends: tuple[Line, socket.socket],
) -> None:
    line, _ = ends
    with pytest.raises(wire.DeadlinePassed):
        line.send(b"x" * (8 << 20), time.monotonic() + 0.2)


def test_a_reader_that_is_gone_is_closed(ends: tuple[Line, socket.socket]) -> None:
    line, theirs = ends
    theirs.close()
    with pytest.raises(wire.ChannelClosed):
        line.receive(time.monotonic() + SOON, 1000)
    with pytest.raises(wire.ChannelClosed):
        line.send(b"x" * (1 << 20), time.monotonic() + SOON)


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_plain_values_are_copied_equal_and_of_exact_types(value: Any) -> None:
    copied = wire.plain_copy(value)
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

    copied = wire.plain_copy([Text("a"), Items([1]), Table(k=Number(3)), (1, True)])
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
        wire.plain_copy(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TypeError, match="nested deeper"):
        wire.plain_copy(loop)


def test_a_value_over_the_limit_is_refused_before_it_is_copied() -> None:
    with pytest.raises(wire.TooLarge, match="100 characters"):
        wire.plain_copy(["x" * 60, "y" * 60], 100)


@pytest.mark.parametrize("item", ["[]", "1", "{}", '""', "null", "[1]"])
def test_a_large_frame_of_too_many_values_is_a_violation_before_it_is_parsed(item: str) -> None:
    body = ('{"a":[' + ",".join([item] * 3_000_000) + "]}").encode()
    with pytest.raises(wire.ProtocolViolation, match="too many values"):
        wire.check_values(body)


def test_a_large_frame_of_text_is_no_violation() -> None:
    text = 'def f(a, b): return [a, {"b": "\\\\"}]\n' * 100_000
    wire.check_values(wire.encode_frame({"args": [text, text]})[wire.HEADER.size :])


def test_a_call_of_too_many_values_is_refused_where_it_is_made() -> None:
    assert wire.plain_copy([0] * 1000, 1 << 20, 2000) == [0] * 1000
    with pytest.raises(wire.TooLarge, match="at most"):
        wire.plain_copy([None] * 3000, 1 << 20, 2000)


@pytest.mark.parametrize("body", [b'"' + b"a" * 20_000_000 + b'"', b'"\\' * 2_000_000])
def test_a_long_or_open_string_costs_neither_memory_nor_time(body: bytes) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wire.check_values(body)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_large_integer_counts_its_digits() -> None:
    with pytest.raises(wire.TooLarge):
        wire.plain_copy([1 << 4000] * 100, 100_000)


@pytest.mark.parametrize("value", [float("inf"), [1 << 5000]])
def test_what_no_honest_worker_sends_is_a_violation(value: Any) -> None:
    with pytest.raises(wire.ProtocolViolation, match="cannot be passed"):
        wire.checked_copy(value)


TEXTS = (
    st.lists(
        st.sampled_from(
            ["a", "é", "\U0001f600", "\ud800", "\n", "\\", '"', "\x00", "\u2028", "/u0041"]
        )
        | st.text(max_size=3),
        min_size=1,
        max_size=8,
    )
    .map("".join)
    .filter(bool)
)


@settings(max_examples=25, deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 40), st.binary(max_size=20))
def test_a_large_frame_comes_back_as_it_was_sent(
    one: str, other: str, many: int, raw: bytes
) -> None:
    long = (one * (1_300_000 // len(one)))[: 1_200_000 + many]
    message: dict[str, Any] = {
        other: [long, other, {long[:300]: [other * many, None, 1.5]}],
        "k": [[other, {"d": long[: 70_000 + many]}]] * 3,
    }
    ours, theirs = socket.socketpair()
    line = Line(ours)
    sender = threading.Thread(target=Inside(theirs).send, args=(wire.encode_frame(message, raw),))
    sender.start()
    try:
        got, blob = line.receive(time.monotonic() + 60, 1 << 25, 100)
        assert (got, blob) == (message, raw)
    finally:
        sender.join()
        line.close()
        theirs.close()


@pytest.mark.parametrize("shift", range(14))
@pytest.mark.parametrize(
    "text", ["\\n", "\\\\", "\\u00e9", "\\ud83d\\ude00", "\u00e9", "\U0001f600", '\\"', "x\\/"]
)
def test_a_long_string_is_cut_in_no_escape_and_in_no_character(text: str, shift: int) -> None:
    written = '"' + "y" * shift + text * (2_500_000 // len(text.encode())) + '"'
    body = bytearray(b'{"a":' + written.encode() + b"}")
    expected = json.loads(written)
    got = wire.decode_message(body)["a"]
    if "ude00" in text:  # a pair that is cut is two halves: no honest end writes pairs
        got = got.encode("utf-16", "surrogatepass").decode("utf-16")
    assert got == expected


@pytest.mark.parametrize(
    "item",
    [b'"' + b"x" * 300 + b"\x01\"", b'"' + b"x" * 300 + b'\\x"', b'"' + b"\xff" * 300 + b'"',
     b"\xe9", b'"' + b"x" * 300, b'"' + b"\x80" * 2_000_000 + b'"', b'"x\\"'],
)  # fmt: skip
def test_a_large_frame_that_is_no_json_is_a_violation(item: bytes) -> None:
    with pytest.raises(wire.ProtocolViolation):
        wire.decode_message(bytearray(b'{"a":["' + b"y" * 1_100_000 + b'",' + item + b"]}"))


def test_more_text_than_a_call_may_hold_is_a_violation() -> None:
    for text in ("x" * 2_000_000, ["y" * 200] * 10_000, ["\u00e9"] * 200_000 + ["x" * 1_900_000]):
        body = wire.encode_frame({"a": text})[wire.HEADER.size :]
        assert wire.decode_message(bytearray(body), 8_000_000)["a"] == text
        if isinstance(text, str) or len(text) > 10_000:
            with pytest.raises(wire.ProtocolViolation, match="too much text"):
                wire.decode_message(bytearray(body), 1_900_000)


MEASURE = """
import re, sys
from rlm_mcp.sandbox import Sandbox, SandboxLimits
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
with Sandbox(limits=SandboxLimits(seconds=60), host={"probe": len}, language=False) as box:
    box.execute("1")
    before = peak()
    box.execute(sys.stdin.read())
    assert box.execute("print(6*7)").stdout == "42\\n"
    print(peak() - before)
"""
HOSTILE = """
import gc, os
from rlm_mcp.sandbox import wire
from rlm_mcp.sandbox.line import Inside, Line
worker = next(one for one in gc.get_objects() if type(one).__name__ == "Worker")
head = '{"op":"host","id":1,"name":"probe","kwargs":{},"nonce":"%s","args":[' % worker.nonce
body = head.encode() + BODY + b"]}"
view = memoryview(wire.HEADER.pack(len(body), 0) + body)
while view:
    view = view[os.write(worker.channel._socket.fileno(), view[:1 << 20]):]
worker.channel.receive()
"""
WIDE = "'\\U0001f600'"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("code", "needed_mb"),
    [
        ("probe('x' * (31 << 20))", 31),
        (f"probe('x' * (31 << 20) + {WIDE})", 124),
        ("probe('\\n' * (31 << 20))", 31),
        ("probe(['x' * 130] * 240_000)", 45),
        (HOSTILE.replace("BODY", f"b'\"' + b'x' * (60 << 20) + {WIDE}.encode() + b'\"'"), 0),
        (
            HOSTILE.replace("BODY", f"(b'\"' + b'x' * 250 + {WIDE}.encode() + b'\",') * 240_000"),
            145,
        ),
        (HOSTILE.replace("BODY", "b'[],' * (15 << 20)"), 0),
        (HOSTILE.replace("BODY", "b'\"' + b'\\\\\\u00e9' * (10 << 20) + b'\"'"), 20),
    ],
)
def test_the_parent_takes_little_more_memory_than_an_argument_needs(
    code: str, needed_mb: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE],
        input=code,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= needed_mb + 120
