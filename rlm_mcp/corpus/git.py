"""Run the git command line on a repository that nobody vouches for.

A repository's own configuration can name programs (monitors, hooks, pagers, filters, textconv,
signature checkers, transports). Every one of them is switched off here, the environment is
cleaned, no lock is taken and no object is fetched; so another user's repository is read like
one's own. Output is bounded, and a child that is left behind dies of its closed pipe. Filters of
the working tree are the one exception: who runs status or blame switches them off by name.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rlm_mcp.errors import Unavailable
from rlm_mcp.programs import find_program, search_path

_CONFIG = (
    "safe.directory=*", "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.pager=cat",
    "core.quotePath=false", "core.attributesFile=/dev/null", "core.untrackedCache=false",
    "core.sshCommand=false", "core.gitProxy=", "core.askPass=", "credential.helper=",
    "gpg.program=false", "gpg.ssh.program=false", "gpg.x509.program=false",
    "log.showSignature=false", "log.decorate=false", "log.follow=false", "log.mailmap=true",
    "mailmap.file=/dev/null", "blame.ignoreRevsFile=", "blame.markIgnoredLines=false",
    "color.ui=never", "color.diff=never", "diff.external=", "diff.noprefix=false",
    "diff.mnemonicPrefix=false", "diff.algorithm=myers", "diff.context=3",
    "diff.interHunkContext=0", "diff.renames=true", "diff.submodule=short",
    "diff.relative=false", "diff.colorMoved=no", "diff.wsErrorHighlight=none",
    "diff.suppressBlankEmpty=false", "i18n.logOutputEncoding=UTF-8", "gc.auto=0",
    "maintenance.auto=false", "submodule.recurse=false", "advice.detachedHead=false",
)  # fmt: skip

NOTHING = "RLM_MCP_NOTHING"
"""A variable that is empty in every git child; as a setting it means no program, and no."""

_ENVIRONMENT = {
    NOTHING: "",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    # What an id stands for is kept by that id, so a repository may not let it stand for more.
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_PAGER": "cat",
    "GIT_ASKPASS": "",
    "LC_ALL": "C",
    "TZ": "UTC",
}

_ALONE = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
"""No configuration but the repository's, so that history reads the same for everyone."""

_KEPT = (
    "HOME", "XDG_CONFIG_HOME", "SYSTEMROOT", "USERPROFILE", "TMPDIR", "TEMP", "TMP",
    "SSH_AUTH_SOCK",
)  # fmt: skip

MAX_OUTPUT = 256 << 20
_PART = 1 << 20


class Slow(Unavailable):
    """git took longer than it was given."""


def run(
    arguments: Sequence[str],
    folder: Path,
    stdin: bytes = b"",
    timeout_s: float = 60.0,
    *,
    limit_bytes: int = MAX_OUTPUT,
    ok: Sequence[int] = (0,),
    alone: bool = True,
) -> bytes:
    """Return what git prints, run in `folder`; the other arguments are those of `stream`.

    Raises Unavailable where it fails or prints more than `limit_bytes`, Slow where it takes
    too long.
    """
    with stream(arguments, folder, stdin, timeout_s, ok=ok, alone=alone) as out:
        parts, room = [], limit_bytes
        while part := out.read(min(room + 1, _PART)):
            parts.append(part)
            room -= len(part)
            if room < 0:
                raise Unavailable(
                    f"git {_verb(arguments)} printed more than {limit_bytes:,} bytes; narrow the "
                    "request to a path or a range."
                )
    return b"".join(parts)


