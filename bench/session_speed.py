"""Time the session context on generated transcripts: reading, appends, searches, hooks, memory.

Called by session.py; `python bench/session_speed.py FILE` opens one transcript and says what it
took.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from rlm_mcp.config import Settings  # noqa: E402
from rlm_mcp.contexts import Catalog  # noqa: E402
from rlm_mcp.corpus.search import Query  # noqa: E402
from rlm_mcp.refs import parse_ref  # noqa: E402
from rlm_mcp.sessions.index import TranscriptIndex  # noqa: E402
from rlm_mcp.sessions.readers import choose_reader  # noqa: E402
from rlm_mcp.sessions.session import Session  # noqa: E402
from tests.sessions.generator.layouts import LAYOUTS  # noqa: E402
from tests.sessions.generator.story import tell  # noqa: E402


def speed(root: Path, mb: int) -> None:
    """Print what opening, appending, searching and a brief take on a transcript of `mb` MB."""
    path = root / "speed" / "big.jsonl"
    size = _grow(path, mb << 20)
    floor = _timed(lambda: [json.loads(line) for line in path.open("rb")])
    reader = choose_reader(path)
    assert reader is not None
    warm = TranscriptIndex(path, "warm-up", reader)
    warm.refresh()
    warm.close()
    start = time.perf_counter()
    session = Session(str(path), "session", Settings(roots=(root,)))
    cold = time.perf_counter() - start
    print(f"\nTranscript of {size / 1e6:.0f} MB, {session.describe().facts['turns']:,} turns")
    print(f"cold index {cold:.2f} s = {size / 1e6 / cold:.1f} MB/s (30); json.loads alone "
          f"{floor:.2f} s; ratio {cold / floor:.1f}x")  # fmt: skip
    first = path.stat().st_size
    appends = []
    for number in range(5):
        _grow(path, 1 << 20, mode="ab", salt=f"append{number}")
        appends.append(_timed(session.refresh))
    print(f"append of {(path.stat().st_size - first) / 5e6:.1f} MB seen in {_ms(appends)} (100 ms)")
    words = ("database is locked", r"p95=\d+", "LIMIT = 5", "nightly", r"\btest_\w+")
    greps = [
        _timed(lambda word=word: session.grep(Query(word), parse_ref("session")))  # type: ignore[misc]
        for word in words * 4
    ]
    print(f"warm grep {_ms(greps[len(words) :])} (500 ms at 200 MB)")
    session.search("warm up", parse_ref("session"))
    asked = ("why was the lock kept in the database", "retry attempts cap", "legacy caller report")
    ranks = [
        _timed(lambda text=text: session.search(text, parse_ref("session")))  # type: ignore[misc]
        for text in asked * 4
    ]
    print(f"full-text search {_ms(ranks)} (30 ms at 200 MB)")
    briefs = [_timed(lambda: session.methods["brief"]()) for _ in range(3)]
    print(f"brief, first {briefs[0] * 1e3:.0f} ms, again {briefs[-1] * 1e3:.0f} ms")
    session.close()


def hooks(root: Path, mb: int) -> None:
    """Print what the hooks around a compaction take, before and after the session was read."""
    os.environ["HOME"] = str(root / "home")
    path = root / "home" / ".claude" / "projects" / "-p" / f"{uuid.UUID(int=4, version=4)}.jsonl"
    size = _grow(path, mb << 20)
    print(f"\nHooks on {size / 1e6:.0f} MB (50 ms when read ahead)")
    catalog = Catalog(Settings(roots=(root,)))
    name = "before-compaction"
    catalog.handle_hook("prompt", str(path))
    first = _timed(lambda: catalog.handle_hook(name, str(path)))
    print(f"{name}, nothing read: {first * 1e3:.0f} ms")
    while "in time" in catalog.handle_hook(name, str(path)):
        pass  # each waits as long as a hook may
    for event in ("prompt", name, "after-compaction"):
        catalog.handle_hook(event, str(path))
        seconds = []
        for number in range(20):
            _grow(path, 20 << 10, mode="ab", salt=f"{event}{number}")
            seconds.append(_timed(lambda event=event: catalog.handle_hook(event, str(path))))  # type: ignore[misc]
        print(f"{event}, 20 kB after the last: {_ms(seconds)}, worst {max(seconds) * 1e3:.0f} ms")
    catalog.close()


def large(root: Path) -> None:
    """Print what very large inputs take, each in a process of its own."""
    big = root / "large" / "big.jsonl"
    size = _grow(big, 500 << 20)
    print(f"\nTranscript of {size / 1e6:.0f} MB: {_spawn(big)} (200 MB)")
    shutil.rmtree(big.parent)
    line = root / "line" / "line.jsonl"
    _grow(line, 1 << 16)
    with line.open("a") as file:
        record = {
            "type": "user",
            "uuid": "huge",
            "message": {"role": "user", "content": "x" * (50 << 20)},
        }
        file.write(json.dumps(record) + "\n")
    print(f"a line of 50 MB: {_spawn(line)}")
    _cursor(root / "cursor" / "state.vscdb")


def _cursor(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE cursorDiskKV(key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)")
        bubble = json.dumps({"type": 2, "text": "x" * 10_000})
        for composer in range(1_000):
            heads = [{"bubbleId": f"b{n}", "type": 2} for n in range(100)]
            head = {"name": f"chat {composer}", "createdAt": 1, "lastUpdatedAt": composer,
                    "fullConversationHeadersOnly": heads}  # fmt: skip
            db.execute("INSERT INTO cursorDiskKV VALUES (?,?)",
                       (f"composerData:c{composer}", json.dumps(head)))  # fmt: skip
            bubbles = ((f"bubbleId:c{composer}:b{n}", bubble) for n in range(100))
            db.executemany("INSERT INTO cursorDiskKV VALUES (?,?)", bubbles)
    reader = choose_reader(path)
    assert reader is not None
    seconds = _timed(lambda: reader.session_keys(path))
    print(f"an editor's database of {path.stat().st_size / 1e9:.2f} GB lists its sessions in "
          f"{seconds:.2f} s (5 s)")  # fmt: skip


def _child(path: Path) -> int:
    """Open a transcript in a process of its own, and say what it took."""
    start = time.perf_counter()
    session = Session(str(path), "session", Settings(roots=(path.parent,)))
    seconds = time.perf_counter() - start
    peak = _memory("VmHWM")  # ru_maxrss would count the process that started this one
    helper = _helper_memory()
    found = session.grep(Query("database is locked"), parse_ref("session"))
    session.methods["brief"]()
    anonymous = _memory("RssAnon")
    print(f"indexed in {seconds:.1f} s, peak {peak + helper:.0f} MB ({helper:.0f} of a second "
          f"process); after a grep ({found.total:,} lines) "
          f"and a brief {anonymous:.0f} MB of its own")  # fmt: skip
    session.close()
    return 0


def _memory(name: str) -> float:
    """Return a figure of this process in MB; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    rows = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(rows[name].split()[0]) / 1024


