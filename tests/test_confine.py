from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from rlm_mcp.confine import Confine, is_denied
from rlm_mcp.errors import BadRequest, Denied, RlmError, Unavailable


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "a.py").write_text("x = 1\n")
    return folder


@pytest.mark.parametrize(
    "path",
    [
        ".env", "sub/.env.local", "prod.env", ".ENV", "server.pem", "deep/tls.KEY", "id_rsa",
        "id_ed25519_work", ".netrc", ".npmrc", ".pypirc", "credentials", ".aws/config",
        "home/.ssh/known_hosts", ".git-credentials", "x.pem.", "x.pem::$DATA", ".envrc",
    ],
)  # fmt: skip
def test_secrets_are_denied_by_name(path: str) -> None:
    assert is_denied(path)


@pytest.mark.parametrize(
    "path",
    [
        ".env~", "x.env.bak", ".env.swp", ".env.swo", "#.env#", ".#.env", ".env.orig", ".env.save",
        ".env.2024-01-02", ".env.local.bak", ".env_old", ".env.bak.old", ".env - copy",
        "prod.pem.bak", "server.key~", "id_rsa.old", ".id_rsa.swp", "copy of id_rsa",
        "SECRETS.YML~", ".git-credentials~", ".pgpass.bak", "credentials.json.1",
        "credentials.json (1)", ".~lock.credentials.csv#", "service-account.json.bak",
        ".kube/config", "kubeconfig", "kubeconfig.yaml", "prod-kubeconfig", "kubeconfig-prod",
        "a/kubeconfig-prod.yml", "kubeconfig.old", "kube_config_cluster.yml",
        "terraform.tfvars", "prod.auto.tfvars", "x.tfvars.json", "terraform.tfvars.bak",
        "terraform.tfstate", "terraform.tfstate.backup", "terraform.tfstate.1700000000.backup",
        ".bash_history", ".zsh_history", ".python_history", ".psql_history", ".mysql_history",
        ".node_repl_history", ".sqlite_history", ".rediscli_history", "fish_history",
        ".bash_history-1234.tmp", "ConsoleHost_history.txt",
        "_netrc", ".netrc.gpg", ".authinfo", ".pgpass", ".my.cnf", ".dockercfg",
        ".docker/config.json", ".config/gh/hosts.yml", "gh/hosts.yml~", ".codex/auth.json",
        ".aws/credentials", "application_default_credentials.json", "client_secret_1.json",
        "x.jks", "x.p12", "x.pfx", "x.kdbx", "x.p8", "wallet.dat", ".htpasswd", ".vault-token",
        ".cargo/credentials.toml", ".gem/credentials", "rclone.conf", "secrets.yml", "x.ovpn",
    ],
)  # fmt: skip
def test_backups_histories_and_the_files_of_tools_are_denied_by_name(path: str) -> None:
    assert is_denied(path)
    assert is_denied(path.upper())
    assert is_denied(f"deep/er/{path}")


@pytest.mark.parametrize(
    "path",
    [
        ".env.sample", ".env.template", ".env.example~", ".env.example.bak",
        ".env.production.example", "example.env", "id_rsa.pub.bak", "kubeconfig.go",
        "kubeconfig_test.go", "history.py", "order_history.py", "hosts.yml", "ansible/hosts.yaml",
        "terraform.tfvars.example", "prod.example.tfvars", "x.tf", "README.md~", "main.c.orig",
        "auth.json", "notes.1", "secrets.py", "#", "~", ".bak", "#x#", "foo.swp", "report (1).txt",
        "a/credentials/README.md", "backup of notes.txt",
    ],
)  # fmt: skip
def test_examples_and_other_backups_are_not_denied(path: str) -> None:
    assert not is_denied(path)


@pytest.mark.parametrize(
    "path", [".env.example", "id_rsa.pub", "keys.py", "environment.py", "pem.md", "credentials.py"]
)
def test_ordinary_names_are_not_denied(path: str) -> None:
    assert not is_denied(path)


def test_a_path_inside_a_root_resolves(root: Path) -> None:
    assert Confine((root,)).resolve_path("a.py") == (root / "a.py").resolve()


