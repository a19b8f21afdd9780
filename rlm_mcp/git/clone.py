"""Clone a repository into the cache folder, when a person or a model asks for exactly that.

Only https, ssh, and file URLs under the roots; no hooks, no submodules, no filters, no prompt.
Only hosts that the user listed are reached, none by default. A name is resolved once, git gets
the address that was judged, follows no redirect, and uses no proxy. A clone is kept and reused;
opening it again fetches what is new where there is a network.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import select
import shlex
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rlm_mcp.config import cache_dir, config_dir
from rlm_mcp.errors import BadRequest, Denied, Unavailable
from rlm_mcp.files import private_folder
from rlm_mcp.git.command import GitCommand, run_git, stream_git
from rlm_mcp.git.repository import GitRepository, find_repository

if TYPE_CHECKING:
    from rlm_mcp.config import Settings
    from rlm_mcp.confine import Confine

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:(?://|:)")
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^\s]+\Z")
_NETWORK_URL = re.compile(
    r"(?P<scheme>https|ssh)://(?:(?P<user>[A-Za-z0-9_.~-]+)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(?::(?P<port>[0-9]{1,5}))?"
    r"/[^\s\\?#\x00-\x20\x7f]*\Z"
)
"""Exactly the URLs that we and git read alike."""
_SCP_HOST = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*@(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):[^:\s]")
_PORTS = {"https": 443, "ssh": 22}
CLONE_TIMEOUT_S = 600.0
MAX_CLONE_BYTES = 2 << 30
_WATCH_S = 0.5
"""Seconds between two looks at the size of what is fetched."""

_HTTPS_SETTINGS = (
    "http.followRedirects=false", "http.proxy=", "http.sslVerify=true", "http.cookieFile=",
    "http.lowSpeedLimit=1000", "http.lowSpeedTime=60", "fetch.uriProtocols=",
)  # fmt: skip
_SSH_OPTIONS = (
    "BatchMode=yes", "StrictHostKeyChecking=yes", "ProxyCommand=none", "ProxyJump=none",
    "PermitLocalCommand=no", "ForwardAgent=no", "ClearAllForwardings=yes", "CheckHostIP=no",
    "ControlPath=none", "ConnectTimeout=30", "ServerAliveInterval=30",
)  # fmt: skip
_CARRIERS = tuple(
    ipaddress.ip_network(text)
    for text in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16")
)
"""Networks of IPv6 whose addresses carry one of IPv4, which may be a private one."""
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text) for text in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24")
)
"""Addresses that look public and are those of a cloud's own services, or of no machine."""
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class CloneSource:
    """What is cloned, and the settings that git gets for it."""

    protocol: str
    address: str
    flags: tuple[str, ...] = ()


def is_url(source: str) -> bool:
    """Say whether a source is a URL or git's short form of one (git@host:path)."""
    return bool(_URL.match(source) or _SCP.match(source))


def fetch_clone(source: str, confine: Confine, settings: Settings) -> Path:
    """Return the folder of an up-to-date clone.

    Raises Denied for a protocol, host or address that is not allowed, Unavailable where the other
    side cannot be reached.
    """
    checked = _check_source(source, confine, settings)
    folder = cache_dir() / "clones" / hashlib.sha256(checked.address.encode()).hexdigest()[:24]
    if folder.is_dir():
        _fetch_updates(folder, checked)
        return folder
    private_folder(folder.parent)
    part = folder.with_name(f"{folder.name}.{os.getpid()}")
    arguments = [
        *checked.flags, "clone", "--quiet", "--no-recurse-submodules", "--no-local", "--template=",
        "--config=core.symlinks=false", "--end-of-options", checked.address,
        os.fspath(part),
    ]  # fmt: skip
    try:
        with stream_git(
            arguments, folder.parent, timeout_s=CLONE_TIMEOUT_S, protocols=checked.protocol
        ) as out:
            _wait_bounded(out, part, source)
        os.rename(part, folder)
    except Unavailable as error:
        raise Unavailable(_explain_failure(source, str(error))) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def open_clone(
    source: str, confine: Confine, settings: Settings, *, fetch: bool
) -> GitRepository | None:
    """Return the repository of an up-to-date clone, or None where the source is no URL.

    Raises Denied unless the network may be used, and what `fetch_clone` raises.
    """
    if not is_url(source):
        return None
    if not fetch:
        raise Denied(
            "Code reaches no network; a URL is opened by the tool open_context alone, and its "
            "context is then used by name."
        )
    folder = fetch_clone(source, confine, settings)
    return GitRepository(folder / ".git", folder, folder)


def _check_source(source: str, confine: Confine, settings: Settings) -> CloneSource:
    if source.startswith("-"):
        raise BadRequest(f"{source!r} is not a URL.")
    if _SCP.match(source) and "::" not in source:
        match = _SCP_HOST.match(source)
        if match is None:
            raise BadRequest(f"{source!r} is no git URL; write git@host:path or https://host/path.")
        return _ssh_source(source, match["host"], _PORTS["ssh"], settings)
    parts = urlsplit(source)
    if parts.scheme in _PORTS:
        if parts.password:
            raise Denied("A URL that carries a password is not opened; use a credential of git's.")
        match = _NETWORK_URL.match(source)
        if match is None:
            raise BadRequest(
                f"{source!r} names no host; write {parts.scheme}://host/path, plainly."
            )
        port = int(match["port"] or _PORTS[parts.scheme])
        if parts.scheme == "ssh":
            return _ssh_source(source, match["host"], port, settings)
        return _https_source(source, match["host"], port, settings)
    if parts.scheme == "file":
        return CloneSource(
            "file",
            os.fspath(_local_git_dir(confine.resolve_path(unquote(parts.path)), source, confine)),
        )
    raise Denied(
        f"Repositories are cloned over https or ssh only, not {parts.scheme or 'this'}: {source!r}."
    )


