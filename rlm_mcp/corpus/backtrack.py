"""Let Python's re decide lines in a child process that is killed when time runs out.

For lookaround and backreferences only. RE2 has found the candidates with a looser pattern; the
child maps the same file, answers line by line, and what it has answered by the deadline counts.
The child is one small script: no imports of ours, no environment, a limit on its memory.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import numpy.typing as npt

from rlm_mcp.corpus.gate import Gated
from rlm_mcp.corpus.scan import PATIENCE
from rlm_mcp.corpus.snapshot import Snapshot
from rlm_mcp.errors import BadRequest

Numbers = npt.NDArray[np.int64]
MEMORY_BYTES = 1 << 30

_CHILD = r"""
import json, mmap, re, struct, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ImportError:
    resource = None
task = json.loads(sys.stdin.buffer.readline())
spans = memoryview(sys.stdin.buffer.read()).cast("q")
file = open(task["text"], "rb")
text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
if resource is not None:
    used = len(text) + task["memory"]
    resource.setrlimit(resource.RLIMIT_AS, (used, used))
    resource.setrlimit(resource.RLIMIT_CPU, (task["seconds"], task["seconds"] + 1))
out = sys.stdout.buffer
try:
    regex = re.compile(task["pattern"].encode("utf-8", "surrogateescape"), task["flags"])
except (re.error, OverflowError, RecursionError, MemoryError) as error:
    out.write(b"!" + str(error).encode()[:300])
    sys.exit(0)
view = memoryview(text)
out.write(b"+")
for number in range(len(spans) // 2):
    start, end = spans[2 * number], spans[2 * number + 1]
    line = bytes(view[start:end])
    if task["starts"]:
        last = -1
        for match in regex.finditer(line):
            begin = line.rfind(b"\n", 0, match.start()) + 1
            if begin != last:
                last = begin
                out.write(struct.pack("<qq", number, start + match.start()))
    elif regex.search(line):
        out.write(struct.pack("<qq", number, start))
    if number % 256 == 0 or len(line) > 4096:
        out.write(struct.pack("<qq", -1, number))
        out.flush()
out.write(struct.pack("<qq", -1, number + 1 if len(spans) else 0))
out.flush()
view.release()
"""


def decide(
    snapshot: Snapshot, gated: Gated, spans: Numbers, deadline: float
) -> tuple[Numbers, bool]:
    """Return which of the spans (start, end) match, and whether all were looked at."""
    pairs, whole = _run(snapshot, gated, spans, deadline, starts=False)
    return pairs[:, 0], whole


def starts(
    snapshot: Snapshot, gated: Gated, spans: Numbers, deadline: float
) -> tuple[Numbers, bool]:
    """Return where matches start in the spans, and whether all were looked at."""
    pairs, whole = _run(snapshot, gated, spans, deadline, starts=True)
    return pairs[:, 1], whole


def _run(
    snapshot: Snapshot, gated: Gated, spans: Numbers, deadline: float, starts: bool
) -> tuple[Numbers, bool]:
    """Run the child over some spans. Raises BadRequest where it cannot compile the pattern."""
    handle = snapshot.text.fileno()
    flags = re.MULTILINE | (0 if gated.regex.options.case_sensitive else re.IGNORECASE)
    task = {
        "text": snapshot.text.name if os.name == "nt" else handle,
        "pattern": _for_python(gated.backtrack),
        "flags": int(flags),
        "memory": MEMORY_BYTES,
        "seconds": max(1, round((deadline - time.monotonic()) / PATIENCE)),
        "starts": starts,
    }
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=None if os.name == "nt" else {"LC_ALL": "C"},
        pass_fds=() if os.name == "nt" else (handle,),
    )
    data = json.dumps(task).encode() + b"\n" + spans.astype("<i8").tobytes()
    with process:
        try:
            answer, _ = process.communicate(data, timeout=max(0.05, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            answer, _ = process.communicate()
        except BaseException:
            process.kill()
            raise
    return _read(answer, len(spans), gated.backtrack)


def _read(answer: bytes, asked: int, pattern: str) -> tuple[Numbers, bool]:
    """Read the child's answer, as far as it came."""
    if answer.startswith(b"!"):
        reason = answer[1:].decode("utf-8", "replace")
        raise BadRequest(f"The pattern {pattern[:80]!r} is not valid: {reason}.")
    body = answer[1:]
    pairs = np.frombuffer(body, "<i8", count=len(body) // 16 * 2).reshape(-1, 2)
    progress = pairs[pairs[:, 0] < 0, 1]
    whole = bool(len(progress)) and int(progress[-1]) == asked
    return pairs[pairs[:, 0] >= 0], whole


def _for_python(pattern: str) -> str:
    """Write what Python spells in another way. Raises BadRequest for what it has not."""
    if "[[:" in pattern:
        raise BadRequest(
            "Classes like [[:alpha:]] cannot be used together with lookaround or backreferences; "
            "write [A-Za-z]."
        )
    return re.sub(r"\(\?<([A-Za-z_])", r"(?P<\1", pattern).replace("\\z", "\\Z")
