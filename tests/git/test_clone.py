"""Clones reach the hosts that the user listed, at the address that was judged, and nothing else."""

from __future__ import annotations

import functools
import http.server
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlm_mcp.errors import BadRequest, Denied, RlmError, Unavailable
from rlm_mcp.git import clone
from tests.project import OpenProject, Work, catalog_of, own_home, work

__all__ = ["catalog_of", "own_home", "work"]
Make = Callable[..., OpenProject]


class Listener:
    """A port that counts who connects, and hangs up."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.seen: list[bytes] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    self.seen.append(connection.recv(4_096))
                except OSError:
                    self.seen.append(b"")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


FORMS = (
    "https://localhost:{port}/x.git", "https://127.0.0.1:{port}/x.git", "ssh://git@localhost:{port}/x",
    "https://user@127.0.0.1:{port}/x", "HTTPS://LOCALHOST:{port}/x", "https://127.1:{port}/x",
    "https://2130706433:{port}/x", "https://0x7f000001:{port}/x", "https://0:{port}/x",
    "https://[::ffff:127.0.0.1]:{port}/x", "https://localhost.:{port}/x",
    "https://good.example@localhost:{port}/x", "https://good.example:{port}@localhost:{port}/x",
    "https://good.example\\@localhost:{port}/x", "https://localhost:{port}#good.example/x",
    "https://localhost:{port}?good.example/x", " https://localhost:{port}/x", "http://localhost:{port}/x",
    "git://localhost:{port}/x", "ftp://localhost:{port}/x", "ssh://localhost:{port}/x",
    "git+ssh://localhost:{port}/x", "ext::nc localhost {port}",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("listed", [(), ("good.example",), ("127.0.0.0/8", "::/0")])
def test_a_host_that_is_not_listed_is_not_reached(
    form: str, listed: tuple[str, ...], listener: Listener, work: Work, catalog_of: Make
) -> None:
    catalog = catalog_of(work.path, clone_hosts=listed)
    with pytest.raises((Denied, BadRequest)):
        catalog.open_context(form.format(port=listener.port))
    assert listener.seen == []


def test_the_refusal_names_the_setting_and_its_file(work: Work, catalog_of: Make) -> None:
    with pytest.raises(Denied, match=r'clone_hosts = \["github.com"\] in .*config\.toml'):
        catalog_of(work.path).open_context("https://github.com/a/b.git")
    with pytest.raises(Denied, match=r"clone_hosts"):
        catalog_of(work.path).open_context("git@github.com:a/b.git")


@pytest.mark.parametrize("form", ["https://localhost:{port}/x.git", "ssh://git@localhost:{port}/x"])
def test_a_listed_name_at_a_private_address_is_not_reached(
    form: str, listener: Listener, work: Work, catalog_of: Make
) -> None:
    catalog = catalog_of(work.path, clone_hosts=(f"localhost:{listener.port}",))
    with pytest.raises(Denied, match="no public address"):
        catalog.open_context(form.format(port=listener.port))
    assert listener.seen == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.100.100.200",
        "168.63.129.16", "0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.0.192", "198.18.0.1",
        "::1", "::", "fe80::1", "fd00:ec2::254", "::ffff:10.0.0.1", "64:ff9b::a00:1",
        "2002:a00:1::1", "::7f00:1", "ff02::1",
    ],
)  # fmt: skip
def test_no_private_address_is_reached_behind_a_listed_name(
    address: str, work: Work, catalog_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("140.82.121.3", 443))
    hidden = (family, socket.SOCK_STREAM, 6, "", (address, 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [public, hidden])
    monkeypatch.setattr(clone, "stream_git", lambda *a, **k: pytest.fail("git was started"))
    with pytest.raises(Denied, match="no public address"):
        catalog_of(work.path, clone_hosts=("good.example",)).open_context("https://good.example/x")


def test_git_goes_to_the_address_that_was_judged(
    listener: Listener, work: Work, catalog_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name has no address but the one of the first answer: git asks nobody again."""
    asked = []

    def resolve(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    listed = (f"pinned.invalid:{listener.port}", "127.0.0.1")
    catalog = catalog_of(work.path, clone_hosts=listed)
    with pytest.raises(Unavailable):
        catalog.open_context(f"https://pinned.invalid:{listener.port}/x.git")
    assert asked == ["pinned.invalid"]
    assert len(listener.seen) == 1
    assert b"pinned.invalid" in listener.seen[0]  # the name stays the one that TLS asks for
    with pytest.raises(Unavailable):
        catalog.open_context(f"ssh://git@pinned.invalid:{listener.port}/x.git")
    assert listener.seen[1].startswith(b"SSH-2.0")


def test_ssh_takes_nothing_of_the_users_configuration(
    listener: Listener,
    work: Work,
    tmp_path: Path,
    catalog_of: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mark = tmp_path / "ran"
    home = tmp_path / "user"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".ssh/config").write_text(f"Host *\n  ProxyCommand touch {mark}\n")
    monkeypatch.setenv("HOME", str(home))
    listed = (f"localhost:{listener.port}", "127.0.0.1", "::1")
    catalog = catalog_of(work.path, clone_hosts=listed)
    with pytest.raises(Unavailable):
        catalog.open_context(f"ssh://git@localhost:{listener.port}/x")
    assert not mark.exists()


class _Files(http.server.SimpleHTTPRequestHandler):
    moved_to = ""

    def do_GET(self) -> None:
        if self.moved_to:
            self.send_response(302)
            self.send_header("Location", f"{self.moved_to}{self.path}")
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    file = tmp_path / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", file, "-out", file.with_suffix(".crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_bytes(file.read_bytes() + file.with_suffix(".crt").read_bytes())
    return file


@pytest.fixture
def serve_folder(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., int]]:
    """Serve folders over https by a certificate that git is told to trust."""
    trusted = f"http.sslCAInfo={certificate.with_suffix('.crt')}"
    monkeypatch.setattr(clone, "_HTTPS_SETTINGS", (*clone._HTTPS_SETTINGS, trusted))
    servers = []

    def serve(folder: Path, moved_to: str = "") -> int:
        kind = type("Files", (_Files,), {"moved_to": moved_to})
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(kind, directory=os.fspath(folder))
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def public(work: Work, tmp_path: Path) -> Path:
    work.commit("one", a_dot_txt="from afar\n")
    folder = tmp_path / "public"
    folder.mkdir()
    work.git("clone", "-q", "--bare", str(work.path), str(folder / "x.git"))
    work.git(f"--git-dir={folder / 'x.git'}", "update-server-info")
    return folder


