"""Which session is meant, and what may be opened at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp import config, sessions
from rlm_mcp.config import Settings
from rlm_mcp.errors import BadRequest, Denied, RlmError, Unavailable
from rlm_mcp.sessions.locate import list_sessions, locate_session
from rlm_mcp.sessions.readers import editor_folders
from rlm_mcp.sessions.readers.claude_code import folder_slug
from tests.sessions.generator.layouts import LAYOUTS, home_of
from tests.sessions.generator.story import tell

Record = Callable[..., dict[str, Any]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(project: Path) -> Settings:
    return Settings(roots=(project,))


def write(name: str, project: Path, uuid: str = "u1", age_s: int = 0) -> Path:
    folder = Path.home() / ".claude" / "projects" / "x"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.jsonl"
    path.write_text(
        f'{{"type":"user","uuid":"{uuid}","parentUuid":null,"sessionId":"{name}",'
        f'"cwd":"{project}","timestamp":"2026-01-01T00:00:00Z",'
        f'"message":{{"role":"user","content":"Prompt of {name}"}}}}\n'
    )
    os.utime(path, (1e9 - age_s, 1e9 - age_s))
    return path


ONE, TWO = "11111111-aaaa-4bbb-8ccc-000000000001", "22222222-aaaa-4bbb-8ccc-000000000002"


def test_latest_is_the_newest_of_this_project(project: Path, settings: Settings) -> None:
    write(ONE, project, age_s=50)
    newest = write(TWO, project, age_s=10)
    write("33333333-aaaa-4bbb-8ccc-000000000003", project.parent / "other")
    assert locate_session("session:latest", settings)[0] == newest


def test_a_session_that_moved_into_this_project_is_listed(
    project: Path, settings: Settings
) -> None:
    moved = write(ONE, project.parent / "other")
    other = write(TWO, project.parent / "other")
    home = Path.home() / ".claude" / "projects"
    elsewhere = home / "-other" / other.name
    elsewhere.parent.mkdir()
    other.rename(elsewhere)
    here = home / folder_slug(os.path.realpath(project))
    here.mkdir()
    (here / ".session-aliases").write_text(f"{moved.parent}\n/etc\n\n../../x\n")
    assert [item.path for item in list_sessions(settings)] == [str(moved)]


def test_a_session_of_the_desktop_application_belongs_to_the_folder_that_was_picked(
    project: Path, settings: Settings, tmp_path: Path
) -> None:
    home = (
        editor_folders.config_folder()
        / "Claude"
        / "local-agent-mode-sessions"
        / "a"
        / "b"
        / "local_1"
    )
    told = write(ONE, Path("/sessions/vm/mnt"))
    path = home / ".claude" / "projects" / "-sessions-vm-mnt" / told.name
    path.parent.mkdir(parents=True)
    told.rename(path)
    facts = {"title": "Sort the invoices", "userSelectedFolders": [str(project)]}
    home.with_name("local_1.json").write_text(json.dumps(facts))
    (found,) = list_sessions(settings)
    assert (found.native, found.title, found.agent) == (ONE, "Sort the invoices", "claude")
    assert locate_session(f"session:{ONE[:8]}", settings)[0] == path
    outside = tmp_path / "elsewhere" / ".claude" / "projects" / "x"
    outside.mkdir(parents=True)
    (outside / f"{TWO}.jsonl").write_text(path.read_text().replace(ONE, TWO))
    home.with_name("local_2").symlink_to(outside.parents[2])
    assert [item.native for item in list_sessions(settings, project="*")] == [ONE]


def test_current_follows_a_hooks_note_before_the_environment(
    project: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, named = write(ONE, project, age_s=50), write(TWO, project, age_s=60)
    newest = write("33333333-aaaa-4bbb-8ccc-000000000003", project)
    assert locate_session("session:current", settings)[0] == newest
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", TWO)
    assert locate_session("session:current", settings)[0] == named
    sessions.note_current(ONE, str(noted), settings)
    assert locate_session("session:current", settings)[0] == noted


def test_a_session_is_found_by_the_start_of_its_id(project: Path, settings: Settings) -> None:
    path = write(ONE, project)
    assert locate_session("session:11111111", settings)[0] == path
    assert locate_session(f"session:{ONE}", settings)[0] == path


def test_an_ambiguous_or_unknown_id_is_refused(project: Path, settings: Settings) -> None:
    write(ONE, project)
    write(ONE.replace("1111-", "1111-", 1)[:-1] + "9", project)
    with pytest.raises(BadRequest, match="start of several"):
        locate_session("session:1111", settings)
    with pytest.raises(BadRequest, match="There is no session 'zzz'"):
        locate_session("session:zzz", settings)


def test_no_session_is_said_with_the_way_to_others(settings: Settings) -> None:
    with pytest.raises(Unavailable, match="No agent has a session in this folder"):
        locate_session("session:latest", settings)


def test_a_link_that_leaves_the_agents_folder_is_refused(
    project: Path, settings: Settings, tmp_path: Path
) -> None:
    path = write(ONE, project)
    outside = tmp_path / "outside.jsonl"
    path.rename(outside)
    path.symlink_to(outside)
    for source in (str(path), f"session:{ONE}"):
        with pytest.raises(Denied, match="leaves the agent's folder"):
            locate_session(source, settings)
    with pytest.raises(Unavailable):  # nobody looked whose it is
        locate_session("session:latest", settings)


def test_a_transcript_outside_roots_and_agents_folders_is_refused(
    project: Path, settings: Settings, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere.jsonl"
    other.write_bytes(write(ONE, project).read_bytes())
    with pytest.raises(Denied, match="neither under the roots"):
        locate_session(str(other), settings)
    with pytest.raises(Denied, match="neither under the roots"):
        locate_session(f"{project}/../elsewhere.jsonl", settings)


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "pipe.jsonl", "plain.jsonl"])
def test_what_is_no_transcript_gets_one_sentence(
    name: str, project: Path, settings: Settings
) -> None:
    os.mkfifo(project / "pipe.jsonl")
    (project / "plain.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(RlmError):
        locate_session(str(project / name), settings)


def test_a_note_is_taken_only_for_an_agents_transcript(
    project: Path, settings: Settings, tmp_path: Path
) -> None:
    stray = tmp_path / "stray.jsonl"
    stray.write_text("{}\n")
    with pytest.raises(Denied):
        sessions.note_current(ONE, str(stray), settings)
    folder = Path.home() / ".claude" / "projects" / "x"
    folder.mkdir(parents=True)
    (folder / "notes.jsonl").write_text("not json\n")
    with pytest.raises(BadRequest):
        sessions.note_current(ONE, str(folder / "notes.jsonl"), settings)
    assert not list((config.state_dir() / "sessions").glob("*.json"))


@pytest.mark.parametrize("name", [n for n in LAYOUTS if n not in ("aider", "specstory")])
def test_sessions_of_every_agent_are_listed(
    name: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "agents"
    path = LAYOUTS[name].write(tell(3, filler=3), home)
    for key, value in home_of(home).items():
        monkeypatch.setenv(key, value)
    found = list_sessions(settings, project="*")
    assert LAYOUTS[name].agent in {item.agent for item in found}
    assert str(path) in {item.path for item in found}
    opened = sessions.open_session(f"session:{found[0].native}", "s", settings)
    assert opened.describe().documents >= 1
    opened.close()


@pytest.mark.parametrize("name", ["aider", "specstory"])
def test_histories_in_the_project_are_listed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = LAYOUTS[name].write(tell(3, filler=3), tmp_path)
    settings = Settings(roots=(tmp_path / "project",))
    assert [item.path for item in list_sessions(settings)] == [str(path)]
    assert locate_session("session:latest", settings)[0] == path


def test_sessions_of_other_agents_are_listed_with_their_first_prompt(
    tmp_path: Path,
) -> None:
    home = Path.home()

    def write(name: str, *records: Any) -> None:
        path = home / name
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records))

    def gemini(text: str) -> dict[str, Any]:
        return {"id": text[:3], "type": "user", "content": [{"text": text}]}

    head = {"sessionId": "s1", "projectHash": "h", "startTime": "2026-03-14T08:00:00Z"}
    setting = {"$set": {"messages": [gemini("<session_context>\nToday")]}}
    write(".gemini/tmp/p/chats/session-1.jsonl", head, setting, gemini("Never edit a.sql."))
    whole = {**head, "sessionId": "s2", "messages": [gemini("<session_context>"), gemini("Go.")]}
    write(".gemini/tmp/q/chats/session-2.json", whole)
    write(".cline/data/sessions/17_a/17_a.messages.json", {"messages": []})
    about = {"cwd": "/w", "prompt": "Make it fast.", "started_at": "2026-03-14T08:00:00Z"}
    (home / ".cline/data/sessions/17_a/17_a.json").write_text(json.dumps(about))
    sid = "73104a6c-2880-482b-a281-f48aa2101b19"
    asked = {"role": "user", "content": [{"type": "input_text", "text": "Bound the retries."}]}
    told = {"role": "developer", "content": [{"type": "input_text", "text": "x" * 100_000}]}
    write(
        f".codex/sessions/2026/03/14/rollout-2026-03-14T08-00-00-{sid}.jsonl",
        {"type": "session_meta", "payload": {"id": sid, "cwd": "/w"}},
        {"type": "response_item", "payload": {"type": "message", **told}},
        {"type": "response_item", "payload": {"type": "message", **asked}},
    )
    found = list_sessions(Settings(roots=(tmp_path,)), project="*")
    assert {(item.agent, item.title) for item in found} == {
        ("gemini", "Never edit a.sql."), ("gemini", "Go."), ("cline", "Make it fast."),
        ("codex", "Bound the retries."),
    }  # fmt: skip
    started = {item.started for item in found if item.agent != "codex"}
    assert started == {"2026-03-14T08:00:00Z"}
