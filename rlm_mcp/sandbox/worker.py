"""What runs inside a worker: lock the process, then serve the parent's orders one by one.

Everything here is trusted code that shares a process with code that is not. It guards itself by
exact types and by doing nothing that the parent could not do without; the parent does not trust it.
"""

from __future__ import annotations

import array
import os
import signal
import socket
from typing import Any

from rlm_mcp import sdk
from rlm_mcp.sandbox import guards, wire
from rlm_mcp.sandbox.environment import Environment, provide_library
from rlm_mcp.sandbox.facades import provide
from rlm_mcp.sandbox.jail import choose
from rlm_mcp.sandbox.mapped import Mapped
from rlm_mcp.sandbox.output import Output, short_repr
from rlm_mcp.sandbox.view import View, record


class HostFailure(RuntimeError):
    """A call that the host answered with an error."""


def preload() -> None:
    """Do everything that workers have in common, before they are forked."""
    provide_library()
    choose.jail()
    provide("rlm_mcp.sdk", {name: getattr(sdk, name) for name in sdk.__all__})


def main(end: int) -> None:
    """Serve the parent on a socket until it closes it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    inside = wire.Inside(socket.socket(fileno=end))
    try:
        config, _, _ = inside.receive()
        layers, failed = _lock(config, end)
        worker = Worker(inside, config)
        inside.send(wire.encode({"op": "ready", "layers": layers, "failed": failed}))
        worker.serve()
    except wire.Closed:
        pass
    finally:
        os._exit(0)


def _lock(config: dict[str, Any], end: int) -> tuple[list[str], list[str]]:
    jail = choose.jail() if config["kernel"] else None
    if jail is None:
        return [], []
    spaces = jail.detach(end)
    taken = jail.lock(config["memory_mb"] << 20)
    failed = jail.self_test()
    return [jail.kind(taken), *taken, *(f"namespace-{name}" for name in spaces)], list(failed)


class Worker:
    """One environment and the line to its parent."""

    def __init__(self, inside: wire.Inside, config: dict[str, Any]) -> None:
        self.inside = inside
        self.wire_bytes: int = config["wire_bytes"]
        self.output = Output(config["output_chars"])
        self.environment = Environment(self.output, language=config["language"])
        self.calls = 0
        self.running = False
        self.stopping = False
        signal.signal(signal.SIGINT, self._on_signal)
        sdk.host = lambda name, arguments: self.ask(name, (), arguments)

    def _on_signal(self, *_: Any) -> None:
        self.stopping = True
        if self.running:
            raise guards.Stop

    def serve(self) -> None:
        """Answer orders until the parent closes the line."""
        while True:
            order, raw, fds = self.inside.receive()
            answer = getattr(self, f"do_{order['op']}")(order, raw, fds)
            self.inside.send(wire.encode(answer))

    def do_run(self, order: dict[str, Any], raw: bytes, fds: list[int]) -> dict[str, Any]:
        """Run a cell."""
        return self.guarded(lambda: self.environment.execute(order["code"])[1], echo=True)

    def guarded(self, work: Any, *, echo: bool) -> dict[str, Any]:
        """Do something for a cell, and describe how it went."""
        self.output.start()
        self.stopping = False
        done: dict[str, Any] = {"op": "done", "repr": None, "error": None, "interrupted": False}
        done |= {"value": None, "shown": None}
        try:
            self.running = True
            try:
                value = work()
                if value is not None and echo:
                    done["repr"] = short_repr(value, self.output.limit)
                done["value"] = self._copy(value)
                done["shown"] = self._shown(value)
            except guards.Stop:
                raise
            except BaseException as error:
                done["error"] = self.environment.explain(error)
            self.running = False
        except guards.Stop:
            self.running = False
            done |= {"interrupted": True, "error": "stopped", "value": None, "shown": None}
        done["stdout"] = self.output.shown()
        done["chars"] = self.output.chars
        return done

    def _shown(self, value: Any) -> str | None:
        """Return what an agent sees of a result."""
        shown = None if isinstance(value, type) else guards.read(value, "shown", None)
        if type(shown) is str:
            return shown[: self.wire_bytes // 4]
        return None if value is None else short_repr(value, self.output.limit)

    def _copy(self, value: Any) -> Any:
        try:
            return wire.plain(value, self.wire_bytes // 4)
        except (TypeError, ValueError):
            return None

    def ask(self, name: str, positional: Any, named: Any) -> Any:
        """Send a call to the host and return its answer."""
        arguments = wire.plain(list(positional), self.wire_bytes)
        keywords = wire.plain(named, self.wire_bytes)
        running, self.running = self.running, False
        self.calls += 1
        call = {"op": "host", "id": self.calls, "name": name, "args": arguments, "kwargs": keywords}
        self.inside.send(wire.encode(call))
        answer, _, _ = self.inside.receive()
        self.running = running
        if self.stopping and running:
            raise guards.Stop
        if "error" in answer:
            raise HostFailure(answer["error"])
        return answer["value"]

    def do_bind(self, order: dict[str, Any], raw: bytes, fds: list[int]) -> dict[str, Any]:
        """Bind the plain host functions and the tools."""
        self.environment.give_helpers()
        for name in order["host"]:
            self.environment.give(name, self._host_function(name))
        failed = {}
        for name, source in order["tools"].items():
            try:
                self.environment.load_tool(name, source)
            except Exception as error:
                failed[name] = self.environment.explain(error)
        return {"op": "done", "failed": failed}

    def _host_function(self, name: str) -> Any:
        def function(*positional: Any, **named: Any) -> Any:
            return self.ask(name, positional, named)

        function.__name__ = function.__qualname__ = name
        return function

    def do_call(self, order: dict[str, Any], raw: bytes, fds: list[int]) -> dict[str, Any]:
        """Call a tool."""
        function = self.environment.given[order["tool"]]
        return self.guarded(lambda: function(**order["arguments"]), echo=True)

    def do_set(self, order: dict[str, Any], raw: bytes, fds: list[int]) -> dict[str, Any]:
        """Bind a plain value."""
        self.environment.variables[order["name"]] = order["value"]
        return {"op": "done"}

    def do_attach(self, order: dict[str, Any], raw: bytes, fds: list[int]) -> dict[str, Any]:
        """Bind a context variable; what it had mapped before is unmapped."""
        mapped = None
        if fds:
            numbers = array.array("Q")
            numbers.frombytes(raw)
            half = len(numbers) // 2
            mapped = Mapped(fds[0], order["length"], numbers[:half], numbers[half:])
            os.close(fds[0])
        elif order["source"]:
            mapped = Mapped(-1, 0, (), ())
        view = View(
            order["name"],
            order["kind"],
            order["describe"],
            mapped,
            order["methods"],
            self.on_variable,
        )
        self.environment.give(order["name"], view)
        return {"op": "done"}

    def on_variable(
        self, name: str, method: str, positional: list[Any], named: dict[str, Any]
    ) -> Any:
        """Call a method of a context variable."""
        call = {"name": name, "method": method, "args": positional, "kwargs": named}
        return record(self.ask("variable", (), call))

    def do_text(self, order: dict[str, Any], raw: bytes, fds: list[int]) -> dict[str, Any]:
        """Copy a part of a text variable."""
        value = self.environment.variables.get(order["name"])
        if isinstance(value, (str, View)):
            part = value[order["start"] : order["end"]]
            return {"op": "done", "text": str.__str__(part), "size": len(value)}
        return {"op": "done", "text": None, "size": None}

    def do_get(self, order: dict[str, Any], raw: bytes, fds: list[int]) -> dict[str, Any]:
        """Copy a variable."""
        found = order["name"] in self.environment.variables
        value = self._copy(self.environment.variables.get(order["name"]))
        return {"op": "done", "found": found, "value": value}

    def do_names(self, order: dict[str, Any], raw: bytes, fds: list[int]) -> dict[str, Any]:
        """List the cell's own variables."""
        rows = []
        for name, value in self.environment.user_variables().items():
            size = len(value) if hasattr(value, "__len__") and not isinstance(value, type) else None
            kind = getattr(guards.shown_class(value), "__name__", "?")
            rows.append(
                {"name": name, "type": kind, "size": size, "preview": short_repr(value, 80)}
            )
        return {"op": "done", "names": rows}
