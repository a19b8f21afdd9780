"""Find the repository that a folder belongs to, as git sees it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.corpus import git
from rlm_mcp.errors import Denied, Unavailable


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on this machine. `top` is None for a bare one."""

    top: Path | None
    git_dir: Path
    common_dir: Path

    @property
    def where(self) -> Path:
        """Where git commands run."""
        return self.git_dir if self.top is None else self.top


def find(folder: Path) -> Repository | None:
    """Return the repository that `folder` belongs to, or None.

    Raises Denied for a `.git` file that points at a repository which does not point back: it
    would show the objects of another project under this one's name.
    """
    if not folder.is_dir():
        return None
    try:
        out = git.run(
            ["rev-parse", "--is-bare-repository", "--absolute-git-dir", "--git-common-dir"], folder
        )
    except Unavailable as error:
        if "not a git repository" in str(error):
            return None
        raise
    bare, git_dir, common = out.decode("utf-8", "surrogateescape").splitlines()
    directory = Path(git_dir)
    common_dir = Path(os.path.normpath(folder / common))
    if bare == "true":
        return Repository(None, directory, common_dir)
    try:
        shown = git.run(["rev-parse", "--show-toplevel"], folder)
    except Unavailable:
        return Repository(None, directory, common_dir)
    top = Path(shown.decode("utf-8", "surrogateescape").rstrip("\n"))
    _check_link(top, directory)
    return Repository(top, directory, common_dir)


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
        tree = git.run(["config", "--file", str(git_dir / "config"), "core.worktree"], git_dir)
    except Unavailable:
        tree = b""
    text = tree.decode("utf-8", "surrogateescape").strip()
    if link.is_file() and text and (git_dir / text).resolve() == top.resolve():
        return
    raise Denied(
        f"{link} points at the repository {git_dir}, which does not know this working tree; "
        "run git worktree repair there if it was moved."
    )
