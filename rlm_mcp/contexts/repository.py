"""Find the repository that a folder belongs to, and say what state it is in.

Discovery reads a few small files and starts no program. A repository outside the roots is used
only where it names the folder itself (a linked worktree, a submodule), so that a `.git` file from
elsewhere cannot point at someone's private repository. GitPython lists the refs.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.contexts import borrowed
from rlm_mcp.contexts.confine import Confine
from rlm_mcp.contexts.plumbing import Git
from rlm_mcp.errors import BadRequest, Denied

_STATES = {
    "rebase-merge": "A rebase is in progress",
    "rebase-apply": "A rebase or `git am` is in progress",
    "MERGE_HEAD": "A merge is in progress",
    "CHERRY_PICK_HEAD": "A cherry-pick is in progress",
    "REVERT_HEAD": "A revert is in progress",
    "BISECT_LOG": "A bisection is in progress",
}


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository; `top` is its working tree, None when bare.

    `folder` is the part of it that may be shown: `top`, or a root that lies below it.
    """

    git_dir: Path
    top: Path | None
    folder: Path

    @property
    def git(self) -> Git:
        return Git(self.git_dir, self.top, self.folder)

    @property
    def prefix(self) -> str:
        """`folder` below `top`, with a slash at its end; empty where they are the same."""
        return self.git.prefix

    def head(self) -> str:
        """Return the id of the checked-out commit, or an empty string before the first one."""
        return self.git.probe("rev-parse", "--verify", "--quiet", "HEAD^{commit}")

    def tree(self, commit: str) -> str:
        """Return the id of what may be shown of a commit: itself, or one folder's tree.

        Raises BadRequest where the folder did not exist then.
        """
        if not self.prefix:
            return commit
        tree = self.git.probe("rev-parse", "--verify", "--quiet", f"{commit}:{self.prefix}")
        if not tree:
            raise BadRequest(f"{self.prefix} does not exist at {commit[:12]}.")
        return tree

    def branch(self) -> str:
        """Return the branch's name, or an empty string where HEAD is detached."""
        try:
            text = (self.git_dir / "HEAD").read_text("utf-8", "replace").strip()
        except OSError:
            return ""
        return text.removeprefix("ref: refs/heads/") if text.startswith("ref: ") else ""

    def notes(self) -> tuple[str, ...]:
        """Return a sentence for everything that is in progress."""
        found = []
        for name, sentence in _STATES.items():
            if (self.git_dir / name).exists():
                found.append(f"{sentence}: files may hold conflict markers.")
        if (self.git_dir / "shallow").exists():
            found.append("The clone is shallow: its history ends early.")
        return tuple(found)

    def refs(self) -> dict[str, str]:
        """Return the commit id of every branch and tag, by short name."""
        import git  # 130-200 ms, and only this call needs it

        try:
            with closing(git.Repo(self.git_dir)) as repo:
                return {ref.name: ref.commit.hexsha for ref in repo.references}
        except (git.GitError, ValueError, OSError):
            return self._listed()  # one name that git does not allow spoils GitPython's list

    def tags(self, commit: str) -> list[str]:
        """Return the tags that hold a commit (an id), the oldest first."""
        out = self.git.run(
            "for-each-ref", f"--contains={commit}", "--sort=creatordate",
            "--format=%(refname:strip=2)", "refs/tags",
        )  # fmt: skip
        return out.decode("utf-8", "replace").splitlines()

    def _listed(self) -> dict[str, str]:
        """Return the refs as git lists them, those of names that it does not allow left out."""
        fields = ("refname:short", "objectname", "*objectname", "objecttype", "*objecttype")
        form = "%00".join(f"%({field})" for field in fields)
        found: dict[str, str] = {}
        for line in self.git.run("for-each-ref", f"--format={form}").split(b"\n"):
            name, *rest = line.decode("utf-8", "replace").split("\0")
            if len(rest) == 4 and "commit" in rest[2:]:
                found[name] = rest[1] if rest[3] == "commit" else rest[0]
        return found


def find(folder: Path, confine: Confine) -> Repository | None:
    """Return the repository of the resolved `folder`, or None where it belongs to none.

    Raises Denied where its git folder lies elsewhere and does not name this working tree.
    """
    if _is_bare(folder):
        borrowed.refuse(folder, confine)
        return Repository(folder, None, folder)
    for top in (folder, *folder.parents):
        mark = top / ".git"
        if not os.path.lexists(mark):
            continue
        git_dir = _git_dir(mark)
        if git_dir is None:
            continue
        if git_dir != mark and not confine.within(git_dir) and not _names(git_dir, top):
            raise Denied(
                f"The .git of {top.name!r} points to a repository outside the roots, which does "
                "not know this folder; start the server with --root for that repository."
            )
        borrowed.refuse(git_dir, confine)
        return Repository(git_dir, top, folder)
    return None


def _is_bare(folder: Path) -> bool:
    names = ("HEAD", "objects", "refs")
    return all((folder / name).exists() for name in names) and not (folder / ".git").exists()


def _git_dir(mark: Path) -> Path | None:
    """Return the git folder behind a `.git` entry (a folder, a link, or a file that names it)."""
    if mark.is_dir():
        path = Path(os.path.realpath(mark))
    else:
        text = borrowed.content(mark)
        if not text.startswith("gitdir: "):
            return None
        path = Path(os.path.realpath(mark.parent / text[len("gitdir: ") :]))
    return path if (path / "HEAD").exists() else None


def _names(git_dir: Path, top: Path) -> bool:
    """Say whether the git folder itself names `top` as its working tree."""
    if back := borrowed.content(git_dir / "gitdir"):
        return Path(os.path.realpath(git_dir / back)) == top / ".git"
    tree = Git(git_dir, None, git_dir).probe("config", "--local", "core.worktree")
    return bool(tree) and Path(os.path.realpath(git_dir / tree)) == top
