"""The root's conversation stays a prefix of itself, and within its limit."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rlm_mcp.engine.conversation import DIGEST_LINES, Conversation

QUESTION = "<question>\nWhere is the tax rule, and never guess?\n</question>"


def history(limit_tokens: int, kept: list[str]) -> Conversation:
    def keep(text: str) -> str:
        kept.append(text)
        return f"h{len(kept)}"

    return Conversation("system", QUESTION, "turn 0", limit_tokens, keep)


def compact(h: Conversation) -> None:
    """Compact by rule alone, as happens where no model may be asked."""
    if h.token_count() <= h.limit_tokens:
        return
    h.compactions += 1
    h.shorten_old()
    while h.is_full and h.foldable_turns:
        h.fold_turns(max(1, h.foldable_turns // 2))
    if h.token_count() > h.limit_tokens:
        h.shorten_old(recent=1)


def texts(h: Conversation) -> list[str]:
    return [message.text for message in h.next_request(100, 10)[0].messages]


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=200)), max_size=60))
def test_between_compactions_every_request_begins_with_the_one_before(
    turns: list[tuple[str, str]],
) -> None:
    h = history(2_000, [])
    before, compactions = texts(h), 0
    for reply, shown in turns:
        h.add_turn(reply, "x = 1", shown, "left: 3")
        compact(h)
        now = texts(h)
        if h.compactions == compactions:
            assert now[: len(before)] == before
        before, compactions = now, h.compactions


def test_two_hundred_turns_stay_under_the_limit_and_keep_the_question() -> None:
    kept: list[str] = []
    limit = 6_000
    h = history(limit, kept)
    for turn in range(200):
        code = f"x{turn} = grep('word{turn}')\nprint(x{turn}.shown)"
        h.add_turn(f"thought\n```repl\n{code}\n```", code, f"output {turn} " * 100, f"turn {turn}")
        compact(h)
        assert h.token_count() <= limit
        sent = texts(h)
        assert sent[0].startswith(QUESTION)
        assert f"output {turn} " in sent[-1]
    assert 2 <= h.compactions < 40
    assert sum(f"x{turn} = " in text for turn in range(200) for text in sent) >= DIGEST_LINES // 4
    joined = "\n".join(sent)
    assert "h1" in joined or any("h1" in text for text in kept)


def test_a_compacted_turn_keeps_its_code_and_names_its_output() -> None:
    kept: list[str] = []
    h = history(6_000, kept)
    for turn in range(20):
        h.add_turn(
            f"long thought {turn} ```repl\nx = {turn}\n```", f"x = {turn}", "y" * 600, "left"
        )
        compact(h)
    sent = texts(h)
    assert h.compactions == 1
    assert sent[1] == "```repl\nx = 0\n```"
    assert "600 characters kept as h1" in sent[2]
    assert kept[0] == "y" * 600


def test_the_budget_is_no_part_of_the_key() -> None:
    one, other = history(1_000, []), history(1_000, [])
    one.add_turn("a", "a", "b", "left: 5 calls")
    other.add_turn("a", "a", "b", "left: 4 calls")
    assert one.next_request(9, 9)[1] == other.next_request(9, 9)[1]
    assert texts(one) != texts(other)


def test_the_last_two_questions_to_the_model_are_marked_for_caching() -> None:
    h = history(1_000, [])
    for _ in range(3):
        h.add_turn("a", "a", "b", "left")
    marked = [m.cache for m in h.next_request(9, 9)[0].messages]
    assert marked == [False, False, False, False, True, False, True]
