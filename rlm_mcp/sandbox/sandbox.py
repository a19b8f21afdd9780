"""The sandbox as the rest of the program sees it: run cells, call tools, lend host functions."""

from __future__ import annotations

import array
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlm_mcp.errors import RlmError, SandboxError
from rlm_mcp.sandbox import pool, wire

GRACE_SECONDS = 0.6
"""How long a cell that was told to stop may take before its worker is killed."""


class HostError(Exception):
    """Raised by a host function: the cell sees a RuntimeError with this sentence."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one cell may use, and how much of its output is passed on."""

    seconds: float = 30.0
    memory_mb: int = 512
    output_chars: int = 20_000
    wire_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a cell went. `error` is None only for one that ran to its end."""

    stdout: str
    value_repr: str | None
    error: str | None
    killed: bool
    seconds: float
    lost: tuple[str, ...]
    value: Any = None
    shown: str | None = None
    stdout_chars: int = 0
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """A context variable for a sandbox. `source` is (descriptor, spans, generation)."""

    kind: str
    describe: str
    source: tuple[int, Sequence[tuple[int, int]], int] | None
    methods: Mapping[str, str]


SDK_CALLS = frozenset(
    "describe open_source read scan rank outline split run_cell ask run wait variable".split()
)
"""Host functions that sdk wraps; they are not bound as plain names."""


class Sandbox:
    """A jailed worker with an environment of its own. Blocking; one cell at a time."""

    def __init__(
        self,
        *,
        limits: Limits = Limits(),
        host: Mapping[str, Callable[..., Any]] | None = None,
        tools: Mapping[str, str] | None = None,
        language: bool = True,
        kernel: bool = True,
        reduced: bool = False,
    ) -> None:
        self.limits = limits
        self._host = dict(host or {})
        self._tools = dict(tools or {})
        self._config = pool.Config(
            limits.memory_mb, limits.output_chars, limits.wire_bytes, language, kernel
        )
        self._reduced = reduced
        self._lock = threading.RLock()
        self._interrupted = threading.Event()
        self._calls = 0
        self._start()

    def _start(self) -> None:
        self._process, self.layers = pool.take(self._config, reduced=self._reduced)
        self._calls = 0
        names = [name for name in self._host if name not in SDK_CALLS]
        self._order({"op": "bind", "host": names, "tools": self._tools})

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, code: str, *, seconds: float | None = None) -> Outcome:
        """Run one cell."""
        return self._outcome({"op": "run", "code": code}, seconds)

    def call(
        self, tool: str, arguments: Mapping[str, Any], *, seconds: float | None = None
    ) -> Outcome:
        """Call a tool's function."""
        order = {"op": "call", "tool": tool, "arguments": dict(arguments)}
        return self._outcome(order, seconds)

    def set(self, name: str, value: Any) -> None:
        """Bind a plain value in the namespace."""
        self._order({"op": "set", "name": name, "value": wire.plain(value)})

    def attach(self, name: str, attachment: Attachment) -> None:
        """Bind or rebind a context variable; its text is mapped, not copied."""
        order = {
            "op": "attach",
            "name": name,
            "kind": attachment.kind,
            "describe": attachment.describe,
            "methods": dict(attachment.methods),
            "source": attachment.source is not None,
            "length": 0,
        }
        if attachment.source is None:
            self._order(order)
            return
        fd, spans, _ = attachment.source
        order["length"] = os.fstat(fd).st_size
        numbers = array.array("Q", [offset for offset, _ in spans])
        numbers.extend(length for _, length in spans)
        reader = _readable(fd)
        try:
            self._order(order, numbers.tobytes(), (reader,))
        finally:
            os.close(reader)

    def get_text(self, name: str, start: int = 0, end: int | None = None) -> str | None:
        """Return characters `start` to `end` of a text variable, or None if it is no text."""
        text: str | None = self._order({"op": "text", "name": name, "start": start, "end": end})[
            "text"
        ]
        return text

    def get(self, name: str, default: Any = None) -> Any:
        """Return a JSON copy of a variable."""
        answer = self._order({"op": "get", "name": name})
        return answer["value"] if answer["found"] else default

    def names(self) -> list[dict[str, Any]]:
        """Return the variables that cells have bound."""
        names: list[dict[str, Any]] = self._order({"op": "names"})["names"]
        return names

    def interrupt(self, reason: str) -> None:
        """Stop the running cell, from any thread."""
        self._interrupted.set()
        self._process.signal(signal.SIGINT)

    def close(self) -> None:
        """End the worker."""
        self._process.kill()

    def _order(
        self, order: dict[str, Any], raw: bytes = b"", fds: Sequence[int] = ()
    ) -> dict[str, Any]:
        with self._lock:
            return self._converse(order, 10.0, raw, fds)

    def _outcome(self, order: dict[str, Any], seconds: float | None) -> Outcome:
        seconds = self.limits.seconds if seconds is None else seconds
        started = time.monotonic()
        with self._lock:
            try:
                done = self._converse(order, seconds)
            except (wire.Closed, wire.Late, wire.Violation) as error:
                self._process.kill()
                self._start()
                return Outcome(
                    "",
                    None,
                    f"killed: {type(error).__name__}",
                    True,
                    time.monotonic() - started,
                    (),
                )
        return Outcome(
            stdout=done["stdout"],
            value_repr=done["repr"],
            error=done["error"],
            killed=False,
            seconds=time.monotonic() - started,
            lost=(),
            value=done["value"],
            shown=done["shown"],
            stdout_chars=done["chars"],
            interrupted=done["interrupted"],
        )

    def _converse(
        self, order: dict[str, Any], seconds: float, raw: bytes = b"", fds: Sequence[int] = ()
    ) -> dict[str, Any]:
        line = self._process.line
        soft = time.monotonic() + seconds
        hard = soft + GRACE_SECONDS
        line.send(wire.encode(order, raw), hard, fds)
        told = False
        while True:
            try:
                message, _ = line.receive(hard if told else soft, 8 << 20)
            except wire.Late:
                if told:
                    raise
                told = True
                self._process.signal(signal.SIGINT)
                continue
            if message.get("op") == "done":
                return message
            started = time.monotonic()
            answer = self._answer(message)
            worked = time.monotonic() - started
            soft, hard = soft + worked, hard + worked
            line.send(wire.encode(answer), hard)

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        name, number = message.get("name"), message.get("id")
        positional, named = message.get("args"), message.get("kwargs")
        if message.get("op") != "host" or number != self._calls + 1:
            raise wire.Violation("an unexpected frame")
        if type(name) is not str or type(positional) is not list or type(named) is not dict:
            raise wire.Violation("a malformed call")
        self._calls += 1
        function = self._host.get(name)
        if function is None:
            return {"op": "answer", "id": number, "error": f"there is no host function {name!r}"}
        try:
            return {
                "op": "answer",
                "id": number,
                "value": wire.plain(function(*positional, **named)),
            }
        except (RlmError, HostError) as error:
            return {"op": "answer", "id": number, "error": str(error)}
        except Exception as error:
            text = f"{name} failed inside the host: {type(error).__name__}: {error}"
            return {"op": "answer", "id": number, "error": text}


def layers(*, reduced: bool = False) -> tuple[str, ...]:
    """Return the layers that a worker here has, by name, after its self-test."""
    with Sandbox(reduced=reduced) as sandbox:
        return sandbox.layers


def _readable(fd: int) -> int:
    """Return a descriptor of the same file that can only be read: a worker may be hostile."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return os.open(f"{folder}/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
    raise SandboxError("The file of a context cannot be opened for the sandbox.")
