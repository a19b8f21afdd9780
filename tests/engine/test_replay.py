from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from rlm_mcp import promptbook, toolbox
from rlm_mcp.config import Settings
from rlm_mcp.engine.workspace import Workspace
from tests.engine.conftest import run
from tests.project import Work

ROOT = Path(__file__).parents[2]
CELL = re.findall(r"```python\n(.*?)```", (ROOT / "docs/replay.md").read_text(), re.S)[0]


async def _rebuilt(folder: Path, paths: list[str]) -> list[tuple[str, str]]:
    """Return what the cell says of each path, and the text that it made."""
    tools = {tool.name: tool.source for tool in toolbox.read_tools()}
    workspace = Workspace(Settings(roots=(folder,)), tools, promptbook.read_prompts().texts_by_name)
    found = []
    try:
        for path in paths:
            code = CELL.replace('"README.md"', repr(path))
            assert code != CELL or path == "README.md"
            said = await workspace.call_tool("execute", {"code": code, "timeout_s": 100})
            text = await workspace.call_tool("execute", {"code": "len(rebuilt), rebuilt[-60:]"})
            found.append((said, text.removeprefix("=> ")))
    finally:
        await workspace.close()
    return found


@pytest.fixture
def work(tmp_path: Path) -> Work:
    (tmp_path / "project").mkdir()
    made = Work(tmp_path / "project")
    made.git("init", "-q", "-b", "main")
    return made


def _history(work: Work) -> None:
    work.commit("one", a_dot_txt="1\n2\n3\n+4\n-5\n")
    work.commit("marks", a_dot_txt="1\n@@ -1 +1 @@\n3\n--- x\n+++ y\n\\ z\n")
    work.commit("no end", a_dot_txt="1\n@@ -1 +1 @@\n3\n--- x\n+++ y\n\\ z")
    work.git("checkout", "-q", "-b", "side", "HEAD~1")
    work.commit("side", a_dot_txt="0\n1\n@@ -1 +1 @@\n3\n--- x\n+++ y\n\\ z\n")
    work.git("checkout", "-q", "main")
    work.git("merge", "-q", "--no-edit", "-X", "theirs", "side")
    work.commit("more", a_dot_txt="".join(f"line {n}\n" for n in range(300)))
    work.commit("edits", a_dot_txt="".join(f"line {n}{'!' * (n % 50 == 0)}\n" for n in range(300)))
    (work.path / "a.txt").unlink()
    work.commit("gone")
    work.commit("back", a_dot_txt="back\n")
    work.git("checkout", "-q", "-b", "other", "HEAD~1")
    work.commit("other", a_dot_txt="other\n")
    work.git("checkout", "-q", "main")
    work.git("merge", "-q", "--no-commit", "-X", "theirs", "other")
    work.commit("a merge by hand", a_dot_txt="é\r\n\f\n\nlast")


def test_a_file_is_rebuilt_through_merges_deletions_and_marks(work: Work) -> None:
    _history(work)
    [(said, text)] = run(_rebuilt(work.path, ["a.txt"]))
    assert said.endswith("as git has it: True")
    assert text == repr((len("é\r\n\f\n\nlast"), "é\r\n\f\n\nlast"))


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no history here")
def test_files_of_this_checkout_are_rebuilt() -> None:
    paths = ["README.md", "rlm_mcp/errors.py"]
    for path, (said, text) in zip(paths, run(_rebuilt(ROOT, paths)), strict=True):
        held = subprocess.run(
            ["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, check=True
        ).stdout.decode()
        assert said.endswith("as git has it: True"), said
        assert text == repr((len(held), held[-60:]))
