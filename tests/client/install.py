"""Puts the real Claude Code CLI into a cache folder, once; its version is pinned here alone."""

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
    npm = shutil.which("npm")
    if npm is None:
        raise CannotInstall("npm is not installed, so neither is the Claude Code CLI.")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        # Without its install script the package leaves the program in the package of the
        # platform, from where it runs as well; so no script of any package runs here.
        command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]
        try:
            done = subprocess.run(
                [*command, folder, f"{PACKAGE}@{VERSION}"],
                capture_output=True,
                text=True,
                timeout=100,
            )
        except subprocess.TimeoutExpired as error:
            raise CannotInstall("npm did not install the CLI within 100 s.") from error
        if done.returncode != 0:
            raise CannotInstall(f"npm could not install the CLI: {done.stderr.strip()[-500:]}")
        _program(Path(folder))
        os.rename(folder, place)
        os.mkdir(folder)


def _program(place: Path) -> Path:
    found = sorted(place.glob("node_modules/@anthropic-ai/claude-code-*/claude*"))
    programs = [path for path in found if path.suffix in ("", ".exe")]
    if not programs:
        raise CannotInstall(f"{PACKAGE} {VERSION} has no program for this platform.")
    return programs[0]
