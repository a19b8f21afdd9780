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

PATIENCE_S = float(os.environ.get("REAP_PATIENCE_S", "20"))
"""How long what is left may take to end by itself: a busy machine is slow, an orphan stays."""
PR_SET_CHILD_SUBREAPER = 36


def main(report: Path, command: list[str]) -> None:
    """Run `command`, pass SIGINT and SIGTERM on to it (SIGUSR1 kills it), and write the report."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command)

    def forward(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGINT, forward)
    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGUSR1, lambda *_: child.kill())
    code = child.wait()
    left = _left()
    report.write_text(json.dumps({"code": code, "left": left}))


def _left() -> list[str]:
    """Return the command lines of what is still there after some seconds, and end it."""
    deadline = time.monotonic() + PATIENCE_S
    while _reap() and time.monotonic() < deadline:
        time.sleep(0.05)
    lines: list[str] = []
    while _reap():
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            lines.append(line.replace(b"\0", b" ").decode(errors="replace").strip())
            os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.05)
    return [line for line in dict.fromkeys(lines) if line]


def _reap() -> bool:
    """Bury what has ended; say whether a child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
