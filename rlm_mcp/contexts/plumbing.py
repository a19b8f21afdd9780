"""The git command line for one repository, as history and changes use it.

How git is kept from running anything of the repository's is said in `corpus.git`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rlm_mcp.corpus import git
from rlm_mcp.corpus.git import MAX_OUTPUT
from rlm_mcp.errors import BadRequest, Unavailable

PATCH_FLAGS = ("--no-ext-diff", "--no-textconv", "--no-color", "-O/dev/null", "--full-index")
"""Flags of every command that prints a patch."""


@dataclass(frozen=True, slots=True)
class Git:
    """The git command line for one repository.

    `top` is its working tree, None when bare; commands run in `folder`, which lies in it.
    """

    git_dir: Path
    top: Path | None
    folder: Path

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        timeout_s: float = 120.0,
        limit_bytes: int = MAX_OUTPUT,
        ok: Sequence[int] = (0,),
    ) -> bytes:
        """Return what the command prints.

        Raises Unavailable where it fails, prints more than `limit_bytes` or takes too long.
        """
        line = [*self._where(), *arguments]
        return git.run(line, self.folder, stdin, timeout_s, limit_bytes=limit_bytes, ok=ok)

    def text(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """Return the command's output as text, its last newline cut."""
        return self.run(*arguments, timeout_s=timeout_s).decode("utf-8", "replace").rstrip("\n")

    def probe(self, *arguments: str) -> str:
        """Return the command's output, or an empty string where it fails."""
        try:
            return self.text(*arguments, timeout_s=30.0)
        except Unavailable:
            return ""

    @contextmanager
    def stream(
        self,
        *arguments: str,
        stdin: bytes = b"",
        timeout_s: float = 600.0,
        ok: Sequence[int] = (0,),
    ) -> Iterator[IO[bytes]]:
        """Give the command's output while it runs; it is killed where the block ends early."""
        line = [*self._where(), *arguments]
        with git.stream(line, self.folder, stdin, timeout_s, ok=ok) as out:
            yield out

    @property
    def prefix(self) -> str:
        """`folder` below `top`, with a slash at its end; empty where they are the same."""
        if self.top is None or self.folder == self.top:
            return ""
        return self.folder.relative_to(self.top).as_posix() + "/"

    def shallow(self) -> frozenset[str]:
        """Return the commits whose parents a shallow clone does not have."""
        name = self.probe("rev-parse", "--git-path", "shallow")
        try:
            text = (self.folder / name).read_text("ascii") if name else ""
        except (OSError, UnicodeDecodeError):
            return frozenset()
        return frozenset(text.split())

    def _where(self) -> list[str]:
        tree = [] if self.top is None else [f"--work-tree={self.top}"]
        return [f"--git-dir={self.git_dir}", *tree]

    def resolve(self, rev: str) -> str:
        """Return the full commit id of `rev`; raises BadRequest for an unknown one."""
        if rev.startswith("-") or not rev.isprintable():
            raise BadRequest(f"{rev!r} is not a revision.")
        name = self.probe(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}"
        )
        if not name:
            raise BadRequest(f"{rev!r} is no branch, tag or commit of this repository.")
        return name

    def between(self, revs: str) -> list[str]:
        """Return what `git log` takes for a revision (its history) or a range A..B, as ids.

        Raises BadRequest for an unknown one.
        """
        first, dots, last = revs.partition("..")
        if not dots:
            return [self.resolve(revs)]
        if last.startswith("."):
            raise BadRequest(f"{revs!r} has three dots; write A..B.")
        return [self.resolve(last or "HEAD"), f"^{self.resolve(first or 'HEAD')}"]

    def inert(self) -> list[str]:
        """Return flags that switch off the filter programs which this repository names.

        Commands that compare or read working files (status, blame) would run them. A driver may
        have any name, `a=b` and an empty one too, so its settings are not given by `-c`, which
        ends a name at the first equals sign. Raises Unavailable where they cannot be listed.
        """
        out = self.run(
            "config", "--name-only", "-z", "--get-regexp", r"^filter\.", timeout_s=30.0, ok=(0, 1)
        )
        names = (os.fsdecode(name)[len("filter.") :] for name in out.split(b"\0"))
        drivers = {name.rpartition(".")[0] for name in names if "." in name}
        return [
            f"--config-env=filter.{driver}.{key}={git.NOTHING}"
            for driver in sorted(drivers)
            for key in ("clean", "smudge", "process", "required")
        ]
