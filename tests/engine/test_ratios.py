"""What a token holds is learnt from replies, kind by kind, and no reply bends it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlm_mcp.engine import sub_calls
from rlm_mcp.engine.ratios import Bulk, TokenRatios
from rlm_mcp.models.anthropic import Anthropic
from rlm_mcp.models.model import ChatMessage, ModelReply, ModelRequest, TokenUsage
from rlm_mcp.tokens import estimate_tokens, set_ratios, token_bytes
from tests.engine.conftest import Desks, run
from tests.engine.test_calls import account, calls
from tests.sim import cache as billing
from tests.sim.server import SimServer

LATER = "9999-12-31"
PIECE = re.compile(r"[A-Za-z]{1,5}|[0-9]{1,2}|[ \n]+|[^\x00-\x7f]{1,3}|[^A-Za-z0-9\s]{1,2}")


def counted(text: str) -> int:
    """Count as a tokenizer does: short pieces of words, digits, signs and scripts."""
    return len(PIECE.findall(text))


def code(chance: random.Random) -> str:
    return "".join(
        f"    def step_{n}(self, value: int) -> int:\n        return value + {chance.random()}\n"
        for n in range(80)
    )


def prose(chance: random.Random) -> str:
    words = ["remember", "whatever", "window", "memory", "through", "reading", "context", "nothing"]
    return " ".join(chance.choice(words) for _ in range(1_200))


def data(chance: random.Random) -> str:
    return json.dumps([{"id": n, "name": f"item{chance.random():.3f}"} for n in range(300)])


def log(chance: random.Random) -> str:
    return "".join(
        f"2026-11-26T12:{n % 60:02}:07.{chance.randrange(999)}Z INFO 10.0.0.{n} GET /a/{n} 200\n"
        for n in range(150)
    )


def russian(chance: random.Random) -> str:
    return " ".join(chance.choice(["память", "чтение", "окно", "контекст"]) for _ in range(900))


SAMPLES = {"code": code, "prose": prose, "json": data, "logs": log, "other": russian}


@pytest.fixture(autouse=True)
def measured() -> Iterator[None]:
    """Leave the ratios as they were measured."""
    yield
    set_ratios({})


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimServer]:
    with SimServer(lambda call: "ok") as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "test-key")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        yield server


def answered(
    folder: Path, parts: list[sub_calls.PromptPart], prompts: list[str]
) -> dict[str, float]:
    async def go() -> None:
        async with calls(folder, width=2) as made:
            model = Anthropic("sim")
            asks = sub_calls.part_calls(prompts, parts, "Answer from the part.", "", None)
            await made.answer_all(model, asks, account(calls=1_000))
            await model.close()

    run(go())
    return TokenRatios(folder / "r.sqlite").in_use(LATER)


@pytest.mark.parametrize("kind", SAMPLES)
def test_after_some_replies_an_estimate_is_within_15_percent(
    kind: str, tmp_path: Path, sim: SimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(billing, "tokens", counted)
    chance = random.Random(7)
    make: Callable[[random.Random], str] = SAMPLES[kind]
    parts = [sub_calls.PromptPart(f"repo:{n}", make(chance), kind) for n in range(12)]
    learnt = answered(tmp_path, parts, ["What is in it?", "What is not?"])
    set_ratios(learnt)
    unseen = make(chance)
    assert abs(estimate_tokens(unseen, kind) / counted(unseen) - 1) < 0.15


def of(request_bytes: int, prompt_tokens: int | None) -> tuple[ModelRequest, ModelReply]:
    reply = ModelReply("ok", TokenUsage(1, 1), "m", None, prompt_tokens=prompt_tokens)
    return ModelRequest([ChatMessage("user", "x" * request_bytes)]), reply


def teach(ratios: TokenRatios, size: int, prompt_tokens: int | None, times: int = 1) -> float:
    for _ in range(times):
        ratios.learn_ratio(Bulk("code", size), *of(size, prompt_tokens))
    return ratios.in_use(LATER).get("code", 3.5)


@pytest.mark.parametrize("lie", [-(10**30), -1, 0, 1, 10**9, 10**30])
def test_an_impossible_count_teaches_nothing(lie: int, tmp_path: Path) -> None:
    assert teach(TokenRatios(tmp_path / "r.sqlite"), 10_000, lie, times=50) == 3.5


@pytest.mark.parametrize(("lie", "bound"), [(700, 8.0), (13_000, 1.5)])
def test_no_number_of_lies_moves_a_ratio_out_of_bounds(
    lie: int, bound: float, tmp_path: Path
) -> None:
    assert teach(TokenRatios(tmp_path / "r.sqlite"), 10_000, lie, times=500) == pytest.approx(bound)


def test_one_odd_reply_moves_little(tmp_path: Path) -> None:
    assert abs(teach(TokenRatios(tmp_path / "r.sqlite"), 10_000, 700) / 3.5 - 1) <= 0.101


def test_small_parts_mixed_prompts_and_uncounted_replies_teach_nothing(tmp_path: Path) -> None:
    ratios = TokenRatios(tmp_path / "r.sqlite")
    ratios.learn_ratio(Bulk("code", 1_000), *of(1_000, 500))
    ratios.learn_ratio(Bulk("code", 10_000), *of(20_000, 5_000))
    ratios.learn_ratio(Bulk("unheard of", 10_000), *of(10_000, 5_000))
    ratios.learn_ratio(Bulk("code", 10_000), *of(10_000, None))
    assert ratios.in_use(LATER) == {}


def test_what_is_learnt_today_changes_nothing_today(tmp_path: Path) -> None:
    ratios = TokenRatios(tmp_path / "r.sqlite")
    teach(ratios, 10_000, 5_000, times=50)
    assert ratios.in_use() == {"code": 3.5}
    assert ratios.in_use(LATER)["code"] == pytest.approx(2.0, rel=0.01)


def test_what_differs_little_changes_nothing(tmp_path: Path) -> None:
    assert teach(TokenRatios(tmp_path / "r.sqlite"), 10_000, 2_708, times=50) == 3.5


def test_processes_share_what_they_learn(tmp_path: Path) -> None:
    one, other = TokenRatios(tmp_path / "r.sqlite"), TokenRatios(tmp_path / "r.sqlite")
    for _ in range(20):
        for ratios in (one, other):
            teach(ratios, 10_000, 5_000)
            ratios.db.commit()
    assert one.in_use(LATER) == other.in_use(LATER)
    assert one.in_use(LATER)["code"] == pytest.approx(2.0, rel=0.01)


def test_a_stored_reply_teaches_nothing_again(tmp_path: Path, sim: SimServer) -> None:
    parts = [sub_calls.PromptPart("repo:a", log(random.Random(1)), "logs")]
    first = answered(tmp_path, parts, ["What?"])
    assert first and answered(tmp_path, parts, ["What?"]) == first


def test_parts_are_asked_about_under_their_kind(desk: Desks) -> None:
    async def go() -> None:
        async with desk() as d:
            (d.folder / "a.py").write_text("x = 1\n")
            (d.folder / "b.json").write_text("[]\n")
            (d.folder / "c.md").write_text("память " * 9 + "\n")
            reader: Any = d.workspace._tool_scope(None).reader
            refs = ["repo:a.py", "repo:b.json", "repo:c.md", "repo:f1.txt"]
            found = [part.kind for part in sub_calls.read_parts(refs, reader)]
            assert found == ["code", "json", "other", "prose"]

    run(go())


def test_a_workspace_estimates_by_what_was_learnt_before(desk: Desks, tmp_path: Path) -> None:
    async def go() -> None:
        async with desk() as d:
            before = estimate_tokens(8_000, "code")
            ratios = TokenRatios(d.workspace.state_folder / "ratios.sqlite")
            with ratios.db:
                ratios.db.execute("INSERT INTO ratio VALUES ('code', 3.5, 2.0, '2026-01-01')")
        async with desk() as d:
            assert (before, estimate_tokens(8_000, "code")) == (2_287, 4_001)

    run(go())


def test_a_damaged_ratio_stays_in_bounds() -> None:
    set_ratios({"code": 1e9, "logs": -3.0, "unheard of": 2.0})
    assert (
        token_bytes("code"),
        token_bytes("logs"),
        token_bytes("unheard of"),
    ) == (8, 1.5, 8)
