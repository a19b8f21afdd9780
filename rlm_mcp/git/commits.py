"""What git knows, as plain values: commits, blame, status, a tree's entries.

All of it goes through `plumbing`, in bulk and with NUL-separated output, so that no name or
message can be taken for structure.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, ClassVar, TypedDict

from rlm_mcp.confine import is_denied
from rlm_mcp.errors import BadRequest, Denied
from rlm_mcp.git.command import PATCH_FLAGS, GitCommand

COMMIT_FORMAT = "%H%x00%P%x00%an%x00%ae%x00%aI%x00%B%x00%x1f"
"""The format of a commit: what `parse` reads, up to the last NUL."""
MAX_MESSAGE_CHARS = 64 << 10
MAX_COMMIT_FILES = 500
"""Files of a commit above which it says nothing about what belongs together."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit; `date` is the author's, ISO 8601 with its zone.

    `path` is what the file that was asked for was called then.
    """

    commit: str
    parents: tuple[str, ...]
    author: str
    email: str
    date: str
    message: str
    path: str = ""
    SHORT_ID_DIGITS: ClassVar[int] = 12
    """Hexadecimal digits of a commit in a ref."""

    @property
    def short_id(self) -> str:
        return self.commit[: self.SHORT_ID_DIGITS]

    @property
    def subject(self) -> str:
        return self.message.split("\n", 1)[0]

    @property
    def log_text(self) -> str:
        """Return the header and the message as `git log` shows them."""
        lines = [f"commit {self.commit}"]
        if len(self.parents) > 1:
            lines.append("Merge: " + " ".join(parent[:12] for parent in self.parents))
        lines += [f"Author: {self.author} <{self.email}>", f"Date:   {self.date}", ""]
        lines += [f"    {line}".rstrip() for line in self.message.rstrip("\n").split("\n")]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class BlamedLine:
    """One line, and the commit that last changed it (empty: not committed yet)."""

    line: int
    commit: str
    author: str
    date: str
    summary: str
    text: str


class CommitAuthor(TypedDict):
    """Who wrote commits; `first` and `last` are days, `ref` is the last commit."""

    author: str
    emails: list[str]
    commits: int
    first: str
    last: str
    ref: str


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """An entry of a tree: mode (120000 a link, 160000 a submodule), kind, id, size."""

    mode: str
    kind: str
    blob: str
    size: int


def stream_commits(git: GitCommand, revs: Sequence[str], limit: int = 0) -> Iterator[Commit]:
    """Give commits one by one; memory stays bounded however long the history is."""
    arguments = [*_LOG_COMMAND]
    if limit:
        arguments.append(f"--max-count={limit}")
    where = ["--", "."] if git.folder != git.top else ["--"]
    with git.stream_output(
        "--literal-pathspecs", *arguments, "--end-of-options", *revs, *where
    ) as out:
        yield from _parse_stream(out)


def commits_by_id(git: GitCommand, ids: Sequence[str]) -> Iterator[Commit]:
    """Give the commits of these ids, in their order."""
    if not ids:
        return
    text = "\n".join(ids).encode() + b"\n"
    with git.stream_output(*_LOG_COMMAND, "--no-walk=unsorted", "--stdin", stdin=text) as out:
        yield from _parse_stream(out)


_LOG_COMMAND = ("log", f"--format={COMMIT_FORMAT}", "--no-notes", "--encoding=UTF-8")


def _parse_stream(out: IO[bytes]) -> Iterator[Commit]:
    for record in _log_records(out):
        if (commit := parse_commit(record)) is not None:
            yield commit


def _log_records(out: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while block := out.read(1 << 20):
        *whole, rest = (rest + block).split(b"\0\x1f\n")
        yield from whole
    if rest.strip(b"\0\x1f\n"):
        yield rest.removesuffix(b"\0\x1f")


def parse_commit(record: bytes) -> Commit | None:
    """Return the commit that git wrote as FIELDS, or None for anything else."""
    fields = record.decode("utf-8", "replace").split("\0", 5)
    if len(fields) != 6:
        return None
    commit, parents, author, email, date, message = fields
    message = message[:MAX_MESSAGE_CHARS].strip("\n")
    return Commit(commit, tuple(parents.split()), author, email, date, message)


def count_authors(name: str, found: Sequence[Commit]) -> list[CommitAuthor]:
    """Return who wrote commits (newest first), those with most first; a name is one author."""
    mine: dict[str, list[Commit]] = {}
    for commit in found:
        mine.setdefault(commit.author.strip().lower() or commit.email.lower(), []).append(commit)
    most = sorted(mine.values(), key=lambda own: (-len(own), own[0].author))
    return [
        CommitAuthor(
            author=own[0].author or own[0].email,
            emails=sorted({commit.email for commit in own})[:5],
            commits=len(own),
            first=min(commit.date for commit in own)[:10],
            last=max(commit.date for commit in own)[:10],
            ref=f"{name}:{own[0].short_id}",
        )
        for own in most
    ]


def read_status(git: GitCommand) -> list[dict[str, str]]:
    """Return the paths that differ from the last commit, with git's two letters for how."""
    out = git.read_output(
        *git.no_filter_flags(), "status", "--porcelain=v1", "-z", "--untracked-files=all",
        "--ignore-submodules=all", "--no-renames", "--", ".",
    )  # fmt: skip
    changes = []
    for record in out.split(b"\0"):
        if len(record) > 3:
            text = record.decode("utf-8", "surrogateescape")
            changes.append({"path": text[3:], "status": text[:2].strip()})
    return changes