def _https_source(source: str, host: str, port: int, settings: Settings) -> CloneSource:
    pins = _permitted_addresses(host, port, "https", settings.clone_hosts)
    if _git_version() < (2, 37):
        raise Unavailable("Cloning over https needs git 2.37 or newer, which keeps to an address.")
    shown = ",".join(f"[{pin}]" if pin.version == 6 else str(pin) for pin in pins)
    resolve = f"http.curloptResolve={host.strip('[]').lower()}:{port}:{shown}"
    values = (*_HTTPS_SETTINGS, resolve)
    return CloneSource("https", source, tuple(part for value in values for part in ("-c", value)))


def _ssh_source(source: str, host: str, port: int, settings: Settings) -> CloneSource:
    pin = _permitted_addresses(host, port, "ssh", settings.clone_hosts)[0]
    known_as = host.strip("[]") if port == _PORTS["ssh"] else f"[{host.strip('[]')}]:{port}"
    own = () if settings.clone_ssh_config else ("-F", "/dev/null", "-oIdentityAgent=none")
    options = [*_SSH_OPTIONS, f"HostName={pin}", f"HostKeyAlias={known_as}"]
    line = ["ssh", *own, *(f"-o{option}" for option in options)]
    values = (f"core.sshCommand={shlex.join(line)}", "ssh.variant=ssh")
    return CloneSource("ssh", source, tuple(part for value in values for part in ("-c", value)))


def _permitted_addresses(
    host: str, port: int, protocol: str, listed: Sequence[str]
) -> list[_Address]:
    """Return the addresses of a host that the user listed, resolved once and all permitted.

    Raises Denied, before anything is resolved for a host that is not listed.
    """
    named, usual = host.lower(), port == _PORTS[protocol]
    if f"{named}:{port}" not in listed and not (usual and named in listed):
        wanted = named if usual else f"{named}:{port}"
        raise Denied(
            f"{wanted} is not among the hosts to clone from ({', '.join(listed) or 'none'}); the "
            f'user may add it: clone_hosts = ["{wanted}"] in {config_dir() / "config.toml"}.'
        )
    networks = [network for text in listed if (network := _as_network(text)) is not None]
    try:
        found = socket.getaddrinfo(named.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unavailable(
            f"{host} cannot be cloned from: there is no network here, or the host is unknown."
        ) from None
    addresses = [
        ipaddress.ip_address(str(entry[4][0]).partition("%")[0])
        for entry in found
        if entry[0] in (socket.AF_INET, socket.AF_INET6)
    ]
    for address in addresses:
        if not _is_public(address) and not any(address in network for network in networks):
            raise Denied(
                f"{host} is at {address}, which is no public address; the user may add "
                f'"{address}" to clone_hosts in {config_dir() / "config.toml"}.'
            )
    return list(dict.fromkeys(addresses))


def _as_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if any(address in network for network in _CARRIERS):
            return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast


def _git_version() -> tuple[int, ...]:
    words = re.findall(rb"[0-9]+", run_git(["version"], cache_dir()))
    return tuple(int(word) for word in words[:2])


def _wait_bounded(out: IO[bytes], folder: Path, source: str) -> None:
    """Wait until git ends; raises BadRequest where the folder grows too large meanwhile."""
    while os.name != "nt" and not select.select([out], [], [], _WATCH_S)[0]:
        _check_size(folder, source)
    out.read()
    _check_size(folder, source)


def _check_size(folder: Path, source: str) -> None:
    size = 0
    for below, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(below, name)).st_size
            except FileNotFoundError:
                continue  # git renamed it a moment ago
    if size > MAX_CLONE_BYTES:
        raise BadRequest(
            f"{source!r} is larger than {MAX_CLONE_BYTES:,} bytes; clone it yourself and open the "
            "folder."
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


def _fetch_updates(folder: Path, checked: CloneSource) -> None:
    """Take over what is new on the other side; without a network the clone stays as it is."""
    git = GitCommand(folder / ".git", folder, folder)
    where = [f"--git-dir={git.git_dir}", f"--work-tree={folder}"]
    line = [*checked.flags, *where, "fetch", "--quiet", "--no-recurse-submodules", "origin"]
    try:
        with stream_git(line, folder, timeout_s=CLONE_TIMEOUT_S, protocols=checked.protocol) as out:
            _wait_bounded(out, folder, checked.address)
        git.read_output("reset", "--quiet", "--hard", "origin/HEAD")
    except Unavailable:
        return  # offline, or the other side is gone: what was cloned stays usable


def _explain_failure(source: str, said: str) -> str:
    if "resolve host" in said or "unreachable" in said or "timed out" in said or "Connect" in said:
        return f"{source!r} cannot be cloned: there is no network here, or the host is unknown."
    return f"{source!r} cannot be cloned: {said}"
