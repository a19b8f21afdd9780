"""Run git on a repository that may be hostile.

Every call turns off what a repository's own configuration could make git run (monitors, hooks,
pagers, external diffs, filters of a fetch), drops GIT_* from the environment, and forbids the
network. It does not make `git status` or `git diff` on a working tree safe: those run the clean
filters that a repository configures, so nothing here calls them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.errors import Denied, Unavailable

_OFF = (
    "core.fsmonitor=false", "core.hooksPath=/dev/null", "core.pager=cat", "core.quotePath=false",
    "core.sshCommand=false", "core.gitProxy=", "core.askPass=", "credential.helper=",
    "protocol.allow=never", "diff.external=", "log.showSignature=false", "gc.auto=0",
    "maintenance.auto=false", "core.untrackedCache=false", "submodule.recurse=false",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on this machine. `top` is None for a bare one."""

    top: Path | None
    git_dir: Path
    common_dir: Path

    @property
    def where(self) -> Path:
        """Where git commands run."""
        return self.git_dir if self.top is None else self.top


def environment() -> dict[str, str]:
    """Return the environment for a git child: ours without GIT_*, and with no network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_PAGER": "cat",
        "LC_ALL": "C",
    }


def command(arguments: Sequence[str]) -> list[str]:
    """Return the full command line of a git call."""
    return ["git", "--no-pager", *(part for item in _OFF for part in ("-c", item)), *arguments]


def run(
    where: Path, arguments: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60
) -> bytes:
    """Run git in `where` and return its output. Raises Unavailable with git's own reason."""
    try:
        done = subprocess.run(
            command(arguments),
            cwd=where,
            env=environment(),
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise Unavailable(_missing(where)) from error
    except NotADirectoryError as error:
        raise Unavailable(f"{where} is not a folder.") from error
    except PermissionError as error:
        raise Unavailable(f"{where} cannot be read: permission denied.") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"git {arguments[0]} took longer than {timeout_s:.0f} s.") from error
    if done.returncode:
        raise Unavailable(reason(arguments[0], done.stderr))
    return done.stdout


@contextmanager
def start_batch(where: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `git cat-file --batch` on pipes, and end it."""
    try:
        process = subprocess.Popen(
            command(["cat-file", "--batch"]),
            cwd=where,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except FileNotFoundError as error:
        raise Unavailable(_missing(where)) from error
    with process:
        try:
            yield process
        finally:
            process.kill()


def find(folder: Path) -> Repository | None:
    """Return the repository that `folder` belongs to, or None.

    Raises Denied for a `.git` file that points at a repository which does not point back: it
    would show the objects of another project under this one's name.
    """
    if not folder.is_dir():
        return None
    try:
        out = run(
            folder,
            ["rev-parse", "--is-bare-repository", "--absolute-git-dir", "--git-common-dir"],
        )
    except Unavailable as error:
        if "not a git repository" in str(error):
            return None
        raise
    bare, git_dir, common = out.decode("utf-8", "surrogateescape").splitlines()
    directory = Path(git_dir)
    common_dir = Path(os.path.normpath(folder / common))
    if bare == "true":
        return Repository(None, directory, common_dir)
    try:
        shown = run(folder, ["rev-parse", "--show-toplevel"])
    except Unavailable:
        return Repository(None, directory, common_dir)
    top = Path(shown.decode("utf-8", "surrogateescape").rstrip("\n"))
    _check_link(top, directory)
    return Repository(top, directory, common_dir)


def reason(verb: str, stderr: bytes) -> str:
    """Return one sentence for git's complaint, with the remedy where there is one."""
    text = stderr.decode("utf-8", "replace").strip()
    if "dubious ownership" in text:
        return (
            "git refuses this repository because another user owns it; if you trust it, run "
            "git config --global --add safe.directory <its folder>."
        )
    lines = [line for line in text.splitlines() if line.startswith(("fatal:", "error:"))]
    line = (lines or text.splitlines() or ["no reason given"])[0]
    return f"git {verb} failed: {line.removeprefix('fatal: ').removeprefix('error: ')[:300]}."


def _missing(where: Path) -> str:
    if shutil.which("git") is not None or not where.exists():
        return f"{where} does not exist any more, or did not a moment ago."
    return "git is not installed or not on PATH; install git to open repositories."


def _check_link(top: Path, git_dir: Path) -> None:
    """Raise Denied unless `top` is the working tree that its git folder knows."""
    link = top / ".git"
    if not os.path.lexists(link):
        raise Denied(f"{git_dir} names {top} as its working tree, which has no .git of its own.")
    if link.is_dir() and not link.is_symlink() and link.resolve() == git_dir.resolve():
        return
    if link.is_file() and git_dir.resolve().is_relative_to(top.resolve()):
        return
    back = git_dir / "gitdir"
    if back.is_file():
        text = back.read_text("utf-8", "surrogateescape").strip()
        if (git_dir / text).resolve() == link.resolve() and not link.is_symlink():
            return
    try:
        tree = run(git_dir, ["config", "--file", str(git_dir / "config"), "core.worktree"])
    except Unavailable:
        tree = b""
    text = tree.decode("utf-8", "surrogateescape").strip()
    if link.is_file() and text and (git_dir / text).resolve() == top.resolve():
        return
    raise Denied(
        f"{link} points at the repository {git_dir}, which does not know this working tree; "
        "run git worktree repair there if it was moved."
    )
