"""The ground on which attacks are run: canaries, a listener, host functions that look closely."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlm_mcp.sandbox import Attachment, Sandbox, SandboxLimits, SandboxOutcome

GREP_TOOL = Path(__file__).parents[2] / "tools" / "grep.py"
ATTACKS = Path(__file__).parent / "attacks" / "attacks.jsonl"
SECONDS = 0.3
MEMORY_SECONDS = 2.0
"""The same for attacks on memory: they need time to get at it."""
MEMORY_MB = 160
SLACK_S = 6.0
"""Far above what is promised: a test says "did not hang", the benchmark says how quick."""
LOOK_S = 0.004
"""How often the memory of a jail is looked at while an attack is running."""
MEMORY_SLACK_MB = 100


@dataclass(frozen=True)
class Attack:
    """One attack cell, as the corpus holds it."""

    id: str
    category: str
    code: str
    breach: str


@dataclass
class Verdict:
    """LEAKED, DOS, PYESC or HELD, and why."""

    attack: Attack
    name: str
    why: str
    outcome: SandboxOutcome | None
    seconds: float
    memory_mb: float


def attacks() -> list[Attack]:
    """Return the corpus."""
    return [Attack(**json.loads(line)) for line in ATTACKS.read_text().splitlines()]


@dataclass
class Ground:
    """What must stay untouched, and what was seen of it."""

    folder: Path
    canary: str
    listeners: list[socket.socket] = field(default_factory=list)
    received: list[Any] = field(default_factory=list)
    shared: list[Any] = field(default_factory=lambda: ["kept", {"a": [1]}])
    strange: list[str] = field(default_factory=list)

    @property
    def secret(self) -> Path:
        return self.folder / "secret.txt"

    @property
    def target(self) -> Path:
        return self.folder / "made"

    def fill(self, code: str) -> str:
        """Put the places of this ground into a cell."""
        places = {
            "{FILE}": str(self.secret),
            "{DIR}": str(self.folder),
            "{OUT}": str(self.target),
            "{ENV}": "RLM_CANARY",
            "{PORT}": str(self.listeners[0].getsockname()[1]),
            "{SOCK}": str(self.folder / "socket"),
            "{ABSTRACT}": f"rlm-{os.getpid()}",
            "{PPID}": str(os.getpid()),
        }
        for mark, place in places.items():
            code = code.replace(mark, place)
        return code

    def touched(self) -> str:
        """Say what was touched, or nothing."""
        ready, _, _ = select.select(self.listeners, [], [], 0)
        if ready:
            for listener in ready:
                with contextlib.suppress(OSError):
                    listener.setblocking(False)
                    if listener.type == socket.SOCK_DGRAM:
                        listener.recv(100)
                    else:
                        listener.accept()[0].close()
            return "a listener was reached"
        if self.target.exists() or self.target.is_symlink():
            return "a file was made"
        if sorted(item.name for item in self.folder.iterdir()) != ["secret.txt", "socket"]:
            return "a file was made"
        if self.secret.read_text() != self.canary or self.secret.stat().st_mode & 0o777 != 0o600:
            return "the secret was changed"
        if self.shared != ["kept", {"a": [1]}]:
            return "a value of the host was changed"
        return ""

    # Host functions

    def probe(self, *values: Any, **named: Any) -> str:
        """Record what a host function is given."""
        self.look([list(values), dict(named)], 0)
        self.received.append(repr(values)[:10_000])
        return "ok"

    def look(self, value: Any, depth: int) -> None:
        """Note every type that is not plain JSON, exactly."""
        if type(value) not in (str, int, float, bool, type(None), list, dict) or depth > 60:
            self.strange.append(f"{type(value).__name__} at depth {depth}")
        if type(value) is list:
            for item in value:
                self.look(item, depth + 1)
        if type(value) is dict:
            for key, item in value.items():
                self.look(key, depth + 1)
                self.look(item, depth + 1)

    def host(self) -> dict[str, Any]:
        """Return the functions lent to a cell."""
        return {
            "probe": self.probe,
            "echo": lambda value: value,
            "data": lambda: self.shared,
            "call_method": self.probe,
            "grep": self.probe,
            "llm_query": self.probe,
        }


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """Lay a ground out, with a canary in a file and in the environment, and listeners."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rlm")))
        canary = f"CANARY-{os.getpid()}-{folder.name}"
        made = Ground(folder, canary)
        made.secret.write_text(canary)
        made.secret.chmod(0o600)
        before = os.environ.get("RLM_CANARY")
        os.environ["RLM_CANARY"] = canary
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", tcp.getsockname()[1]))
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(str(folder / "socket"))
        unix.listen()
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind(f"\0rlm-{os.getpid()}")
        abstract.listen()
        made.listeners = [tcp, udp, unix, abstract]
        for listener in made.listeners:
            stack.enter_context(listener)
        try:
            yield made
        finally:
            os.environ.pop("RLM_CANARY", None)
            if before is not None:
                os.environ["RLM_CANARY"] = before


