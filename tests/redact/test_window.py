"""A secret that begins or ends outside of a window is hidden as one inside of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp import redact
from tests.redact.synthetic import placed, tokens

SHOWN = 8
"""Characters of a secret that may be seen."""
CASES = [(kind, text) for kind, text, _ in placed()]
CASES += [(kind, f"x = {frame.replace('{}', secret)}") for kind, frame, secret in tokens()]
BEFORE = "def first():\n    return 1\n\n"
AFTER = "\n\ndef second():\n    return 2\n"


def leaks(shown: str, whole: str) -> list[str]:
    """Return what a window shows of the secrets of its text, longer than is allowed."""
    found = []
    for one in redact.find(whole):
        secret = whole[one.start : one.end]
        parts = (secret[at : at + SHOWN + 1] for at in range(len(secret) - SHOWN))
        outside = whole[: one.start] + whole[one.end :]
        found += [part for part in parts if part in shown and part not in outside]
    return found


@pytest.mark.parametrize("width", [12, 40, 300])
def test_no_window_shows_more_than_eight_characters_of_a_secret(width: int) -> None:
    for number, (kind, text) in enumerate(CASES):
        whole = BEFORE + text + AFTER
        step = 4 if len(whole) < 400 else 4 + len(whole) // 100
        for start in range(number % 4, len(whole), step):
            shown = redact.window(whole, start, start + width)
            assert not leaks(shown, whole), (kind, start, shown)


@given(st.data())
def test_any_window_of_a_text_of_many_secrets_shows_none(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(CASES), min_size=1, max_size=4))
    whole = AFTER.join(text for _, text in chosen)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    assert not leaks(redact.window(whole, start, end), whole)


def test_a_window_keeps_its_lines_and_what_is_no_secret() -> None:
    for _, text in CASES:
        whole = BEFORE + text + AFTER
        shown = redact.window(whole, 0, len(whole))
        assert shown.count("\n") == whole.count("\n")
        assert shown.startswith(BEFORE) and shown.endswith(AFTER)
    assert redact.window(BEFORE, 3, 9) == BEFORE[3:9]


def test_lines_are_cleaned_each_for_itself() -> None:
    texts = [text for _, text in CASES]
    clean, _ = redact.redact_lines(texts)
    for text, told in zip(texts, clean, strict=True):
        assert told == redact.window(text, 0, len(text))
    assert redact.redact_lines(["x = 1", "", "plain"]) == (["x = 1", "", "plain"], set())


def test_a_line_that_goes_on_with_a_secret_is_named() -> None:
    whole = next(text for kind, text in CASES if kind == "private-key")
    body = whole.split("\n")[3]
    lines = ["x = 1", body, "y = 2", '    "hunter2x!Zq"', "  password hunter2x"]
    assert redact.redact_lines(lines)[1] == {1, 3, 4}
