"""Run the git command line on a repository that nobody vouches for.

A repository's own configuration can name programs (monitors, hooks, pagers, filters, textconv,
signature checkers, transports). All of them are switched off here. A child that only reads gets no
key, no agent, no home and no search path, may use no transport, and so can neither fetch a missing
object nor start a program by name. Output is bounded, no lock is taken, and a child that is left
behind dies of its closed pipe. Filters of the working tree are the one exception: who runs status
or blame switches them off by name (`Git.inert`).
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from rlm_mcp.errors import BadRequest, TimedOut, Unavailable
from rlm_mcp.programs import find_program, search_path

PATCH_FLAGS = ("--no-ext-diff", "--no-textconv", "--no-color", "-O/dev/null", "--full-index")
"""Flags of every command that prints a patch."""
RENAME_FLAGS = ("-M", "-l2000")
"""Flags that have git look for renames, whatever the repository's configuration says."""

_SAFE_CONFIG = (
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
    "core.alternateRefsCommand=false", "core.editor=false", "sequence.editor=false",
    "fetch.bundleURI=", "transfer.bundleURI=false", "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false", "protocol.allow=never", "protocol.ext.allow=never",
)  # fmt: skip

EMPTY_VARIABLE = "RLM_MCP_NOTHING"
"""A variable that is empty in every git child; as a setting it means no program, and no."""