def judge(attack: Attack, place: Ground, *, language: bool, kernel: bool) -> Verdict:
    """Run one attack in a fresh environment and say how it ended."""
    seconds = MEMORY_SECONDS if attack.category == "memory" else SECONDS
    limits = SandboxLimits(seconds=seconds, memory_mb=MEMORY_MB)
    place.received.clear()
    place.strange.clear()
    with Sandbox(
        limits=limits,
        host=place.host(),
        tools={"grep": GREP_TOOL.read_text()},
        language=language,
        kernel=kernel,
        reduced=not kernel,
    ) as sandbox:
        with open(__file__, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            source = (file.fileno(), [(0, size)], 1)
            methods = {"method": "method(x): does something"}
            sandbox.attach_variable("context", Attachment("text", "this file", source, methods))
        pid = sandbox._connection.process.pid if sandbox._connection else 0
        with Gauge(pid) as gauge:
            started = time.monotonic()
            outcome = sandbox.execute(place.fill(attack.code))
            seconds = time.monotonic() - started
        memory, threads = gauge.peak_mb, gauge.threads
        verdict, why = _verdict(attack, place, outcome, language)
        if not verdict and seconds > limits.seconds + SLACK_S:
            verdict, why = "DOS", f"back after {seconds:.1f} s"
        if not verdict and (memory > MEMORY_MB + MEMORY_SLACK_MB or threads > 1 or _children(pid)):
            verdict, why = "DOS", f"{memory:.0f} MB, {threads} threads, {_children(pid)} children"
        if not verdict:
            why = _answers(sandbox)
            verdict = "DOS" if why else "HELD"
    return Verdict(attack, verdict, why, outcome, seconds, memory)


def _verdict(
    attack: Attack, place: Ground, outcome: SandboxOutcome, language: bool
) -> tuple[str, str]:
    said = " ".join(
        [outcome.stdout, outcome.value_repr or "", outcome.error or "", outcome.shown or ""]
    )
    if place.canary in said or any(place.canary in item for item in place.received):
        return "LEAKED", "the canary was read"
    if why := place.touched():
        return "LEAKED", why
    if place.strange:
        return "LEAKED", f"the host was given {place.strange[0]}"
    if language and any("BREACH" in line for line in outcome.stdout.splitlines()):
        return "PYESC", outcome.stdout[:200]
    if language and any("BREACH" in item for item in place.received):
        return "PYESC", place.received[0][:200]
    return "", ""


def _answers(sandbox: Sandbox) -> str:
    try:
        again = sandbox.execute("print(6*7)", seconds=10)
    except Exception as error:
        return f"no answer afterwards: {error}"
    return "" if again.stdout == "42\n" else f"afterwards: {again}"


class Gauge:
    """The peak of what a jail holds: resident memory, page tables and swap, of every process in it.

    It looks again and again, for what a worker held is gone with it when it is killed.
    """

    def __init__(self, pid: int) -> None:
        self.peak_mb, self.threads = 0.0, 1
        self._pid = pid
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Gauge:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._done.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        found = [held(pid) for pid in (self._pid, *_offspring(self._pid))]
        self.peak_mb = max(self.peak_mb, sum(memory for memory, _ in found))
        self.threads = max([self.threads, *(threads for _, threads in found)])


def held(pid: int) -> tuple[float, int]:
    """Return the peak of a process in MB, page tables and swap included, and its threads."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0, 1  # it was killed
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    counted = ("VmHWM", "VmPTE", "VmSwap")
    peak = sum(int(fields.get(name, "0 kB").split()[0]) for name in counted) / 1024
    return peak, int(fields.get("Threads", "1"))


def _offspring(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    children = [int(word) for word in text.split()]
    return children + [below for child in children for below in _offspring(child)]


def _children(pid: int) -> int:
    """Count processes that a worker has left."""
    count = 0
    for item in Path("/proc").iterdir():
        if item.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (item / "stat").read_text()
                if stat.rsplit(")", 1)[1].split()[1] == str(pid):
                    count += 1
    return count
