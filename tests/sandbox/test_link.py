"""A hostile worker: whatever it sends or does not send, the parent stays well and in time."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlm_mcp.sandbox import SandboxLimits, wire
from rlm_mcp.sandbox.connection import BEGIN_SECONDS, CellClock, WorkerConnection, WorkerUnready
from rlm_mcp.sandbox.line import Inside
from rlm_mcp.sandbox.namespace_journal import SandboxJournal
from rlm_mcp.sandbox.process import WorkerProcess

Talk = Callable[[socket.socket], None]
GENEROUS_S = 15.0
NONCE = "drawn for this order"


class Nobody:
    """A handle of no process, which records what it is told."""

    pid = 0

    def __init__(self) -> None:
        self.signals: list[int] = []

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def kill_and_wait(self) -> None:
        self.signals.append(9)

    def raise_limit(self, size: int) -> None:
        pass


class Stage:
    """A link whose worker is a function of the test, in a thread."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.handle = Nobody()
        ours, self.theirs = socket.socketpair()
        host: dict[str, Callable[..., Any]] = {
            "probe": self.probe,
            "grep": lambda pattern: [pattern],
        }
        limits = SandboxLimits(wire_bytes=1 << 16, call_bytes=1 << 16)
        self.link = WorkerConnection(
            WorkerProcess(ours, self.handle), host, limits, draw=lambda: NONCE
        )

    def probe(self, *values: Any, **named: Any) -> str:
        self.calls.append((values, named))
        return "ok"

    def run(self, talk: Talk, seconds: float = 1.0, begun: bytes | None = None) -> Any:
        """Send an order, let the worker begin and talk, and return the result or the error."""
        first = frame(BEGUN) if begun is None else begun
        thread = threading.Thread(target=self._talk, args=(talk, first))
        thread.start()
        try:
            done, raw = self.link.send_order({"op": "run", "code": "1"}, CellClock(seconds))
            return SandboxJournal([], {}).checked_outcome(done, raw, CellClock(1))(0.0)
        except (
            wire.ChannelClosed,
            wire.DeadlinePassed,
            wire.ProtocolViolation,
            WorkerUnready,
        ) as error:
            return error
        finally:
            self.link.process.kill_worker()
            thread.join(GENEROUS_S)
            assert not thread.is_alive()

    def _talk(self, talk: Talk, first: bytes) -> None:
        self.theirs.settimeout(5)
        try:
            self.theirs.recv(1 << 16)
            self.theirs.sendall(first)
            talk(self.theirs)
        except OSError:
            pass
        finally:
            self.theirs.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.theirs.close()


def frame(message: Any, raw: bytes = b"") -> bytes:
    return as_frame(json.dumps(message), raw)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def as_frame(text: str, raw: bytes = b"") -> bytes:
    body = text.encode()
    return wire.HEADER.pack(len(body), len(raw)) + body + raw


def call(number: Any, name: Any = "probe", args: Any = (), kwargs: Any = None) -> dict[str, Any]:
    named = {} if kwargs is None else kwargs
    made = {"op": "host", "id": number, "name": name, "args": args, "kwargs": named}
    return {**made, "nonce": NONCE}


BEGUN = {"op": "begun", "nonce": NONCE}


DONE = {
    "op": "done", "stdout": "", "chars": 0, "repr": None, "error": None, "shown": None,
    "value": None, "interrupted": False, "kept": False, "nonce": NONCE,
}  # fmt: skip


ROW = {"name": "x", "type": "int", "size": None, "preview": "1"}


def test_an_honest_worker_is_heard(stage: Stage) -> None:
    def talk(end: socket.socket) -> None:
        end.sendall(frame(call(1, args=[1])))
        end.recv(1 << 16)
        end.sendall(frame({**DONE, "stdout": "x"}))

    assert stage.run(talk).stdout == "x"
    assert stage.calls == [((1,), {})]


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff" * 100,
        b"\x00" * 8,
        wire.HEADER.pack(2, 0) + b"[]",
        wire.HEADER.pack(1 << 31, 0),
        wire.HEADER.pack(4, 1 << 30),
        frame({"op": "answer"}),
        frame({"op": "ready"}),
        frame({"op": ["done"]}),
        frame(call(2)),
        frame(call(0)),
        frame(call(-1)),
        frame(call(True)),
        frame(call("1")),
        frame(call(1.0)),
        frame(call(1, name=["probe"])),
        frame(call(1, args={"a": 1})),
        frame(call(1, kwargs=[1])),
        frame({**call(1), "more": 1}),
        frame({key: value for key, value in call(1).items() if key != "kwargs"}),
        frame(call(1), b"raw"),
        frame(call(1)) + frame(call(1)),
        frame({**DONE, "stdout": 1}),
        frame({**DONE, "chars": "1"}),
        frame({**DONE, "repr": ["x"]}),
        frame({**DONE, "shown": {}}),
        frame({**DONE, "interrupted": 1}),
        as_frame(json.dumps({**DONE, "value": 0.5}).replace("0.5", "9e999")),
        as_frame(json.dumps(call(1, args=[0.5])).replace("0.5", "9e999")),
        frame({**DONE, "value": nested(60)}),
        frame({**DONE, "after": {"names": [], "copied": True, "value": nested(60)}}),
        frame({**DONE, "after": []}),
        frame({**DONE, "after": {"names": [], "copied": 1}}),
        frame({**DONE, "after": {"names": {}, "copied": True}}),
        frame({**DONE, "after": {"names": [{"name": "x"}], "copied": True}}),
        frame({**DONE, "after": {"names": [{**ROW, "type": 1}], "copied": True}}),
        frame({**DONE, "after": {"names": [{**ROW, "size": True}], "copied": True}}),
        frame({"op": "done"}),
        frame({**DONE, "nonce": "of an order before"}),
        frame({**DONE, "nonce": None}),
        frame({**DONE, "nonce": [NONCE]}),
        frame({**call(1), "nonce": ""}),
        frame(BEGUN),
        frame(DONE, b"an unannounced snapshot"),
    ],
)
def test_a_broken_protocol_is_a_violation(stage: Stage, sent: bytes) -> None:
    def talk(end: socket.socket) -> None:
        end.sendall(sent)
        time.sleep(0.2)

    assert isinstance(stage.run(talk, 5.0), wire.ProtocolViolation)


