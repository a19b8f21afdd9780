"""What was done: commands, errors and what fixed them, files, tasks, commits, usage.

Everything is read off calls and their results on the live branch; a list of this file is exact
where the format records what it needs (see a reader's `limits`).
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from rlm_mcp.contexts.session.view import View, rows_of

_FAILED = re.compile(
    r"\b[1-9]\d* (?:failed|errors?)\b(?! in 0)|^Traceback \(most recent call last\)|^FAILED\b"
    r"|^E   \w|\bcommand not found\b|^(?:fatal|error|ERROR)[:\[]|^npm ERR!|^panic:|\bError: "
    r"|^\w+(?:\.\w+)*(?:Error|Exception)\b",
    re.MULTILINE,
)
_SIGNS = (
    re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception|Warning|Fault|Panic)\b: .+)$", re.MULTILINE),
    re.compile(r"^E   +(.+)$", re.MULTILINE),
    re.compile(r"^(FAILED .+)$", re.MULTILINE),
    re.compile(r"^((?:fatal|error|ERROR|panic|npm ERR!)[:\[ ].+)$", re.MULTILINE),
    re.compile(r"^(.*\b(?:[Ee]rror|not found|No such file|denied|refused)\b.*)$", re.MULTILINE),
    re.compile(r"^(.*\b[1-9]\d* failed\b.*)$", re.MULTILINE),
)  # fmt: skip
_TESTS = re.compile(r"^FAILED (\S+)|^___+ (\S+) ___+$|^--- FAIL: (\S+)", re.MULTILINE)
TEST = re.compile(
    r"\b(?:pytest|py\.test|jest|vitest|mocha|go test|cargo (?:test|nextest)|(?:npm|pnpm|yarn)"
    r"(?: run)? test|make (?:test|check)|unittest|rspec|mvn\b.*\btest|gradlew?\b.*\btest|tox|ctest"
    r"|phpunit|dotnet test|rake test|bun test)\b"
)
"""Commands that run tests."""

_COMMIT = re.compile(r"^\[([^\s\]]+)(?: \([^)]*\))? ([0-9a-f]{7,40})\] (.*)$", re.MULTILINE)
_AIDER_COMMIT = re.compile(r"^Commit ([0-9a-f]{7,40}) (.*)$", re.MULTILINE)
_TASK = re.compile(r"^Task #(\d+) created")
_SHOWN = 4_000
_KEPT = 1_000
"""Characters that are kept of a good run's output: its result stands at the end."""


@dataclass(slots=True)
class Run:
    """One command that ran: its call, its result, and how it ended."""

    command: str
    turn: int
    ref: str
    result: str = ""
    status: str = ""
    exit_code: int | None = None
    text: str = ""
    """The start and the end of its output."""
    at: str = ""


@dataclass(slots=True)
class Touched:
    """A file and what was done to it."""

    path: str
    ops: list[tuple[str, str, int]] = field(default_factory=list)
    """(operation, ref, turn), in order."""


def runs(view: View, doc: int = 1) -> list[Run]:
    """Return the shell commands of the live branch, each with its outcome, in order."""
    return view.once(("runs", doc), lambda: _runs(view, doc))


def _runs(view: View, doc: int) -> list[Run]:
    found: list[Run] = []
    waiting: dict[str, Run] = {}
    where = "b.kind='shell' AND b.type IN ('call', 'result')"
    for part in view.kept.of("runs", where, lambda row: (_part(view, row),), doc=doc):
        if isinstance(part, _Call):
            run = Run(part.command, part.turn, part.ref, at=part.at)
            found.append(run)
            waiting[part.call] = run
        elif known := waiting.get(part.call):
            known.result, known.exit_code = part.ref, part.exit_code
            known.status, known.text = part.status, part.text
    return found


@dataclass(frozen=True, slots=True)
class _Call:
    call: str
    command: str
    turn: int
    ref: str
    at: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    call: str
    ref: str
    exit_code: int | None
    status: str
    text: str


def _part(view: View, row: sqlite3.Row) -> _Call | _Outcome:
    """Return what one block tells of a run."""
    ref = view.ref(row)
    if row["type"] == "call":
        command = row["arg"] or _first_line(view, row)
        return _Call(row["call"], command, row["n"], ref, row["ts"])
    text = _ends(view, row)
    status = row["status"] or ("error" if _FAILED.search(text) else "ok")
    return _Outcome(
        row["call"], ref, row["exit"], status, text[-_KEPT:] if status == "ok" else text
    )


