"""What was done: commands, errors and what fixed them, files, commits, usage.

Everything is read off calls and their results on the live branch; a list of this file is exact
where the format records what it needs (see a reader's `limits`).
"""

from __future__ import annotations

import json
import re
import sqlite3
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from sys import intern
from typing import Any

from rlm_mcp.contexts.session import paths
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
_TESTS = re.compile(
    r"^FAILED ([^\s(]\S*)|^___+ (\S+) ___+$|^--- FAIL: (\S+)|^(?:FAIL|ERROR): \w+ \(([\w.]+)\)$",
    re.MULTILINE,
)
TEST = re.compile(
    r"\b(?:pytest|py\.test|jest|vitest|mocha|go test|cargo (?:test|nextest)|(?:npm|pnpm|yarn)"
    r"(?: run)? test|make (?:test|check)|unittest|rspec|mvn\b.*\btest|gradlew?\b.*\btest|tox|ctest"
    r"|phpunit|dotnet test|rake test|bun test)\b"
)
"""Commands that run tests."""

_COMMIT = re.compile(r"^\[([^\s\]]+)(?: \([^)]*\))? ([0-9a-f]{7,40})\] (.*)$", re.MULTILINE)
_AIDER_COMMIT = re.compile(r"^Commit ([0-9a-f]{7,40}) (.*)$", re.MULTILINE)
_CODES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\r(?=\n)")
"""What colours a terminal, and ends of lines."""
_SHOWN = 4_000
_KEPT = 1_000
"""Characters that are kept of a good run's output: its result stands at the end."""