def blame_lines(git: GitCommand, path: str, start: int, end: int, rev: str) -> list[BlamedLine]:
    """Return the last change of each line; with no `rev`, of the working file.

    Raises BadRequest for lines outside the file, Unavailable for a path git does not know,
    Denied where the repository's configuration has git read a file that may not be shown.
    """
    if start < 1 or (end and end < start):
        raise BadRequest("blame: lines count from 1 and the end is not before the start.")
    _check_ignore_revs(git)
    arguments = [
        *git.no_filter_flags(),
        "blame",
        "--no-textconv",
        "--line-porcelain",
    ]
    if start > 1 or end:
        arguments.append(f"-L{start},{end or ''}")
    if rev or git.top is None:
        arguments.append(rev or "HEAD")
    out = git.read_output(*arguments, "--", path, timeout_s=120)
    return list(_parse_blame(out))


def _check_ignore_revs(git: GitCommand) -> None:
    """Raise Denied where a list of commits to pass over is no file that may be shown.

    git reads every list that is configured, whatever a later setting says, and its complaint
    quotes what it does not understand.
    """
    out = git.read_output("config", "-z", "--path", "--get-all", "blame.ignoreRevsFile", ok=(0, 1))
    for name in filter(None, map(os.fsdecode, out.split(b"\0"))):
        path = Path(os.path.realpath((git.top or git.git_dir) / name))
        inside = path.is_relative_to(os.path.realpath(git.folder))
        if not inside or not path.is_file() or is_denied(name) or is_denied(path.name):
            raise Denied(
                "blame is not run: blame.ignoreRevsFile in the repository's configuration names "
                f"{name!r}, which is no file that may be shown; unset it there."
            )


def _parse_blame(out: bytes) -> Iterator[BlamedLine]:
    number, commit = 0, ""
    facts: dict[str, str] = {}
    for raw in out.split(b"\n"):
        if raw.startswith(b"\t"):
            known = commit.strip("0") != ""
            yield BlamedLine(
                number,
                commit if known else "",
                facts.get("author", "") if known else "",
                _utc_day(facts.get("author-time", "")),
                facts.get("summary", "") if known else "not committed yet",
                raw[1:].decode("utf-8", "replace"),
            )
            facts = {}
        elif not facts and raw[:40].isalnum() and raw.count(b" ") >= 2:
            commit, _, number_text = raw.decode("ascii").split(" ")[:3]
            number, facts = int(number_text), {"": ""}
        else:
            key, _, value = raw.decode("utf-8", "replace").partition(" ")
            facts[key] = value


def _utc_day(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds or 0), UTC).date().isoformat() if seconds else ""


def tree_entry(git: GitCommand, commit: str, path: str) -> TreeEntry | None:
    """Return what `path` (relative to the git's folder) is in a commit, or None."""
    name = path.rstrip("/")
    if not name or name.startswith("/") or ".." in name.split("/"):
        raise BadRequest(f"{path!r} leaves the repository; its paths are relative to its top.")
    out = git.read_output("--literal-pathspecs", "ls-tree", "-z", "-l", commit, "--", name)
    for record in out.split(b"\0"):
        head, tab, found = record.partition(b"\t")
        if tab and found.decode("utf-8", "surrogateescape") == name:
            mode, kind, blob, size = head.decode("ascii").split()
            return TreeEntry(mode, kind, blob, int(size) if size.isdigit() else 0)
    return None


class CoChangedFile(TypedDict):
    """A file that changed with another: in how many commits, and in what share of the other's."""

    path: str
    commits: int
    share: float


def co_changed_files(
    git: GitCommand, ids: Sequence[str], own: Collection[str]
) -> list[CoChangedFile]:
    """Return the files that changed in some commits beside `own` names, most often first."""
    if not ids:
        return []
    arguments = ["log", "--no-walk=unsorted", "--stdin", "--format=%x1e%H", "--raw", "-z"]
    arguments += ["--no-renames", *PATCH_FLAGS]
    if git.prefix:
        arguments.append("--relative")
    out = git.read_output(*arguments, stdin="\n".join(ids).encode() + b"\n")
    counts: Counter[str] = Counter()
    changes = 0
    for names in _changed_paths(out):
        changes += 1
        if len(names) <= MAX_COMMIT_FILES:
            counts.update(name for name in names.difference(own) if not is_denied(name))
    return [
        CoChangedFile(path=name, commits=count, share=round(count / changes, 3))
        for name, count in counts.most_common()
    ]


def _changed_paths(out: bytes) -> Iterator[set[str]]:
    """Give the paths of each commit from `--raw -z`: a path is what follows a line of facts.

    So no name of a file can be taken for the head of a commit.
    """
    names: set[str] | None = None
    records = iter(out.split(b"\0"))
    for record in records:
        record = record.lstrip(b"\n")
        if record.startswith(b":"):
            path = next(records, b"").decode("utf-8", "surrogateescape")
            if names is not None:
                names.add(path)
        elif record.startswith(b"\x1e"):
            if names is not None:
                yield names
            names = set()
    if names is not None:
        yield names
