"""Every layout is read in full: lists are exact, every ref opens, nothing leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlm_mcp.config import Settings
from rlm_mcp.sessions.readers import choose_reader
from rlm_mcp.sessions.session import Session
from rlm_mcp.sessions.view import block_turn_rows
from tests.sessions.generator import measure
from tests.sessions.generator.layouts import LAYOUTS, Layout
from tests.sessions.generator.story import Story, tell

SEEDS = (1, 20)


@pytest.fixture(scope="module", params=SEEDS)
def story(request: pytest.FixtureRequest) -> Story:
    return tell(request.param, filler=20)


@pytest.fixture(params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> Layout:
    return LAYOUTS[request.param]


@pytest.fixture
def written(story: Story, layout: Layout, tmp_path: Path) -> Path:
    return layout.write(story, tmp_path / "written")


@pytest.fixture
def session(written: Path, tmp_path: Path) -> Iterator[Session]:
    opened = Session(str(written), "session", Settings(roots=(tmp_path,)))
    yield opened
    opened.close()


def test_a_layout_is_read_by_its_own_reader(written: Path, layout: Layout) -> None:
    reader = choose_reader(written)
    assert reader is not None
    assert reader.agent == layout.agent


def test_lists_are_exact(session: Session, story: Story, layout: Layout) -> None:
    assert measure.prompts(session, story, layout).exact
    assert measure.files(session, story, layout).exact
    assert measure.commands(session, story, layout).exact
    if "results" not in layout.lacks:
        assert measure.errors(session, story).exact
    if "plan" not in layout.lacks:
        assert measure.tasks(session, story).exact


def test_every_block_opens_and_stands_in_the_transcript(session: Session) -> None:
    assert measure.citations(session).exact


def test_nothing_leaks(session: Session, story: Story, layout: Layout) -> None:
    assert set(measure.leaks(session, story, layout).values()) == {0}


def test_a_brief_holds_the_facts_and_cites_every_line(
    session: Session, story: Story, layout: Layout
) -> None:
    brief = session.methods["brief"]()
    found = measure.fact_recall(brief, story, layout)
    assert found.recall >= 0.9
    assert measure.cited_lines(session, brief).recall == 1.0
    assert not measure.superseded_as_active(session, story)


def test_the_ledger_finds_what_was_planted(session: Session, story: Story) -> None:
    found = measure.ledger_scores(session, story)
    assert found.recall >= 0.8
    assert found.precision >= 0.7


def test_an_audit_finds_the_defects_of_a_summary(
    session: Session, story: Story, layout: Layout
) -> None:
    if "compaction" in layout.lacks:
        pytest.skip("this layout keeps no summary")
    found, alarms = measure.audit_recall(session, story)
    assert found.right == found.planted
    assert alarms == 0


def test_calls_are_the_same_in_every_layout(session: Session, story: Story, layout: Layout) -> None:
    steps = story.steps if measure.shows_dead(layout) else story.live()
    told = [call.tool for step in steps for call in step.calls]
    rows = block_turn_rows(session.view, "b.doc=1 AND t.live=1 AND b.type='call'")
    kinds = [row["kind"] for row in rows]
    if layout.name == "codex":
        told = ["shell" if tool in ("read", "search") else tool for tool in told]
    if layout.name == "aider":
        told = [tool for tool in told if tool in ("shell", "write", "edit")]
    merged = {"write": "edit"}
    assert [merged.get(kind, kind) for kind in kinds] == [merged.get(tool, tool) for tool in told]


def test_reading_leaves_no_trace(
    written: Path, tmp_path: Path, opened: Callable[[Path], Session]
) -> None:
    before = _state(tmp_path / "written")
    session = opened(written)
    session.refresh()
    session.methods["brief"]()
    assert _state(tmp_path / "written") == before


def _state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
