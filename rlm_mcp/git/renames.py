"""Follow a file through its renames: the commits that touched it, and its name in each.

git says that a commit renamed a file where most of its text came back under the new name. A
folder is not followed. Where the older name may not be shown, the trail ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from rlm_mcp.confine import is_denied
from rlm_mcp.git import commits
from rlm_mcp.git.command import Git
from rlm_mcp.git.commits import Commit

DETECT = ("-M", "-l2000")
"""Flags that have git look for renames, whatever the repository's configuration says."""
_HEAD = re.compile(rb"\x1e([0-9a-f]{40,64})")


class Step(NamedTuple):
    """A commit that touched a file, and what the file was called after it."""

    commit: str
    path: str


def follow(git: Git, rev: str, path: str, limit: int = 0) -> list[Step]:
    """Return the commits up to `rev` (an id) that touched a file or folder, newest first."""
    arguments = ["log", "--format=%x1e%H", "--name-status", "-z", *DETECT, "--no-ext-diff"]
    if limit:
        arguments.append(f"--max-count={limit}")
    entry = commits.tree_entry(git, rev, path) if path.strip("/") else None
    if entry is None or entry.kind != "tree":
        arguments.append("--follow")
    out = git.run("--literal-pathspecs", *arguments, rev, "--", path)
    steps = []
    name = path
    for commit, old in _read(out):
        steps.append(Step(commit, name))
        if old is not None:
            if is_denied(old) or not old.startswith(git.prefix):
                break
            name = old.removeprefix(git.prefix)
    return steps


def commits_of(git: Git, steps: Sequence[Step]) -> list[Commit]:
    """Return the commits of some steps, each with the name that the file had then."""
    paths = dict(steps)
    found = commits.named(git, [step.commit for step in steps])
    return [replace(commit, path=paths[commit.commit]) for commit in found]


def names(steps: Sequence[Step], path: str) -> list[str]:
    """Return all names that a file had, its present one first."""
    return list(dict.fromkeys([path, *(step.path for step in steps)]))


def _read(out: bytes) -> Iterator[tuple[str, str | None]]:
    """Give (commit, the name before where it renamed the file), by where each record stands."""
    commit, old = "", None
    records = iter(out.split(b"\0"))
    for record in records:
        if head := _HEAD.fullmatch(record):
            if commit:
                yield commit, old
            commit, old = head[1].decode("ascii"), None
            continue
        status = record.lstrip(b"\n")
        before = next(records, b"") if status else b""
        if status[:1] in (b"R", b"C"):
            next(records, b"")
            old = before.decode("utf-8", "surrogateescape")
    if commit:
        yield commit, old
