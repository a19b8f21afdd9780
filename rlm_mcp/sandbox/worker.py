"""What runs inside a worker: lock the process, then serve the parent's orders one by one.

Everything here is trusted code that shares a process with code that is not. It guards itself by
exact types and by doing nothing that the parent could not do without; the parent does not trust it.
"""

from __future__ import annotations

import array
import base64
import gc
import os
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rlm_mcp import sdk
from rlm_mcp.sandbox import guards, namespace_snapshot, policy, wire
from rlm_mcp.sandbox.cell_environment import CellEnvironment, provide_library
from rlm_mcp.sandbox.facades import provide_module
from rlm_mcp.sandbox.jail import select
from rlm_mcp.sandbox.line import Inside
from rlm_mcp.sandbox.mapped import MappedBytes
from rlm_mcp.sandbox.output import CellOutput, short_repr
from rlm_mcp.sandbox.record_types import wrap_answer
from rlm_mcp.sandbox.text_view import TextView
from rlm_mcp.sandbox.wire_values import LONG_ANSWER_NAME

RAISE_EVERY_S = 0.08
"""A stop that the cell swallowed is raised anew, but never twice while it unwinds."""
_RESERVE_BYTES = 4 << 20
_MAX_ROWS = 500
"""Variables that are listed."""
_CUT_NOTE = 60
"""Characters that a cut text has beyond its limit, to say so."""


class HostError(RuntimeError):
    """A call that the host answered with an error."""


def preload_worker() -> None:
    """Do everything that workers have in common, before they are forked."""
    provide_library()
    select.select_jail()
    provide_module("rlm_mcp.sdk", {name: getattr(sdk, name) for name in sdk.__all__})
    policy.compile_cell("import re\nclass A:\n    x: int = 1\n[a.b for a in ()]", "warm")


def serve_socket(end: int) -> None:
    """Serve the parent on a socket until it closes it."""
    inside = Inside(socket.socket(fileno=end))
    try:
        config, _, _ = inside.receive()
        layers, failed = _lock_worker(config, end)
        worker = Worker(inside, config)
        inside.send(wire.encode_frame({"op": "ready", "layers": layers, "failed": failed}))
        worker.serve_orders()
    except (wire.ChannelClosed, OSError):
        pass
    finally:
        os._exit(0)


def main_shared(text: str) -> None:
    """Serve the parent on a socket that it shared as text (Windows; not run)."""
    preload_worker()
    shared = getattr(socket, "fromshare")(base64.b64decode(text))  # noqa: B009
    serve_socket(shared.detach())


def _lock_worker(config: dict[str, Any], end: int) -> tuple[list[str], list[str]]:
    jail = select.select_jail() if config["kernel"] else None
    if jail is None:
        return [], ["no kernel layer"]
    spaces = jail.detach_inherited(end)
    taken = jail.lock_process(config["memory_mb"] << 20)
    failed = jail.self_test()
    return [jail.layer_kind(taken), *taken, *(f"namespace-{name}" for name in spaces)], list(failed)


