"""What was done: commands, errors and what fixed them, files, commits, usage.

Everything is read off calls and their results on the live branch; a list of this file is exact
where the format records what it needs (see a reader's `limits`).
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import sqlite3
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath, PureWindowsPath
from sys import intern
from typing import Any

from rlm_mcp.sessions.view import TranscriptView, block_turn_rows


def display_path(view: TranscriptView, path: str, cwd: str) -> str:
    """Return a path as seen from the folder in which the session began, absolute outside of it.

    `cwd` is where the call was made: a session may change its folder, or go on in another one.
    """
    folder = view.memoize("folder", lambda: _start_folder(view))
    if cwd.startswith("/") and cwd != folder and not path.startswith("/"):
        path = posixpath.normpath(posixpath.join(cwd, path))
    return relative_path(path, folder or cwd or common_root(view))


def _start_folder(view: TranscriptView) -> str:
    """Return the folder in which the session began, where its format tells one."""
    rows = view.index.query_rows("SELECT cwd FROM turns WHERE doc=1 AND cwd!='' ORDER BY n LIMIT 1")
    return str(rows[0]["cwd"]) if rows else ""


def common_root(view: TranscriptView) -> str:
    """Return the folder that all named files lie in, for formats that do not say where they were.

    Empty unless the files below it are in several folders: else it may be too deep.
    """
    return view.memoize("root", lambda: _find_root(view))


def _find_root(view: TranscriptView) -> str:
    paths = [
        PurePosixPath(path)
        for row in view.index.query_rows("SELECT data FROM blocks WHERE doc=1 AND data LIKE '[[%'")
        for path, *_ in json.loads(row["data"])
        if path.startswith("/")
    ]
    if not paths:
        return ""
    shared = PurePosixPath(os.path.commonpath([path.parent for path in paths]))
    below = {path.relative_to(shared).parts[0] for path in paths}
    return str(shared) if len(below) > 1 and len(shared.parts) > 2 else ""


@lru_cache(maxsize=10_000)
def relative_path(path: str, cwd: str) -> str:
    """Return a path as seen from a folder."""
    for kind in (PurePosixPath, PureWindowsPath) if "\\" in path else (PurePosixPath,):
        try:
            return kind(path).relative_to(cwd).as_posix() if cwd else path
        except ValueError:
            continue
    return path.removeprefix("./")


_FAILED = re.compile(
    r"\b[1-9]\d* (?:failed|errors?)\b(?! in 0)|^Traceback \(most recent call last\)|^FAILED\b"
    r"|^E   \w|\bcommand not found\b|^(?:fatal|error|ERROR)[:\[]|^npm ERR!|^panic:|\bError: "
    r"|^\w+(?:\.\w+)*(?:Error|Exception)\b",
    re.MULTILINE,
)
_ERROR_LINES = (
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
TEST_COMMAND = re.compile(
    r"\b(?:pytest|py\.test|jest|vitest|mocha|go test|cargo (?:test|nextest)|(?:npm|pnpm|yarn)"
    r"(?: run)? test|make (?:test|check)|unittest|rspec|mvn\b.*\btest|gradlew?\b.*\btest|tox|ctest"
    r"|phpunit|dotnet test|rake test|bun test)\b"
)
"""Commands that run tests."""

_COMMIT = re.compile(r"^\[([^\s\]]+)(?: \([^)]*\))? ([0-9a-f]{7,40})\] (.*)$", re.MULTILINE)
_AIDER_COMMIT = re.compile(r"^Commit ([0-9a-f]{7,40}) (.*)$", re.MULTILINE)
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\r(?=\n)")
"""What colours a terminal, and ends of lines."""
_SHOWN_BYTES = 4_000
_TAIL_CHARS = 1_000
"""Characters that are kept of a good run's output: its result stands at the end."""


@dataclass(frozen=True, slots=True)
class ShellCall:
    """A shell command as it was called."""

    call: str
    command: str
    turn: int
    ref: str
    at: str


@dataclass(frozen=True, slots=True)
class ShellResult:
    """How it ended; `off` and `len` say where its output stands in the packed text."""

    call: str
    ref: str
    exit_code: int | None
    status: str
    view: TranscriptView
    off: int
    len: int


