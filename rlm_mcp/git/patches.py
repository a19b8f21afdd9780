"""Commits with their patches, streamed: whatever the length of a history, memory stays bounded.

Files that hold secrets by their name are left out of every patch, counted and said. A patch that
is very large is cut, and says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from rlm_mcp.confine import is_denied
from rlm_mcp.git.command import PATCH_FLAGS, GitCommand
from rlm_mcp.git.commits import COMMIT_FORMAT, Commit, parse_commit

MAX_PATCH_BYTES = 1 << 20
"""Bytes of one commit's patch that are kept in bulk; opening the commit itself shows more."""
MAX_SINGLE_BYTES = 32 << 20
"""Bytes of a patch that is asked for by itself."""

_MARK = b"\x1e\x00"
_SECTION = re.compile(rb"^diff --(?:git|cc|combined) ([^\n]*)\n", re.M)
_RENAMED = re.compile(rb"^(?:rename|copy) (?:from|to) ([^\n]*)$", re.M)


@dataclass(frozen=True, slots=True)
class CommitPatch:
    """A commit and its patch, secrets left out."""

    commit: Commit
    patch: bytes
    omitted: int
    """Files left out because of their names."""
    cut: bool

    @property
    def document_bytes(self) -> bytes:
        """Return the document: header, message, notes, patch."""
        parts = [self.commit.log_text.encode("utf-8", "replace")]
        if self.omitted:
            parts.append(f"{_omitted_note(self.omitted)}\n".encode())
        if self.patch:
            parts.append(self.patch)
        if self.cut:
            parts.append(b"[the patch is longer; open the commit itself]\n")
        return b"\n".join(parts)


def stream_patches(
    git: GitCommand, revs: list[str], *, secrets: bool, paths: Sequence[str] = (), limit: int = 0
) -> Iterator[CommitPatch]:
    """Give commits with their patches, newest first; nothing waits for the end of the history.

    The patch of a merge is what it has of its own: what differs from all of its parents.
    """
    arguments = [
        "log",
        f"--format=%x1e%x00{COMMIT_FORMAT}",
        "--cc",
        "--no-notes",
        *patch_flags(git),
    ]
    if limit:
        arguments.append(f"--max-count={limit}")
    cap = MAX_SINGLE_BYTES if limit == 1 else MAX_PATCH_BYTES
    with git.stream_output(
        "--literal-pathspecs", *arguments, "--end-of-options", *revs, "--", *paths, timeout_s=3600
    ) as out:
        for record, cut in _split_records(out, cap):
            head, _, patch = record.partition(b"\x00\x1f")
            commit = parse_commit(head)
            if commit is not None:
                kept, omitted = drop_denied_files(patch.lstrip(b"\n"), secrets=secrets)
                yield CommitPatch(commit, kept, omitted, cut)


def diff_commits(git: GitCommand, a: str, b: str, path: str, *, secrets: bool) -> bytes:
    """Return the patch from commit `a` to commit `b`, of one path or of all."""
    return _run_diff(git, [a, b], path, secrets=secrets)


def diff_worktree(git: GitCommand, base: str, path: str, *, staged: bool, secrets: bool) -> bytes:
    """Return the patch from `base` to the working tree, or to what of it is staged.

    Files that git does not track yet are in neither.
    """
    cached = ["--cached"] if staged else []
    return _run_diff(git, ["--ignore-submodules=all", *cached, base], path, secrets=secrets)


def _run_diff(git: GitCommand, what: Sequence[str], path: str, *, secrets: bool) -> bytes:
    where = [path] if path else []
    patch = git.read_output(
        *git.no_filter_flags(),
        "--literal-pathspecs",
        "diff",
        *patch_flags(git),
        *what,
        "--",
        *where,
    )
    kept, omitted = drop_denied_files(patch, secrets=secrets)
    return (f"{_omitted_note(omitted)}\n".encode() if omitted else b"") + kept


def patch_flags(git: GitCommand) -> list[str]:
    """Return the flags that make patches plain, and keep them to what may be shown."""
    return [*PATCH_FLAGS, "--relative"] if git.prefix else [*PATCH_FLAGS]


def drop_denied_files(patch: bytes, *, secrets: bool) -> tuple[bytes, int]:
    """Return a patch without the files that are denied by their names, and how many those were."""
    starts = [match.start() for match in _SECTION.finditer(patch)]
    if secrets or not starts:
        return patch, 0
    kept, omitted = [patch[: starts[0]]], 0
    for start, end in zip(starts, [*starts[1:], len(patch)], strict=True):
        section = patch[start:end]
        if any(map(is_denied, _section_paths(section))):
            omitted += 1
        else:
            kept.append(section)
    return b"".join(kept), omitted


def _section_paths(section: bytes) -> list[str]:
    """Return every path that a section of a patch may be about.

    The line that starts it joins two unquoted paths by a space, so each way to split it counts.
    """
    line = section[: section.find(b"\n")].split(b" ", 2)[2]
    found = [line, *(line[match.end() :] for match in re.finditer(rb" \"?b/", line))]
    found += [line[: match.start()] for match in re.finditer(rb" \"?b/", line)]
    header = section[: section.find(b"\n@@ ")] if b"\n@@ " in section else section[:4096]
    found += [match[1] for match in _RENAMED.finditer(header)]
    texts = [part.decode("utf-8", "replace").strip('"') for part in found]
    return [text.removeprefix("a/").removeprefix("b/") for text in texts]


def _split_records(out: IO[bytes], cap: int) -> Iterator[tuple[bytes, bool]]:
    """Split at marks that stand at the start of a line: no line of a patch can begin with one."""
    mark = b"\n" + _MARK
    record, cut, started = bytearray(), False, False
    rest = b"\n"
    while block := out.read(1 << 20):
        *ended, rest = (rest + block).split(mark)
        for piece in ended:
            cut |= _append_capped(record, piece, cap)
            if started:
                yield bytes(record), cut
            record.clear()
            cut, started = False, True
        cut |= _append_capped(record, rest[:-2], cap)
        rest = rest[-2:]
    cut |= _append_capped(record, rest, cap)
    if started:
        yield bytes(record), cut


def _append_capped(record: bytearray, piece: bytes, cap: int) -> bool:
    """Append to a record up to its cap; say whether something was left out."""
    room = cap - len(record)
    record += piece[: max(0, room)]
    return len(piece) > room


def _omitted_note(count: int) -> str:
    files = "1 file that holds" if count == 1 else f"{count} files that hold"
    return f"[{files} secrets by name left out]"
