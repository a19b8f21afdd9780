"""What the manual of a method names is what its results hold; unknown words are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.config import Settings
from rlm_mcp.errors import BadRequest
from rlm_mcp.methods import ResultList, docstring_purpose
from rlm_mcp.sessions.session import Session
from tests.sessions.generator.layouts import LAYOUTS
from tests.sessions.generator.story import tell


@pytest.fixture
def session(tmp_path: Path) -> Session:
    path = LAYOUTS["claude"].write(tell(3), tmp_path / "told")
    (path.parent / "memory").mkdir()
    (path.parent / "memory" / "MEMORY.md").write_text("- [a](a.md)\n")
    (path.with_suffix("") / "workflows").mkdir(parents=True)
    (path.with_suffix("") / "workflows" / "wf_1.json").write_text("{}")
    return Session(str(path), "session", Settings(roots=(tmp_path,)))


def test_the_manual_names_the_keys_of_each_result(session: Session) -> None:
    methods = session.methods
    ref, path = methods["prompts"]()[0]["ref"], methods["files"]()["files"][0]["path"]
    arguments: dict[str, tuple[Any, ...]] = {
        "get": (ref,), "grep": ("test",), "search": ("tests",), "file_at": (path,),
        "diff": (path,), "verify": (ref,), "since": (3,),
    }  # fmt: skip
    told = set(methods) - {
        "sessions", "search_all", "mirror", "mirrored", "brief", "handoff", "rollup_save", "rollup",
    }  # fmt: skip
    for name in sorted(told):
        result = methods[name](*arguments.get(name, ()))
        assert result, name
        first = result if isinstance(result, dict) else result[0]
        said = re.search(r"\{(.*?)\}", docstring_purpose(methods[name]))
        assert said is not None, name
        named = {re.sub(r" .*", "", part.strip()) for part in said[1].split(",")}
        assert named == set(first), name


def test_a_summary_is_not_found_as_the_users(
    transcript: Callable[..., Path], record: Callable[..., Any], opened: Callable[[Path], Session]
) -> None:
    summary = "This session is being continued from a previous conversation. Needle."
    session = opened(
        transcript(
            record("user", "u1", None, "A needle is wanted."),
            record("assistant", "a1", "u1", [{"type": "text", "text": "ok"}]),
            record("user", "s1", None, summary, isCompactSummary=True),
            record("user", "m1", "s1", "needle of the harness", isMeta=True),
        )
    )
    grep = session.methods["grep"]
    assert grep("(?i)needle")["total"] == 3
    assert [hit["ref"] for hit in grep("(?i)needle", role="user")["hits"]] == [
        "session:73104a6c#1.1"
    ]
    assert grep("(?i)needle", role="compaction")["total"] == 1
    assert grep("(?i)needle", role="harness")["total"] == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"role": "humans"}, "use one of user, assistant, system, human.*Did you mean human"),
        ({"kind": "shel"}, "this session has .*shell.*Did you mean shell"),
        ({"branch": "dead"}, "use one of live, abandoned"),
    ],
)
def test_an_unknown_word_is_refused_with_what_exists(
    session: Session, given: dict[str, str], sentence: str
) -> None:
    with pytest.raises(BadRequest, match=sentence):
        session.methods["grep"]("x", **given)


def test_a_tools_own_name_is_a_kind(session: Session) -> None:
    assert session.methods["grep"](".", kind="Bash")["total"] > 0


def test_a_list_of_sessions_or_of_the_mirror_that_was_cut_says_of_how_many(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    folder = tmp_path / "claude" / "projects" / str(tmp_path).replace("/", "-")
    folder.mkdir(parents=True)
    for number in range(3):
        told = LAYOUTS["claude"].write(tell(number), tmp_path / f"more{number}")
        copied = told.read_text().replace(told.stem, f"{number:08}-0000-4000-8000-000000000000")
        (folder / f"{number:08}-0000-4000-8000-000000000000.jsonl").write_text(copied)
    found = session.methods["sessions"](project="*", limit=2)
    assert isinstance(found, ResultList) and (len(found), found.total) == (2, 3)
    session.methods["mirror"]()
    all_of_them = session.methods["mirrored"]("e", limit=100_000)
    few = session.methods["mirrored"]("e", limit=2)
    assert isinstance(few, ResultList) and isinstance(all_of_them, ResultList)
    assert (len(few), few.total) == (2, len(all_of_them)) and few.total > 2
