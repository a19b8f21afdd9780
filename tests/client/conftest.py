"""The CLI, installed once, and a project that it works in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.client import install


@pytest.fixture(scope="session")
def program() -> Path:
    """Return the CLI's program; without it the tests fail in CI and are skipped elsewhere."""
    try:
        return install.claude()
    except install.CannotInstall as reason:
        message = f"The real Claude Code CLI was not tested: {reason}"
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
