"""What a client's hooks say: which transcript is running, and what must survive a compaction."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlm_mcp import sessions
from rlm_mcp.config import Settings
from rlm_mcp.contexts.catalog import Catalog
from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest, Denied
from rlm_mcp.sessions import hooks
from rlm_mcp.sessions.hooks import SessionPrefetcher
from rlm_mcp.sessions.session import Session
from rlm_mcp.variable import Variable
from tests.project import OpenProject

RULE = "Never write to the vendor folder, not even in tests."


def transcript(folder: Path, number: int, said: str) -> Path:
    """Write a session of one exchange, as Claude Code does."""
    session = f"{number:08d}-0000-4000-8000-000000000000"
    common = {"sessionId": session, "cwd": "/work", "version": "2.1.329", "isSidechain": False}
    user = {"role": "user", "content": said}
    text = [{"type": "text", "text": "Understood."}]
    reply = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "content": text}
    moment = "2026-11-21T10:00:00.000Z"
    records: list[dict[str, object]] = [
        {"type": "user", "uuid": "a", "parentUuid": None, "message": user, "timestamp": moment},
        {"type": "assistant", "uuid": "b", "parentUuid": "a", "message": reply},
    ]
    path = folder / f"{session}.jsonl"
    path.write_text("".join(json.dumps({**common, **record}) + "\n" for record in records))
    return path


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the agent keeps the sessions of another project."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.setattr(hooks, "WAIT_S", 60.0)  # of a loaded machine
    monkeypatch.delenv("CLAUDE_CODE_SESSION_ID", raising=False)
    folder = tmp_path / "home" / ".claude" / "projects" / "-elsewhere"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def catalog(tmp_path: Path, agent: Path) -> Iterator[OpenProject]:
    (tmp_path / "work").mkdir()
    catalog = OpenProject(Catalog(Settings(roots=(tmp_path / "work",))))
    yield catalog
    catalog.close()


def words(catalog: OpenProject) -> list[str]:
    found = catalog.grep(Query("word: [a-z]+"), "session")
    return [hit.text.split("word: ")[1] for hit in found.hits]


def test_session_is_the_transcript_that_a_hook_named_last(
    agent: Path, catalog: OpenProject
) -> None:
    apple, pear = transcript(agent, 1, "word: apple"), transcript(agent, 2, "word: pear")
    catalog.handle_hook("prompt", str(apple))
    assert words(catalog) == ["apple"]
    catalog.handle_hook("prompt", str(pear))
    assert words(catalog) == ["pear"]
    catalog.handle_hook("prompt", str(apple))
    assert words(catalog) == ["apple"]


def test_a_hook_may_come_before_the_transcript_is_written(
    agent: Path, catalog: OpenProject
) -> None:
    path = agent / "00000003-0000-4000-8000-000000000000.jsonl"
    catalog.handle_hook("prompt", str(path))
    assert transcript(agent, 3, "word: plum") == path
    assert words(catalog) == ["plum"]


def test_the_same_session_is_not_opened_anew_with_each_prompt(
    agent: Path, catalog: OpenProject
) -> None:
    path = transcript(agent, 1, "word: apple")
    catalog.handle_hook("prompt", str(path))
    before = catalog.get_variable("session")
    catalog.handle_hook("prompt", str(path))
    assert catalog.get_variable("session") is before


def test_a_rule_reaches_the_summariser_and_the_window_after_it(
    agent: Path, catalog: OpenProject
) -> None:
    path = transcript(agent, 1, f"A rule for all of this session: {RULE}")
    assert RULE in catalog.handle_hook("before-compaction", str(path))
    added = json.loads(catalog.handle_hook("after-compaction", str(path)))["hookSpecificOutput"]
    assert added["hookEventName"] == "SessionStart"
    assert RULE in added["additionalContext"]


def test_a_file_outside_the_agents_folder_is_never_the_session(
    tmp_path: Path, agent: Path, catalog: OpenProject
) -> None:
    outside = transcript(tmp_path, 1, "word: apple")
    link = agent / "link.jsonl"
    link.symlink_to(outside)
    for path in (outside, link, Path("/etc/passwd")):
        with pytest.raises(Denied):
            catalog.handle_hook("prompt", str(path))
    with pytest.raises(BadRequest, match="before-compaction"):
        catalog.handle_hook("before-compacting", str(outside))
    with pytest.raises(BadRequest):
        catalog.get_variable("session")


def long_transcript(agent: Path, number: int, rule: str) -> Path:
    """Write a session that is worth reading ahead, and say the rule in its first turn."""
    path = transcript(agent, number, rule)
    head = json.loads(path.read_text().splitlines()[1])
    with path.open("a") as file:
        parent = "b"
        for turn in range(300):
            text = [{"type": "text", "text": f"Step {turn}. " + "x" * 1_000}]
            message = {**head["message"], "id": f"m{turn}", "content": text}
            record = {**head, "uuid": f"s{turn}", "parentUuid": parent, "message": message}
            file.write(json.dumps(record) + "\n")
            parent = f"s{turn}"
    return path


def test_a_prompt_begins_the_reading_and_the_compactions_hook_finds_it_read(
    agent: Path, catalog: OpenProject
) -> None:
    path = long_transcript(agent, 1, f"A rule: {RULE}")
    catalog.handle_hook("prompt", str(path))
    for _ in range(600):
        if "session" in catalog.open_names():
            break
        time.sleep(0.05)
    assert RULE in catalog.handle_hook("before-compaction", str(path))


def test_a_hook_that_comes_before_the_reading_says_what_it_leaves_out(
    agent: Path, tmp_path: Path
) -> None:
    path = long_transcript(agent, 1, f"A rule: {RULE}")
    settings, slow, held = Settings(roots=(tmp_path,)), threading.Event(), threading.Event()
    session = Session(str(path), "session", settings)

    def opened() -> Session:
        if slow.is_set():
            held.wait(60)
        return session

    reading = SessionPrefetcher(opened, wait_s=60)
    reading.follow_path(path)
    assert RULE in reading.compaction_brief("session")  # the look before it is done by then
    with path.open("a") as file:
        record = json.loads(path.read_text().splitlines()[-1])
        new = {"role": "user", "content": "Always sign the commits."}
        record = {**record, "type": "user", "uuid": "new", "parentUuid": "s299", "message": new}
        file.write(json.dumps(record) + "\n")
    slow.set()
    reading.wait_s = 0.01
    late = reading.compaction_brief("session")
    assert RULE in late and "Always sign" not in late
    assert "This list ends with turn 302" in late
    after = reading.after_compaction("session")
    assert RULE in after and "up to turn 302" in after
    assert "The summary was not checked" in after
    held.set()
    slow.clear()
    reading.wait_s = 60
    assert "Always sign the commits." in reading.compaction_brief("session")
    reading.close()

    slow.set()
    held.clear()
    nothing = SessionPrefetcher(opened, wait_s=0.01)
    nothing.follow_path(path)
    assert "not read in time" in nothing.compaction_brief("session")
    assert "session.brief() lists them" in nothing.after_compaction("session")
    held.set()
    nothing.close()
    session.close()


def test_a_transcript_that_is_opened_while_another_begins_is_not_the_session(
    agent: Path, catalog: OpenProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    apple, pear = transcript(agent, 1, "word: apple"), transcript(agent, 2, "word: pear")
    catalog.handle_hook("prompt", str(apple))
    opening = sessions.open_session

    def overtaken(source: str, name: str, settings: Settings) -> Variable:
        monkeypatch.setattr(sessions, "open_session", opening)
        variable = opening(source, name, settings)
        catalog.handle_hook("prompt", str(pear))  # before this one is known under its name
        return variable

    monkeypatch.setattr(sessions, "open_session", overtaken)
    assert words(catalog) == ["pear"]


def test_an_older_summary_is_not_taken_for_the_one_that_is_not_written_yet(
    agent: Path, catalog: OpenProject
) -> None:
    path = transcript(agent, 1, f"A rule: {RULE}")
    user, reply = (json.loads(line) for line in path.read_text().splitlines())
    text = {"role": "user", "content": "Summary. All 11 tests pass now."}
    summary = {**user, "uuid": "c", "parentUuid": "b", "message": text, "isCompactSummary": True}

    def told() -> str:
        said = json.loads(catalog.handle_hook("after-compaction", str(path)))
        return str(said["hookSpecificOutput"]["additionalContext"])

    assert "The summary was not checked" in told()
    with path.open("a") as file:
        file.write(json.dumps(summary) + "\n")
    assert "The summary says 'All 11 tests pass now.'" in told()
    assert "not checked" not in told()
    with path.open("a") as file:
        later = {**reply["message"], "id": "later"}
        file.write(json.dumps({**reply, "uuid": "d", "parentUuid": "c", "message": later}) + "\n")
    assert "The summary was not checked" in told()
    assert "11 tests" not in told()
