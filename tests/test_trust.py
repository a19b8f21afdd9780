"""A project's tools and prompts are off until allowed, and allowed by content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlm_mcp import promptbook, toolbox, trust
from rlm_mcp.config import config_dir
from rlm_mcp.errors import Unavailable

TOOL = "def mine() -> str:\n    'Doc.'\n    return ''\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for kind, name, text in (("tools", "mine.py", TOOL), ("prompts", "own.md", "Hello.\n")):
        folder = tmp_path / "project" / ".rlm" / kind
        folder.mkdir(parents=True)
        (folder / name).write_text(text)
    return tmp_path / "project"


def in_use(project: Path) -> set[str]:
    tools = toolbox.read_tools(trust.content_folders("tools", project))
    prompts = promptbook.read_prompts(trust.content_folders("prompts", project))
    return {item.name for item in [*tools, *prompts] if item.origin == "project"}


def test_a_projects_files_are_off_and_that_is_said(project: Path) -> None:
    assert in_use(project) == set()
    problems = toolbox.read_tools(trust.content_folders("tools", project)).problems
    assert any("rlm-mcp trust" in problem for problem in problems)


def test_what_was_allowed_is_on_until_a_byte_changes(project: Path) -> None:
    trust.trust_files(project, trust.review_project(project))
    assert in_use(project) == {"mine", "own"}
    path = project / ".rlm" / "tools" / "mine.py"
    path.write_text(TOOL + "#")
    assert in_use(project) == {"own"}
    assert {entry.file: entry.state for entry in trust.review_project(project)} == {
        "tools/mine.py": "changed",
        "prompts/own.md": "trusted",
    }
    path.write_text(TOOL)
    assert in_use(project) == {"mine", "own"}


def test_a_new_file_in_a_trusted_project_is_off(project: Path) -> None:
    trust.trust_files(project, trust.review_project(project))
    (project / ".rlm" / "tools" / "late.py").write_text(TOOL.replace("mine", "late"))
    assert in_use(project) == {"mine", "own"}


def test_a_content_allowed_under_one_name_is_not_allowed_under_another(project: Path) -> None:
    trust.trust_files(project, trust.review_project(project))
    tools = project / ".rlm" / "tools"
    (tools / "grep.py").write_text(TOOL)
    assert "grep" not in in_use(project)


def test_trust_in_one_project_is_not_trust_in_a_copy_of_it(project: Path, tmp_path: Path) -> None:
    import shutil

    trust.trust_files(project, trust.review_project(project))
    shutil.copytree(project, tmp_path / "copy")
    assert in_use(tmp_path / "copy") == set()


def test_trust_taken_away_is_gone(project: Path) -> None:
    trust.trust_files(project, trust.review_project(project))
    assert trust.revoke_trust(project)
    assert in_use(project) == set()
    assert not trust.revoke_trust(project)


def test_what_was_allowed_is_what_was_reviewed_not_what_stands_there_now(project: Path) -> None:
    reviewed = trust.review_project(project)
    (project / ".rlm" / "tools" / "mine.py").write_text(TOOL + "# swapped")
    trust.trust_files(project, reviewed)
    assert in_use(project) == {"own"}


def test_a_broken_store_is_said_and_trusts_nothing(project: Path) -> None:
    store = config_dir() / "trusted.json"
    for text in ("not json", json.dumps([]), json.dumps({"projects": {"x": 1}})):
        store.write_text(text)
        with pytest.raises(Unavailable, match="what you trust"):
            trust.content_folders("tools", project)


def test_the_store_is_the_users_own(project: Path) -> None:
    trust.trust_files(project, trust.review_project(project))
    assert (config_dir() / "trusted.json").stat().st_mode & 0o077 == 0
