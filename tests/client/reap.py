"""Runs a command and reports the processes that it left behind.

As the subreaper of its descendants this process becomes the parent of every orphan, however it
was started, so none can hide. Run as: reap.py REPORT COMMAND...; REPORT gets the command's exit
code and the command lines of what was still there some seconds after it ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

PATIENCE_S = 5.0
PR_SET_CHILD_SUBREAPER = 36


def main(report: Path, command: list[str]) -> None:
    """Run `command`, pass SIGINT and SIGTERM on to it, and write the report."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command)

    def forward(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGINT, forward)
    signal.signal(signal.SIGTERM, forward)
    code = child.wait()
    left = _left()
    report.write_text(json.dumps({"code": code, "left": left}))


def _left() -> list[str]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.05)
        except ChildProcessError:
            return []
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
    for pid in children:
        os.kill(int(pid), signal.SIGKILL)
    return [line.replace(b"\0", b" ").decode(errors="replace") for line in lines]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
