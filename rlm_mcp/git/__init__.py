"""Git: the one place that runs it, so that no repository can make it run anything.

`run_git` starts the program with everything switched off that a repository could name;
`find_repository` finds one under the roots, `RepositoryPaths` asks git where one lies. What git
knows comes from `GitHistory` as plain values. `open_clone` is the only part that reaches another
machine, and only for a source that was asked for.
"""

from typing import TYPE_CHECKING

from rlm_mcp.lazy_door import load_lazily

if TYPE_CHECKING:
    from rlm_mcp.git.clone import open_clone
    from rlm_mcp.git.command import run_git
    from rlm_mcp.git.commits import BlamedLine, CoChangedFile, Commit, CommitAuthor
    from rlm_mcp.git.history_log import GitHistory
    from rlm_mcp.git.numstat import ChurnTable
    from rlm_mcp.git.renames import RenameStep
    from rlm_mcp.git.repository import GitRepository, find_repository
    from rlm_mcp.git.repository_paths import RepositoryPaths
else:
    __getattr__ = load_lazily(
        __name__,
        {
            "BlamedLine": "commits",
            "ChurnTable": "numstat",
            "CoChangedFile": "commits",
            "Commit": "commits",
            "CommitAuthor": "commits",
            "GitHistory": "history_log",
            "GitRepository": "repository",
            "RenameStep": "renames",
            "RepositoryPaths": "repository_paths",
            "find_repository": "repository",
            "open_clone": "clone",
            "run_git": "command",
        },
    )

__all__ = [
    "BlamedLine",
    "ChurnTable",
    "CoChangedFile",
    "Commit",
    "CommitAuthor",
    "GitHistory",
    "GitRepository",
    "RenameStep",
    "RepositoryPaths",
    "find_repository",
    "open_clone",
    "run_git",
]
