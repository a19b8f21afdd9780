"""Settings merge from flags, environment and files; a project only narrows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlm_mcp import config
from rlm_mcp.errors import BadRequest


def write_user(text: str) -> None:
    (Path(os.environ["RLM_MCP_CONFIG_DIR"]) / "config.toml").write_text(text)


def write_project(folder: Path, text: str) -> None:
    (folder / ".rlm").mkdir()
    (folder / ".rlm" / "config.toml").write_text(text)


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_user("max_usd = 3.0\nmax_calls = 7\nmax_depth = 4\n")
    monkeypatch.setenv("RLM_MCP_MAX_USD", "2.5")
    monkeypatch.setenv("RLM_MCP_MAX_CALLS", "8")
    settings = config.load_settings({"max_calls": 9})
    assert (settings.max_usd, settings.max_calls, settings.max_depth) == (2.5, 9, 4)


def test_a_project_lowers_but_never_raises(tmp_path: Path) -> None:
    write_project(tmp_path, "max_usd = 50.0\nmax_calls = 3\n")
    settings = config.load_settings({}, tmp_path)
    assert (settings.max_usd, settings.max_calls) == (1.0, 3)


@pytest.mark.parametrize(
    "line",
    [
        'model = "openai:x@http://evil"',
        "reduced_sandbox = true",
        "secrets = true",
        'spend = "allow"',
        'roots = ["/"]',
    ],
)
def test_a_project_cannot_widen(tmp_path: Path, line: str) -> None:
    write_project(tmp_path, line)
    with pytest.raises(BadRequest, match="A project cannot set"):
        config.load_settings({}, tmp_path)


def test_an_unknown_word_of_a_project_is_a_warning_that_names_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_project(tmp_path, "max_cals = 3\nmax_usd = 0.5\n")
    assert config.load_settings({}, tmp_path).max_usd == 0.5
    (record,) = caplog.records
    assert "'max_cals'" in record.getMessage() and "Did you mean max_calls" in record.getMessage()
    assert str(tmp_path / ".rlm" / "config.toml") in record.getMessage()


@pytest.mark.parametrize("name", ["REDUCED_SANDBOX", "SECRETS", "SPEND"])
def test_no_environment_variable_opens_the_guards(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"RLM_MCP_{name}", "allow" if name == "SPEND" else "1")
    settings = config.load_settings()
    assert not settings.reduced_sandbox
    assert not settings.secrets
    assert settings.spend == "ask"


def test_a_misspelt_permission_to_spend_is_refused() -> None:
    with pytest.raises(BadRequest, match='is "ask" or "allow"'):
        config.load_settings({"spend": "alow"})


def test_unknown_settings_are_refused_with_a_suggestion() -> None:
    write_user("max_cals = 3\n")
    with pytest.raises(BadRequest, match="Did you mean max_calls"):
        config.load_settings()


@pytest.mark.parametrize("value", ["many", "-1", "nan"])
def test_a_bad_value_names_the_setting_and_where_it_stands(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLM_MCP_MAX_USD", value)
    with pytest.raises(BadRequest, match=r"'max_usd' in the environment"):
        config.load_settings()


def test_a_broken_file_is_said() -> None:
    write_user("max_usd = = 3")
    with pytest.raises(BadRequest, match=r"config\.toml"):
        config.load_settings()


def test_folders_are_private(own_folders: Path) -> None:
    os.environ["RLM_MCP_STATE_DIR"] = str(own_folders / "deep" / "state")
    assert config.state_dir().stat().st_mode & 0o777 == 0o700
