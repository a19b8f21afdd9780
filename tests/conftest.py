"""Every test runs with state, cache and configuration folders of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A slow machine is no failure: a timing is a benchmark, never a test.
settings.register_profile(
    "project", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the state, cache and configuration folders at a fresh place; return it."""
    home = tmp_path_factory.mktemp("rlm")
    for name in ("STATE", "CACHE", "CONFIG"):
        folder = home / name.lower()
        folder.mkdir()
        monkeypatch.setenv(f"RLM_MCP_{name}_DIR", str(folder))
    for name in ("MODEL", "SUB_MODEL", "MAX_USD", "MAX_CALLS"):
        monkeypatch.delenv(f"RLM_MCP_{name}", raising=False)
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return home
