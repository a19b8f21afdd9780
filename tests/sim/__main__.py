"""Run the simulated server from a command line, for clients in other processes.

python -m tests.sim --port 8900 --script agent.json
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.sim import agent
from tests.sim.server import SimServer


def main() -> None:
    """Serve until the process is told to stop; print the base URL first."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path, help="JSON: a list of steps of a tool-using agent")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    chosen = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before the server's thread inherits it
    mind = agent.load(chosen.script) if chosen.script else None
    with SimServer(mind, port=chosen.port, latency_s=chosen.latency) as sim:
        print(sim.url, flush=True)
        signal.sigwait(ends)
    if mind is not None:
        sys.stdout.write(mind.report())


if __name__ == "__main__":
    main()
