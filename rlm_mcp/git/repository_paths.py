"""Ask git where the repository of a folder lies; the folder is known to lie under the roots."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rlm_mcp.errors import Denied, Unavailable
from rlm_mcp.git import command


@dataclass(frozen=True, slots=True)
class RepositoryPaths:
    """Where git says that a repository lies. `top` is None for a bare one."""

    top: Path | None
    git_dir: Path
    common_dir: Path

    @property
    def command_folder(self) -> Path:
        """Where git commands run."""
        return self.git_dir if self.top is None else self.top

    def cat_file_batch(self) -> AbstractContextManager[tuple[IO[bytes], IO[bytes]]]:
        """Give the input and the output of `git cat-file --batch`, and end it."""
        return command.cat_file_batch(self.command_folder)

    @classmethod
    def discover_at(cls, folder: Path) -> RepositoryPaths | None:
        """Return where the repository lies that `folder` belongs to, or None.

        Raises Denied for a `.git` file that points at a repository which does not point back: it
        would show the objects of another project under this one's name.
        """
        if not folder.is_dir():
            return None
        try:
            out = command.run_git(
                ["rev-parse", "--is-bare-repository", "--absolute-git-dir", "--git-common-dir"],
                folder,
            )
        except Unavailable as error:
            if "not a git repository" in str(error):
                return None
            raise
        bare, git_dir, common = out.decode("utf-8", "surrogateescape").splitlines()
        directory = Path(git_dir)
        common_dir = Path(os.path.normpath(folder / common))
        if bare == "true":
            return cls(None, directory, common_dir)
        try:
            shown = command.run_git(["rev-parse", "--show-toplevel"], folder)
        except Unavailable:
            return cls(None, directory, common_dir)
        top = Path(shown.decode("utf-8", "surrogateescape").rstrip("\n"))
        _check_link(top, directory)
        return cls(top, directory, common_dir)


def _check_link(top: Path, git_dir: Path) -> None:
    """Raise Denied unless `top` is the working tree that its git folder knows."""
    link = top / ".git"
    if not os.path.lexists(link):
        raise Denied(f"{git_dir} names {top} as its working tree, which has no .git of its own.")
    if link.is_dir() and not link.is_symlink() and link.resolve() == git_dir.resolve():
        return
    if link.is_file() and git_dir.resolve().is_relative_to(top.resolve()):
        return
    back = git_dir / "gitdir"
    if back.is_file():
        text = back.read_text("utf-8", "surrogateescape").strip()
        if (git_dir / text).resolve() == link.resolve() and not link.is_symlink():
            return
    try:
        tree = command.run_git(
            ["config", "--file", str(git_dir / "config"), "core.worktree"], git_dir
        )
    except Unavailable:
        tree = b""
    text = tree.decode("utf-8", "surrogateescape").strip()
    if link.is_file() and text and (git_dir / text).resolve() == top.resolve():
        return
    raise Denied(
        f"{link} points at the repository {git_dir}, which does not know this working tree; "
        "run git worktree repair there if it was moved."
    )
