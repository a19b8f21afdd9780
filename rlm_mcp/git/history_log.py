"""What a repository's history holds: the questions that other rooms ask about commits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.git import commits, dates, numstat, patches, renames
from rlm_mcp.git.command import GitCommand
from rlm_mcp.git.commits import BlamedLine, CoChangedFile, Commit, CommitAuthor, TreeEntry
from rlm_mcp.git.numstat import ChurnCounter, NumstatRow
from rlm_mcp.git.patches import CommitPatch
from rlm_mcp.git.renames import RenameStep


@dataclass(frozen=True, slots=True)
class GitHistory:
    """The commits of one repository; revisions are ids."""

    git: GitCommand

    def stream_commits(self, revs: Sequence[str], limit: int = 0) -> Iterator[Commit]:
        """Give commits one by one, newest first."""
        return commits.stream_commits(self.git, revs, limit)

    def follow_file(self, rev: str, path: str, limit: int = 0) -> list[RenameStep]:
        """Return the commits up to `rev` that touched a file or folder, newest first."""
        return renames.follow_renames(self.git, rev, path, limit)

    def file_commits(self, rev: str, path: str, limit: int = 0) -> list[Commit]:
        """Return the same commits whole, each with the name that the file had then."""
        return renames.step_commits(self.git, self.follow_file(rev, path, limit))

    @staticmethod
    def filter_commits(
        found: Sequence[Commit], author: str = "", since: str = "", until: str = ""
    ) -> list[Commit]:
        """Return the commits of an author within a time; raises BadRequest for no date."""
        return dates.filter_commits(found, author, since, until)

    @staticmethod
    def count_authors(name: str, found: Sequence[Commit]) -> list[CommitAuthor]:
        """Return who wrote commits (newest first), those with most first."""
        return commits.count_authors(name, found)

    def co_changed_files(self, ids: Sequence[str], own: Collection[str]) -> list[CoChangedFile]:
        """Return the files that changed in some commits beside `own` names, most often first."""
        return commits.co_changed_files(self.git, ids, own)

    def blame_lines(self, path: str, start: int, end: int, rev: str) -> list[BlamedLine]:
        """Return the last change of each line; with no `rev`, of the working file."""
        return commits.blame_lines(self.git, path, start, end, rev)

    def tree_entry(self, rev: str, path: str) -> TreeEntry | None:
        """Return what a path is at a revision, or None where it does not exist."""
        return commits.tree_entry(self.git, rev, path)

    def read_status(self) -> list[dict[str, str]]:
        """Return the paths that differ from the last commit, with git's two letters for how."""
        return commits.read_status(self.git)

    def read_patch(self, commit: str, *, secrets: bool) -> CommitPatch | None:
        """Return one commit with its patch, or None where it touches nothing that is shown."""
        return next(patches.stream_patches(self.git, [commit], secrets=secrets, limit=1), None)

    def patch_batches(
        self,
        revs: Sequence[str],
        batch_bytes: int,
        stopped: Callable[[], bool],
        *,
        secrets: bool,
        paths: Sequence[str] = (),
    ) -> Iterator[list[CommitPatch]]:
        """Give commits with their patches, newest first, about `batch_bytes` of them at once.

        It ends early once `stopped` says so.
        """
        batch: list[CommitPatch] = []
        size = 0
        if not revs:
            return
        for change in patches.stream_patches(self.git, list(revs), secrets=secrets, paths=paths):
            if stopped():
                return
            batch.append(change)
            size += len(change.patch)
            if size > batch_bytes:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def diff_commits(self, a: str, b: str, path: str, *, secrets: bool) -> bytes:
        """Return the patch from commit `a` to commit `b`, of one path or of all."""
        return patches.diff_commits(self.git, a, b, path, secrets=secrets)

    def diff_worktree(self, base: str, path: str, *, staged: bool, secrets: bool) -> bytes:
        """Return the patch from `base` to the working tree, or to what of it is staged."""
        return patches.diff_worktree(self.git, base, path, staged=staged, secrets=secrets)

    def read_numstat(self, commit: str) -> list[NumstatRow]:
        """Return the files that one commit changes, with lines added and removed."""
        return next(numstat.read_numstat(self.git, [commit]), (commit, []))[1]

    def churn_counter(self, ids: Sequence[str], cache: Path) -> ChurnCounter:
        """Return what counts the changed lines of some commits, newest first."""
        return ChurnCounter(self.git, ids, cache)