class Worker:
    """One environment and the line to its parent."""

    def __init__(self, inside: Inside, config: dict[str, Any]) -> None:
        self.channel = inside
        self.wire_bytes: int = config["wire_bytes"]
        self.call_bytes: int = config["call_bytes"]
        self.output = CellOutput(config["output_chars"])
        self.environment = CellEnvironment(self.output, language=config["language"])
        self.environment.builtins_of_cells["HostError"] = HostError
        self.snapshotter = namespace_snapshot.Snapshotter()
        self.calls = 0
        self.nonce = ""  # of the order that is going on; the parent believes no frame without it
        self.running = False
        self.stopping = False
        self.restoring = False
        self.raised_at = 0.0
        self.reserve: bytes | None = bytes(_RESERVE_BYTES)
        signal.signal(signal.SIGINT, self._on_signal)
        sdk.current_host.set(lambda name, arguments: self.call_host(name, (), arguments))

    def _on_signal(self, *_: object) -> None:
        self.stopping = True
        now = time.monotonic()
        if self.running and now - self.raised_at >= RAISE_EVERY_S:
            self.raised_at = now
            raise guards.CellStop

    def serve_orders(self) -> None:
        """Answer orders until the parent closes the line."""
        handlers: dict[str, Callable[..., tuple[dict[str, Any], bytes]]] = {
            "run": self.do_run,
            "call": self.do_call,
            "bind": self.do_bind,
            "attach": self.do_attach,
            "set": self.do_set,
            "get": self.do_get,
            "text": self.do_text,
            "names": self.do_names,
            "restore": self.do_restore,
        }
        while True:
            order, raw, fds = self.channel.receive()
            self.stopping, self.raised_at = False, 0.0
            self.nonce = order.pop("nonce")
            self.channel.send(wire.encode_frame({"op": "begun", "nonce": self.nonce}))
            answer, blob = handlers[order.pop("op")](raw=raw, fds=fds, **order)
            self.channel.send(
                wire.encode_frame({**answer, "op": "done", "nonce": self.nonce}, blob)
            )

    # Cells and tools

    def do_run(self, code: str, look: str = "", **_: object) -> tuple[dict[str, Any], bytes]:
        """Run a cell; with `look`, tell its names and that variable in the same answer."""
        done = self.call_guarded(lambda: self.environment.execute(code))
        if self.output.chars > self.output.limit:
            self.environment.bind_name("_stdout", self.output.kept_text())
        answer, blob = self._add_snapshot(done)
        if look:
            answer["after"] = self._state_after(look)
        return answer, blob

    def _state_after(self, name: str) -> dict[str, Any]:
        """Return what there is after a cell; all of it is taken within the cell's time.

        The content of an answer that does not fit is bound as a text, to be fetched in parts.
        """
        after: dict[str, Any] = {"names": [], "copied": False}
        value = self.environment.variables.get(name)
        try:
            after["names"] = self._variable_rows()
            plain = wire.plain_copy(value, self.wire_bytes // 8)
            return {**after, "copied": name in self.environment.variables, "value": plain}
        except (TypeError, ValueError, MemoryError):
            pass
        ready = value.get("ready") if type(value) is dict else None
        if type(value) is dict and type(ready) is bool and self._bind_text(value.get("content")):
            after["ready"] = ready
        return after

    def _bind_text(self, content: Any) -> bool:
        """Bind the text of an answer's content; what it takes to make one may be the cell's own."""
        made: list[str] = []
        self.call_guarded(lambda: made.append(content if type(content) is str else str(content)))
        if made and type(made[0]) is str:
            self.environment.bind_name(LONG_ANSWER_NAME, made[0])
            return True
        return False

    def do_call(
        self, tool: str, arguments: dict[str, Any], **_: object
    ) -> tuple[dict[str, Any], bytes]:
        """Call a tool."""
        done = self.call_guarded(lambda: self.environment.call_tool(tool, arguments))
        return done, b""

    def call_guarded(self, work: Callable[[], Any]) -> dict[str, Any]:
        """Do something for a cell, and describe how it went; no error of a cell gets out."""
        self.output.start_cell()
        done: dict[str, Any] = {"repr": None, "error": None, "value": None, "shown": None}
        done["interrupted"] = False
        try:
            try:
                self.running = True
                self._fill_result(work, done)
            finally:
                self.running = False
        except guards.CellStop:
            self.running = False
            done.update(interrupted=True, repr=None, value=None, shown=None, error=None)
        except MemoryError:
            self._out_of_memory(done)
        done["stdout"] = self.output.shown_text()
        done["chars"] = self.output.chars
        return done

    def _fill_result(self, work: Callable[[], Any], done: dict[str, Any]) -> None:
        try:
            value = work()
            done["repr"] = None if value is None else self._bounded_repr(value)
            done["shown"] = self._agent_text(value, done["repr"])
            done["value"] = self._plain_value(value)
        except guards.CellStop:
            raise
        except MemoryError as error:
            self.reserve = None
            text = self.environment.explain_error(error)
            done.update(repr=None, value=None, shown=None, error=text)
        except BaseException as error:
            done.update(repr=None, value=None, shown=None)
            done["error"] = self.environment.explain_error(error)[: self.wire_bytes // 8]
        if self.reserve is None:
            self.reserve = bytes(_RESERVE_BYTES)

    def _out_of_memory(self, done: dict[str, Any]) -> None:
        self.reserve = None
        gc.collect()
        done.update(repr=None, value=None, shown=None, error="MemoryError")

    def _bounded_repr(self, value: Any) -> str:
        # Escapes make the text of a value longer than the value that was cut.
        return short_repr(value, self.output.limit)[: self.output.limit + _CUT_NOTE]

    def _agent_text(self, value: Any, fallback: str | None) -> str | None:
        """Return what an agent sees of a result."""
        if value is None:
            return None
        if isinstance(value, str) and type(value) is str:
            return value[: self.wire_bytes // 8]
        try:
            shown = None if isinstance(value, type) else guards.read_attribute(value, "shown", None)
        except Exception:  # a class of the cell that answers every name, or none
            shown = None
        return shown[: self.wire_bytes // 8] if type(shown) is str else fallback

    def _plain_value(self, value: Any) -> Any:
        try:
            return wire.plain_copy(value, self.wire_bytes // 8)
        except (TypeError, ValueError):
            return None

    def _add_snapshot(self, done: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        environment = self.environment
        variables = environment.user_variables()
        try:
            blob, unkept = self.snapshotter.take_snapshot(
                variables, environment.recent, environment.codes
            )
        except MemoryError:
            blob, unkept = b"", sorted(variables)
        if blob is None:
            return {**done, "kept": False}, b""
        kept = {"kept": True, "unkept": unkept[:200], "bound": sorted(variables)[:200]}
        return {**done, **kept}, blob

    def do_restore(self, raw: bytes, **_: object) -> tuple[dict[str, Any], bytes]:
        """Bind what a snapshot holds."""
        lost: list[str] = []
        environment = self.environment

        def restore_all() -> None:
            lost.extend(
                namespace_snapshot.restore_snapshot(
                    raw, environment.variables, environment.replay_statement
                )
            )

        self.restoring = True
        done = self.call_guarded(restore_all)
        self.restoring = False
        whole = done["error"] is None and not done["interrupted"]
        return {"lost": lost, "whole": whole}, b""

    # The host

    def call_host(self, name: str, positional: Any, named: Any) -> Any:
        """Send a call to the host and return its answer."""
        arguments = wire.plain_copy(list(positional), self.call_bytes, wire.MAX_VALUES)
        keywords = wire.plain_copy(named, self.call_bytes, wire.MAX_VALUES)
        if self.restoring:
            raise HostError("a definition that calls the host is not replayed")
        call = {"op": "host", "name": name, "args": arguments, "kwargs": keywords}
        frame = wire.encode_frame({**call, "id": self.calls + 1, "nonce": self.nonce})
        if len(frame) > 2 * self.call_bytes:
            raise wire.TooLarge(
                f"the arguments take {len(frame):,} bytes; one call carries at most "
                f"{2 * self.call_bytes:,}; pass refs instead of texts, or several smaller values"
            )
        running, self.running = self.running, False
        self.calls += 1
        self.channel.send(frame)
        answer, raw, fds = self.channel.receive()
        if bound := answer.get("attach"):
            bound.pop("op")
            self.do_attach(raw=raw, fds=fds, **bound)
        self.running = running
        if self.stopping and running:
            raise guards.CellStop
        if "error" in answer:
            raise (TypeError if answer.get("type") else HostError)(answer["error"])
        return answer["value"]

    def do_bind(
        self, host: list[str], tools: dict[str, str], **_: object
    ) -> tuple[dict[str, Any], bytes]:
        """Bind the helpers, the plain host functions and the tools."""
        self.environment.bind_helpers()
        for name in host:
            self.environment.bind_name(name, self._host_function(name))
        failed = {}
        for name, source in tools.items():
            try:
                self.environment.load_tool(name, source)
            except Exception as error:
                failed[name] = self.environment.explain_error(error)[:4000]
        return {"failed": failed}, b""

    def _host_function(self, name: str) -> Callable[..., Any]:
        def call_named(*positional: Any, **named: Any) -> Any:
            return self.call_host(name, positional, named)

        call_named.__name__ = call_named.__qualname__ = name
        call_named.__doc__ = f"{name}(...), answered by the host."
        return call_named

    # Variables

    def do_attach(
        self,
        *,
        name: str,
        kind: str,
        describe: str,
        methods: dict[str, str],
        source: bool,
        length: int,
        raw: bytes,
        fds: list[int],
    ) -> tuple[dict[str, Any], bytes]:
        """Bind a context variable; what it had mapped before is unmapped with its last user."""
        mapped = None
        if source:
            numbers = array.array("Q")
            numbers.frombytes(raw)
            half = len(numbers) // 2
            mapped = MappedBytes(fds[0], length, numbers[:half], numbers[half:])
            os.close(fds[0])
        view = TextView(name, kind, describe, mapped, methods, self.call_variable)
        self.environment.bind_name(name, view)
        return {}, b""

    def call_variable(
        self, name: str, method: str, positional: list[Any], named: dict[str, Any]
    ) -> Any:
        """Call a method of a context variable."""
        call = {"name": name, "method": method, "args": positional, "kwargs": named}
        return wrap_answer(self.call_host("call_method", (), call))

    def do_set(self, name: str, value: Any, **_: object) -> tuple[dict[str, Any], bytes]:
        """Bind a plain value."""
        self.environment.variables[name] = value
        return self._add_snapshot({})

    def do_get(self, name: str, **_: object) -> tuple[dict[str, Any], bytes]:
        """Copy a variable."""
        variables = self.environment.variables
        if name not in variables or name.startswith("__"):
            return {"found": False}, b""
        try:
            return {"found": True, "value": wire.plain_copy(variables[name], self.wire_bytes)}, b""
        except (TypeError, ValueError) as error:
            return {"found": True, "problem": str(error)}, b""

    def do_text(self, name: str, start: int, end: int, **_: object) -> tuple[dict[str, Any], bytes]:
        """Copy a part of a text variable."""
        value = self.environment.variables.get(name)
        if isinstance(value, str):
            return {"text": str.__str__(value)[start:end]}, b""
        if type(value) is TextView and value._mapped is not None:
            return {"text": value[start:end]}, b""
        return {"text": None}, b""

    def do_names(self, **_: object) -> tuple[dict[str, Any], bytes]:
        """List the cell's own variables."""
        return {"names": self._variable_rows()}, b""

    def _variable_rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for name, value in list(self.environment.user_variables().items())[:_MAX_ROWS]:
            done = self.call_guarded(partial(self._variable_row, value))
            row = done["value"] or {"type": "?", "size": None, "preview": "(cannot be shown)"}
            rows.append({"name": name[:200], **row})
        return rows

    def _variable_row(self, value: Any) -> dict[str, Any]:
        return {
            "type": str(getattr(guards.shown_class(value), "__name__", "?"))[:80],
            "size": len(value)
            if type(value) in _SIZED_TYPES or isinstance(value, (str, list))
            else None,
            "preview": short_repr(value, 80)[:200],
        }


_SIZED_TYPES = (str, bytes, list, tuple, dict, set, frozenset, TextView)
