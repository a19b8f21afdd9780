"""What doctor finds out by trying, and that it says what does not work."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlm_mcp.clients import CLIENTS, doctor, patch
from rlm_mcp.clients.doctor import Finding
from rlm_mcp.config import Settings, config_dir, state_dir


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    return Settings(roots=(tmp_path / "project",))


def found(settings: Settings) -> dict[tuple[str, str], Finding]:
    return {(finding.group, finding.name): finding for finding in doctor.check_machine(settings)}


def test_a_working_machine_has_no_problems(settings: Settings) -> None:
    findings = found(settings)
    assert [finding for finding in findings.values() if finding.state == "bad"] == []
    assert findings["sandbox", "worker"].state == "ok"
    assert findings["sandbox", "escapes"].detail.startswith("refuses")
    assert findings["models", "default"].state == "ok"


def test_a_state_folder_that_cannot_be_written_is_bad(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RLM_MCP_STATE_DIR", str(tmp_path / "file" / "state"))
    (folder,) = doctor._check_folders(settings)[:1]
    assert (folder.name, folder.state) == ("state", "bad")


def test_a_damaged_store_is_bad_and_named(settings: Settings) -> None:
    for name in ("ratios.sqlite", "spend.sqlite"):
        (state_dir() / name).write_bytes(b"garbage" * 500)
    (state_dir() / "answers.sqlite.broken-20260101-000000").write_bytes(b"old")
    stores = {finding.name: finding for finding in doctor._check_stores(settings)}
    assert stores["ratios.sqlite"].state == stores["spend.sqlite"].state == "bad"
    assert str(state_dir()) in stores["ratios.sqlite"].detail
    assert stores["answers.sqlite.broken-20260101-000000"].state == "off"


def test_a_missing_root_is_bad(tmp_path: Path) -> None:
    findings = doctor._check_folders(Settings(roots=(tmp_path / "gone",)))
    assert [finding.state for finding in findings if finding.name == "root"] == ["bad"]


def test_a_client_is_found_by_its_command_and_its_file(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "cursor").write_text("#!/bin/sh\n")
    (folder / "cursor").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    before = {finding.name: finding for finding in doctor._check_clients(settings)}
    assert before["cursor"].state == "off"
    assert "not entered" in before["cursor"].detail
    patch.write_change(CLIENTS["cursor"].plan_install("project", settings.roots[0], ("rlm-mcp",)))
    after = {finding.name: finding for finding in doctor._check_clients(settings)}
    assert after["cursor"].state == "ok"
    assert "entered for project" in after["cursor"].detail


def test_a_tool_that_was_left_out_is_named_with_the_reason(settings: Settings) -> None:
    folder = config_dir() / "tools"
    folder.mkdir(parents=True)
    (folder / "broken.py").write_text("def broken(")
    (folder / "grep.py").write_text('def grep(pattern: str) -> str:\n    """Mine."""\n')
    notes = [
        finding.detail for finding in doctor._check_content(settings) if finding.name == "note"
    ]
    assert any("broken.py" in note for note in notes)
    assert any("'grep' is a tool of rlm-mcp" in note for note in notes)


def test_an_escape_that_succeeds_would_be_shouted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "ESCAPE_CELLS", {"computing": "1 + 1"})
    escapes = next(item for item in doctor._check_sandbox(settings) if item.name == "escapes")
    assert escapes.state == "bad"
    assert "ALLOWS computing" in escapes.detail
