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

_RENAMED = re.compile(rb"[RC][0-9]+")
_HEAD = re.compile(rb"\x1e([0-9a-f]{40,64})")


class RenameStep(NamedTuple):
    """A commit that touched a file, and what the file was called after it."""

    commit: str
    path: str


def follow_renames(git: GitCommand, rev: str, path: str, limit: int = 0) -> list[RenameStep]:
    """Return the commits up to `rev` (an id) that touched a file or folder, newest first.

    A merge is one of them where its version differs from those of all its parents.
    """
    arguments = ["log", "--format=%x1e%H", "--name-status", "-z", "-c", *RENAME_FLAGS]
    entry = commits.tree_entry(git, rev, path) if path.strip("/") else None
    if entry is None or entry.kind != "tree":
        arguments.append("--follow")
    out = git.read_output("--literal-pathspecs", *arguments, "--no-ext-diff", rev, "--", path)
    steps: list[RenameStep] = []
    name = path
    for commit, old in _parse_steps(out):
        if limit and len(steps) >= limit:
            break
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
    commit, old, touched = "", None, False
    records = iter(out.split(b"\0"))
    for record in records:
        if head := _HEAD.fullmatch(record):
            if touched:
                yield commit, old
            commit, old, touched = head[1].decode("ascii"), None, False
            continue
        status = record.lstrip(b"\n")
        before = next(records, b"") if status else b""
        touched |= bool(status)
        if _RENAMED.fullmatch(status):  # of a merge it has a letter a parent, and one name
            next(records, b"")
            old = before.decode("utf-8", "surrogateescape")
    if touched:
        yield commit, old