@pytest.mark.parametrize(
    "message",
    [call(1, name="__class__"), call(1, name="_answer"), call(1, name="os.system"), call(1, "")],
)
def test_a_forged_call_reaches_only_what_an_honest_cell_may_call(
    stage: Stage, message: dict[str, Any]
) -> None:
    answers: list[bytes] = []

    def talk(end: socket.socket) -> None:
        end.sendall(frame(message))
        answers.append(end.recv(1 << 16))
        end.sendall(frame(DONE))

    stage.run(talk)
    assert b"is not available in this environment" in answers[0]
    assert stage.calls == []


@pytest.mark.parametrize(
    "sent",
    [
        frame(DONE),
        frame({**DONE, "nonce": "of an order before"}) + frame(BEGUN) + frame(DONE),
        frame({**BEGUN, "nonce": "of an order before"}),
        frame({**BEGUN, "more": 1}),
        frame(BEGUN, b"raw"),
        frame(call(1)),
        b"\xff" * 100,
        wire.HEADER.pack(1 << 31, 0),
    ],
)
def test_what_a_worker_sends_before_it_begins_answers_nothing(stage: Stage, sent: bytes) -> None:
    assert isinstance(stage.run(lambda end: end.sendall(frame(DONE)), 5.0, sent), WorkerUnready)
    assert stage.calls == []


def test_a_worker_that_does_not_begin_is_not_waited_for(stage: Stage) -> None:
    found = stage.run(lambda end: time.sleep(BEGIN_SECONDS), 60.0, b"")
    assert isinstance(found, WorkerUnready)


def test_nonces_are_drawn_anew_for_each_order() -> None:
    ours, theirs = socket.socketpair()
    seen = []
    link = WorkerConnection(WorkerProcess(ours, Nobody()), {}, SandboxLimits())
    inside = Inside(theirs)

    def serve() -> None:
        for _ in range(20):
            nonce = inside.receive()[0]["nonce"]
            seen.append(nonce)
            inside.send(frame({"op": "begun", "nonce": nonce}))
            inside.send(frame({**DONE, "nonce": nonce}))

    thread = threading.Thread(target=serve)
    thread.start()
    for _ in range(20):
        link.send_order({"op": "names"}, CellClock(GENEROUS_S))
    thread.join(GENEROUS_S)
    link.process.kill_worker()
    theirs.close()
    assert len(set(seen)) == 20 and all(len(nonce) == 32 for nonce in seen)


def test_a_worker_that_is_silent_is_told_to_stop_and_then_late(stage: Stage) -> None:
    started = time.monotonic()
    assert isinstance(stage.run(lambda end: time.sleep(2.5), 0.2), wire.DeadlinePassed)
    assert time.monotonic() - started < GENEROUS_S
    assert 2 in stage.handle.signals, "SIGINT comes first"


def test_no_call_is_answered_for_a_worker_that_was_told_to_stop(stage: Stage) -> None:
    answers: list[bytes] = []

    def talk(end: socket.socket) -> None:
        time.sleep(0.4)
        end.sendall(frame(call(1)))
        answers.append(end.recv(1 << 16))
        end.sendall(frame(DONE))

    stage.run(talk, 0.2)
    assert b"told to stop" in answers[0]
    assert stage.calls == []


def test_a_worker_that_stops_in_the_middle_of_a_frame_is_late(stage: Stage) -> None:
    def talk(end: socket.socket) -> None:
        end.sendall(frame(DONE)[:20])
        time.sleep(2.0)

    assert isinstance(stage.run(talk, 0.2), wire.DeadlinePassed)


def test_a_worker_that_dies_in_the_middle_of_a_frame_is_closed(stage: Stage) -> None:
    assert isinstance(stage.run(lambda end: end.sendall(frame(DONE)[:20]), 5.0), wire.ChannelClosed)


def test_a_worker_that_floods_is_a_violation_and_takes_no_memory(stage: Stage) -> None:
    def talk(end: socket.socket) -> None:
        for _ in range(100_000):
            end.sendall(b"x" * 65536)

    assert isinstance(stage.run(talk, 5.0), wire.ProtocolViolation)


def test_a_worker_that_calls_without_reading_answers_is_late(stage: Stage) -> None:
    def talk(end: socket.socket) -> None:
        number = 0
        while True:
            number += 1
            end.sendall(frame(call(number, "grep", ["x" * 40_000])))

    assert isinstance(stage.run(talk, 0.5), (wire.DeadlinePassed, wire.ChannelClosed))


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from([frame(DONE), frame(call(1)), frame(call(2)), frame({"op": "host"})]),
        max_size=5,
    )
)
def test_any_stream_ends_as_a_result_or_a_broken_line(pieces: list[bytes]) -> None:
    stage = Stage()

    def talk(end: socket.socket) -> None:
        for piece in pieces:
            end.sendall(piece)

    stage.run(talk, 5.0)
    assert all(type(values) is tuple for values, _ in stage.calls)
