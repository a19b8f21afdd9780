"""Sources that a person names on the command line: paths of the current folder, open by consent."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from rlm_mcp.errors import BadRequest

CONTEXT_NAMES = ("repo", "history", "logs", "session")
"""Sources that are no paths."""
_NOT_A_PATH = re.compile(r"[*?\[@]|\.\.")
"""What a source may hold beside a path: a glob, a revision, a range."""


def check_paths(sources: Sequence[str]) -> None:
    """Raise BadRequest for a whole path that leads nowhere."""
    for source in sources:
        said = source.removeprefix("logs:")
        if said.startswith(("/", "~")) and not _NOT_A_PATH.search(said) and not path_exists(said):
            raise BadRequest(f"There is no file or folder {said!r}.")


def absolute_source(source: str) -> str:
    """Return a path or glob of the current folder as an absolute one; else what was said.

    What a shell completes is of the current folder, whatever --root says; what is not there is
    looked for under the roots.
    """
    kind = "logs:" if source.startswith("logs:") else ""
    said = source.removeprefix(kind)
    if source in CONTEXT_NAMES or said.startswith("~") or not Path(said.split("*", 1)[0]).exists():
        return source
    return kind + os.path.abspath(said)


def path_exists(source: str) -> bool:
    """Say whether a source is the path of something."""
    return Path(source).expanduser().exists()


def named_folders(sources: Sequence[str]) -> list[Path]:
    """Return the folders that a person named on the command line: naming one is consent."""
    found = []
    for source in sources:
        plain = Path(source.removeprefix("logs:").split("*", 1)[0]).expanduser()
        if plain.exists():
            whole = plain.resolve()
            found.append(whole if whole.is_dir() else whole.parent)
    return found
