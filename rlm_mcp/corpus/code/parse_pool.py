"""Parse documents in worker processes: parsers are C code that holds the interpreter's lock.

A worker reads spans of the packed text by itself, so a request is a line of a few numbers. One
that crashes or takes too long is replaced, and the document it was at is given up. Workers end
when their input closes, so they cannot outlive the server.

`main` is what the worker runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rlm_mcp.process_limits import limit_memory
from rlm_mcp.programs import module_command

WORKERS = 2
DOCUMENT_LIMIT_S = 20.0
"""Seconds that one document may take."""
WORKER_MB = 1024
"""Address space of a worker."""
MAX_PARSED_BYTES = 4 << 20
"""Bytes of a document above which it is not parsed."""
_PREFETCH = 8


@dataclass(frozen=True, slots=True)
class ParseJob:
    """A span of a text file to parse; `key` comes back with the answer."""

    key: str
    language: str
    offset: int
    length: int


def parse_all(
    text: Path, jobs: Sequence[ParseJob], workers: int = WORKERS
) -> Iterator[tuple[str, str]]:
    """Give (key, what was parsed, as `Parsed.written`) for each job, in any order.

    A document that cannot be parsed comes back as an empty string.
    """
    # The largest first, so that the workers end at about the same time.
    wanted = sorted(
        (job for job in jobs if job.length <= MAX_PARSED_BYTES), key=lambda job: -job.length
    )
    yield from ((job.key, "") for job in jobs if job.length > MAX_PARSED_BYTES)
    count = min(workers, 1 + len(wanted) // 64)
    shares = [_ParseWorker(text, wanted[number::count]) for number in range(count)]
    for share in shares:
        share.start_thread()
    try:
        for share in shares:
            yield from share.iter_results()
    finally:
        for share in shares:
            share.stop_thread()


class _ParseWorker:
    """One worker's part of the jobs, fed and collected by a thread."""

    def __init__(self, text: Path, jobs: Sequence[ParseJob]) -> None:
        self._text, self._jobs = text, list(jobs)
        self._done: list[tuple[str, str]] = []
        self._given = 0
        self._news = threading.Condition()
        self._finished = False
        self._stopped = False
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run_jobs, name="parse", daemon=True)

    def start_thread(self) -> None:
        self._thread.start()

    def stop_thread(self) -> None:
        self._stopped = True
        child = self._child
        if child is not None:
            child.kill()
        self._thread.join(timeout=10)

    def iter_results(self) -> Iterator[tuple[str, str]]:
        while True:
            with self._news:
                while self._given == len(self._done) and not self._finished:
                    self._news.wait()
                fresh = self._done[self._given :]
                self._given = len(self._done)
                ended = self._finished
            yield from fresh
            if ended and self._given == len(self._done):
                return

    def _run_jobs(self) -> None:
        try:
            at = 0
            while at < len(self._jobs) and not self._stopped:
                at = self._run_process(at)
        finally:
            with self._news:
                self._finished = True
                self._news.notify_all()

    def _run_process(self, at: int) -> int:
        """Work with one process from job `at` on; return the job to go on with."""
        child = self._child = _spawn_worker(self._text)
        assert child.stdin is not None and child.stdout is not None
        watch = _DocumentTimer(child)
        try:
            sent = at
            while at < len(self._jobs):
                while sent < min(len(self._jobs), at + _PREFETCH):
                    _send_job(child.stdin, self._jobs[sent])
                    sent += 1
                child.stdin.flush()
                watch.restart_timer()
                line = child.stdout.readline()
                if not line.endswith(b"\n"):
                    break
                self._add_result(self._jobs[at].key, str(json.loads(line)))
                at += 1
            else:
                return at
        except (OSError, ValueError):
            pass  # the process died while it was written to, or raved: same as no answer
        finally:
            watch.stop_timer()
            _end_process(child)
        if not self._stopped:
            self._add_result(self._jobs[at].key, "")
        return at + 1

    def _add_result(self, key: str, parsed: str) -> None:
        with self._news:
            self._done.append((key, parsed))
            self._news.notify_all()


class _DocumentTimer:
    """Kills a worker that is at one document for too long; a timer a document would cost more."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._begun = time.monotonic()
        self._over = threading.Event()
        self._limit_s = DOCUMENT_LIMIT_S
        threading.Thread(target=self._kill_late, name="parse limit", daemon=True).start()

    def restart_timer(self) -> None:
        """Begin the time of the next document."""
        self._begun = time.monotonic()

    def stop_timer(self) -> None:
        self._over.set()

    def _kill_late(self) -> None:
        while not self._over.wait(min(0.5, self._limit_s)):
            if time.monotonic() - self._begun > self._limit_s:
                self._child.kill()
                return


def _spawn_worker(text: Path) -> subprocess.Popen[bytes]:
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    return subprocess.Popen(
        module_command("rlm_mcp.corpus.code.parse_pool", os.path.abspath(text)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=kept,
    )


def _send_job(sink: IO[bytes], job: ParseJob) -> None:
    sink.write(f"{job.language} {job.offset} {job.length}\n".encode())


def _end_process(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:
            pass  # what was not sent any more
    try:
        child.wait(timeout=2)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main() -> None:
    """Answer each request line with one line of JSON, until the input ends."""
    from rlm_mcp.corpus.code.grammar import parse_document

    limit_memory(WORKER_MB)
    answers = sys.stdout.buffer
    with open(sys.argv[1], "rb", buffering=0) as text:
        for line in sys.stdin.buffer:
            language, offset, length = line.split()
            text.seek(int(offset))
            parsed = parse_document(language.decode("ascii"), text.read(int(length)))
            answers.write(json.dumps(parsed.to_text()).encode() + b"\n")
            answers.flush()
