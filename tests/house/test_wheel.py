"""The wheel and the sdist hold what they should, and run in a bare environment."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it, as a release would."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
        text=True,
    )
    return out


def content(folder: str, suffix: str) -> set[str]:
    return {path.name for path in (ROOT / folder).glob(f"*{suffix}")}


def test_the_wheel_holds_the_package_its_tools_and_prompts_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"rlm_mcp"}
    assert content("tools", ".py") == {
        n.split("/")[2] for n in names if n.startswith("rlm_mcp/tools/")
    }
    assert content("prompts", ".md") == {
        n.split("/")[2] for n in names if n.startswith("rlm_mcp/prompts/")
    }
    shipped = {n for n in names if n.startswith("rlm_mcp/") and n.endswith(".py")}
    ours = {str(p.relative_to(ROOT)) for p in (ROOT / "rlm_mcp").rglob("*.py")}
    assert ours <= shipped
    assert "rlm_mcp/py.typed" in names


def test_the_sdist_holds_what_a_rebuild_and_the_tests_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {"/".join(name.split("/")[1:]) for name in archive.getnames()}
    for path in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile"):
        assert path in names
    assert not any(name.startswith(("vscode-extension", ".venv", ".git/")) for name in names)
    assert {f"tools/{name}" for name in content("tools", ".py")} <= names


@pytest.mark.timeout(600)  # it installs every dependency anew
def test_the_wheel_answers_a_question_in_a_bare_environment(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    bare = tmp_path / "bare"
    venv.create(bare, with_pip=True)
    pip = [str(bare / "bin" / "python"), "-m", "pip", "install", "--quiet", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    site = next((bare / "lib").glob("python*/site-packages"))
    assert not (site / "tools").exists()
    assert not (site / "prompts").exists()
    assert not (site / "tests").exists()
    source = tmp_path / "project"
    source.mkdir()
    (source / "engine.py").write_text(
        "class Rocket:\n    def ignite(self) -> int:\n        return 7\n"
    )
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "RLM_MCP_MODEL": "extractive:",
        "RLM_MCP_STATE_DIR": str(tmp_path / "state"),
        "RLM_MCP_CACHE_DIR": str(tmp_path / "cache"),
        "RLM_MCP_CONFIG_DIR": str(tmp_path / "config"),
    }
    got = subprocess.run(
        [str(bare / "bin" / "rlm-mcp"), "ask", "Where is the Rocket class defined?", "--json"],
        cwd=source,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert got.returncode == 0, got.stderr
    assert "repo:engine.py#L1" in got.stdout
    assert '"verified": true' in got.stdout
