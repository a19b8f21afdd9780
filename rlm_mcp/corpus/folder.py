"""Folders that are no repository, and lists of files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from rlm_mcp.corpus import ignore
from rlm_mcp.corpus.files import Admit
from rlm_mcp.corpus.living import Listed, Living
from rlm_mcp.errors import Unavailable


class Plain(Living):
    """A folder that is no repository."""

    def raw(self) -> bytes:
        """Return what the folder's .gitignore and .ignore files leave of it."""
        if not self.root.is_dir():
            raise Unavailable(f"{self.root} is gone.")
        return b"\0".join(ignore.walk(self.root))

    def listing(self, raw: bytes) -> list[Listed]:
        """Return the files of a walk."""
        return sorted(Listed(path) for path in raw.split(b"\0") if path)

    def folders(self) -> Iterable[bytes]:
        """Return every folder that is not ignored."""
        return ignore.folders(self.root, b"")


class Files(Living):
    """A list of files, under the folder that they share."""

    def __init__(
        self, names: Sequence[Path], admit: Admit | None, limit_bytes: int, trust: bool
    ) -> None:
        root = Path(os.path.commonpath([path.parent for path in names]))
        super().__init__(root, admit, limit_bytes, trust)
        self._names = sorted({os.fsencode(path.relative_to(root)) for path in names})

    def raw(self) -> bytes:
        """Return the names, which never change."""
        return b"\0".join(self._names)

    def listing(self, raw: bytes) -> list[Listed]:
        """Return the files."""
        return [Listed(name) for name in self._names]