@dataclass(frozen=True, slots=True)
class Call:
    """A shell command as it was called."""

    call: str
    command: str
    turn: int
    ref: str
    at: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended; `off` and `len` say where its output stands in the packed text."""

    call: str
    ref: str
    exit_code: int | None
    status: str
    view: View
    off: int
    len: int


@dataclass(slots=True)
class Run:
    """One command that ran: its call, and its result where one is recorded."""

    started: Call
    ended: Outcome | None = None

    @property
    def command(self) -> str:
        return self.started.command

    @property
    def turn(self) -> int:
        return self.started.turn

    @property
    def ref(self) -> str:
        return self.started.ref

    @property
    def at(self) -> str:
        return self.started.at

    @property
    def result(self) -> str:
        return self.ended.ref if self.ended else ""

    @property
    def status(self) -> str:
        return self.ended.status if self.ended else ""

    @property
    def exit_code(self) -> int | None:
        return self.ended.exit_code if self.ended else None

    @property
    def text(self) -> str:
        """The start and the end of its output, of a good run the end alone; read when asked."""
        if self.ended is None:
            return ""
        text = _ends(self.ended.view, self.ended.off, self.ended.len)
        return text[-_KEPT:] if self.status == "ok" else text


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
    columns = "b.doc, b.type, b.call, b.arg, b.exit, b.status, b.off, b.len, t.ts"
    parts = view.kept.of("runs", where, lambda row: (_part(view, row),), columns=columns, doc=doc)
    for part in parts:
        if isinstance(part, Call):
            run = Run(part)
            found.append(run)
            waiting[part.call] = run
        elif known := waiting.get(part.call):
            known.ended = part
    return found


def _part(view: View, row: sqlite3.Row) -> Call | Outcome:
    """Return what one block tells of a run."""
    ref = view.ref(row)
    if row["type"] == "call":
        command = row["arg"] or _first_line(view, row)
        return Call(intern(row["call"]), command, row["n"], ref, row["ts"])
    off, size = row["off"], row["len"]
    failed = not row["status"] and _FAILED.search(_ends(view, off, size))
    status = row["status"] or ("error" if failed else "ok")
    return Outcome(intern(row["call"]), ref, row["exit"], status, view, off, size)


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
    places = [change[0] for change in changes]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for run, again, fix in _repeated(runs(view)):
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
        # One reply may hold many calls: what counts is the order of the blocks.
        until = bisect_right(places, _place(again.ref)) if again else len(places)
        tried = [
            {"file": file, "op": op, "ref": ref}
            for _, ref, file, op in changes[bisect_right(places, _place(run.ref)) : until]
        ]
        if again is None or again.status == "error":
            entry["tries"] += tried
        else:
            entry["fixed_by"] = tried
        entry["fixed_at"] = fix.result if fix else ""
    return [*found.values(), *_other_errors(view)]


def _repeated(every: list[Run]) -> list[tuple[Run, Run | None, Run | None]]:
    """Return each run with the next one of its command, and with the next good one."""
    found: list[tuple[Run, Run | None, Run | None]] = []
    later: dict[tuple[str, ...], tuple[Run, Run | None]] = {}
    for run in reversed(every):
        command = tuple(run.command.split())
        again, fix = later.get(command, (None, None))
        found.append((run, again, fix))
        later[command] = (run, run if run.status == "ok" else fix)
    return found[::-1]


def failing(text: str) -> list[str]:
    """Return the names of failing tests that an output tells."""
    return [next(filter(None, match.groups())) for match in _TESTS.finditer(text)]


def signature(text: str) -> str:
    """Return the line of an output that says best what went wrong."""
    text = text.replace("\nError: (none)\n", "\n")
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
    refused = unsuccessful(view)
    table: dict[str, Touched] = {}
    for named in operations(view, live=live):
        if named.call in refused or (named.op == "read" and not reads):
            continue
        name = paths.shown(view, named.path, named.cwd)
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
        call, cwd, ref = intern(row["call"]), intern(row["cwd"]), view.ref(row)
        for path, op in json.loads(row["data"]):
            yield Named(intern(path), intern(op), call, ref, row["n"], cwd)

    where = "b.type='call' AND b.data!='' AND b.kind!='plan'"
    columns = "b.doc, b.call, b.data, t.cwd"
    return view.once(
        ("operations", doc, live),
        lambda: view.kept.of("operations", where, named, columns=columns, doc=doc, live=live),
    )


def unsuccessful(view: View) -> set[str]:
    """Return the calls that failed or that a person refused."""
    return {
        row["call"]
        for row in view.index.rows(
            "SELECT call FROM blocks WHERE doc=1 AND type='result' AND call!='' "
            "AND status IN ('error', 'denied', 'cancelled')"
        )
    }


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


def _changes(view: View) -> list[tuple[tuple[int, int], str, str, str]]:
    """Return every change of a file in order: (place, ref, file, operation)."""
    found = [(_place(ref), ref, file.path, op) for file in files(view) for op, ref, _ in file.ops]
    return sorted(found, key=lambda item: item[:2])


def _place(ref: str) -> tuple[int, int]:
    """Return the turn and the block that a ref of a block names."""
    turn, _, block = ref.rpartition("#")[2].partition(".")
    return int(turn), int(block)


def _other_errors(view: View) -> Iterator[dict[str, Any]]:
    """Yield failed calls of other tools than the shell."""
    where = "b.doc=1 AND t.live=1 AND b.type='result' AND b.kind!='shell' AND b.status='error'"
    for row in rows_of(view, where):
        text = _ends(view, row["off"], row["len"])
        yield {
            "error": signature(text), "command": row["name"], "first": view.ref(row), "count": 1,
            "tests": [], "tries": [], "fixed_by": [], "fixed_at": "",
        }  # fmt: skip


def _first_line(view: View, row: sqlite3.Row) -> str:
    return view.body(row).partition("\n")[0].removeprefix("command: ")


def _ends(view: View, off: int, size: int) -> str:
    """Return a block's text without a terminal's colours, of a long one its start and end."""
    if size <= 2 * _SHOWN:
        data = view.index.read(off, size)
    else:
        head, tail = view.index.read(off, _SHOWN), view.index.read(off + size - _SHOWN, _SHOWN)
        data = head + "\n…\n".encode() + tail
    text = data.decode("utf-8", "replace")
    return _CODES.sub("", text) if "\x1b" in text or "\r" in text else text
