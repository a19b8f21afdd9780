"""The simulated prompt cache hits only where the real one would."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.cache import PromptCache

LONG = "word " * 1_000  # 1,250 tokens


def body(*texts: str, marks: tuple[int, ...] = (), model: str = "m") -> dict[str, Any]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text} for text in texts]
    for mark in marks:
        blocks[mark]["cache_control"] = {"type": "ephemeral"}
    return {"model": model, "messages": [{"role": "user", "content": blocks}]}


def send(cache: PromptCache, request: dict[str, Any]) -> tuple[int, int, int]:
    billing = cache.bill(request)
    cache.begin(billing)
    return billing.input, billing.read, billing.written


def test_without_a_mark_nothing_is_kept() -> None:
    cache = PromptCache()
    assert send(cache, body(LONG)) == (1_250, 0, 0)
    assert send(cache, body(LONG)) == (1_250, 0, 0)


def test_a_marked_prefix_is_written_once_and_then_read() -> None:
    cache = PromptCache()
    assert send(cache, body(LONG, "one?", marks=(0,))) == (1, 0, 1_250)
    assert send(cache, body(LONG, "two?", marks=(0,))) == (1, 1_250, 0)


def test_a_prefix_is_readable_only_after_its_first_reply_has_begun() -> None:
    cache = PromptCache()
    first = cache.bill(body(LONG, marks=(0,)))
    assert cache.bill(body(LONG, marks=(0,))).read == 0
    cache.begin(first)
    assert cache.bill(body(LONG, marks=(0,))).read == 1_250


def test_a_short_prefix_is_not_kept() -> None:
    cache = PromptCache()
    short = "word " * 800
    assert send(cache, body(short, marks=(0,))) == (1_000, 0, 0)
    assert send(cache, body(short, marks=(0,))) == (1_000, 0, 0)


def test_a_prefix_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("tests.sim.cache.time.monotonic", lambda: clock[0])
    cache = PromptCache(life_s=300)
    send(cache, body(LONG, marks=(0,)))
    clock[0] = 299.0
    assert send(cache, body(LONG, marks=(0,)))[1] == 1_250
    clock[0] = 599.0
    assert send(cache, body(LONG, marks=(0,)))[1] == 0, "it lives on from its last use, no longer"


@pytest.mark.parametrize(
    "other",
    [body("x" + LONG, marks=(0,)), body(LONG, marks=(0,), model="n"), body("x", LONG, marks=(1,))],
)
def test_another_prefix_or_model_does_not_hit(other: dict[str, Any]) -> None:
    cache = PromptCache()
    send(cache, body(LONG, marks=(0,)))
    assert send(cache, other)[1] == 0


def test_a_growing_history_reads_what_it_wrote_last_turn() -> None:
    cache = PromptCache()
    send(cache, body(LONG, marks=(0,)))
    texts = [LONG]
    for turn in range(5):
        texts += [f"turn {turn}" * 10]
        _, read, written = send(cache, body(*texts, marks=(len(texts) - 1,)))
        assert read >= 1_250 and written < 50


def test_a_mark_looks_back_twenty_blocks_and_no_further() -> None:
    for between, read in [(20, 1_250), (21, 0)]:
        cache = PromptCache()
        send(cache, body(LONG, marks=(0,)))
        texts = [LONG, *("x" for _ in range(between))]
        assert send(cache, body(*texts, marks=(between,)))[1] == read


def test_the_order_is_tools_system_messages() -> None:
    cache = PromptCache()
    marked = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}
    request = {**body("q"), "system": [marked]}
    assert send(cache, request)[2] == 1_250
    with_tools = {**request, "tools": [{"name": "t", "input_schema": {}}]}
    assert send(cache, with_tools)[1] == 0
