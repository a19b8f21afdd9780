"""Run the git command line on a repository that nobody vouches for.

A repository's own configuration can name programs (hooks, pagers, filters, textconv, signature
checkers, transports). Every one of them is switched off here, the environment is cleaned, no lock
is taken and no object is fetched. Output is bounded, and a child that is left behind dies of its
closed pipe. It knows nothing of variables or refs.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rlm_mcp.errors import BadRequest, Unavailable

_CONFIG = (
    "safe.directory=*", "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.pager=cat",
    "core.quotePath=false", "core.attributesFile=/dev/null", "core.excludesFile=/dev/null",
    "core.sshCommand=false", "core.askPass=", "credential.helper=", "gpg.program=false",
    "gpg.ssh.program=false", "gpg.x509.program=false", "log.showSignature=false",
    "log.decorate=false", "log.follow=false", "log.mailmap=true", "mailmap.file=/dev/null",
    "blame.ignoreRevsFile=", "blame.markIgnoredLines=false", "color.ui=never",
    "color.diff=never", "diff.external=",
    "diff.noprefix=false", "diff.mnemonicPrefix=false", "diff.algorithm=myers", "diff.context=3",
    "diff.interHunkContext=0", "diff.renames=true", "diff.submodule=short",
    "diff.relative=false", "diff.colorMoved=no", "diff.wsErrorHighlight=none",
    "diff.suppressBlankEmpty=false", "i18n.logOutputEncoding=UTF-8",
    "submodule.recurse=false", "advice.detachedHead=false",
)  # fmt: skip

_NOTHING = "RLM_MCP_NOTHING"
"""A variable that is empty in every git child; as a setting it means no program, and no."""

_ENVIRONMENT = {
    _NOTHING: "",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_PAGER": "cat",
    "GIT_ASKPASS": "",
    "LC_ALL": "C",
    "TZ": "UTC",
}

PATCH_FLAGS = ("--no-ext-diff", "--no-textconv", "--no-color", "-O/dev/null", "--full-index")
"""Flags of every command that prints a patch."""

MAX_OUTPUT = 256 << 20


@dataclass(frozen=True, slots=True)
class Git:
    """The git command line for one repository.

    `top` is its working tree, None when bare; commands run in `folder`, which lies in it.
    """

    git_dir: Path
    top: Path | None
    folder: Path

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        timeout_s: float = 120.0,
        limit_bytes: int = MAX_OUTPUT,
        ok: Sequence[int] = (0,),
    ) -> bytes:
        """Return what the command prints.

        Raises Unavailable where it fails, prints more than `limit_bytes` or takes too long.
        """
        with self.stream(*arguments, stdin=stdin, timeout_s=timeout_s, ok=ok) as out:
            data = out.read(limit_bytes + 1)
            if len(data) > limit_bytes:
                raise Unavailable(
                    f"git {arguments[0]} printed more than {limit_bytes:,} bytes; narrow the "
                    "request to a path or a range."
                )
        return data

    def text(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """Return the command's output as text, its last newline cut."""
        return self.run(*arguments, timeout_s=timeout_s).decode("utf-8", "replace").rstrip("\n")

    def probe(self, *arguments: str) -> str:
        """Return the command's output, or an empty string where it fails."""
        try:
            return self.text(*arguments, timeout_s=30.0)
        except Unavailable:
            return ""

    @contextmanager
    def stream(
        self,
        *arguments: str,
        stdin: bytes = b"",
        timeout_s: float = 600.0,
        ok: Sequence[int] = (0,),
    ) -> Iterator[IO[bytes]]:
        """Give the command's output while it runs; it is killed where the block ends early."""
        where = [f"--git-dir={self.git_dir}"]
        if self.top is not None:
            where.append(f"--work-tree={self.top}")
        with run_git([*where, *arguments], self.folder, stdin, timeout_s, ok=ok) as out:
            yield out

    def resolve(self, rev: str) -> str:
        """Return the full commit id of `rev`; raises BadRequest for an unknown one."""
        if rev.startswith("-") or not rev.isprintable():
            raise BadRequest(f"{rev!r} is not a revision.")
        name = self.probe(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}"
        )
        if not name:
            raise BadRequest(f"{rev!r} is no branch, tag or commit of this repository.")
        return name

    def inert(self) -> list[str]:
        """Return flags that switch off the filter programs which this repository names.

        Commands that compare or read working files (status, blame) would run them. A driver may
        have any name, `a=b` and an empty one too, so its settings are not given by `-c`, which
        ends a name at the first equals sign. Raises Unavailable where they cannot be listed.
        """
        out = self.run(
            "config", "--name-only", "-z", "--get-regexp", r"^filter\.", timeout_s=30.0, ok=(0, 1)
        )
        names = (os.fsdecode(name)[len("filter.") :] for name in out.split(b"\0"))
        drivers = {name.rpartition(".")[0] for name in names if "." in name}
        return [
            f"--config-env=filter.{driver}.{key}={_NOTHING}"
            for driver in sorted(drivers)
            for key in ("clean", "smudge", "process", "required")
        ]


@contextmanager
def run_git(
    arguments: Sequence[str],
    folder: Path,
    stdin: bytes = b"",
    timeout_s: float = 600.0,
    *,
    protocols: str = "none",
    ok: Sequence[int] = (0,),
) -> Iterator[IO[bytes]]:
    """Start git with everything that a repository could run switched off, and give its output."""
    child = _start(arguments, folder, bool(stdin), protocols)
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
        _fail(arguments, code, said, timeout_s if expired else None)


def _start(
    arguments: Sequence[str], folder: Path, feeds: bool, protocols: str
) -> subprocess.Popen[bytes]:
    flags = [part for setting in _CONFIG for part in ("-c", setting)]
    try:
        return subprocess.Popen(
            ["git", "--no-pager", *flags, *arguments],
            stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment(protocols),
        )
    except FileNotFoundError:
        raise Unavailable(
            "git cannot be started: it is not installed, or the folder is gone."
        ) from None
    except OSError as error:
        raise Unavailable(f"git cannot be started: {error.strerror}.") from None


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


def environment(protocols: str = "none") -> dict[str, str]:
    """Return the cleaned environment of a git child; `protocols` may be fetched from."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "SSH_AUTH_SOCK")
        if name in os.environ
    }
    ssh = {"GIT_SSH_COMMAND": "ssh -oBatchMode=yes"} if protocols == "ssh" else {}
    return {**kept, **_ENVIRONMENT, **ssh, "GIT_ALLOW_PROTOCOL": protocols}


def _fail(arguments: Sequence[str], code: int, said: str, timeout_s: float | None) -> None:
    words = [part for part in arguments if not part.startswith("-")]
    name = words[0] if words else "git"
    if timeout_s is not None:
        raise Unavailable(f"git {name} took more than {timeout_s:.0f} s and was stopped.")
    line = said.strip().splitlines()[-1] if said.strip() else f"exit code {code}"
    raise Unavailable(f"git {name} failed: {line.removeprefix('fatal: ')[:300]}")