@dataclass(slots=True)
class ShellCommand:
    """One command that ran: its call, and its result where one is recorded."""

    started: ShellCall
    ended: ShellResult | None = None

    @property
    def command(self) -> str:
        return self.started.command

    @property
    def turn(self) -> int:
        return self.started.turn

    @property
    def call_ref(self) -> str:
        return self.started.ref

    @property
    def at(self) -> str:
        return self.started.at

    @property
    def result_ref(self) -> str:
        return self.ended.ref if self.ended else ""

    @property
    def status(self) -> str:
        return self.ended.status if self.ended else ""

    @property
    def exit_code(self) -> int | None:
        return self.ended.exit_code if self.ended else None

    @property
    def output_text(self) -> str:
        """The start and the end of its output, of a good run the end alone; read when asked."""
        if self.ended is None:
            return ""
        text = _output_ends(self.ended.view, self.ended.off, self.ended.len)
        return text[-_TAIL_CHARS:] if self.status == "ok" else text


@dataclass(slots=True)
class TouchedFile:
    """A file and what was done to it."""

    path: str
    ops: list[tuple[str, str, int]] = field(default_factory=list)
    """(operation, ref, turn), in order."""


def shell_commands(view: TranscriptView, doc: int = 1) -> list[ShellCommand]:
    """Return the shell commands of the live branch, each with its outcome, in order."""
    return view.memoize(("runs", doc), lambda: _pair_results(view, doc))


def _pair_results(view: TranscriptView, doc: int) -> list[ShellCommand]:
    found: list[ShellCommand] = []
    waiting: dict[str, ShellCommand] = {}
    where = "b.kind='shell' AND b.type IN ('call', 'result')"
    columns = "b.doc, b.type, b.call, b.arg, b.exit, b.status, b.off, b.len, t.ts"
    parts = view.block_cache.map_blocks(
        "runs", where, lambda row: (_command_part(view, row),), columns=columns, doc=doc
    )
    for part in parts:
        if isinstance(part, ShellCall):
            run = ShellCommand(part)
            found.append(run)
            waiting[part.call] = run
        elif known := waiting.get(part.call):
            known.ended = part
    return found


def _command_part(view: TranscriptView, row: sqlite3.Row) -> ShellCall | ShellResult:
    """Return what one block tells of a run."""
    ref = view.block_ref(row)
    if row["type"] == "call":
        command = row["arg"] or _first_line(view, row)
        return ShellCall(intern(row["call"]), command, row["n"], ref, row["ts"])
    off, size = row["off"], row["len"]
    failed = not row["status"] and _FAILED.search(_output_ends(view, off, size))
    status = row["status"] or ("error" if failed else "ok")
    return ShellResult(intern(row["call"]), ref, row["exit"], status, view, off, size)


def commands(view: TranscriptView) -> list[dict[str, Any]]:
    """Return each distinct command with its counts, exit codes and last good invocation."""
    table: dict[str, dict[str, Any]] = {}
    for run in shell_commands(view):
        entry = table.setdefault(
            run.command,
            {"command": run.command, "count": 0, "ok": 0, "failed": 0, "exit_codes": [],
             "first": run.call_ref, "last": "", "last_status": "", "last_good": ""},
        )  # fmt: skip
        entry["count"] += 1
        entry["ok"] += run.status == "ok"
        entry["failed"] += run.status == "error"
        if run.exit_code is not None and run.exit_code not in entry["exit_codes"]:
            entry["exit_codes"].append(run.exit_code)
        entry["last"], entry["last_status"] = run.result_ref or run.call_ref, run.status
        if run.status == "ok":
            entry["last_good"] = run.call_ref
    return list(table.values())


def errors(view: TranscriptView) -> list[dict[str, Any]]:
    """Return the failures: signature, first place, tries, and what fixed each, if anything did."""
    changes = _file_changes(view)
    places = [change[0] for change in changes]
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for run, again, fix in _next_tries(shell_commands(view)):
        if run.status != "error":
            continue
        sign = error_signature(run.output_text)
        entry = found.setdefault(
            (run.command, sign),
            {"error": sign, "command": run.command, "first": run.result_ref, "count": 0,
             "tests": [], "tries": [], "fixed_by": [], "fixed_at": ""},
        )  # fmt: skip
        entry["count"] += 1
        entry["tests"] = sorted({*entry["tests"], *failing_tests(run.output_text)})
        # One reply may hold many calls: what counts is the order of the blocks.
        until = bisect_right(places, _ref_order(again.call_ref)) if again else len(places)
        tried = [
            {"file": file, "op": op, "ref": ref}
            for _, ref, file, op in changes[bisect_right(places, _ref_order(run.call_ref)) : until]
        ]
        if again is None or again.status == "error":
            entry["tries"] += tried
        else:
            entry["fixed_by"] = tried
        entry["fixed_at"] = fix.result_ref if fix else ""
    return [*found.values(), *_other_errors(view)]


