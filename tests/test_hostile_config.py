"""A project's settings are a stranger's file: whatever it is, one sentence comes of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp import config
from rlm_mcp.errors import BadRequest

TEXTS = {
    "infinite": "max_calls = inf",
    "no number": "max_usd = nan",
    "large": "max_usd = 1" + "0" * 400,
    "larger": "max_calls = 1" + "0" * 5_000,
    "hexadecimal": "max_usd = 0x" + "f" * 9_000,
    "deep": "max_usd = " + "[" * 100_000,
    "long": "#" * (2 << 20),
}
KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
}


def refusal(project: Path) -> str:
    with pytest.raises(BadRequest) as caught:
        config.load_settings(project=project)
    return str(caught.value)


@pytest.mark.parametrize("name", TEXTS)
def test_a_projects_settings_of_any_content_are_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / ".rlm").mkdir()
    (tmp_path / ".rlm" / "config.toml").write_text(TEXTS[name])
    assert len(refusal(tmp_path)) < 600


@pytest.mark.parametrize("name", KINDS)
def test_a_projects_settings_of_any_kind_are_one_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / ".rlm").mkdir()
    KINDS[name](tmp_path / ".rlm" / "config.toml")
    assert "config.toml" in refusal(tmp_path)
