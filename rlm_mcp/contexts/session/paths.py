"""Name files as a session's lists show them: one file has one name, wherever a call was made."""

from __future__ import annotations

import json
import os
import posixpath
from functools import lru_cache
from pathlib import PurePosixPath, PureWindowsPath

from rlm_mcp.contexts.session.view import View


def shown(view: View, path: str, cwd: str) -> str:
    """Return a path as seen from the folder in which the session began, absolute outside of it.

    `cwd` is where the call was made: a session may change its folder, or go on in another one.
    """
    folder = view.once("folder", lambda: _folder(view))
    if cwd.startswith("/") and cwd != folder and not path.startswith("/"):
        path = posixpath.normpath(posixpath.join(cwd, path))
    return relative(path, folder or cwd or root(view))


def _folder(view: View) -> str:
    """Return the folder in which the session began, where its format tells one."""
    rows = view.index.rows("SELECT cwd FROM turns WHERE doc=1 AND cwd!='' ORDER BY n LIMIT 1")
    return str(rows[0]["cwd"]) if rows else ""


def root(view: View) -> str:
    """Return the folder that all named files lie in, for formats that do not say where they were.

    Empty unless the files below it are in several folders: else it may be too deep.
    """
    return view.once("root", lambda: _root(view))


def _root(view: View) -> str:
    paths = [
        PurePosixPath(path)
        for row in view.index.rows("SELECT data FROM blocks WHERE doc=1 AND data LIKE '[[%'")
        for path, *_ in json.loads(row["data"])
        if path.startswith("/")
    ]
    if not paths:
        return ""
    shared = PurePosixPath(os.path.commonpath([path.parent for path in paths]))
    below = {path.relative_to(shared).parts[0] for path in paths}
    return str(shared) if len(below) > 1 and len(shared.parts) > 2 else ""


@lru_cache(maxsize=10_000)
def relative(path: str, cwd: str) -> str:
    """Return a path as seen from a folder."""
    for kind in (PurePosixPath, PureWindowsPath) if "\\" in path else (PurePosixPath,):
        try:
            return kind(path).relative_to(cwd).as_posix() if cwd else path
        except ValueError:
            continue
    return path.removeprefix("./")