def _next_tries(
    every: list[ShellCommand],
) -> list[tuple[ShellCommand, ShellCommand | None, ShellCommand | None]]:
    """Return each run with the next one of its command, and with the next good one."""
    found: list[tuple[ShellCommand, ShellCommand | None, ShellCommand | None]] = []
    later: dict[tuple[str, ...], tuple[ShellCommand, ShellCommand | None]] = {}
    for run in reversed(every):
        command = tuple(run.command.split())
        again, fix = later.get(command, (None, None))
        found.append((run, again, fix))
        later[command] = (run, run if run.status == "ok" else fix)
    return found[::-1]


def failing_tests(text: str) -> list[str]:
    """Return the names of failing tests that an output tells."""
    return [next(filter(None, match.groups())) for match in _TESTS.finditer(text)]


def error_signature(text: str) -> str:
    """Return the line of an output that says best what went wrong."""
    text = text.replace("\nError: (none)\n", "\n")
    for pattern in _ERROR_LINES:
        found = pattern.findall(text)
        if found:
            return str(found[-1]).strip()[:300]
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    return line.strip()[:300]


def touched_files(
    view: TranscriptView, *, live: bool = True, reads: bool = False
) -> list[TouchedFile]:
    """Return the files that calls changed (or read), those of failed calls left out."""
    return view.memoize(
        ("files", live, reads), lambda: _group_operations(view, live=live, reads=reads)
    )