_ENVIRONMENT = {
    EMPTY_VARIABLE: "",
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

_REPOSITORY_CONFIG_ONLY = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
"""No configuration but the repository's, so that history reads the same for everyone."""

_SYSTEM_VARIABLES = ("SYSTEMROOT", "TMPDIR", "TEMP", "TMP")
"""Variables that say nothing of the user, for every child."""
_HOME_VARIABLES = ("HOME", "XDG_CONFIG_HOME", "USERPROFILE")
"""Variables of a child that reads the user's own settings, or fetches as the user asked for."""

MAX_OUTPUT_BYTES = 256 << 20
_READ_BYTES = 1 << 20


def run_git(
    arguments: Sequence[str],
    folder: Path,
    stdin: bytes = b"",
    timeout_s: float = 60.0,
    *,
    limit_bytes: int = MAX_OUTPUT_BYTES,
    ok: Sequence[int] = (0,),
    alone: bool = True,
) -> bytes:
    """Return what git prints, run in `folder`; the other arguments are those of `stream`.

    Raises Unavailable where it fails or prints more than `limit_bytes`, TimedOut where it takes
    too long.
    """
    with stream_git(arguments, folder, stdin, timeout_s, ok=ok, alone=alone) as out:
        parts, room = [], limit_bytes
        while part := out.read(min(room + 1, _READ_BYTES)):
            parts.append(part)
            room -= len(part)
            if room < 0:
                raise Unavailable(
                    f"git {_subcommand_of(arguments)} printed more than {limit_bytes:,} "
                    "bytes; narrow the "
                    "request to a path or a range."
                )
    return b"".join(parts)


@contextmanager
def stream_git(
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
    child = _start_git(arguments, folder, git_environment(protocols, alone), feed, pipe)
    assert child.stdout is not None and child.stderr is not None
    errors = _PipeDrain(child.stderr, stdin, child.stdin)
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
        said = errors.error_text()
    if finished and code not in ok:
        if expired:
            raise TimedOut(
                f"git {_subcommand_of(arguments)} took more than {timeout_s:.0f} s and was stopped."
            )
        raise Unavailable(f"git {_subcommand_of(arguments)} failed: {_first_error(said, code)}.")


@contextmanager
def cat_file_batch(folder: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Give the input and the output of `git cat-file --batch`, and end it."""
    pipe = subprocess.PIPE
    process = _start_git(
        ["cat-file", "--batch"], folder, git_environment(), pipe, subprocess.DEVNULL
    )
    assert process.stdin is not None and process.stdout is not None
    with process:
        try:
            yield process.stdin, process.stdout
        finally:
            process.kill()


@dataclass(frozen=True, slots=True)
class GitCommand:
    """The git command line for one repository.

    `top` is its working tree, None when bare; commands run in `folder`, which lies in it.
    """

    git_dir: Path
    top: Path | None
    folder: Path

    def read_output(
        self,
        *arguments: str,
        stdin: bytes = b"",
        timeout_s: float = 120.0,
        limit_bytes: int = MAX_OUTPUT_BYTES,
        ok: Sequence[int] = (0,),
    ) -> bytes:
        """Return what the command prints.

        Raises Unavailable where it fails, prints more than `limit_bytes` or takes too long.
        """
        line = [*self._location_flags(), *arguments]
        return run_git(line, self.folder, stdin, timeout_s, limit_bytes=limit_bytes, ok=ok)

    def read_text(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """Return the command's output as text, its last newline cut."""
        return (
            self.read_output(*arguments, timeout_s=timeout_s)
            .decode("utf-8", "replace")
            .rstrip("\n")
        )

    def text_or_empty(self, *arguments: str) -> str:
        """Return the command's output, or an empty string where it fails."""
        try:
            return self.read_text(*arguments, timeout_s=30.0)
        except Unavailable:
            return ""

    @contextmanager
    def stream_output(
        self,
        *arguments: str,
        stdin: bytes = b"",
        timeout_s: float = 600.0,
        ok: Sequence[int] = (0,),
    ) -> Iterator[IO[bytes]]:
        """Give the command's output while it runs; it is killed where the block ends early."""
        line = [*self._location_flags(), *arguments]
        with stream_git(line, self.folder, stdin, timeout_s, ok=ok) as out:
            yield out

    @property
    def prefix(self) -> str:
        """`folder` below `top`, with a slash at its end; empty where they are the same."""
        if self.top is None or self.folder == self.top:
            return ""
        return self.folder.relative_to(self.top).as_posix() + "/"

    def shallow_commits(self) -> frozenset[str]:
        """Return the commits whose parents a shallow clone does not have."""
        name = self.text_or_empty("rev-parse", "--git-path", "shallow")
        try:
            text = (self.folder / name).read_text("ascii") if name else ""
        except (OSError, UnicodeDecodeError):
            return frozenset()
        return frozenset(text.split())

    def _location_flags(self) -> list[str]:
        tree = [] if self.top is None else [f"--work-tree={self.top}"]
        return [f"--git-dir={self.git_dir}", *tree]

    def resolve_commit(self, rev: str) -> str:
        """Return the full commit id of `rev`; raises BadRequest for an unknown one."""
        if rev.startswith("-") or not rev.isprintable():
            raise BadRequest(f"{rev!r} is not a revision.")
        name = self.text_or_empty(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}"
        )
        if not name:
            raise BadRequest(f"{rev!r} is no branch, tag or commit of this repository.")
        return name

    def resolve_range(self, revs: str) -> list[str]:
        """Return what `git log` takes for a revision (its history) or a range A..B, as ids.

        Raises BadRequest for an unknown one.
        """
        first, dots, last = revs.partition("..")
        if not dots:
            return [self.resolve_commit(revs)]
        if last.startswith("."):
            raise BadRequest(f"{revs!r} has three dots; write A..B.")
        return [self.resolve_commit(last or "HEAD"), f"^{self.resolve_commit(first or 'HEAD')}"]

    def no_filter_flags(self) -> list[str]:
        """Return flags that switch off the filter programs which this repository names.

        Commands that compare or read working files (status, blame) would run them. A driver may
        have any name, `a=b` and an empty one too, so its settings are not given by `-c`, which
        ends a name at the first equals sign. Raises Unavailable where they cannot be listed.
        """
        out = self.read_output(
            "config", "--name-only", "-z", "--get-regexp", r"^filter\.", timeout_s=30.0, ok=(0, 1)
        )
        names = (os.fsdecode(name)[len("filter.") :] for name in out.split(b"\0"))
        drivers = {name.rpartition(".")[0] for name in names if "." in name}
        return [
            f"--config-env=filter.{driver}.{key}={EMPTY_VARIABLE}"
            for driver in sorted(drivers)
            for key in ("clean", "smudge", "process", "required")
        ]


def git_environment(protocols: str = "none", alone: bool = True) -> dict[str, str]:
    """Return the environment of a git child; `protocols` may be fetched from."""
    reads, ssh = protocols == "none", protocols == "ssh"
    names = [
        *_SYSTEM_VARIABLES,
        *(() if reads and alone else _HOME_VARIABLES),
        *(("SSH_AUTH_SOCK",) if ssh else ()),
    ]
    kept = {name: os.environ[name] for name in names if name in os.environ}
    own = _REPOSITORY_CONFIG_ONLY if alone else {}
    # Nothing that a child reads for needs another program: it finds none, whatever names one.
    way = {"PATH": search_path()}
    if reads and os.name != "nt":
        way = {"PATH": os.devnull, "GIT_EXEC_PATH": os.devnull}
        own = {**own, **({"HOME": os.devnull} if alone else {})}
    return {**kept, **_ENVIRONMENT, **own, **way, "GIT_ALLOW_PROTOCOL": protocols}


@cache
def _git_program(path: str) -> str:
    """Return the git that a search path leads to; a script that wraps it is looked through."""
    found = find_program("git")
    if found is None:
        raise Unavailable("git is not installed or not on PATH; install git to open repositories.")
    nothing = subprocess.DEVNULL
    line = [found, "--exec-path"]
    with _spawn_process(line, Path(found).parent, {"PATH": path}, nothing, nothing) as child:
        folder = child.stdout.read() if child.stdout is not None else b""
    inner = os.path.join(os.fsdecode(folder.strip()), "git")
    return inner if os.access(inner, os.X_OK) else found


def _start_git(
    arguments: Sequence[str], folder: Path, variables: dict[str, str], stdin: int, stderr: int
) -> subprocess.Popen[bytes]:
    program = _git_program(search_path())
    flags = [part for setting in _SAFE_CONFIG for part in ("-c", setting)]
    line = [program, "--no-pager", *flags, *arguments]
    try:
        return _spawn_process(line, folder, variables, stdin, stderr)
    except FileNotFoundError:
        raise Unavailable(f"{folder} does not exist any more, or did not a moment ago.") from None
    except NotADirectoryError:
        raise Unavailable(f"{folder} is not a folder.") from None
    except OSError as error:
        raise Unavailable(f"git cannot be started in {folder}: {error.strerror}.") from None


def _spawn_process(
    line: Sequence[str], folder: Path, variables: dict[str, str], stdin: int, stderr: int
) -> subprocess.Popen[bytes]:
    """Start a process; nothing else in this room does."""
    return subprocess.Popen(
        line, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, cwd=folder, env=variables
    )


class _PipeDrain:
    """Feeds a child's input and collects its complaints, so that neither pipe can block it."""

    def __init__(self, stderr: IO[bytes], stdin: bytes, sink: IO[bytes] | None) -> None:
        self._said = b""
        self._stderr = stderr
        self._threads = [threading.Thread(target=self._collect_errors, daemon=True)]
        if sink is not None:
            self._threads.append(
                threading.Thread(target=_feed_stdin, args=(sink, stdin), daemon=True)
            )
        for thread in self._threads:
            thread.start()

    def _collect_errors(self) -> None:
        while part := self._stderr.read1(4096):  # type: ignore[attr-defined]
            self._said = (self._said + part)[:4096]

    def error_text(self) -> str:
        for thread in self._threads:
            thread.join()
        self._stderr.close()
        return self._said.decode("utf-8", "replace")


def _feed_stdin(sink: IO[bytes], data: bytes) -> None:
    try:
        sink.write(data)
        sink.close()
    except OSError:
        pass  # the child ended before it read everything; its exit code tells why


def _subcommand_of(arguments: Sequence[str]) -> str:
    words = [part for part in arguments if not part.startswith("-")]
    return words[0] if words else "git"


def _first_error(said: str, code: int) -> str:
    """Return git's first complaint, without its prefix."""
    lines = said.strip().splitlines()
    told = [line for line in lines if line.startswith(("fatal:", "error:"))]
    line = next(iter(told or lines), f"exit code {code}")
    return line.removeprefix("fatal: ").removeprefix("error: ").rstrip(".")[:300]