def commands(view: View) -> list[dict[str, Any]]:
    """Return each distinct command with its counts, exit codes and last good invocation."""
    table: dict[str, dict[str, Any]] = {}
    for run in runs(view):
        entry = table.setdefault(
            run.command,
            {"command": run.command, "count": 0, "ok": 0, "failed": 0, "exit_codes": [],
             "first": run.ref, "last": "", "last_status": "", "last_good": ""},
        )  # fmt: skip
        entry["count"] += 1
        entry["ok"] += run.status == "ok"
        entry["failed"] += run.status == "error"
        if run.exit_code is not None and run.exit_code not in entry["exit_codes"]:
            entry["exit_codes"].append(run.exit_code)
        entry["last"], entry["last_status"] = run.result or run.ref, run.status
        if run.status == "ok":
            entry["last_good"] = run.ref
    return list(table.values())


def errors(view: View) -> list[dict[str, Any]]:
    """Return the failures: signature, first place, tries, and what fixed each, if anything did."""
    changes = _changes(view)
    every = runs(view)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for place, run in enumerate(every):
        if run.status != "error":
            continue
        sign = signature(run.text)
        entry = found.setdefault(
            (run.command, sign),
            {"error": sign, "command": run.command, "first": run.result, "count": 0,
             "tests": [], "tries": [], "fixed_by": [], "fixed_at": ""},
        )  # fmt: skip
        entry["count"] += 1
        entry["tests"] = sorted({*entry["tests"], *failing(run.text)})
        fix = next((r for r in every[place + 1 :] if _same(r, run) and r.status == "ok"), None)
        again = next((r for r in every[place + 1 :] if _same(r, run)), None)
        until = again.turn if again else 1 << 40
        tried = [change for turn, change in changes if run.turn < turn <= until]
        if again is None or again.status == "error":
            entry["tries"] += tried
        else:
            entry["fixed_by"] = tried
        entry["fixed_at"] = fix.result if fix else ""
    return [*found.values(), *_other_errors(view)]


def failing(text: str) -> list[str]:
    """Return the names of failing tests that an output tells."""
    return [next(filter(None, match.groups())) for match in _TESTS.finditer(text)]


def signature(text: str) -> str:
    """Return the line of an output that says best what went wrong."""
    for pattern in _SIGNS:
        found = pattern.findall(text)
        if found:
            return str(found[-1]).strip()[:300]
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    return line.strip()[:300]


def files(view: View, *, live: bool = True, reads: bool = False) -> list[Touched]:
    """Return the files that calls changed (or read), those of failed calls left out."""
    return view.once(("files", live, reads), lambda: _files(view, live=live, reads=reads))


def _files(view: View, *, live: bool, reads: bool) -> list[Touched]:
    refused = _refused(view)
    table: dict[str, Touched] = {}
    for named in operations(view, live=live):
        if named.call in refused or (named.op == "read" and not reads):
            continue
        name = relative(named.path, named.cwd or root(view))
        table.setdefault(name, Touched(name)).ops.append((named.op, named.ref, named.turn))
    return list(table.values())


@dataclass(frozen=True, slots=True)
class Named:
    """A file that a call named, and what the call was to do to it."""

    path: str
    op: str
    call: str
    ref: str
    turn: int
    cwd: str


def operations(view: View, *, doc: int = 1, live: bool = True) -> list[Named]:
    """Return what calls of a thread were to do to files, also those that failed, in order."""

    def named(row: sqlite3.Row) -> Iterator[Named]:
        for path, op in json.loads(row["data"]):
            yield Named(path, op, row["call"], view.ref(row), row["n"], row["cwd"])

    where = "b.type='call' AND b.data!='' AND b.kind!='plan'"
    return view.once(
        ("operations", doc, live),
        lambda: view.kept.of("operations", where, named, doc=doc, live=live),
    )


def _refused(view: View) -> set[str]:
    """Return the calls that failed or that a person refused."""
    return {
        row["call"]
        for row in view.index.rows(
            "SELECT call FROM blocks WHERE doc=1 AND type='result' AND call!='' "
            "AND status IN ('error', 'denied', 'cancelled')"
        )
    }


def root(view: View) -> str:
    """Return the folder that all named files lie in, for formats that do not say where they were.

    Empty unless the files below it are in several folders: else it may be too deep.
    """
    return view.once("root", lambda: _root(view))


def _root(view: View) -> str:
    paths = [
        PurePosixPath(path)
        for row in view.index.rows("SELECT data FROM blocks WHERE doc=1 AND data LIKE '[[%'")
        for path, *_ in json.loads(row["data"])
        if path.startswith("/")
    ]
    if not paths:
        return ""
    shared = PurePosixPath(os.path.commonpath([path.parent for path in paths]))
    below = {path.relative_to(shared).parts[0] for path in paths}
    return str(shared) if len(below) > 1 and len(shared.parts) > 2 else ""


@lru_cache(maxsize=10_000)
def relative(path: str, cwd: str) -> str:
    """Return a path as seen from the folder in which the agent worked."""
    for kind in (PurePosixPath, PureWindowsPath) if "\\" in path else (PurePosixPath,):
        try:
            return kind(path).relative_to(cwd).as_posix() if cwd else path
        except ValueError:
            continue
    return path.removeprefix("./")


