"""Lines added and removed by file, over a whole history.

This is git's one truly slow question (more than a millisecond a commit), and its answer for a
commit never changes: so it is computed newest first by one thread, and kept by commit id (and
folder, where only a part of the repository may be shown). The commits at which a shallow clone
ends are neither counted nor kept: there they look as if they had added every file.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from rlm_mcp.confine import is_denied
from rlm_mcp.errors import RlmError
from rlm_mcp.files import private_file
from rlm_mcp.git.command import RENAME_FLAGS

if TYPE_CHECKING:
    from rlm_mcp.git.command import GitCommand

BATCH_COMMITS = 200
_HEAD = re.compile(rb"\x1e([0-9a-f]{40,64})")
_SCHEMA = """
create table if not exists commits(id integer primary key, name text unique);
create table if not exists files(
    commit_id integer, path blob, added integer, removed integer, was blob
);
create index if not exists by_commit on files(commit_id);
"""

NumstatRow = tuple[str, int, int, str]
"""A path, lines added, lines removed, and the path before where it was renamed."""


class FileChurn(TypedDict):
    """A file under its present name."""

    path: str
    commits: int
    added: int
    removed: int


class ChurnTable(TypedDict):
    """Files by changed lines; `total` counts all files, `commits` those that were counted."""

    files: list[FileChurn]
    total: int
    commits: int
    note: str


class ChurnCounter:
    """The changes of some commits, newest first. Safe from several threads."""

    def __init__(self, git: GitCommand, commits: Sequence[str], cache: Path) -> None:
        self._git, self._scope = git, f":{git.prefix}" if git.prefix else ""
        self._commits = commits
        self._shallow_ends: frozenset[str] = frozenset()
        self._path = cache / "numstat-3.sqlite"
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._done = False
        self._stop = False
        self._failure = ""

    def stop_counting(self) -> None:
        """End the work in the background after the batch that it is at."""
        self._stop = True

    def close(self) -> None:
        self.stop_counting()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def churned_files(self, path: str, limit: int, wait_s: float) -> ChurnTable:
        """Return files by how many lines changed, and over how many of the commits."""
        self._await_counting(wait_s)
        base = self._open_cache()
        try:
            names = {
                f"{commit}{self._scope}": number for number, commit in enumerate(self._commits)
            }
            known = _counted_commits(base, names)
            totals = _sum_by_file(base, [known[number] for number in sorted(known)])
        finally:
            base.close()
        below = path.rstrip("/") + "/"
        rows = [
            FileChurn(path=name, commits=commits, added=added, removed=removed)
            for name, (commits, added, removed) in totals.items()
            if (not path or name == path or name.startswith(below)) and not is_denied(name)
        ]
        rows.sort(key=lambda row: (-row["added"] - row["removed"], row["path"]))
        counted, every = len(known), len(self._commits)
        note = self._failure
        if counted < every - len(self._shallow_ends) and not note:
            note = f"Counted over the newest {counted:,} of {every:,} commits; ask again for more."
        elif self._shallow_ends and not note:
            note = (
                f"Left out where the shallow clone ends: {len(self._shallow_ends):,} "
                f"of {every:,} commits."
            )
        shown = rows[: max(0, limit)]
        return ChurnTable(files=shown, total=len(rows), commits=counted, note=note)

    def _await_counting(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._count_commits, name="numstat", daemon=True
                )
                self._thread.start()
            while not self._done and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def _count_commits(self) -> None:
        try:
            self._shallow_ends = self._git.shallow_commits() & frozenset(self._commits)
            base = self._open_cache()
            try:
                for start in range(0, len(self._commits), BATCH_COMMITS):
                    some = [
                        commit
                        for commit in self._commits[start : start + BATCH_COMMITS]
                        if commit not in self._shallow_ends
                    ]
                    missing = _uncounted_commits(base, some, self._scope)
                    if self._stop:
                        return
                    if missing:
                        found = list(read_numstat(self._git, missing))
                        _store_counts(
                            base, [(f"{name}{self._scope}", rows) for name, rows in found]
                        )
            finally:
                base.close()
        except (RlmError, OSError, sqlite3.Error) as error:
            self._failure = str(error)
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()

    def _open_cache(self) -> sqlite3.Connection:
        base = sqlite3.connect(private_file(self._path), timeout=30)
        base.execute("pragma journal_mode = wal")
        base.execute("pragma synchronous = off")
        base.executescript(_SCHEMA)
        return base


def read_numstat(git: GitCommand, commits: Sequence[str]) -> Iterator[tuple[str, list[NumstatRow]]]:
    """Give (commit, [(path, lines added, lines removed, path before)]); a binary counts as 0."""
    arguments = ["log", "--no-walk=unsorted", "--stdin", "--format=%x1e%H", "--numstat", "-z"]
    arguments += [*RENAME_FLAGS, "--no-ext-diff", "--no-textconv", "--no-notes"]
    if git.prefix:
        arguments.append("--relative")
    out = git.read_output(*arguments, stdin="\n".join(commits).encode() + b"\n", timeout_s=600)
    commit, rows = "", list[NumstatRow]()
    records = iter(out.split(b"\0"))
    for record in records:
        # A path stands behind its counts, so no name of a file looks like the head of a commit.
        if head := _HEAD.fullmatch(record.strip(b"\n")):
            if commit:
                yield commit, rows
            commit, rows = head[1].decode(), []
            continue
        added, _, rest = record.lstrip(b"\n").partition(b"\t")
        removed, tab, path = rest.partition(b"\t")
        if tab:
            counts = [int(count) if count.isdigit() else 0 for count in (added, removed)]
            was = b"" if path else next(records, b"")  # of a rename both paths stand behind it
            now = path or next(records, b"")
            rows.append((os.fsdecode(now), counts[0], counts[1], os.fsdecode(was)))
    if commit:
        yield commit, rows


def _counted_commits(base: sqlite3.Connection, names: Mapping[str, int]) -> dict[int, int]:
    """Return the ids of the commits that are counted, by their numbers."""
    found = {}
    every = list(names)
    for start in range(0, len(every), 500):
        some = every[start : start + 500]
        marks = ",".join("?" * len(some))
        rows = base.execute(f"select name, id from commits where name in ({marks})", some)
        found.update({names[name]: number for name, number in rows})
    return found


def _sum_by_file(base: sqlite3.Connection, ids: Sequence[int]) -> dict[str, list[int]]:
    """Sum up commits, newest first, under the names that files have now."""
    totals: dict[str, list[int]] = {}
    present: dict[bytes, bytes] = {}
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        marks = ",".join("?" * len(some))
        sql = f"select commit_id, path, added, removed, was from files where commit_id in ({marks})"
        rows: dict[int, list[tuple[bytes, int, int, bytes]]] = {number: [] for number in some}
        for number, *row in base.execute(sql, some):
            rows[number].append(tuple(row))
        for number in some:
            before: dict[bytes, bytes] = {}
            for path, added, removed, was in rows[number]:
                name = present.get(path, path)
                if was:
                    before[was] = name
                total = totals.setdefault(os.fsdecode(name), [0, 0, 0])
                total[0] += 1
                total[1] += added
                total[2] += removed
            present.update(before)
    return totals


def _uncounted_commits(base: sqlite3.Connection, commits: Sequence[str], scope: str) -> list[str]:
    marks = ",".join("?" * len(commits))
    names = [f"{commit}{scope}" for commit in commits]
    rows = base.execute(f"select name from commits where name in ({marks})", names)
    known = {name for (name,) in rows}
    return [commit for commit in commits if f"{commit}{scope}" not in known]


def _store_counts(base: sqlite3.Connection, found: list[tuple[str, list[NumstatRow]]]) -> None:
    with base:
        for commit, rows in found:
            done = base.execute("insert or ignore into commits(name) values(?)", (commit,))
            if done.rowcount:
                base.executemany(
                    "insert into files values(?, ?, ?, ?, ?)",
                    [
                        (done.lastrowid, os.fsencode(path), added, removed, os.fsencode(was))
                        for path, added, removed, was in rows
                    ],
                )
