"""Installing and taking out again, for every client: the user's file comes back exactly."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rlm_mcp.clients import CLIENTS, claude_code, patch
from rlm_mcp.clients.client import Client, InstallScope
from rlm_mcp.config import state_dir
from rlm_mcp.errors import Unavailable


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a home folder of its own."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)


PLACES = [(client, scope) for client in CLIENTS.values() for scope in client.scopes]

BEFORE = {
    "jsonc": [
        None,
        "{}\n",
        '// mine\n{\n  "a": 1, // one\n}\n',
        '{\n  "mcpServers": {},\n  "servers": {}\n}\n',
        '{\r\n\t"mcpServers": {"x": {"command": "y", "env": {"K": "sk-secret"}}}\r\n}\r\n',
    ],
    "toml": [None, "", '# mine\nmodel = "x"', '[mcp_servers.a]\r\ncommand = "b"\r\n'],
}


def install(client: Client, scope: InstallScope, project: Path) -> patch.ConfigChange:
    change = client.plan_install(scope, project, ("/opt/rlm-mcp",))
    patch.write_change(change)
    return change


@pytest.mark.parametrize(
    ("client", "scope"), PLACES, ids=lambda value: str(getattr(value, "name", value))
)
def test_taking_out_what_was_put_in_gives_the_same_bytes(
    client: Client, scope: InstallScope, tmp_path: Path
) -> None:
    path = client.config_path(scope, tmp_path)
    for before in BEFORE[client.format]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before.encode())
        change = install(client, scope, tmp_path)
        assert change.has_changes
        assert client.is_installed(scope, tmp_path)
        assert not client.plan_install(scope, tmp_path, ("/opt/rlm-mcp",)).has_changes
        patch.write_change(client.plan_uninstall(scope, tmp_path))
        after = path.read_bytes().decode() if path.exists() else None
        assert after == before
        assert not client.plan_uninstall(scope, tmp_path).has_changes


@pytest.mark.parametrize(
    ("client", "scope"), PLACES, ids=lambda value: str(getattr(value, "name", value))
)
def test_what_the_user_adds_meanwhile_stays(
    client: Client, scope: InstallScope, tmp_path: Path
) -> None:
    install(client, scope, tmp_path)
    path = client.config_path(scope, tmp_path)
    if client.format == "toml":
        path.write_text(path.read_text() + "\n# later\n[other]\na = 1\n")
    else:
        values = json.loads(path.read_text())
        values["later"] = [1]
        path.write_text(json.dumps(values))
    patch.write_change(client.plan_uninstall(scope, tmp_path))
    assert not client.is_installed(scope, tmp_path)
    assert "later" in path.read_text()


def test_a_file_that_cannot_be_read_stays_as_it_was(tmp_path: Path) -> None:
    client = CLIENTS["cursor"]
    path = client.config_path("project", tmp_path)
    path.parent.mkdir()
    for broken in (b"{ not json", b"\xff\xfe", b'{"mcpServers": 3}'):
        path.write_bytes(broken)
        with pytest.raises(Unavailable, match="nothing was changed"):
            client.plan_install("project", tmp_path, ("rlm-mcp",))
        assert path.read_bytes() == broken


def test_toml_that_cannot_be_edited_safely_is_refused(tmp_path: Path) -> None:
    client = CLIENTS["codex"]
    path = client.config_path("project", tmp_path)
    path.parent.mkdir()
    for text in (
        'mcp_servers = { a = { command = "x" } }\n',
        "mcp_servers = 3\n",
        "[[mcp_servers]]\n",
    ):
        path.write_text(text)
        with pytest.raises(Unavailable):
            client.plan_install("project", tmp_path, ("rlm-mcp",))
        assert path.read_text() == text


def test_a_link_to_a_dotfile_stays_a_link_and_the_mode_stays(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}\n")
    real.chmod(0o640)
    path = CLIENTS["vscode"].config_path("project", tmp_path)
    path.parent.mkdir()
    path.symlink_to(real)
    install(CLIENTS["vscode"], "project", tmp_path)
    assert path.is_symlink()
    assert "rlm" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640


def test_what_is_remembered_holds_nothing_of_the_users_file(tmp_path: Path) -> None:
    path = CLIENTS["cursor"].config_path("project", tmp_path)
    path.parent.mkdir()
    path.write_text('{"mcpServers": {"x": {"env": {"KEY": "sk-very-secret"}}}}')
    install(CLIENTS["cursor"], "project", tmp_path)
    kept = [path.read_text() for path in state_dir().rglob("*") if path.is_file()]
    assert kept
    assert "very-secret" not in "".join(kept)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        blocked = tmp_path / "file"
        blocked.write_text("")
        project = blocked
    else:
        project = tmp_path / "locked"
        project.mkdir(mode=0o500)
    with pytest.raises(Unavailable, match="Cannot"):
        install(CLIENTS["cursor"], "project", project)


def test_the_users_claude_code_is_changed_only_through_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = folder / "claude"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$(dirname "$0")/said"\necho done\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    assert claude_code.add_for_user(("/opt/rlm-mcp",)) == "done"
    said = (folder / "said").read_text().split("\n")
    assert said[:-1] == ["mcp", "add", "--scope", "user", "rlm", "--", "/opt/rlm-mcp", "serve"]
    fake.write_text("#!/bin/sh\necho no such server >&2\nexit 1\n")
    with pytest.raises(Unavailable, match="no such server"):
        claude_code.remove_for_user()
    fake.unlink()
    with pytest.raises(Unavailable, match="not found"):
        claude_code.add_for_user(("rlm-mcp",))


FOREIGN = {
    "jsonc": '{"mcpServers": {"rlm": {"command": "lamp"}}, "servers": {"rlm": {"url": "http://x"}}}',
    "toml": '[mcp_servers.rlm]\ncommand = "lamp"\n\n[mcp_servers.rlm.env]\nA = "1"\n',
}


@pytest.mark.parametrize(
    ("client", "scope"), PLACES, ids=lambda value: str(getattr(value, "name", value))
)
def test_another_server_with_our_name_stays(
    client: Client, scope: InstallScope, tmp_path: Path
) -> None:
    path = client.config_path(scope, tmp_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FOREIGN[client.format])
    with pytest.raises(Unavailable, match="another server called rlm"):
        client.plan_install(scope, tmp_path, ("/opt/rlm-mcp",))
    with pytest.raises(Unavailable, match="another server called rlm"):
        client.plan_uninstall(scope, tmp_path)
    assert path.read_text() == FOREIGN[client.format]


def test_an_older_entry_of_ours_is_replaced(tmp_path: Path) -> None:
    cursor = CLIENTS["cursor"]
    path = cursor.config_path("project", tmp_path)
    path.parent.mkdir()
    path.write_text('{"mcpServers": {"rlm": {"command": "uvx", "args": ["rlm-mcp@0.1.0"]}}}')
    install(cursor, "project", tmp_path)
    assert json.loads(path.read_text())["mcpServers"]["rlm"]["command"] == "/opt/rlm-mcp"


def test_folders_that_were_made_go_again_unless_something_is_in_them(tmp_path: Path) -> None:
    for name, inside in (("cursor", ".cursor"), ("vscode", ".vscode"), ("codex", ".codex")):
        client = CLIENTS[name]
        install(client, "project", tmp_path)
        patch.write_change(client.plan_uninstall("project", tmp_path))
        assert not (tmp_path / inside).exists()
    install(CLIENTS["cursor"], "project", tmp_path)
    (tmp_path / ".cursor" / "rules.md").write_text("mine")
    patch.write_change(CLIENTS["cursor"].plan_uninstall("project", tmp_path))
    assert [path.name for path in (tmp_path / ".cursor").iterdir()] == ["rules.md"]
    (tmp_path / ".vscode").mkdir()
    install(CLIENTS["vscode"], "project", tmp_path)
    patch.write_change(CLIENTS["vscode"].plan_uninstall("project", tmp_path))
    assert (tmp_path / ".vscode").is_dir()


def test_a_file_that_is_read_only_stays_as_it_was(tmp_path: Path) -> None:
    cursor = CLIENTS["cursor"]
    path = cursor.config_path("project", tmp_path)
    path.parent.mkdir()
    path.write_text("{}\n")
    path.chmod(0o444)
    with pytest.raises(Unavailable, match="is read-only; nothing was changed"):
        install(cursor, "project", tmp_path)
    assert path.read_text() == "{}\n"


def test_what_has_to_be_added_by_hand_is_said_in_the_files_own_notation(tmp_path: Path) -> None:
    codex = CLIENTS["codex"]
    path = codex.config_path("project", tmp_path)
    path.parent.mkdir()
    path.write_text('mcp_servers = { other = { command = "x" } }\n')
    with pytest.raises(Unavailable, match=r'(?s)by hand: \n\[mcp_servers\.rlm\]\ncommand = "/opt'):
        codex.plan_install("project", tmp_path, ("/opt/rlm-mcp",))
