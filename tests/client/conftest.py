"""What is installed once from npm, and a project to work in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from tests.client import install
from tests.client.claude_code import ROOT


@pytest.fixture(scope="session")
def program() -> Path:
    """Return the CLI's program; without it the tests fail in CI and are skipped elsewhere."""
    try:
        return install.claude()
    except install.CannotInstall as reason:
        untested("The real Claude Code CLI", str(reason))


@pytest.fixture(scope="session")
def npm() -> str:
    """Return npm, with the packages that the extension is built with installed as locked."""
    try:
        return install.extension(ROOT / "vscode-extension")
    except install.CannotInstall as reason:
        untested("The VS Code extension", str(reason))


def untested(what: str, reason: str) -> NoReturn:
    """Fail in CI, skip elsewhere; loud in both."""
    message = f"{what} was not tested: {reason}"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a small git repository with a fact that only it holds."""
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "limits.py").write_text(
        '"""Limits."""\n\nMAX_RETRIES_GAMMA = 7381\n\n\ndef gamma_retries() -> int:\n'
        "    return MAX_RETRIES_GAMMA\n"
    )
    (folder / "README.md").write_text("# A project\n\nThe gamma service retries.\n")
    for command in ("init -q -b main", "add .", "commit -q -m Begin"):
        identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid"]
        subprocess.run(["git", *identity, *command.split()], cwd=folder, check=True)
    return folder