def _helper_memory() -> float:
    """Return the most memory in MB that a process had that this one started; 0 without one."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def _spawn(path: Path) -> str:
    run = subprocess.run(
        [sys.executable, __file__, str(path)], capture_output=True, text=True, check=True
    )
    return run.stdout.strip()


def _grow(path: Path, size: int, mode: str = "wb", salt: str = "") -> int:
    """Write (or add) records of many stories, chained one to the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    parent: object = _last(path) if mode == "ab" else None
    with path.open(mode) as file:
        while written < size:
            for record in _records(f"{salt}{written}"):
                if record.get("uuid"):
                    if record.get("parentUuid") is None and "subtype" not in record:
                        record["parentUuid"] = parent
                    parent = record["uuid"]
                data = json.dumps(record, ensure_ascii=False).encode() + b"\n"
                file.write(data)
                written += len(data)
                if written >= size:
                    break
    return path.stat().st_size


def _last(path: Path) -> str:
    """Return the id of the last record, which the next one goes on from."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 20)))
        lines = file.read().splitlines()
    return str(next(r["uuid"] for line in reversed(lines) if (r := json.loads(line)).get("uuid")))


_TOLD: list[dict[str, object]] = []


def _records(salt: str) -> Iterator[dict[str, object]]:
    if not _TOLD:
        with tempfile.TemporaryDirectory() as folder:
            path = LAYOUTS["claude"].write(tell(1, filler=400), Path(folder))
            _TOLD.extend(json.loads(line) for line in path.read_text().splitlines()[1:-2])
    for record in _TOLD:
        fresh = dict(record)
        for key in ("uuid", "parentUuid", "logicalParentUuid"):
            if isinstance(name := fresh.get(key), str):
                fresh[key] = f"{name[:20]}-{salt}-{name[-8:]}"
        message = fresh.get("message")
        if isinstance(message, dict) and "id" in message:
            fresh["message"] = {**message, "id": f"{message['id']}{salt}"}
        yield fresh


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _ms(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    worst = ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))]
    return f"median {statistics.median(ordered) * 1e3:.0f} ms, p95 {worst * 1e3:.0f} ms"


if __name__ == "__main__":
    raise SystemExit(_child(Path(sys.argv[1])))
