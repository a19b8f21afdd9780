"""Git: the one place that runs it, so that no repository can make it run anything.

`command` starts the program with everything switched off that a repository could name;
`find_repository` finds one under the roots, `discover_paths` asks git where one lies. What git
knows comes as plain values: `commits`, `patches`, `renames`, `numstat`. `clone` is the only part
that reaches another machine, and only for a source that was asked for.
"""

from rlm_mcp.git import clone, command, commits, dates, numstat, patches, renames
from rlm_mcp.git.commits import Commit
from rlm_mcp.git.repository import (
    GitRepository,
    RepositoryPaths,
    discover_paths,
    find_repository,
)

__all__ = [
    "Commit",
    "GitRepository",
    "RepositoryPaths",
    "clone",
    "command",
    "commits",
    "dates",
    "discover_paths",
    "find_repository",
    "numstat",
    "patches",
    "renames",
]
