"""Clone a repository into the cache folder, when a person or a model asks for exactly that.

Only https, ssh, and file URLs under the roots; no hooks, no submodules, no filters, no prompt.
A clone is kept and reused; opening it again fetches what is new where there is a network.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rlm_mcp.config import cache_dir
from rlm_mcp.errors import BadRequest, Denied, Unavailable
from rlm_mcp.git.command import GitCommand, stream_git
from rlm_mcp.git.repository import GitRepository, find_repository

if TYPE_CHECKING:
    from rlm_mcp.confine import Confine

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:(?://|:)")
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^\s]+\Z")
CLONE_TIMEOUT_S = 600.0


def is_url(source: str) -> bool:
    """Say whether a source is a URL or git's short form of one (git@host:path)."""
    return bool(_URL.match(source) or _SCP.match(source))


def fetch_clone(source: str, confine: Confine) -> Path:
    """Return the folder of an up-to-date clone.

    Raises Denied for a protocol that is not allowed, Unavailable where the other side cannot be
    reached.
    """
    protocol, address = _check_source(source, confine)
    folder = cache_dir() / "clones" / hashlib.sha256(address.encode()).hexdigest()[:24]
    if folder.is_dir():
        _fetch_updates(folder, protocol)
        return folder
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = folder.with_name(f"{folder.name}.{os.getpid()}")
    arguments = [
        "clone", "--quiet", "--no-recurse-submodules", "--no-local", "--template=",
        "--config=core.symlinks=false", "--end-of-options", address, os.fspath(part),
    ]  # fmt: skip
    try:
        with stream_git(
            arguments, folder.parent, timeout_s=CLONE_TIMEOUT_S, protocols=protocol
        ) as out:
            out.read()
        os.rename(part, folder)
    except Unavailable as error:
        raise Unavailable(_explain_failure(source, str(error))) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def open_clone(source: str, confine: Confine) -> GitRepository | None:
    """Return the repository of an up-to-date clone, or None where the source is no URL."""
    if not is_url(source):
        return None
    folder = fetch_clone(source, confine)
    return GitRepository(folder / ".git", folder, folder)


def _check_source(source: str, confine: Confine) -> tuple[str, str]:
    if source.startswith("-"):
        raise BadRequest(f"{source!r} is not a URL.")
    if _SCP.match(source) and "::" not in source:
        return "ssh", source
    parts = urlsplit(source)
    if parts.scheme in ("https", "ssh"):
        if not parts.hostname or parts.hostname.startswith("-"):
            raise BadRequest(f"{source!r} names no host.")
        if parts.password:
            raise Denied("A URL that carries a password is not opened; use a credential of git's.")
        return parts.scheme, source
    if parts.scheme == "file":
        return "file", os.fspath(
            _local_git_dir(confine.resolve_path(unquote(parts.path)), source, confine)
        )
    raise Denied(
        f"Repositories are cloned over https or ssh only, not {parts.scheme or 'this'}: {source!r}."
    )


def _local_git_dir(path: Path, source: str, confine: Confine) -> Path:
    """Return the git folder of a repository under the roots that takes nothing from elsewhere.

    Given a git folder, git looks for a `.git` inside it first, which may be a link.
    """
    known = find_repository(path, confine)
    if known is None or path not in (known.top, known.git_dir):
        raise BadRequest(f"{source!r} is no repository.")
    if os.path.lexists(known.git_dir / ".git"):
        raise Denied(f"The git folder of {source!r} holds another one.")
    return known.git_dir


def _fetch_updates(folder: Path, protocol: str) -> None:
    """Take over what is new on the other side; without a network the clone stays as it is."""
    git = GitCommand(folder / ".git", folder, folder)
    where = [f"--git-dir={git.git_dir}", f"--work-tree={folder}"]
    try:
        with stream_git([*where, "fetch", "--quiet", "--no-recurse-submodules", "origin"], folder,
                     timeout_s=CLONE_TIMEOUT_S, protocols=protocol) as out:  # fmt: skip
            out.read()
        git.read_output("reset", "--quiet", "--hard", "origin/HEAD")
    except Unavailable:
        return  # offline, or the other side is gone: what was cloned stays usable


def _explain_failure(source: str, said: str) -> str:
    if "resolve host" in said or "unreachable" in said or "timed out" in said or "Connect" in said:
        return f"{source!r} cannot be cloned: there is no network here, or the host is unknown."
    return f"{source!r} cannot be cloned: {said}"