def listed_port(port: int) -> tuple[str, ...]:
    return (f"localhost:{port}", "127.0.0.1", "::1")


def test_a_listed_host_is_cloned_from(
    public: Path, work: Work, catalog_of: Make, serve_folder: Callable[..., int]
) -> None:
    port = serve_folder(public)
    catalog = catalog_of(work.path, clone_hosts=listed_port(port))
    catalog.open_context(f"https://localhost:{port}/x.git", "far")
    assert catalog.full_text("far:a.txt") == "from afar\n"


def test_a_redirect_is_not_followed(
    public: Path,
    listener: Listener,
    work: Work,
    catalog_of: Make,
    serve_folder: Callable[..., int],
) -> None:
    port = serve_folder(public, moved_to=f"https://localhost:{listener.port}")
    catalog = catalog_of(work.path, clone_hosts=listed_port(port))
    with pytest.raises(Unavailable):
        catalog.open_context(f"https://localhost:{port}/x.git")
    assert listener.seen == []


def test_alternates_of_the_other_side_are_not_followed(
    public: Path,
    listener: Listener,
    work: Work,
    catalog_of: Make,
    serve_folder: Callable[..., int],
) -> None:
    objects = public / "x.git/objects"
    for pack in (objects / "pack").glob("*"):
        pack.unlink()
    (objects / "info/packs").write_text("\n")
    for folder in objects.glob("??"):
        for file in folder.iterdir():
            file.unlink()
    where = f"https://localhost:{listener.port}/x.git/objects\n"
    for name in ("http-alternates", "alternates"):
        (objects / "info" / name).write_text(where)
    port = serve_folder(public)
    with pytest.raises(Unavailable):
        catalog_of(work.path, clone_hosts=listed_port(port)).open_context(
            f"https://localhost:{port}/x.git"
        )
    assert listener.seen == []


def test_a_clone_that_grows_too_large_is_ended(
    public: Path,
    work: Work,
    catalog_of: Make,
    serve_folder: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clone, "MAX_CLONE_BYTES", 100)
    port = serve_folder(public)
    catalog = catalog_of(work.path, clone_hosts=listed_port(port))
    with pytest.raises(BadRequest, match="larger than 100 bytes"):
        catalog.open_context(f"https://localhost:{port}/x.git")
    assert not list((Path(os.environ["RLM_MCP_CACHE_DIR"]) / "clones").iterdir())


@pytest.mark.parametrize("form", FORMS)
def test_code_reaches_no_host_at_all(
    form: str, listener: Listener, work: Work, catalog_of: Make
) -> None:
    catalog = catalog_of(work.path, clone_hosts=listed_port(listener.port))
    with pytest.raises(RlmError):
        catalog.open_context(form.format(port=listener.port), fetch=False)
    assert listener.seen == []
