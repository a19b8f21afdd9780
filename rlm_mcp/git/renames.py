"""Follow a file through its renames: the commits that touched it, and its name in each.

git says that a commit renamed a file where most of its text came back under the new name. A
folder is not followed. Where the older name may not be shown, the trail ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rlm_mcp.confine import is_denied
from rlm_mcp.git import commits
from rlm_mcp.git.command import RENAME_FLAGS

if TYPE_CHECKING:
    from rlm_mcp.git.command import GitCommand
    from rlm_mcp.git.commits import Commit

_HEAD = re.compile(rb"\x1e([0-9a-f]{40,64})")


class RenameStep(NamedTuple):
    """A commit that touched a file, and what the file was called after it."""

    commit: str
    path: str


def follow_renames(git: GitCommand, rev: str, path: str, limit: int = 0) -> list[RenameStep]:
    """Return the commits up to `rev` (an id) that touched a file or folder, newest first."""
    arguments = ["log", "--format=%x1e%H", "--name-status", "-z", *RENAME_FLAGS, "--no-ext-diff"]
    if limit:
        arguments.append(f"--max-count={limit}")
    entry = commits.tree_entry(git, rev, path) if path.strip("/") else None
    if entry is None or entry.kind != "tree":
        arguments.append("--follow")
    out = git.read_output("--literal-pathspecs", *arguments, rev, "--", path)
    steps = []
    name = path
    for commit, old in _parse_steps(out):
        steps.append(RenameStep(commit, name))
        if old is not None:
            if is_denied(old) or not old.startswith(git.prefix):
                break
            name = old.removeprefix(git.prefix)
    return steps


def step_commits(git: GitCommand, steps: Sequence[RenameStep]) -> list[Commit]:
    """Return the commits of some steps, each with the name that the file had then."""
    paths = dict(steps)
    found = commits.commits_by_id(git, [step.commit for step in steps])
    return [replace(commit, path=paths[commit.commit]) for commit in found]


def _parse_steps(out: bytes) -> Iterator[tuple[str, str | None]]:
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
