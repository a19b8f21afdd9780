"""The open files of one variable: kept in order, opened anew when they rotate, picked by ref."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rlm_mcp.config import Settings
from rlm_mcp.confine import Confine
from rlm_mcp.contexts import window
from rlm_mcp.contexts.logs.files import LogFile, open_file, ordered
from rlm_mcp.contexts.variable import Hit
from rlm_mcp.corpus import globs
from rlm_mcp.errors import BadRequest, RlmError, Unavailable, did_you_mean
from rlm_mcp.refs import Lines, Ref

CUT = 300
"""Characters of a line that a hit shows."""


class Opened:
    """Log files, oldest first. The caller sees to it that one thread at a time refreshes them."""

    def __init__(self, paths: Sequence[Path], name: str, settings: Settings, cache: Path) -> None:
        self.name = name
        self.paths = ordered(paths)
        self.files: Sequence[LogFile] = []
        self.failed: tuple[str, ...] = ()
        """Why some files could not be opened."""
        self._confine = Confine(settings.roots, secrets=settings.secrets)
        self._cache = cache
        self._old: list[LogFile] = []
        self._open()

    def refresh(self) -> bool:
        """Take note of what was appended or rotated; return whether anything was."""
        try:
            return sum(file.refresh() for file in self.files) > 0
        except Unavailable:
            self._old += self.files  # readers may still be at them
            self._open()
            return True

    def close(self) -> None:
        """Close every file."""
        for file in [*self.files, *self._old]:
            file.close()
        self.files, self._old = [], []

    def chosen(self, scope: Ref) -> list[LogFile]:
        """Return the files that a scope names; raises BadRequest where it names none."""
        files = list(self.files)
        if not scope.path or scope.path == "/":
            return files
        names = [file.name for file in files]
        wanted = {scope.path} if scope.path in names else set(globs.select(names, scope.path))
        if not wanted:
            hint = did_you_mean(scope.path, names)
            raise BadRequest(f"{self.name} has no log {scope.path!r}.{hint}")
        return [file for file in files if file.name in wanted]

    def line_hit(self, file: LogFile, at: int) -> Hit:
        """Return the line that starts at a byte of a file, with its ref."""
        text = window.decode(file.big.line_at(at, 4096)).rstrip("\r")
        line = file.big.line_of(at)
        ref = str(Ref(self.name, file.name, "", Lines(line, line)))
        return Hit(ref, file.name, line, text[:CUT], cut=len(text) > CUT)

    def _open(self) -> None:
        """Open every file of the set; one that cannot be had is named in `failed`."""
        base = Path(os.path.commonpath([path.parent for path in self.paths]))
        files: list[LogFile] = []
        failed: list[RlmError] = []
        for path in self.paths:
            name = path.relative_to(base).as_posix()
            try:
                files.append(open_file(path, name, self._confine, self._cache))
            except RlmError as error:
                failed.append(error)
        if not files:
            raise failed[0]
        self.files = files
        self.failed = tuple(str(error) for error in failed)