@contextmanager
def stream(
    arguments: Sequence[str],
    folder: Path,
    stdin: bytes = b"",
    timeout_s: float = 600.0,
    *,
    protocols: str = "none",
    ok: Sequence[int] = (0,),
    alone: bool = True,
) -> Iterator[IO[bytes]]:
    """Start git with everything that a repository could run switched off, and give its output.

    It is killed where the block ends early. `protocols` may be fetched from, an exit code in `ok`
    is no failure, and without `alone` the user's own settings hold too (what git ignores
    everywhere). Raises Unavailable with git's own reason.
    """
    pipe = subprocess.PIPE
    feed = pipe if stdin else subprocess.DEVNULL
    child = _start(arguments, folder, environment(protocols, alone), feed, pipe)
    assert child.stdout is not None and child.stderr is not None
    errors = _Drain(child.stderr, stdin, child.stdin)
    late = threading.Timer(timeout_s, child.kill)
    late.daemon = True
    late.start()
    finished = False
    try:
        yield child.stdout
        finished = child.stdout.read(1) == b""
    finally:
        if not finished:
            child.kill()
        child.stdout.close()
        code = child.wait()
        expired = not late.is_alive()
        late.cancel()
        said = errors.finish()
    if finished and code not in ok:
        if expired:
            raise Slow(f"git {_verb(arguments)} took more than {timeout_s:.0f} s and was stopped.")
        raise Unavailable(f"git {_verb(arguments)} failed: {_complaint(said, code)}.")


@contextmanager
def batch(folder: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Give the input and the output of `git cat-file --batch`, and end it."""
    pipe = subprocess.PIPE
    process = _start(["cat-file", "--batch"], folder, environment(), pipe, subprocess.DEVNULL)
    assert process.stdin is not None and process.stdout is not None
    with process:
        try:
            yield process.stdin, process.stdout
        finally:
            process.kill()


def environment(protocols: str = "none", alone: bool = True) -> dict[str, str]:
    """Return the cleaned environment of a git child; `protocols` may be fetched from."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    ssh = {"GIT_SSH_COMMAND": "ssh -oBatchMode=yes"} if protocols == "ssh" else {}
    own = _ALONE if alone else {}
    kept["PATH"] = search_path()
    return {**kept, **_ENVIRONMENT, **own, **ssh, "GIT_ALLOW_PROTOCOL": protocols}


def _start(
    arguments: Sequence[str], folder: Path, variables: dict[str, str], stdin: int, stderr: int
) -> subprocess.Popen[bytes]:
    flags = [part for setting in _CONFIG for part in ("-c", setting)]
    git = find_program("git")
    if git is None:
        raise Unavailable("git is not installed or not on PATH; install git to open repositories.")
    try:
        return subprocess.Popen(
            [git, "--no-pager", *flags, *arguments],
            stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, cwd=folder, env=variables,
        )  # fmt: skip
    except FileNotFoundError:
        raise Unavailable(f"{folder} does not exist any more, or did not a moment ago.") from None
    except NotADirectoryError:
        raise Unavailable(f"{folder} is not a folder.") from None
    except OSError as error:
        raise Unavailable(f"git cannot be started in {folder}: {error.strerror}.") from None


class _Drain:
    """Feeds a child's input and collects its complaints, so that neither pipe can block it."""

    def __init__(self, stderr: IO[bytes], stdin: bytes, sink: IO[bytes] | None) -> None:
        self._said = b""
        self._stderr = stderr
        self._threads = [threading.Thread(target=self._collect, daemon=True)]
        if sink is not None:
            self._threads.append(threading.Thread(target=_feed, args=(sink, stdin), daemon=True))
        for thread in self._threads:
            thread.start()

    def _collect(self) -> None:
        while part := self._stderr.read1(4096):  # type: ignore[attr-defined]
            self._said = (self._said + part)[:4096]

    def finish(self) -> str:
        for thread in self._threads:
            thread.join()
        self._stderr.close()
        return self._said.decode("utf-8", "replace")


def _feed(sink: IO[bytes], data: bytes) -> None:
    try:
        sink.write(data)
        sink.close()
    except OSError:
        pass  # the child ended before it read everything; its exit code tells why


def _verb(arguments: Sequence[str]) -> str:
    words = [part for part in arguments if not part.startswith("-")]
    return words[0] if words else "git"


def _complaint(said: str, code: int) -> str:
    """Return git's first complaint, without its prefix."""
    lines = said.strip().splitlines()
    told = [line for line in lines if line.startswith(("fatal:", "error:"))]
    line = next(iter(told or lines), f"exit code {code}")
    return line.removeprefix("fatal: ").removeprefix("error: ").rstrip(".")[:300]
