"""Let Python's re decide lines in a child process that is killed when time runs out.

For lookaround and backreferences only. RE2 finds candidates with a looser pattern and hands them
over piece by piece; the child maps the same file, answers line by line, and what it has answered
by the deadline counts.
The child is one small script: no imports of ours, no environment, a limit on its memory.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rlm_mcp.errors import BadRequest

if TYPE_CHECKING:
    from rlm_mcp.corpus.search.compile_pattern import CompiledPattern
    from rlm_mcp.corpus.store import Snapshot

Numbers = npt.NDArray[np.int64]
CHILD_MEMORY_BYTES = 1 << 30
_DONE = struct.pack("<qq", -1, 0)
"""What the child says when it has looked at all that it was handed."""

_CHILD = r"""
import json, mmap, re, struct, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except ImportError:
    resource = None
task = json.loads(sys.stdin.buffer.readline())
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
out.flush()
take = sys.stdin.buffer.read
while size := take(8):
    spans = memoryview(take(struct.unpack("<q", size)[0])).cast("q")
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
            out.flush()
    out.write(struct.pack("<qq", -1, 0))
    out.flush()
"""


class BacktrackProcess:
    """A child process that looks at spans of a snapshot until it is killed at the deadline.

    To enter it raises BadRequest where Python's re cannot compile the pattern.
    """

    def __init__(
        self, snapshot: Snapshot, gated: CompiledPattern, deadline: float, *, starts: bool
    ) -> None:
        handle = snapshot.text.fileno()
        flags = re.MULTILINE | (0 if gated.regex.options.case_sensitive else re.IGNORECASE)
        left = max(0.05, deadline - time.monotonic())
        task = {
            "text": snapshot.text.name if os.name == "nt" else handle,
            "pattern": _to_python_syntax(gated.backtrack),
            "flags": int(flags),
            "memory": CHILD_MEMORY_BYTES,
            "seconds": max(1, math.ceil(left)),
            "starts": starts,
        }
        self._pattern, self._starts = gated.backtrack, starts
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=None if os.name == "nt" else {"LC_ALL": "C"},
            pass_fds=() if os.name == "nt" else (handle,),
        )
        self._alarm = threading.Timer(left, self._process.kill)
        self._alarm.daemon = True
        self._alarm.start()
        self._send_bytes(json.dumps(task).encode() + b"\n")

    def __enter__(self) -> BacktrackProcess:
        source = self._process.stdout
        assert source is not None
        if source.read(1) == b"!":
            reason = source.read().decode("utf-8", "replace")
            self.__exit__()
            raise BadRequest(f"The pattern {self._pattern[:80]!r} is not valid: {reason}.")
        return self

    def __exit__(self, *_: object) -> None:
        self._alarm.cancel()
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        self._process.wait()

    def match_spans(self, spans: Numbers) -> tuple[Numbers, bool]:
        """Return which of the spans (start, end) match, and whether all were looked at.

        With `starts` it is where in the text each match starts, at most one a line.
        """
        data = spans.astype("<i8").tobytes()
        source = self._process.stdout
        assert isinstance(source, io.BufferedReader)
        sent = self._send_bytes(struct.pack("<q", len(data)) + data)
        answers = bytearray()
        while sent and (len(answers) % 16 or answers[-16:] != _DONE):
            got = source.read1(1 << 16)
            if not got:
                sent = False
            answers += got
        pairs = np.frombuffer(answers, "<i8", len(answers) // 16 * 2).reshape(-1, 2)
        return pairs[pairs[:, 0] >= 0, int(self._starts)], sent

    def _send_bytes(self, data: bytes) -> bool:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError:
            return False
        return True


def _to_python_syntax(pattern: str) -> str:
    """Write what Python spells in another way. Raises BadRequest for what it has not."""
    if "[[:" in pattern:
        raise BadRequest(
            "Classes like [[:alpha:]] cannot be used together with lookaround or backreferences; "
            "write [A-Za-z]."
        )
    return re.sub(r"\(\?<([A-Za-z_])", r"(?P<\1", pattern).replace("\\z", "\\Z")
