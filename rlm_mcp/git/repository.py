"""Find the repository that a folder belongs to, and say what state it is in.

`find_repository` reads a few small files and starts no program. A repository outside the roots is
used only where it names the folder itself (a linked worktree, a submodule), so that a `.git` file
from elsewhere cannot point at someone's private repository.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlm_mcp.errors import BadRequest, Denied, Unavailable
from rlm_mcp.git import alternates
from rlm_mcp.git.command import GitCommand
from rlm_mcp.git.history_log import GitHistory
from rlm_mcp.git.references import read_references

if TYPE_CHECKING:
    from rlm_mcp.confine import Confine

MAX_MISSING_REFS = 100
"""References to missing objects that are passed over; each costs a process in a partial clone."""
_STATE_SENTENCES = {
    "rebase-merge": "A rebase is in progress",
    "rebase-apply": "A rebase or `git am` is in progress",
    "MERGE_HEAD": "A merge is in progress",
    "CHERRY_PICK_HEAD": "A cherry-pick is in progress",
    "REVERT_HEAD": "A revert is in progress",
    "BISECT_LOG": "A bisection is in progress",
}


@dataclass(frozen=True, slots=True)
class GitRepository:
    """A git repository; `top` is its working tree, None when bare.

    `folder` is the part of it that may be shown: `top`, or a root that lies below it.
    """

    git_dir: Path
    top: Path | None
    folder: Path

    @property
    def git(self) -> GitCommand:
        return GitCommand(self.git_dir, self.top, self.folder)

    @property
    def history(self) -> GitHistory:
        return GitHistory(self.git)

    @property
    def prefix(self) -> str:
        """`folder` below `top`, with a slash at its end; empty where they are the same."""
        return self.git.prefix

    def head_commit(self) -> str:
        """Return the id of the checked-out commit, or an empty string before the first one."""
        return self.git.text_or_empty("rev-parse", "--verify", "--quiet", "HEAD^{commit}")

    def visible_tree(self, commit: str) -> str:
        """Return the id of what may be shown of a commit: itself, or one folder's tree.

        Raises BadRequest where the folder did not exist then.
        """
        if not self.prefix:
            return commit
        tree = self.git.text_or_empty("rev-parse", "--verify", "--quiet", f"{commit}:{self.prefix}")
        if not tree:
            raise BadRequest(f"{self.prefix} does not exist at {commit[:12]}.")
        return tree

    def branch_name(self) -> str:
        """Return the branch's name, or an empty string where HEAD is detached."""
        try:
            text = (self.git_dir / "HEAD").read_text("utf-8", "replace").strip()
        except OSError:
            return ""
        return text.removeprefix("ref: refs/heads/") if text.startswith("ref: ") else ""

    def state_notes(self) -> tuple[str, ...]:
        """Return a sentence for everything that is in progress."""
        found = []
        for name, sentence in _STATE_SENTENCES.items():
            if (self.git_dir / name).exists():
                found.append(f"{sentence}: files may hold conflict markers.")
        if (self.git_dir / "shallow").exists():
            found.append("The clone is shallow: its history ends early.")
        return tuple(found)

    def refs_by_name(self) -> dict[str, str]:
        """Return the commit id of every branch and tag, by short name.

        One that names no commit that is here (broken, or never fetched) is left out.
        """
        try:
            found = read_references(self.git_dir, self.common_dir)
        except Unavailable:
            found = self._list_refs()
        short = Counter(name.split("/", 2)[-1] for name in found)
        return {
            name.split("/", 2 if short[name.split("/", 2)[-1]] == 1 else 1)[-1]: commit
            for name, commit in found.items()
        }

    @property
    def common_dir(self) -> Path:
        """The folder of objects and refs, which linked worktrees share."""
        text = alternates.read_small_file(self.git_dir / "commondir")
        return Path(os.path.realpath(self.git_dir / text)) if text else self.git_dir

    def tags_containing(self, commit: str) -> list[str]:
        """Return the tags that hold a commit (an id), the oldest first."""
        out = self.git.read_output(
            "for-each-ref", f"--contains={commit}", "--sort=creatordate",
            "--format=%(refname:strip=2)", "refs/tags",
        )  # fmt: skip
        return out.decode("utf-8", "replace").splitlines()

    def _list_refs(self) -> dict[str, str]:
        """Return the refs as git lists them, by full name.

        Names are listed first and looked up then, since one missing object would end the list.
        A partial clone ends the look-up too, where git would fetch: that goes on behind it.
        """
        out = self.git.read_output("for-each-ref", "--format=%(objectname) %(refname)")
        left = [
            (oid, name.decode("utf-8", "replace"))
            for oid, _, name in (line.partition(b" ") for line in out.splitlines())
        ]
        check = "--batch-check=%(objectname) %(objecttype)"
        found: dict[str, str] = {}
        for _ in range(MAX_MISSING_REFS):
            asked = b"".join(oid + b"^{commit}\n" for oid, _ in left)
            answers = self.git.read_output(
                "cat-file", check, stdin=asked, ok=range(256)
            ).splitlines()
            for (_, name), answer in zip(left, answers, strict=False):
                if answer.endswith(b" commit"):
                    found[name] = answer.split()[0].decode("ascii")
            left = left[len(answers) + 1 :]
            if not left:
                return found
        raise Unavailable(
            f"More than {MAX_MISSING_REFS} references name objects that this partial "
            "clone does not "
            "have; git fetch brings them."
        )


def find_repository(folder: Path, confine: Confine) -> GitRepository | None:
    """Return the repository of the resolved `folder`, or None where it belongs to none.

    Raises Denied where its git folder lies elsewhere and does not name this working tree.
    """
    if _is_bare(folder):
        alternates.check_git_dir(folder, confine)
        return GitRepository(folder, None, folder)
    for top in (folder, *folder.parents):
        mark = top / ".git"
        if not os.path.lexists(mark):
            continue
        git_dir = _git_dir(mark)
        if git_dir is None:
            continue
        if git_dir != mark and not confine.is_within(git_dir) and not _names_worktree(git_dir, top):
            raise Denied(
                f"The .git of {top.name!r} points to a repository outside the roots, which does "
                "not know this folder; start the server with --root for that repository."
            )
        alternates.check_git_dir(git_dir, confine)
        return GitRepository(git_dir, top, folder)
    return None


def _is_bare(folder: Path) -> bool:
    names = ("HEAD", "objects", "refs")
    return all((folder / name).exists() for name in names) and not (folder / ".git").exists()


def _git_dir(mark: Path) -> Path | None:
    """Return the git folder behind a `.git` entry (a folder, a link, or a file that names it)."""
    if mark.is_dir():
        path = Path(os.path.realpath(mark))
    else:
        text = alternates.read_small_file(mark)
        if not text.startswith("gitdir: "):
            return None
        path = Path(os.path.realpath(mark.parent / text[len("gitdir: ") :]))
    return path if (path / "HEAD").exists() else None


def _names_worktree(git_dir: Path, top: Path) -> bool:
    """Say whether the git folder itself names `top` as its working tree."""
    if back := alternates.read_small_file(git_dir / "gitdir"):
        return Path(os.path.realpath(git_dir / back)) == top / ".git"
    tree = GitCommand(git_dir, None, git_dir).text_or_empty("config", "--local", "core.worktree")
    return bool(tree) and Path(os.path.realpath(git_dir / tree)) == top
