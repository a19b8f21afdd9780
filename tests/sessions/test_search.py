"""Search in a session: exact lines with exact totals, filters, pages, and ranking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlm_mcp.corpus.search import Query
from rlm_mcp.errors import BadRequest
from rlm_mcp.refs import parse_ref
from rlm_mcp.sessions.session import Session
from rlm_mcp.variable import ContextHit
from tests.sessions.generator.layouts import LAYOUTS
from tests.sessions.generator.story import Story, tell


@pytest.fixture
def story() -> Story:
    return tell(7, filler=25)


@pytest.fixture
def session(story: Story, tmp_path: Path, opened: Callable[[Path], Session]) -> Session:
    return opened(LAYOUTS["claude"].write(story, tmp_path / "written"))


def test_pages_give_every_match_once(session: Session) -> None:
    whole = session.grep(Query("e", limit=100_000), parse_ref("session"))
    assert whole.total == len(whole.hits)
    seen: list[ContextHit] = []
    cursor = ""
    while True:
        page = session.grep(Query("e", limit=37, cursor=cursor), parse_ref("session"))
        assert page.total == whole.total
        seen += page.hits
        cursor = page.cursor
        if not cursor:
            break
    assert seen == list(whole.hits)


def test_every_hit_stands_at_its_ref(session: Session) -> None:
    for hit in session.grep(Query(r"\w", limit=400), parse_ref("session")).hits:
        text = session.full_text(parse_ref(hit.ref))
        assert hit.text in text.split("\n") or (hit.cut and hit.text in text)


def test_totals_equal_a_count_by_hand(session: Session) -> None:
    threads = [
        session.full_text(parse_ref(f"session:{t.name}")) for t in session.view.list_threads()
    ]
    text = "\n".join(threads)
    lines = [line for line in text.split("\n") if not line.startswith("▌")]
    found = session.grep(Query("tests?"), parse_ref("session"))
    assert found.total == sum("test" in line for line in lines)


@pytest.mark.parametrize(
    ("filters", "type_or_kind"),
    [({"kind": "shell"}, "shell"), ({"kind": "result"}, "result"), ({"kind": "Read"}, "Read")],
)
def test_grep_is_narrowed_by_kind(
    session: Session, filters: dict[str, str], type_or_kind: str
) -> None:
    found = session.methods["grep"]("a", **filters, limit=100_000)
    assert found["total"] == len(found["hits"]) > 0
    for hit in found["hits"]:
        row = session.view.block_rows(session.view.resolve_ref(parse_ref(hit["ref"]))[0])[0]
        assert type_or_kind in (row["type"], row["kind"], row["name"])


def test_grep_is_narrowed_by_role_file_and_branch(session: Session, story: Story) -> None:
    grep = session.methods["grep"]
    word = story.keys.dead_text.split()[-2]
    assert grep(word)["total"] == 0
    assert grep(word, branch="abandoned")["total"] >= 2
    assert grep(word, branch="all", role="human")["total"] == 1
    frozen = story.keys.facts["frozen file"]
    assert grep("INTEGER", file=frozen)["total"] == 2
    with pytest.raises(BadRequest, match="Unknown branch"):
        grep("x", branch="dead")


def test_a_scope_of_one_turn_searches_that_turn(session: Session) -> None:
    found = session.grep(Query("."), parse_ref("session#1"))
    assert {hit.ref for hit in found.hits} == {f"session:{session.view.id}#1.1"}


def test_a_question_finds_the_passage_that_answers_it(session: Session, story: Story) -> None:
    hits = session.search(
        "what did the search agent report about charge_v1?", parse_ref("session"), 5
    )
    assert any(story.keys.report == hit.text for hit in hits)
    assert all(hit.text for hit in hits)


def test_ranking_never_shows_a_dead_branch(session: Session, story: Story) -> None:
    hits = session.search(story.keys.dead_text, parse_ref("session"), 20)
    assert not any(story.keys.dead_text in hit.text for hit in hits)


def test_a_bad_pattern_is_refused(session: Session) -> None:
    with pytest.raises(BadRequest):
        session.grep(Query("(unclosed"), parse_ref("session"))


def test_all_sessions_of_a_project_are_searched_at_once(
    session: Session, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "agents"
    LAYOUTS["claude"].write(story, home)
    LAYOUTS["codex"].write(tell(8, filler=5), home)
    monkeypatch.setenv("HOME", str(home))
    found = session.methods["search_all"]("which legacy caller is left", project="*")
    assert {hit["agent"] for hit in found["hits"]} == {"claude", "codex"}
    assert (found["not_searched"], found["failed"]) == (0, [])
    assert all(hit["ref"].startswith("session:") for hit in found["hits"])
