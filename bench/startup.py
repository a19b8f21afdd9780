"""Start-up: time from process start to the first reply, beside a bare server of the same SDK.

Both servers are started in turn, many times, in one run, so that what the machine does meanwhile
hits both alike. The floor is MCPServer with one empty tool: its import is most of the time.
Prints medians and ratios for server/discover and initialize, the import time of our own rooms,
and the size of what a client is sent first.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

BARE = """
from mcp.server import MCPServer
server = MCPServer("bare", log_level="WARNING")
@server.tool()
def nothing() -> str:
    "Do nothing."
    return ""
server.run("stdio")
"""

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "0"},
}
DISCOVER = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": META}}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "0"},
    },
}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {"_meta": META}}
CALL = {
    "jsonrpc": "2.0",
    "id": 3,
    "method": "tools/call",
    "params": {"_meta": META, "name": "contexts", "arguments": {}},
}


class Server:
    """A server process that is spoken to by lines."""

    def __init__(self, command: list[str], env: dict[str, str], folder: Path) -> None:
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, message: dict[str, Any]) -> tuple[float, bytes]:
        """Return when the reply came, in seconds after the start, and the reply."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], 30)
        line = self.process.stdout.readline() if ready else b""
        if f'"id":{message["id"]}'.encode() not in line.replace(b" ", b"")[:200] + line[-40:]:
            raise SystemExit(f"no reply to {message['method']}: {line[:300]!r}")
        return time.perf_counter() - self.started, line

    def cpu(self) -> float:
        """Return the processor seconds used so far; 0 where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def own_imports(env: dict[str, str]) -> float:
    """Return the milliseconds of our own imports for serving, the SDK's taken out."""
    code = (
        "import time, mcp.server, mcp.shared.exceptions, click\n"
        "t = time.perf_counter()\n"
        "import rlm_mcp.cli, rlm_mcp.server.stdio\n"
        "print(1000 * (time.perf_counter() - t))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, cwd=ROOT
    )
    return float(done.stdout)


def report(what: str, figures: dict[str, list[float]]) -> None:
    """Print medians side by side, and their ratio."""
    bare, ours = (statistics.median(figures[who]) for who in ("bare", "ours"))
    ratio = f"{ours / bare:.3f}" if bare else "unknown"
    rounds = len(figures["bare"])
    print(f"{what:<22} bare {bare:.3f}   ours {ours:.3f}   ratio {ratio}   (median of {rounds})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--root", type=Path, default=ROOT, help="Where our server starts.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rlm-startup-") as scratch:
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RLM_MCP_STATE_DIR": f"{scratch}/state",
            "RLM_MCP_CACHE_DIR": f"{scratch}/cache",
            "RLM_MCP_CONFIG_DIR": f"{scratch}/config",
        }
        commands = {
            "bare": [sys.executable, "-c", BARE],
            "ours": [sys.executable, "-m", "rlm_mcp.cli", "serve"],
        }
        for name, first in (("server/discover", DISCOVER), ("initialize", INITIALIZE)):
            times: dict[str, list[float]] = {"bare": [], "ours": []}
            work: dict[str, list[float]] = {"bare": [], "ours": []}
            for _ in range(options.rounds):
                for who, command in commands.items():
                    server = Server(command, env, options.root)
                    times[who].append(server.ask(first)[0])
                    work[who].append(server.cpu())
                    server.stop()
            report(f"{name} s", times)
            report(f"{name} cpu s", work)
        imports = statistics.median(own_imports(env) for _ in range(7))
        print(f"own imports            {imports:.1f} ms")
        server = Server(commands["ours"], env, options.root)
        server.ask(DISCOVER)
        listed, line = server.ask(LIST)
        size = f"{len(line):,} bytes, ~{len(line) // 4:,} tokens"
        print(f"tools/list             after {listed:.3f} s, {size}")
        called, _ = server.ask(CALL)
        print(f"first tool call        answered {called - listed:.3f} s after tools/list")
        server.stop()


if __name__ == "__main__":
    main()
