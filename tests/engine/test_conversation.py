"""A long run stays under its window: by rule, by a model's summary, and after a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlm_mcp.engine.conversation import Conversation
from rlm_mcp.engine.handles import Handles
from tests.engine.conftest import Desks, cell, run
from tests.sim.cache import blocks_of
from tests.sim.call import Call, Say
from tests.sim.server import SimServer

QUESTION = "What is the sum? Never round, and never guess."
TURNS = 200
WINDOW = 16_000
SUMS = "You sum up the earlier turns"


def mind(call: Call) -> Say | str:
    """Write a cell a turn, counting in a variable; sum up what it is asked to."""
    if call.system.startswith(SUMS):
        return "Found: total counts the turns, so far without a gap."
    turn = int(call.last.rpartition("[turn ")[2].split(" ")[0])
    if turn >= TURNS:
        return cell("FINAL(str(total))")
    padding = f"# a line of thought about part {turn}\n" * 12
    return cell(f"{padding}total = globals_total = {turn}\nprint('part {turn} ' * 200)")


def environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sim: SimServer, window: int
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", sim.url)
    folder = tmp_path / "prices"
    folder.mkdir()
    (folder / "prices.toml").write_text(f'["claude-haiku-5-5"]\nwindow = {window}\n')
    monkeypatch.setenv("RLM_MCP_CONFIG_DIR", str(folder))


def long_run(desk: Desks, **budget: int) -> str:
    async def go() -> str:
        async with desk(model="anthropic:haiku", max_iterations=300, max_calls=400) as d:
            result = await d.workspace.run_query(QUESTION, mode="recursive", budget=budget)
            return f"{result.status}: {result.answer}"

    return run(go())


def test_two_hundred_turns_stay_under_an_enforced_window(
    desk: Desks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with SimServer(mind, window=WINDOW) as sim:
        environment(monkeypatch, tmp_path, sim, WINDOW)
        assert long_run(desk) == f"complete: {TURNS - 1}"
    calls = sim.calls
    assert all(call.status == 200 for call in calls)
    sums = [call for call in calls if str(call.body["system"][0]["text"]).startswith(SUMS)]
    roots = [call for call in calls if call not in sums]
    assert len(roots) == TURNS + 1 and 1 <= len(sums) <= TURNS // 5
    firsts = [blocks_of(call.body)[1][1]["text"] for call in roots]
    assert all(QUESTION in first for first in firsts)
    assert len({str(call.body["system"]) for call in roots}) == 1
    assert "without a gap" in firsts[-1] and "peek opens handles" in firsts[-1]


@pytest.mark.parametrize("why", ["the provider's window is smaller", "summaries fail"])
def test_a_long_run_survives_what_its_compaction_meets(
    why: str, desk: Desks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def failing(call: Call) -> Say | str:
        return Say("cut", stop="max_tokens") if call.system.startswith(SUMS) else mind(call)

    smaller = why.startswith("the provider")
    monkeypatch.setattr("tests.engine.test_conversation.TURNS", 60)
    with SimServer(mind if smaller else failing, window=3_300 if smaller else WINDOW) as sim:
        environment(monkeypatch, tmp_path, sim, WINDOW)
        assert long_run(desk) == "complete: 59"
    refused = sum(call.status == 400 for call in sim.calls)
    assert (1 <= refused <= 6) if smaller else not refused


def test_what_was_summed_up_can_be_opened_again(tmp_path: Path) -> None:
    handles = Handles(tmp_path, "h")
    history = Conversation("system", QUESTION, "", 4_000, handles.store_text)
    for turn in range(12):
        history.add_turn("...", f"x{turn} = 1", f"output {turn}\n" * 50, "")
    count, text = history.oldest_turns(3_000)
    assert 1 < count <= history.foldable_turns and "<output kept_as='h1'>" in text
    history.fold_turns(count, "x0 to x7 are set.")
    first = history.next_request(9, 9)[0].messages[0].text
    assert first.startswith(QUESTION) and "x0 to x7 are set." in first
    kept = first.partition("their cells: ")[2].partition(")")[0]
    assert "x1 = 1" in handles.full_text(kept) and "h2" in handles.full_text(kept)
    assert handles.full_text("h2") == "output 1\n" * 50