def tasks(view: View) -> list[dict[str, Any]]:
    """Return the last state of the task list, with the places that opened and closed each item."""
    items: dict[str, dict[str, Any]] = {}
    refused, numbers = _refused(view), _numbers(view)
    for row in rows_of(view, "b.doc=1 AND t.live=1 AND b.type='call' AND b.kind='plan'"):
        if not row["data"] or row["call"] in refused:
            continue
        ref, listed = view.ref(row), json.loads(row["data"])
        single = row["name"].lower() in ("taskcreate", "taskupdate")
        now = {}
        for text, status, key in listed:
            key = key or numbers.get(row["call"], "")
            name = _known(items, text, key) if single else text
            before = items.get(name, {})
            opened = before.get("opened", ref)
            closed = ref if status == "done" and before.get("status") != "done" else ""
            now[name] = {
                "task": text or before.get("task", ""), "status": status or before.get("status"),
                "opened": opened, "closed": closed or before.get("closed", ""), "last": ref,
                "key": key or before.get("key") or str(len(items) + 1),
            }  # fmt: skip
        items = {**items, **now} if single else now
    return [
        {name: value for name, value in item.items() if name != "key"} for item in items.values()
    ]


def _numbers(view: View) -> dict[str, str]:
    """Return the number that each call which creates one task was told, by call."""
    found = {}
    for row in rows_of(view, "b.doc=1 AND b.type='result' AND b.kind='plan' AND b.len<2000"):
        if row["call"] and (match := _TASK.search(view.body(row))):
            found[row["call"]] = match[1]
    return found


def _known(items: dict[str, dict[str, Any]], text: str, key: str) -> str:
    """Return the name under which a task of the one-call-a-task tools is kept."""
    return next((name for name, item in items.items() if key and item["key"] == key), text)


def commits(view: View) -> list[dict[str, Any]]:
    """Return the commits that the session made, with the turn of each."""
    found = []
    for run in runs(view):
        for match in _COMMIT.finditer(run.text) if "commit" in run.command else ():
            found.append(
                {"commit": match[2], "branch": match[1], "subject": match[3], "turn": run.turn,
                 "ref": run.result, "at": run.at}
            )  # fmt: skip
    found += view.kept.of("noted commits", "b.type='notice'", lambda row: _noted(view, row))
    return found


def _noted(view: View, row: sqlite3.Row) -> Iterator[dict[str, Any]]:
    """Yield the commits of which a notice of the agent tells."""
    for match in _AIDER_COMMIT.finditer(view.body(row)):
        yield {
            "commit": match[1], "branch": "", "subject": match[2].strip(), "turn": row["n"],
            "ref": view.ref(row), "at": row["ts"],
        }  # fmt: skip


def usage(view: View) -> dict[str, Any]:
    """Return the tokens of all threads, each reply counted once, by model."""
    models: dict[str, dict[str, int]] = {}
    columns = ("input", "cache_read", "cache_write", "output")
    for row in view.index.rows(
        "SELECT model, input, cache_read, cache_write, output, usage_key FROM turns "
        "WHERE role='assistant'"
    ):
        used = models.setdefault(row["model"] or "unknown", dict.fromkeys(("replies", *columns), 0))
        used["replies"] += 1
        for name in columns:
            used[name] += row[name]
    everything = {name: sum(used[name] for used in models.values()) for name in columns}
    return {**everything, "models": models}


def _changes(view: View) -> list[tuple[int, dict[str, str]]]:
    """Return every change of a file: (turn, {file, op, ref})."""
    found = [
        (turn, {"file": touched.path, "op": op, "ref": ref})
        for touched in files(view)
        for op, ref, turn in touched.ops
    ]
    return sorted(found, key=lambda item: (item[0], item[1]["ref"]))


def _other_errors(view: View) -> Iterator[dict[str, Any]]:
    """Yield failed calls of other tools than the shell."""
    where = "b.doc=1 AND t.live=1 AND b.type='result' AND b.kind!='shell' AND b.status='error'"
    for row in rows_of(view, where):
        text = _ends(view, row)
        yield {
            "error": signature(text), "command": row["name"], "first": view.ref(row), "count": 1,
            "tests": [], "tries": [], "fixed_by": [], "fixed_at": "",
        }  # fmt: skip


def _same(one: Run, other: Run) -> bool:
    return one.command.split() == other.command.split()


def _first_line(view: View, row: sqlite3.Row) -> str:
    return view.body(row).partition("\n")[0].removeprefix("command: ")


def _ends(view: View, row: sqlite3.Row) -> str:
    """Return a block's text, of a long one its start and end."""
    if row["len"] <= 2 * _SHOWN:
        return view.body(row)
    head = view.index.read(row["off"], _SHOWN)
    tail = view.index.read(row["off"] + row["len"] - _SHOWN, _SHOWN)
    return f"{head.decode('utf-8', 'replace')}\n…\n{tail.decode('utf-8', 'replace')}"
