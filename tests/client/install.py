"""Installs what the tests need from npm, once. The CLI's version is pinned here alone."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

VERSION = "2.1.329"
PACKAGE = "@anthropic-ai/claude-code"


class CannotInstall(Exception):
    """Why the CLI cannot be had on this machine, in one sentence."""


def claude() -> Path:
    """Return the CLI's program, installing it from npm at the first use.

    Raises CannotInstall. Two processes that come at once install it once.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlm-mcp-tests"
    cache.mkdir(parents=True, exist_ok=True)
    place = cache / f"claude-code-{VERSION}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            _install(cache, place)
    return _program(place)


def _install(cache: Path, place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        # Without its install script the package leaves the program in the package of the
        # platform, from where it runs as well; so no script of any package runs here.
        _npm("install", "--prefix", folder, f"{PACKAGE}@{VERSION}")
        _program(Path(folder))
        os.rename(folder, place)
        os.mkdir(folder)


def extension(folder: Path) -> str:
    """Return npm, after it installed the locked packages of a folder where they are missing.

    Raises CannotInstall. No script of any package is run.
    """
    npm = _find()
    (folder / "out").mkdir(exist_ok=True)
    with (folder / "out" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted, done = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
        if not done.exists() or done.stat().st_mtime < wanted.stat().st_mtime:
            _npm("ci", "--prefix", str(folder))
            done.touch()
    return npm


def _find() -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise CannotInstall("npm is not installed.")
    return npm


def _npm(*arguments: str) -> None:
    command = [_find(), *arguments, "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"npm {arguments[0]} was not done within 100 s.") from error
    if done.returncode != 0:
        raise CannotInstall(f"npm {arguments[0]} failed: {done.stderr.strip()[-500:]}")


def _program(place: Path) -> Path:
    found = sorted(place.glob("node_modules/@anthropic-ai/claude-code-*/claude*"))
    programs = [path for path in found if path.suffix in ("", ".exe")]
    if not programs:
        raise CannotInstall(f"{PACKAGE} {VERSION} has no program for this platform.")
    return programs[0]
