"""The real Claude Code CLI as a test uses it: a scratch home, a scripted model, loopback only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sim import minds
from tests.sim.call import Call, Say, ToolResult

ROOT = Path(__file__).parents[2]
SERVER = Path(sys.executable)
NOWHERE = "http://127.0.0.1:9"
"""A proxy that refuses: what does not speak to loopback speaks to nobody."""
QUIET = {
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_BUG_COMMAND": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "HTTP_PROXY": NOWHERE,
    "HTTPS_PROXY": NOWHERE,
    "NO_PROXY": "127.0.0.1,localhost",
}
SUMMARISING = "Respond with TEXT ONLY"
"""How the CLI begins the request in which it compacts a session."""

WAIT = "Bash"
ALLOWED = f"mcp__rlm,mcp__plugin_rlm_rlm,{WAIT}(sleep 0.5)"

Step = Say | str | Callable[[Call], Say | str]


@dataclass
class Agent:
    """A scripted mind for the CLI: one step for each turn of its main loop.

    Calls without tools (titles, sub-queries of our server) are answered by their model's name.
    The CLI does not wait for a plugin's server: with `ready`, the first step is put off until that
    tool is there.
    """

    steps: Sequence[Step]
    ready: str = ""
    summary: str = "<summary>The user asked something and was answered.</summary>"
    turns: list[Call] = field(default_factory=list)
    summarised: list[Call] = field(default_factory=list)
    others: list[Call] = field(default_factory=list)

    def __call__(self, call: Call) -> Say | str:
        if any(SUMMARISING in turn.text for turn in call.turns[-2:]):
            self.summarised.append(call)
            return self.summary
        if not call.tools:
            self.others.append(call)
            return minds.by_model(call) if call.model.startswith("sim-") else "A title"
        if not self.turns and self.ready and self.ready not in call.tools:
            return Say("Waiting.", ((WAIT, {"command": "sleep 0.5"}),))
        self.turns.append(call)
        number = len(self.turns) - 1
        step = self.steps[number] if number < len(self.steps) else "Nothing more to do."
        return step(call) if callable(step) else step

    @property
    def results(self) -> list[ToolResult]:
        """Return what the tools answered, as the model read it, each once."""
        results = max((call.results for call in self.turns), key=len, default=[])
        return [result for result in results if result.tool != WAIT]


def use(tool: str, **arguments: Any) -> Say:
    """Return the step that calls one tool."""
    return Say("Let me see.", ((tool, arguments),))


@dataclass(frozen=True)
class Ended:
    """A run of the CLI that is over. `left` are the processes that outlived it."""

    code: int
    stdout: str
    stderr: str
    left: Sequence[str]

    @property
    def values(self) -> dict[str, Any]:
        """Return what `--output-format json` printed."""
        values: dict[str, Any] = json.loads(self.stdout)
        return values

    @property
    def session(self) -> str:
        return str(self.values["session_id"])


@dataclass(frozen=True)
class Claude:
    """The CLI in a home and a project of its own, talking to one model server."""

    program: Path
    folder: Path
    url: str

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def env(self) -> dict[str, str]:
        """Return the whole environment that the CLI gets; nothing of the tester's own."""
        ours = {f"RLM_MCP_{name}_DIR": str(self.folder / name.lower()) for name in FOLDERS}
        return {
            **QUIET,
            **ours,
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.folder / "tmp"),
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "sk-ant-simulated",
            "RLM_MCP_MODEL": "anthropic:sim-root:grep_read",
            "RLM_MCP_SUB_MODEL": "anthropic:sim-leaf",
            "RLM_MCP_COMMAND": str(SERVER),
            "RLM_MCP_PACKAGE": "-Imrlm_mcp.cli",
        }

    def config(self) -> str:
        """Return an --mcp-config that starts our server from this checkout."""
        server = {"command": str(SERVER), "args": ["-Im", "rlm_mcp.cli", "serve"]}
        return json.dumps({"mcpServers": {"rlm": server}})

    def ask(self, prompt: str, *flags: str, env: Mapping[str, str] | None = None) -> Ended:
        """Run one prompt to its end, with all tools of ours allowed."""
        shape = ("--output-format", "json", "--allowedTools", ALLOWED)
        return self.run("-p", prompt, *shape, *flags, env=env)

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        """Run the CLI to its end."""
        return self.end(self.start(*arguments, env=env))

    def converse(self, prompts: Sequence[str], *flags: str) -> tuple[Ended, list[dict[str, Any]]]:
        """Say the prompts one after the other in one process; return the end of each turn too."""
        shape = ("--input-format", "stream-json", "--output-format", "stream-json", "--verbose")
        running = self.start("-p", *shape, "--allowedTools", ALLOWED, *flags, stdin=subprocess.PIPE)
        assert running.stdin is not None and running.stdout is not None
        ends = []
        for prompt in prompts:
            message = {"type": "user", "message": {"role": "user", "content": prompt}}
            running.stdin.write(json.dumps(message) + "\n")
            running.stdin.flush()
            for line in running.stdout:
                event = json.loads(line)
                if event.get("type") == "result":
                    ends.append(event)
                    break
        return self.end(running), ends

    def start(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[str]:
        """Start the CLI; `end` must follow."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.project.mkdir(exist_ok=True)
        (self.folder / "tmp").mkdir(exist_ok=True)
        for name in FOLDERS:
            (self.folder / name.lower()).mkdir(exist_ok=True)
        reaper = [sys.executable, str(Path(__file__).with_name("reap.py")), str(self._report)]
        return subprocess.Popen(
            [*reaper, str(self.program), *arguments],
            cwd=self.project,
            env={**self.env, **(env or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start the CLI for a while; however that ends, the CLI ends too."""
        process = self.start(*arguments)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGUSR1)
            process.communicate(timeout=60)

    def end(self, running: subprocess.Popen[str], timeout_s: float = 100.0) -> Ended:
        """Wait for the CLI and for what it started."""
        try:
            stdout, stderr = running.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGUSR1)
            running.communicate(timeout=60)
            raise
        report = json.loads(self._report.read_text())
        return Ended(report["code"], stdout, stderr, report["left"])

    def allow_spending(self) -> None:
        """Write the user's consent to cells that ask models."""
        (self.folder / "config").mkdir(parents=True, exist_ok=True)
        (self.folder / "config" / "config.toml").write_text('spend = "allow"\n')

    def transcripts(self) -> list[Path]:
        """Return the CLI's transcripts, newest last."""
        found = self.home.glob(".claude/projects/*/*.jsonl")
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    @property
    def _report(self) -> Path:
        return self.folder / "report.json"


FOLDERS = ("STATE", "CACHE", "CONFIG")
