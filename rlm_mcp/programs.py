"""Find and start programs so that no file of the current folder is run.

A client starts us in the folder that it has opened, and nobody vouches for what lies there: a
`git` or a `click.py` in it must never be run. So programs are looked up in absolute folders of
the PATH other than the current one, and our own child processes start isolated.

What runs before our first line is the launch line's to keep away: only `python -I` ignores a
PYTHONPATH that names the opened folder and holds a sitecustomize.py.
"""

from __future__ import annotations

import os
import sys
from site import getsitepackages


def find_program(name: str) -> str | None:
    """Return the absolute path of a program on the PATH, or None where it is not installed.

    A name that is an absolute path itself is looked for there alone.
    """
    endings = [""]
    if sys.platform == "win32":
        endings = os.environ.get("PATHEXT", ".COM;.EXE;.BAT;.CMD").split(os.pathsep)
    folders = [""] if os.path.isabs(name) else search_path().split(os.pathsep)
    for folder in folders:
        for ending in endings:
            file = os.path.join(folder, name + ending)
            if os.path.isabs(file) and os.path.isfile(file) and os.access(file, os.X_OK):
                return file
    return None


def search_path() -> str:
    """Return the PATH without relative folders, empty entries and the current folder."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    current = _stat(os.curdir)
    return os.pathsep.join(folder for folder in folders if _is_elsewhere(folder, current))


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `main` of one of our modules in an isolated Python.

    It imports from where this process does, the current folder left out.
    """
    current = _stat(os.curdir)
    own = [_HOME, *(path for path in sys.path if path != _HOME and _is_elsewhere(path, current))]
    start = f"import sys; sys.path += {own!r}; from {module} import main; main()"
    return [sys.executable, "-I", "-c", start, *arguments]


def leave_current_folder_out() -> None:
    """Take the current folder and what PYTHONPATH names off the import path of this process.

    Python's own folders and the one that holds this package stay, whoever names them.
    """
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    kept = {_stat(path) for path in (_HOME, os.path.dirname(os.__file__), *getsitepackages())}
    unwanted = {_stat(path or os.curdir) for path in (os.curdir, *named)} - kept - {None}
    sys.path[:] = [path for path in sys.path if _stat(path or os.curdir) not in unwanted]


def _is_elsewhere(path: str, current: tuple[int, int] | None) -> bool:
    return os.path.isabs(path) and (current is None or _stat(path) != current)


def _stat(path: str) -> tuple[int, int] | None:
    """Return what tells a folder from all others, whatever links lead to it."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder that this package lies in."""