@pytest.mark.parametrize("source", ["../outside.txt", "/etc/passwd", "sub/../../outside.txt"])
def test_a_path_outside_the_roots_is_denied(root: Path, source: str) -> None:
    (root.parent / "outside.txt").write_text("no")
    (root / "sub").mkdir()
    with pytest.raises(Denied, match="outside the roots"):
        Confine((root,)).resolve_path(source)


def test_whether_an_outside_path_exists_is_not_told(root: Path) -> None:
    confine = Confine((root,))
    sentences = []
    for name in ("there.txt", "not_there.txt"):
        (root.parent / "there.txt").write_text("no")
        with pytest.raises(RlmError) as caught:
            confine.resolve_path(f"../{name}")
        sentences.append(str(caught.value).replace(name, "X"))
    assert sentences[0] == sentences[1]


def test_a_link_that_leaves_is_denied(root: Path) -> None:
    (root.parent / "outside.txt").write_text("no")
    (root / "link").symlink_to("../outside.txt")
    with pytest.raises(Denied, match="outside"):
        Confine((root,)).resolve_path("link")


def test_a_link_to_a_secret_is_denied_under_another_name(root: Path) -> None:
    (root / ".env").write_text("KEY=1")
    (root / "notes.txt").symlink_to(".env")
    with pytest.raises(Denied, match="secrets"):
        Confine((root,)).resolve_path("notes.txt")


def test_a_secret_can_be_allowed_by_the_user(root: Path) -> None:
    (root / ".env").write_text("KEY=1")
    assert Confine((root,), secrets=True).resolve_path(".env").name == ".env"


def test_a_pipe_is_refused_without_waiting_for_a_writer(root: Path) -> None:
    os.mkfifo(root / "pipe")
    confine = Confine((root,))
    with pytest.raises(BadRequest, match="a pipe"):
        confine.resolve_path("pipe")
    with pytest.raises(BadRequest, match="a pipe"):
        confine.open_file(root / "pipe")


def test_a_socket_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("s")
        with pytest.raises(BadRequest, match="a socket"):
            Confine((root,)).resolve_path("s")


def test_devices_and_kernel_files_are_refused() -> None:
    confine = Confine((Path("/"),))
    for source in ("/dev/null", "/dev/zero", "/proc/self/environ", "/sys/kernel"):
        with pytest.raises(BadRequest, match=r"device|virtual"):
            confine.resolve_path(source)


def test_a_loop_of_links_is_one_sentence(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(RlmError):
        Confine((root,)).resolve_path("a")


def test_a_link_put_in_place_after_the_check_is_not_followed(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("stolen")
    (root / "sub").mkdir()
    (root / "sub" / "a.py").write_text("ours")
    confine = Confine((root,))
    path = confine.resolve_path("sub/a.py")
    (root / "sub" / "a.py").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to(outside)
    with pytest.raises(Denied, match="safely"):
        confine.open_file(path)
    (root / "sub").unlink()
    (root / "sub").mkdir()
    (root / "sub" / "a.py").symlink_to(outside / "a.py")
    with pytest.raises(Denied, match="safely"):
        confine.open_file(path)


def test_a_file_without_permission_is_unavailable(root: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (root / "a.py").chmod(0)
    with pytest.raises(Unavailable, match="permission"):
        Confine((root,)).open_file(root / "a.py")


def test_open_gives_the_bytes(root: Path) -> None:
    fd = Confine((root,)).open_file(root / "a.py")
    with os.fdopen(fd, "rb") as file:
        assert file.read() == b"x = 1\n"


def test_a_folder_is_not_opened_as_a_file(root: Path) -> None:
    (root / "sub").mkdir()
    with pytest.raises(BadRequest, match="folder"):
        Confine((root,)).open_file(root / "sub")


def test_a_path_with_nul_is_refused(root: Path) -> None:
    with pytest.raises(BadRequest, match="NUL"):
        Confine((root,)).resolve_path("a\0b")


def test_a_root_below_a_secret_folder_still_works(tmp_path: Path) -> None:
    root = tmp_path / ".docker" / "project"
    root.mkdir(parents=True)
    (root / "a.py").write_text("x")
    confine = Confine((root,))
    assert confine.resolve_path("a.py").name == "a.py"
    assert confine.exclude_reason(root / "a.py") is None
    assert confine.exclude_reason(root / ".env") == "denied"