def _group_operations(view: TranscriptView, *, live: bool, reads: bool) -> list[TouchedFile]:
    refused = failed_calls(view)
    table: dict[str, TouchedFile] = {}
    for named in file_operations(view, live=live):
        if named.call in refused or (named.op == "read" and not reads):
            continue
        name = display_path(view, named.path, named.cwd)
        table.setdefault(name, TouchedFile(name)).ops.append((named.op, named.ref, named.turn))
    return list(table.values())


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a call named, and what the call was to do to it."""

    path: str
    op: str
    call: str
    ref: str
    turn: int
    cwd: str


def file_operations(view: TranscriptView, *, doc: int = 1, live: bool = True) -> list[NamedFile]:
    """Return what calls of a thread were to do to files, also those that failed, in order."""

    def named_files(row: sqlite3.Row) -> Iterator[NamedFile]:
        call, cwd, ref = intern(row["call"]), intern(row["cwd"]), view.block_ref(row)
        for path, op in json.loads(row["data"]):
            yield NamedFile(intern(path), intern(op), call, ref, row["n"], cwd)

    where = "b.type='call' AND b.data!='' AND b.kind!='plan'"
    columns = "b.doc, b.call, b.data, t.cwd"
    return view.memoize(
        ("operations", doc, live),
        lambda: view.block_cache.map_blocks(
            "operations", where, named_files, columns=columns, doc=doc, live=live
        ),
    )


def failed_calls(view: TranscriptView) -> set[str]:
    """Return the calls that failed or that a person refused."""
    return {
        row["call"]
        for row in view.index.query_rows(
            "SELECT call FROM blocks WHERE doc=1 AND type='result' AND call!='' "
            "AND status IN ('error', 'denied', 'cancelled')"
        )
    }


def recorded_commits(view: TranscriptView) -> list[dict[str, Any]]:
    """Return the commits that the session made, with the turn of each."""
    found = []
    for run in shell_commands(view):
        for match in _COMMIT.finditer(run.output_text) if "commit" in run.command else ():
            found.append(
                {"commit": match[2], "branch": match[1], "subject": match[3], "turn": run.turn,
                 "ref": run.result_ref, "at": run.at}
            )  # fmt: skip
    found += view.block_cache.map_blocks(
        "noted commits", "b.type='notice'", lambda row: _noted_commits(view, row)
    )
    return found


def _noted_commits(view: TranscriptView, row: sqlite3.Row) -> Iterator[dict[str, Any]]:
    """Yield the commits of which a notice of the agent tells."""
    for match in _AIDER_COMMIT.finditer(view.block_text(row)):
        yield {
            "commit": match[1], "branch": "", "subject": match[2].strip(), "turn": row["n"],
            "ref": view.block_ref(row), "at": row["ts"],
        }  # fmt: skip


def usage(view: TranscriptView) -> dict[str, Any]:
    """Return the tokens of all threads, each reply counted once, by model."""
    models: dict[str, dict[str, int]] = {}
    columns = ("input", "cache_read", "cache_write", "output")
    for row in view.index.query_rows(
        "SELECT model, input, cache_read, cache_write, output, usage_key FROM turns "
        "WHERE role='assistant'"
    ):
        used = models.setdefault(row["model"] or "unknown", dict.fromkeys(("replies", *columns), 0))
        used["replies"] += 1
        for name in columns:
            used[name] += row[name]
    everything = {name: sum(used[name] for used in models.values()) for name in columns}
    return {**everything, "models": models}


def _file_changes(view: TranscriptView) -> list[tuple[tuple[int, int], str, str, str]]:
    """Return every change of a file in order: (place, ref, file, operation)."""
    found = [
        (_ref_order(ref), ref, file.path, op)
        for file in touched_files(view)
        for op, ref, _ in file.ops
    ]
    return sorted(found, key=lambda item: item[:2])


def _ref_order(ref: str) -> tuple[int, int]:
    """Return the turn and the block that a ref of a block names."""
    turn, _, block = ref.rpartition("#")[2].partition(".")
    return int(turn), int(block)


def _other_errors(view: TranscriptView) -> Iterator[dict[str, Any]]:
    """Yield failed calls of other tools than the shell."""
    where = "b.doc=1 AND t.live=1 AND b.type='result' AND b.kind!='shell' AND b.status='error'"
    for row in block_turn_rows(view, where):
        text = _output_ends(view, row["off"], row["len"])
        yield {
            "error": error_signature(text),
            "command": row["name"],
            "first": view.block_ref(row),
            "count": 1,
            "tests": [],
            "tries": [],
            "fixed_by": [],
            "fixed_at": "",
        }


def _first_line(view: TranscriptView, row: sqlite3.Row) -> str:
    return view.block_text(row).partition("\n")[0].removeprefix("command: ")


def _output_ends(view: TranscriptView, off: int, size: int) -> str:
    """Return a block's text without a terminal's colours, of a long one its start and end."""
    if size <= 2 * _SHOWN_BYTES:
        data = view.index.packed_bytes(off, size)
    else:
        head, tail = (
            view.index.packed_bytes(off, _SHOWN_BYTES),
            view.index.packed_bytes(off + size - _SHOWN_BYTES, _SHOWN_BYTES),
        )
        data = head + "\n…\n".encode() + tail
    text = data.decode("utf-8", "replace")
    return _TERMINAL_CODES.sub("", text) if "\x1b" in text or "\r" in text else text


_TASK = re.compile(r"^Task #(\d+) created")


def tasks(view: TranscriptView) -> list[dict[str, Any]]:
    """Return the last state of the task list, with the places that opened and closed each item."""
    items: dict[str, dict[str, Any]] = {}
    refused, numbers = failed_calls(view), _task_numbers(view)
    for row in block_turn_rows(view, "b.doc=1 AND t.live=1 AND b.type='call' AND b.kind='plan'"):
        if not row["data"] or row["call"] in refused:
            continue
        ref, listed = view.block_ref(row), json.loads(row["data"])
        single = row["name"].lower() in ("taskcreate", "taskupdate")
        now = {}
        for text, status, key in listed:
            key = key or numbers.get(row["call"], "")
            name = _known_name(items, text, key) if single else text
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


def _task_numbers(view: TranscriptView) -> dict[str, str]:
    """Return the number that each call which creates one task was told, by call."""
    found = {}
    for row in block_turn_rows(
        view, "b.doc=1 AND b.type='result' AND b.kind='plan' AND b.len<2000"
    ):
        if row["call"] and (match := _TASK.search(view.block_text(row))):
            found[row["call"]] = match[1]
    return found


def _known_name(items: dict[str, dict[str, Any]], text: str, key: str) -> str:
    """Return the name under which a task of the one-call-a-task tools is kept."""
    return next((name for name, item in items.items() if key and item["key"] == key), text)
