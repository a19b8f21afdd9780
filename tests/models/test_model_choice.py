"""Which model a spec names, and which one is the default."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlm_mcp import models
from rlm_mcp.config import Settings
from rlm_mcp.errors import BadRequest, Denied
from rlm_mcp.models import model_choice


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Leave no key and no command; return a folder that is the whole PATH."""
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def command(folder: Path, logged_in: bool) -> None:
    """Put a `claude` there that knows only whether it is logged in."""
    path = folder / "claude"
    said = json.dumps({"loggedIn": logged_in, "authMethod": "test"})
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("spec", "full"),
    [
        ("anthropic:claude-opus-5", "anthropic:claude-opus-5"),
        ("anthropic:haiku", "anthropic:claude-haiku-5-5"),
        ("anthropic:", "anthropic:claude-sonnet-5-5"),
        ("claude-cli:haiku", "claude-cli:haiku"),
        ("claude-cli:", "claude-cli:sonnet"),
        ("openai:gpt-6-sol", "openai:gpt-6-sol"),
        ("openai:a/b:7b@http://localhost:11434/v1", "openai:a/b:7b@http://localhost:11434/v1"),
        ("bridge:", "bridge:"),
        ("bridge:gpt", "bridge:gpt"),
        ("sampling:", "sampling:"),
        ("extractive:", "extractive:"),
        ("  extractive: ", "extractive:"),
    ],
)
def test_a_spec_names_a_model(spec: str, full: str) -> None:
    assert models.choose_model(spec, Settings()).spec == full


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("antropic:x", "Did you mean anthropic"),
        ("haiku", "Did you mean anthropic:haiku"),
        ("claude-opus-5-5", "Did you mean anthropic:claude-opus-5-5"),
        ("extractive:x", "takes no model name"),
        ("sampling:x", "takes no model name"),
        ("openai:", "write openai:"),
        ("openai:x@ftp://localhost/v1", "write openai:"),
        ("fake:", "path of a script"),
        ("nonsense", "begins with one of"),
    ],
)
def test_a_wrong_spec_is_refused_with_the_remedy(spec: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        models.choose_model(spec, Settings())


def test_a_spec_does_not_carry_prompts_to_a_host_that_is_not_configured() -> None:
    spec = "openai:x@https://evil.example/v1"
    with pytest.raises(Denied, match=r"evil\.example"):
        models.choose_model(spec, Settings())
    assert models.choose_model(spec, Settings(model=spec)).spec == spec
    assert models.choose_model(spec, Settings(sub_model=spec)).spec == spec


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1.evil.example/v1", "http://localhost@evil.example/v1", "http://0x7f.1.evil/"],
)
def test_a_host_that_looks_like_loopback_is_none(url: str) -> None:
    with pytest.raises((Denied, BadRequest)):
        models.choose_model(f"openai:x@{url}", Settings())


def test_the_configured_model_comes_first() -> None:
    assert model_choice.default_model(Settings(model="extractive:")).spec == "extractive:"


def test_a_key_comes_before_the_command_and_the_command_before_extractive(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model_choice.default_model(Settings()).spec == "extractive:"
    command(bare, logged_in=False)
    assert model_choice.default_model(Settings()).spec == "extractive:"
    command(bare, logged_in=True)
    assert model_choice.default_model(Settings()).spec == "claude-cli:sonnet"
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert model_choice.default_model(Settings()).spec == "anthropic:claude-sonnet-5-5"


def test_an_empty_key_is_no_key(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")
    assert model_choice.default_model(Settings()).spec == "extractive:"


def test_below_a_sub_call_the_command_is_not_the_default(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(bare, logged_in=True)
    monkeypatch.setenv("RLM_MCP_DEPTH", "1")
    assert model_choice.default_model(Settings()).spec == "extractive:"


def test_available_says_for_each_provider_whether_it_works_and_why(bare: Path) -> None:
    rows = {spec: (works, why) for spec, works, why in models.available_models(Settings())}
    assert [spec for spec, (works, _) in rows.items() if works] == ["extractive:"]
    assert all(why.endswith((".", ">.")) and len(why) < 200 for _, why in rows.values())
    command(bare, logged_in=False)
    rows = {spec: (works, why) for spec, works, why in models.available_models(Settings())}
    assert "log in" in rows["claude-cli:"][1]


def test_available_tells_of_a_configured_model_first() -> None:
    rows = models.available_models(Settings(model="antropic:x", sub_model="extractive:"))
    assert {row[0]: row[1] for row in rows[:2]} == {"antropic:x": False, "extractive:": True}


def test_choosing_imports_no_sdk() -> None:
    code = (
        "import sys; from rlm_mcp import models; from rlm_mcp.config import Settings; "
        "models.choose_model('anthropic:haiku', Settings()); "
        "models.choose_model('openai:x', Settings()); "
        "print([m for m in ('anthropic', 'openai', 'httpx', 'httpx2') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("own", [True, False])
def test_a_base_url_with_a_password_is_refused_without_repeating_it(own: bool) -> None:
    spec = "openai:qwen@http://user:pa55word@127.0.0.1:9/v1"
    with pytest.raises(BadRequest, match="no user name or password") as caught:
        models.choose_model(spec, Settings(model=spec) if own else Settings())
    assert "pa55word" not in str(caught.value)
